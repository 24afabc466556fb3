"""Fashion-MNIST: 70,000 images of clothes (Xiao, Rasul, Vollgraf 2017)."""

from __future__ import annotations

import os
from pathlib import Path

from kurve.core.entries import entry
from kurve.datasets.files import Images, find, read_idx

NAMES = [
    "T-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "boot",
]
"""Class names."""

FILES = [
    f"{part}-{what}.gz"
    for part in ("train", "t10k")
    for what in ("images-idx3-ubyte", "labels-idx1-ubyte")
]
DEBIAN = Path("/usr/share/datasets/fashion-mnist")


@entry
def load_data(path: str | os.PathLike[str] | None = None) -> Images:
    """(x_train, y_train), (x_test, y_test): 60,000 and 10,000 images (n, 28, 28),
    uint8, with the indices (n,) of their classes in `NAMES`.

    Args:
        path: the folder with train-images-idx3-ubyte.gz and the three other files; None
            takes that of Debian's package dataset-fashion-mnist, or Keras's.

    Raises:
        FileNotFoundError: folder not found.
        ValueError: a file is corrupt.
    """
    if path is None and (DEBIAN / FILES[0]).is_file():
        path = DEBIAN
    folder = find("fashion_mnist", FILES, path)
    files = [folder / name for name in FILES]
    train = read_idx("fashion_mnist", files[0], files[1])
    return train, read_idx("fashion_mnist", files[2], files[3])
