"""`TensorBoard`: what happens in training, as files that TensorBoard shows.

An event file is a row of records: the length of the data (8 bytes, little-endian), its
checksum, the data, their checksum. The data are an Event message of TensorFlow. Source:
tensorflow/core/util/event.proto, summary.proto and lib/io/record_writer.h.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from kurve.callbacks.base import Callback, Logs
from kurve.core.arguments import check_flag, is_count
from kurve.core.progress import mean_of
from kurve.errors import path_name

BINS = 30
"""Of a histogram, as many as TensorBoard shows."""


class TensorBoard(Callback):
    """Writes the logs of epochs, and histograms of weights, for TensorBoard.

    The logs are scalars of the names "epoch_loss" and so on, and "epoch_learning_rate",
    in the folder "train"; those of the validation are in "validation". Nothing but
    NumPy is needed to write them; `tensorboard --logdir logs` shows them.

    Args:
        log_dir: the folder.
        histogram_freq: write histograms of the weights every this many epochs; 0 for
            none.
        update_freq: "epoch"; "batch" or a number of batches also writes "batch_loss"
            and so on after so many.
        write_graph, write_images, write_steps_per_second, profile_batch,
            embeddings_freq, embeddings_metadata: Keras's; nothing is written for them.

    Raises:
        TypeError, ValueError: a bad value.

    Example:
        >>> callback = kurve.callbacks.TensorBoard("logs", histogram_freq=1)
        >>> x = np.linspace(-1.0, 1.0, 32)
        >>> model = kurve.Sequential([kurve.Input((1,)), kurve.layers.Dense(1)])
        >>> model.compile(loss="mse")
        >>> history = model.fit(x, x, callbacks=[callback], verbose=0)
        >>> import os
        >>> os.listdir("logs")
        ['train']
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str] = "logs",
        histogram_freq: int = 0,
        write_graph: bool = True,
        write_images: bool = False,
        write_steps_per_second: bool = False,
        update_freq: str | int = "epoch",
        profile_batch: Any = 0,
        embeddings_freq: int = 0,
        embeddings_metadata: Any = None,
    ) -> None:
        super().__init__()
        where = "TensorBoard"
        self.log_dir = path_name(where, "log_dir", log_dir, "logs")
        for name, flag in (
            ("write_graph", write_graph),
            ("write_images", write_images),
            ("write_steps_per_second", write_steps_per_second),
        ):
            check_flag(where, name, flag)
        if not is_count(histogram_freq, 0):
            raise ValueError(
                "[TensorBoard] histogram_freq must be a number of epochs, or 0. "
                f"Received: histogram_freq={histogram_freq!r}. Try histogram_freq=1."
            )
        if update_freq not in ("epoch", "batch") and not is_count(update_freq):
            raise ValueError(
                "[TensorBoard] update_freq must be 'epoch', 'batch' or a number of "
                f"batches. Received: update_freq={update_freq!r}. "
                "Try update_freq='epoch'."
            )
        self.histogram_freq = histogram_freq
        self.update_freq = 1 if update_freq == "batch" else update_freq
        self._batches = 0
        self._paths: dict[str, str] = {}

    def has_batch_hooks(self, kind: str) -> bool:
        return kind == "train" and self.update_freq != "epoch"

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._paths = {}
        if not self.params.get("resumed"):
            self._batches = 0

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._batches += 1
        if self.update_freq != "epoch" and self._batches % int(self.update_freq) == 0:
            self._write_scalars("train", "batch_{}", logs or {}, self._batches)

    def on_test_end(self, logs: Logs | None = None) -> None:
        name = "evaluation_{}_vs_iterations"
        step = int(self.model.optimizer.iterations) if self.model.optimizer else 0
        self._write_scalars("validation", name, logs or {}, step)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        given = logs or {}
        trained = {k: v for k, v in given.items() if not k.startswith("val_")}
        trained["learning_rate"] = float(self.model.optimizer.learning_rate)
        held_out = {k[4:]: v for k, v in given.items() if k.startswith("val_")}
        self._write_scalars("train", "epoch_{}", trained, epoch)
        self._write_scalars("validation", "epoch_{}", held_out, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            values = [
                _text(1, f"{variable.name}/histogram")
                + _field(5, _histogram(variable.numpy()))
                for layer in self.model.layers
                for variable in layer.weights
            ]
            self._write("train", values, epoch)

    def get_state(self) -> dict[str, Any]:
        return {"batches": self._batches}

    def set_state(self, state: dict[str, Any]) -> None:
        self._batches = state["batches"]

    def _write_scalars(
        self, part: str, name: str, logs: Mapping[str, Any], step: int
    ) -> None:
        values = [
            _text(1, name.format(key)) + b"\x15" + struct.pack("<f", mean_of(value))
            for key, value in logs.items()
        ]
        self._write(part, values, step)

    def _write(self, part: str, values: Iterable[bytes], step: int) -> None:
        """Append an event with these values of a summary."""
        summary = b"".join(_field(1, value) for value in values)
        if not summary:
            return
        events = [b"\x10" + _varint(step) + _field(5, summary)]
        if part not in self._paths:
            self._paths[part] = self._new_path(part)
            events.insert(0, _text(3, "brain.Event:2"))
        # Opened each time: a fit that ends with an error leaves no open file.
        with open(self._paths[part], "ab") as file:
            for event in events:
                file.write(record(b"\x09" + struct.pack("<d", time.time()) + event))

    def _new_path(self, part: str) -> str:
        folder = os.path.join(self.log_dir, part)
        os.makedirs(folder, exist_ok=True)
        stem = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}"
        number = 0
        while os.path.exists(
            path := os.path.join(folder, f"{stem}.{os.getpid()}.{number}.v2")
        ):
            number += 1
        return path


def _histogram(values: np.ndarray) -> bytes:
    """A HistogramProto: what the values are like, and how many lie in each bin."""
    flat = np.asarray(values, np.float64).ravel()
    counts, edges = np.histogram(flat, BINS)
    facts = (flat.min(), flat.max(), flat.size, flat.sum(), (flat**2).sum())
    numbers = b"".join(
        _varint(number << 3 | 1) + struct.pack("<d", fact)
        for number, fact in enumerate(facts, 1)
    )
    bins = (edges[1:], counts)
    return numbers + b"".join(
        _field(number, part.astype("<f8").tobytes())
        for number, part in enumerate(bins, 6)
    )


def _varint(value: int) -> bytes:
    """A number in groups of seven bits, the lowest first."""
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def _field(number: int, data: bytes) -> bytes:
    """A field of a message: bytes with their length before them."""
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _text(number: int, text: str) -> bytes:
    return _field(number, text.encode())


def record(data: bytes) -> bytes:
    """Data between length and checksums, as in a file."""
    length = struct.pack("<Q", len(data))
    return length + _checksum(length) + data + _checksum(data)


def _checksum(data: bytes) -> bytes:
    """CRC-32C, rotated by 15 bits plus a constant, as the format wants it."""
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_TABLE: list[int] = []


def crc32c(data: bytes) -> int:
    """The CRC-32C (Castagnoli) of bytes."""
    if not _TABLE:
        _TABLE.extend(_table())
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF
