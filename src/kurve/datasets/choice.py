"""The first image data set that is found."""

from __future__ import annotations

import os

from kurve.core.entries import entry
from kurve.datasets import digits, fashion_mnist, mnist
from kurve.datasets.files import Images


@entry
def load_images(path: str | os.PathLike[str] | None = None) -> tuple[str, Images]:
    """The name and contents of a data set: the one in `path` (a file like mnist.npz, or
    a folder with Fashion-MNIST's files), else MNIST, else Fashion-MNIST, else
    scikit-learn's digits.

    Raises:
        FileNotFoundError: `path` does not exist, or nothing was found and scikit-learn
            is not installed.
        ValueError: the file is corrupt.

    Example:
        >>> name, ((x_train, y_train), (x_test, y_test)) = kurve.datasets.load_images()
    """
    if path is not None:
        if os.path.isdir(path) and not os.path.exists(os.path.join(path, "mnist.npz")):
            return "Fashion-MNIST", fashion_mnist.load_data(path)
        return "MNIST", mnist.load_data(path)
    try:
        return "MNIST", mnist.load_data()
    except FileNotFoundError as error:
        missing = error
    try:
        return "Fashion-MNIST", fashion_mnist.load_data()
    except FileNotFoundError:
        pass
    try:
        return "scikit-learn's digits", digits.load_data()
    except ModuleNotFoundError:
        raise missing from None
