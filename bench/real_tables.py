"""The real tables of the contest, and their fixed splits.

19 tables of a column `target`, with texts and gaps as they come, and the nine UCI sets,
in the folders `tables` and `uci` of ../shared/data.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import uci

DATA = Path(__file__).parents[2] / "shared" / "data"
REGRESSION = (
    "diabetes",
    "sacramento",
    "epa2021",
    "ames",
    "computers",
    "loans",
    "diamonds",
)
MOST = 4000
"""Maximum rows to train with, and to test with."""


@dataclass
class RealTable:
    """X is a data frame, y an array; classes are numbers from 0."""

    name: str
    X: Any
    y: np.ndarray
    classes: int

    def splits(self, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Rows to train with and rows to test with."""
        rows = len(self.y)
        if self.name in uci.PUBLISHED:
            pairs = list(uci.splits(rows, count))
        else:
            pairs = []
            for number in range(count):
                order = np.random.default_rng(number).permutation(rows)
                kept = round(0.75 * rows)
                pairs.append((order[:kept], order[kept:]))
        for train, test in pairs:
            yield train[:MOST], test[:MOST]


def names(data: Path = DATA) -> list[str]:
    """All sets, regression first."""
    tables = sorted(p.name.split(".")[0] for p in (data / "tables").glob("*.csv.gz"))
    classes = [name for name in tables if name not in REGRESSION]
    return [*uci.PUBLISHED, *REGRESSION, *classes]


def load(name: str, data: Path = DATA) -> RealTable:
    """Read one set."""
    import pandas

    if name in uci.PUBLISHED:
        x, y, _ = uci.load(data / "uci" / name)
        frame = pandas.DataFrame(x, columns=[f"x{i}" for i in range(x.shape[1])])
        return RealTable(name, frame, y, 0)
    frame = pandas.read_csv(data / "tables" / f"{name}.csv.gz")
    y = frame.pop("target").to_numpy()
    if name in REGRESSION:
        return RealTable(name, frame, y.astype(np.float64), 0)
    classes, codes = np.unique(y, return_inverse=True)
    return RealTable(name, frame, codes, len(classes))
