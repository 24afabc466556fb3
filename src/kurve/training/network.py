"""The inside of a model: its layers, the plan they are lowered to, its state, and the
arguments of `compile`.

A `Sequential` holds one as `model._network`. Methods that users may call or override
are on the model; the rest of the library (files, exchange, solvers, diagnosis,
estimators) works on the network, because a user's subclass may have attributes of any
name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kurve.engines import Engine, Program, State, aligned_zeros, get_engine
from kurve.losses import Formula, Loss
from kurve.metrics import Metric
from kurve.optimizers import Optimizer
from kurve.plan import Plan, Shape
from kurve.training.layout import Layout
from kurve.training.structure import Structure


@dataclass(frozen=True, eq=False)
class Compilation:
    """The arguments of `compile`; pickles and copies hold it as it is.

    metrics: each with whether its rows count their sample weights
    engine:  None for the default one
    """

    optimizer: Optimizer
    loss: Loss
    metrics: tuple[tuple[Metric, bool], ...]
    engine: Engine | None

    def metrics_for(self, output_shape: Shape) -> list[Metric]:
        """The metrics, "accuracy" resolved to the one that fits the output."""
        return [metric.resolve(self.loss, output_shape) for metric, _ in self.metrics]

    def completed(self, plan: Plan, resolved: Sequence[Metric]) -> Plan:
        """The plan with loss, metrics and optimizer."""
        specs = tuple(
            metric.spec(plan.output_shape, weighted)
            for metric, (_, weighted) in zip(resolved, self.metrics, strict=True)
        )
        return plan.trained_with(self.loss.spec, specs, self.optimizer.spec)

    def __getstate__(self) -> dict[str, Any]:
        """Kurve's engines are stored by name."""
        engine: Any = self.engine
        if engine is not None and type(engine).__module__.startswith("kurve."):
            engine = engine.name
        return {**vars(self), "engine": engine}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        engine = state["engine"]
        if type(engine) is str:
            engine = get_engine(engine)
        vars(self).update({**state, "engine": engine})


class Network(Layout):
    """A layout, and what training works on.

    compilation: None before `compile`
    metrics:     of the compilation, resolved once the network is built
    engine:      the one that compiled `program()`
    """

    def __init__(
        self, seed: int, trainable: bool = True, structure: Structure | None = None
    ) -> None:
        super().__init__(seed, trainable, structure)
        self.compilation: Compilation | None = None
        self.metrics: list[Metric] = []
        self.engine: Engine | None = None
        # The `trainable` flags when training started after `compile`.
        self._trained_flags: list[bool] | None = None

    # ---------------------------------------------------------------- compiling

    def compile(self, compilation: Compilation) -> None:
        """Use a new compilation; resets the optimizer."""
        self.set_compilation(compilation)
        self._forget_training()
        self._replan()

    def set_compilation(self, compilation: Compilation | None) -> None:
        """Use a compilation, but keep the optimizer's vectors."""
        self.compilation = compilation
        pairs = () if compilation is None else compilation.metrics
        self.metrics = [metric for metric, _ in pairs]

    def forget_compile(self) -> None:
        """Return to the state before `compile`."""
        self.set_compilation(None)
        self._forget_training()

    def _forget_training(self) -> None:
        """Return to the state before the first update, except for the weights."""
        self._program = self._trained_flags = None
        if self.state is not None:
            self.state.slots = aligned_zeros((0, len(self.state.params)))
            self.state.scalars = np.zeros(0)
            self.state.step = 0

    def require_compiled(self, where: str) -> Compilation:
        """The compilation.

        Raises:
            RuntimeError: before `compile`.
        """
        if self.compilation is None:
            raise RuntimeError(
                f"[{where}] the model must be compiled first. "
                "Try model.compile(optimizer='adam', loss='mse')."
            )
        return self.compilation

    def require_one_output(self, where: str) -> None:
        """Refuse several inputs or outputs.

        Raises:
            ValueError: there are several.
        """
        inputs, outputs = self.input_names, self.output_names
        if len(inputs) > 1 or len(outputs) > 1:
            raise ValueError(
                f"[{where}] the model must have one input and one output. Received: "
                f"inputs {', '.join(inputs)} and outputs {', '.join(outputs)}. "
                "Try fit, or a model of one of them."
            )

    def chosen_engine(self) -> Engine:
        """The engine that `compile` chose, else the default one."""
        chosen = None if self.compilation is None else self.compilation.engine
        return chosen or get_engine()

    @property
    def is_ready(self) -> bool:
        """Whether `program()` is compiled already."""
        return self._program is not None

    def program(self) -> Program:
        """The plan with loss, metrics and optimizer, compiled by the engine."""
        if self._program is None:
            assert self.plan is not None
            plan = self.plan
            if self.compilation is not None:
                plan = self.with_loss(self.compilation.loss)
                self.metrics = self.compilation.metrics_for(plan.output_shape)
                plan = self.compilation.completed(plan, self.metrics)
            self.engine = self.chosen_engine()
            self._program = self.engine.compile(plan)
        return self._program

    def with_loss(self, loss: Loss) -> Plan:
        """The plan, and what computes the loss if it is a formula."""
        assert self.plan is not None
        if isinstance(loss, Formula):
            return self.lowered(self.plan.inputs, [loss])[0]
        return self.plan

    # ---------------------------------------------------------------- training

    def training_state(self, where: str = "fit") -> State:
        """The state with the optimizer's vectors, which are created when first
        needed."""
        _, state = self.require_built(where)
        assert self.compilation is not None
        flags = self._trainable_flags()
        if flags != self._trained_flags:
            self.check_trainable(where)
            self.update_trainable()
            self._trained_flags = flags
        self.claim_shared()
        optimizer = self.compilation.optimizer
        starts = optimizer.slot_starts
        if len(state.slots) != len(starts):
            state.slots = aligned_zeros((len(starts), len(state.params)))
            state.slots[...] = np.asarray(starts, np.float32)[:, None]
            state.scalars = np.asarray(optimizer.scalar_starts, np.float64)
        return state

    def check_trainable(self, where: str) -> None:
        """Refuse to train if a `trainable` has changed since training started."""
        if self._trained_flags not in (None, self._trainable_flags()):
            raise ValueError(
                f"[{where}] the weights to train must stay those that training started "
                "with, because the optimizer's memory is of them. Received: a "
                "`trainable` that has been set since. Try model.compile(...) again."
            )

    def logs(self, totals: np.ndarray) -> dict[str, float]:
        """Loss and metrics from the engine's accumulators, sorted by name as Keras
        passes them to callbacks and users."""
        assert self._program is not None
        logs = {"loss": float(totals[0] / totals[1]) if totals[1] else float("nan")}
        start = 2
        specs = self._program.plan.metrics
        for metric, spec in zip(self.metrics, specs, strict=True):
            logs[metric.name] = metric.value(totals[start : start + spec.size])
            start += spec.size
        return dict(sorted(logs.items()))
