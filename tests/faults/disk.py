"""A disk that loses power: what may be on it after each prefix of a save's operations.

What was not synced may be there or not, sector by sector, and names may change before
or after the data that they stand for. So a rename may be on the disk while the file has
none of its bytes, or zeros in their place.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations

SECTOR = 512
OPEN, WRITE, FSYNC, RENAME, UNLINK, CLOSE, FOLDER = range(1, 8)


@dataclass
class Operation:
    """One record of the shim's log."""

    op: int
    fd: int
    offset: int
    data: bytes


def operations(log: bytes) -> list[Operation]:
    """The log of `io_shim.c`."""
    found, place = [], 0
    while place < len(log):
        op, fd, offset, size = struct.unpack_from("<iiqq", log, place)
        place += 24
        found.append(Operation(op, fd, offset, log[place : place + size]))
        place += size
    return found


@dataclass
class Inode:
    """A file without a name: what is on the disk for sure, and what was written since,
    in sectors."""

    synced: bytes = b""
    pending: list[tuple[int, bytes]] = field(default_factory=list)

    def write(self, offset: int, data: bytes) -> None:
        while data:
            size = SECTOR - offset % SECTOR
            self.pending.append((offset, data[:size]))
            offset, data = offset + size, data[size:]

    def sync(self) -> None:
        self.synced, self.pending = self.with_writes(self.pending), []

    def with_writes(self, writes: list[tuple[int, bytes]], size: int = 0) -> bytes:
        content = bytearray(self.synced.ljust(size, b"\0"))
        for offset, data in writes:
            content.extend(bytes(max(0, offset + len(data) - len(content))))
            content[offset : offset + len(data)] = data
        return bytes(content)

    def versions(self, rng: random.Random, count: int) -> Iterator[bytes]:
        """What may be on the disk: nothing, all, all but one sector, one sector only,
        every beginning, and `count` choices at random; each with the file's length, or
        cut at its last sector that is there."""
        every = self.pending
        whole = max((o + len(d) for o, d in every), default=0)
        chosen: list[list[tuple[int, bytes]]] = [every, []]
        for i in range(len(every)):
            chosen += [every[:i] + every[i + 1 :], [every[i]], every[:i]]
        for _ in range(count if every else 0):
            chosen.append([w for w in every if rng.random() < 0.5])
        for writes in chosen:
            yield self.with_writes(writes)
            yield self.with_writes(writes, whole)


def states(
    done: list[Operation], before: dict[str, bytes], rng: random.Random, count: int
) -> Iterator[dict[str, bytes]]:
    """Each folder that a power failure after these operations may leave."""
    names = {path: Inode(content) for path, content in before.items()}
    durable = dict(names)
    handles: dict[int, Inode | None] = {}
    changes: list[tuple[str, str, Inode | None]] = []  # not synced: from, to, inode
    for o in done:
        if o.op == OPEN:
            path = o.data.decode()
            if path not in names:
                names[path] = Inode()
                changes.append(("", path, names[path]))
            handles[o.fd] = names[path]
        elif o.op == FOLDER:
            handles[o.fd] = None
        elif o.op == WRITE:
            inode = handles[o.fd]
            assert inode is not None
            inode.write(o.offset, o.data)
        elif o.op == FSYNC:
            inode = handles[o.fd]
            if inode is not None:
                inode.sync()
            else:
                durable, changes = dict(names), []
        elif o.op == RENAME:
            source, target = o.data.decode().split("\0")
            names[target] = names.pop(source)
            changes.append((source, target, names[target]))
        elif o.op == UNLINK:
            changes.append((o.data.decode(), "", names.pop(o.data.decode())))
    for size in range(len(changes) + 1):
        for kept in combinations(changes, size):
            there = dict(durable)
            for source, target, inode in kept:
                there.pop(source, None)
                if target and inode is not None:
                    there[target] = inode
            yield from _contents(there, rng, count)


def _contents(
    there: dict[str, Inode], rng: random.Random, count: int
) -> Iterator[dict[str, bytes]]:
    loose = [path for path, inode in there.items() if inode.pending]
    deterministic = {path: inode.synced for path, inode in there.items()}
    if not loose:
        yield deterministic
    for path in loose:  # one file at a time is written here
        for content in there[path].versions(rng, count):
            yield deterministic | {path: content}
