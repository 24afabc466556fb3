"""Sources of batches for `fit` and `evaluate`: rows in memory, or a user's iterable of
batches, see `kurve.training.streams`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Any

import numpy as np

from kurve.core.sparse import SparseRows
from kurve.engines import Batches
from kurve.training.batching import Division
from kurve.training.network import Network
from kurve.training.rows import count_rows, has_sparse, take

Piece = tuple[Batches, int, int]
"""Batches, and the range of steps (first, last + 1) to run."""


class Feed:
    """Batches of a `fit` or `evaluate`.

    steps:     steps of an epoch; None if unknown
    ended:     whether no batches are left for another epoch
    resumable: whether batches can be read again by index
    """

    steps: int | None
    ended = False
    resumable = True

    def check_for(
        self, network: Network, class_weight: Mapping[int, float] | None = None
    ) -> None:
        """Check upcoming batches against a built network."""

    def check_resumable(self) -> None:
        """Refuse batches that a new process cannot read again."""

    def warn_ran_out(self) -> None:
        """Warn that the batches ran out too early."""

    def begin(self, epoch: int = 0, done: int = 0) -> None:
        """Start an epoch, skipping `done` finished steps."""

    def take(self, count: int) -> Piece | None:
        """At most `count` of the next batches; None at the end of the epoch."""
        raise NotImplementedError

    def end(self) -> None:
        """Called after the last batch of an epoch."""

    def close(self) -> None:
        """Called when no more batches are needed, even after errors."""

    def permuted_from(self, first_step: int, seed: int) -> None:
        """Set the key of the row order, see `Division`."""

    def probe(self, most: int) -> Any:
        """As many rows of x as a step has, up to `most`, to run the model on."""
        raise NotImplementedError

    def arrays(self) -> tuple[Any, Any] | None:
        """All rows (x, y), or None if they are not in memory."""
        return None

    def described(self) -> dict[str, Any]:
        """The identity of the batches in a pass, for checkpoints."""
        raise NotImplementedError


class ArrayFeed(Feed):
    """Rows in memory.

    Args:
        data: all rows, and the bounds of the batches of one pass over them.
        division: division into epochs; None for a single ordered pass.
    """

    def __init__(self, data: Batches, division: Division | None = None) -> None:
        self.data, self.division = data, division
        self.steps = data.steps if division is None else division.steps
        self.batches, self.done = data, 0

    def begin(self, epoch: int = 0, done: int = 0) -> None:
        self.done = done
        if self.division is not None:
            order, bounds = self.division.epoch(epoch)
            data = self.data
            self.batches = Batches(data.x, data.y, data.weights, order, bounds)

    def take(self, count: int) -> Piece | None:
        first = self.done
        self.done = min(first + count, self.batches.steps)
        return (self.batches, first, self.done) if self.done > first else None

    def described(self) -> dict[str, Any]:
        data = self.data
        return {
            "x": hashed(data.x),
            "y": hashed(data.y),
            "weights": hashed(data.weights),
            "batches": hashed(data.bounds),
        }

    def permuted_from(self, first_step: int, seed: int) -> None:
        assert self.division is not None
        self.division.first_step, self.division.seed = first_step, seed

    def probe(self, most: int) -> Any:
        data = self.data
        count = min(int(data.bounds[1] - data.bounds[0]), most)
        every = slice(None, None, count_rows(data.x) // count)
        return take(take(data.x, every), slice(count))

    def arrays(self) -> tuple[Any, Any] | None:
        return self.data.x, self.data.y


class SparseFeed(ArrayFeed):
    """Rows in memory, some inputs of which are sparse. The rows of a few steps at a
    time become dense arrays."""

    def take(self, count: int) -> Piece | None:
        batches, first = self.batches, self.done
        bounds = batches.bounds
        if first == batches.steps:
            return None
        most = min(first + count, batches.steps)
        room = min(rows_at_once(batches.inputs), int(bounds[-1]))
        last = int(np.searchsorted(bounds, bounds[first] + room, "right")) - 1
        self.done = last = min(max(last, first + 1), most)
        rows: Any = slice(int(bounds[first]), int(bounds[last]))
        if batches.order is not None:
            rows = batches.order[rows]
        x, y, weights = (
            take(part, rows) for part in (batches.x, batches.y, batches.weights)
        )
        ends = bounds[first : last + 1] - bounds[first]
        return Batches(x, y, weights, None, ends), 0, last - first

    def arrays(self) -> tuple[Any, Any] | None:
        return None


def feed_of(data: Batches, division: Division | None = None) -> ArrayFeed:
    """The feed for rows in memory.

    Args: see `ArrayFeed`.
    """
    return (SparseFeed if has_sparse(data.x) else ArrayFeed)(data, division)


def rows_at_once(inputs: Iterable[Any]) -> int:
    """Number of rows of sparse inputs to make dense at a time; 2**62 if all are
    dense."""
    found = [x.rows_at_once for x in inputs if isinstance(x, SparseRows)]
    return min(found, default=1 << 62)


def is_dataset(x: Any) -> bool:
    """Whether x is a `PyDataset`, Kurve's or Keras's, or has its methods."""
    return hasattr(x, "__getitem__") and callable(getattr(x, "on_epoch_end", None))


def is_source(x: Any) -> bool:
    """Whether x yields batches rather than being data: an iterator or generator, a
    `PyDataset`, or an iterable that is not a container, such as a tf.data dataset or a
    torch DataLoader. Imports nothing."""
    if type(x) is np.ndarray or isinstance(x, (list, tuple, str, bytes, Mapping, Set)):
        return False
    if is_dataset(x) or isinstance(x, Iterator):
        return True
    is_data = any(hasattr(x, n) for n in ("__array__", "__getitem__", "shape"))
    return isinstance(x, Iterable) and not is_data


def hashed(part: Any) -> Any:
    """Shape, dtype and SHA-256 of an array in C order, or of sparse rows; of a tuple,
    of each."""
    if part is None:
        return None
    if isinstance(part, tuple):
        return [hashed(one) for one in part]
    import hashlib  # only checkpoints need it

    arrays = part.parts if isinstance(part, SparseRows) else (part,)
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array.data)
    return {
        "shape": list(part.shape),
        "dtype": part.dtype.str,
        "values": f"sha256:{digest.hexdigest()}",
    }
