"""MNIST: 70,000 handwritten digits (LeCun, Cortes, Burges 1998)."""

from __future__ import annotations

import os

from kurve.core.entries import entry
from kurve.datasets.files import Images, find, read_npz


@entry
def load_data(path: str | os.PathLike[str] | None = None) -> Images:
    """(x_train, y_train), (x_test, y_test): 60,000 and 10,000 images (n, 28, 28),
    uint8, with their digits (n,).

    Args:
        path: a file like Keras's mnist.npz; None searches for one (see
            `files.folders`).

    Raises:
        FileNotFoundError: file not found.
        ValueError: the file is corrupt.
    """
    file = find("mnist", ["mnist.npz"], path)
    return read_npz("mnist", file / "mnist.npz" if file.is_dir() else file)
