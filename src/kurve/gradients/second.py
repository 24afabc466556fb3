"""Gradients of gradients: the backward pass through a segment of a tape, itself
recorded as a segment."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from kurve.engines import Engine, State, aligned_zeros
from kurve.formulas.graph import Graph, Tensor
from kurve.formulas.recording import active, recording
from kurve.gradients.decomposed import computed
from kurve.gradients.formulas import back_through
from kurve.gradients.segments import Segment, plan_of
from kurve.gradients.values import TracedValues, plain, traced
from kurve.ops.tape import constants_of
from kurve.plan import Head, Op, Plan

Gradients = tuple[list[tuple[int, Any]], list[tuple[Any, Any]]]


def recorded_backward(
    segment: Any, gradients: dict[Any, Any], by_weights: bool, wanted: Collection[Any]
) -> Gradients:
    """`Segment.backward`, recorded on active tapes.

    Args:
        by_weights: whether gradients of variables are wanted.
        wanted: keys of the sources.
    """
    if getattr(segment, "records_itself", False):
        found: Gradients = segment.backward(gradients)
        return found
    if not isinstance(segment, Segment):
        return _of_picked(segment, gradients)
    if segment.inside(wanted):
        return _refused(segment, gradients, "output of a model by another one", wanted)
    seeds = [
        (number, single, gradients[key])
        for number, key, single in segment.outputs
        if key in gradients
    ]
    try:
        with recording(()):
            back, arrays, variables = _backward(segment, seeds, by_weights)
    except KeyError as error:
        return _refused(segment, gradients, str(error.args[0]))
    found_arrays = [(key, _followed(back, n, False)) for key, n in arrays]
    found_variables = [(v, _followed(back, n, True)) for v, n in variables]
    keys = [*segment.keys, *(getattr(dy, "key", None) for _, _, dy in seeds)]
    back.finish(keys)
    for tape in active.tapes:
        tape.add(back)
    return found_arrays, found_variables


def _followed(segment: Segment, number: int, single: bool) -> TracedValues:
    found = traced(np.array(segment.value(number, single)))
    assert found.key is not None
    segment.outputs.append((number, found.key, single))
    return found


class _Back(NamedTuple):
    """The operations that compute the gradients of a segment.

    params, buffers: the variables of the vectors; those of the piece come first
    arrays:    position of an array of the piece, and number of its gradient
    variables: a variable, and number of its gradient
    programs:  one of the arrays' gradients, once it was needed
    """

    plan: Plan
    params: list[Any]
    buffers: list[Any]
    arrays: list[tuple[int, int]]
    variables: list[tuple[Any, int]]
    programs: list[Any]


_made: WeakKeyDictionary[Any, dict[Any, _Back]] = WeakKeyDictionary()
"""Cached for model programs, which are called repeatedly."""


def _backward(
    segment: Segment, seeds: Sequence[tuple[int, bool, Any]], by_weights: bool
) -> tuple[Segment, list[tuple[int, int]], list[tuple[Any, int]]]:
    """The segment that computes the gradients, and the indices of the gradients of
    arrays and variables."""
    back = _back_of(segment, seeds, by_weights)
    new, given = _given(segment, back, seeds)
    if segment.whole:
        given = [array[0] for array in given]
    made = Segment(
        back.plan,
        back.params,
        back.buffers,
        new,
        given,
        segment.training,
        segment.whole,
    )
    first = segment.plan.given
    made.singles = {first + i: single for i, (_, single, _) in enumerate(seeds)}
    arrays: list[tuple[int, int]] = []
    for i, number in back.arrays:
        key = segment.keys[i]
        assert key is not None
        arrays.append((key, number))
    return made, arrays, back.variables


def _given(
    segment: Segment, back: _Back, seeds: Sequence[tuple[int, bool, Any]]
) -> tuple[State, list[np.ndarray]]:
    """The vectors and arrays that the operations of a backward pass read."""
    plan, state = segment.plan, segment.state
    params = _vector(back.plan.params_size, state.params.dtype)
    for spec, new_spec in zip(plan.params, back.plan.params, strict=True):
        params[new_spec.offset : new_spec.end] = state.params[spec.offset : spec.end]
    kept = [state.buffers[s.offset : s.end] for s in plan.buffers]
    kept += [np.ravel(v.value) for v in back.buffers[len(kept) :]]
    buffers = _vector(back.plan.buffers_size, state.params.dtype)
    for new_spec, array in zip(back.plan.buffers, kept, strict=True):
        buffers[new_spec.offset : new_spec.end] = array
    slots = np.zeros((0, len(params)))
    new = State(params, buffers, slots, np.zeros(0), state.step, state.seed)
    given = list(segment.arrays)
    given += [segment.seed(number, single, plain(dy)) for number, single, dy in seeds]
    return new, given


def _vector(size: int, dtype: Any) -> np.ndarray:
    return aligned_zeros((size,)) if dtype == np.float32 else np.zeros(size, dtype)


def gradients_of_inputs(
    segment: Segment, engine: Engine, gradients: Mapping[Any, Any]
) -> list[tuple[int, np.ndarray]]:
    """The gradients of a segment's arrays, by their keys, computed by an engine.

    Raises:
        KeyError: an operation has no rule.
        NotImplementedError: the engine lacks an operation of a rule.
    """
    seeds = [
        (number, single, gradients[key])
        for number, key, single in segment.outputs
        if key in gradients
    ]
    with recording(()):
        back = _back_of(segment, seeds, False)
    if not back.arrays:
        return []
    if not back.programs:
        plan = back.plan
        heads = [Head(n, plan.ops[n - plan.given].out_shape) for _, n in back.arrays]
        plan = replace(plan, heads=tuple(heads)).deterministic()
        back.programs.append(engine.compile(plan))
    state, given = _given(segment, back, seeds)
    x: Any = tuple(np.ascontiguousarray(array, np.float32) for array in given)
    found: Any = back.programs[0].predict(state, x if len(x) > 1 else x[0])
    found = found if len(back.arrays) > 1 else (found,)
    keys = [segment.keys[i] for i, _ in back.arrays]
    return [(k, dx) for k, dx in zip(keys, found, strict=True) if k is not None]


def _back_of(
    segment: Segment, seeds: Sequence[tuple[int, bool, Any]], by_weights: bool
) -> _Back:
    """The cached operations of a segment, or new ones."""
    if segment.compiled is None:
        with constants_of(segment.state.params.dtype):
            return _new_back(segment, seeds, by_weights)
    known = _made.setdefault(segment.compiled, {})
    key = (
        tuple((number, single) for number, single, _ in seeds),
        tuple(k is not None for k in segment.keys),
        by_weights,
        segment.training,
    )
    if key not in known:
        with constants_of(np.float32):
            known[key] = _new_back(segment, seeds, by_weights)
    return known[key]


def _new_back(
    segment: Segment, seeds: Sequence[tuple[int, bool, Any]], by_weights: bool
) -> _Back:
    plan = segment.plan
    shapes = [segment.shapes[number][1:] for number, _, _ in seeds]
    graph = Graph([*plan.inputs, *shapes])
    specs = {
        id(spec): graph.place(variable, spec.trainable)
        for group, variables in (
            (plan.params, segment.params),
            (plan.buffers, segment.buffers),
        )
        for spec, variable in zip(group, variables, strict=True)
    }
    ops = [_moved(op, plan, specs) for op in plan.ops]
    wanted = _wanted(segment, ops, by_weights)
    values: dict[int, Tensor] = dict(enumerate(graph.inputs[: plan.given]))
    for i, op in enumerate(ops):
        read = [values[v] for v in plan.reads(i)]
        values[plan.given + i] = computed(graph, op, read, segment.training)
    gradients: dict[int, Tensor] = {}
    for (number, _, _), dy in zip(seeds, graph.inputs[plan.given :], strict=True):
        gradients[number] = gradients[number] + dy if number in gradients else dy
    of_variables: dict[int, Tensor] = {}
    # Decomposed operations have a different order, so walk over all operations in
    # the graph, from the value of each output.
    _walk(graph, values, gradients, wanted, plan, of_variables)
    arrays = [
        (i, _as_op(graph, gradients[i]))
        for i, key in enumerate(segment.keys)
        if key is not None and i in gradients
    ]
    variables = [
        (variable, _as_op(graph, of_variables[id(specs[id(spec)])]))
        for variable, spec in zip(segment.params, plan.params, strict=True)
        if by_weights and spec.trainable and id(specs[id(spec)]) in of_variables
    ]
    return _Back(plan_of(graph), graph.params, graph.buffers, arrays, variables, [])


def _walk(
    graph: Graph,
    values: dict[int, Tensor],
    gradients: dict[int, Tensor],
    wanted: set[int],
    plan: Plan,
    of_variables: dict[int, Tensor],
) -> None:
    """Walk back over the operations of the graph. The keys of `gradients` are indices
    of plan values at first, and those of its inputs at the end."""
    found: dict[int, Tensor] = {}
    for number, dy in gradients.items():
        place = values[number].index
        found[place] = found[place] + dy if place in found else dy
    gradients.clear()
    found = back_through(graph, found, wanted, of_variables)
    gradients.update({v: dy for v, dy in found.items() if v < plan.given})


def _wanted(segment: Segment, ops: Sequence[Op], by_weights: bool) -> set[int]:
    """Indices of inputs and ids of variables whose gradients are wanted. Ids are large,
    indices small."""
    wanted = {i for i, key in enumerate(segment.keys) if key is not None}
    if by_weights:
        wanted.update(
            id(spec) for op in ops for spec in op.params.values() if spec.trainable
        )
    return wanted


def _moved(op: Op, plan: Plan, specs: Mapping[int, Any]) -> Op:
    """The operation with its variables at their new places."""
    return op.with_variables(
        lambda s: specs[id(plan.params[plan.params.index(s)])],
        lambda s: specs[id(plan.buffers[plan.buffers.index(s)])],
    )


def _as_op(graph: Graph, tensor: Tensor) -> int:
    """The index of a value, computed by an operation."""
    if tensor.index < graph.given:
        tensor = graph.op("reshape", [tensor], tensor.sample)
    return tensor.index


def _of_picked(piece: Any, gradients: Mapping[Any, Any]) -> Gradients:
    """The backward pass through elements selected by index arrays, or its reverse."""
    ((_, out, _),) = piece.outputs
    dy = gradients[out]
    arrays, _ = piece.backward({out: plain(dy)})
    found = []
    for key, dx in arrays:
        value = traced(np.asarray(dx))
        back = piece.reversed(getattr(dy, "key", None), value.key)
        for tape in active.tapes:
            tape.add(back)
        found.append((key, value))
    return found, []


def _refused(
    segment: Segment, gradients: dict[Any, Any], kind: str, wanted: Collection[Any] = ()
) -> Gradients:
    """First derivatives that refuse to be differentiated again."""
    plain_gradients = {key: plain(dy) for key, dy in gradients.items()}
    arrays, variables = segment.backward(plain_gradients, wanted)
    piece = _NoSecond(segment, gradients, kind)
    for _, key, _ in segment.inside(wanted):
        if key in plain_gradients:
            gradients[key] = traced(np.array(plain_gradients[key]))
            piece.outputs.append((0, gradients[key].key, False))
    found = []
    for group in (arrays, variables):
        one = []
        for key, array in group:
            value = traced(np.array(array))
            piece.outputs.append((0, value.key, False))
            one.append((key, value))
        found.append(one)
    for tape in active.tapes:
        tape.add(piece)
    return found[0], found[1]


class _NoSecond:
    """A segment of a tape without a derivative."""

    def __init__(
        self, segment: Segment, gradients: Mapping[Any, Any], kind: str
    ) -> None:
        self.plan, self.params, self.kind = segment.plan, segment.params, kind
        dys = [gradients[key] for _, key, _ in segment.outputs if key in gradients]
        self.keys = [*segment.keys, *(getattr(dy, "key", None) for dy in dys)]
        self.outputs: list[tuple[int, Any, bool]] = []

    def backward(self, gradients: Mapping[Any, Any], wanted: Any = ()) -> Any:
        raise NotImplementedError(
            "[GradientTape.gradient] there is no second derivative of the operation "
            f"{self.kind!r} here. Received: a gradient of a gradient through it. Try "
            "Dense, strided Conv2D and LeakyReLU in the part to differentiate "
            "twice."
        )
