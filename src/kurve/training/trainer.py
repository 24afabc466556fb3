"""`fit`, `evaluate` and `predict`.

Names, arguments and defaults are those of keras.Model; `kurve.models.Sequential` is a
Trainer that holds layers.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Never

import numpy as np

from kurve.callbacks import Callback, History
from kurve.core.arguments import check_count, check_flag
from kurve.core.entries import again, entry, shown
from kurve.core.locks import (
    check_readable,
    check_still_readable,
    exclusive,
    modifies,
    reads,
)
from kurve.core.overrides import refuse_overrides
from kurve.core.progress import check_verbose
from kurve.core.results import result
from kurve.core.samples import as_samples
from kurve.engines import Batches, Job, Program, State, run_job
from kurve.errors import unknown_argument
from kurve.formulas.recording import active
from kurve.formulas.tensor import replaced
from kurve.training.batching import ONE_BATCH
from kurve.training.feeds import is_source
from kurve.training.fitting import evaluate, fit_steps, run_to_completion
from kurve.training.inputs import build_for, check_data, check_inputs
from kurve.training.predicting import predict_batches, predict_rows, structured
from kurve.training.rows import Data, has_sparse
from kurve.training.stepping import Stepping
from kurve.training.steps import function_of, has_own_steps, with_known_targets


class Trainer(Stepping):
    """A model that can be trained and evaluated, and that can predict."""

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
        validation_data: Any = None,
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

        Inputs can be sparse matrices of SciPy: the rows of a few batches at a time
        become dense arrays, with the same results as those of `x.toarray()`.

        Data for several inputs or outputs is passed as a list in their order, as a
        dictionary (or data frame columns) by name, or in the structure of the model.

        Instead of arrays, x and validation_data can be iterables of batches (x, y) or
        (x, y, sample_weight): a generator or another iterator, which continues from
        epoch to epoch; a `kurve.utils.PyDataset`; or an iterable that restarts, such as
        a tf.data dataset or a torch DataLoader. Then y, sample_weight and
        validation_split must not be passed; batch_size has no effect, and shuffle only
        affects a PyDataset. An infinite generator needs steps_per_epoch. If the batches
        run out early, training ends with a warning.

        Args:
            x: (n, *input_shape); (n,) is one feature.
            y: (n, *output_shape); (n,) is one output; class numbers (n,) for a sparse
                loss. None for an output without loss and metrics.
            batch_size: rows per step; 32 if neither this nor steps_per_epoch is passed.
            epochs: index of the last epoch (not their number if initial_epoch > 0).
            verbose: 0 silent, 1 progress bar, 2 one line per epoch, "auto" means 1.
            callbacks: see `kurve.callbacks`.
            validation_split: fraction of the rows, taken from the end before
                shuffling, that is held out for validation.
            validation_data: (x, y) or (x, y, sample_weight) to validate with instead,
                or batches.
            shuffle: whether to shuffle the rows in each pass.
            class_weight: weight of each class in training, by class number, for
                models with one output; validation ignores it.
            sample_weight: (n,), weight of each row's loss, for all outputs; or one
                per output. For sequences, also (n, T), a weight of each step.
            initial_epoch: index of the first epoch.
            steps_per_epoch: divides the rows into this many nearly equal batches; with
                batch_size too, an epoch is this many batches of that size, and the next
                one continues where it stopped. For iterables, the number of batches per
                epoch.
            validation_steps: number of validation batches; None for all.
            validation_batch_size: rows per validation batch.
            validation_freq: validate after this many epochs, or after the epochs
                listed (counted from 1).
            checkpoint: folder for checkpoints of this call. Repeating the call, even
                in a new process, resumes from the newest one with identical bits, even
                in the middle of an epoch; once training has finished, it returns the
                history immediately. Only `epochs` can grow between calls. The
                checkpoint replaces the model's weights and seed. SIGTERM (the process
                then exits with status 143) and Ctrl-C also write one.
                Among iterables of batches, only a PyDataset without overridden hooks
                can be resumed.
            checkpoint_freq: when to write: "auto" (every 2 s, or less often if that
                would take more than 1 % of the time), "epoch", or a number of steps.

        Returns:
            The history: `history.history["loss"]` and so on, one value per epoch.

        Raises:
            RuntimeError: before `compile`.
            TypeError, ValueError: invalid input; nothing was changed.
            ModelBusyError: another call is training the model.
            NonFiniteError: the loss, a gradient or an update is no longer finite; the
                model keeps its last finite weights.
            CheckpointError: the checkpoint belongs to a different call; the message
                says how they differ.
            CheckpointInUseError: another fit uses the folder.
            OSError: the folder is not writable. After the first step, this is only a
                warning, and training continues.
            MemoryError: a batch of that size does not fit in memory.
        """
        x = with_known_targets(self, x, y, sample_weight, validation_data)
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
        """Compute loss and metrics on the given data.

        Args:
            x, y, sample_weight, batch_size, verbose, callbacks: see `fit`; x can be an
                iterable of batches.
            steps: number of batches; None for all.
            return_dict: whether to return a dictionary by name.

        Returns:
            The loss; with metrics or several losses, a list of values, named by
            `metrics_names`.
        """
        self._network.require_compiled("evaluate")
        x = with_known_targets(self, x, y, sample_weight)
        return evaluate(
            self,
            x,
            y,
            batch_size,
            verbose,
            sample_weight,
            steps,
            callbacks,
            return_dict,
        )

    def predict(
        self,
        x: Any = None,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        steps: int | None = None,
        callbacks: Callback | Iterable[Callback] | None = None,
        **unknown: Never,
    ) -> Any:
        """The model's output for x (n, *input_shape): float32 (n, *output_shape); for
        several outputs, a list, or the structure of the model.

        The bits of a row do not depend on its batch.

        Args:
            x: (n, *input_shape); (n,) is one feature. For several inputs, as in `fit`;
                or an iterable of batches x, (x,) or (x, y).
            batch_size, steps: rows at a time, and how many times; None for all.
            verbose: "auto", 0, 1 or 2; 1 shows a progress bar.
            callbacks: called at the start, at the end, and for each batch.
            unknown: refused.

        Raises:
            TypeError, ValueError: invalid input.
            ModelBusyError: another thread is training the model.
        """
        try:
            if unknown:
                given = (self, x, batch_size, verbose, steps, callbacks)
                return again(Trainer.predict, given, dict(unknown))
            if _predicts_by_itself(self):
                from kurve.training.custom_steps import predict

                return predict(self, x, batch_size, verbose, steps, callbacks)
            return self._predicted(x, batch_size, verbose, steps, callbacks)
        except BaseException as error:
            raise shown(error)  # noqa: B904 - it is the same error

    def _predicted(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: str | int = 0,
        steps: int | None = None,
        callbacks: Callback | Iterable[Callback] | None = None,
    ) -> Any:
        """`predict` by the engine."""
        try:
            lock = check_readable(self, "predict")
            verbose = check_verbose(verbose, "predict")
            network = self._network
            network.follow_layers()
            plan, is_array = network.plan, type(x) is np.ndarray
            if not is_array and is_source(x):
                if steps is not None:
                    check_count("predict", "steps", steps, 1)
                y = predict_batches(self, x, steps, verbose, callbacks)
                check_still_readable(self, "predict", lock)
                return structured(network, y)
            if plan is None:
                checked = check_inputs("predict", network, x, by_batch=True)
                self._build_for(checked)
                x = x if network.encodes else checked
                lock = check_readable(self, "predict")
            if (
                is_array
                and plan is not None
                and network.input_structure is None
                and not network.encodes
                and (x.shape[1:] == plan.inputs[0] or not network.has_open_sizes)
            ):
                # Fast path: single-row calls must cost only microseconds.
                x = as_samples("predict", "x", x, plan.inputs[0], keep_bytes=True)
            else:
                x = check_inputs("predict", network, x, by_batch=True)
                is_array = not has_sparse(x)
            in_one = is_array and not (verbose or callbacks or batch_size or steps)
            plan = network.plan
            if in_one and plan is not None and not (plan.rows or plan.is_python):
                y = self._computed(x)
            else:
                y = predict_rows(self, x, batch_size, steps, verbose, callbacks)
            check_still_readable(self, "predict", lock)
            return y if network.output_structure is None else structured(network, y)
        except BaseException as error:
            raise shown(error)  # noqa: B904 - it is the same error

    def _outputs(self, x: Any) -> Any:
        """The engine's outputs for checked x."""
        self._build_for(x)
        return self._computed(x)

    def _computed(self, x: Any) -> Any:
        """The engine's outputs for checked x of a built model.

        Raises:
            ValueError: a number that is not in the table of an Embedding.
        """
        program = self._ready_program(False)
        y = program.predict(self._state_to_predict(), x)
        if any(op.kind == "embedding" for op in program.plan.ops):
            parts = y if isinstance(y, tuple) else (y,)
            if any(np.isnan(part).any() for part in parts):
                from kurve.training.loop import unknown_number

                inputs = x if isinstance(x, tuple) else (x,)
                if cause := unknown_number(program.plan, inputs):
                    raise ValueError(f"[predict] the outputs are not finite. {cause}")
        return y

    drawn: int
    """How often random numbers were drawn."""

    def _state_to_predict(self) -> State:
        """The state; with a new random step if formulas draw random numbers."""
        state = self._network.state
        assert state is not None
        if not self._network.draws:
            return state
        self.drawn += 1
        return replace(state, step=self.drawn - 1)

    @entry
    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """Run one update with all rows of x and y.

        Args:
            x, y: the batch, see `fit`.
            sample_weight: (n,), or None; or one per output.
            class_weight: dict from class number to weight, or None.
            return_dict: whether to return the values by name.

        Returns:
            The loss before the update; with metrics or several losses, a list of values
            named by `metrics_names`, for this batch alone.
        """
        self._network.require_compiled("train_on_batch")
        with_known_targets(self, x, y, sample_weight)
        if has_own_steps(self):
            from kurve.training.custom_steps import on_batch

            return on_batch(self, "train", x, y, sample_weight, return_dict)
        return self._train_on_batch(x, y, sample_weight, class_weight, return_dict)

    @exclusive("train_on_batch")
    def _train_on_batch(
        self,
        x: Any,
        y: Any,
        sample_weight: Any,
        class_weight: Mapping[int, float] | None,
        return_dict: bool,
    ) -> Any:
        data = check_data(
            "train_on_batch", self._network, x, y, sample_weight, class_weight
        )
        self._build_for(data.x)
        state = self._network.training_state("train_on_batch")
        program, engine = self._ready_program(), self._network.engine
        assert self.optimizer is not None and engine is not None
        rates = self.optimizer.learning_rates(state.step, 1)
        batches = Batches(*data, None, np.array([0, data.rows]), rates)
        totals = np.zeros(program.plan.totals_size)
        run_job(engine, Job(program, state, batches, 0, 1, totals))
        return self._returned(self._network.logs(totals), return_dict)

    @entry
    def test_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """Compute loss and metrics of one batch, without an update.

        Args:
            x, y: the batch, see `fit`.
            sample_weight: (n,), or None; or one per output.
            return_dict: whether to return the values by name.
        """
        with_known_targets(self, x, y, sample_weight)
        if has_own_steps(self):
            from kurve.training.custom_steps import on_batch

            return on_batch(self, "test", x, y, sample_weight, return_dict)
        return self.evaluate(x, y, ONE_BATCH, 0, sample_weight, return_dict=return_dict)

    def predict_on_batch(self, x: Any = None, **unknown: Never) -> Any:
        """`predict` without a progress bar.

        Args:
            x: (n, *input_shape); for several inputs, as in `fit`.
            unknown: refused.
        """
        try:
            if unknown:
                raise unknown_argument(type(self).predict_on_batch, next(iter(unknown)))
            if _predicts_by_itself(self):
                return self.predict(x, ONE_BATCH, verbose=0)
            return replaced(self._predicted(x), result)
        except BaseException as error:
            raise shown(error)  # noqa: B904 - it is the same error

    def __call__(
        self, x: Any = None, training: bool | None = None, **unknown: Never
    ) -> Any:
        """The outputs for a batch: in a `GradientTape`, in training mode, or if layers
        add losses, which are then in `losses`, by the reference engine; otherwise like
        `predict` without a progress bar.

        Args:
            x: as for `predict`.
            training: whether to run in training mode; None means False.
        """
        try:
            if unknown:
                name, where = next(iter(unknown)), type(self).__name__
                raise unknown_argument(type(self).__call__, name, where)
            if training is not None:
                training = check_flag(type(self).__name__, "training", training)
            elif active.training:
                training = True
            network = self._network
            network.follow_layers()
            by_hand = training or active.tapes or network.draws or network.as_written
            if not by_hand and not network.penalized:
                found = self._predicted(x)
                if not network.penalized:  # what the first call has found out
                    return replaced(found, result)
            from kurve.training.calls import call_by_hand

            return call_by_hand(self, x, bool(training))
        except BaseException as error:
            raise shown(error)  # noqa: B904 - it is the same error

    # ---------------------------------------------------------------- internals

    def _build_for(self, x: Any) -> None:
        """Build the model for checked x, unless it is already built."""
        if self._network.plan is None:
            self._build_from(x)

    @modifies
    def _build_from(self, x: Any) -> None:
        build_for(self, Data(x, None, None).shapes)

    def _ready_program(self, training: bool = True) -> Program:
        """The network's program. Methods that it would never call are refused when it
        is compiled."""
        if not self._network.is_ready:
            refuse_overrides(type(self).__name__, self)
        if self._network.rows is not None:  # its states will change
            self._network.require_built("predict")
            self._network.claim_shared()
        return self._network.program(training)

    def _returned(self, logs: dict[str, float], return_dict: bool) -> Any:
        """The result of `evaluate` and similar; a list is in the order of `compile`."""
        if return_dict:
            return logs
        values = [logs[name] for name in self.metrics_names]
        return values[0] if len(values) == 1 else values


def _predicts_by_itself(model: Any) -> bool:
    """Whether a model has a custom step for `predict`."""
    cls, given = type(model), vars(model)
    return (
        cls.predict_step is not Trainer.predict_step
        or cls.make_predict_function is not Trainer.make_predict_function
        or (
            not _PREDICTING.isdisjoint(given)
            and ("predict_step" in given or function_of(model, "predict") is not None)
        )
    )


_PREDICTING = frozenset(("predict_step", "predict_function"))
