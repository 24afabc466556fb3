"""The messages of HDF5's object headers: from bytes to shapes, types and places.

Each function raises `HDF5Error` for corrupt or unsupported data.
Source: HDF5 File Format Specification, version 3.0, section IV.A.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

SPACE, LINKS, TYPE, LINK, LAYOUT = 0x01, 0x02, 0x03, 0x06, 0x08
FILTERS, ATTRIBUTE, SYMBOLS, ATTRIBUTES = 0x0B, 0x0C, 0x11, 0x15
REFUSED = {0x07: "external storage", 0x0F: "a shared message table"}
DEFLATE, SHUFFLE = 1, 2
MAX_RANK = 8
_NOWHERE = (1 << 64) - 1
_FLOATS = {
    2: (16, 10, 5, 0, 10, 15),
    4: (32, 23, 8, 0, 23, 127),
    8: (64, 52, 11, 0, 52, 1023),
}
"""Precision, position and size of the exponent and of the mantissa, bias."""


class HDF5Error(ValueError):
    """A file that is corrupt or contains unsupported data."""


@dataclass(frozen=True)
class Type:
    """A datatype: NumPy's for numbers and fixed text; `text` for text in the heap."""

    dtype: np.dtype[Any] | None
    size: int
    text: bool = False


Attribute = tuple[Type, tuple[int, ...], bytes]
"""Type, shape and raw value."""


def check(body: bytes, size: int) -> None:
    """Refuse a message with fewer bytes."""
    if len(body) < size:
        raise HDF5Error(f"a message has {len(body)} of {size} bytes")


def number(body: bytes, at: int, size: int) -> int:
    check(body, at + size)
    return int.from_bytes(body[at : at + size], "little")


def space(body: bytes) -> tuple[int, ...]:
    """The shape of a dataset or attribute."""
    version, rank = number(body, 0, 1), number(body, 1, 1)
    if version not in (1, 2) or rank > MAX_RANK:
        raise HDF5Error(f"a shape of version {version} and rank {rank}")
    if version == 2 and number(body, 3, 1) == 2:
        return (0,)
    at = 8 if version == 1 else 4
    return tuple(number(body, at + 8 * i, 8) for i in range(rank))


def datatype(body: bytes) -> Type:
    """Integers and floats of the usual sizes, text of a fixed length or in the heap."""
    check(body, 8)
    kind, bits, size = body[0] & 15, body[1], number(body, 4, 4)
    order = ">" if bits & 1 else "<"
    if kind == 0 and size in (1, 2, 4, 8):
        all_bits = (number(body, 8, 2), number(body, 10, 2)) == (0, 8 * size)
        if all_bits:
            sign = "i" if bits & 8 else "u"
            return Type(np.dtype(f"{order}{sign}{size}"), size)
    if kind == 1 and size in _FLOATS:
        places = (number(body, 10, 2), *body[12:16], number(body, 16, 4))
        usual = places == _FLOATS[size] and body[2] == 8 * size - 1
        if usual and not bits & 0x40 and bits >> 4 & 3 == 2 and number(body, 8, 2) == 0:
            return Type(np.dtype(f"{order}f{size}"), size)
    if kind == 3 and 0 < size < 1 << 16:
        return Type(np.dtype(f"S{size}"), size)
    if kind == 9 and bits & 15 == 1 and size == 16:
        return Type(None, size, text=True)
    raise HDF5Error(f"a type of class {kind} and {size} bytes is refused")


def layout(body: bytes, name: str) -> tuple[Any, ...]:
    """("bytes", address, size), or ("chunks", address of the tree, their shape).

    A compact dataset is stored in its message, whose address is not known here; Keras
    writes none.
    """
    version, kind = number(body, 0, 1), number(body, 1, 1)
    if kind == 3:
        raise HDF5Error(f"{name!r} is a virtual dataset, which is refused")
    if version in (3, 4) and kind == 1:
        at, size = number(body, 2, 8), number(body, 10, 8)
        if at == _NOWHERE and size:
            raise HDF5Error(f"{name!r} was never written")
        return "bytes", at, size
    if version == 3 and kind == 2:
        rank = number(body, 2, 1)
        if not 1 <= rank <= MAX_RANK + 1:
            raise HDF5Error(f"{name!r} has chunks of rank {rank}")
        shape = tuple(number(body, 11 + 4 * i, 4) for i in range(rank))
        if number(body, 3, 8) == _NOWHERE:
            raise HDF5Error(f"{name!r} was never written")
        return "chunks", number(body, 3, 8), shape
    raise HDF5Error(f"the layout {version}.{kind} of {name!r} is refused")


def filters(body: bytes, name: str) -> tuple[int, ...]:
    """The filters in the order of writing."""
    version, count = number(body, 0, 1), number(body, 1, 1)
    if version not in (1, 2) or count > 4:
        raise HDF5Error(f"the filters of {name!r} cannot be read")
    at, kinds = 8 if version == 1 else 2, []
    for _ in range(count):
        kind = number(body, at, 2)
        if kind not in (DEFLATE, SHUFFLE) or kind in kinds:
            raise HDF5Error(
                f"{name!r} has the filter {kind}; only gzip and shuffle are supported"
            )
        length = number(body, at + 2, 2) if version == 1 else 0
        values = number(body, at + (6 if version == 1 else 4), 2)
        at += (8 if version == 1 else 6) + -(-length // 8) * 8 + 4 * values
        at += 4 * (values % 2) if version == 1 else 0
        kinds.append(kind)
    return tuple(kinds)


def link(body: bytes, name: str) -> tuple[str, int]:
    """Name and address of a member that is stored in the header itself."""
    version, flags = number(body, 0, 1), number(body, 1, 1)
    at = 2
    kind = 0
    if flags & 8:
        kind, at = number(body, at, 1), at + 1
    if version != 1 or kind:
        raise HDF5Error(f"{name!r} has a soft or external link, which is refused")
    at += 8 * (flags >> 2 & 1) + (flags >> 4 & 1)
    width = 1 << (flags & 3)
    length = number(body, at, width)
    at += width
    check(body, at + length + 8)
    try:
        member = body[at : at + length].decode()
    except UnicodeDecodeError as error:
        raise HDF5Error(f"a name in {name!r} is not text") from error
    return member, number(body, at + length, 8)


def check_not_dense(body: bytes, order: int, what: str, name: str) -> None:
    """Refuse members or attributes in a fractal heap, which h5py does not write by
    default.

    order: bytes of the largest creation index, if it is stored.
    """
    at = 2 + order * (number(body, 1, 1) & 1)
    if number(body, at, 8) != _NOWHERE:
        raise HDF5Error(f"{name!r} stores its {what} in a newer form than Keras writes")


def attribute(body: bytes, name: str) -> tuple[str, Attribute]:
    """Name, type, shape and raw value. An unsupported type is an error only when the
    attribute is read."""
    version, flags = number(body, 0, 1), number(body, 1, 1)
    if version not in (1, 2, 3) or (version > 1 and flags & 3):
        raise HDF5Error(f"an attribute of {name!r} cannot be read")
    lengths = [number(body, i, 2) for i in (2, 4, 6)]
    at, parts = 9 if version == 3 else 8, []
    for length in lengths:
        check(body, at + length)
        parts.append(body[at : at + length])
        at += -(-length // 8) * 8 if version == 1 else length
    try:
        title = parts[0].rstrip(b"\0").decode()
    except UnicodeDecodeError as error:
        raise HDF5Error(f"an attribute's name of {name!r} is not text") from error
    try:
        kind = datatype(parts[1])
    except HDF5Error:
        kind = Type(None, 1)
    return title, (kind, space(parts[2]), body[at:])
