"""`fit` and `evaluate` for models with custom steps: each batch is a call of
`train_step` or `test_step`."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.callbacks import BackupAndRestore, Callback, CallbackList
from kurve.callbacks.base import as_list
from kurve.core.progress import ProgressBar, check_verbose
from kurve.engines import Job
from kurve.errors import NonFiniteError
from kurve.formulas.tensor import leaves, replaced
from kurve.legacy.logs import Logs
from kurve.training.arguments import Call, split_rows
from kurve.training.batching import Division, evaluation_bounds, pass_bounds
from kurve.training.checkpoints.progress import NullCheckpointer, TrainingProgress
from kurve.training.custom_batches import Batches, RowsInMemory, Stream, class_weights
from kurve.training.epochs import EpochLoop, FitConfig
from kurve.training.feeds import Feed, is_source
from kurve.training.inputs import unpack_data
from kurve.training.loop import NO_CHECKPOINTS
from kurve.training.predicting import by_batches
from kurve.training.steps import (
    Ahead,
    StepOfIterator,
    as_logs,
    compiled_step,
    made_function,
)
from kurve.utils import pack_x_y_sample_weight

if TYPE_CHECKING:
    from kurve.training.trainer import Trainer


MAX_AT_ONCE = 256
"""Maximum batches per engine call; the progress bar moves after each call."""


class OwnCall(Call):
    """A call of `fit` or `evaluate` for a model with custom steps."""

    held_out: RowsInMemory | None = None

    def to_train(
        self, x: Any, y: Any, sample_weight: Any, split: float, steps: int | None
    ) -> Batches:
        if is_source(x):
            given = "fit", "x", x, steps, "steps_per_epoch", self.shuffle
            return Stream(*given, class_weight=self.class_weight)
        if self.class_weight is not None:
            sample_weight = class_weights(y, self.class_weight)
        rows = RowsInMemory("fit", x, y, sample_weight)
        if split:
            count = split_rows(rows.rows, split)
            self.held_out = rows.part(count, rows.rows)
            if self.class_weight is not None:  # class weights only apply to training
                self.held_out.parts[-1] = None
            rows = rows.part(0, count)
        fixed = self.model._network.rows
        bounds = pass_bounds(rows.rows, self.batch_size, steps, fixed)
        steps = steps or len(bounds) - 1
        rows.divide(bounds, Division(rows.rows, bounds, steps, self.shuffle, 0, 0))
        return rows

    def to_validate(
        self, data: Any, batch_size: int | None, steps: int | None
    ) -> Batches | None:
        name, held_out = "validation_data", self.held_out
        if data is not None and is_source(data):
            return Stream("fit", name, data, steps, "validation_steps")
        if data is not None:
            given = unpack_data("fit", name, data, alone=True)
            held_out = RowsInMemory(f"fit, {name}", *given)
        if held_out is not None:
            size = batch_size or self.batch_size
            held_out.divide(evaluation_bounds(held_out.rows, size, steps, "fit"))
        return held_out

    def to_evaluate(
        self, x: Any, y: Any, sample_weight: Any, steps: int | None
    ) -> Batches:
        if is_source(x):
            return Stream("evaluate", "x", x, steps, "steps")
        rows = RowsInMemory("evaluate", x, y, sample_weight)
        rows.divide(evaluation_bounds(rows.rows, self.batch_size, steps, "evaluate"))
        return rows

    def loop(
        self,
        hooks: CallbackList,
        backup: BackupAndRestore | None = None,
        config: FitConfig | None = None,
    ) -> OwnLoop:
        return OwnLoop(self.model, hooks, backup, config)

    def returned(self, logs: dict[str, Any], return_dict: bool) -> Any:
        return returned(logs, return_dict)


class OwnLoop(EpochLoop):
    """Runs the epochs of `fit`, or the batches of `evaluate`, by calling the model's
    own steps.

    Args:
        model, hooks: see `EpochLoop`.
        backup: where to write checkpoints, or None.
        config: the checked arguments of `fit`; None in `evaluate`.
    """

    model: Trainer

    def __init__(
        self,
        model: Trainer,
        hooks: CallbackList,
        backup: BackupAndRestore | None,
        config: FitConfig | None,
    ) -> None:
        epoch = 0 if config is None else config.initial_epoch
        super().__init__(model, hooks, NO_CHECKPOINTS, TrainingProgress.at(epoch, 0))
        if config is not None:
            self.checkpointer = self._checkpointer(backup, config)

    def _checkpointer(
        self, backup: BackupAndRestore | None, config: FitConfig
    ) -> NullCheckpointer:
        """The checkpointer, which may be one that does nothing."""
        optimizer: Any = self.model.optimizer
        first_step = int(optimizer.iterations) if optimizer is not None else 0
        if backup is None:
            return NullCheckpointer(first_step)
        from kurve.training.checkpoints.custom import OwnCheckpointer

        def try_step(progress: TrainingProgress) -> None:
            """Run the first step, and one of the validation; both are undone later."""
            config.data.permuted_from(first_step, self.model._network.seed)
            for kind, feed in (("train", config.data), ("test", config.validation)):
                if feed is not None:
                    calls = _Calls(self.model, kind, feed, 0, bulk=False)
                    if calls.has_next:
                        calls.call()
            self.model.reset_metrics()  # makes metrics, as the start of an epoch does

        found = OwnCheckpointer(backup, self.model, self.hooks, try_step)
        found.first_step = first_step
        return found

    @property
    def _bulk(self) -> bool:
        """Whether many steps may run in one engine call. Their sums are rounded
        differently from those of single steps, so with checkpoints, which can come at
        any time, there are only single steps."""
        return type(self.checkpointer) is NullCheckpointer

    def begin_epoch(self) -> None:
        self.model.reset_metrics()
        self.progress.logs = {}

    def train(
        self, data: Feed, epoch: int, bar: ProgressBar
    ) -> Generator[Job, None, dict[str, Any]]:
        model, hooks, progress = self.model, self.hooks, self.progress
        by_batch = "train" in hooks.per_batch
        bulk = not by_batch and self._bulk
        calls = _Calls(model, "train", data, epoch, bulk, progress.done)
        while not model.stop_training and calls.has_next:
            if by_batch:
                hooks.call("on_train_batch_begin", calls.done, {})
            try:
                found = calls.call()
            except NonFiniteError as error:
                self.stop_for(error)
                progress.logs = {**progress.logs, "loss": float("nan")}
                break
            steps, progress.done = calls.done - progress.done, calls.done
            if found is not None:
                progress.logs = found
                if by_batch:
                    hooks.call("on_train_batch_end", calls.done - 1, dict(found))
            if bar.wants_updates:
                shown = model.get_metrics_result() if found is None else found
                bar.update(calls.done, shown)
            self.checkpointer.count(steps)
            self.checkpointer.on_step_boundary(progress)
        yield from ()  # no jobs: the steps are done
        return self.epoch_logs()

    def epoch_logs(self) -> dict[str, Any]:
        return Logs(sorted(self.progress.logs.items()))

    def test(self, data: Feed) -> dict[str, Any]:
        model, hooks = self.model, self.hooks
        by_batch = "test" in hooks.per_batch
        logs: dict[str, Any] = {}
        model.stop_evaluating = False
        hooks.call("on_test_begin", {})
        model.reset_metrics()
        calls = _Calls(model, "test", data, 0, bulk=self._bulk and not by_batch)
        while calls.has_next and not model.stop_evaluating:
            if by_batch:
                hooks.call("on_test_batch_begin", calls.done, {})
            found = calls.call()
            if found is None:
                continue
            logs = found
            if by_batch:
                hooks.call("on_test_batch_end", calls.done - 1, dict(logs))
        self.progress.tested = calls.done
        hooks.call("on_test_end", logs)
        return logs

    def finish(self) -> None:
        optimizer = self.model.optimizer
        if optimizer is not None and optimizer.applier is not None:
            optimizer.finalize_variable_values(optimizer.applier.variables)


class _Calls:
    """The calls of a step, or of a function that takes batches from an iterator, until
    the batches end.

    Args:
        kind: "train" or "test".
        bulk: whether many steps may run in one engine call.
        done: number of finished batches of the epoch.
    """

    def __init__(
        self,
        model: Trainer,
        kind: str,
        batches: Feed,
        epoch: int,
        bulk: bool,
        done: int = 0,
    ) -> None:
        assert isinstance(batches, Batches)
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
        """The logs of the next call; None if several steps ran at once."""
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
        many = min(int(many), MAX_AT_ONCE)
        if training.rows_at_once is None:
            parts, rows = training.parts, order
            part = np.array(bounds[at : at + many + 1])
        else:
            many = min(many, max(1, training.rows_at_once // int(sizes[at])))
            part = np.array(bounds[at : at + many + 1])
            parts, rows = training.dense(order, int(part[0]), int(part[-1])), None
            part -= part[0]
        compiled.run_many(arrays_of(pack_x_y_sample_weight(*parts)), rows, part)
        at += many
        yield many


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
    """`Trainer.predict` of a model with a custom step: the concatenated results of the
    steps.

    Args, Raises: see `Trainer.predict`.
    """
    verbose = check_verbose(verbose, "predict")
    batches: Batches
    if is_source(x):
        batches = Stream("predict", "x", x, steps, "steps")
    else:
        batches = RowsInMemory("predict", x, None, None)
        batches.divide(evaluation_bounds(batches.rows, batch_size, steps, "predict"))
    hooks = CallbackList(as_list(callbacks, "predict"), model, {"steps": batches.steps})
    step = made_function(model, "predict") or StepOfIterator(model, "predict")
    try:
        found = by_batches(
            model,
            Ahead(batches.batches(0)),
            lambda source: replaced(step(source), np.asarray),
            batches.steps,
            verbose,
            hooks,
        )
    finally:
        batches.close()
    return _joined("predict", found)


def _joined(where: str, found: list[Any]) -> Any:
    """The results of the steps, concatenated for each element of the structure.

    Raises:
        ValueError: they are of different structures, or a number for a whole batch.
    """
    parts = [list(leaves(one)) for one in found]
    if len({len(part) for part in parts}) != 1 or not all(
        np.ndim(array) for part in parts for array in part
    ):
        raise ValueError(
            f"[{where}] predict_step must return arrays with one row per sample, in "
            "the same structure in every step. Received: "
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
