"""Transformations of data sets: shuffling, batching, mapping."""

from __future__ import annotations

import builtins
import itertools
from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np

from kurve.as_keras.tensorflow.structures import (
    AUTOTUNE,
    INFINITE_CARDINALITY,
    UNKNOWN_CARDINALITY,
    Passes,
    Structure,
    as_element,
    called,
    joined,
    leaves,
    row_of,
    stacked,
)
from kurve.as_keras.tensorflow.values import tensor
from kurve.core import rng


class Transformations(Passes):
    """The methods of `Dataset` that return another data set."""

    def shuffle(
        self,
        buffer_size: int,
        seed: Any = None,
        reshuffle_each_iteration: Any = True,
        name: Any = None,
    ) -> Self:
        """Shuffle the elements: each is drawn from the next `buffer_size`. The order
        differs in each pass, unless `reshuffle_each_iteration` is False."""
        size = self._count_of("shuffle", "buffer_size", buffer_size)
        first = rng.next_seed() if seed is None else int(seed) % 2**63
        passes = itertools.count()
        again = reshuffle_each_iteration is not False

        def make() -> Iterator[Structure]:
            number = next(passes) if again else 0
            source = np.random.Generator(np.random.Philox(key=[first, number]))
            buffer: list[Structure] = []
            for element in self._make():
                if len(buffer) < size:
                    buffer.append(element)
                    continue
                i = int(source.integers(size))
                yield buffer[i]
                buffer[i] = element
            for i in source.permutation(len(buffer)).tolist():
                yield buffer[i]

        return type(self)(make, self._size, self._batched)

    def repeat(self, count: Any = None, name: Any = None) -> Self:
        """Repeat `count` times; infinitely by default."""
        times = -1 if count is None else int(count)

        def make() -> Iterator[Structure]:
            for _ in itertools.count() if times < 0 else builtins.range(times):
                empty = True
                for element in self._make():
                    empty = False
                    yield element
                if empty:
                    return

        size = self._size
        if times < 0:
            size = 0 if size == 0 else INFINITE_CARDINALITY
        elif size >= 0:
            size *= times
        return type(self)(make, size, self._batched)

    def take(self, count: Any, name: Any = None) -> Self:
        """The first `count` elements; -1 takes all."""
        most = int(count)
        if most < 0:
            return self
        size = most if self._size == INFINITE_CARDINALITY else min(most, self._size)
        return type(self)(
            lambda: itertools.islice(self._make(), most),
            size if self._size != UNKNOWN_CARDINALITY else UNKNOWN_CARDINALITY,
            self._batched,
        )

    def skip(self, count: Any, name: Any = None) -> Self:
        """All but the first `count` elements; -1 skips all."""
        few = int(count)
        if few < 0:
            return type(self)(lambda: iter(()), 0)
        size = self._size if self._size < 0 else max(self._size - few, 0)
        return type(self)(
            lambda: itertools.islice(self._make(), few, None), size, self._batched
        )

    def shard(self, num_shards: int, index: int, name: Any = None) -> Self:
        """Every `num_shards`-th element, starting at `index`."""
        size = self._size
        if size >= 0:
            size = len(builtins.range(int(index), size, int(num_shards)))
        return type(self)(
            lambda: itertools.islice(self._make(), int(index), None, int(num_shards)),
            size,
        )

    def concatenate(self, dataset: Passes, name: Any = None) -> Self:
        """Concatenate two data sets."""
        sizes = (self._size, dataset._size)
        size = sum(sizes) if min(sizes) >= 0 else min(sizes)
        if INFINITE_CARDINALITY in sizes:
            size = INFINITE_CARDINALITY
        return type(self)(lambda: itertools.chain(self._make(), dataset._make()), size)

    def enumerate(self, start: Any = 0, name: Any = None) -> Self:
        """Pairs (index, element)."""
        return type(self)(
            lambda: (
                (tensor(n, "int64"), element)
                for n, element in builtins.enumerate(self._make(), int(start))
            ),
            self._size,
        )

    def batch(
        self,
        batch_size: Any,
        drop_remainder: Any = False,
        num_parallel_calls: Any = None,
        deterministic: Any = None,
        name: Any = None,
    ) -> Self:
        """Combine elements into batches along a new first axis; the last one can be
        smaller, unless it is dropped."""
        count = self._count_of("batch", "batch_size", batch_size)
        drop = bool(drop_remainder)

        def make() -> Iterator[Structure]:
            elements = self._make()
            while rows := list(itertools.islice(elements, count)):
                if len(rows) < count and drop:
                    return
                yield joined(stacked, rows)

        size = self._size
        if size >= 0:
            size = size // count if drop else -(-size // count)
        return type(self)(make, size, batched=not drop)

    def padded_batch(
        self,
        batch_size: Any,
        padded_shapes: Any = None,
        padding_values: Any = None,
        drop_remainder: Any = False,
        name: Any = None,
    ) -> Self:
        """Like `batch`, but pad shorter elements to the longest of the batch or to
        `padded_shapes`."""
        count = self._count_of("padded_batch", "batch_size", batch_size)

        def padded(parts: list[Any], shape: Any, fill: Any) -> Any:
            axes = np.max([p.shape for p in parts], axis=0, initial=0).astype(int)
            if shape is not None:
                given = zip(shape, axes, strict=False)
                axes = [a if s in (None, -1) else int(s) for s, a in given]
            whole = np.full((len(parts), *axes), fill or 0, parts[0].dtype)
            for row, part in zip(whole, parts, strict=True):
                row[tuple(slice(n) for n in part.shape)] = part
            return tensor(whole)

        def make() -> Iterator[Structure]:
            elements = self._make()
            while rows := list(itertools.islice(elements, count)):
                if len(rows) < count and drop_remainder:
                    return
                yield joined(padded, rows, padded_shapes, padding_values)

        size = self._size
        if size >= 0:
            size = size // count if drop_remainder else -(-size // count)
        return type(self)(make, size, batched=not drop_remainder)

    def rebatch(
        self, batch_size: Any, drop_remainder: Any = False, name: Any = None
    ) -> Self:
        """Change the batch size."""
        return self.unbatch().batch(batch_size, drop_remainder)

    def unbatch(self, name: Any = None) -> Self:
        """Split batches into rows."""

        def make() -> Iterator[Structure]:
            for element in self._make():
                for i in builtins.range(len(next(leaves(element)))):
                    yield row_of(element, i)

        return type(self)(make, UNKNOWN_CARDINALITY)

    def window(
        self,
        size: Any,
        shift: Any = None,
        stride: Any = 1,
        drop_remainder: Any = False,
        name: Any = None,
    ) -> Self:
        """Windows of elements as data sets, each starting `shift` elements after the
        previous one; for tuples and dictionaries, one data set per part."""
        length, step = int(size), int(stride)
        move = length if shift is None else int(shift)
        span = (length - 1) * step + 1

        def make() -> Iterator[Structure]:
            elements, kept, ahead = self._make(), list[Structure](), 0
            while True:
                for element in itertools.islice(elements, ahead, None):
                    kept.append(element)
                    ahead = 0
                    if len(kept) >= span:
                        break
                if not kept or (drop_remainder and len(kept) < span):
                    return
                rows = kept[:span:step]
                yield joined(
                    lambda parts: type(self)(lambda: iter(parts), len(parts)), rows
                )
                ahead = max(move - len(kept), 0)
                kept = kept[move:]

        count = self._size
        if count >= 0:
            count = (
                max((count - span) // move + 1, 0)
                if drop_remainder
                else -(-count // move)
            )
        return type(self)(make, count)

    def map(
        self,
        map_func: Callable[..., Any],
        num_parallel_calls: Any = None,
        deterministic: Any = None,
        name: Any = None,
        **_: Any,
    ) -> Self:
        """Apply a function to each element; the parts of a tuple are its arguments."""
        return type(self)(
            lambda: (as_element(called(map_func, e)) for e in self._make()),
            self._size,
            self._batched,
        )

    def filter(self, predicate: Callable[..., Any], name: Any = None) -> Self:
        """The elements for which the predicate is true."""
        return type(self)(
            lambda: (e for e in self._make() if bool(called(predicate, e))),
            UNKNOWN_CARDINALITY,
            self._batched,
        )

    def take_while(self, predicate: Callable[..., Any], name: Any = None) -> Self:
        """The elements before the first for which the predicate is false."""
        return type(self)(
            lambda: itertools.takewhile(
                lambda e: bool(called(predicate, e)), self._make()
            ),
            UNKNOWN_CARDINALITY,
        )

    def flat_map(self, map_func: Callable[..., Passes], name: Any = None) -> Self:
        """Map each element to a data set and concatenate the results."""
        return type(self)(
            lambda: itertools.chain.from_iterable(
                called(map_func, e)._make() for e in self._make()
            ),
            UNKNOWN_CARDINALITY,
        )

    def interleave(
        self,
        map_func: Callable[..., Passes],
        cycle_length: Any = None,
        block_length: Any = 1,
        num_parallel_calls: Any = None,
        deterministic: Any = None,
        name: Any = None,
    ) -> Self:
        """Map elements to data sets and interleave them: `block_length` elements of
        each in turn, `cycle_length` (default 1) at a time."""
        width = 1 if cycle_length in (None, AUTOTUNE) else int(cycle_length)

        def make() -> Iterator[Structure]:
            sources = (called(map_func, e)._make() for e in self._make())
            open_: list[Iterator[Structure] | None] = list(
                itertools.islice(sources, width)
            )
            while any(part is not None for part in open_):
                for i, part in builtins.enumerate(open_):
                    if part is None:
                        continue
                    given = 0
                    for element in itertools.islice(part, int(block_length)):
                        given += 1
                        yield element
                    if given < int(block_length):
                        open_[i] = next(sources, None)

        return type(self)(make, UNKNOWN_CARDINALITY)

    def apply(self, transformation_func: Callable[[Self], Self]) -> Self:
        """Apply a function to the data set."""
        return transformation_func(self)

    def cache(self, filename: Any = "", name: Any = None) -> Self:
        """Keep the elements of the first full pass in memory for later passes."""
        kept: list[list[Structure]] = []

        def make() -> Iterator[Structure]:
            if kept:
                yield from kept[0]
                return
            elements: list[Structure] = []
            for element in self._make():
                elements.append(element)
                yield element
            kept[:] = [elements]

        return type(self)(make, self._size, self._batched)

    def prefetch(self, buffer_size: Any = None, name: Any = None) -> Self:
        """Has no effect."""
        return self

    def with_options(self, options: Any, name: Any = None) -> Self:
        """Has no effect."""
        return self

    @staticmethod
    def _count_of(where: str, name: str, value: Any) -> int:
        count = int(value)
        if count < 1:
            raise ValueError(
                f"[Dataset.{where}] {name} must be at least 1. "
                f"Received: {name}={value!r}. Try {name}=32."
            )
        return count
