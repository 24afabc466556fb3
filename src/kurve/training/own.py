"""`fit` and `evaluate` for models with custom steps: each batch is a call of
`train_step` or `test_step`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve import data as rows_of
from kurve.callbacks import BackupAndRestore, Callback, CallbackList, History
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
from kurve.training.checkpoints.progress import NullCheckpointer, TrainingProgress
from kurve.training.feeds import hashed, is_source
from kurve.training.loop import FitConfig
from kurve.training.steps import Ahead, StepOfIterator, as_logs, made_function
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

    def batches(self, epoch: int, done: int = 0) -> Iterator[Any]:
        """The batches of an epoch, as `train_step` gets them, but for the first."""
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
        rows: Any = slice(first, last) if order is None else order[first:last]
        return packed(*(_taken(part, rows) for part in self.parts))

    def check_resumable(self) -> None:
        """They are."""

    def permuted_from(self, first_step: int, seed: int) -> None:
        """Let these two choose the order of the rows."""
        assert self.division is not None
        self.division.first_step, self.division.seed = first_step, seed

    def described(self) -> dict[str, Any]:
        """The identity of the rows, for checkpoints."""
        names = "x", "y", "weights"
        found: dict[str, Any] = {
            name: [hashed(array) for array in leaves(part)]
            for name, part in zip(names, self.parts, strict=True)
        }
        division = self.division
        bounds = self.bounds if division is None else division.bounds
        return {**found, "batches": hashed(bounds)}

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

    def batches(self, epoch: int, done: int = 0) -> Iterator[Any]:
        """The batches of an epoch, their arrays as values, but for the first."""
        self.feed.begin(epoch, done)
        while (batch := self.feed.next_batch()) is not END:
            yield replaced(batch, _value)
        self.feed.end()

    def check_resumable(self) -> None:
        """Refuse batches that nobody can give again."""
        self.feed.check_resumable()

    def permuted_from(self, first_step: int, seed: int) -> None:
        """Let these two choose the order of the batches."""
        self.feed.permuted_from(first_step, seed)

    def described(self) -> dict[str, Any]:
        """The identity of the batches, for checkpoints."""
        return self.feed.described()

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
    checkpoint_freq: Any,
) -> History:
    """`Trainer.fit` for a model that overrides `train_step` or another step.

    Args, Raises: see `Trainer.fit`.
    """
    from kurve.training.fitting import _backup, _check_validation_freq, _split

    model._network.require_compiled("fit")
    check_count("fit", "epochs", epochs, 0)
    check_count("fit", "initial_epoch", initial_epoch, 0)
    _check_validation_freq(validation_freq)
    verbose = check_verbose(verbose, "fit")
    callbacks = as_list(callbacks, "fit")
    backup = _backup(checkpoint, checkpoint_freq, callbacks)
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
        shuffle = bool(shuffle)
        rows.division = Division(rows.rows, bounds, steps, shuffle, 0, 0)
        training = rows
    if validation_data is not None:
        validation = _validation(validation_data, validation_steps)
    if isinstance(validation, RowsInMemory):
        size = validation_batch_size or batch_size
        validation.bounds = evaluation_bounds(
            validation.rows, size, validation_steps, "fit"
        )
    if backup is not None:
        for feed in (training, validation):
            if feed is not None:
                feed.check_resumable()
    history = History()
    hooks = CallbackList(
        [*callbacks, history],
        model,
        {"epochs": epochs, "steps": training.steps, "verbose": verbose},
    )
    config = FitConfig(
        data=training,  # type: ignore[arg-type]
        validation=validation,  # type: ignore[arg-type]
        epochs=epochs,
        initial_epoch=initial_epoch,
        validation_freq=validation_freq,
        shuffle=bool(shuffle),
        verbose=verbose,
    )
    run = _Run(model, hooks, training, validation, config)
    with run.checkpointer(backup) as checkpointer:
        checkpointer.validate(config)
        model.history, model.stop_training = history, False
        try:
            if checkpointer.finished:
                checkpointer.restore(run.progress)
            else:
                run.epochs(checkpointer)
        finally:
            training.close()
            if validation is not None:
                validation.close()
    return history


class _Run:
    """The epochs of a fit.

    Args:
        config: the checked arguments of `fit`.
    """

    def __init__(
        self,
        model: Trainer,
        hooks: CallbackList,
        training: Batches,
        validation: Batches | None,
        config: FitConfig,
    ) -> None:
        self.model, self.hooks, self.config = model, hooks, config
        self.training, self.validation = training, validation
        self.progress = TrainingProgress.at(config.initial_epoch, 0)
        optimizer: Any = model.optimizer
        self.first_step = int(optimizer.iterations) if optimizer is not None else 0

    def checkpointer(self, backup: BackupAndRestore | None) -> NullCheckpointer:
        """What writes checkpoints; or does nothing."""
        if backup is None:
            return NullCheckpointer(self.first_step)
        from kurve.training.checkpoints.own import OwnCheckpointer

        found = OwnCheckpointer(backup, self.model, self.hooks, self.try_step)
        found.first_step = self.first_step
        return found

    def try_step(self, progress: TrainingProgress) -> None:
        """The first step, and one of the validation, which the checkpointer undoes."""
        model, training, validation = self.model, self.training, self.validation
        done = {"train": training, "test": validation}
        for kind, feed in done.items():
            if feed is None:
                continue
            if kind == "train":
                feed.permuted_from(self.first_step, model._network.seed)
            calls = _Calls(model, kind, feed, 0, bulk=False)
            if calls.has_next:
                calls.call()

    def epochs(self, checkpointer: NullCheckpointer) -> None:
        """Run the epochs, from where the checkpointer says."""
        model, hooks, config = self.model, self.hooks, self.config
        training = self.training
        hooks.call("on_train_begin", {})
        self.progress = progress = checkpointer.restore(self.progress)
        logs: dict[str, Any] = hooks.last_logs()
        training.permuted_from(checkpointer.first_step, model._network.seed)
        last = config.epochs if not progress.stopped else 0
        for epoch in range(progress.epoch, last):
            if not progress.started:
                hooks.call("on_epoch_begin", epoch, {})
                model.reset_metrics()
                progress.start_epoch()
                progress.logs = {}
            title = f"Epoch {epoch + 1}/{config.epochs}"
            bar = ProgressBar(training.steps, verbose=config.verbose, title=title)
            try:
                self._train(checkpointer, epoch - config.initial_epoch, bar)
                logs = dict(progress.logs)
                if not progress.done and not model.stop_training:
                    progress.started = False
                    training.warn_ran_out()
                    break
                if self.validation is not None and config.validates(epoch):
                    bulk = type(checkpointer) is NullCheckpointer
                    found = test(model, hooks, self.validation, bulk)
                    logs |= {f"val_{name}": value for name, value in found.items()}
                logs = dict(sorted(logs.items()))
                if bar.target is None or training.ended:
                    bar.target = progress.done
                bar.finish(logs)
            finally:
                bar.close()
            hooks.call("on_epoch_end", epoch, logs)
            progress.end_epoch(model.stop_training)
            checkpointer.on_step_boundary(progress)
            if model.stop_training:
                break
            if training.ended and epoch + 1 < config.epochs:
                training.warn_ran_out()
                break
        checkpointer.end(progress)
        optimizer = model.optimizer
        if optimizer is not None and optimizer.applier is not None:
            optimizer.finalize_variable_values(optimizer.applier.variables)
        hooks.call("on_train_end", logs)
        checkpointer.finish()

    def _train(
        self, checkpointer: NullCheckpointer, epoch: int, bar: ProgressBar
    ) -> None:
        """The steps of an epoch that are not done."""
        model, hooks, progress = self.model, self.hooks, self.progress
        by_batch = "train" in hooks.per_batch
        # Sums over many steps round in another way than one step after the other: with
        # checkpoints, which come at any time, there are only steps.
        bulk = not by_batch and type(checkpointer) is NullCheckpointer
        calls = _Calls(model, "train", self.training, epoch, bulk, progress.done)
        while not model.stop_training and calls.has_next:
            if by_batch:
                hooks.call("on_train_batch_begin", calls.done, {})
            try:
                found = calls.call()
            except NonFiniteError as error:
                if not hooks.handles_non_finite():
                    raise
                print(f"\nTraining ends early: {error.what} is not finite.")
                model.stop_training = progress.non_finite = True
                progress.logs = {**progress.logs, "loss": float("nan")}
                return
            steps, progress.done = calls.done - progress.done, calls.done
            if found is not None:
                progress.logs = found
                if by_batch:
                    hooks.call("on_train_batch_end", calls.done - 1, dict(found))
            if bar.wants_updates:
                shown = model.get_metrics_result() if found is None else found
                bar.update(calls.done, shown)
            checkpointer.count(steps)
            checkpointer.on_step_boundary(progress)


class _Calls:
    """The calls of a step, or of a function that takes batches from an iterator, until
    the batches end.

    Args:
        kind: "train" or "test".
        bulk: whether many steps may be done in one call of the engine.
        done: how many batches of the epoch are done.
    """

    def __init__(
        self,
        model: Trainer,
        kind: str,
        batches: Batches,
        epoch: int,
        bulk: bool,
        done: int = 0,
    ) -> None:
        self.kind, self.done = kind, done
        self.function = made_function(model, kind)
        self.step = compiled_step(model, f"{kind}_step")
        source = batches.batches(epoch, done)
        if self.function is None and bulk and isinstance(batches, RowsInMemory):
            source = _with_bulk(self.step, batches, epoch)
        self.source = Ahead(source)

    @property
    def has_next(self) -> bool:
        return self.source.has_next

    def call(self) -> dict[str, Any] | None:
        """The logs of the next call; None where several steps were done at once."""
        if self.function is not None:
            before = self.source.taken
            try:
                logs = as_logs(f"{self.kind}_function", self.function(self.source))
            except StopIteration:  # it wants more batches than there are
                logs = None
            if self.source.taken == before:
                raise RuntimeError(
                    f"[fit] {self.kind}_function must take batches from its iterator. "
                    "Received: a call that took none. Try data = next(iterator)."
                )
            self.done += self.source.taken - before
            return logs
        batch = next(self.source)
        if isinstance(batch, int):  # so many steps have been done
            self.done += batch
            return None
        self.done += 1
        return as_logs(f"{self.kind}_step", self.step(batch))


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
        if model.iterations:  # it goes on with what a file or a copy has
            known.skip_first_run()
    return known


def test(
    model: Trainer, hooks: CallbackList, batches: Batches, bulk: bool
) -> dict[str, Any]:
    """The logs of a pass of `test_step`; see `_Calls` about `bulk`."""
    by_batch = "test" in hooks.per_batch
    logs: dict[str, Any] = {}
    model.stop_evaluating = False
    hooks.call("on_test_begin", {})
    model.reset_metrics()
    calls = _Calls(model, "test", batches, 0, bulk=bulk and not by_batch)
    while calls.has_next and not model.stop_evaluating:
        if by_batch:
            hooks.call("on_test_batch_begin", calls.done, {})
        found = calls.call()
        if found is None:
            continue
        logs = found
        if by_batch:
            hooks.call("on_test_batch_end", calls.done - 1, dict(logs))
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
        logs = test(model, hooks, batches, True)
        bar.finish(logs)
    finally:
        bar.close()
        batches.close()
    return returned(logs, return_dict)


def on_batch(
    model: Trainer, kind: str, x: Any, y: Any, weights: Any, return_dict: bool
) -> Any:
    """`train_on_batch` or `test_on_batch`: one call of a step."""
    rows = RowsInMemory(f"{kind}_on_batch", x, y, weights)
    model.reset_metrics()
    function = made_function(model, kind)
    if function is None:
        (batch,) = rows.batches(0)
        logs = getattr(model, f"{kind}_step")(batch)
    else:
        logs = function(rows.batches(0))
    return returned(as_logs(f"{kind}_step", logs), return_dict)


def predict(
    model: Trainer,
    x: Any,
    batch_size: int | None,
    verbose: str | int,
    steps: int | None,
    callbacks: Callback | Iterable[Callback] | None,
) -> Any:
    """`Trainer.predict` of a model with a step of its own: what the steps give, one
    behind the other.

    Args, Raises: see `Trainer.predict`.
    """
    verbose = check_verbose(verbose, "predict")
    batches: Batches
    if is_source(x):
        batches = Stream(StreamFeed("predict", "x", x, steps, "steps"))
    else:
        batches = RowsInMemory("predict", x, None, None)
        batches.bounds = evaluation_bounds(batches.rows, batch_size, steps, "predict")
    hooks = CallbackList(as_list(callbacks, "predict"), model, {"steps": batches.steps})
    by_batch, found = "predict" in hooks.per_batch, []
    step = made_function(model, "predict") or StepOfIterator(model, "predict")
    source, model.stop_predicting = Ahead(batches.batches(0)), False
    hooks.call("on_predict_begin", {})
    bar = ProgressBar(batches.steps, verbose=verbose, title=None)
    try:
        while source.has_next and not model.stop_predicting:
            if by_batch:
                hooks.call("on_predict_batch_begin", source.taken, {})
            found.append(replaced(step(source), np.asarray))
            if by_batch:
                outputs = {"outputs": found[-1]}
                hooks.call("on_predict_batch_end", source.taken - 1, outputs)
            if bar.wants_updates:
                bar.update(source.taken, {})
        bar.target = source.taken
        bar.finish({})
    finally:
        bar.close()
        batches.close()
    hooks.call("on_predict_end", {})
    return _joined("predict", found)


def _joined(where: str, found: list[Any]) -> Any:
    """What the steps have given, one behind the other in each place of the structure.

    Raises:
        ValueError: they are of different structures, or a number for a whole batch.
    """
    parts = [list(leaves(one)) for one in found]
    if len({len(part) for part in parts}) != 1 or not all(
        np.ndim(array) for part in parts for array in part
    ):
        raise ValueError(
            f"[{where}] predict_step must give arrays with a row for each sample, in "
            "the same structure in each step. Received: "
            f"{', '.join(str([np.shape(a) for a in part]) for part in parts[:2])}. "
            "Try the model's outputs."
        )
    columns = iter([np.concatenate(column) for column in zip(*parts, strict=True)])
    return replaced(found[0], lambda _: next(columns))


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
