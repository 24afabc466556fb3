"""CIFAR-10: 60,000 small images in ten classes (Krizhevsky 2009)."""

from __future__ import annotations

import os

import numpy as np

from kurve.core.entries import entry
from kurve.datasets import archives, cifar
from kurve.datasets.files import Images

ORIGIN = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
NAMES = [
    "cifar-10-batches-py-target",
    "cifar-10-batches-py",
    "cifar-10-python.tar.gz",
    "cifar-10-batches-py.tar.gz",
    "cifar-10-batches-py-target_archive",
]


@entry
def load_data(path: str | os.PathLike[str] | None = None) -> Images:
    """(x_train, y_train), (x_test, y_test): 50,000 and 10,000 images (n, 32, 32, 3),
    and their classes (n, 1); uint8.

    Args:
        path: cifar-10-python.tar.gz, which is not unpacked, or a folder with its files;
            None looks for one (see `kurve.datasets.files.folders`).

    Raises:
        FileNotFoundError: file not found.
        ValueError: a file is damaged.
    """
    place = archives.find("cifar10", path, NAMES, ORIGIN, folder=True)

    def action() -> Images:
        names = [f"data_batch_{i}" for i in range(1, 6)]
        parts = [cifar.batch(place, name, "labels") for name in names]
        x, y = cifar.batch(place, "test_batch", "labels")
        x_train = np.concatenate([part for part, _ in parts])
        y_train = np.concatenate([np.array(labels, np.uint8) for _, labels in parts])
        return (x_train, y_train[:, None]), (x, np.array(y, np.uint8)[:, None])

    return archives.guarded("cifar10", place, action)
