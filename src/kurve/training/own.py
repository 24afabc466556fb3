"""`fit` and `evaluate` for models with custom steps: each batch is a call of
`train_step` or `test_step`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve import data as rows_of
from kurve.callbacks import Callback, CallbackList, History
from kurve.callbacks.base import as_list
from kurve.core.arrays import is_frame
from kurve.core.locks import exclusive
from kurve.core.progress import ProgressBar, check_verbose
from kurve.core.results import Values, result
from kurve.errors import NonFiniteError
from kurve.formulas.tensor import leaves, replaced
from kurve.training.batching import (
    Division,
    check_count,
    evaluation_bounds,
    pass_bounds,
)
from kurve.training.feeds import is_source
from kurve.training.steps import as_logs
from kurve.training.streams import END, StreamFeed, refuse_beside_batches
from kurve.utils import pack_x_y_sample_weight

if TYPE_CHECKING:
    from kurve.training.trainer import Trainer


MOST_AT_ONCE = 256
"""Maximum batches per engine call; the progress bar moves after each call."""


class RowsInMemory:
    """Batches of arrays, for custom steps.

    Args:
        where: name for messages.
        x, y, weights: structures of arrays.
    """

    def __init__(self, where: str, x: Any, y: Any, weights: Any) -> None:
        self.parts = [arrays_of(where, "x", x)]
        self.parts += [
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
        self.bounds = np.array([0, self.rows])
        self.division: Division | None = None
        self.ended = False

    @property
    def steps(self) -> int | None:
        return len(self.bounds) - 1 if self.division is None else self.division.steps

    def part(self, first: int, last: int) -> RowsInMemory:
        """The rows first..last-1."""
        picked = [_taken(part, slice(first, last)) for part in self.parts]
        return RowsInMemory("fit", *picked)

    def batches(self, epoch: int) -> Iterator[Any]:
        """The batches of an epoch, as passed to `train_step`."""
        order, bounds = self.divided(epoch)
        for first, last in pairwise(bounds):
            yield self.batch(order, int(first), int(last))

    def divided(self, epoch: int) -> tuple[np.ndarray | None, np.ndarray]:
        """The order of the rows in an epoch, and the bounds of its batches."""
        if self.division is None:
            return None, self.bounds
        return self.division.epoch(epoch)

    def batch(self, order: np.ndarray | None, first: int, last: int) -> Any:
        """These rows of an epoch, as passed to `train_step`."""
        rows: Any = slice(first, last) if order is None else order[first:last]
        return packed(*(_taken(part, rows) for part in self.parts))

    def warn_ran_out(self) -> None:
        """Arrays never run out."""

    def close(self) -> None:
        """Nothing to close."""


class Stream:
    """Batches from a user's iterable, for custom steps."""

    def __init__(self, feed: StreamFeed) -> None:
        self.feed = feed
        if not feed.resumable:
            feed.peek()  # refuses an empty one

    @property
    def steps(self) -> int | None:
        return self.feed.steps

    @property
    def ended(self) -> bool:
        return self.feed.ended

    def batches(self, epoch: int) -> Iterator[Any]:
        """The batches of an epoch, with arrays as values."""
        self.feed.begin(epoch)
        while (batch := self.feed.next_batch()) is not END:
            yield replaced(batch, _value)
        self.feed.end()

    def warn_ran_out(self) -> None:
        """Warn that the batches ran out too early."""
        self.feed.warn_ran_out()

    def close(self) -> None:
        """Close the feed, even after errors."""
        self.feed.close()


Batches = RowsInMemory | Stream


@exclusive("fit")
def fit(
    model: Trainer,
    x: Any,
    y: Any,
    batch_size: int | None,
    epochs: int,
    verbose: str | int,
    callbacks: Callback | Iterable[Callback] | None,
    validation_split: float,
    validation_data: Any,
    shuffle: bool,
    class_weight: Mapping[int, float] | None,
    sample_weight: Any,
    initial_epoch: int,
    steps_per_epoch: int | None,
    validation_steps: int | None,
    validation_batch_size: int | None,
    validation_freq: int | Sequence[int],
    checkpoint: Any,
) -> History:
    """`Trainer.fit` for a model that overrides `train_step` or another step.

    Args, Raises: see `Trainer.fit`.
    """
    from kurve.training.fitting import _check_validation_freq, _split

    model._network.require_compiled("fit")
    check_count("fit", "epochs", epochs, 0)
    check_count("fit", "initial_epoch", initial_epoch, 0)
    _check_validation_freq(validation_freq)
    verbose = check_verbose(verbose, "fit")
    callbacks = as_list(callbacks, "fit")
    if checkpoint is not None:
        raise NotImplementedError(
            "[fit] checkpoints need the built-in training step. Received: "
            f"checkpoint={checkpoint!r} for {type(model).__name__}, which has a custom "
            "step. Try callbacks.ModelCheckpoint with save_weights_only=True."
        )
    validation: Batches | None = None
    if is_source(x):
        refuse_beside_batches("fit", x, y=y, sample_weight=sample_weight)
        name = "steps_per_epoch"
        training: Batches = Stream(
            StreamFeed("fit", "x", x, steps_per_epoch, name, bool(shuffle))
        )
    else:
        if class_weight is not None:
            sample_weight = _class_weights(y, class_weight)
        rows = RowsInMemory("fit", x, y, sample_weight)
        if validation_split and validation_data is None:
            count = _split(rows.rows, validation_split)
            validation = rows.part(count, rows.rows)
            rows = rows.part(0, count)
        bounds = pass_bounds(
            rows.rows, batch_size, steps_per_epoch, model._network.rows
        )
        steps = steps_per_epoch or len(bounds) - 1
        optimizer: Any = model.optimizer
        first = int(optimizer.iterations) if optimizer is not None else 0
        rows.division = Division(
            rows.rows, bounds, steps, bool(shuffle), model._network.seed, first
        )
        training = rows
    if validation_data is not None:
        validation = _validation(validation_data, validation_steps)
    if isinstance(validation, RowsInMemory):
        size = validation_batch_size or batch_size
        validation.bounds = evaluation_bounds(
            validation.rows, size, validation_steps, "fit"
        )
    history = History()
    hooks = CallbackList(
        [*callbacks, history],
        model,
        {"epochs": epochs, "steps": training.steps, "verbose": verbose},
    )
    model.history, model.stop_training = history, False
    try:
        _epochs(
            model,
            hooks,
            training,
            validation,
            range(initial_epoch, epochs),
            validation_freq,
            verbose,
        )
    finally:
        training.close()
        if validation is not None:
            validation.close()
    return history


def _epochs(
    model: Trainer,
    hooks: CallbackList,
    training: Batches,
    validation: Batches | None,
    numbers: range,
    validation_freq: int | Sequence[int],
    verbose: int,
) -> None:
    logs: dict[str, Any] = {}
    hooks.call("on_train_begin", {})
    for epoch in numbers:
        hooks.call("on_epoch_begin", epoch, {})
        model.reset_metrics()
        title = f"Epoch {epoch + 1}/{numbers.stop}"
        bar = ProgressBar(training.steps, verbose=verbose, title=title)
        try:
            logs, done = _train(model, hooks, training, epoch - numbers.start, bar)
            if not done and not model.stop_training:
                training.warn_ran_out()
                break
            due = (
                (epoch + 1) % validation_freq == 0
                if isinstance(validation_freq, int)
                else epoch + 1 in validation_freq
            )
            if validation is not None and due:
                found = test(model, hooks, validation)
                logs |= {f"val_{name}": value for name, value in found.items()}
            logs = dict(sorted(logs.items()))
            if bar.target is None or training.ended:
                bar.target = done
            bar.finish(logs)
        finally:
            bar.close()
        hooks.call("on_epoch_end", epoch, logs)
        if model.stop_training:
            break
        if training.ended and epoch + 1 < numbers.stop:
            training.warn_ran_out()
            break
    optimizer = model.optimizer
    if optimizer is not None and optimizer.applier is not None:
        optimizer.finalize_variable_values(optimizer.applier.variables)
    hooks.call("on_train_end", logs)


def _train(
    model: Trainer, hooks: CallbackList, training: Batches, epoch: int, bar: ProgressBar
) -> tuple[dict[str, Any], int]:
    """The logs of an epoch, and its number of steps."""
    by_batch, done = "train" in hooks.per_batch, 0
    step = compiled_step(model, "train_step")
    logs: dict[str, Any] = {}
    source = training.batches(epoch)
    if isinstance(training, RowsInMemory) and not by_batch:
        source = _with_bulk(step, training, epoch)
    for batch in source:
        if isinstance(batch, int):  # a number of steps done in bulk
            done += batch
            if bar.wants_updates:
                bar.update(done, model.get_metrics_result())
            continue
        if by_batch:
            hooks.call("on_train_batch_begin", done, {})
        try:
            logs = as_logs("train_step", step(batch))
        except NonFiniteError as error:
            if not hooks.handles_non_finite():
                raise
            print(f"\nTraining ends early: {error.what} is not finite.")
            model.stop_training = True
            return {**logs, "loss": float("nan")}, done
        if by_batch:
            hooks.call("on_train_batch_end", done, dict(logs))
        done += 1
        if bar.wants_updates:
            bar.update(done, logs)
        if model.stop_training:
            break
    return logs, done


def _with_bulk(step: Any, training: RowsInMemory, epoch: int) -> Iterator[Any]:
    """The batches of an epoch for `train_step`. If several can run in one engine call,
    that is done here, and their number is yielded instead. The last batch is always
    yielded, because its results are those of the epoch."""
    from kurve.training.tracing.functions import Function, arrays_of

    order, bounds = training.divided(epoch)
    sizes, at = np.diff(bounds), 0
    while at < len(sizes):
        batch = training.batch(order, int(bounds[at]), int(bounds[at + 1]))
        others = np.flatnonzero(sizes[at:] != sizes[at])
        many = min(others[0] if len(others) else len(sizes) - at, len(sizes) - 1 - at)
        compiled = step.in_bulk(batch) if isinstance(step, Function) else None
        if compiled is None or many < 2:
            yield batch
            at += 1
            continue
        many = min(int(many), MOST_AT_ONCE)
        part = np.array(bounds[at : at + many + 1])
        compiled.run_many(arrays_of(packed(*training.parts)), order, part)
        at += many
        yield many


def compiled_step(model: Trainer, name: str) -> Callable[[Any], Any]:
    """A step that runs compiled if it can be traced; see `kurve.function`."""
    from kurve.training.tracing.functions import Function

    written: Callable[[Any], Any] = getattr(model, name)
    if model.run_eagerly:
        return written
    known = model._functions.get(name)
    if known is None or known.python_function != written:
        known = model._functions[name] = Function(written)
    return known


def test(model: Trainer, hooks: CallbackList, batches: Batches) -> dict[str, Any]:
    """The logs of a pass of `test_step`."""
    by_batch, step = "test" in hooks.per_batch, compiled_step(model, "test_step")
    logs: dict[str, Any] = {}
    model.stop_evaluating = False
    hooks.call("on_test_begin", {})
    model.reset_metrics()
    source, done = batches.batches(0), 0
    if isinstance(batches, RowsInMemory) and not by_batch:
        source = _with_bulk(step, batches, 0)
    for batch in source:
        if isinstance(batch, int):
            continue
        if by_batch:
            hooks.call("on_test_batch_begin", done, {})
        logs = as_logs("test_step", step(batch))
        if by_batch:
            hooks.call("on_test_batch_end", done, dict(logs))
        done += 1
        if model.stop_evaluating:
            break
    hooks.call("on_test_end", logs)
    return logs


def evaluate(
    model: Trainer,
    x: Any,
    y: Any,
    batch_size: int | None,
    verbose: str | int,
    sample_weight: Any,
    steps: int | None,
    callbacks: Callback | Iterable[Callback] | None,
    return_dict: bool,
) -> Any:
    """`Trainer.evaluate` for a model with custom steps.

    Args, Raises: see `Trainer.evaluate`.
    """
    batches: Batches
    if is_source(x):
        refuse_beside_batches("evaluate", x, y=y, sample_weight=sample_weight)
        batches = Stream(StreamFeed("evaluate", "x", x, steps, "steps"))
    else:
        batches = RowsInMemory("evaluate", x, y, sample_weight)
        batches.bounds = evaluation_bounds(batches.rows, batch_size, steps, "evaluate")
    verbose = check_verbose(verbose, "evaluate")
    hooks = CallbackList(
        as_list(callbacks, "evaluate"), model, {"steps": batches.steps}
    )
    bar = ProgressBar(batches.steps, verbose=verbose, title=None)
    try:
        logs = test(model, hooks, batches)
        bar.finish(logs)
    finally:
        bar.close()
        batches.close()
    return returned(logs, return_dict)


def on_batch(step: Any, x: Any, y: Any, weights: Any, return_dict: bool) -> Any:
    """`train_on_batch` or `test_on_batch`: a single call of a step."""
    rows = RowsInMemory(step.__name__, x, y, weights)
    model = step.__self__
    model.reset_metrics()
    (batch,) = rows.batches(0)
    return returned(as_logs(step.__name__, step(batch)), return_dict)


def returned(logs: dict[str, Any], return_dict: bool) -> Any:
    """Return logs as a dictionary, a list, or a single number."""
    if return_dict:
        return logs
    values = list(logs.values())
    return values[0] if len(values) == 1 else values


def packed(x: Any, y: Any, weights: Any) -> Any:
    """The argument of a step: x, (x, y) or (x, y, sample_weight), with arrays as
    values."""
    return pack_x_y_sample_weight(x, y, weights)


def arrays_of(where: str, argument: str, value: Any) -> Any:
    """Convert the leaves of a structure to float32 or integer arrays."""
    if value is None:
        return None
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
    if isinstance(leaf, Values) or not hasattr(leaf, "__array__"):
        return leaf
    array = np.asarray(leaf)
    return result(array.astype(np.float32) if array.dtype == np.float64 else array)


def _taken(part: Any, rows: Any) -> Any:
    if part is None:
        return None
    return replaced(part, lambda a: None if a is None else result(a[rows]))


def _class_weights(y: Any, class_weight: Mapping[int, float]) -> Any:
    labels = np.asarray(y)
    sparse = labels.ndim == 1 or labels.shape[-1] == 1
    return rows_of.class_weights("fit", class_weight, labels, sparse)


def _validation(data: Any, steps: int | None) -> Batches:
    if is_source(data):
        name = "validation_data"
        return Stream(StreamFeed("fit", name, data, steps, "validation_steps"))
    given = data if isinstance(data, (tuple, list)) else (data,)
    if not 1 <= len(given) <= 3:
        raise TypeError(
            "[fit] validation_data must be x, (x, y) or (x, y, sample_weight). "
            f"Received: {len(given)} values. Try validation_data=(x, y)."
        )
    return RowsInMemory("fit, validation_data", *(*given, None, None)[:3])
