"""A sample of the rows in batches. Membership is a function of the row values, so that
every pass over the batches selects the same rows."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from kurve.estimators.frames import Table
from kurve.estimators.scaling import row_hashes

Batch = tuple[Table, np.ndarray, np.ndarray | None]
"""Columns, targets as passed by the user, and weights."""


def row_keys(table: Table, y: np.ndarray) -> np.ndarray:
    """A number in [0, 1) per row, a hash of its values."""
    texts = [
        np.array(
            [zlib.crc32(str(v).encode(errors="surrogatepass")) for v in values],
            np.float64,
        )
        for values in [*table.texts.values(), *_text_targets(y)]
    ]
    numbers = [table.numbers]
    if y.dtype.kind in "fiub":
        numbers.append(y.reshape(len(y), -1).astype(np.float64))
    numbers += [seconds[:, None] for seconds in table.dates.values()]
    both = np.concatenate([*numbers, *(t[:, None] for t in texts)], axis=1)
    return row_hashes(both) / 2.0**64


def _text_targets(y: np.ndarray) -> list[np.ndarray]:
    return [] if y.dtype.kind in "fiub" else [y]


class Reservoir:
    """The distinct rows of lowest rank, each with the total weight of all equal rows:
    at most `most`, and only ranks below a limit.

    Args:
        most: maximum rows to keep.
        largest: limit of the ranks.
        mix: the rank of a row is the fractional part of mix times its key.
    """

    def __init__(self, most: int, largest: float, mix: float = 1.0) -> None:
        self.most, self.largest, self.mix = most, largest, mix
        self.parts: list[Batch] = []
        self.keys = np.zeros(0)
        self.complete = largest >= 1.0
        """Whether all added rows are still in the sample."""

    def _ranks(self, keys: np.ndarray) -> np.ndarray:
        return np.asarray((keys * self.mix) % 1.0)

    def add(self, batch: Batch, keys: np.ndarray) -> None:
        """Add the rows of a batch whose rank is below the limit."""
        low = self._ranks(keys) < self.largest
        inside = np.flatnonzero(low if batch[2] is None else low & (batch[2] > 0))
        if not len(inside):
            return
        self.parts.append(take(batch, inside))
        self.keys = np.concatenate([self.keys, keys[inside]])
        if len(self.keys) > 2 * self.most:
            self.shrink()

    def shrink(self) -> None:
        """Merge equal rows and keep those of lowest rank."""
        if not self.parts:
            return
        joined = _join(self.parts)
        keys, first, group = np.unique(
            self.keys, return_index=True, return_inverse=True
        )
        weights = np.bincount(group, joined[2])
        ranks = self._ranks(keys)
        if len(keys) > self.most:
            self.largest = float(np.partition(ranks, self.most)[self.most])
            self.complete = False
        low = np.flatnonzero(ranks < self.largest)
        table, y, _ = take(joined, first[low])
        self.parts, self.keys = [(table, y, weights[low])], keys[low]

    def batch(self) -> Batch | None:
        """All sampled rows, in the order of their keys."""
        self.shrink()
        return self.parts[0] if len(self.keys) else None


def take(batch: Batch, rows: np.ndarray) -> Batch:
    """A selection of the rows of a batch."""
    table, y, weights = batch
    texts = {c: values[rows] for c, values in table.texts.items()}
    dates = {c: values[rows] for c, values in table.dates.items()}
    part = replace(table, numbers=table.numbers[rows], texts=texts, dates=dates)
    return part, y[rows], None if weights is None else weights[rows]


def _join(parts: Sequence[Batch]) -> Batch:
    tables = [table for table, _, _ in parts]
    numbers = np.concatenate([table.numbers for table in tables])
    texts = {
        c: np.concatenate([table.texts[c] for table in tables]) for c in tables[0].texts
    }
    dates = {
        c: np.concatenate([table.dates[c] for table in tables]) for c in tables[0].dates
    }
    weights = np.concatenate([np.ones(t.rows) if w is None else w for t, _, w in parts])
    y = np.concatenate([y for _, y, _ in parts])
    return (
        replace(tables[0], numbers=numbers, texts=texts, dates=dates),
        y,
        weights,
    )
