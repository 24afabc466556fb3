"""Write files in the format of `kurve.core.container.reading`."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from functools import partial
from typing import Any, BinaryIO

import numpy as np

from kurve.core.arguments import has_lone_surrogate
from kurve.core.container.reading import (
    DTYPES,
    MAX_HEADER,
    MAX_NAME,
    MAX_RANK,
    MAX_TENSORS,
    PIECE,
    PREFIX,
    VERSION,
    ZEROS,
)
from kurve.core.container.safe_json import parse
from kurve.core.files import named, replacing

_NAMES = {dtype.str: name for name, dtype in DTYPES.items()}


def write(
    path: str | os.PathLike[str],
    info: Mapping[str, Any],
    tensors: Mapping[str, np.ndarray],
) -> None:
    """Write a file atomically.

    Args:
        info: the description; its values must be JSON types.
        path: of the file.
        tensors: arrays of float32, float64, int64 or uint8, by name.

    Raises:
        TypeError: another dtype, or a value that JSON cannot represent.
        ValueError: anything `read` would refuse: names or a description that are too
            long, non-finite numbers.
        OSError: the file cannot be written; the old one is unchanged.

    Example:
        >>> kurve.saving.write("data.kurve", {"note": "mine"}, {"a": np.zeros(3)})
        >>> info, tensors = kurve.saving.read("data.kurve")
        >>> info["note"], tensors["a"].shape
        ('mine', (3,))
    """
    arrays = {
        name: np.asarray(tensor, tensor.dtype.newbyteorder("<"), order="C")
        for name, tensor in tensors.items()
    }
    described, entries, sums, size = _checked("save", info, arrays)
    try:
        with replacing(path) as file:
            file.write(bytes(8 + size))  # written last, because it holds the checksums
            for name, array in arrays.items():
                sums[name] = _write_array(file, array)
            header = _header(described, entries, sums)
            length = len(header).to_bytes(8, "little")
            digest = hashlib.sha256(length + header).hexdigest().encode()
            file.seek(0)
            file.write(length + PREFIX + digest + header[len(PREFIX) + 64 :])
    except OSError as error:
        raise named(error, path) from error


def check(where: str, info: Mapping[str, Any], tensors: Mapping[str, Any]) -> None:
    """Raise the errors that `write` would, without writing."""
    _checked(where, info, tensors)


def _checked(
    where: str, info: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> tuple[str, dict[str, Any], dict[str, str], int]:
    """The description as text, the entries of the arrays, zeros in place of their
    checksums, and the size of the header."""
    entries: dict[str, Any] = {}
    offset = 0
    for name, array in arrays.items():
        _check_writable(where, name, array)
        entries[name] = {
            "dtype": _NAMES[array.dtype.str],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
    sums = dict.fromkeys(arrays, ZEROS)
    described = _described(where, info)
    size = len(_header(described, entries, sums))
    if size > MAX_HEADER or len(arrays) > MAX_TENSORS:
        raise ValueError(
            f"[{where}] names and description must fit into {MAX_HEADER} "
            f"bytes of a file, with at most {MAX_TENSORS} arrays. "
            f"Received: {size} bytes, {len(arrays)} arrays. "
            "Try shorter or fewer names, levels or layers."
        )
    return described, entries, sums, size


def _check_writable(where: str, name: str, array: np.ndarray) -> None:
    if array.dtype.str not in _NAMES:
        raise TypeError(
            f"[{where}] arrays must be float32, float64, int64 or uint8. "
            f"Received: {name!r} of {array.dtype}. Try array.astype(np.float64)."
        )
    is_valid = 0 < len(name) <= MAX_NAME and name != "__metadata__"
    if not is_valid or array.ndim > MAX_RANK or has_lone_surrogate(name):
        raise ValueError(
            f"[{where}] arrays must have names of at most {MAX_NAME} characters and at "
            f"most {MAX_RANK} axes. Received: {name[:80]!r}, shape {array.shape}. "
            "Try shorter names of layers."
        )


def _described(where: str, info: Mapping[str, Any]) -> str:
    """The description as JSON that `parse` accepts."""
    try:
        text = json.dumps(info, allow_nan=False, default=partial(_plain, where))
        parse(text.encode())
    except ValueError as error:
        raise ValueError(
            f"[{where}] the configuration cannot be written: {error}. Try "
            "fewer numbers, all of them finite."
        ) from error
    return text


def _plain(where: str, value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(
        f"[{where}] a configuration must consist of numbers, strings, lists and dicts. "
        f"Received: {value!r} of type {type(value).__name__}. "
        "Try a get_config that returns the constructor's arguments."
    )


def _header(described: str, entries: dict[str, Any], sums: dict[str, str]) -> bytes:
    """The header, with zeros in place of its own checksum."""
    metadata = {"sha256": ZEROS, "format": f"kurve {VERSION}", "kurve": described}
    metadata |= {f"sha256:{name}": value for name, value in sums.items()}
    text = json.dumps({"__metadata__": metadata, **entries}, separators=(",", ":"))
    return text.encode() + b" " * (-len(text) % 8)


def _write_array(file: BinaryIO, array: np.ndarray) -> str:
    """Write an array and return the SHA-256 of the bytes written, even if another
    thread changes the array meanwhile."""
    raw = array.reshape(-1).view(np.uint8)
    digest = hashlib.sha256()
    for start in range(0, len(raw), PIECE):
        piece = raw[start : start + PIECE].tobytes()
        digest.update(piece)
        file.write(piece)
    return digest.hexdigest()
