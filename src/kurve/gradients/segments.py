"""Segments of a computation: operations run by the reference engine, and the backward
pass through them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from kurve.engines import Batches, Engine, Program, State
from kurve.engines.reference import backward, forward
from kurve.engines.reference.layers import statistics_after
from kurve.formulas.graph import Graph
from kurve.ops.elementwise import RULES
from kurve.ops.tape import Builder, Tape
from kurve.plan import Head, Op, Plan, Spec, VariableSpec, aligned


class Segment:
    """Operations that were run on a batch.

    plan:     the operations; its vectors are those of `state`
    params, buffers: the variables of the vectors, as in `Graph`
    arrays:   the input arrays
    whole:    whether each array was treated as one sample, for functions, which treat
              all axes alike
    keys:     indices of the arrays on tapes
    outputs:  indices of its output values, their keys, and whether each is a scalar of
              the whole batch, which all samples repeat
    singles:  the inputs that are such scalars, stored for the first sample
    """

    def __init__(
        self,
        plan: Plan,
        params: Sequence[Any],
        buffers: Sequence[Any],
        state: State,
        arrays: Sequence[np.ndarray],
        training: bool,
        whole: bool = False,
    ) -> None:
        self.plan, self.params, self.buffers = plan, params, buffers
        self.state, self.training, self.whole = state, training, whole
        self.arrays = [a[None] for a in arrays] if whole else list(arrays)
        self.values, self.caches = forward(plan, state, self.arrays, training)
        self.keys: list[int | None] = []
        self.outputs: list[tuple[int, int, bool]] = []
        self.singles: dict[int, bool] = {}
        self.shapes: dict[int, tuple[int, ...]] = {}

    def value(self, number: int, single: bool = False) -> np.ndarray:
        """A value by index, as users see it."""
        value: np.ndarray = self.values[number]
        return value[0] if self.whole or single else value

    def finish(self, keys: Sequence[int | None]) -> None:
        """Keep what the backward pass needs, and drop other values."""
        self.keys = list(keys)
        for number, _, _ in self.outputs:
            self.shapes[number] = self.values[number].shape
        del self.values

    def seed(self, number: int, single: bool, dy: Any) -> np.ndarray:
        """The gradient of an output in the shape of its value."""
        shape, dtype = self.shapes[number], self.state.params.dtype
        if not single:
            return np.asarray(dy, dtype).reshape(shape)
        seed = np.zeros(shape, dtype)
        seed[0] = np.asarray(dy, dtype).reshape(shape[1:])
        return seed

    def inside(self, wanted: Collection[Any]) -> list[tuple[int, int, bool]]:
        """The outputs among the sources, if others can be computed from them."""
        several = len(self.outputs) > 1
        return [one for one in self.outputs if several and one[1] in wanted]

    def seeds(self, slopes: Mapping[int, Any]) -> dict[int, np.ndarray]:
        """The gradients of its outputs, by index in the plan."""
        found: dict[int, np.ndarray] = {}
        for number, key, single in self.outputs:
            if key in slopes:
                dy = self.seed(number, single, slopes[key])
                found[number] = found[number] + dy if number in found else dy
        return found

    def backward(
        self, slopes: dict[int, Any], wanted: Collection[Any] = ()
    ) -> tuple[list[tuple[int, np.ndarray]], list[tuple[Any, np.ndarray]]]:
        """From the gradients of its outputs, by key, to those of its arrays and
        variables.

        Args:
            slopes: outputs that other outputs are computed from get the whole
                gradient, if they are wanted.
            wanted: keys of sources.
        """
        seeds = self.seeds(slopes)
        inside = self.inside(wanted)
        kept = [number for number, _, _ in inside]
        gradient, left = backward(self.plan, self.state, seeds, self.caches, kept)
        for number, key, single in inside:
            if number in left:
                dy = left[number]
                whole = dy[0] if self.whole else dy.sum(axis=0) if single else dy
                slopes[key] = whole
        arrays = [
            (key, left[i][0] if self.whole or self.singles.get(i) else left[i])
            for i, key in enumerate(self.keys)
            if key is not None and i in left
        ]
        variables = [
            (variable, gradient[spec.offset : spec.end].reshape(spec.shape))
            for variable, spec in zip(self.params, self.plan.params, strict=True)
            if spec.trainable
        ]
        return arrays, variables


class CompiledSegment(Segment):
    """A model that an engine has run. The engine also goes back to the weights, and to
    the inputs by a plan of the chain rule; where an operation has no rule in
    operations, the reference engine runs the model again.

    Args:
        engine: that has run it.
        compiled: the model's program, see `with_slopes`.
    """

    def __init__(
        self,
        engine: Engine,
        compiled: Program,
        plan: Plan,
        params: Sequence[Any],
        buffers: Sequence[Any],
        state: State,
        arrays: Sequence[np.ndarray],
        training: bool,
    ) -> None:
        self.plan, self.params, self.buffers = plan, params, buffers
        self.state, self.training, self.whole = state, training, False
        self.arrays, self.caches = list(arrays), []
        self.engine, self.compiled = engine, compiled
        self.keys, self.outputs, self.singles, self.shapes = [], [], {}, {}
        x: Any = tuple(arrays) if len(arrays) > 1 else arrays[0]
        found: Any = compiled.predict(state, x)
        found = found if len(compiled.plan.heads) > 1 else (found,)
        # The compiled plan may omit operations, so its indices can differ.
        self.numbers = [head.value for head in plan.heads]
        self.numbers += [] if plan.penalty is None else [plan.penalty]
        self.values: Any = dict(zip(self.numbers, found, strict=True))

    def backward(
        self, slopes: dict[int, Any], wanted: Collection[Any] = ()
    ) -> tuple[list[tuple[int, np.ndarray]], list[tuple[Any, np.ndarray]]]:
        """As that of `Segment`."""
        if self.inside(wanted):
            return self._by_reference(slopes, wanted)
        arrays: list[tuple[int, np.ndarray]] = []
        if any(key is not None for key in self.keys):
            from kurve.gradients.second import slopes_of_inputs

            try:
                arrays = slopes_of_inputs(self, slopes)
            except (KeyError, NotImplementedError):
                return self._by_reference(slopes)
        plan, seeds, rows = self.compiled.plan, self.seeds(slopes), len(self.arrays[0])
        dys = []
        for number, shape in zip(self.numbers, plan.targets, strict=True):
            dy = seeds.get(number)
            dy = np.zeros((rows, *shape), np.float32) if dy is None else dy
            dys.append(np.ascontiguousarray(dy))
        x: Any = tuple(self.arrays) if len(self.arrays) > 1 else self.arrays[0]
        y: Any = tuple(dys) if len(dys) > 1 else dys[0]
        batches = Batches(x, y, None, None, np.array([0, rows]))
        _, gradient = self.compiled.gradient(self.state, batches, 0)
        found = [
            (variable, gradient[spec.offset : spec.end].reshape(spec.shape))
            for variable, spec in zip(self.params, plan.params, strict=True)
            if spec.trainable
        ]
        return arrays, found

    def _by_reference(
        self, slopes: dict[int, Any], wanted: Collection[Any] = ()
    ) -> Any:
        """The same by the reference engine, which runs the model again."""
        _, self.caches = forward(self.plan, self.state, self.arrays, self.training)
        return super().backward(slopes, wanted)


def with_slopes(plan: Plan) -> Plan:
    """The plan whose loss is the sum of output x target, over outputs and losses added
    by layers: with the gradients of these as targets, its gradient is the backward
    pass.

    Raises:
        ValueError: an output depends on other samples.
    """
    heads = [(head.value, head.shape) for head in plan.heads]
    if plan.penalty is not None:
        shape = plan.ops[plan.penalty - plan.given].out_shape
        heads.append((plan.penalty, shape))
    first, count = plan.given, len(heads)
    specs = {spec: replace(spec, l1=0.0, l2=0.0, penalty=None) for spec in plan.params}

    def moved(value: int) -> int:
        return value + count if value >= first else value

    ops = [
        replace(
            op.with_variables(specs.__getitem__),
            inputs=tuple(map(moved, plan.reads(i))),
        )
        for i, op in enumerate(plan.ops)
    ]
    made = []
    for k, (value, shape) in enumerate(heads):
        ops.append(
            Op(
                "map",
                "gradient",
                shape,
                shape,
                tape=PRODUCT,
                inputs=(moved(value), first + k),
                more_shapes=(shape,),
            )
        )
        rows = first + count + len(ops) - 1
        made.append(Head(moved(value), shape, Spec("rows"), rows=rows, reduction="sum"))
    changed = Plan(
        plan.inputs,
        tuple(ops),
        tuple(specs.values()),
        plan.buffers,
        tuple(made),
        targets=tuple(shape for _, shape in heads),
    )
    changed.predicting()  # refuses outputs that depend on other samples
    return changed


def _product() -> Tape:
    build = Builder(RULES, 2)
    return build.finish([build.op("mul", 0, 1)])


PRODUCT = _product()


def plan_of(graph: Graph) -> Plan:
    """The operations of a graph as they are, without outputs."""
    return Plan(
        graph.input_shapes,
        tuple(graph.ops),
        tuple(graph.vectors[True]),
        tuple(graph.vectors[False]),
        (),
    )


def state_of(
    plan: Plan,
    params: Sequence[Any],
    buffers: Sequence[Any],
    dtype: Any,
    step: int = 0,
    seed: int = 0,
) -> State:
    """A copy of the variables' values, in the order of the plan."""
    vectors = [
        gathered(plan.params, params, dtype),
        gathered(plan.buffers, buffers, dtype),
    ]
    slots = np.zeros((0, len(vectors[0])), dtype)
    return State(vectors[0], vectors[1], slots, np.zeros(0), step, seed)


def gathered(
    specs: Sequence[VariableSpec], variables: Sequence[Any], dtype: Any = np.float32
) -> np.ndarray:
    """A flat vector with the values of the variables."""
    vector = np.zeros(aligned(specs[-1].end) if specs else 0, dtype)
    for spec, variable in zip(specs, variables, strict=True):
        vector[spec.offset : spec.end] = np.ravel(variable.value)
    return vector


def statistics_of(
    segment: Segment, training: bool = True
) -> list[tuple[Any, np.ndarray]]:
    """The variables that a call updates, with their new values: persistent states and,
    in training, moving averages."""
    after = statistics_after(segment.plan, segment.caches, segment.state, training)
    found = {slot.offset: value for slot, value in after}
    pairs = zip(segment.plan.buffers, segment.buffers, strict=True)
    return [(v, found[spec.offset]) for spec, v in pairs if spec.offset in found]
