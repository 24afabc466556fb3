"""The one training loop: epochs, steps in as few engine calls as callbacks allow, and
tests between them."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import ParamSpec

import numpy as np

from kurve.batching import Division
from kurve.callbacks import CallbackList, History
from kurve.checkpoints.cursor import Cursor, Keeper
from kurve.engines import Batches, Job
from kurve.errors import NonFiniteError
from kurve.progress import ProgressBar
from kurve.training.trainable import Trainable

REDRAW_SECONDS = 0.1
MOST_CHECKED = 1024
"""Rows that are looked at after the last update."""
KEEPS_NOTHING = Keeper()

Fit = Generator[Job, None, History]
"""A `fit` under way: it yields each stretch of steps for somebody else to do (or to
throw the error of), and returns the history. So several can go on side by side."""

P = ParamSpec("P")


def driven(steps: Callable[P, Fit]) -> Callable[P, History]:
    """The method that does all jobs of `steps` one after the other."""

    @functools.wraps(steps)
    def fit(*args: P.args, **kwargs: P.kwargs) -> History:
        run = steps(*args, **kwargs)
        try:
            job = next(run)
            while True:
                try:
                    job.program.train(
                        job.state, job.batches, job.first, job.last, job.totals
                    )
                except BaseException as error:
                    job = run.throw(error)
                else:
                    job = next(run)
        except StopIteration as end:
            history: History = end.value
            return history
        finally:
            run.close()

    fit.__name__, fit.__qualname__ = "fit", "Trainer.fit"
    return fit


@dataclass(frozen=True, eq=False)
class Course:
    """What one call of `fit` shall do.

    data:       all rows, and the bounds of one pass over them
    validation: likewise, or None
    epochs, initial_epoch, steps: numbers of the last and first epoch, steps of each
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


class Loop:
    """What the engine does for a `fit` or an `evaluate` of a model, which is built.

    Args:
        hooks: the callbacks.
        keeper: of the checkpoints.
        epoch: number of the first one.
    """

    def __init__(
        self,
        model: Trainable,
        hooks: CallbackList,
        keeper: Keeper = KEEPS_NOTHING,
        epoch: int = 0,
    ) -> None:
        self.model, self.hooks, self.keeper = model, hooks, keeper
        self.program = model._ready_program()
        _, self.state = model._built("fit")
        self.cursor = Cursor.at(epoch, self.program.plan.totals_size)
        self.first_step = self.state.step

    def run(self, course: Course) -> Generator[Job, None, None]:
        """The epochs, from where the keeper says."""
        hooks, keeper = self.hooks, self.keeper
        if keeper.resumes:
            hooks.params["resumed"] = True
        hooks.call("on_train_begin", {})
        self.cursor = cursor = keeper.restore(self.cursor)
        logs = hooks.last_logs()
        data, seed = course.data, self.state.seed
        division = Division(
            *(len(data.x), data.bounds, course.steps, course.shuffle),
            *(seed, keeper.first_step),
        )
        for epoch in range(cursor.epoch, course.epochs if not cursor.stopped else 0):
            if not cursor.begun:
                hooks.call("on_epoch_begin", epoch, {})
                self.model._check_trainable("fit")
                cursor.begin_epoch()
            order, bounds = division.epoch(epoch - course.initial_epoch)
            batches = Batches(data.x, data.y, data.weights, order, bounds)
            title = f"Epoch {epoch + 1}/{course.epochs}"
            bar = ProgressBar(division.steps, verbose=course.verbose, title=title)
            try:
                logs = yield from self._epoch(batches, bar)
                if course.validation is not None and course.validates(epoch):
                    results = self.test(course.validation)
                    results = {f"val_{name}": v for name, v in results.items()}
                    logs = dict(sorted({**logs, **results}.items()))
                bar.finish(logs)
            finally:
                bar.close()
            hooks.call("on_epoch_end", epoch, logs)
            cursor.end_epoch(self.model.stop_training)
            keeper.place(cursor)
            if self.model.stop_training:
                break
        keeper.end(cursor)
        hooks.call("on_train_end", logs)
        keeper.finish()

    def check_last_update(self, data: Batches) -> None:
        """Refuse weights with which a step would fail now, as the next step of a longer
        fit does: the last update has left them finite, but not what the model makes of
        the rows. Looks at as many rows as a step has, from everywhere in the data.

        Raises:
            NonFiniteError: an output is not finite.
        """
        state, step = self.state, self.state.step
        if step == self.first_step or self.cursor.non_finite:
            return
        count = min(int(data.bounds[1] - data.bounds[0]), MOST_CHECKED)
        rows = np.ascontiguousarray(data.x[:: len(data.x) // count][:count])
        outputs = self.program.predict(state, rows)
        # The first is fast, but overflows too early.
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
        """The steps of one epoch from `cursor.done` on, in as few engine calls as the
        callbacks, the progress bar and the keeper allow; the epoch's logs."""
        model, state, hooks, cursor = self.model, self.state, self.hooks, self.cursor
        assert model.optimizer is not None
        totals = cursor.totals
        batches.learning_rates = model.optimizer.learning_rates(
            state.step - cursor.done, batches.steps
        )
        before, start = cursor.done, time.perf_counter()
        while (
            cursor.done < batches.steps
            and not model.stop_training
            and cursor.tested < 0
        ):
            done = cursor.done
            left = batches.steps - done
            if "train" in hooks.per_batch:
                left = 1
                hooks.call("on_train_batch_begin", done, {})
                batches.learning_rates[done:] = model.optimizer.learning_rates(
                    state.step, batches.steps - done
                )
            elif bar.wants_updates:
                pace = (done - before) / max(time.perf_counter() - start, 1e-9)
                left = min(left, max(1, int(pace * REDRAW_SECONDS)))
            count = self.keeper.stretch(left)
            try:
                yield Job(self.program, state, batches, done, done + count, totals)
            except NonFiniteError as error:
                if not hooks.handles_non_finite():
                    raise
                print(f"\nTraining ends early: {error.what} is not finite.")
                model.stop_training = cursor.non_finite = True
                break
            cursor.done += count
            if "train" in hooks.per_batch:
                hooks.call("on_train_batch_end", done, model._logs(totals))
            if bar.wants_updates:
                bar.update(cursor.done, model._logs(totals))
            self.keeper.place(cursor)
        logs = model._logs(totals)
        return {**logs, "loss": float("nan")} if cursor.non_finite else logs

    def test(self, batches: Batches) -> dict[str, float]:
        """Loss and metrics of all batches, from `cursor.tested` on."""
        model, hooks, cursor = self.model, self.hooks, self.cursor
        totals = cursor.test_totals
        if cursor.tested < 0:
            hooks.call("on_test_begin", {})
            cursor.begin_test()
        while cursor.tested < batches.steps:
            step = cursor.tested
            left = batches.steps - step
            if "test" in hooks.per_batch:
                left = 1
                hooks.call("on_test_batch_begin", step, {})
            count = self.keeper.stretch(left)
            self.program.test(self.state, batches.only(step, count), totals)
            cursor.tested += count
            if "test" in hooks.per_batch:
                hooks.call("on_test_batch_end", step, model._logs(totals))
            self.keeper.place(cursor)
        logs = model._logs(totals)
        hooks.call("on_test_end", logs)
        return logs
