"""The one training loop, and evaluation and prediction beside it.

`Trainer` is what a model can do once it has layers; `kurve.models.Sequential` is a
Trainer that holds layers. Names, arguments and defaults are those of keras.Model.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, ParamSpec

import numpy as np

from kurve import data, losses, metrics, optimizers
from kurve.batching import (
    ONE_BATCH,
    Division,
    check_count,
    evaluation_bounds,
    pass_bounds,
)
from kurve.callbacks import (
    BackupAndRestore,
    Callback,
    CallbackList,
    History,
    as_list,
    checked_freq,
)
from kurve.checkpoints.cursor import Cursor, Keeper
from kurve.claims import (
    NOBODY,
    check_idle,
    check_unchanged,
    reading,
    reads,
    trains,
    trains_stepwise,
)
from kurve.engines import Batches, Engine, Job, Program, State, get_engine
from kurve.errors import NonFiniteError, path_name
from kurve.losses import Loss
from kurve.metrics import Metric
from kurve.optimizers import Optimizer
from kurve.plan import ALIGNMENT, Plan, Shape
from kurve.progress import ProgressBar, check_verbose

REDRAW_SECONDS = 0.1
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


class Trainer:
    """compile, fit, evaluate and predict."""

    name: str
    stop_training: bool
    history: History | None
    _seed: int
    _claim = NOBODY

    def __init__(self) -> None:
        self.optimizer: Optimizer | None = None
        self.loss: Loss | None = None
        self.stop_training = False
        self.history = None
        self._given_metrics: list[tuple[Metric, bool]] = []
        self._given_engine: Engine | None = None
        self._metrics: list[Metric] = []
        self._plan: Plan | None = None
        self._state: State | None = None
        self._program: Program | None = None

    # What a subclass provides: `_plan` and `_state` once it is built.

    def build(self, input_shape: Sequence[int | None] | None = None) -> None:
        raise NotImplementedError

    def compute_output_shape(
        self, input_shape: Sequence[int | None]
    ) -> tuple[int | None, ...]:
        raise NotImplementedError

    def _on_compile(self) -> None:
        raise NotImplementedError

    @property
    def iterations(self) -> int:
        """Number of updates done since `compile`."""
        return self._state.step if self._state is not None else 0

    def count_optimizer_params(self) -> int:
        """Number of the optimizer's own numbers, as Keras counts them: its vectors over
        what is trained, step and learning rate; 0 before the first training."""
        if self._state is None or self._plan is None or not self._state.step:
            return 0
        trained = sum(slot.size for slot in self._plan.params if slot.trainable)
        return len(self._state.slots) * trained + len(self._state.scalars) + 2

    @property
    def compiled(self) -> bool:
        return self.loss is not None

    @property
    def metrics(self) -> list[Metric]:
        """The metrics, with "accuracy" made precise once the model is built."""
        return list(self._metrics)

    @property
    def metrics_names(self) -> list[str]:
        return ["loss", *(metric.name for metric in self._metrics)]

    def compile(
        self,
        optimizer: str | Optimizer = "rmsprop",
        loss: Any = None,
        metrics: Sequence[Any] | None = None,
        weighted_metrics: Sequence[Any] | None = None,
        engine: str | Engine | None = None,
    ) -> None:
        """Choose how to train. Starts the optimizer anew.

        Args:
            optimizer: name or object of `kurve.optimizers`.
            loss: name or object of `kurve.losses`.
            metrics: names or objects of `kurve.metrics`, each row counting 1.
            weighted_metrics: the same, each row counting its sample weight.
            engine: "native", "reference" or an engine; None for the default
                (`kurve.set_engine`).

        Raises:
            ValueError: an unknown name, with the nearest known ones.
            ModelBusyError: during training.
        """
        check_idle(self, "compile")
        if loss is None:
            raise ValueError(
                "[compile] a loss is needed. Received: loss=None. "
                "Try compile(optimizer='adam', loss='mse')."
            )
        new_optimizer, new_loss = optimizers.get(optimizer), losses.get(loss)
        given = _metric_list("metrics", metrics, False)
        given += _metric_list("weighted_metrics", weighted_metrics, True)
        taken = {"loss"}
        for metric, weighted in given:
            if weighted and metric.name in taken:
                metric.name = f"weighted_{metric.name}"
            base, number = metric.name, 1
            while metric.name in taken:
                metric.name, number = f"{base}_{number}", number + 1
            taken.add(metric.name)
        self._given_engine = get_engine(engine) if engine is not None else None
        self.optimizer, self.loss, self._given_metrics = new_optimizer, new_loss, given
        self._metrics = [metric for metric, _ in given]
        self._forget_training()
        self._on_compile()

    def _forget_training(self) -> None:
        """As before the first update, but for the weights."""
        self._program = None
        if self._state is not None:
            self._state.slots = aligned_zeros((0, len(self._state.params)))
            self._state.scalars = np.zeros(0)
            self._state.step = 0

    def _forget_compile(self) -> None:
        """As before `compile`."""
        self.optimizer = self.loss = self._given_engine = None
        self._given_metrics, self._metrics = [], []
        self._forget_training()

    @trains_stepwise("fit")
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
    ) -> Fit:
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
            class_weight: from class number to the weight of its rows.
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
        validation = self._validation(
            x, y, weights, validation_split, validation_data,
            validation_batch_size or batch_size, validation_steps,
        )  # fmt: skip
        if validation_split and validation_data is None:
            kept = len(x) - len(validation.x)
            x, y = x[:kept], y[:kept]
            weights = None if weights is None else weights[:kept]
        bounds = pass_bounds(len(x), batch_size, steps_per_epoch)
        steps = steps_per_epoch or len(bounds) - 1

        self._build_for(x)  # nothing is wrong: from here on the model changes
        state, program = self._training_state(), self._ready_program()
        cursor = Cursor.at(initial_epoch, program.plan.totals_size)
        history = History()
        hooks = CallbackList(
            [*callbacks, history],
            self,
            {"epochs": epochs, "steps": steps, "verbose": verbose},
        )
        with self._keeper(backup, hooks) as keeper:
            keeper.look(
                Batches(x, y, weights, None, bounds),
                validation,
                {
                    "steps": steps,
                    "shuffle": bool(shuffle),
                    "initial_epoch": initial_epoch,
                    "validation_freq": validation_freq,
                },
                epochs,
            )
            self.history, self.stop_training = history, False
            if keeper.finished:
                keeper.restore(cursor)
                return history
            if keeper.resumes:
                hooks.params["resumed"] = True
            hooks.call("on_train_begin", {})
            cursor = keeper.restore(cursor)
            first, seed = keeper.first_step, state.seed
            division = Division(len(x), bounds, steps, shuffle, seed, first)
            for epoch in range(cursor.epoch, epochs if not cursor.stopped else 0):
                if not cursor.begun:
                    hooks.call("on_epoch_begin", epoch, {})
                    cursor.begin_epoch()
                order, bounds = division.epoch(epoch - initial_epoch)
                batches = Batches(x, y, weights, order, bounds)
                title = f"Epoch {epoch + 1}/{epochs}"
                bar = ProgressBar(division.steps, verbose=verbose, title=title)
                try:
                    logs = yield from self._run_epoch(
                        program, state, batches, hooks, bar, cursor, keeper
                    )
                    if validation is not None and _is_due(validation_freq, epoch):
                        results = self._test(program, validation, hooks, cursor, keeper)
                        logs.update({f"val_{name}": v for name, v in results.items()})
                    bar.finish(logs)
                finally:
                    bar.close()
                hooks.call("on_epoch_end", epoch, logs)
                cursor.end_epoch(self.stop_training)
                keeper.place(cursor)
                if self.stop_training:
                    break
            keeper.end(cursor)
            hooks.call("on_train_end", {})
            keeper.finish()
        return history

    fit = driven(fit_steps)

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
        self._built("evaluate")
        x, y, weights = self._checked("evaluate", x, y, sample_weight, None)
        bounds = evaluation_bounds(len(x), batch_size, steps, "evaluate")
        batches = Batches(x, y, weights, None, bounds)
        hooks = CallbackList(
            as_list(callbacks, "evaluate"), self, {"steps": batches.steps}
        )
        bar = ProgressBar(batches.steps, verbose=verbose, title=None)
        try:
            logs = self._test(self._ready_program(), batches, hooks)
            bar.finish(logs)
        finally:
            bar.close()
        return _returned(logs, return_dict)

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        steps: int | None = None,
        callbacks: Callback | Iterable[Callback] | None = None,
    ) -> np.ndarray:
        """The model's output for x (n, *input_shape): float32 (n, *output_shape).

        A row's bits do not depend on the batch it is in.

        Raises:
            RuntimeError: the model is not built.
            TypeError, ValueError: bad input.
            ModelBusyError: another thread trains the model.
        """
        claim = reading(self, "predict")
        verbose = check_verbose(verbose, "predict")
        plan, state = self._built("predict")
        x = data.as_samples("predict", "x", x, plan.input_shape, keep_bytes=True)
        if not verbose and not callbacks and batch_size is None and steps is None:
            y = self._ready_program().predict(state, x)
            check_unchanged(self, "predict", claim)
            return y
        bounds = evaluation_bounds(len(x), batch_size, steps, "predict")
        x = x[: int(bounds[-1])]
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
        check_unchanged(self, "predict", claim)
        return y

    @trains("train_on_batch")
    def train_on_batch(
        self,
        x: Any,
        y: Any,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """One update with all rows of x and y.

        Returns:
            The loss before the update; with metrics, a list [loss, metrics...]. They
            are those of this batch alone.
        """
        self._require_compiled("train_on_batch")
        x, y, weights = self._checked(
            "train_on_batch", x, y, sample_weight, class_weight
        )
        self._build_for(x)
        state, program = self._training_state(), self._ready_program()
        assert self.optimizer is not None
        rates = self.optimizer.learning_rates(state.step, 1)
        batches = Batches(x, y, weights, None, np.array([0, len(x)]), rates)
        totals = np.zeros(program.plan.totals_size)
        program.train(state, batches, 0, 1, totals)
        return _returned(self._logs(totals), return_dict)

    def test_on_batch(
        self, x: Any, y: Any, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """Loss and metrics of one batch, without an update."""
        return self.evaluate(x, y, ONE_BATCH, 0, sample_weight, return_dict=return_dict)

    def predict_on_batch(self, x: Any) -> np.ndarray:
        """`predict` without a progress bar."""
        return self.predict(x, verbose=0)

    def __call__(self, x: Any) -> np.ndarray:
        return self.predict(x, verbose=0)

    # ---------------------------------------------------------------- the inside

    def _run_epoch(
        self,
        program: Program,
        state: State,
        batches: Batches,
        hooks: CallbackList,
        bar: ProgressBar,
        cursor: Cursor,
        keeper: Keeper,
    ) -> Generator[Job, None, dict[str, float]]:
        """The steps of one epoch from `cursor.done` on, in as few engine calls as the
        callbacks, the progress bar and the keeper allow; the epoch's logs."""
        assert self.optimizer is not None
        totals = cursor.totals
        batches.learning_rates = self.optimizer.learning_rates(
            state.step - cursor.done, batches.steps
        )
        before, start = cursor.done, time.perf_counter()
        while (
            cursor.done < batches.steps and not self.stop_training and cursor.tested < 0
        ):
            done = cursor.done
            left = batches.steps - done
            if "train" in hooks.per_batch:
                left = 1
                hooks.call("on_train_batch_begin", done, {})
                batches.learning_rates[done:] = self.optimizer.learning_rates(
                    state.step, batches.steps - done
                )
            elif bar.wants_updates:
                pace = (done - before) / max(time.perf_counter() - start, 1e-9)
                left = min(left, max(1, int(pace * REDRAW_SECONDS)))
            count = keeper.stretch(left)
            try:
                yield Job(program, state, batches, done, done + count, totals)
            except NonFiniteError as error:
                if not hooks.handles_non_finite():
                    raise
                print(f"\nTraining ends early: {error.what} is not finite.")
                self.stop_training = cursor.non_finite = True
                break
            cursor.done += count
            if "train" in hooks.per_batch:
                hooks.call("on_train_batch_end", done, self._logs(totals))
            if bar.wants_updates:
                bar.update(cursor.done, self._logs(totals))
            keeper.place(cursor)
        logs = self._logs(totals)
        return {**logs, "loss": float("nan")} if cursor.non_finite else logs

    def _test(
        self,
        program: Program,
        batches: Batches,
        hooks: CallbackList,
        cursor: Cursor | None = None,
        keeper: Keeper = KEEPS_NOTHING,
    ) -> dict[str, float]:
        """Loss and metrics of all batches, from `cursor.tested` on."""
        _, state = self._built("evaluate")
        cursor = cursor or Cursor.at(0, program.plan.totals_size)
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
            count = keeper.stretch(left)
            program.test(state, batches.only(step, count), totals)
            cursor.tested += count
            if "test" in hooks.per_batch:
                hooks.call("on_test_batch_end", step, self._logs(totals))
            keeper.place(cursor)
        logs = self._logs(totals)
        hooks.call("on_test_end", logs)
        return logs

    def _keeper(self, backup: BackupAndRestore | None, hooks: CallbackList) -> Keeper:
        """Who writes the checkpoints that `backup` asks for, if anybody."""
        _, state = self._built("fit")
        if backup is None:
            return Keeper(state.step)
        from kurve.checkpoints.keeper import Kept

        return Kept(backup, self, hooks)

    def _logs(self, totals: np.ndarray) -> dict[str, float]:
        """Loss and metrics by name from the engine's accumulators."""
        logs = {"loss": float(totals[0] / totals[1]) if totals[1] else float("nan")}
        start = 2
        for metric, spec in zip(self._metrics, self._specs(), strict=True):
            logs[metric.name] = metric.value(totals[start : start + spec.size])
            start += spec.size
        return logs

    def _specs(self) -> tuple[Any, ...]:
        assert self._program is not None
        return self._program.plan.metrics

    def _checked(
        self,
        where: str,
        x: Any,
        y: Any,
        sample_weight: Any,
        class_weight: Mapping[int, float] | None,
        sample_shape: Shape | None = None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """x, y and weights as the engine wants them. Changes nothing.

        sample_shape: what an unbuilt model will be built for, if that is known.
        """
        assert self.loss is not None
        if self._plan is not None:
            sample_shape = self._plan.input_shape
        x = data.as_samples(where, "x", x, sample_shape, keep_bytes=True)
        output = self.compute_output_shape(x.shape)[1:]
        y = data.as_targets(where, y, self.loss, tuple(int(a or 0) for a in output))
        data.check_same_length(where, x=x, y=y)
        weights = None
        if sample_weight is not None and class_weight is not None:
            raise ValueError(
                f"[{where}] only one of sample_weight and class_weight can be given. "
                "Received: both. Try their product as sample_weight."
            )
        if sample_weight is not None:
            weights = data.as_weights(where, sample_weight, len(x))
        if class_weight is not None:
            weights = data.class_weights(where, class_weight, y, self.loss.sparse)
        for metric, _ in self._given_metrics:
            metric.check_loss(where, self.loss)
        return x, y, weights

    def _build_for(self, x: np.ndarray) -> None:
        """Build the model for samples such as x, if that is still to be done."""
        if self._plan is None:
            self.build((None, *x.shape[1:]))

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

    def _require_compiled(self, where: str) -> None:
        if not self.compiled:
            raise RuntimeError(
                f"[{where}] the model must be compiled first. "
                "Try model.compile(optimizer='adam', loss='mse')."
            )

    def _built(self, where: str) -> tuple[Plan, State]:
        if self._plan is None or self._state is None:
            raise RuntimeError(
                f"[{where}] the model is not built, so it has no weights yet. Try fit "
                "first, model.build((None, 1)), or Input(shape=(1,)) as first layer."
            )
        return self._plan, self._state

    def _resolve_metrics(self) -> None:
        assert self.loss is not None and self._plan is not None
        shape: Shape = self._plan.output_shape
        self._metrics = [
            metric.resolve(self.loss, shape)
            if isinstance(metric, metrics.Accuracy)
            else metric
            for metric, _ in self._given_metrics
        ]

    def _ready_program(self) -> Program:
        """The plan with loss, metrics and optimizer, made ready by the engine."""
        assert self._plan is not None
        if self._program is None:
            plan = self._plan
            if self.compiled:
                assert self.loss is not None and self.optimizer is not None
                self._resolve_metrics()
                specs = tuple(
                    metric.spec(plan.output_shape, weighted)
                    for metric, (_, weighted) in zip(
                        self._metrics, self._given_metrics, strict=True
                    )
                )
                plan = replace(
                    plan,
                    loss=self.loss.spec,
                    metrics=specs,
                    optimizer=self.optimizer.spec,
                )
            self._program = self.ready_engine().compile(plan)
        return self._program

    def ready_engine(self) -> Engine:
        """The engine that `compile` chose, else the default one."""
        return self._given_engine or get_engine()

    def _training_state(self) -> State:
        """The state with the optimizer's vectors, made when first needed."""
        _, state = self._built("fit")
        assert self.optimizer is not None
        starts = self.optimizer.slot_starts
        if len(state.slots) != len(starts):
            state.slots = aligned_zeros((len(starts), len(state.params)))
            state.slots[...] = np.asarray(starts, np.float32)[:, None]
            state.scalars = np.asarray(self.optimizer.scalar_starts, np.float64)
        return state


def aligned_zeros(shape: tuple[int, ...]) -> np.ndarray:
    """float32 zeros whose memory starts at a multiple of 64 bytes."""
    size = int(np.prod(shape))
    raw = np.zeros(size + ALIGNMENT, np.float32)
    start = (-raw.ctypes.data // raw.itemsize) % ALIGNMENT
    return raw[start : start + size].reshape(shape)


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


def _is_due(validation_freq: int | Sequence[int], epoch: int) -> bool:
    if isinstance(validation_freq, int):
        return (epoch + 1) % validation_freq == 0
    return epoch + 1 in validation_freq


def _metric_list(
    argument: str, given: Sequence[Any] | None, weighted: bool
) -> list[tuple[Metric, bool]]:
    if given is not None and not isinstance(given, (list, tuple)):
        raise TypeError(
            f"[compile] {argument} must be a list. "
            f"Received: {given!r}. Try {argument}=[{given!r}]."
        )
    return [(metrics.get(metric), weighted) for metric in given or []]


def _returned(logs: dict[str, float], return_dict: bool) -> Any:
    if return_dict:
        return logs
    values = list(logs.values())
    return values[0] if len(values) == 1 else values
