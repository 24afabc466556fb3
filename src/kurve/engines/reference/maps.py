"""Elementwise formulas as tapes, and their gradients through broadcasting."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from kurve.engines.base import State
from kurve.engines.reference.common import Arrays, Cache, Gradients, total, view
from kurve.ops.elementwise import RULES
from kurve.ops.tape import Tape, constants_of, gradient, run
from kurve.plan import Op


def _inputs(op: Op, xs: Arrays, state: State) -> list[np.ndarray]:
    """The tape's inputs: the op's inputs, variables and constants."""
    batched = [_aligned(x, op) for x in xs]
    variables = [view(state.params, slot) for slot in op.params.values()]
    constants = [view(state.buffers, slot) for slot in op.buffers.values()]
    return [*batched, *variables, *constants]


def _aligned(x: np.ndarray, op: Op) -> np.ndarray:
    """x with axes of size 1 inserted after the batch axis to match the output's
    rank."""
    missing = len(op.out_shape) + 1 - x.ndim
    return x.reshape(len(x), *(1,) * missing, *x.shape[1:])


def map_forward(
    op: Op, xs: Arrays, state: State, training: bool
) -> tuple[np.ndarray, Cache]:
    """y = f(x, variables) element by element; shapes broadcast as in NumPy."""
    assert op.tape is not None
    (y,) = run(op.tape, RULES, _inputs(op, xs, state))
    shape = (len(xs[0]), *op.out_shape)
    y = y if np.shape(y) == shape else np.broadcast_to(y, shape)
    return y.astype(xs[0].dtype), xs


def map_backward(
    op: Op, dy: np.ndarray, cache: Cache, state: State
) -> tuple[Arrays, Gradients]:
    """dx = dy df/dx, summed over broadcast axes."""
    assert op.tape is not None
    inputs = _inputs(op, cache, state)
    tape = _gradient(op.tape, len(op.buffers), state.params.dtype)
    found = run(tape, RULES, [*inputs, dy])
    # A constant's input only provides the number of samples and can have any shape.
    parts = [
        unbroadcast(
            g if np.shape(g) == dy.shape else np.broadcast_to(g, dy.shape), a.shape
        )
        if a.ndim <= dy.ndim
        else np.zeros_like(a)
        for g, a in zip(found, inputs, strict=False)
    ]
    count = len(cache)
    dxs = [part.reshape(x.shape) for part, x in zip(parts, cache, strict=False)]
    return dxs, dict(zip(op.params, parts[count:], strict=True))


@functools.lru_cache(maxsize=1024)
def _gradient(tape: Tape, constants: int, dtype: Any) -> Tape:
    """The gradient of a tape by its inputs but for the last ones."""
    with constants_of(dtype):
        return gradient(tape, RULES, range(tape.inputs - constants))


def unbroadcast(gradient: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Sum a gradient over broadcast axes, back to `shape`."""
    for _ in range(gradient.ndim - len(shape)):
        gradient = total(gradient, axis=0)
    for axis, size in enumerate(shape):
        if size == 1 and gradient.shape[axis] != 1:
            gradient = np.expand_dims(total(gradient, axis=axis), axis)
    return np.array(gradient)
