"""House prices in 506 districts of Boston (Harrison, Rubinfeld 1978)."""

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

    One of the columns, "B", is computed from the share of black inhabitants; use the
    data set only to discuss that.

    Args:
        path: a file like Keras's boston_housing.npz; a bare name is searched for (see
            `kurve.datasets.files.folders`).
        test_split: fraction of the rows, the last ones, for testing.
        seed: seed of the row order.

    Raises:
        FileNotFoundError: file not found.
        ValueError: the file is damaged, or an invalid fraction.
    """
    return houses.load("boston_housing", path, test_split, seed, 13, None)
