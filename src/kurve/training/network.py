"""The inside of a model: its layers, the plan they are lowered to, its state, and the
arguments of `compile`.

A `Sequential` holds one as `model._network`. Methods that users may call or override
are on the model; the rest of the library (files, exchange, solvers, diagnosis,
estimators) works on the network, because a user's subclass may have attributes of any
name.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from kurve.core.overrides import refuse_overrides
from kurve.engines import Engine, Program, State, aligned_zeros, get_engine
from kurve.layers.base import Layer, Variable, check_shape, lower
from kurve.layers.core import InputLayer
from kurve.losses import Loss
from kurve.metrics import Metric
from kurve.optimizers import Optimizer
from kurve.plan import Plan, Shape


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
        optimizer = self.optimizer.spec_for(plan.params)
        return plan.trained_with(self.loss.spec, specs, optimizer)

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


class Network:
    """Layers in a row, and what training works on.

    layers, trainable: the structure; `trainable=False` freezes all weights
    input_shape:       of one sample; None while it is unknown
    plan, state:       what the layers are lowered to; None until the network is built
    compilation:       None before `compile`
    metrics:           of the compilation, resolved once the network is built
    engine:            the one that compiled `program()`

    Args:
        seed: key of all random streams.
    """

    def __init__(self, seed: int, trainable: bool = True) -> None:
        self.layers: list[Layer] = []
        self.trainable = trainable
        self.input_shape: Shape | None = None
        self.plan: Plan | None = None
        self.state: State | None = None
        self.compilation: Compilation | None = None
        self.metrics: list[Metric] = []
        self.engine: Engine | None = None
        self._seed = seed
        self._program: Program | None = None
        # The `trainable` flags of the plan, and those when training started after
        # `compile`.
        self._planned_flags: list[bool] = []
        self._trained_flags: list[bool] | None = None

    @property
    def seed(self) -> int:
        """The key of all random streams."""
        return self._seed

    @seed.setter
    def seed(self, seed: int) -> None:
        self._seed = seed
        if self.state is not None:
            self.state.seed = seed

    @property
    def variables(self) -> list[Variable]:
        """All variables, constants included, layer after layer."""
        return [v for layer in self.layers for v in layer.variables]

    # ---------------------------------------------------------------- building

    def put(self, input_shape: Sequence[int] | None, layers: Sequence[Layer]) -> None:
        """Set all layers of an empty network at once; nothing is built.

        Raises:
            ValueError: two layers have the same name, or the shape is invalid.
        """
        taken: set[str] = set()
        for layer in layers:
            refuse_overrides("Sequential", layer)
            if layer.name in taken:
                raise ValueError(
                    "[Sequential] layers must have different names. "
                    f"Received: {layer.name!r} twice."
                )
            taken.add(layer.name)
        if input_shape is not None:
            self.input_shape = check_shape(InputLayer, input_shape)
        elif layers:
            self.input_shape = layers[0].given_input_shape
        self.layers = list(layers)

    def build(self, input_shape: Shape) -> None:
        """Place all layers in flat vectors, with initial weights for those that are not
        built; resets the optimizer.

        Raises:
            TypeError, ValueError: a layer does not fit; all layers are unchanged.
        """
        new = [layer for layer in self.layers if not layer.built]
        try:
            self.declare(input_shape)
            self.lay_out(input_shape)
        except (TypeError, ValueError):
            for layer in new:
                layer.unbuild()
            raise

    def declare(self, input_shape: Shape) -> None:
        """Let the layers declare their variables; no memory is allocated yet."""
        shape = input_shape
        for layer in self.layers:
            layer.build((None, *shape))
            shape = layer.output_sample_shape(shape)
            layer.check_owner(self)

    def lay_out(self, input_shape: Shape, values: bool = True) -> None:
        """Move all variables into two flat vectors, and initialize those without a
        value.

        Args:
            values: False if the caller writes all weights itself.
        """
        plan, params, buffers = lower(self.layers, input_shape, self.trainable)
        state = State(
            aligned_zeros((plan.params_size,)),
            aligned_zeros((plan.buffers_size,)),
            aligned_zeros((0, plan.params_size)),
            np.zeros(0),
            0,
            self.seed,
        )
        streams = {id(v): i for i, v in enumerate(self.variables)}
        views = []
        for vector, specs, variables in (
            (state.params, plan.params, params),
            (state.buffers, plan.buffers, buffers),
        ):
            for spec, variable in zip(specs, variables, strict=True):
                view = vector[spec.offset : spec.end].reshape(spec.shape)
                if values or variable.role == "constant":
                    variable.write_to(view, self.seed, streams[id(variable)])
                views.append((variable, view))
        old_buffers = None if self.state is None else self.state.buffers
        for variable, view in views:  # only now: an initializer may refuse a shape
            variable.bind(view, old_buffers)
        self.plan, self.state, self._program = plan, state, None
        self._planned_flags, self._trained_flags = self._trainable_flags(), None
        self.input_shape = input_shape
        for layer in self.layers:
            layer.owner = weakref.ref(self)

    def output_shape_for(self, input_shape: Shape) -> Shape:
        """Shape of one output for samples of this shape. Builds nothing."""
        shape: Sequence[int | None] = input_shape
        for layer in self.layers:
            _, *shape = layer.compute_output_shape((None, *shape))
        return tuple(int(size or 0) for size in shape)

    def pop(self) -> Layer:
        """Remove the last layer, with its weights, and return it."""
        layer = self.layers.pop()
        if self.state is not None:
            layer.leave(self.state.params, self.state.buffers)
        if not self.layers:
            self._unbuild()
        elif self.plan is not None:
            self.build(self.plan.input_shape)
        return layer

    @contextmanager
    def unbuilt_on_error(self) -> Iterator[None]:
        """A context that unbuilds the network after an error, unless it was built
        before."""
        built, input_shape = self.plan is not None, self.input_shape
        new = [layer for layer in self.layers if not layer.built]
        try:
            yield
        except Exception:
            if not built:
                for layer in new:
                    layer.unbuild()
                self._unbuild()
                self.input_shape = input_shape
            raise

    def _unbuild(self) -> None:
        self.plan = self.state = self._program = None

    def require_built(self, where: str) -> tuple[Plan, State]:
        """Plan and state.

        Raises:
            RuntimeError: the network is not built.
        """
        if self.plan is None or self.state is None:
            raise RuntimeError(
                f"[{where}] the model is not built, so it has no weights yet. Try fit "
                "first, model.build((None, 1)), or Input(shape=(1,)) as first layer."
            )
        return self.plan, self.state

    # ---------------------------------------------------------------- compiling

    def compile(self, compilation: Compilation) -> None:
        """Use a new compilation; resets the optimizer."""
        self.set_compilation(compilation)
        self._forget_training()
        self._replan()

    def set_compilation(self, compilation: Compilation | None) -> None:
        """Use a compilation, but keep the optimizer's vectors."""
        self.compilation = compilation
        if compilation is not None:
            compilation.optimizer._network = weakref.ref(self)
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
                self.metrics = self.compilation.metrics_for(plan.output_shape)
                plan = self.compilation.completed(plan, self.metrics)
            self.engine = self.chosen_engine()
            self._program = self.engine.compile(plan)
        return self._program

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
        optimizer = self.compilation.optimizer
        starts = optimizer.slot_starts
        if len(state.slots) != len(starts):
            state.slots = aligned_zeros((len(starts), len(state.params)))
            state.slots[...] = np.asarray(starts, np.float32)[:, None]
            state.scalars = np.asarray(optimizer.scalar_starts, np.float64)
        return state

    def use_average(self) -> None:
        """Set the trained weights to their moving average, if the optimizer keeps
        one."""
        optimizer = None if self.compilation is None else self.compilation.optimizer
        if optimizer is None or self.state is None or self.plan is None:
            return
        if optimizer.use_ema and self.state.step:
            average = self.state.slots[optimizer.slot_names.index("average")]
            for spec in self.plan.params:
                if spec.trainable:
                    part = slice(spec.offset, spec.end)
                    self.state.params[part] = average[part]

    def check_trainable(self, where: str) -> None:
        """Refuse to train if a `trainable` has changed since training started."""
        if self._trained_flags not in (None, self._trainable_flags()):
            raise ValueError(
                f"[{where}] the weights to train must stay those that training started "
                "with, because the optimizer's memory is of them. Received: a "
                "`trainable` that has been set since. Try model.compile(...) again."
            )

    def update_trainable(self) -> None:
        """Update the plan if a `trainable` has changed since it was made."""
        if self._planned_flags != self._trainable_flags():
            self._program = None
            self._replan()

    def _replan(self) -> None:
        """Make a plan with the current `trainable` flags."""
        if self.plan is not None:
            self.plan = lower(self.layers, self.plan.input_shape, self.trainable)[0]
            self._planned_flags = self._trainable_flags()

    def _trainable_flags(self) -> list[bool]:
        return [self.trainable, *[layer.trainable for layer in self.layers]]

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
