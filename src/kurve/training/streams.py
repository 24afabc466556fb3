"""Iterables of batches passed to `fit`, `evaluate` and `predict`.

kind of object                         an epoch without / with steps_per_epoch
iterator, generator                    all that is left / the next batches
`PyDataset`, by index                  all its batches / that many, repeating passes
iterable (tf.data, torch DataLoader)   likewise
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from kurve.core.entries import warn
from kurve.engines import Batches
from kurve.training.batching import Division
from kurve.training.feeds import Feed, Piece, is_dataset
from kurve.training.inputs import DataCheck, unpack_batch
from kurve.training.network import Network
from kurve.training.rows import Data, take

Check = Callable[[Any, int | None], Data]
"""A function from a batch and its index, for messages, to checked rows."""


END = object()
"""Returned instead of a batch at the end."""

MAX_TOGETHER = 32
"""Maximum number of batches per engine call if they come fast enough: a call per batch
costs more than a step of a small network."""

FAST_SOURCE = 8e-6
"""Maximum seconds a source may take per batch to read the next one ahead of the step. A
source that queries the model takes longer and sees the weights after each step."""

FAST_STEP = 2e-4
"""Maximum seconds of a step for that: next to longer steps, a call costs little."""

SMALL = 1 << 16
"""Maximum bytes of such a batch."""


class StreamFeed(Feed):
    """Batches from a user's iterable.

    Args:
        where, argument: used in messages.
        source: see `is_source`.
        steps: batches per epoch; None for one pass.
        name: name of the argument that sets the steps.
        shuffle: whether to shuffle the batches of a `PyDataset` in each pass.

    Raises:
        ValueError: an infinite dataset without steps, or an empty one.
    """

    def __init__(
        self,
        where: str,
        argument: str,
        source: Any,
        steps: int | None,
        name: str,
        shuffle: bool = False,
    ) -> None:
        self.where, self.argument, self.source = where, argument, source
        self.given, self.steps, self.shuffle = steps, steps, shuffle
        self.check: Check | None = None  # checks each batch once the model is built
        self.seed = self.first_step = 0  # key of the permutations
        self.resumable = is_dataset(source)
        self.number = 0
        self._batches: Iterator[Any] = iter(())
        self._endless: Iterator[Any] | None = None
        self._first: list[Any] = []
        self._last: Data | None = None
        self._bounds = np.array((0, 0))  # bounds of the last batch
        self._next: Any = None  # the next batch or error, read ahead
        self._is_fast = False
        self._since, self._count = 0.0, 1  # when, and how many were taken
        self._room: Room | None = None  # for batches taken together
        self._length = length(source)
        if self.resumable and steps is None and self._length is None:
            raise ValueError(
                f"[{where}] {name} is needed for an infinite dataset. Received: "
                f"{argument} of type {type(source).__name__}, whose num_batches is "
                f"None. Try {name}=100."
            )
        if self.resumable and self._length == 0:
            raise self._empty()
        if self.steps is None:
            self.steps = self._length

    def peek(self) -> Any:
        """The first batch, which the first epoch repeats."""
        if not self._first:
            if self.resumable:
                self._first = [self.source[0]]
            else:
                self._endless = self._forward()
                first = next(self._endless, END)
                if first is END:
                    raise self._empty()
                self._first = [first]
        return self._first[0]

    def check_for(
        self, network: Network, class_weight: Mapping[int, float] | None = None
    ) -> None:
        check = DataCheck(self.where, network)

        def checked(batch: Any, number: int | None) -> Data:
            check.where = self.where
            try:
                return check(*unpack_batch(self.where, batch), class_weight)
            except (TypeError, ValueError, NotImplementedError):
                if number is None:
                    raise
                # Repeat the check to name the batch in the error.
                check.where = f"{self.where}, batch {number} of {self.argument}"
                return check(*unpack_batch(check.where, batch), class_weight)

        self.check = checked

    def check_resumable(self) -> None:
        kind, what = type(self.source), None
        found = {
            name: getattr(getattr(kind, name, None), "__module__", "kurve")
            for name in ("on_epoch_begin", "on_epoch_end")
        }
        hooks = [
            name
            for name, module in found.items()
            if module.partition(".")[0] not in ("kurve", "keras")
        ]
        if not self.resumable:
            what = f"a {kind.__name__}, whose batches cannot be read again by index"
        elif hooks:
            what = f"a {kind.__name__} with its own {hooks[0]}"
        if what is not None:
            raise ValueError(
                f"[fit] checkpoints need {self.argument} to produce the same batches "
                "again: arrays, or a kurve.utils.PyDataset without hooks. Received: "
                f"{what}. Try fit without checkpoints, or shuffle=True for a hook."
            )

    def warn_ran_out(self) -> None:
        wanted = "more epochs" if self.given is None else f"{self.given} batches"
        warn(
            f"[{self.where}] {self.argument} ran out of batches, but {wanted} were "
            f"expected. Received: {self.number} batches from a "
            f"{type(self.source).__name__}. Try an infinite generator and a number "
            "of steps, or kurve.utils.PyDataset."
        )

    def begin(self, epoch: int = 0, done: int = 0) -> None:
        self.number = done
        if self.resumable:
            self._batches = self._of_dataset(epoch, done)
            return
        first, self._first = self._first, []
        starts = self.given is None or epoch == 0
        if self._endless is None or (starts and not first):
            self._endless = self._forward()
        rest = self._endless
        most = None if self.given is None else self.given - done
        self._batches = itertools.islice(itertools.chain(first, rest), most)

    def next_batch(self) -> Any:
        """The next batch from the source, unchecked; `END` at the end of the epoch."""
        batch = self._read()
        if batch is END:
            if self.given is None and not self.resumable:
                self.ended = isinstance(self.source, Iterator)
                self.steps = None if self.ended else self.number
            elif self.given is not None and self.number < self.given:
                self.ended = True
        return batch

    def take(self, count: int) -> Piece | None:
        step = (time.perf_counter() - self._since) / self._count
        piece = self._piece(count if step < FAST_STEP else 1)
        self._count = 1 if piece is None else piece[2]
        self._since = time.perf_counter()
        return piece

    def _piece(self, count: int) -> Piece | None:
        batch = self.next_batch()
        if batch is END:
            return None
        number = self.number
        if self._is_fast and count > 1:
            bounds = self._put_together(batch, min(count, MAX_TOGETHER))
            if len(bounds) > 1:
                return self._checked(bounds, number)
        assert self.check is not None
        self._last = data = self.check(batch, number)
        rows = data.rows
        if rows != self._bounds[1]:
            self._bounds = np.array((0, rows))
        return Batches(*data, None, self._bounds), 0, 1

    def _read(self) -> Any:
        """The next raw batch; `END` at the end of the epoch."""
        batch, self._next = self._next, None
        if batch is None:
            start = time.perf_counter()
            batch = next(self._batches, END)
            self._is_fast = time.perf_counter() - start < FAST_SOURCE
        elif isinstance(batch, BaseException):
            raise batch
        if batch is not END:
            self.number += 1
        return batch

    def _put_together(self, batch: Any, most: int) -> list[int]:
        """Copy at most `most` batches, starting with this one, to the buffer; return
        their bounds. Each is copied before the next is read, because a source may reuse
        its arrays."""
        bounds, room = [0], self._room
        if room is None or not room.put(batch, bounds):
            self._room = room = Room.for_batches_like(batch)
            if room is None:
                return bounds
            room.put(batch, bounds)
        while len(bounds) <= most and self._is_fast:
            try:
                batch = self._read()
            except BaseException as error:
                self._next = error  # raised after the preceding steps
                break
            if batch is END:
                break
            if not room.put(batch, bounds):
                self._next = batch
                self.number -= 1
                break
        return bounds

    def _checked(self, bounds: list[int], number: int) -> Piece:
        """Check the batches in the buffer, up to the first invalid one."""
        room = self._room
        assert self.check is not None and room is not None
        try:
            data = self.check(room.part(0, bounds[-1]), None)
        except (TypeError, ValueError, NotImplementedError):
            for k in range(len(bounds) - 1):
                try:
                    self.check(room.part(bounds[k], bounds[k + 1]), number + k)
                except (TypeError, ValueError, NotImplementedError) as error:
                    if k == 0:
                        raise
                    self._next, bounds = error, bounds[: k + 1]
                    break
            data = self.check(room.part(0, bounds[-1]), number)
        self._last = data.part(bounds[-2], bounds[-1])
        return Batches(*data, None, np.array(bounds)), 0, len(bounds) - 1

    def end(self) -> None:
        error = self._next
        if isinstance(error, BaseException) and not isinstance(error, Exception):
            raise error  # Ctrl-C, before a step that ended the epoch
        if self.resumable:
            self.source.on_epoch_end()

    def close(self) -> None:
        for batches in (self._batches, self._endless):
            if isinstance(batches, Generator) and batches is not self.source:
                batches.close()

    def permuted_from(self, first_step: int, seed: int) -> None:
        self.first_step, self.seed = first_step, seed

    def probe(self, most: int) -> Any:
        assert self._last is not None
        return take(self._last.x, slice(most))

    def described(self) -> dict[str, Any]:
        return {"dataset": type(self.source).__name__, "batches": self._length}

    def _empty(self) -> ValueError:
        return ValueError(
            f"[{self.where}] {self.argument} must produce at least one batch. "
            f"Received: an empty {type(self.source).__name__}. Try a new one, if it "
            "was used before."
        )

    def _forward(self) -> Iterator[Any]:
        """The batches of an iterator, or of an iterable: one pass, or endless passes
        with steps."""
        if isinstance(self.source, Iterator):
            return self.source
        return self._passes()

    def _passes(self) -> Iterator[Any]:
        while True:
            empty = True
            for batch in self.source:
                empty = False
                yield batch
            if self.given is None or empty:
                return

    def _of_dataset(self, epoch: int, done: int) -> Iterator[Any]:
        """The batches of one epoch of a `PyDataset`, by index."""
        source, steps = self.source, self.steps
        assert steps is not None
        if hasattr(source, "on_epoch_begin"):
            source.on_epoch_begin()
        indices: Iterable[int] = range(epoch * steps + done, (epoch + 1) * steps)
        if self._length is not None:
            bounds = np.arange(self._length + 1)
            division = Division(
                self._length, bounds, steps, self.shuffle, self.seed, self.first_step
            )
            order, ends = division.epoch(epoch)
            indices = (ends[:-1] if order is None else order)[done:].tolist()
        workers = getattr(source, "workers", 1)
        if workers > 1:
            ahead = max(workers, getattr(source, "max_queue_size", 10))
            return _prefetched(source, indices, workers, ahead)
        return map(source.__getitem__, indices)


class Room:
    """Memory for the rows of several batches of the same form: x, y and sample_weight
    are arrays, or lists or dictionaries of arrays."""

    def __init__(self, form: Any, batch: Any, arrays: list[np.ndarray]) -> None:
        self.form, self.batch = form, batch
        self.rows = MAX_TOGETHER * len(arrays[0])
        self.arrays = [np.empty((self.rows, *a.shape[1:]), a.dtype) for a in arrays]

    @classmethod
    def for_batches_like(cls, batch: Any) -> Room | None:
        """A buffer for many batches; None if they are large or have another form."""
        form, arrays = _arrays(batch)
        small = arrays and sum(a.nbytes for a in arrays) <= SMALL
        return cls(form, batch, arrays) if small else None

    def put(self, batch: Any, bounds: list[int]) -> bool:
        """Append a batch and its end to the bounds; return False if it does not fit."""
        form, arrays = _arrays(batch)
        if not arrays or form != self.form:
            return False
        first = bounds[-1]
        last = first + len(arrays[0])
        if last > self.rows:
            return False
        for room, array in zip(self.arrays, arrays, strict=True):
            room[first:last] = array
        bounds.append(last)
        return True

    def part(self, first: int, last: int) -> Any:
        """These rows as a batch."""
        rows = iter([array[first:last] for array in self.arrays])

        def taken(part: Any) -> Any:
            if isinstance(part, dict):
                return {name: next(rows) for name in part}
            if isinstance(part, (list, tuple)):
                return [next(rows) for _ in part]
            return None if part is None else next(rows)

        return [taken(part) for part in self.batch]


def _arrays(batch: Any) -> tuple[list[Any], list[np.ndarray]]:
    """The form of a batch, and its arrays, which have equal numbers of rows; none if it
    contains anything else."""
    form: list[Any] = []
    found: list[np.ndarray] = []
    if type(batch) not in (tuple, list) or len(batch) not in (2, 3):
        return form, found
    for part in batch:
        kind = type(part)
        if kind is np.ndarray:
            found.append(part)
        elif kind is dict:
            form.append(tuple(part))
            found += part.values()
        elif kind is tuple or kind is list:
            form.append(len(part))
            found += part
        elif part is not None:
            return form, []
        form.append(kind)
    rows = 0
    for array in found:
        if type(array) is not np.ndarray or not array.ndim:
            return form, []
        rows = rows or len(array)
        if len(array) != rows or array.dtype.kind not in "fiub":
            return form, []
        form += (array.dtype, array.shape[1:])
    return form, found


def _prefetched(
    source: Any, indices: Iterable[int], workers: int, ahead: int
) -> Iterator[Any]:
    """The items in order, prepared by threads, at most `ahead` in advance."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(workers, "kurve-batches") as pool:
        waiting = deque[Any]()
        try:
            for index in indices:
                waiting.append(pool.submit(source.__getitem__, index))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for item in waiting:
                item.cancel()


def length(source: Any) -> int | None:
    """Number of batches per pass, if known."""
    sized = hasattr(source, "__len__")
    try:
        if is_dataset(source) and (not sized or hasattr(source, "num_batches")):
            number = source.num_batches
        else:
            number = len(source) if sized else None
    except (TypeError, NotImplementedError):  # unknown length
        return None
    return None if number is None else int(number)


def refuse_beside_batches(where: str, x: Any, **given: Any) -> None:
    """Refuse arguments that must be part of the batches."""
    for name, value in given.items():
        if value is not None:
            raise ValueError(
                f"[{where}] {name} must be part of the batches if x is an iterable of "
                f"them. Received: {name} beside x of type {type(x).__name__}. "
                "Try batches (x, y) or (x, y, sample_weight)."
            )


def batches_to_predict(
    source: Any, steps: int | None, where: str = "predict"
) -> Iterator[Any]:
    """x of each batch of a source, at most `steps` batches.

    Raises:
        ValueError: see `StreamFeed`.
    """
    feed = StreamFeed(where, "x", source, steps, "steps")
    if not feed.resumable:
        feed.peek()  # refuses an empty one
    feed.begin()
    try:
        for number, batch in enumerate(feed._batches, 1):
            yield unpack_batch(f"{where}, batch {number} of x", batch, alone=True)[0]
    finally:
        feed.close()
    feed.end()
