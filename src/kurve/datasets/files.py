"""Finding and reading image files. Reading never executes anything from a file."""

from __future__ import annotations

import gzip
import math
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

Part = tuple[np.ndarray, np.ndarray]
"""Images (n, H, W) uint8 and class indices (n,) uint8."""

Images = tuple[Part, Part]
"""Training and test data."""

MAX_BYTES = 1 << 30
"""Maximum bytes of one array in a file."""


def folders() -> list[Path]:
    """The folders to search: $KURVE_DATA, the current folder, ../shared/data, and
    Keras's download folder."""
    chosen = os.environ.get("KURVE_DATA")
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    first = [Path(chosen)] if chosen else []
    return [*first, Path(), Path("../shared/data"), home / "datasets"]


def find(where: str, names: Sequence[str], path: str | os.PathLike[str] | None) -> Path:
    """The folder that contains files with all these names; or `path`, which can also be
    the file itself if there is only one name.

    Raises:
        TypeError: `path` is not a path.
        FileNotFoundError: not found; the message lists the folders searched.
    """
    if path is not None:
        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(
                f"[{where}] path must be a string or a pathlib.Path. Received: "
                f"{path!r}. Try 'path/to/{names[0]}'."
            )
        chosen = Path(path)
        is_file = chosen.is_file() and len(names) == 1
        if is_file or all((chosen / name).is_file() for name in names):
            return chosen
    tried: Sequence[object] = [os.fspath(path or "")]
    if path is None or os.fspath(path) in names:
        tried = folders()
        for folder in folders():
            for place in (folder, folder / where.replace("_", "-")):
                if all((place / name).is_file() for name in names):
                    return place
    example = f"path/to/{names[0]}" if len(names) == 1 else "path/to/its/folder"
    raise FileNotFoundError(
        f"[{where}] no file {names[0]} was found. Received: path={path!r}; searched "
        f"{', '.join(str(t) for t in tried)}. Try load_data({example!r}), or "
        "the environment variable KURVE_DATA for its folder."
    )


def read_npz(where: str, path: Path) -> Images:
    """The four arrays in a file such as Keras's mnist.npz: x_train, y_train, x_test,
    y_test.

    Raises:
        ValueError: the file is corrupt, lacks an array, or contains something else.
    """
    try:
        with zipfile.ZipFile(path) as file:
            size = max((entry.file_size for entry in file.infolist()), default=0)
        if size > MAX_BYTES:
            raise ValueError(f"an array of {size} bytes")
        with np.load(path, allow_pickle=False) as file:
            x, y, x_test, y_test = (
                file[name] for name in ("x_train", "y_train", "x_test", "y_test")
            )
    except (LookupError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise _unreadable(where, path, str(error)) from error
    train, test = _checked(where, path, x, y), _checked(where, path, x_test, y_test)
    if x.shape[1:] != x_test.shape[1:]:
        shapes = f"images {x.shape} for training and {x_test.shape} for testing"
        raise _unreadable(where, path, shapes)
    return train, test


def read_idx(where: str, images: Path, labels: Path) -> Part:
    """Images and labels from two gzipped IDX files.

    Format: LeCun, Cortes, Burges, "The MNIST database": 2 bytes 0, the type (8 is
    uint8), the number of axes, each axis's length as 4 bytes, big-endian; the numbers.

    Raises:
        ValueError: a file is corrupt, or contains something else.
    """
    return _checked(where, images, *(_idx(where, path) for path in (images, labels)))


def _idx(where: str, path: Path) -> np.ndarray:
    try:
        with gzip.open(path) as file:
            head = file.read(4)
            if len(head) < 4 or head[:3] != b"\0\0\x08" or not 1 <= head[3] <= 4:
                raise _unreadable(where, path, f"it starts with {head!r}")
            shape = [int.from_bytes(file.read(4), "big") for _ in range(head[3])]
            size = math.prod(shape)
            if size > MAX_BYTES:
                raise _unreadable(where, path, f"its shape is {shape}")
            numbers = file.read(size + 1)
    except (EOFError, gzip.BadGzipFile) as error:
        raise _unreadable(where, path, str(error)) from error
    if len(numbers) != size:
        raise _unreadable(where, path, f"it is not as long as its shape {shape} says")
    return np.frombuffer(numbers, np.uint8).reshape(shape)


def _checked(where: str, path: Path, x: np.ndarray, y: np.ndarray) -> Part:
    """Both as uint8; rejects empty arrays and labels outside 0 to 255."""
    if (
        x.dtype != np.uint8
        or x.ndim not in (3, 4)
        or not x.size
        or y.shape != (len(x),)
        or y.dtype.kind not in "iu"
    ):
        shown = f"images {x.dtype} {x.shape}, labels {y.dtype} {y.shape}"
        raise _unreadable(where, path, shown)
    if y.min() < 0 or y.max() > 255:
        raise _unreadable(where, path, f"labels from {y.min()} to {y.max()}")
    return x, y.astype(np.uint8)


def _unreadable(where: str, path: Path, what: str) -> ValueError:
    return ValueError(
        f"[{where}] {os.fspath(path)!r} does not hold images (n, H, W) of uint8 and "
        f"their labels (n,), 0 to 255. Received: {what}. Try another copy of the file, "
        "or numpy.savez of your own x_train, y_train, x_test and y_test."
    )
