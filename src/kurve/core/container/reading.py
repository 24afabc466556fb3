"""Files of named arrays beside a description in JSON: valid safetensors files, of which
no byte can change unnoticed.

    8 bytes   length of the header, little-endian
    header    JSON in ASCII, filled with spaces to a multiple of 8 bytes:
              {"__metadata__": {"sha256": D, "format": "kurve 2", "kurve": description,
                                "sha256:NAME": SHA-256 of that array, ...},
               NAME: {"dtype", "shape", "data_offsets"}, ...}
    data      the arrays, little-endian, one after the other, no gaps

D is the SHA-256 of the length and the header with 64 zeros in D's place. Every size is
compared with the file's own before memory is taken, and reading executes nothing.
Format: the safetensors specification; version 1 had no checksums.
"""

from __future__ import annotations

import hashlib
import math
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from kurve.core.container.errors import ModelFileError as ModelFileError
from kurve.core.container.errors import damaged
from kurve.core.container.safe_json import parse
from kurve.core.entries import entry
from kurve.core.files import named

VERSION = 2
MAX_HEADER = 1 << 24
"""Bytes of the header, of which names of columns and their levels can be most; two
thousand names of sixty Chinese characters are a mebibyte in ASCII."""
MAX_TENSORS = 10_000
MAX_RANK = 8
MAX_NAME = 512
MAX_HOLES = 64
"""Most bytes of a file for each that is really on the disk; few bytes can lie about
terabytes otherwise."""

DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    "I64": np.dtype("<i8"),
    "U8": np.dtype("|u1"),
}
BEGIN = b'{"__metadata__":{"sha256":"'
ZEROS = "0" * 64
PIECE = 1 << 20
"""Bytes that are read or written at once."""


@dataclass(frozen=True)
class Entry:
    """One array of a file: its first byte counted from the data's begin, and its
    checksum (None in version 1)."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    sha256: str | None

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def read(
    path: str | os.PathLike[str],
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Description and arrays of a file.

    Args:
        path: of the file.

    Raises:
        ModelFileError: anything about the file is not as it must be.

    Example:
        >>> kurve.saving.write("data.kurve", {"note": "mine"}, {"a": np.zeros(3)})
        >>> info, tensors = kurve.saving.read("data.kurve")
        >>> info["note"], tensors["a"].shape
        ('mine', (3,))
    """
    with opened(path) as file:
        return file.info, {name: file.read(name) for name in file.entries}


def read_header(
    path: str | os.PathLike[str],
) -> tuple[dict[str, Any], dict[str, Entry]]:
    """Description of a file, and what arrays it has; they are not read.

    Args:
        path: of the file.

    Raises:
        ModelFileError: the header, or the size of the file, is not as it must be.

    Example:
        >>> kurve.saving.write("data.kurve", {"note": "mine"}, {"a": np.zeros(3)})
        >>> info, tensors = kurve.saving.read_header("data.kurve")
        >>> list(tensors)
        ['a']
    """
    with opened(path) as file:
        return file.info, file.entries


@entry
def verify(path: str | os.PathLike[str]) -> None:
    """Compare every byte of a file with its checksums, in little memory.

    Args:
        path: of the file.

    Raises:
        ModelFileError: they do not agree; a file of version 1, which has none.

    Example:
        >>> kurve.saving.write("data.kurve", {"note": "mine"}, {"a": np.zeros(3)})
        >>> kurve.saving.verify("data.kurve")
    """
    with opened(path) as file:
        if file.version == 1:
            raise damaged(file.path, "sha256", "version 1 has no checksums")
        for name in file.entries:
            file.check(name)


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[Reader]:
    """A file whose header has been checked, to read arrays from.

    Raises:
        ModelFileError: the header, or the size of the file, is not as it must be.
        OSError: the file is not there or cannot be read.
    """
    with opened_file(path) as (file, size):
        yield Reader(os.fspath(path), file, size)


@contextmanager
def opened_file(path: str | os.PathLike[str]) -> Iterator[tuple[BinaryIO, int]]:
    """A regular file that is really on the disk, and its size.

    Raises:
        ModelFileError: it is no file, or next to nothing of it is there.
        OSError: the file is not there or cannot be read.
    """
    name = os.fspath(path)
    if not stat.S_ISREG(os.stat(name).st_mode):  # opening a device may change it
        raise _no_file(name)
    try:
        # Not to wait for a pipe that has taken the file's place meanwhile.
        handle = os.open(name, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with open(handle, "rb", buffering=1 << 16) as file:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise _no_file(name)
            _check_holes(name, handle, status.st_size)
            yield file, status.st_size
    except OSError as error:
        raise named(error, name) from error


def _no_file(path: str) -> ModelFileError:
    if os.path.isfile(os.path.join(path, "saved_model.pb")):
        return ModelFileError(
            f"[load] {path!r} is a folder of TensorFlow, a SavedModel, which holds the "
            "program of a model and not its layers. Try model.save('m.h5') in "
            "the TensorFlow that can load it.",
            "file",
        )
    return damaged(path, "file", "it is a folder, pipe or device")


class Reader:
    """An open file; see `opened`.

    info:    the description
    entries: the arrays by name, in their order
    version: of the format
    """

    def __init__(self, path: str, file: BinaryIO, size: int) -> None:
        self.path, self._file = path, file
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if len(start) < 8 or not 2 <= length <= min(MAX_HEADER, size - 8):
            raise damaged(
                path,
                "header",
                f"its length is {length} of {size} bytes: cut off or not Kurve's",
            )
        header = file.read(length)
        if len(header) != length:
            raise damaged(path, "header", "it is cut off")
        self.version = 1
        if header.startswith(BEGIN):
            self.version = VERSION
            _check_digest(path, start, header)
        elif not header.startswith(b"{"):
            raise damaged(path, "header", "it does not begin as a file of Kurve's")
        # A long header is there once at a time.
        text = header.decode("latin-1")
        del header
        try:
            entries = parse(text)
        except (ValueError, RecursionError) as error:
            raise damaged(path, "header", f"it cannot be read, {error}") from error
        del text
        if not isinstance(entries, dict):
            raise damaged(path, "header", "it is no table")
        described, sums = _metadata(path, self.version, entries)
        if self.version > 1 and set(sums) != set(entries):
            name = next(name for name in entries if name not in sums)
            raise damaged(path, f"sha256:{name[:80]}", "it is missing")
        self.entries = _entries(path, entries, sums, size - 8 - length)
        self.info = _info(path, self.version, described)
        self._start = 8 + length
        self._taken: set[str] = set()

    def read(self, name: str) -> np.ndarray:
        """The array of that name, in memory of its own.

        Raises:
            ModelFileError: its bytes are not those that its checksum is of.
        """
        entry = self.entries[name]
        array = np.empty(entry.shape, entry.dtype.newbyteorder("="))
        self.read_into(name, array)
        return array

    def read_into(self, name: str, array: np.ndarray) -> None:
        """Read into an array of that shape and dtype that lies in one piece."""
        entry = self.entries[name]
        assert array.shape == entry.shape and array.flags.c_contiguous
        assert array.dtype == entry.dtype.newbyteorder("=")
        self._walk(name, array.reshape(-1).view(np.uint8))
        if sys.byteorder == "big":
            array.byteswap(inplace=True)

    def take(
        self, name: str, shape: tuple[int | None, ...], dtype: Any = np.float32
    ) -> Entry:
        """The entry of an array that must be there, once, with this dtype and shape;
        None stands for any size of an axis."""
        entry = self.entries.get(name)
        field = f"tensors.{name[:80]}"
        if entry is None or name in self._taken:
            raise damaged(self.path, field, "it is missing")
        fits = len(shape) == len(entry.shape) and all(
            wanted in (None, size)
            for wanted, size in zip(shape, entry.shape, strict=True)
        )
        if not fits or entry.dtype.newbyteorder("=") != dtype:
            wanted = f"{np.dtype(dtype)} {shape}"
            what = f"it is {entry.dtype.name} {entry.shape}, and must be {wanted}"
            raise damaged(self.path, field, what)
        self._taken.add(name)
        return entry

    def finish(self) -> None:
        """Refuse arrays that nobody has taken."""
        for name in self.entries:
            if name not in self._taken:
                what = "there is no place for it"
                raise damaged(self.path, f"tensors.{name[:80]}", what)

    def check(self, name: str) -> None:
        """Compare an array with its checksum without keeping it."""
        self._walk(name, None)

    def _walk(self, name: str, into: np.ndarray | None) -> None:
        entry = self.entries[name]
        self._file.seek(self._start + entry.begin)
        buffer = np.empty(min(entry.nbytes, PIECE), np.uint8) if into is None else into
        digest, done = hashlib.sha256(), 0
        while done < entry.nbytes:
            begin = 0 if into is None else done
            piece = buffer[begin : begin + min(entry.nbytes - done, PIECE)]
            count = self._file.readinto(piece)  # type: ignore[attr-defined]
            if not count:
                raise damaged(self.path, f"tensors.{name[:80]}", "it is cut off")
            digest.update(piece[:count].data)
            done += count
        if entry.sha256 is not None and digest.hexdigest() != entry.sha256:
            what = "its SHA-256 is not that of its bytes"
            raise damaged(self.path, f"tensors.{name[:80]}", what)


# ------------------------------------------------------------------------- the header


def _check_digest(path: str, start: bytes, header: bytes) -> None:
    end = len(BEGIN) + 64
    blank = hashlib.sha256(start + BEGIN + ZEROS.encode())
    blank.update(memoryview(header)[end:])
    if blank.hexdigest().encode() != header[len(BEGIN) : end]:
        raise damaged(path, "header", "its SHA-256 is not that of its bytes")


def _metadata(
    path: str, version: int, header: dict[str, Any]
) -> tuple[str, dict[str, str]]:
    """The description's text, and the arrays' checksums by name."""
    metadata = header.pop("__metadata__", None)
    texts = isinstance(metadata, dict) and all(
        isinstance(value, str) for value in metadata.values()
    )
    if not texts or "kurve" not in metadata:
        raise damaged(path, "__metadata__", "Kurve did not write this file")
    described: str = metadata.pop("kurve")
    if version == 1:
        if metadata:
            raise damaged(path, "__metadata__", "it does not begin with a checksum")
        return described, {}
    del metadata["sha256"]
    if metadata.pop("format", None) != f"kurve {VERSION}":
        raise damaged(path, "format", f"it is not 'kurve {VERSION}'")
    sums = {}
    for key, value in metadata.items():
        name = key.removeprefix("sha256:")
        if name == key or name not in header:
            raise damaged(path, "__metadata__", f"there is no place for {key[:80]!r}")
        sums[name] = value
    return described, sums


def _info(path: str, version: int, text: str) -> dict[str, Any]:
    try:
        info = parse(text)
    except (ValueError, RecursionError) as error:
        raise damaged(path, "kurve", f"it cannot be read, {error}") from error
    if not isinstance(info, dict):
        raise damaged(path, "kurve", "it is no table")
    if version == 1 and info.pop("format", None) != 1:
        raise damaged(path, "format", "it is not 1, and there is no checksum")
    return info


def _entries(
    path: str, header: dict[str, Any], sums: dict[str, str], size: int
) -> dict[str, Entry]:
    """The arrays, proven to lie one after the other in `size` bytes."""
    if len(header) > MAX_TENSORS:
        raise damaged(path, "tensors", f"there are more than {MAX_TENSORS}")
    entries: dict[str, Entry] = {}
    offset = 0
    for name, given in header.items():
        entry = _entry(path, name, given, sums.get(name))
        if entry.begin != offset:
            raise damaged(path, f"tensors.{name[:80]}", "it overlaps or leaves a gap")
        offset += entry.nbytes
        if offset > size:
            raise damaged(path, f"tensors.{name[:80]}", "it ends behind the file's end")
        entries[name] = entry
    if offset != size:
        raise damaged(path, "tensors", "there are bytes behind the last tensor")
    return entries


def _entry(path: str, name: str, given: Any, sha256: str | None) -> Entry:
    """One array, its numbers proven to agree with one another."""
    field = f"tensors.{name[:80]}"
    if not 0 < len(name) <= MAX_NAME:
        raise damaged(path, field, f"its name has {len(name)} characters")
    if not isinstance(given, dict) or set(given) != {"dtype", "shape", "data_offsets"}:
        raise damaged(path, field, "it must have dtype, shape and data_offsets")
    dtype, shape, offsets = given["dtype"], given["shape"], given["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise damaged(path, f"{field}.dtype", f"it is not one of {', '.join(DTYPES)}")
    if not _are_sizes(shape) or len(shape) > MAX_RANK:
        raise damaged(path, f"{field}.shape", "it is no shape")
    if not _are_sizes(offsets) or len(offsets) != 2:
        raise damaged(path, f"{field}.data_offsets", "they are no two offsets")
    entry = Entry(DTYPES[dtype], tuple(shape), offsets[0], sha256)
    if offsets[1] - offsets[0] != entry.nbytes:
        raise damaged(path, f"{field}.data_offsets", "they do not fit the shape")
    return entry


def _are_sizes(given: Any) -> bool:
    return isinstance(given, list) and all(
        type(size) is int and 0 <= size < 2**48 for size in given
    )


def _check_holes(path: str, handle: int, size: int) -> None:
    """Refuse a large file of which next to nothing is on the disk."""
    if size <= PIECE or not hasattr(os, "SEEK_DATA"):
        return
    found = place = 0
    try:
        for _ in range(10_000):
            begin = os.lseek(handle, place, os.SEEK_DATA)
            place = os.lseek(handle, begin, os.SEEK_HOLE)
            found += place - begin
            if found * MAX_HOLES >= size:
                break
    except OSError:  # no data any more, or a file system that knows no holes
        pass
    else:
        found = size
    finally:
        os.lseek(handle, 0, os.SEEK_SET)
    if 0 < found * MAX_HOLES < size:
        raise damaged(path, "file", f"all but {found} of its {size} bytes are holes")
