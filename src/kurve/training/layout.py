"""Lowering layers to a plan and its state, with positions of all weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from kurve.core.overrides import refuse_overrides
from kurve.engines import Program, State, aligned_zeros
from kurve.formulas.graph import Constant, Graph, Tensor
from kurve.formulas.needs import NeedsArrays
from kurve.formulas.tensor import KerasTensor, leaves
from kurve.layers import changes
from kurve.layers.base import (
    all_layers,
    called,
    check_shape,
    flags_of,
    place_all,
    same_shape,
    streams_of,
)
from kurve.layers.core import InputLayer
from kurve.losses import Loss
from kurve.metrics import RowMetric
from kurve.plan import Plan, Shape, VariableSpec
from kurve.training.description import Description
from kurve.training.structure import Structure

MAX_PLANS = 8
"""Maximum number of cached plans for other sizes of unknown axes."""


class Layout(Description):
    """Layers, and the plan they are lowered to.

    trainable:         False freezes all weights
    plan, state:       None until the network is built
    shares_variables:  whether a layer is in another model too
    replanned:         how often changes of layers have changed the plan
    as_written:        whether it runs eagerly, see `kurve.training.written`
    why_written:       the error that says why
    written_rows:      the number of rows that its batches must have then, if fixed

    Args:
        seed: key of all random streams.
    """

    def __init__(
        self, seed: int, trainable: bool = True, structure: Structure | None = None
    ) -> None:
        super().__init__(structure)
        self.trainable = trainable
        self.plan: Plan | None = None
        self.shares_variables = False
        self.replanned = 0
        self.as_written = False
        self.why_written = ""
        self.written_rows: int | None = None
        self._state: State | None = None
        # Whether layers add losses, and which outputs have masks.
        self.penalized = False
        self.masked: list[bool] = []
        self._seed = seed
        self._program: Program | None = None
        # The `trainable` flags used in the plan.
        self._planned_flags: list[bool] = []
        self._trained_flags: list[bool] | None = None
        # What is known of changed arguments of layers, see `follow_layers`.
        self._seen_changes = changes.count()
        self._versions: list[int] | None = None
        self._draws: tuple[Plan | None, bool] | None = None
        # Plans and programs for other sizes of unknown axes, newest last.
        self._family: dict[tuple[Shape, ...], tuple[Plan, Program | None]] = {}

    @property
    def state(self) -> State | None:
        """What training changes. Weights trained by another model are copied from there
        first."""
        if self.shares_variables and self._state is not None:
            for variable in self.variables:
                variable.pull(self)
        return self._state

    @state.setter
    def state(self, state: State | None) -> None:
        self._state = state

    def claim_shared(self) -> None:
        """Mark this network's weights as the newest ones, because training starts."""
        if self.shares_variables:
            for variable in self.variables:
                if variable.learned:
                    variable.push(self)

    @property
    def seed(self) -> int:
        """The key of all random streams."""
        return self._seed

    @seed.setter
    def seed(self, seed: int) -> None:
        self._seed = seed
        if self._state is not None:
            self._state.seed = seed

    def places(self) -> dict[int, VariableSpec]:
        """The position of each variable in the vector of weights, by its id."""
        plan, state = self.require_built("places")
        first, found = state.params.ctypes.data, {}
        specs = {first + 4 * spec.offset: spec for spec in plan.params if spec.size}
        for variable in self.variables:
            view = variable.view_in(self)
            spec = None if view is None else specs.get(view.ctypes.data)
            if spec is not None:
                found[id(variable)] = spec
        return found

    @property
    def rows(self) -> int | None:
        """The required number of rows per batch, if states carry over between batches;
        None if any number will do."""
        return None if self.plan is None else self.plan.rows

    @property
    def draws(self) -> bool:
        """Whether a formula draws random numbers even in prediction."""
        plan = self.plan
        if self._draws is None or self._draws[0] is not plan:
            ops = () if plan is None else plan.ops
            self._draws = plan, any(op.kind == "random" for op in ops)
        return self._draws[1]

    # ---------------------------------------------------------------- building

    def put(self, input_shape: Sequence[int] | None, layers: Sequence[Any]) -> None:
        """Set all layers of an empty network; builds nothing.

        Raises:
            ValueError: two layers have the same name, or the shape is invalid.
        """
        taken: set[str] = set()
        for layer in layers:
            refuse_overrides("Sequential", layer)
            if layer.name in taken:
                raise ValueError(
                    "[Sequential] layers must have distinct names. "
                    f"Received: {layer.name!r} twice."
                )
            taken.add(layer.name)
        if input_shape is not None:
            self.input_shape = check_shape(InputLayer, input_shape)
        elif layers:
            self.input_shape = layers[0].given_input_shape
        self.layers = list(layers)

    def build(self, input_shape: Shape) -> None:
        """Place all layers in flat vectors, initialize the weights of unbuilt ones, and
        reset the optimizer.

        Raises:
            TypeError, ValueError: a layer does not fit; all layers are unchanged.
        """
        new = [layer for layer in all_layers(self.layers) if layer.built_shape is None]
        try:
            self.declare(input_shape)
            self.lay_out(input_shape)
        except (TypeError, ValueError):
            for layer in new:
                layer.unbuild()
            raise

    def declare(self, input_shape: Shape) -> None:
        """Let the layers declare their variables, without allocating memory."""
        if self.structure is not None:
            return  # they have been called
        shape: Sequence[int | None] = self._encoded_shape(input_shape)
        masked = False
        for layer in self.layers[len(self.encoding) :]:
            masked = masked or layer.makes_masks
            inner = getattr(layer, "_network", None)
            if masked:  # later layers may read the mask, so call them with it
                self._declare_masked(input_shape)
                return
            if inner is None:
                layer.build((None, *shape))
            elif inner.plan is None and inner.structure is None:
                inner.input_shape = inner.input_shape or tuple(shape)
                inner.declare(inner.input_shape)
            _, *shape = layer.compute_output_shape((None, *shape))
            if any(isinstance(part, (list, tuple)) for part in shape):
                raise _several(layer)

    def _declare_masked(self, input_shape: Shape) -> None:
        x: Any = KerasTensor((None, *self._encoded_shape(input_shape)))
        for layer in self.layers[len(self.encoding) :]:
            x = layer.compute_output_spec(x)

    def lowered(
        self,
        samples: Sequence[Shape],
        losses: Sequence[Loss | None] = (),
        metrics: Sequence[Sequence[RowMetric]] = (),
    ) -> tuple[Plan, Graph]:
        """The plan for inputs with these shapes, and the graph that it was made from.

        Args:
            losses: losses of the outputs; the plan computes those that are formulas,
                and losses added by layers.
            metrics: metrics of the outputs; likewise.
        """
        targets: list[Shape] = []
        metrics = metrics or [()] * len(losses)
        own = [[m for m in each if m.by_ops] for each in metrics]
        by_ops = [
            loss is not None and (loss.by_ops or masked)
            for loss, masked in zip(losses, self.masked, strict=False)
        ]
        if any(by_ops) or any(own):
            assert self.plan is not None
            rules = [
                next((rule for rule in (loss, *each) if rule is not None), None)
                for loss, each in zip(losses, metrics, strict=True)
            ]
            targets = [
                head.shape if rule is None else rule.target_shape(head.shape)
                for rule, head in zip(rules, self.plan.heads, strict=True)
            ]
        self._keep_states(self.layers)
        graph = self._graph(samples, targets)
        try:
            outputs = self.trace(graph.inputs)
            graph.refuse_batches(outputs)
        except NeedsArrays as error:
            self.as_written, graph = True, self._graph(samples, targets)
            self.written_rows, self.why_written = error.rows, str(error)
            try:
                outputs = self.trace(graph.inputs)
            except NeedsArrays as cause:
                self.as_written = False
                raise error from cause
        rows, values = [], []
        pairs = zip(graph.targets, outputs, strict=bool(targets))
        with graph.tracing():
            for i, (y, p) in enumerate(pairs):
                loss = losses[i]
                by_rows = loss is not None and by_ops[i]
                rows.append(loss.traced(y, p) if loss is not None and by_rows else None)
                values.append(list(leaves([metric.traced(y, p) for metric in own[i]])))
        self.penalized = bool(graph.losses)
        self.masked = [tensor.mask is not None for tensor in outputs]
        return graph.finish(outputs, rows, bool(losses), values), graph

    def _graph(self, samples: Sequence[Shape], targets: Sequence[Shape]) -> Graph:
        graph = Graph(samples, targets, streams_of(self.layers))
        place_all(graph, self.layers, self.trainable)
        return graph

    def on_arrays(self, arrays: list[Any]) -> tuple[list[Any], list[Any]]:
        """The outputs for arrays, computed layer by layer and function by function, and
        the terms of the loss; both are recorded on active tapes."""
        for layer in all_layers(self.layers):
            layer._losses = []
        if self.structure is not None:
            found = self.structure.on_arrays(arrays)
            count = len(self.structure.flat_outputs)
            outputs, losses = found[:count], found[count:]
        else:
            (x,) = arrays
            for layer in self.layers[len(self.encoding) :]:
                x = layer(x)
            outputs, losses = [x], []
        return outputs, [
            *losses,
            *(term for layer in self.layers for term in layer._losses),
        ]

    def _keep_states(self, layers: Sequence[Any]) -> None:
        """Let layers create states that persist between batches."""
        for layer in all_layers(layers):
            if getattr(layer, "stateful", False) and hasattr(layer, "keep_states"):
                layer.keep_states(self.batch_size)
            self._keep_states(layer.parts)

    def trace(self, tensors: list[Tensor]) -> list[Tensor]:
        """The outputs for tensors of a plan under construction."""
        if self.as_written:
            from kurve.training.written import appended

            return appended(self, tensors)
        if self.structure is not None:
            return self.structure.run(tensors)
        layers = self.layers[len(self.encoding) :]
        for layer in layers:
            tensors = list(leaves(called(layer)(*tensors)))
            if len(tensors) > 1:
                raise _several(layer)
        # An output must be computed by an operation.
        return tensors if layers else [tensor * 1.0 for tensor in tensors]

    def lay_out(self, input_shape: Shape | None = None, values: bool = True) -> None:
        """Move all variables into two flat vectors, and initialize those without a
        value.

        Args:
            input_shape: sample shape of the first input.
            values: False if the caller sets all weights.
        """
        for layer in self.layers:
            inner = getattr(layer, "_network", None)
            if inner is not None and inner.plan is None:
                inner.lay_out(values=values)
        plan, graph = self.lowered(self.samples(input_shape))
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
            (state.params, plan.params, graph.params),
            (state.buffers, plan.buffers, graph.buffers),
        ):
            for spec, variable in zip(specs, variables, strict=True):
                view = vector[spec.offset : spec.end].reshape(spec.shape)
                if isinstance(variable, Constant):
                    view[...] = variable.value
                    continue
                if values or variable.role == "constant":
                    if id(variable) not in streams:
                        if variable.learned:
                            raise made_in_call(variable.name)
                        # Of a layer that was adapted before it was added to the model.
                        view[...] = variable.value
                        continue
                    variable.write_to(view, self.seed, streams[id(variable)])
                views.append((variable, view))
        for variable, view in views:  # last, because an initializer can refuse a shape
            variable.bind(self, view)
        self.plan, self.state, self._program = plan, state, None
        self._family.clear()
        self._planned_flags, self._trained_flags = self._trainable_flags(), None
        self._seen_changes = changes.count()
        self._versions = changes.versions(self.layers)
        if input_shape is not None:
            self.input_shape = input_shape

    def output_shape_for(self, input_shape: Shape) -> Shape:
        """Shape of one output sample for this input shape. Builds nothing."""
        shape: Sequence[int | None] = input_shape
        for layer in self.layers:
            _, *shape = layer.compute_output_shape((None, *shape))
        return tuple(int(size or 0) for size in shape)

    def pop(self) -> Any:
        """Remove the last layer and its weights, and return it."""
        layer = self.layers.pop()
        if self._state is not None:
            for part in all_layers([layer]):
                part.leave(self)
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
        new = [layer for layer in all_layers(self.layers) if layer.built_shape is None]
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
        plan, state = self.plan, self.state
        if plan is None or state is None:
            raise RuntimeError(
                f"[{where}] the model is not built, so it has no weights yet. Try fit "
                "first, model.build((None, 1)), or Input(shape=(1,)) as first layer."
            )
        return plan, state

    # ---------------------------------------------------------------- sizes

    def adapt_to(self, samples: Sequence[Shape]) -> None:
        """Switch to the plan for inputs with these shapes, if the model has unknown
        sizes. Weights are kept; the latest 8 plans are cached."""
        declared = self.declared
        if self.plan is None or not self.has_open_sizes:
            return
        wanted = tuple(tuple(sample) for sample in samples)
        if self.plan.inputs == wanted or len(wanted) != len(declared):
            return
        if not all(same_shape(a, b) for a, b in zip(wanted, declared, strict=True)):
            return  # the data check reports it
        family = self._family
        family[self.plan.inputs] = (self.plan, self._program)
        while len(family) > MAX_PLANS:
            family.pop(next(iter(family)))
        if wanted in family:
            plan, program = family.pop(wanted)
            self._move_buffers(plan, None)
        else:
            plan, graph = self.lowered(wanted)
            program = None
            self._move_buffers(plan, graph)
        self.plan, self._program = plan, program

    def _move_buffers(self, plan: Plan, graph: Graph | None) -> None:
        """Move the buffers to their positions in `plan`: constants of formulas can
        depend on sizes."""
        state = self._state
        assert state is not None and self.plan is not None
        if plan.buffers == self.plan.buffers and not (graph and graph.constants):
            return
        if graph is None:
            graph = self.lowered(plan.inputs)[1]
        state.buffers = aligned_zeros((plan.buffers_size,))
        for spec, variable in zip(plan.buffers, graph.buffers, strict=True):
            view = state.buffers[spec.offset : spec.end].reshape(spec.shape)
            view[...] = variable.value
            if not isinstance(variable, Constant):
                variable.bind(self, view)

    # ---------------------------------------------------------------- changes

    def update_trainable(self) -> None:
        """Update the plan if a `trainable` flag, or an argument of a layer, has changed
        since it was made."""
        self.follow_layers()
        if self._planned_flags != self._trainable_flags():
            self._program = None
            self._replan()

    def follow_layers(self) -> None:
        """Update the plan if an argument of a layer has changed since it was made."""
        if self._seen_changes == changes.count():
            return
        self._seen_changes = changes.count()
        versions = changes.versions(self.layers)
        if versions != self._versions:
            known, self._versions = self._versions, versions
            if self.plan is not None and known is not None:
                self.replanned += 1
                self._program = None
                self._replan()

    def _replan(self) -> None:
        """Make a plan with the current `trainable` flags."""
        if self.plan is not None:
            self.plan = self.lowered(self.plan.inputs)[0]
            self._family.clear()
            self._planned_flags = self._trainable_flags()

    def _trainable_flags(self) -> list[bool]:
        return [self.trainable, *flags_of(self.layers)]


def _several(layer: Any) -> ValueError:
    return ValueError(
        "[Sequential] each layer must have a single output. Received: "
        f"{layer!r}, which has several. Try Model(inputs, outputs)."
    )


def made_in_call(name: str) -> ValueError:
    """The error for weights of a layer that no attribute holds."""
    return ValueError(
        "[build] the layers that call() uses must be attributes of the model, or "
        "their weights would be neither trained nor saved. "
        f"Received: the weights {name!r}. "
        "Try self.layer = Dense(1) in __init__."
    )
