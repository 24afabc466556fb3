"""Finding the files of Keras's data sets, and reading them without executing
anything."""

from __future__ import annotations

import contextlib
import json
import math
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from kurve.datasets.files import MAX_BYTES, folders
from kurve.datasets.pickles import read

T = TypeVar("T")

KERAS = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
"""The URL from which Keras downloads most files."""


def find(
    where: str, path: Any, names: Sequence[str], origin: str, folder: bool = False
) -> Path:
    """The file or folder: `path` itself, or one of these names in one of
    `files.folders`.

    Args:
        where: for messages.
        path: the user's path; a bare name is also searched for in the folders.
        names: its possible names there.
        origin: URL of the file.
        folder: whether to look for a folder or an archive.

    Raises:
        TypeError: not a path.
        FileNotFoundError: not found; the message says where to get it.
    """
    if path is not None:
        if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
            raise TypeError(
                f"[{where}] path must be a string or a pathlib.Path. "
                f"Received: {path!r}. Try path={names[0]!r}."
            )
        chosen = Path(path).expanduser()
        if chosen.is_dir() and not folder:
            chosen = chosen / Path(names[0]).name
        if chosen.exists():
            return chosen
        names = [os.fspath(path)] if chosen.parent == Path() else []
    searched = folders()
    for place in searched:
        for name in names:
            if (place / name).exists():
                return place / name
    shown = ", ".join(map(str, searched)) if names else os.fspath(path)
    raise FileNotFoundError(
        f"[{where}] the file was not found, and nothing is downloaded. Received: "
        f"path={path!r}; searched {shown}. Try to put {origin} into {searched[-1]}."
    )


def guarded(where: str, file: Path, action: Callable[[], T]) -> T:
    """The result of an action that reads a file.

    Raises:
        ValueError: the file is damaged or of the wrong kind.
    """
    try:
        return action()
    except (
        LookupError,
        ValueError,
        EOFError,
        AttributeError,
        TypeError,
        zipfile.BadZipFile,
        zlib.error,
        tarfile.TarError,
        NotImplementedError,
        RecursionError,
    ) as error:
        reason = str(error) or type(error).__name__
        raise ValueError(
            f"[{where}] the file does not hold this data set. Received: "
            f"{os.fspath(file)!r}, but {reason}. Try another copy of it."
        ) from error


def arrays(file: Path, names: Sequence[str]) -> list[np.ndarray]:
    """Arrays of an .npz file. Object arrays are read by `pickles.read`."""
    with zipfile.ZipFile(file) as archive:
        return [_array(archive, f"{name}.npy") for name in names]


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    info = archive.getinfo(name)
    if info.file_size > MAX_BYTES:
        raise ValueError(f"{name} has {info.file_size} bytes")
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        readers = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        if version not in readers:
            raise ValueError(f"{name} is of version {version}")
        shape, _, dtype = readers[version](file)
        if not dtype.hasobject:
            if math.prod(shape) * dtype.itemsize > info.file_size:
                raise ValueError(f"{name} is not as long as its shape {shape} says")
            with archive.open(info) as again:
                return np.lib.format.read_array(again, allow_pickle=False)
        found = read(file.read(MAX_BYTES))
    if not isinstance(found, np.ndarray) or found.shape != shape:
        raise ValueError(f"{name} is not an array of shape {shape}")
    return found


def member(place: Path, name: str) -> bytes:
    """A file in a folder, or in an archive without unpacking it."""
    if place.is_dir():
        for folder in (
            place,
            place / "cifar-10-batches-py",
            place / "cifar-100-python",
        ):
            if (folder / name).is_file():
                if (folder / name).stat().st_size > MAX_BYTES:
                    raise ValueError(f"{name} is too large")
                return (folder / name).read_bytes()
        raise LookupError(f"there is no {name} in it")
    with tarfile.open(place) as archive:
        for info in archive:
            if Path(info.name).name == name and info.isfile():
                if info.size > MAX_BYTES:
                    raise ValueError(f"{name} has {info.size} bytes")
                with contextlib.closing(archive.extractfile(info)) as file:  # type: ignore[type-var]
                    return file.read()  # type: ignore[union-attr]
    raise LookupError(f"there is no {name} in it")


def words(where: str, path: Any, name: str) -> dict[str, int]:
    """Read a file that maps words to indices."""
    file = find(where, path, [name], KERAS + name)

    def action() -> dict[str, int]:
        found = json.loads(file.read_text("utf-8"))
        if not isinstance(found, dict) or not all(
            type(n) is int for n in found.values()
        ):
            raise ValueError("it does not give each word a number")
        return found

    return guarded(where, file, action)


def random_of(seed: int) -> np.random.RandomState:
    """Keras's random number generator."""
    return np.random.RandomState(seed)


def shuffled(draw: np.random.RandomState, *columns: np.ndarray) -> list[np.ndarray]:
    """Shuffle the rows of arrays in the same order as Keras."""
    order = np.arange(len(columns[0]))
    draw.shuffle(order)
    return [column[order] for column in columns]


def check_split(where: str, test_split: Any) -> None:
    """Reject anything but a valid fraction."""
    if (
        isinstance(test_split, bool)
        or not isinstance(test_split, (int, float))
        or not (0 <= test_split < 1)
    ):
        raise ValueError(
            f"[{where}] test_split must be at least 0 and below 1. "
            f"Received: test_split={test_split!r}. Try test_split=0.2."
        )
