"""The steps run by an engine, in as few calls as the callbacks allow."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Sequence

import numpy as np

from kurve.callbacks import CallbackList
from kurve.core.progress import ProgressBar
from kurve.engines import Job, Program
from kurve.errors import NonFiniteError
from kurve.legacy.logs import Logs
from kurve.plan import Plan
from kurve.training.checkpoints.progress import NullCheckpointer, TrainingProgress
from kurve.training.epochs import EpochLoop
from kurve.training.feeds import Feed
from kurve.training.trainable import Trainable

REDRAW_SECONDS = 0.1
UNLIMITED = 2**62
"""Stands for an unknown number of steps."""
MAX_CHECKED = 1024
"""Number of rows to check after the last update."""
NO_CHECKPOINTS = NullCheckpointer()


def unknown_number(plan: Plan, inputs: Sequence[np.ndarray]) -> str:
    """An explanation of why an embedding of an input is NaN; "" if none is."""
    for i, op in enumerate(plan.ops):
        if op.kind != "embedding":
            continue
        value = plan.reads(i)[0]
        before = value - plan.given
        if before >= 0 and plan.ops[before].layer == op.layer:  # it truncates
            value = plan.reads(before)[0]
        if value >= len(inputs):
            continue
        x, rows = np.trunc(inputs[value]), op.params["embeddings"].shape[0]
        unknown = x[(x < 0) | (x >= rows)]
        if unknown.size:
            number, largest = int(unknown[0]), int(x.max())
            needed = f"Embedding({largest + 1}, ...)" if number >= rows else "0 for it"
            return (
                f"The layer {op.layer!r} needs numbers 0 to {rows - 1}. "
                f"Received: {number}. Try {needed}."
            )
    return ""


class TrainingLoop(EpochLoop):
    """Runs the epochs of `fit`, or the batches of `evaluate`, of a built model on an
    engine.

    Args:
        hooks: the callbacks.
        checkpointer: writes checkpoints, if requested.
        epoch: number of the first epoch.
    """

    def __init__(
        self,
        model: Trainable,
        hooks: CallbackList,
        checkpointer: NullCheckpointer = NO_CHECKPOINTS,
        epoch: int = 0,
    ) -> None:
        self.program = model._network.program()
        size = self.program.plan.totals_size
        super().__init__(model, hooks, checkpointer, TrainingProgress.at(epoch, size))
        _, self.state = model._network.require_built("fit")
        compilation = model._network.require_compiled("fit")
        self.stride = compilation.steps_per_execution
        """Steps between calls of a batch hook."""
        self.first_step = self.state.step

    def begin_epoch(self) -> None:
        self.model._network.check_trainable("fit")

    def finish(self) -> None:
        self.model._network.use_average()

    def _program_for(self, inputs: Sequence[np.ndarray]) -> Program:
        """The program for inputs with these shapes."""
        network = self.model._network
        if network.has_open_sizes or not network.is_ready:
            network.adapt_to([x.shape[1:] for x in inputs])
            self.program = network.program()
        return self.program

    def check_last_update(self, data: Feed) -> None:
        """Refuse weights for which the next step would fail: the weights are finite
        after the last update, but the outputs are not. Checks as many rows as a step
        has, spread over the data.

        Raises:
            NonFiniteError: an output is not finite.
        """
        state, step = self.state, self.state.step
        if step == self.first_step or self.progress.non_finite:
            return
        if self.program.plan.rows is not None:  # states would change
            return
        rows = data.probe(MAX_CHECKED)
        if not isinstance(rows, tuple):
            rows = np.ascontiguousarray(rows)
        else:
            rows = tuple(map(np.ascontiguousarray, rows))
        given = rows if isinstance(rows, tuple) else (rows,)
        found = self._program_for(given).predict(state, rows)
        # The first check is fast but overflows too early.
        bad = [
            label
            for label, outputs in zip(
                self.model._network.outputs.labels,
                found if isinstance(found, tuple) else (found,),
                strict=True,
            )
            if not (
                math.isfinite(np.vdot(outputs, outputs)) or np.isfinite(outputs).all()
            )
        ]
        if not bad:
            return
        what = f"the output {bad[0]}" if isinstance(found, tuple) else "the output"
        assert self.model.optimizer is not None
        rate = self.model.optimizer.current_learning_rate(step)
        error = NonFiniteError(what, step, rate)
        if not self.hooks.handles_non_finite():
            raise error
        print(f"\nThe last update was too large: {error.what} is not finite.")

    def train(
        self, data: Feed, epoch: int, bar: ProgressBar
    ) -> Generator[Job, None, dict[str, float]]:
        """Run the steps of an epoch from `progress.done` on, with as few engine calls
        as callbacks, progress bar, checkpointer and data allow; return the logs of the
        epoch."""
        model, state = self.model, self.state
        hooks, progress, stride = self.hooks, self.progress, self.stride
        assert model.optimizer is not None
        rates_of, totals = model.optimizer.learning_rates, progress.totals
        by_batch = "train" in hooks.per_batch
        data.begin(epoch, progress.done)
        before, start = progress.done, time.perf_counter()
        while not model.stop_training:
            done = progress.done
            if done == data.steps and data.resumable:
                break
            left = UNLIMITED if data.steps is None else data.steps - done
            if by_batch:
                left = stride - done % stride
            elif bar.wants_updates:
                pace = (done - before) / max(time.perf_counter() - start, 1e-9)
                left = min(left, max(1, int(pace * REDRAW_SECONDS)))
            piece = data.take(max(self.checkpointer.steps_until_next(left), 1))
            if piece is None:
                break
            batches, first, last = piece
            if by_batch and done % stride == 0:
                hooks.call("on_train_batch_begin", done, {})
            if batches.learning_rates is None:
                batches.learning_rates = np.empty(batches.steps, np.float32)
                if not by_batch:
                    batches.learning_rates[first:] = rates_of(
                        state.step, batches.steps - first
                    )
            if by_batch:
                batches.learning_rates[first:last] = rates_of(state.step, last - first)
            try:
                program = self._program_for(batches.inputs)
                yield Job(program, state, batches, first, last, totals)
            except NonFiniteError as error:
                if cause := unknown_number(program.plan, batches.inputs):
                    error = error.because(cause)
                self.stop_for(error)
                break
            progress.done += last - first
            if by_batch and self._completes_stride(progress.done, data.steps):
                logs = model._network.logs(totals)
                hooks.call("on_train_batch_end", self._last_of(progress.done), logs)
            if bar.wants_updates:
                bar.update(progress.done, model._network.logs(totals))
            self.checkpointer.on_step_boundary(progress)
        data.end()
        return self.epoch_logs()

    def _completes_stride(self, done: int, steps: int | None) -> bool:
        return done % self.stride == 0 or done == steps

    def _last_of(self, done: int) -> int:
        """The step index that Keras passes to a batch hook after so many steps: that of
        the last step in a call of `steps_per_execution` steps, even if the data end
        before it."""
        return -(-done // self.stride) * self.stride - 1

    def epoch_logs(self) -> dict[str, float]:
        logs = self.model._network.logs(self.progress.totals)
        return (
            Logs({**logs, "loss": float("nan")}) if self.progress.non_finite else logs
        )

    def test(self, data: Feed) -> dict[str, float]:
        """Compute loss and metrics of all batches, from `progress.tested` on."""
        model, hooks, progress = self.model, self.hooks, self.progress
        totals, stride = progress.test_totals, self.stride
        by_batch = "test" in hooks.per_batch
        if progress.tested < 0:
            model.stop_evaluating = False
            hooks.call("on_test_begin", {})
            progress.start_test()
        data.begin(0, progress.tested)
        while not model.stop_evaluating:
            step = progress.tested
            if step == data.steps and data.resumable:
                break
            left = UNLIMITED if data.steps is None else data.steps - step
            if by_batch:
                left = stride - step % stride
            piece = data.take(max(self.checkpointer.steps_until_next(left), 1))
            if piece is None:
                break
            batches, first, last = piece
            if by_batch and step % stride == 0:
                hooks.call("on_test_batch_begin", step, {})
            count = last - first
            program = self._program_for(batches.inputs)
            program.test(self.state, batches.only(first, count), totals)
            progress.tested += count
            if by_batch and self._completes_stride(progress.tested, data.steps):
                logs = model._network.logs(totals)
                hooks.call("on_test_batch_end", self._last_of(progress.tested), logs)
            self.checkpointer.on_step_boundary(progress)
        data.end()
        logs = model._network.logs(totals)
        hooks.call("on_test_end", logs)
        return logs
