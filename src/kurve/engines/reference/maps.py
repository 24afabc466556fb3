"""Elementwise formulas as tapes, and how their gradients go back through broadcasting."""

from __future__ import annotations

import numpy as np

from kurve.engines.base import State
from kurve.engines.reference.common import Cache, Gradients, total, view
from kurve.ops.elementwise import RULES
from kurve.ops.tape import gradient, run
from kurve.plan import Op


def _inputs(op: Op, x: np.ndarray, state: State) -> list[np.ndarray]:
    """x, then the variables, in the order of the tape's inputs."""
    return [x, *(view(state.params, slot) for slot in op.params.values())]


def map_forward(
    op: Op, x: np.ndarray, state: State, training: bool
) -> tuple[np.ndarray, Cache]:
    """y = f(x, variables) element by element; shapes broadcast as NumPy's do."""
    assert op.tape is not None
    (y,) = run(op.tape, RULES, _inputs(op, x, state))
    return np.broadcast_to(y, (len(x), *op.out_shape)).astype(x.dtype), x


def map_backward(
    op: Op, dy: np.ndarray, cache: Cache, state: State
) -> tuple[np.ndarray, Gradients]:
    """dx = dy df/dx, summed over the elements that each number was repeated for."""
    assert op.tape is not None
    inputs = _inputs(op, cache, state)
    backward = gradient(op.tape, RULES, range(len(inputs)))
    found = run(backward, RULES, [*inputs, dy])
    dx, *parts = (
        unbroadcast(np.broadcast_to(g, dy.shape), a.shape)
        for g, a in zip(found, inputs, strict=True)
    )
    return dx, dict(zip(op.params, parts, strict=True))


def unbroadcast(gradient: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The gradient of an array of this shape that was repeated to that of `gradient`."""
    for _ in range(gradient.ndim - len(shape)):
        gradient = total(gradient, axis=0)
    for axis, size in enumerate(shape):
        if size == 1 and gradient.shape[axis] != 1:
            gradient = np.expand_dims(total(gradient, axis=axis), axis)
    return np.array(gradient)
