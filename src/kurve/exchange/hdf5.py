"""A hardened reader for the HDF5 files that Keras writes. It never runs code.

libhdf5 trusts the contents of a file; this reader does not. It supports what
h5py writes by default: groups (symbol tables, and links in object headers), attributes
of text and numbers, contiguous or chunked datasets of numbers, with gzip and shuffle as
filters. Everything else is refused: soft and external links, external and virtual
storage, references, other filters and types. Each size is checked against the file's
before memory is allocated, each structure is read once, and their number is limited. So
is their total size after decompression, because chunks, arrays, headers and texts of a
malicious file can overlap.

Source: HDF5 File Format Specification, version 3.0 (The HDF Group).
"""

from __future__ import annotations

import hashlib
import itertools
import math
import zlib
from typing import Any

import numpy as np

from kurve.exchange import hdf5_messages as messages
from kurve.exchange.hdf5_messages import HDF5Error
from kurve.exchange.hdf5_objects import Dataset as Dataset
from kurve.exchange.hdf5_objects import Group as Group
from kurve.exchange.hdf5_objects import Objects

MAGIC = b"\x89HDF\r\n\x1a\n"
MAX_TEXT = 1 << 23
MAX_UNPACKED = 4
ROOM = 4 << 20
"""All arrays of a file together have at most `ROOM` bytes plus `MAX_UNPACKED` per byte
of the file. Trained weights hardly compress; weights with two optimizer slots of zeros
compress to a third."""


def room(size: int) -> int:
    """Maximum decompressed size for a file of this size."""
    return ROOM + MAX_UNPACKED * size


class Reader(Objects):
    """The groups and datasets of an HDF5 file in memory.

        reader = Reader(raw)
        group = reader.group("layers/dense/vars")
        kernel = reader.array(reader.dataset(group, "0"), (3, 4))

    Args:
        size: size of the file that `raw` was decompressed from, if any.

    Raises:
        HDF5Error: from every method, for a corrupt file.
    """

    def __init__(self, raw: bytes, size: int | None = None) -> None:
        super().__init__(raw)
        self._room = room(len(raw) if size is None else size)
        self._unpacked = 0
        self._heaps: dict[int, dict[int, tuple[int, int]]] = {}
        if raw[:8] != MAGIC:
            raise HDF5Error("it does not start as an HDF5 file")
        version = self._number(8, 1)
        if version in (0, 1):
            sizes, at = (self._number(13, 1), self._number(14, 1)), 24 + 4 * version
            root = self._number(at + 40, 8)
        elif version in (2, 3):
            sizes, at = (self._number(9, 1), self._number(10, 1)), 12
            root = self._number(at + 24, 8)
        else:
            raise HDF5Error(f"the superblock is of version {version}")
        end = self._number(at + 16, 8)
        if sizes != (8, 8) or self._number(at, 8) != 0:
            raise HDF5Error("its addresses are not 8 bytes from the start of the file")
        if end > len(raw):
            raise HDF5Error("it is cut off")
        self.root = self._group_at(root, "/")

    def group(self, path: str, within: Group | None = None) -> Group:
        """The group at a path, with names separated by slashes."""
        group = within or self.root
        for name in path.split("/"):
            if name not in group.members:
                raise HDF5Error(f"there is no group {path!r} in {group.name!r}")
            group = self._group_at(group.members[name], _join(group.name, name))
        return group

    def has(self, path: str, within: Group | None = None) -> bool:
        """Whether there is a group or dataset at that path."""
        head, _, name = path.rpartition("/")
        try:
            group = self.group(head, within) if head else within or self.root
        except HDF5Error:
            return False
        return name in group.members

    def groups(self, path: str, within: Group | None = None) -> list[str]:
        """The names of its subgroups; empty if it does not exist."""
        if not self.has(path, within):
            return []
        group = self.group(path, within)
        return [
            name
            for name, at in group.members.items()
            if isinstance(self._object(at, _join(group.name, name)), Group)
        ]

    def dataset(self, group: Group, path: str) -> Dataset:
        """The dataset at that path in a group."""
        head, _, name = path.rpartition("/")
        if head:
            group = self.group(head, group)
        if name not in group.members:
            raise HDF5Error(f"there is no dataset {_join(group.name, name)!r}")
        member = self._object(group.members[name], _join(group.name, name))
        if not isinstance(member, Dataset):
            raise HDF5Error(f"{member.name!r} is a group, not a dataset")
        return member

    def array(self, dataset: Dataset, shape: tuple[int, ...]) -> np.ndarray:
        """The numbers of a dataset, which must have this shape: memory is allocated
        after that check."""
        dtype = dataset.type.dtype
        if dtype is None or dtype.kind not in "iuf":
            raise HDF5Error(f"{dataset.name!r} does not hold numbers")
        if dataset.shape != shape:
            raise HDF5Error(
                f"{dataset.name!r} must have shape {shape}, and has {dataset.shape}"
            )
        self._unpacked += dataset.nbytes
        if self._unpacked > self._room:
            raise HDF5Error(
                f"{dataset.name!r} and all before it have {self._unpacked} bytes, "
                f"and the file has room for {self._room}. "
                "Try a file with less compression"
            )
        kind, *where = dataset.layout
        if kind == "chunks":
            return self._chunks(dataset, *where)
        at, size = where
        if size != dataset.nbytes:
            raise HDF5Error(f"{dataset.name!r} has {size} bytes for {shape}")
        if size:
            self._check_inside(at, size)
        count = math.prod(shape)
        return np.frombuffer(self._raw, dtype, count, at if size else 0).reshape(shape)

    def text(self, group: Group, name: str) -> str | None:
        """A string attribute; None if it does not exist."""
        if name not in group.attributes:
            return None
        texts = self._texts(group, name)
        if len(texts) != 1:
            raise HDF5Error(f"attribute {name!r} of {group.name!r} is not one text")
        return texts[0]

    def texts(self, group: Group, name: str) -> list[str] | None:
        """A string-list attribute, which Keras splits into name0, name1,
        ... if it is long; None if it is not there."""
        if name in group.attributes:
            return self._texts(group, name)
        parts = itertools.takewhile(
            group.attributes.__contains__, (f"{name}{i}" for i in itertools.count())
        )
        lists = [self._texts(group, part) for part in parts]
        return [text for part in lists for text in part] if lists else None

    def digest(self, without: str) -> str:
        """SHA-256 of all names, texts and arrays, independent of their order in the
        file, but without one attribute of the root."""
        total, before = hashlib.sha256(), self._unpacked
        waiting = [self.root]
        while waiting:
            group = waiting.pop()
            for name, (kind, shape, raw) in sorted(group.attributes.items()):
                if group is self.root and name == without:
                    continue
                known = kind.text or (kind.dtype is not None and kind.dtype.kind == "S")
                value: Any = self._texts(group, name) if known else raw
                total.update(repr((group.name, name, shape, value)).encode())
            for name in sorted(group.members):
                title = _join(group.name, name)
                member = self._object(group.members[name], title)
                if member.name != title:
                    raise HDF5Error(f"{title!r} and {member.name!r} are one object")
                if isinstance(member, Group):
                    waiting.append(member)
                    continue
                array = self.array(member, member.shape)
                head = (title, member.shape, array.dtype.str)
                total.update(repr(head).encode())
                total.update(
                    np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
                )
        self._unpacked = before
        return total.hexdigest()

    # ---------------------------------------------------------------- arrays

    def _chunks(
        self, dataset: Dataset, tree: int, chunk: tuple[int, ...]
    ) -> np.ndarray:
        """The numbers of a chunked dataset; each chunk must occur exactly once."""
        name, shape, size = dataset.name, dataset.shape, dataset.type.size
        fits = len(chunk) == len(shape) + 1 and chunk[-1] == size
        if (
            not shape
            or not fits
            or not all(1 <= c <= n for c, n in zip(chunk, shape, strict=False))
        ):
            raise HDF5Error(f"the chunks {chunk} of {name!r} do not fit {shape}")
        chunk, rank = chunk[:-1], len(shape)
        chunk_bytes = math.prod(chunk) * size
        entries = self._leaves(tree, 1, 8 + 8 * (rank + 1))
        expected = math.prod(-(-n // c) for n, c in zip(shape, chunk, strict=True))
        if len(entries) != expected:
            raise HDF5Error(f"{name!r} has {len(entries)} of {expected} chunks")
        if chunk_bytes > self._room:
            raise HDF5Error(f"the chunks {chunk} of {name!r} are larger than the file")
        result = np.empty(shape, dataset.type.dtype)
        seen = set()
        for entry in entries:
            stored, skipped = self._number(entry, 4), self._number(entry + 4, 4)
            offset = tuple(self._number(entry + 8 + 8 * i, 8) for i in range(rank))
            at = self._number(entry + 8 + 8 * (rank + 1), 8)
            inside = all(
                o < n and o % c == 0
                for o, n, c in zip(offset, shape, chunk, strict=True)
            )
            if skipped or not inside or offset in seen:
                raise HDF5Error(f"the chunk {offset} of {name!r} is corrupt")
            seen.add(offset)
            raw = self._unfiltered(self._bytes(at, stored), dataset, chunk_bytes)
            block = np.frombuffer(raw, result.dtype).reshape(chunk)
            place = tuple(
                slice(o, min(o + c, n))
                for o, c, n in zip(offset, chunk, shape, strict=True)
            )
            result[place] = block[tuple(slice(0, p.stop - p.start) for p in place)]
        return result

    def _unfiltered(self, raw: bytes, dataset: Dataset, size: int) -> bytes:
        for kind in reversed(dataset.filters):
            if kind == messages.DEFLATE:
                unpacker = zlib.decompressobj()
                try:
                    raw = unpacker.decompress(raw, size + 1)
                except zlib.error as error:
                    raise HDF5Error(f"a chunk of {dataset.name!r}: {error}") from error
                if not unpacker.eof:
                    raise HDF5Error(f"a chunk of {dataset.name!r} is incomplete")
            elif len(raw) == size:  # shuffle: all first bytes, all second bytes, ...
                lanes = np.frombuffer(raw, np.uint8).reshape(dataset.type.size, -1)
                raw = lanes.T.tobytes()
        if len(raw) != size:
            raise HDF5Error(f"a chunk of {dataset.name!r} has {len(raw)} bytes")
        return raw

    # ---------------------------------------------------------------- texts

    def _texts(self, group: Group, name: str) -> list[str]:
        kind, shape, data = group.attributes[name]
        count = math.prod(shape)
        if not count:
            return []
        if len(shape) > 1 or len(data) < count * kind.size:
            raise HDF5Error(f"attribute {name!r} of {group.name!r} is cut off")
        items = [data[i * kind.size : (i + 1) * kind.size] for i in range(count)]
        if kind.text:
            if sum(int.from_bytes(item[:4], "little") for item in items) > len(
                self._raw
            ):
                raise HDF5Error(f"the texts of {name!r} overlap")
            items = [self._heap_text(item) for item in items]
        elif kind.dtype is None or kind.dtype.kind != "S":
            raise HDF5Error(f"attribute {name!r} of {group.name!r} is not text")
        try:
            return [item.rstrip(b"\0").decode() for item in items]
        except UnicodeDecodeError as error:
            raise HDF5Error(f"attribute {name!r} of {group.name!r}: {error}") from error

    def _heap_text(self, item: bytes) -> bytes:
        """Text in a global heap: its length, the heap's address, its number there."""
        length, at, index = (
            int.from_bytes(item[i:j], "little") for i, j in ((0, 4), (4, 12), (12, 16))
        )
        if not length:
            return b""
        if length > MAX_TEXT:
            raise HDF5Error(f"a text of {length} bytes is too long")
        place, size = self._heap(at).get(index, (0, 0))
        if size < length:
            raise HDF5Error(f"there is no complete text {index} in the heap at {at}")
        return self._bytes(place, length)

    def _heap(self, at: int) -> dict[int, tuple[int, int]]:
        """Address and size of each object in a global heap, by index."""
        if at in self._heaps:
            return self._heaps[at]
        self._signed(at, b"GCOL")
        objects: dict[int, tuple[int, int]] = {}
        here, end = at + 16, at + self._number(at + 8, 8)
        while here + 16 <= end:
            self._count()
            number, size = self._number(here, 2), self._number(here + 8, 8)
            if number == 0 or number in objects:
                break
            objects[number] = here + 16, size
            here += 16 + -(-size // 8) * 8
        self._heaps[at] = objects
        return objects


def _join(group: str, name: str) -> str:
    return name if group == "/" else f"{group}/{name}"
