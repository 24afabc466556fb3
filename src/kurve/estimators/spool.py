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
        self._kind = np.dtype([])
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
        self._kind = np.dtype(
            [
                ("x", x.dtype, x.shape[1:]),
                ("y", y.dtype, y.shape[1:]),
                ("weight", np.float32),
            ]
        )
        records = np.empty(len(x), self._kind)
        records["x"], records["y"] = x, y
        records["weight"] = 1.0 if weights is None else weights
        self._file.write(records.tobytes())
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
            mixed = np.concatenate([self._block(int(number)) for number in blocks])
            mixed = mixed[random.permutation(len(mixed))]
            x, y, weights = (
                np.ascontiguousarray(mixed[name]) for name in ("x", "y", "weight")
            )
            yield x, y, weights if self._weighted else None

    def _block(self, number: int) -> np.ndarray:
        size = BLOCK * self._kind.itemsize
        self._file.seek(number * size)
        return np.frombuffer(self._file.read(size), self._kind)
