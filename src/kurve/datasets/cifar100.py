"""CIFAR-100: 60,000 small images in a hundred classes (Krizhevsky 2009)."""

from __future__ import annotations

import os

import numpy as np

from kurve.core.entries import entry
from kurve.datasets import archives, cifar
from kurve.datasets.files import Images
from kurve.errors import lookup

ORIGIN = "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"
NAMES = [
    "cifar-100-python-target",
    "cifar-100-python",
    "cifar-100-python.tar.gz",
    "cifar-100-python-target_archive",
]


@entry
def load_data(
    label_mode: str = "fine", path: str | os.PathLike[str] | None = None
) -> Images:
    """(x_train, y_train), (x_test, y_test): 50,000 and 10,000 images (n, 32, 32, 3),
    uint8, and their classes (n, 1).

    Args:
        label_mode: "fine" for 100 classes, "coarse" for 20.
        path: cifar-100-python.tar.gz, which is not unpacked, or a folder with its
            files; None searches for one (see `kurve.datasets.files.folders`).

    Raises:
        FileNotFoundError: file not found.
        ValueError: a file is damaged, or an invalid label_mode.
    """
    modes = {"fine": "fine_labels", "coarse": "coarse_labels"}
    labels = lookup("cifar100", "label_mode", label_mode, modes)
    place = archives.find("cifar100", path, NAMES, ORIGIN, folder=True)

    def action() -> Images:
        x, y = cifar.batch(place, "train", labels)
        x_test, y_test = cifar.batch(place, "test", labels)
        return (x, np.array(y)[:, None]), (x_test, np.array(y_test)[:, None])

    return archives.guarded("cifar100", place, action)
