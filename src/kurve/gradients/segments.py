"""Segments of a computation: operations run by the reference engine, and the backward
pass through them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from kurve.engines import Program, State
from kurve.engines.reference import backward, forward
from kurve.engines.reference.layers import statistics_after
from kurve.formulas.graph import Graph
from kurve.plan import Plan, VariableSpec, aligned


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
    compiled: the program of the engine that ran it; None for the reference engine
    """

    compiled: Program | None = None

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

    def seeds(self, gradients: Mapping[int, Any]) -> dict[int, np.ndarray]:
        """The gradients of its outputs, by index in the plan."""
        found: dict[int, np.ndarray] = {}
        for number, key, single in self.outputs:
            if key in gradients:
                dy = self.seed(number, single, gradients[key])
                found[number] = found[number] + dy if number in found else dy
        return found

    def backward(
        self, gradients: dict[int, Any], wanted: Collection[Any] = ()
    ) -> tuple[list[tuple[int, np.ndarray]], list[tuple[Any, np.ndarray]]]:
        """From the gradients of its outputs, by key, to those of its arrays and
        variables.

        Args:
            gradients: outputs that other outputs are computed from get the whole
                gradient, if they are wanted.
            wanted: keys of sources.
        """
        seeds = self.seeds(gradients)
        inside = self.inside(wanted)
        kept = [number for number, _, _ in inside]
        gradient, left = backward(self.plan, self.state, seeds, self.caches, kept)
        for number, key, single in inside:
            if number in left:
                dy = left[number]
                whole = dy[0] if self.whole else dy.sum(axis=0) if single else dy
                gradients[key] = whole
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
