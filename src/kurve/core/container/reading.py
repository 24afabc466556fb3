"""Files of named arrays plus a JSON description: valid safetensors files in which any
changed byte is detected.

    8 bytes   length of the header, little-endian
    header    ASCII JSON, padded with spaces to a multiple of 8 bytes:
              {"__metadata__": {"sha256": D, "format": "kurve 2", "kurve": description,
                                "sha256:NAME": SHA-256 of that array, ...},
               NAME: {"dtype", "shape", "data_offsets"}, ...}
    data      the arrays, little-endian, contiguous, without gaps

D is the SHA-256 of the length and header, with 64 zeros in place of D. Every size is
checked against the size of the file before memory is allocated, and reading executes
nothing.
Format: the safetensors specification.
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
"""Maximum size of the header in bytes. Column names and their levels can need a lot:
two thousand names of sixty Chinese characters take a mebibyte in ASCII."""
MAX_TENSORS = 10_000
MAX_RANK = 8
MAX_NAME = 512
MAX_HOLES = 64
"""Largest ratio of a file's size to its bytes on disk; otherwise a few bytes could
claim terabytes."""

DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    "I64": np.dtype("<i8"),
    "U8": np.dtype("|u1"),
}
OTHER_FORMATS = {
    b"PK\x03\x04": "a zip file, such as a .keras file",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file, such as a .h5 file",
}
TEXT_BYTES = frozenset([*b"\t\n\r", *range(0x20, 0x7F), *range(0x80, 0x100)])

PREFIX = b'{"__metadata__":{"sha256":"'
ZEROS = "0" * 64
PIECE = 1 << 20
"""Bytes to read or write at a time."""


@dataclass(frozen=True)
class Entry:
    """One array of a file: its offset from the start of the data, and its checksum."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int
    sha256: str

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def read(
    path: str | os.PathLike[str],
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read the description and arrays of a file.

    Args:
        path: of the file.

    Raises:
        ModelFileError: the file is invalid in any way.

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
    """Read the description and array entries of a file, but not the arrays.

    Args:
        path: of the file.

    Raises:
        ModelFileError: the header or the size of the file is invalid.

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
    """Verify a file against its checksums without loading it into memory.

    Args:
        path: of the file.

    Raises:
        ModelFileError: a checksum does not match.

    Example:
        >>> kurve.saving.write("data.kurve", {"note": "mine"}, {"a": np.zeros(3)})
        >>> kurve.saving.verify("data.kurve")
    """
    with opened(path) as file:
        for name in file.entries:
            file.check(name)


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[Reader]:
    """Open a file, validate its header, and yield a reader for its arrays.

    Raises:
        ModelFileError: the header or the size of the file is invalid.
        OSError: the file does not exist or cannot be read.
    """
    with opened_file(path) as (file, size):
        yield Reader(os.fspath(path), file, size)


@contextmanager
def opened_file(path: str | os.PathLike[str]) -> Iterator[tuple[BinaryIO, int]]:
    """Open a regular file; yield it and its size.

    Raises:
        ModelFileError: not a regular file, or a sparse file with almost no data.
        OSError: the file does not exist or cannot be read.
    """
    name = os.fspath(path)
    # Opening a device can have side effects.
    if not stat.S_ISREG(os.stat(name).st_mode):
        raise _not_a_file(name)
    try:
        # O_NONBLOCK: do not block if the file has just been replaced by a pipe.
        handle = os.open(name, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with open(handle, "rb", buffering=1 << 16) as file:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise _not_a_file(name)
            _check_holes(name, handle, status.st_size)
            yield file, status.st_size
    except OSError as error:
        raise named(error, name) from error


def _not_a_file(path: str) -> ModelFileError:
    if os.path.isfile(os.path.join(path, "saved_model.pb")):
        return ModelFileError(
            f"[load] {path!r} is a TensorFlow SavedModel, which stores a "
            "model's program, not its layers. Try model.save('m.h5') in the TensorFlow "
            "version that can load it.",
            "file",
        )
    return damaged(path, "file", "it is a directory, pipe or device")


def _refuse_other_formats(path: str, start: bytes) -> None:
    """Refuse a file of another known format, judging by its first 8 bytes. A header
    length contains zero bytes, which text does not."""
    for magic, format in OTHER_FORMATS.items():
        if start.startswith(magic):
            raise ModelFileError(
                f"[load] {path!r} is {format}, not a Kurve file. Try "
                "kurve.models.load_model(path) in Python if it is a model of Keras, "
                "then model.save('model.kurve').",
                "header",
            )
    if len(start) == 8 and all(byte in TEXT_BYTES for byte in start):
        raise ModelFileError(
            f"[load] {path!r} is a text file, not a Kurve file. "
            "Try a file written by `kurve fit` or `save`.",
            "header",
        )


class Reader:
    """An open file; see `opened`.

    info:    the description
    entries: the arrays by name, in file order
    """

    def __init__(self, path: str, file: BinaryIO, size: int) -> None:
        self.path, self._file = path, file
        start = file.read(8)
        _refuse_other_formats(path, start)
        length = int.from_bytes(start, "little")
        if len(start) < 8 or not 2 <= length <= min(MAX_HEADER, size - 8):
            raise damaged(
                path,
                "header",
                f"its length is {length} of {size} bytes: not a Kurve file",
            )
        header = file.read(length)
        if len(header) != length:
            raise damaged(path, "header", "it is truncated")
        if not header.startswith(PREFIX):
            raise damaged(path, "__metadata__", "Kurve did not write this file")
        _check_digest(path, start, header)
        # Keeps only one copy of a long header in memory.
        text = header.decode("latin-1")
        del header
        try:
            entries = parse(text)
        except (ValueError, RecursionError) as error:
            raise damaged(path, "header", f"it cannot be read, {error}") from error
        del text
        if not isinstance(entries, dict):
            raise damaged(path, "header", "it must be an object")
        described, sums = _metadata(path, entries)
        if set(sums) != set(entries):
            name = next(name for name in entries if name not in sums)
            raise damaged(path, f"sha256:{name[:80]}", "it is missing")
        self.entries = _entries(path, entries, sums, size - 8 - length)
        self.info = _info(path, described)
        self._data_start = 8 + length
        self._claimed: set[str] = set()

    def read(self, name: str) -> np.ndarray:
        """Read the named array into newly allocated memory.

        Raises:
            ModelFileError: its checksum does not match.
        """
        entry = self.entries[name]
        array = np.empty(entry.shape, entry.dtype.newbyteorder("="))
        self.read_into(name, array)
        return array

    def read_into(self, name: str, array: np.ndarray) -> None:
        """Read into a contiguous array of the same shape and dtype."""
        entry = self.entries[name]
        assert array.shape == entry.shape and array.flags.c_contiguous
        assert array.dtype == entry.dtype.newbyteorder("=")
        self._read_array(name, array.reshape(-1).view(np.uint8))
        if sys.byteorder == "big":
            array.byteswap(inplace=True)

    def claim(
        self, name: str, shape: tuple[int | None, ...], dtype: Any = np.float32
    ) -> Entry:
        """The entry of an array that must exist with this dtype and shape and that has
        not been claimed before; None in `shape` matches any length."""
        entry = self.entries.get(name)
        field = f"tensors.{name[:80]}"
        if entry is None or name in self._claimed:
            raise damaged(self.path, field, "it is missing")
        fits = len(shape) == len(entry.shape) and all(
            expected in (None, size)
            for expected, size in zip(shape, entry.shape, strict=True)
        )
        if not fits or entry.dtype.newbyteorder("=") != dtype:
            expected = f"{np.dtype(dtype)} {shape}"
            what = f"it is {entry.dtype.name} {entry.shape}, but must be {expected}"
            raise damaged(self.path, field, what)
        self._claimed.add(name)
        return entry

    def expect_all_claimed(self) -> None:
        """Refuse a file with arrays that nothing has claimed."""
        for name in self.entries:
            if name not in self._claimed:
                what = "it is unknown"
                raise damaged(self.path, f"tensors.{name[:80]}", what)

    def check(self, name: str) -> None:
        """Verify an array's checksum without keeping the array in memory."""
        self._read_array(name, None)

    def _read_array(self, name: str, into: np.ndarray | None) -> None:
        entry = self.entries[name]
        self._file.seek(self._data_start + entry.start)
        buffer = np.empty(min(entry.nbytes, PIECE), np.uint8) if into is None else into
        digest, done = hashlib.sha256(), 0
        while done < entry.nbytes:
            start = 0 if into is None else done
            piece = buffer[start : start + min(entry.nbytes - done, PIECE)]
            count = self._file.readinto(piece)  # type: ignore[attr-defined]
            if not count:
                raise damaged(self.path, f"tensors.{name[:80]}", "it is truncated")
            digest.update(piece[:count].data)
            done += count
        if digest.hexdigest() != entry.sha256:
            what = "its SHA-256 does not match"
            raise damaged(self.path, f"tensors.{name[:80]}", what)


# ------------------------------------------------------------------------- the header


def _check_digest(path: str, start: bytes, header: bytes) -> None:
    end = len(PREFIX) + 64
    blank = hashlib.sha256(start + PREFIX + ZEROS.encode())
    blank.update(memoryview(header)[end:])
    if blank.hexdigest().encode() != header[len(PREFIX) : end]:
        raise damaged(path, "header", "its SHA-256 does not match")


def _metadata(path: str, header: dict[str, Any]) -> tuple[str, dict[str, str]]:
    """The description as text, and the arrays' checksums by name."""
    metadata = header.pop("__metadata__", None)
    texts = isinstance(metadata, dict) and all(
        isinstance(value, str) for value in metadata.values()
    )
    if not texts or "kurve" not in metadata:
        raise damaged(path, "__metadata__", "Kurve did not write this file")
    described: str = metadata.pop("kurve")
    del metadata["sha256"]
    if metadata.pop("format", None) != f"kurve {VERSION}":
        raise damaged(path, "format", f"it is not 'kurve {VERSION}'")
    sums = {}
    for key, value in metadata.items():
        name = key.removeprefix("sha256:")
        if name == key or name not in header:
            raise damaged(path, "__metadata__", f"{key[:80]!r} is unknown")
        sums[name] = value
    return described, sums


def _info(path: str, text: str) -> dict[str, Any]:
    try:
        info = parse(text)
    except (ValueError, RecursionError) as error:
        raise damaged(path, "kurve", f"it cannot be read, {error}") from error
    if not isinstance(info, dict):
        raise damaged(path, "kurve", "it must be an object")
    return info


def _entries(
    path: str, header: dict[str, Any], sums: dict[str, str], size: int
) -> dict[str, Entry]:
    """The entries, checked to cover `size` bytes contiguously."""
    if len(header) > MAX_TENSORS:
        raise damaged(path, "tensors", f"there are more than {MAX_TENSORS}")
    entries: dict[str, Entry] = {}
    offset = 0
    for name, given in header.items():
        entry = _entry(path, name, given, sums[name])
        if entry.start != offset:
            raise damaged(path, f"tensors.{name[:80]}", "it overlaps or leaves a gap")
        offset += entry.nbytes
        if offset > size:
            raise damaged(
                path, f"tensors.{name[:80]}", "it ends after the end of the file"
            )
        entries[name] = entry
    if offset != size:
        raise damaged(path, "tensors", "there are bytes after the last tensor")
    return entries


def _entry(path: str, name: str, given: Any, sha256: str) -> Entry:
    """One entry, checked for a consistent dtype, shape and offsets."""
    field = f"tensors.{name[:80]}"
    if not 0 < len(name) <= MAX_NAME:
        raise damaged(path, field, f"its name has {len(name)} characters")
    if not isinstance(given, dict) or set(given) != {"dtype", "shape", "data_offsets"}:
        raise damaged(path, field, "it must have dtype, shape and data_offsets")
    dtype, shape, offsets = given["dtype"], given["shape"], given["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise damaged(path, f"{field}.dtype", f"it is not one of {', '.join(DTYPES)}")
    if not _are_sizes(shape) or len(shape) > MAX_RANK:
        raise damaged(path, f"{field}.shape", "it is not a shape")
    if not _are_sizes(offsets) or len(offsets) != 2:
        raise damaged(path, f"{field}.data_offsets", "they must be two offsets")
    entry = Entry(DTYPES[dtype], tuple(shape), offsets[0], sha256)
    if offsets[1] - offsets[0] != entry.nbytes:
        raise damaged(path, f"{field}.data_offsets", "they do not fit the shape")
    return entry


def _are_sizes(values: Any) -> bool:
    return isinstance(values, list) and all(
        type(size) is int and 0 <= size < 2**48 for size in values
    )


def _check_holes(path: str, handle: int, size: int) -> None:
    """Refuse a large sparse file with almost no data."""
    if size <= PIECE or not hasattr(os, "SEEK_DATA"):
        return
    data_bytes = position = 0
    try:
        for _ in range(10_000):
            start = os.lseek(handle, position, os.SEEK_DATA)
            position = os.lseek(handle, start, os.SEEK_HOLE)
            data_bytes += position - start
            if data_bytes * MAX_HOLES >= size:
                break
    except OSError:  # no more data, or a file system without sparse files
        pass
    else:
        data_bytes = size
    finally:
        os.lseek(handle, 0, os.SEEK_SET)
    if 0 < data_bytes * MAX_HOLES < size:
        raise damaged(
            path, "file", f"all but {data_bytes} of its {size} bytes are holes"
        )
