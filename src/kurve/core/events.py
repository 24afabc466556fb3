"""Event files for TensorBoard: records of protocol buffers.

A record is its length (8 bytes, little-endian), a checksum of the length, the data and
a checksum of the data. Checksums are CRC-32C (Castagnoli), rotated by 15 bits plus
0xa282ead8. Only the fields needed of the messages Event, Summary, SummaryMetadata and
TensorProto are written; their numbers are those of TensorFlow's event.proto,
summary.proto and tensor.proto.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Iterable
from typing import Any

import numpy as np

FLOAT, DOUBLE, STRING = 1, 2, 7  # DataType
SCALAR, TENSOR = 1, 2  # DataClass


def _table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_TABLE: list[int] = []


def masked_crc(data: bytes) -> int:
    """The checksum of one part of a record."""
    if not _TABLE:
        _TABLE.extend(_table())
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def record(data: bytes) -> bytes:
    """Encode data as a record."""
    length = struct.pack("<Q", len(data))
    sums = (struct.pack("<I", masked_crc(part)) for part in (length, data))
    return length + next(sums) + data + next(sums)


def _varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes | str) -> bytes:
    value = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _tensor(value: Any) -> bytes:
    """Encode a string or an array as TensorProto."""
    if isinstance(value, str):
        return _number(1, STRING) + _bytes(2, b"") + _bytes(8, value)
    dims = b"".join(_bytes(2, _number(1, size)) for size in value.shape)
    kind = FLOAT if value.dtype == np.float32 else DOUBLE
    content = value.astype(value.dtype.newbyteorder("<")).tobytes()
    return _number(1, kind) + _bytes(2, dims) + _bytes(4, content)


def _value(tag: str, plugin: str, content: bytes, data_class: int, value: Any) -> bytes:
    metadata = _bytes(1, _bytes(1, plugin) + (_bytes(2, content) if content else b""))
    if data_class:
        metadata += _number(4, data_class)
    return _bytes(1, _bytes(1, tag) + _bytes(8, _tensor(value)) + _bytes(9, metadata))


def histogram(values: np.ndarray, buckets: int = 30) -> np.ndarray:
    """Rows (left, right, count) of equally wide buckets, as in TensorBoard's
    summaries."""
    values = np.asarray(values, np.float64).ravel()
    values = values[np.isfinite(values)]
    if not values.size:
        return np.zeros((buckets, 3))
    low, high = float(values.min()), float(values.max())
    if low == high:
        low, high = low - 0.5, high + 0.5
    count, edges = np.histogram(values, buckets, (low, high))
    return np.stack([edges[:-1], edges[1:], count.astype(np.float64)], axis=1)


class EventFile:
    """An event file in a folder, which is created if needed.

    Raises:
        OSError: the file cannot be written.
    """

    _count = 0

    def __init__(self, folder: str) -> None:
        os.makedirs(folder, exist_ok=True)
        name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}"
        number, EventFile._count = EventFile._count, EventFile._count + 1
        path = os.path.join(folder, f"{name}.{os.getpid()}.{number}.v2")
        self._file = open(path, "xb")  # noqa: SIM115 - open as long as the training
        self._write(_bytes(3, "brain.Event:2"))

    def _write(self, event: bytes, step: int | None = None) -> None:
        head = b"\x09" + struct.pack("<d", time.time())
        if step is not None:
            head += _number(2, step)
        self._file.write(record(head + event))

    def scalars(self, values: Iterable[tuple[str, float]], step: int) -> None:
        """Write scalars by tag."""
        for tag, value in values:
            number = np.asarray(value, np.float32)
            summary = _value(tag, "scalars", b"", SCALAR, number)
            self._write(_bytes(5, summary), step)

    def histogram(self, tag: str, values: np.ndarray, step: int) -> None:
        summary = _value(tag, "histograms", b"", TENSOR, histogram(values))
        self._write(_bytes(5, summary), step)

    def model(self, tag: str, description: str) -> None:
        """Write a model's configuration (Keras JSON) for the conceptual graph."""
        summary = _value(tag, "graph_keras_model", b"1", 0, description)
        self._write(_bytes(5, summary), 0)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()
