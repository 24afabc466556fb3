"""The page reads the numbers of a file as the command `kurve fit` reads them."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kurve import tables
from kurve.estimators.kinds import recognise
from tests.wasm.engine import needs_wasm

pytestmark = needs_wasm

VALUES = np.random.default_rng(1).uniform(1, 9.999, 300)
STYLES: dict[str, Callable[[float], str]] = {
    "three decimals with commas": lambda v: f"{v:.3f}".replace(".", ","),
    "three decimals with points": lambda v: f"{v:.3f}",
    "below one": lambda v: f"{v / 10:.3f}".replace(".", ","),
    "commas and few decimals": lambda v: f"{v:.2g}".replace(".", ","),
    "millions": lambda v: f"{1e6 * v:,.0f}",
    "millions with points": lambda v: f"{1e6 * v:,.0f}".replace(",", "."),
    "thousands with points": lambda v: f"{1e3 * v:,.0f}".replace(",", "."),
    "both marks": lambda v: f"{1e4 * v:,.2f}",
    "both marks the other way": lambda v: f"{1e4 * v:_.2f}".translate(OTHER_WAY),
    "money": lambda v: f"${1e3 * v:,.2f}",
    "per cent": lambda v: f"{v:.1f} %".replace(".", ","),
    "apostrophes": lambda v: f"{1e4 * v:,.0f}".replace(",", "'"),
    "losses in brackets": lambda v: f"({v:.1f})" if v < 5 else f"{v:.1f}",
    "exponents": lambda v: f"{v:.2E}",
    "exponents of Fortran": lambda v: f"{v:.2e}".replace("e", "D"),
    "signs": lambda v: f"{v - 5:+.2f}",
    "a minus of typesetters": lambda v: f"{v - 5:.2f}".replace("-", "−"),
    "whole": lambda v: f"{100 * v:.0f}",
    "gaps": lambda v: f"{v:.2f}" if v < 7 else "NA",
    "words for gaps": lambda v: f"{v:.2f}" if v < 9 else "unknown",
}
OTHER_WAY = str.maketrans("_.", ".,")
COLUMNS = {name: [style(v) for v in VALUES] for name, style in STYLES.items()}
DELIMITERS = {";": "semicolons", "\t": "tabs", ",": "commas"}


def files(folder: Path) -> dict[str, Path]:
    """Each column in a file of its own, and beside each other one."""
    random = np.random.default_rng(0)
    written = {}
    for delimiter, word in DELIMITERS.items():
        for name, cells in COLUMNS.items():
            others = random.choice(list(COLUMNS), 3, replace=False).tolist()
            for other in (None, *others):
                columns = [cells, COLUMNS[other or "whole"]]
                quoted = [[f'"{cell}"' for cell in column] for column in columns]
                rows = [delimiter.join(row) for row in zip(*quoted, strict=True)]
                text = "\n".join([delimiter.join("ab"), *rows]) + "\n"
                path = folder / f"{len(written)}.csv"
                path.write_text(text)
                written[f"{name}, {other}, {word}"] = path
    return written


def numbers(path: Path) -> dict[str, list[float | None]]:
    """What the command takes for numbers."""
    table = tables.open_table(str(path))
    data = table.read()
    found = {}
    for name in data.column_names:
        cells = data[name].to_pylist()
        if any(isinstance(cell, str) for cell in cells):
            kind = recognise(Counter(c for c in cells if c is not None))
            if kind is None or kind.numerals is None:
                continue
            values = kind.numerals.numbers(cells)
            cells = [None if np.isnan(v) else v for v in values.tolist()]
        found[name] = [None if cell is None else float(cell) for cell in cells]
    return found


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, Any]]:
    written = files(tmp_path_factory.mktemp("tables"))
    script = Path(__file__).with_name("table.mjs")
    done = subprocess.run(
        ["node", script, *written.values()],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    page = dict(zip(written, json.loads(done.stdout), strict=True))
    return {name: (page[name], numbers(path)) for name, path in written.items()}


@pytest.mark.parametrize("name", COLUMNS)
def test_the_page_reads_what_the_command_reads(
    read: dict[str, tuple[Any, Any]], name: str
) -> None:
    chosen = [key for key in read if key.startswith(f"{name},")]
    assert len(chosen) == 4 * len(DELIMITERS)
    for key in chosen:
        page, command = read[key]
        assert page == command, key


@pytest.mark.parametrize(
    ("style", "word", "expected"),
    [
        ("three decimals with commas", "semicolons", VALUES.round(3)),
        ("three decimals with points", "semicolons", VALUES.round(3)),
        ("below one", "tabs", (VALUES / 10).round(3)),
        ("below one", "commas", (VALUES / 10).round(3)),
        ("millions", "semicolons", (VALUES * 1e6).round()),
        ("both marks the other way", "tabs", (VALUES * 1e4).round(2)),
        ("three decimals with commas", "commas", (VALUES * 1e3).round()),
    ],
)
def test_numbers(
    read: dict[str, tuple[Any, Any]], style: str, word: str, expected: np.ndarray
) -> None:
    page, _ = read[f"{style}, None, {word}"]
    np.testing.assert_allclose(page["a"], expected, rtol=1e-12)
