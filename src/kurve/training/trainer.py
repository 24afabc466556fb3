"""fit, evaluate and predict.

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
from kurve.callbacks import BackupAndRestore, Callback, CallbackList, History
from kurve.callbacks.base import as_list
from kurve.callbacks.checkpoints import checked_freq
from kurve.core.entries import entry, shown
from kurve.core.locks import (
    check_readable,
    check_still_readable,
    exclusive,
    exclusive_generator,
    reads,
)
from kurve.core.overrides import refuse_overrides
from kurve.core.progress import ProgressBar, check_verbose
from kurve.engines import Batches
from kurve.errors import path_name, unknown_argument
from kurve.training.batching import (
    ONE_BATCH,
    check_count,
    evaluation_bounds,
    pass_bounds,
)
from kurve.training.checkpoints.progress import NullCheckpointer
from kurve.training.inputs import one_array
from kurve.training.loop import FitConfig, TrainingLoop, TrainingRun, driven
from kurve.training.trainable import Trainable


class Trainer(Trainable):
    """What a model can do once it has layers."""

    history: History | None

    def __init__(self) -> None:
        super().__init__()
        self.stop_training = False
        self.history = None

    @exclusive_generator("fit")
    def fit_steps(
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
    ) -> TrainingRun:
        """Train the model.

        Args:
            x: (n, *input_shape); (n,) is one feature.
            y: (n, *output_shape); (n,) is one output; class numbers (n,) for a sparse
                loss.
            batch_size: rows a step; 32 if neither this nor steps_per_epoch is given.
            epochs: number of the last epoch (not how many, where initial_epoch > 0).
            verbose: 0 silent, 1 progress bar, 2 one line an epoch, "auto" is 1.
            callbacks: see `kurve.callbacks`.
            validation_split: share of the rows, taken from the end before shuffling,
                that is kept for validation.
            validation_data: (x, y) or (x, y, sample_weight) for validation instead.
            shuffle: whether each pass takes the rows in a new order.
            class_weight: from class number to the weight of its rows, in training; the
                validation counts each row once.
            sample_weight: (n,), what each row's loss is multiplied with.
            initial_epoch: number of the first epoch.
            steps_per_epoch: divides the rows into this many nearly equal batches; with
                batch_size too, an epoch is this many batches of that size and the next
                one goes on where it stopped.
            validation_steps: number of batches of the validation; None for all.
            validation_batch_size: rows a batch of the validation.
            validation_freq: validate every so many epochs, or in the epochs named (from
                1).
            checkpoint: a folder for checkpoints of this call. The same call again, in a
                new process maybe, goes on from the newest with the same bits, be it in
                the middle of an epoch; after the end it returns the history at once.
                More epochs are the only change that it takes. What the checkpoint holds
                replaces the model's weights and seed. SIGTERM (which then exits with
                status 143) and Ctrl-C write one too.
            checkpoint_freq: when to write: "auto" (every 2 s, and less often where that
                would take more than 1 % of the time), "epoch", or a number of steps.

        Returns:
            The history: `history.history["loss"]` and so on, one value an epoch.

        Raises:
            RuntimeError: before `compile`.
            TypeError, ValueError: bad input; nothing was changed.
            ModelBusyError: another call is training the model.
            NonFiniteError: the loss, a gradient or an update is no longer finite; the
                model keeps its last finite weights.
            CheckpointError: the checkpoint is of another call; the text says in what.
            CheckpointInUseError: another fit uses the folder.
            OSError: the folder cannot be written to. After the first step that is a
                warning, and training goes on.
            MemoryError: there is no memory for a batch of that size.
        """
        self._require_compiled("fit")
        refuse_overrides("fit", self)
        check_count("fit", "epochs", epochs, 0)
        check_count("fit", "initial_epoch", initial_epoch, 0)
        for name, count in (
            ("batch_size", batch_size),
            ("steps_per_epoch", steps_per_epoch),
            ("validation_batch_size", validation_batch_size),
            ("validation_steps", validation_steps),
        ):
            if count is not None:
                check_count("fit", name, count, 1)
        _check_validation_freq(validation_freq)
        verbose = check_verbose(verbose, "fit")
        callbacks = as_list(callbacks, "fit")
        backup = _backup(checkpoint, checkpoint_freq, callbacks)
        x, y, weights = self._checked("fit", x, y, sample_weight, class_weight)
        held_out = None if class_weight is not None else weights
        validation = self._validation(
            x, y, held_out, validation_split, validation_data,
            validation_batch_size or batch_size, validation_steps,
        )  # fmt: skip
        if validation_split and validation_data is None:
            kept = len(x) - len(validation.x)
            x, y = x[:kept], y[:kept]
            weights = None if weights is None else weights[:kept]
        bounds = pass_bounds(len(x), batch_size, steps_per_epoch)
        steps = steps_per_epoch or len(bounds) - 1

        self._build_for(x)  # nothing is wrong: from here on the model changes
        self._training_state("fit")
        self._ready_program()
        history = History()
        hooks = CallbackList(
            [*callbacks, history],
            self,
            {"epochs": epochs, "steps": steps, "verbose": verbose},
        )
        config = FitConfig(
            Batches(x, y, weights, None, bounds),
            *(validation, epochs, initial_epoch, steps, validation_freq),
            *(bool(shuffle), verbose),
        )
        with self._checkpointer(backup, hooks) as checkpointer:
            loop = TrainingLoop(self, hooks, checkpointer, initial_epoch)
            checkpointer.validate(config)
            self.history, self.stop_training = history, False
            if checkpointer.finished:
                checkpointer.restore(loop.progress)
            else:
                yield from loop.run(config)
            loop.check_last_update(config.data)
        return history

    fit = entry(driven(fit_steps))

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
        """Loss and metrics of data.

        Args:
            x, y, sample_weight, batch_size, verbose, callbacks: see `fit`.
            steps: number of batches; None for all.
            return_dict: give a dictionary by name.

        Returns:
            The loss; with metrics, a list [loss, metrics...].
        """
        self._require_compiled("evaluate")
        verbose = check_verbose(verbose, "evaluate")
        x, y, weights = self._checked("evaluate", x, y, sample_weight, None)
        bounds = evaluation_bounds(len(x), batch_size, steps, "evaluate")
        self._build_for(x)
        self._obey_trainable()
        batches = Batches(x, y, weights, None, bounds)
        hooks = CallbackList(
            as_list(callbacks, "evaluate"), self, {"steps": batches.steps}
        )
        bar = ProgressBar(batches.steps, verbose=verbose, title=None)
        try:
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
            if type(x) is not np.ndarray:
                shape = None if self._plan is None else self._plan.input_shape
                x = one_array("predict", "x", x, shape)
            if self._plan is None:
                x = data.as_samples("predict", "x", x, None, keep_bytes=True)
                self._build_for(x)
                lock = check_readable(self, "predict")
            plan, state = self._plan, self._state
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
        state = self._state
        assert state is not None
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
            The loss before the update; with metrics, a list [loss, metrics...]. They
            are those of this batch alone.
        """
        self._require_compiled("train_on_batch")
        x, y, weights = self._checked(
            "train_on_batch", x, y, sample_weight, class_weight
        )
        self._build_for(x)
        state = self._training_state("train_on_batch")
        program = self._ready_program()
        assert self.optimizer is not None
        rates = self.optimizer.learning_rates(state.step, 1)
        batches = Batches(x, y, weights, None, np.array([0, len(x)]), rates)
        totals = np.zeros(program.plan.totals_size)
        program.train(state, batches, 0, 1, totals)
        return self._returned(self._logs(totals), return_dict)

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
            training: None or False; only layers can be called as in training.
        """
        try:
            if unknown:
                name, where = next(iter(unknown)), type(self).__name__
                raise unknown_argument(type(self).__call__, name, where)
            if training:
                raise NotImplementedError(
                    "[Sequential] a model can only be called for its predictions; as "
                    f"in training is not there yet. Received: training={training!r}. "
                    "Try layer(x, training=True) for one layer after the other."
                )
            return self.predict(x, verbose=0)
        except BaseException as error:
            raise shown(error)  # noqa: B904 - it is the same error

    # ---------------------------------------------------------------- the inside

    def _checkpointer(
        self, backup: BackupAndRestore | None, hooks: CallbackList
    ) -> NullCheckpointer:
        """Who writes the checkpoints that `backup` asks for, if anybody."""
        _, state = self._built("fit")
        if backup is None:
            return NullCheckpointer(state.step)
        from kurve.training.checkpoints.checkpointer import Checkpointer

        return Checkpointer(backup, self, hooks)

    def _validation(
        self,
        x: np.ndarray,
        y: np.ndarray,
        weights: np.ndarray | None,
        split: float,
        given: Sequence[Any] | None,
        batch_size: int | None,
        steps: int | None,
    ) -> Any:
        """The batches of the validation, or None."""
        if given is not None:
            if not isinstance(given, (tuple, list)) or len(given) not in (2, 3):
                raise TypeError(
                    "[fit] validation_data must be (x, y) or (x, y, sample_weight). "
                    f"Received: {type(given).__name__}. Try validation_data=(x, y)."
                )
            weight = given[2] if len(given) == 3 else None
            where = "fit, validation_data"
            x, y, weights = self._checked(
                where, given[0], given[1], weight, None, x.shape[1:]
            )
        elif split:
            if (
                isinstance(split, str)
                or not 0.0 < split < 1.0
                or not 0 < int(len(x) * (1.0 - split)) < len(x)
            ):
                raise ValueError(
                    "[fit] validation_split must leave rows on both sides. Received: "
                    f"validation_split={split!r} for {len(x)} rows. Try 0.2."
                )
            kept = int(len(x) * (1.0 - split))
            x, y = x[kept:], y[kept:]
            weights = None if weights is None else weights[kept:]
        else:
            return None
        bounds = evaluation_bounds(len(x), batch_size, steps, "fit")
        return Batches(x, y, weights, None, bounds)


def _backup(
    checkpoint: Any, freq: Any, callbacks: list[Callback]
) -> BackupAndRestore | None:
    """What `fit` shall do about checkpoints; None for nothing."""
    given = [c for c in callbacks if isinstance(c, BackupAndRestore)]
    freq = checked_freq("fit", "checkpoint_freq", freq)
    if checkpoint is not None:
        folder = path_name("fit", "checkpoint", checkpoint, "checkpoints")
        given.append(BackupAndRestore(folder, freq, True, False))
    if len(given) > 1:
        raise ValueError(
            "[fit] one folder of checkpoints is enough. Received: "
            f"{', '.join(repr(c.backup_dir) for c in given)}. "
            "Try checkpoint=... or one BackupAndRestore."
        )
    return given[0] if given else None


def _check_validation_freq(value: Any) -> None:
    if isinstance(value, (list, tuple, set, range)):
        for epoch in value:
            check_count("fit", "validation_freq", epoch, 1)
    else:
        check_count("fit", "validation_freq", value, 1)
