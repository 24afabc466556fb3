"""The objects of an HDF5 file, which `kurve.exchange.hdf5` reads: groups and datasets,
from headers, symbol tables and B-trees."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from kurve.exchange import hdf5_messages as messages
from kurve.exchange.hdf5_messages import Attribute, HDF5Error, Type

MAX_STRUCTURES = 300_000
MAX_NAME = 1 << 16


@dataclass
class Dataset:
    """Location and type of an array that has not been read yet."""

    name: str
    shape: tuple[int, ...]
    type: Type
    layout: tuple[Any, ...]
    filters: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.type.size


@dataclass
class Group:
    """Names of members with the addresses of their headers, and attributes."""

    name: str
    members: dict[str, int]
    attributes: dict[str, Attribute] = field(default_factory=dict)


class Objects:
    """The bytes of a file, and the objects in them; each structure is read once.

    Raises:
        HDF5Error: from every method, for a corrupt file.
    """

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._structures = self._headers = 0
        self._objects: dict[int, Group | Dataset] = {}

    # ---------------------------------------------------------------- bytes

    def _check_inside(self, at: int, size: int) -> None:
        if at < 0 or size < 0 or at + size > len(self._raw):
            raise HDF5Error(f"{size} bytes at {at} lie beyond the end of the file")

    def _bytes(self, at: int, size: int) -> bytes:
        self._check_inside(at, size)
        return self._raw[at : at + size]

    def _number(self, at: int, size: int) -> int:
        return int.from_bytes(self._bytes(at, size), "little")

    def _count(self) -> None:
        self._structures += 1
        if self._structures > MAX_STRUCTURES:
            raise HDF5Error(f"it has more than {MAX_STRUCTURES} parts")

    def _signed(self, at: int, signature: bytes) -> None:
        self._count()
        if self._bytes(at, 4) != signature:
            raise HDF5Error(f"there is no {signature.decode()} at {at}")

    # ---------------------------------------------------------------- objects

    def _group_at(self, at: int, name: str) -> Group:
        group = self._object(at, name)
        if not isinstance(group, Group):
            raise HDF5Error(f"{name!r} is a dataset, not a group")
        return group

    def _object(self, at: int, name: str) -> Group | Dataset:
        if at not in self._objects:
            self._objects[at] = self._read_object(at, name)
        return self._objects[at]

    def _read_object(self, at: int, name: str) -> Group | Dataset:
        bodies: dict[int, list[bytes]] = {}
        for kind, body in self._messages(at, name):
            bodies.setdefault(kind, []).append(body)
        for kind, what in messages.REFUSED.items():
            if kind in bodies:
                raise HDF5Error(f"{name!r} has {what}, which is refused")
        if messages.LAYOUT in bodies:
            for needed in (messages.SPACE, messages.TYPE):
                if len(bodies.get(needed, [])) != 1:
                    raise HDF5Error(f"{name!r} has no shape or type")
            filters = bodies.get(messages.FILTERS, [])
            return Dataset(
                name,
                messages.space(bodies[messages.SPACE][0]),
                messages.datatype(bodies[messages.TYPE][0]),
                messages.layout(bodies[messages.LAYOUT][0], name),
                messages.filters(filters[0], name) if filters else (),
            )
        members: dict[str, int] = {}
        for body in bodies.get(messages.SYMBOLS, []):
            messages.check(body, 16)
            tree, heap = (int.from_bytes(body[i : i + 8], "little") for i in (0, 8))
            self._add_symbols(members, tree, heap, name)
        for body in bodies.get(messages.LINK, []):
            link, address = messages.link(body, name)
            if link in members:
                raise HDF5Error(f"{name!r} has two members {link!r}")
            members[link] = address
        for body in bodies.get(messages.LINKS, []):
            messages.check_not_dense(body, 8, "members", name)
        for body in bodies.get(messages.ATTRIBUTES, []):
            messages.check_not_dense(body, 2, "attributes", name)
        group = Group(name, members)
        for body in bodies.get(messages.ATTRIBUTE, []):
            title, value = messages.attribute(body, name)
            group.attributes[title] = value
        return group

    def _messages(self, at: int, name: str) -> list[tuple[int, bytes]]:
        """Kind and body of all messages of an object header."""
        result: list[tuple[int, bytes]] = []
        new = self._bytes(at, 4) == b"OHDR"
        if new:
            version, flags = self._number(at + 4, 1), self._number(at + 5, 1)
            start = at + 6 + 16 * (flags >> 5 & 1) + 4 * (flags >> 4 & 1)
            width = 1 << (flags & 3)
            blocks = [(start + width, self._number(start, width))]
            head = 4 + 2 * (flags >> 2 & 1)
        else:
            version = self._number(at, 1) + 1
            blocks = [(at + 16, self._number(at + 8, 4))]
            head = 8
        if version != 2:
            raise HDF5Error(f"the header of {name!r} is of an unknown version")
        seen = set()
        while blocks:
            start, size = blocks.pop(0)
            if start in seen:
                raise HDF5Error(f"the header of {name!r} is circular")
            seen.add(start)
            here, end = start, start + size
            self._check_inside(start, size)
            self._headers += size
            if self._headers > len(self._raw):
                raise HDF5Error("its headers overlap")
            while here + head <= end:
                self._count()
                wide = 1 if new else 2
                kind = self._number(here, wide)
                length = self._number(here + wide, 2)
                shared = self._number(here + wide + 2, 1) & 2
                body = self._bytes(here + head, length)
                here += head + length
                if here > end:
                    raise HDF5Error(f"a message of {name!r} is longer than its block")
                if kind == 0x10:
                    where, extent = (
                        int.from_bytes(body[i : i + 8], "little") for i in (0, 8)
                    )
                    if new:
                        self._signed(where, b"OCHK")
                        where, extent = where + 4, extent - 8
                    blocks.append((where, extent))
                elif shared and kind:
                    raise HDF5Error(f"{name!r} shares a message, which is refused")
                elif kind:
                    result.append((kind, body))
        return result

    def _add_symbols(
        self, members: dict[str, int], tree: int, heap: int, name: str
    ) -> None:
        """Add the members listed in a symbol table."""
        self._signed(heap, b"HEAP")
        size, data = self._number(heap + 8, 8), self._number(heap + 24, 8)
        self._check_inside(data, size)
        for node in self._leaves(tree, 0, 8):
            self._signed(node, b"SNOD")
            for i in range(self._number(node + 6, 2)):
                self._count()
                entry = node + 8 + 40 * i
                place = self._number(entry, 8)
                if self._number(entry + 16, 4) not in (0, 1):
                    raise HDF5Error(f"{name!r} has a soft link, which is refused")
                end = self._raw.find(
                    b"\0", data + place, data + min(size, place + MAX_NAME)
                )
                if not 0 < place < end - data:
                    raise HDF5Error(f"a name in {name!r} cannot be read")
                try:
                    member = self._raw[data + place : end].decode()
                except UnicodeDecodeError as error:
                    raise HDF5Error(f"a name in {name!r} is not text") from error
                if member in members:
                    raise HDF5Error(f"{name!r} has two members {member!r}")
                members[member] = self._number(entry + 8, 8)

    def _leaves(self, at: int, kind: int, key: int) -> list[int]:
        """What the leaves of a B-tree (version 1) point to: addresses of symbol nodes
        (kind 0), or chunk entries, whose keys hold their sizes (kind 1).

        key: bytes of the key before each address.
        """
        leaves, nodes, seen = [], [(at, -1)], set()
        while nodes:
            node, expected = nodes.pop()
            self._signed(node, b"TREE")
            level = self._number(node + 5, 1)
            if node in seen or self._number(node + 4, 1) != kind:
                raise HDF5Error(f"the tree at {at} is corrupt")
            if expected not in (-1, level) or level > 32:
                raise HDF5Error(f"the tree at {at} is corrupt")
            seen.add(node)
            for i in range(self._number(node + 6, 2)):
                self._count()
                entry = node + 24 + i * (key + 8)
                child = self._number(entry + key, 8)
                if level:
                    nodes.append((child, level - 1))
                else:
                    leaves.append(child if kind == 0 else entry)
        return leaves
