"""The training loop: epochs of steps, in as few engine calls as the callbacks allow,
and validation between them."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np

from kurve.callbacks import CallbackList, History
from kurve.core.progress import ProgressBar
from kurve.engines import Batches, Job
from kurve.errors import NonFiniteError
from kurve.training.batching import Division
from kurve.training.checkpoints.progress import NullCheckpointer, TrainingProgress
from kurve.training.trainable import Trainable

REDRAW_SECONDS = 0.1
MOST_CHECKED = 1024
"""Rows that are checked after the last update."""
NO_CHECKPOINTS = NullCheckpointer()

TrainingRun = Generator[Job, None, History]
"""A running `fit`: it yields jobs for the caller to execute (whose error the caller
throws back) and returns the history. So several can run side by side."""


@dataclass(frozen=True, eq=False)
class FitConfig:
    """The checked arguments of a `fit`.

    data:       all rows, and the bounds of the batches of one pass over them
    validation: likewise, or None
    epochs, initial_epoch, steps: numbers of the last and first epoch, steps per epoch
    validation_freq, shuffle, verbose: as given to `fit`
    """

    data: Batches
    validation: Batches | None
    epochs: int
    initial_epoch: int
    steps: int
    validation_freq: int | Sequence[int]
    shuffle: bool
    verbose: int

    def validates(self, epoch: int) -> bool:
        """Whether validation is due after this epoch, counted from 0."""
        if isinstance(self.validation_freq, int):
            return (epoch + 1) % self.validation_freq == 0
        return epoch + 1 in self.validation_freq


class TrainingLoop:
    """Runs the epochs of a `fit`, or the batches of an `evaluate`, of a built model.

    Args:
        hooks: the callbacks.
        checkpointer: writes the checkpoints, if there are any.
        epoch: number of the first epoch.
    """

    def __init__(
        self,
        model: Trainable,
        hooks: CallbackList,
        checkpointer: NullCheckpointer = NO_CHECKPOINTS,
        epoch: int = 0,
    ) -> None:
        self.model, self.hooks, self.checkpointer = model, hooks, checkpointer
        self.program = model._network.program()
        _, self.state = model._network.require_built("fit")
        self.progress = TrainingProgress.at(epoch, self.program.plan.totals_size)
        self.first_step = self.state.step

    def run(self, config: FitConfig) -> Generator[Job, None, None]:
        """Run the epochs, from where the checkpointer says."""
        hooks, checkpointer = self.hooks, self.checkpointer
        if checkpointer.resumes:
            hooks.params["resumed"] = True
        hooks.call("on_train_begin", {})
        self.progress = progress = checkpointer.restore(self.progress)
        logs = hooks.last_logs()
        data = config.data
        division = Division(
            rows=len(data.x),
            bounds=data.bounds,
            steps=config.steps,
            shuffle=config.shuffle,
            seed=self.state.seed,
            first_step=checkpointer.first_step,
        )
        for epoch in range(
            progress.epoch, config.epochs if not progress.stopped else 0
        ):
            if not progress.started:
                hooks.call("on_epoch_begin", epoch, {})
                self.model._network.check_trainable("fit")
                progress.start_epoch()
            order, bounds = division.epoch(epoch - config.initial_epoch)
            batches = Batches(data.x, data.y, data.weights, order, bounds)
            title = f"Epoch {epoch + 1}/{config.epochs}"
            bar = ProgressBar(division.steps, verbose=config.verbose, title=title)
            try:
                logs = yield from self._epoch(batches, bar)
                if config.validation is not None and config.validates(epoch):
                    results = self.test(config.validation)
                    results = {f"val_{name}": v for name, v in results.items()}
                    logs = dict(sorted({**logs, **results}.items()))
                bar.finish(logs)
            finally:
                bar.close()
            hooks.call("on_epoch_end", epoch, logs)
            progress.end_epoch(self.model.stop_training)
            checkpointer.on_step_boundary(progress)
            if self.model.stop_training:
                break
        checkpointer.end(progress)
        self.model._network.use_average()
        hooks.call("on_train_end", logs)
        checkpointer.finish()

    def check_last_update(self, data: Batches) -> None:
        """Refuse weights with which the next step would fail: finite themselves after
        the last update, but with outputs that are not. Checks as many rows as a step
        has, spread over the data.

        Raises:
            NonFiniteError: an output is not finite.
        """
        state, step = self.state, self.state.step
        if step == self.first_step or self.progress.non_finite:
            return
        count = min(int(data.bounds[1] - data.bounds[0]), MOST_CHECKED)
        rows = np.ascontiguousarray(data.x[:: len(data.x) // count][:count])
        outputs = self.program.predict(state, rows)
        # The first check is fast, but overflows too early.
        if math.isfinite(np.vdot(outputs, outputs)) or np.isfinite(outputs).all():
            return
        assert self.model.optimizer is not None
        rate = self.model.optimizer.current_learning_rate(step)
        error = NonFiniteError("the output", step, rate)
        if not self.hooks.handles_non_finite():
            raise error
        print(f"\nThe last update was too large: {error.what} is not finite.")

    def _epoch(
        self, batches: Batches, bar: ProgressBar
    ) -> Generator[Job, None, dict[str, float]]:
        """Run the steps of an epoch from `progress.done` on, in as few engine calls as
        callbacks, progress bar and checkpointer allow; return the epoch's logs."""
        model, state = self.model, self.state
        hooks, progress = self.hooks, self.progress
        assert model.optimizer is not None
        totals = progress.totals
        batches.learning_rates = np.empty(batches.steps, np.float32)
        step_by_step = "train" in hooks.per_batch
        if not step_by_step:
            batches.learning_rates[progress.done :] = model.optimizer.learning_rates(
                state.step, batches.steps - progress.done
            )
        before, start = progress.done, time.perf_counter()
        while (
            progress.done < batches.steps
            and not model.stop_training
            and progress.tested < 0
        ):
            done = progress.done
            left = batches.steps - done
            if step_by_step:
                left = 1
                hooks.call("on_train_batch_begin", done, {})
                batches.learning_rates[done:] = model.optimizer.learning_rates(
                    state.step, 1
                )
            elif bar.wants_updates:
                pace = (done - before) / max(time.perf_counter() - start, 1e-9)
                left = min(left, max(1, int(pace * REDRAW_SECONDS)))
            count = self.checkpointer.steps_until_next(left)
            try:
                yield Job(self.program, state, batches, done, done + count, totals)
            except NonFiniteError as error:
                if not hooks.handles_non_finite():
                    raise
                print(f"\nTraining ends early: {error.what} is not finite.")
                model.stop_training = progress.non_finite = True
                break
            progress.done += count
            if step_by_step:
                hooks.call("on_train_batch_end", done, model._network.logs(totals))
            if bar.wants_updates:
                bar.update(progress.done, model._network.logs(totals))
            self.checkpointer.on_step_boundary(progress)
        logs = model._network.logs(totals)
        return {**logs, "loss": float("nan")} if progress.non_finite else logs

    def test(self, batches: Batches) -> dict[str, float]:
        """Loss and metrics of all batches, from `progress.tested` on."""
        model, hooks, progress = self.model, self.hooks, self.progress
        totals = progress.test_totals
        if progress.tested < 0:
            hooks.call("on_test_begin", {})
            progress.start_test()
        while progress.tested < batches.steps:
            step = progress.tested
            left = batches.steps - step
            if "test" in hooks.per_batch:
                left = 1
                hooks.call("on_test_batch_begin", step, {})
            count = self.checkpointer.steps_until_next(left)
            self.program.test(self.state, batches.only(step, count), totals)
            progress.tested += count
            if "test" in hooks.per_batch:
                hooks.call("on_test_batch_end", step, model._network.logs(totals))
            self.checkpointer.on_step_boundary(progress)
        logs = model._network.logs(totals)
        hooks.call("on_test_end", logs)
        return logs
