"""`fit`, `evaluate` and `predict`.

Names, arguments and defaults are those of keras.Model; `kurve.models.Sequential` is a
Trainer that holds layers.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Never

import numpy as np

from kurve import data
from kurve.callbacks import Callback, CallbackList, History
from kurve.callbacks.base import as_list
from kurve.core.entries import entry, shown
from kurve.core.locks import (
    check_readable,
    check_still_readable,
    exclusive,
    modifies,
    reads,
)
from kurve.core.overrides import refuse_overrides
from kurve.core.progress import ProgressBar, check_verbose
from kurve.engines import Batches, Job, Program, run_job
from kurve.errors import unknown_argument
from kurve.training.batching import ONE_BATCH, evaluation_bounds
from kurve.training.fitting import fit_steps, run_to_completion
from kurve.training.inputs import check_data, one_array
from kurve.training.loop import TrainingLoop
from kurve.training.trainable import Trainable


class Trainer(Trainable):
    """A model that can be trained, evaluated and asked for predictions."""

    history: History | None

    def __init__(self) -> None:
        super().__init__()
        self.stop_training = False
        self.history = None

    @entry
    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: str | int = "auto",
        callbacks: Callback | Iterable[Callback] | None = None,
        validation_split: float = 0.0,
        validation_data: Sequence[Any] | None = None,
        shuffle: bool = True,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Sequence[int] = 1,
        *,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_freq: str | int = "auto",
    ) -> History:
        """Train the model.

        Args:
            x: (n, *input_shape); (n,) is one feature.
            y: (n, *output_shape); (n,) is one output; class numbers (n,) for a sparse
                loss.
            batch_size: rows a step; 32 if neither this nor steps_per_epoch is given.
            epochs: number of the last epoch (not how many, where initial_epoch > 0).
            verbose: 0 silent, 1 progress bar, 2 one line an epoch, "auto" is 1.
            callbacks: see `kurve.callbacks`.
            validation_split: fraction of the rows, taken from the end before
                shuffling, that is held out for validation.
            validation_data: (x, y) or (x, y, sample_weight) to validate with instead.
            shuffle: whether each pass takes the rows in a new order.
            class_weight: weight of each class's rows in training, by class number; the
                validation counts each row once.
            sample_weight: (n,), the factor of each row's loss.
            initial_epoch: number of the first epoch.
            steps_per_epoch: divides the rows into this many nearly equal batches; with
                batch_size too, an epoch is this many batches of that size and the next
                one continues where it stopped.
            validation_steps: number of batches of the validation; None for all.
            validation_batch_size: rows a batch of the validation.
            validation_freq: validate every this many epochs, or after the epochs
                listed (counted from 1).
            checkpoint: a folder for checkpoints of this call. Repeating the call, even
                in a new process, resumes from the newest one with the same bits, also
                in the middle of an epoch; once training has finished, it returns the
                history at once. Only `epochs` may grow between the calls. The
                checkpoint replaces the model's weights and seed. SIGTERM (the process
                then exits with status 143) and Ctrl-C write one too.
            checkpoint_freq: when to write: "auto" (every 2 s, or less often if that
                would take more than 1 % of the time), "epoch", or a number of steps.

        Returns:
            The history: `history.history["loss"]` and so on, one value an epoch.

        Raises:
            RuntimeError: before `compile`.
            TypeError, ValueError: bad input; nothing was changed.
            ModelBusyError: another call is training the model.
            NonFiniteError: the loss, a gradient or an update is no longer finite; the
                model keeps its last finite weights.
            CheckpointError: the checkpoint is of another call; the message says how
                they differ.
            CheckpointInUseError: another fit uses the folder.
            OSError: the folder cannot be written to. After the first step that is a
                warning, and training continues.
            MemoryError: a batch of that size does not fit in memory.
        """
        run = fit_steps(
            self,
            x,
            y,
            batch_size,
            epochs,
            verbose,
            callbacks,
            validation_split,
            validation_data,
            shuffle,
            class_weight,
            sample_weight,
            initial_epoch,
            steps_per_epoch,
            validation_steps,
            validation_batch_size,
            validation_freq,
            checkpoint=checkpoint,
            checkpoint_freq=checkpoint_freq,
        )
        return run_to_completion(run, self)

    @entry
    @reads
    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Callback | Iterable[Callback] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """Loss and metrics on the given data.

        Args:
            x, y, sample_weight, batch_size, verbose, callbacks: see `fit`.
            steps: number of batches; None for all.
            return_dict: return a dictionary by name.

        Returns:
            The loss; with metrics, a list [loss, metrics...].
        """
        self._network.require_compiled("evaluate")
        verbose = check_verbose(verbose, "evaluate")
        x, y, weights = check_data("evaluate", self._network, x, y, sample_weight)
        bounds = evaluation_bounds(len(x), batch_size, steps, "evaluate")
        self._build_for(x)
        self._network.update_trainable()
        batches = Batches(x, y, weights, None, bounds)
        hooks = CallbackList(
            as_list(callbacks, "evaluate"), self, {"steps": batches.steps}
        )
        bar = ProgressBar(batches.steps, verbose=verbose, title=None)
        try:
            self._ready_program()
            logs = TrainingLoop(self, hooks).test(batches)
            bar.finish(logs)
        finally:
            bar.close()
        return self._returned(logs, return_dict)

    def predict(
        self,
        x: Any = None,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        steps: int | None = None,
        callbacks: Callback | Iterable[Callback] | None = None,
        **unknown: Never,
    ) -> np.ndarray:
        """The model's output for x (n, *input_shape): float32 (n, *output_shape).

        A row's bits do not depend on the batch it is in.

        Args:
            x: (n, *input_shape); (n,) is one feature.
            batch_size, steps: rows at a time, and how many times; None is all.
            verbose: "auto", 0, 1 or 2; 1 shows a progress bar.
            callbacks: called at the start and end, and for each batch.
            unknown: refused by name.

        Raises:
            TypeError, ValueError: bad input.
            ModelBusyError: another thread trains the model.
        """
        try:
            if unknown:
                raise unknown_argument(type(self).predict, next(iter(unknown)))
            lock = check_readable(self, "predict")
            verbose = check_verbose(verbose, "predict")
            network = self._network
            if type(x) is not np.ndarray:
                shape = None if network.plan is None else network.plan.input_shape
                x = one_array("predict", "x", x, shape)
            if network.plan is None:
                x = data.as_samples("predict", "x", x, None, keep_bytes=True)
                self._build_for(x)
                lock = check_readable(self, "predict")
            plan, state = network.plan, network.state
            assert plan is not None and state is not None
            x = data.as_samples("predict", "x", x, plan.input_shape, keep_bytes=True)
            if not verbose and not callbacks and batch_size is None and steps is None:
                y = self._ready_program().predict(state, x)
                check_still_readable(self, "predict", lock)
                return y
            bounds = evaluation_bounds(len(x), batch_size, steps, "predict")
            y = self._predict_batches(x[: int(bounds[-1])], bounds, verbose, callbacks)
            check_still_readable(self, "predict", lock)
            return y
        except BaseException as error:
            raise shown(error)  # noqa: B904 - it is the same error

    def _predict_batches(
        self,
        x: np.ndarray,
        bounds: np.ndarray,
        verbose: int,
        callbacks: Callback | Iterable[Callback] | None,
    ) -> np.ndarray:
        """The output for checked rows, with a progress bar and callbacks."""
        _, state = self._network.require_built("predict")
        program = self._ready_program()
        hooks = CallbackList(
            as_list(callbacks, "predict"), self, {"steps": len(bounds) - 1}
        )
        hooks.call("on_predict_begin", {})
        bar = ProgressBar(len(bounds) - 1, verbose=verbose, title=None)
        try:
            if "predict" in hooks.per_batch:
                parts = []
                for step, (first, last) in enumerate(pairwise(bounds)):
                    hooks.call("on_predict_batch_begin", step, {})
                    parts.append(program.predict(state, x[first:last]))
                    hooks.call("on_predict_batch_end", step, {"outputs": parts[-1]})
                y = np.concatenate(parts)
            else:
                y = program.predict(state, x)
            bar.finish({})
        finally:
            bar.close()
        hooks.call("on_predict_end", {})
        return y

    @entry
    @exclusive("train_on_batch")
    def train_on_batch(
        self,
        x: Any,
        y: Any,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """One update with all rows of x and y.

        Args:
            x, y: the batch.
            sample_weight: (n,), or None.
            class_weight: from class number to weight, or None.
            return_dict: whether to return the values by name.

        Returns:
            The loss before the update; with metrics, a list [loss, metrics...]. All
            are of this batch alone.
        """
        self._network.require_compiled("train_on_batch")
        x, y, weights = check_data(
            "train_on_batch", self._network, x, y, sample_weight, class_weight
        )
        self._build_for(x)
        state = self._network.training_state("train_on_batch")
        program, engine = self._ready_program(), self._network.engine
        assert self.optimizer is not None and engine is not None
        rates = self.optimizer.learning_rates(state.step, 1)
        batches = Batches(x, y, weights, None, np.array([0, len(x)]), rates)
        totals = np.zeros(program.plan.totals_size)
        run_job(engine, Job(program, state, batches, 0, 1, totals))
        return self._returned(self._network.logs(totals), return_dict)

    @entry
    def test_on_batch(
        self, x: Any, y: Any, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """Loss and metrics of one batch, without an update.

        Args:
            x, y: the batch.
            sample_weight: (n,), or None.
            return_dict: whether to return the values by name.
        """
        return self.evaluate(x, y, ONE_BATCH, 0, sample_weight, return_dict=return_dict)

    def predict_on_batch(self, x: Any = None, **unknown: Never) -> np.ndarray:
        """`predict` without a progress bar.

        Args:
            x: (n, *input_shape).
            unknown: refused by name.
        """
        try:
            if unknown:
                raise unknown_argument(type(self).predict_on_batch, next(iter(unknown)))
            return self.predict(x, verbose=0)
        except BaseException as error:
            raise shown(error)  # noqa: B904 - it is the same error

    def __call__(
        self, x: Any = None, training: bool | None = None, **unknown: Never
    ) -> np.ndarray:
        """`predict` without a progress bar.

        Args:
            training: None or False; only layers can be called in training mode.
        """
        try:
            if unknown:
                name, where = next(iter(unknown)), type(self).__name__
                raise unknown_argument(type(self).__call__, name, where)
            if training:
                raise NotImplementedError(
                    "[Sequential] a model can only be called for its predictions; "
                    "training mode is not supported yet. Received: "
                    f"training={training!r}. Try layer(x, training=True) for one layer "
                    "after the other."
                )
            return self.predict(x, verbose=0)
        except BaseException as error:
            raise shown(error)  # noqa: B904 - it is the same error

    # ---------------------------------------------------------------- the inside

    def _build_for(self, x: np.ndarray) -> None:
        """Build the model for samples such as x, unless it is built."""
        if self._network.plan is None:
            self._build_from(x)

    @modifies
    def _build_from(self, x: np.ndarray) -> None:
        self.build((None, *x.shape[1:]))

    def _ready_program(self) -> Program:
        """The network's program. Methods that it would never call are refused when it
        is compiled."""
        if not self._network.is_ready:
            refuse_overrides(type(self).__name__, self)
        return self._network.program()

    def _returned(self, logs: dict[str, float], return_dict: bool) -> Any:
        """The result of `evaluate` and the others; a list is in `compile`'s order."""
        if return_dict:
            return logs
        values = [logs[name] for name in self.metrics_names]
        return values[0] if len(values) == 1 else values
