"""Small images (Krizhevsky 2009): code shared by the two data sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kurve.datasets import archives
from kurve.datasets.pickles import read

SIDE = 32


def batch(place: Path, name: str, labels: str) -> tuple[np.ndarray, list[int]]:
    """Images (n, 32, 32, 3), uint8, and classes from one file."""
    found = read(archives.member(place, name))
    if not isinstance(found, dict):
        raise ValueError(f"{name} holds no dictionary")
    x, y = found.get(b"data"), found.get(labels.encode())
    if (
        not isinstance(x, np.ndarray)
        or x.dtype != np.uint8
        or x.ndim != 2
        or x.shape[1] != 3 * SIDE * SIDE
        or type(y) is not list
        or len(y) != len(x)
        or not all(type(label) is int and 0 <= label < 256 for label in y)
    ):
        raise ValueError(f"{name} holds no pictures with classes")
    planes = x.reshape(-1, 3, SIDE, SIDE)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), y
