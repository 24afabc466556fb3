"""House prices: code shared by the two data sets."""

from __future__ import annotations

from typing import Any

import numpy as np

from kurve.datasets import archives
from kurve.datasets.files import Images


def load(
    where: str, path: Any, test_split: float, seed: int, columns: int, rows: int | None
) -> Images:
    """(x_train, y_train), (x_test, y_test) of the first rows, in Keras's order."""
    archives.check_split(where, test_split)
    name = f"{where}.npz"
    file = archives.find(where, path, [name], archives.KERAS + name)

    def action() -> list[np.ndarray]:
        x, y = archives.arrays(file, ["x", "y"])
        numbers = x.dtype.kind in "iuf" and y.dtype.kind in "iuf"
        if not numbers or x.ndim != 2 or x.shape[1] != columns or y.shape != (len(x),):
            raise ValueError(f"its arrays have the shapes {x.shape} and {y.shape}")
        return [x[:rows], y[:rows]]

    x, y = archives.shuffled(
        archives.random_of(seed), *archives.guarded(where, file, action)
    )
    first = int(len(x) * (1 - test_split))
    return (x[:first], y[:first]), (x[first:], y[first:])
