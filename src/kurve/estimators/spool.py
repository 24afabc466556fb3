"""Encoded rows in a temporary file, for epochs in random order: batches are read and
encoded once, whatever the order of their rows."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

import numpy as np

from kurve.estimators.training import Rows

BLOCK = 512
"""Rows that stay together."""

GROUP = 64
"""Blocks, from anywhere in the file, whose rows are mixed and trained on together."""

IN_MEMORY = 1 << 26
"""Bytes up to which the rows stay in memory."""


class Spool:
    """Rows of float32 inputs, targets and weights."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115
        self._types: list[tuple[int, np.dtype]] = []
        self._weighted = False
        self.rows = 0

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *what: object) -> None:
        self._file.close()

    def add(self, rows: Rows) -> None:
        """Append rows."""
        x, y, weights = rows
        self._weighted |= weights is not None
        if weights is None:
            weights = np.ones(len(x), np.float32)
        parts = [x, y.reshape(len(y), -1), weights[:, None]]
        self._shape = y.shape[1:]
        self._types = [(part.shape[1], part.dtype) for part in parts]
        bytes_of = [
            np.ascontiguousarray(part).view(np.uint8).reshape(len(x), -1)
            for part in parts
        ]
        self._file.write(np.concatenate(bytes_of, axis=1).tobytes())
        self.rows += len(x)

    def _groups(self) -> int:
        return max(1, round(-(-self.rows // BLOCK) / GROUP))

    def steps(self, batch_size: int) -> int:
        """Training steps of an epoch, nearly."""
        groups = self._groups()
        return groups * -(-self.rows // (groups * batch_size))

    def batches(self, random: np.random.Generator) -> Iterator[Rows]:
        """All rows once, in random order."""
        order = random.permutation(-(-self.rows // BLOCK))
        for blocks in np.array_split(order, self._groups()):
            raw = np.concatenate([self._block(int(number)) for number in blocks])
            yield self._decoded(raw[random.permutation(len(raw))])

    def _block(self, number: int) -> np.ndarray:
        width = sum(count * kind.itemsize for count, kind in self._types)
        self._file.seek(number * BLOCK * width)
        data = self._file.read(BLOCK * width)
        return np.frombuffer(data, np.uint8).reshape(-1, width)

    def _decoded(self, raw: np.ndarray) -> Rows:
        arrays, first = [], 0
        for count, kind in self._types:
            stop = first + count * kind.itemsize
            part = np.ascontiguousarray(raw[:, first:stop])
            arrays.append(part.view(kind).reshape(len(raw), count))
            first = stop
        x, y, weights = arrays
        y = y.reshape(len(raw), *self._shape)
        return x, y, weights[:, 0] if self._weighted else None
