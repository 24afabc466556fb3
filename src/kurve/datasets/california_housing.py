"""House prices in 20,640 blocks of California (Pace, Barry 1997)."""

from __future__ import annotations

import os

from kurve.core.entries import entry
from kurve.datasets import houses
from kurve.datasets.files import Images
from kurve.errors import lookup


@entry
def load_data(
    version: str = "large",
    path: str | os.PathLike[str] = "california_housing.npz",
    test_split: float = 0.2,
    seed: int = 113,
) -> Images:
    """(x_train, y_train), (x_test, y_test): x (n, 8) and the price y (n,) in dollars.

    Args:
        version: "large", or "small" for the first 600 rows.
        path: a file like Keras's california_housing.npz; a bare name is searched for
            (see `kurve.datasets.files.folders`).
        test_split: fraction of the rows, the last ones, for testing.
        seed: seed of the row order.

    Raises:
        FileNotFoundError: file not found.
        ValueError: the file is damaged, or an invalid version or fraction.
    """
    rows = {"small": 600, "large": None}
    count = lookup("california_housing", "version", version, rows)
    return houses.load("california_housing", path, test_split, seed, 8, count)
