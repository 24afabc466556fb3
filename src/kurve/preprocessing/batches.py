"""Batches of rows that are created lazily."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np

from kurve.core.arguments import check_integer

Make = Callable[[np.ndarray], Any]
"""A function from row numbers to a batch."""

FORMATS = ("tf", "grain")
"""The kinds of data sets that Keras's functions make, for which `Batches` stands."""


class Batches:
    """Batches of a dataset, which restarts whenever it is iterated. `fit`, `evaluate`
    and `predict` accept it. It has the methods of tf.data datasets that programs
    usually call.

    count:       number of rows
    class_names: names of the classes, if any
    file_paths:  paths of the rows, if they are files
    """

    class_names: list[str] | None = None
    file_paths: list[str] | None = None

    def __init__(
        self,
        make: Make,
        count: int,
        batch_size: int | None,
        shuffle: bool = False,
        seed: int | None = None,
        order: np.ndarray | None = None,
    ) -> None:
        self._make, self.count, self.batch_size = make, count, batch_size
        self._shuffle, self._seed, self._passes = shuffle, seed, 0
        self._order = np.arange(count) if order is None else order
        self._changes: list[Callable[..., Any]] = []
        self._range: tuple[int, int | None] = (0, None)

    def __len__(self) -> int:
        first, last = self._range
        batches = math.ceil(self.count / (self.batch_size or 1))
        return max(0, (batches if last is None else min(last, batches)) - first)

    def __iter__(self) -> Iterator[Any]:
        order = self._order
        if self._shuffle:
            keys = None if self._seed is None else [self._seed, self._passes]
            order = np.random.default_rng(keys).permutation(order)
            self._passes += 1
        size, first = self.batch_size or 1, self._range[0]
        for i in range(first, first + len(self)):
            rows = order[i * size : (i + 1) * size]
            batch = self._make(rows)
            if self.batch_size is None:
                batch = _first(batch)
            for change in self._changes:
                several = isinstance(batch, tuple)
                batch = change(*batch) if several else change(batch)
            yield batch

    def _copy(self) -> Self:
        copy = type(self).__new__(type(self))
        vars(copy).update(vars(self), _changes=[*self._changes])
        return copy

    def map(self, function: Callable[..., Any], **unused: Any) -> Self:
        """Apply a function to each batch.

        Args:
            function: function from the parts of a batch to a batch.
            unused: TensorFlow's other arguments, ignored.
        """
        copy = self._copy()
        copy._changes.append(function)
        return copy

    def take(self, count: int) -> Self:
        """Keep only the first batches.

        Args:
            count: number of batches.
        """
        copy, (first, last) = self._copy(), self._range
        end = first + _counted("take", count)
        copy._range = first, end if last is None else min(end, last)
        return copy

    def skip(self, count: int) -> Self:
        """Skip the first batches.

        Args:
            count: number of batches.
        """
        copy, (first, last) = self._copy(), self._range
        copy._range = first + _counted("skip", count), last
        return copy

    def prefetch(self, *unused: Any, **more: Any) -> Self:
        """Returns self: batches are created lazily."""
        return self

    cache = with_options = shuffle = prefetch

    def as_numpy_iterator(self) -> Iterator[Any]:
        """The batches."""
        return iter(self)

    def cardinality(self) -> int:
        """The number of batches."""
        return len(self)


def _counted(where: str, count: Any) -> int:
    check_integer(where, "count", count, 1, 0)
    return int(count)


def _first(batch: Any) -> Any:
    if isinstance(batch, tuple):
        return tuple(_first(part) for part in batch)
    return batch[0]
