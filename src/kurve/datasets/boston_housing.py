"""Prices of houses in 506 districts of Boston (Harrison, Rubinfeld 1978)."""

from __future__ import annotations

import os

from kurve.core.entries import entry
from kurve.datasets import houses
from kurve.datasets.files import Images


@entry
def load_data(
    path: str | os.PathLike[str] = "boston_housing.npz",
    test_split: float = 0.2,
    seed: int = 113,
) -> Images:
    """(x_train, y_train), (x_test, y_test): x (n, 13) and the price y (n,) in thousands
    of dollars, float64.

    One of the columns, "B", is made from the share of black inhabitants; the set should
    not be used but to talk about that.

    Args:
        path: a file like Keras's boston_housing.npz; a bare name is looked for (see
            `kurve.datasets.files.folders`).
        test_split: share of the rows that are the last ones, for testing.
        seed: of the order of the rows.

    Raises:
        FileNotFoundError: there is no file.
        ValueError: the file is damaged, or another share.
    """
    return houses.load("boston_housing", path, test_split, seed, 13, None)
