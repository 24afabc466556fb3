"""Mutants of files: bytes that change, and files that are whole but say other things.

The format is written down here a second time, from its description alone.
"""

from __future__ import annotations

import copy
import hashlib
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

BEGIN = b'{"__metadata__":{"sha256":"'
NUMBERS: list[Any] = [
    0,
    1,
    -1,
    2,
    3,
    7,
    255,
    2**31,
    2**48,
    2**53,
    2**63,
    2**64,
    10**12,
    10**18,
    10**30,
    0.0,
    -0.0,
    0.5,
    -1.5,
    1e-300,
    1e308,
    3.0,
    True,
    False,
]
TEXTS = [
    "",
    "x",
    "1",
    "relu",
    "softmax",
    "custom>Dense",
    "Dense",
    "Dropout",
    "Adam",
    "os.system",
    "__import__('os')",
    "../../etc/passwd",
    "a\0b",
    "\ud800",
    "é" * 300,
    "x" * 5000,
    "Conv2D",
    "Reshape",
    "Flatten",
    "Pinball",
    "Orthogonal",
    "LossMetric",
]


@dataclass
class File:
    """A file in its parts."""

    described: Any
    metadata: dict[str, str]
    entries: dict[str, Any]
    data: bytes

    @classmethod
    def parsed(cls, raw: bytes) -> File:
        length = int.from_bytes(raw[:8], "little")
        header = json.loads(raw[8 : 8 + length])
        metadata = header.pop("__metadata__")
        described = json.loads(metadata.pop("kurve"))
        return cls(described, metadata, header, raw[8 + length :])

    def tensor(self, name: str) -> bytes:
        begin, end = self.entries[name]["data_offsets"]
        return self.data[begin:end]

    def summed(self) -> None:
        """Make all checksums of arrays right, where there is an array."""
        for name, entry in self.entries.items():
            try:
                begin, end = entry["data_offsets"]
                piece = self.data[begin:end]
            except (TypeError, KeyError, ValueError):
                continue
            self.metadata[f"sha256:{name}"] = hashlib.sha256(piece).hexdigest()

    def header(self, described: str | None = None) -> bytes:
        """The header, without its own checksum."""
        text = json.dumps(self.described) if described is None else described
        rest = {k: v for k, v in self.metadata.items() if k not in ("sha256", "format")}
        metadata = {
            "sha256": "0" * 64,
            "format": self.metadata["format"],
            "kurve": text,
            **rest,
        }
        whole = json.dumps(
            {"__metadata__": metadata, **self.entries}, separators=(",", ":")
        )
        return whole.encode("ascii", "replace")


def sealed(header: bytes, data: bytes) -> bytes:
    """A file with this header, its checksum made right."""
    header += b" " * (-len(header) % 8)
    length = len(header).to_bytes(8, "little")
    end = len(BEGIN) + 64
    if header.startswith(BEGIN) and len(header) > end:
        blank = header[: len(BEGIN)] + b"0" * 64 + header[end:]
        digest = hashlib.sha256(length + blank).hexdigest().encode()
        header = header[: len(BEGIN)] + digest + header[end:]
    return length + header + data


# ------------------------------------------------------------------- bytes that change


def changed_bytes(raw: bytes, rng: random.Random) -> bytes:
    """The file with some bytes changed, moved, lost or new; no checksum follows."""
    return rng.choice(BYTES)(bytearray(raw), rng)


def _flip(raw: bytearray, rng: random.Random) -> bytes:
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
    return bytes(raw)


def _set(raw: bytearray, rng: random.Random) -> bytes:
    for _ in range(rng.choice((1, 1, 2, 4))):
        raw[rng.randrange(len(raw))] = rng.randrange(256)
    return bytes(raw)


def _cut(raw: bytearray, rng: random.Random) -> bytes:
    return bytes(raw[: rng.randrange(len(raw))])


def _remove(raw: bytearray, rng: random.Random) -> bytes:
    begin = rng.randrange(len(raw))
    del raw[begin : begin + rng.choice((1, 4, 8, 64, 512))]
    return bytes(raw)


def _insert(raw: bytearray, rng: random.Random) -> bytes:
    begin = rng.randrange(len(raw) + 1)
    raw[begin:begin] = rng.randbytes(rng.choice((1, 4, 8, 64, 512)))
    return bytes(raw)


def _repeat(raw: bytearray, rng: random.Random) -> bytes:
    begin, size = rng.randrange(len(raw)), rng.choice((1, 8, 64, 512))
    raw[begin:begin] = raw[begin : begin + size]
    return bytes(raw)


def _swap(raw: bytearray, rng: random.Random) -> bytes:
    size = rng.choice((1, 4, 64))
    a, b = sorted(rng.sample(range(len(raw) - size), 2))
    raw[a : a + size], raw[b : b + size] = raw[b : b + size], raw[a : a + size]
    return bytes(raw)


def _zero(raw: bytearray, rng: random.Random) -> bytes:
    begin, size = rng.randrange(len(raw)), rng.choice((1, 8, 64, 512))
    size = min(size, len(raw) - begin)
    raw[begin : begin + size] = rng.choice((b"\0", b"\xff", b" ")) * size
    return bytes(raw)


def _length(raw: bytearray, rng: random.Random) -> bytes:
    length = int.from_bytes(raw[:8], "little")
    wrong = rng.choice(
        (0, 1, length - 8, length + 8, length + 1, 2**20, 2**20 + 8, 2**63, 2**64 - 1)
    )
    raw[:8] = (wrong % 2**64).to_bytes(8, "little")
    return bytes(raw)


def _digit(raw: bytearray, rng: random.Random) -> bytes:
    """Another digit somewhere in the header: still JSON."""
    length = int.from_bytes(raw[:8], "little")
    places = [i for i in range(8, 8 + length) if 48 <= raw[i] < 58]
    raw[rng.choice(places)] = 48 + rng.randrange(10)
    return bytes(raw)


BYTES: list[Callable[[bytearray, random.Random], bytes]] = [
    _flip,
    _flip,
    _set,
    _cut,
    _remove,
    _insert,
    _repeat,
    _swap,
    _zero,
    _length,
    _digit,
]


# ----------------------------------------------- whole files that say something else


def retold(raw: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """A file whose checksums are right and whose content is another one, so that what
    lies behind the checksums is reached too."""
    file = File.parsed(raw)
    return rng.choice(STORIES)(file, others, rng)


def _description(file: File, others: list[bytes], rng: random.Random) -> bytes:
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        file.described = _mutated(file.described, others, rng)
    text = json.dumps(file.described)
    if rng.random() < 0.15:
        text = _mutated_text(text, rng)
    return sealed(file.header(text), file.data)


def _table(file: File, others: list[bytes], rng: random.Random) -> bytes:
    """Names, shapes, dtypes and places of the arrays."""
    if not file.entries:
        return _description(file, others, rng)
    name = rng.choice(list(file.entries))
    entry = file.entries[name]
    what = rng.randrange(9)
    if what == 0:
        entry["dtype"] = rng.choice(
            ["F32", "F64", "I64", "U8", "F16", "BOOL", "", None]
        )
    elif what == 1:
        entry["shape"] = _mutated(entry["shape"], others, rng)
    elif what == 2:
        entry["data_offsets"] = _mutated(entry["data_offsets"], others, rng)
    elif what == 3:
        file.metadata.pop(f"sha256:{name}", None)
        del file.entries[name]
    elif what == 4:
        file.metadata.pop(f"sha256:{name}", None)
        file.entries[rng.choice([*TEXTS, *file.entries])] = file.entries.pop(name)
    elif what == 5:
        file.entries = dict(rng.sample(list(file.entries.items()), len(file.entries)))
    elif what == 6:
        file.entries[name] = rng.choice(list(file.entries.values()))
    elif what == 7:
        shape = entry["shape"]
        entry["shape"] = rng.choice(
            [[*shape, 1], shape[::-1], [1] * 9, [0], [2**40, 2**40], [*shape, 0]]
        )
    else:
        file.entries = _mutated(file.entries, others, rng)
        if not isinstance(file.entries, dict):
            return sealed(BEGIN + b"0" * 64 + b'"}}', file.data)
    file.summed()
    return sealed(file.header(), file.data)


def _values(file: File, others: list[bytes], rng: random.Random) -> bytes:
    """Other numbers in an array, or an array longer or shorter by some of them."""
    if not file.data:
        return _description(file, others, rng)
    data = bytearray(file.data)
    for _ in range(rng.choice((1, 4))):
        special = rng.choice(
            (b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\xff\xff\xff\xff", rng.randbytes(4))
        )
        begin = 4 * rng.randrange(len(data) // 4)
        data[begin : begin + 4] = special
    file.data = bytes(data)
    file.summed()
    return sealed(file.header(), file.data)


def _text(file: File, others: list[bytes], rng: random.Random) -> bytes:
    """The header as text, with some of its characters changed."""
    header = file.header()
    start = len(BEGIN) + 64
    return sealed(
        header[:start]
        + _mutated_text(header[start:].decode(), rng).encode("latin-1", "replace"),
        file.data,
    )


def _metadata(file: File, others: list[bytes], rng: random.Random) -> bytes:
    key = rng.choice(list(file.metadata))
    if rng.random() < 0.5 and key not in ("sha256", "format"):
        del file.metadata[key]
    elif rng.random() < 0.5:
        file.metadata[rng.choice([*TEXTS, "sha256:x", "sha256:"])] = rng.choice(TEXTS)
    else:
        file.metadata[key] = rng.choice(TEXTS)
    return sealed(file.header(), file.data)


STORIES: list[Callable[[File, list[bytes], random.Random], bytes]] = [
    _description,
    _description,
    _description,
    _description,
    _table,
    _table,
    _values,
    _text,
    _metadata,
]


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _places(inner, (*path, key))
    elif isinstance(value, list):
        for i, inner in enumerate(value[:50]):
            yield from _places(inner, (*path, i))


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def _mutated(value: Any, others: list[bytes], rng: random.Random) -> Any:
    """The value with one thing in it changed."""
    places = list(_places(value))
    path = rng.choice(places)
    old = _at(value, path)
    if path and rng.random() < 0.25:
        owner = _at(value, path[:-1])
        _rearranged(owner, path[-1], rng)
        return value
    new = _other(old, value, places, others, rng)
    if not path:
        return new
    _at(value, path[:-1])[path[-1]] = new
    return value


def _rearranged(owner: Any, key: Any, rng: random.Random) -> None:
    """One entry of a table or list taken away, renamed or given twice."""
    if isinstance(owner, dict):
        old = owner.pop(key)
        if rng.random() < 0.6:
            owner[rng.choice([*TEXTS[:12], "name", "units", "config", key + "_"])] = old
        return
    what = rng.randrange(4)
    if what == 0:
        del owner[key]
    elif what == 1:
        owner.insert(key, copy.deepcopy(owner[key]))
    elif what == 2:
        rng.shuffle(owner)
    else:
        owner.extend(copy.deepcopy(owner[key]) for _ in range(rng.choice((3, 40))))


def _other(
    old: Any, whole: Any, places: list[Any], others: list[bytes], rng: random.Random
) -> Any:
    what = rng.random()
    if what < 0.15:
        return copy.deepcopy(_at(whole, rng.choice(places)))
    if what < 0.25:
        stranger = File.parsed(rng.choice(others)).described
        return _at(stranger, rng.choice(list(_places(stranger))))
    if what < 0.3:
        for _ in range(rng.choice((1, 5, 31, 40, 200))):
            old = [old] if rng.random() < 0.7 else {"a": old}
        return old
    if what < 0.35:
        return rng.choice([None, [], {}, [[]], [None], {"": None}])
    if isinstance(old, (int, float)) or what < 0.5:
        return rng.choice([*NUMBERS, rng.randrange(20), rng.random()])
    if isinstance(old, list) and rng.random() < 0.5:
        return [rng.choice(NUMBERS) for _ in range(rng.choice((0, 1, 2, 9, 60)))]
    return rng.choice(TEXTS)


def _mutated_text(text: str, rng: random.Random) -> str:
    """JSON with other characters: often JSON no more."""
    at = rng.randrange(len(text))
    what = rng.randrange(7)
    if what == 0:
        return (
            text[:at]
            + rng.choice('[]{}",:\\0123456789.eE+- \n\t\0\x7f')
            + text[at + 1 :]
        )
    if what == 1:
        return text[:at] + text[at + rng.choice((1, 2, 10)) :]
    if what == 2:
        piece = text[at : at + rng.choice((1, 5, 30))]
        return text[:at] + piece + text[at:]
    words = ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1" * 30, "0x10", "01"]
    if what == 3:
        digits = [i for i in range(at, min(at + 400, len(text))) if text[i].isdigit()]
        if digits:
            return text[: digits[0]] + rng.choice(words) + text[digits[0] + 1 :]
    if what == 4:
        deep = rng.choice((33, 100, 2000))
        return text[:at] + "[" * deep + "]" * deep + text[at:]
    if what == 5:
        keys = [i for i in range(at, min(at + 400, len(text))) if text[i] == "{"]
        if keys:
            end = text.find(",", keys[0])
            return (
                text[: keys[0] + 1] + text[keys[0] + 1 : end + 1] + text[keys[0] + 1 :]
            )
    return text[:at] + rng.choice(("\\ud800", "\\u0000", "\\", '"')) + text[at:]
