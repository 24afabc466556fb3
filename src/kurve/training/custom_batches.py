"""Batches for steps in Python, from arrays or from a user's iterable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from kurve.core.arrays import as_array, is_frame, is_sparse
from kurve.core.results import Values, result
from kurve.core.sparse import SparseRows, sparse_matrix
from kurve.formulas.tensor import leaves, replaced
from kurve.losses import targets
from kurve.training.batching import Division
from kurve.training.feeds import Feed, hashed
from kurve.training.streams import END, StreamFeed
from kurve.utils import pack_x_y_sample_weight, unpack_x_y_sample_weight


class RowsInMemory(Feed):
    """Batches of arrays, for custom steps; all rows are one batch until they are
    divided.

    Args:
        where: name for messages.
        x, y, weights: structures of arrays.
    """

    def __init__(self, where: str, x: Any, y: Any, weights: Any) -> None:
        self.parts = [
            arrays_of(where, "x", x),
            arrays_of(where, "y", y),
            arrays_of(where, "sample_weight", weights),
        ]
        lengths = {len(a) for part in self.parts for a in leaves(part) if a is not None}
        if len(lengths) != 1:
            raise ValueError(
                f"[{where}] x, y and sample_weight must have the same number of rows. "
                f"Received: {', '.join(map(str, sorted(lengths))) or 'no x'}. "
                "Try arrays of equal length."
            )
        (self.rows,) = lengths
        self.divide(np.array([0, self.rows]))

    def divide(self, bounds: np.ndarray, division: Division | None = None) -> None:
        """Set the bounds of the batches, and their division into epochs."""
        self.bounds, self.division = bounds, division
        self.steps = len(bounds) - 1 if division is None else division.steps

    def part(self, first: int, last: int) -> RowsInMemory:
        """The rows first..last-1."""

        def cut(a: Any) -> Any:
            if isinstance(a, SparseRows):
                return a.part(first, last)
            return None if a is None else result(a[first:last])

        return RowsInMemory("fit", *(replaced(part, cut) for part in self.parts))

    @property
    def rows_at_once(self) -> int | None:
        """Number of rows to make dense at a time if some arrays are sparse; None if all
        rows are dense."""
        found = (a for part in self.parts for a in leaves(part))
        counts = [a.rows_at_once for a in found if isinstance(a, SparseRows)]
        return min(counts, default=None)

    def batches(self, epoch: int, done: int = 0) -> Iterator[Any]:
        """The batches of an epoch except the first, as `train_step` gets them."""
        order, bounds = self.divided(epoch)
        for first, last in pairwise(bounds[done:]):
            yield self.batch(order, int(first), int(last))

    def divided(self, epoch: int) -> tuple[np.ndarray | None, np.ndarray]:
        """The order of the rows in an epoch, and the bounds of its batches."""
        if self.division is None:
            return None, self.bounds
        return self.division.epoch(epoch)

    def batch(self, order: np.ndarray | None, first: int, last: int) -> Any:
        """These rows of an epoch, as passed to `train_step`."""
        return pack_x_y_sample_weight(*self.dense(order, first, last))

    def dense(self, order: np.ndarray | None, first: int, last: int) -> list[Any]:
        """x, y and weights of these rows of an epoch."""
        rows: Any = slice(first, last) if order is None else order[first:last]
        return [_taken(part, rows) for part in self.parts]

    def permuted_from(self, first_step: int, seed: int) -> None:
        assert self.division is not None
        self.division.first_step, self.division.seed = first_step, seed

    def arrays(self) -> tuple[Any, Any] | None:
        return self.parts[0], self.parts[1]

    def described(self) -> dict[str, Any]:
        names = "x", "y", "weights"
        found: dict[str, Any] = {
            name: [hashed(array) for array in leaves(part)]
            for name, part in zip(names, self.parts, strict=True)
        }
        division = self.division
        bounds = self.bounds if division is None else division.bounds
        return {**found, "batches": hashed(bounds)}


class Stream(StreamFeed):
    """Batches from a user's iterable, for custom steps.

    Args:
        given: see `StreamFeed`.
        class_weight: weights of the rows of a batch by their classes, or None.
    """

    def __init__(
        self, *given: Any, class_weight: Mapping[int, float] | None = None
    ) -> None:
        super().__init__(*given)
        self.class_weight = class_weight
        if not self.resumable:
            self.peek()  # refuses an empty one

    def batches(self, epoch: int, done: int = 0) -> Iterator[Any]:
        """The batches of an epoch except the first, with their arrays as values."""
        self.begin(epoch, done)
        while (batch := self.next_batch()) is not END:
            if self.class_weight is not None:
                batch = self._weighted(batch, self.class_weight)
            yield replaced(batch, _value)
        self.end()

    def _weighted(self, batch: Any, class_weight: Mapping[int, float]) -> Any:
        x, y, weights = unpack_x_y_sample_weight(batch)
        if weights is not None or y is None:
            what = "y missing in a batch" if y is None else "sample weights in a batch"
            raise ValueError(
                "[fit] class_weight needs batches of (x, y), and sample weights cannot "
                f"be passed with it. Received: class_weight, and {what}. "
                "Try one of them."
            )
        return x, y, class_weights(y, class_weight)


Batches = RowsInMemory | Stream


def arrays_of(where: str, argument: str, value: Any) -> Any:
    """Convert the leaves of a structure to float32 or integer arrays, or sparse rows of
    such numbers."""
    if value is None or isinstance(value, SparseRows):
        return value
    matrix = sparse_matrix(value)
    if matrix is not None:
        dtype = np.float32 if matrix.dtype.kind == "f" else None
        return SparseRows(where, argument, matrix, None, dtype)
    if isinstance(value, Mapping) or (
        isinstance(value, (list, tuple))
        and value
        and all(np.ndim(part) and hasattr(part, "shape") for part in value)
    ):
        return replaced(value, lambda leaf: arrays_of(where, argument, leaf))
    if is_frame(value):
        value = value.to_numpy()
    array = np.asarray(value)
    if array.dtype.kind not in "fiub" or not array.ndim:
        raise TypeError(
            f"[{where}] {argument} must hold numbers, with one row per sample. "
            f"Received: {argument} of type {type(value).__name__}, dtype "
            f"{array.dtype}. Try a NumPy array."
        )
    if array.dtype.kind == "f" and array.dtype != np.float32:
        array = array.astype(np.float32)
    return array


def _value(leaf: Any) -> Any:
    if is_sparse(leaf):
        leaf = as_array("fit", "x", leaf)
    elif isinstance(leaf, Values) or not hasattr(leaf, "__array__"):
        return leaf
    array = np.asarray(leaf)
    return result(array.astype(np.float32) if array.dtype == np.float64 else array)


def _taken(part: Any, rows: Any) -> Any:
    if part is None:
        return None
    return replaced(part, lambda a: None if a is None else result(a[rows]))


def class_weights(y: Any, class_weight: Mapping[int, float]) -> Any:
    labels = np.asarray(y)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    return targets.class_weights("fit", class_weight, labels, labels.ndim == 1)
