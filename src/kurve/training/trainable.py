"""What training works on: plan, state and program of a model, and its `compile`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kurve import data, losses, metrics, optimizers
from kurve.core.arguments import check_unused
from kurve.core.entries import entries
from kurve.core.locks import UNLOCKED, check_unlocked, modifies
from kurve.core.overrides import refuse_overrides
from kurve.engines import Engine, Program, State, aligned_zeros, get_engine
from kurve.losses import Loss
from kurve.metrics import Metric
from kurve.optimizers import Optimizer
from kurve.plan import Plan, Shape
from kurve.training.inputs import one_array


@dataclass(frozen=True, eq=False)
class Compilation:
    """What `compile` was given; pickles and copies hold it as it is.

    metrics: each with whether its rows count their sample weights
    engine:  None for the default one
    """

    optimizer: Optimizer
    loss: Loss
    metrics: tuple[tuple[Metric, bool], ...]
    engine: Engine | None

    def metrics_for(self, output_shape: Shape) -> list[Metric]:
        """The metrics, "accuracy" made precise."""
        return [metric.resolve(self.loss, output_shape) for metric, _ in self.metrics]

    def completed(self, plan: Plan, resolved: Sequence[Metric]) -> Plan:
        """The plan with loss, metrics and optimizer."""
        specs = tuple(
            metric.spec(plan.output_shape, weighted)
            for metric, (_, weighted) in zip(resolved, self.metrics, strict=True)
        )
        return replace(
            plan, loss=self.loss.spec, metrics=specs, optimizer=self.optimizer.spec
        )

    def __getstate__(self) -> dict[str, Any]:
        """Kurve's engines go by their names."""
        engine: Any = self.engine
        if engine is not None and type(engine).__module__.startswith("kurve."):
            engine = engine.name
        return {**vars(self), "engine": engine}

    def __setstate__(self, given: Mapping[str, Any]) -> None:
        engine = given["engine"]
        if type(engine) is str:
            engine = get_engine(engine)
        vars(self).update({**given, "engine": engine})


@entries
class Trainable:
    """What has weights and a `compile`."""

    ignored = (
        "call",
        "__call__",
        "train_step",
        "test_step",
        "predict_step",
        "compute_loss",
        "compute_metrics",
        "get_metrics_result",
        "reset_metrics",
        "make_train_function",
        "make_test_function",
        "make_predict_function",
        "train_function",
        "test_function",
        "predict_function",
        "compute_output_shape",
        "compute_output_spec",
        "compute_mask",
        "metrics",
    )
    instead = "callbacks, or a loop of your own with train_on_batch"

    name: str
    stop_training: bool
    _own_seed: int
    _model_lock = UNLOCKED
    _engine: Engine

    def __init__(self) -> None:
        refuse_overrides(type(self).__name__, self)
        self._compilation: Compilation | None = None
        self._metrics: list[Metric] = []
        self._plan: Plan | None = None
        self._state: State | None = None
        self._program: Program | None = None
        self._planned: list[bool] = []
        """The flags `trainable` of the plan."""
        self._trained: list[bool] | None = None
        """Those that training began with after `compile`."""

    # What a subclass provides: `_plan` and `_state` once it is built.

    def build(self, input_shape: Sequence[int | None] | None = None) -> None:
        raise NotImplementedError

    def compute_output_shape(
        self, input_shape: Sequence[int | None]
    ) -> tuple[int | None, ...]:
        raise NotImplementedError

    def _trainable_flags(self) -> list[bool]:
        """Which parts training may change."""
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
    def _seed(self) -> int:
        """The key of all random streams of the model."""
        return self._own_seed

    @_seed.setter
    def _seed(self, seed: int) -> None:
        self._own_seed = seed
        if self._state is not None:
            self._state.seed = seed

    @property
    def compiled(self) -> bool:
        return self._compilation is not None

    @property
    def optimizer(self) -> Optimizer | None:
        """That of `compile`."""
        return None if self._compilation is None else self._compilation.optimizer

    @property
    def loss(self) -> Loss | None:
        """That of `compile`."""
        return None if self._compilation is None else self._compilation.loss

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
        loss_weights: Any = None,
        metrics: Sequence[Any] | None = None,
        weighted_metrics: Sequence[Any] | None = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: str | bool = "auto",
        auto_scale_loss: bool = True,
        engine: str | Engine | None = None,
    ) -> None:
        """Choose how to train. Starts the optimizer anew.

        Args:
            optimizer: name or object of `kurve.optimizers`.
            loss: name or object of `kurve.losses`.
            metrics: names or objects of `kurve.metrics`, each row counting 1.
            weighted_metrics: the same, each row counting its sample weight.
            loss_weights, run_eagerly, steps_per_execution, jit_compile,
                auto_scale_loss: Keras's; only values that change nothing are taken.
            engine: "native", "reference" or an engine; None for the default
                (`kurve.set_engine`).

        Raises:
            ValueError: an unknown name, with the nearest known ones.
            ModelBusyError: during training.
        """
        check_unlocked(self, "compile")
        if loss is None:
            raise ValueError(
                "[compile] a loss is needed. Received: loss=None. "
                "Try compile(optimizer='adam', loss='mse')."
            )
        check_unused(
            "compile",
            loss_weights=loss_weights,
            run_eagerly=run_eagerly,
            steps_per_execution=steps_per_execution,
            jit_compile=jit_compile,
            auto_scale_loss=auto_scale_loss,
        )
        if isinstance(loss, (list, tuple)) and len(loss) == 1:
            loss = loss[0]
        new_optimizer, new_loss = optimizers.get(optimizer), losses.as_loss(loss)
        given = _metric_list("metrics", metrics, False)
        given += _metric_list("weighted_metrics", weighted_metrics, True)
        for part in (new_optimizer, new_loss, *(metric for metric, _ in given)):
            refuse_overrides("compile", part)
        taken = {"loss"}
        for metric, weighted in given:
            if weighted and metric.name in taken:
                metric.name = f"weighted_{metric.name}"
            base, number = metric.name, 1
            while metric.name in taken:
                metric.name, number = f"{base}_{number}", number + 1
            taken.add(metric.name)
        chosen = get_engine(engine) if engine is not None else None
        self._take_up(Compilation(new_optimizer, new_loss, tuple(given), chosen))
        self._forget_training()
        self._on_compile()

    def _take_up(self, compilation: Compilation | None) -> None:
        self._compilation = compilation
        given = () if compilation is None else compilation.metrics
        self._metrics = [metric for metric, _ in given]

    def _forget_training(self) -> None:
        """As before the first update, but for the weights."""
        self._program = self._trained = None
        if self._state is not None:
            self._state.slots = aligned_zeros((0, len(self._state.params)))
            self._state.scalars = np.zeros(0)
            self._state.step = 0

    def _forget_compile(self) -> None:
        """As before `compile`."""
        self._take_up(None)
        self._forget_training()

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

    def _build_for(self, x: np.ndarray) -> None:
        """Build the model for samples such as x, if that is still to be done."""
        if self._plan is None:
            self._build_from(x)

    def _check_trainable(self, where: str) -> None:
        """Refuse to train with other flags `trainable` than training began with."""
        if self._trained not in (None, self._trainable_flags()):
            raise ValueError(
                f"[{where}] the weights to train must stay those that training started "
                "with, because the optimizer's memory is of them. Received: a "
                "`trainable` that has been set since. Try model.compile(...) again."
            )

    def _obey_trainable(self) -> None:
        """Plan anew where a `trainable` has been set since."""
        if self._planned != self._trainable_flags():
            self._program = None
            self._on_compile()

    @modifies
    def _build_from(self, x: np.ndarray) -> None:
        self.build((None, *x.shape[1:]))

    def _ready_program(self) -> Program:
        """The plan with loss, metrics and optimizer, made ready by the engine."""
        assert self._plan is not None
        if self._program is None:
            refuse_overrides(type(self).__name__, self)
            plan = self._plan
            if self._compilation is not None:
                self._metrics = self._compilation.metrics_for(plan.output_shape)
                plan = self._compilation.completed(plan, self._metrics)
            self._engine = self.ready_engine()
            self._program = self._engine.compile(plan)
        return self._program

    def ready_engine(self) -> Engine:
        """The engine that `compile` chose, else the default one."""
        chosen = None if self._compilation is None else self._compilation.engine
        return chosen or get_engine()

    def _training_state(self, where: str = "fit") -> State:
        """The state with the optimizer's vectors, made when first needed."""
        _, state = self._built(where)
        assert self.optimizer is not None
        flags = self._trainable_flags()
        if flags != self._trained:
            self._check_trainable(where)
            self._obey_trainable()
            self._trained = flags
        starts = self.optimizer.slot_starts
        if len(state.slots) != len(starts):
            state.slots = aligned_zeros((len(starts), len(state.params)))
            state.slots[...] = np.asarray(starts, np.float32)[:, None]
            state.scalars = np.asarray(self.optimizer.scalar_starts, np.float64)
        return state

    def _logs(self, totals: np.ndarray) -> dict[str, float]:
        """Loss and metrics from the engine's accumulators, in the order of their names,
        as Keras tells them to callbacks and users."""
        assert self._program is not None
        logs = {"loss": float(totals[0] / totals[1]) if totals[1] else float("nan")}
        start = 2
        specs = self._program.plan.metrics
        for metric, spec in zip(self._metrics, specs, strict=True):
            logs[metric.name] = metric.value(totals[start : start + spec.size])
            start += spec.size
        return dict(sorted(logs.items()))

    def _returned(self, logs: dict[str, float], return_dict: bool) -> Any:
        """What `evaluate` and its kin give: a list is in the order of `compile`."""
        if return_dict:
            return logs
        values = [logs[name] for name in self.metrics_names]
        return values[0] if len(values) == 1 else values

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
        assert self._compilation is not None
        loss = self._compilation.loss
        if self._plan is not None:
            sample_shape = self._plan.input_shape
        x = one_array(where, "x", x, sample_shape)
        x = data.as_samples(where, "x", x, sample_shape, keep_bytes=True)
        if self._plan is not None:
            output = self._plan.output_shape
        else:
            output = tuple(int(a or 0) for a in self.compute_output_shape(x.shape)[1:])
        y = one_array(where, "y", y, None, len(x))
        y = data.as_targets(where, y, loss, output)
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
            weights = data.class_weights(where, class_weight, y, loss.sparse)
        for metric, _ in self._compilation.metrics:
            metric.check_loss(where, loss)
        return x, y, weights


def _metric_list(
    argument: str, given: Sequence[Any] | None, weighted: bool
) -> list[tuple[Metric, bool]]:
    if given is not None and not isinstance(given, (list, tuple)):
        raise TypeError(
            f"[compile] {argument} must be a list, for the one output of a model. "
            f"Received: {given!r}. "
            f"Try {argument}={['mae'] if isinstance(given, Mapping) else [given]!r}."
        )
    if given and len(given) == 1 and isinstance(given[0], (list, tuple)):
        given = given[0]
    return [(metrics.as_metric(metric), weighted) for metric in given or []]
