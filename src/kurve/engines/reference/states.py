"""States carried over from one batch to the next."""

from __future__ import annotations

import numpy as np

from kurve.engines.base import State
from kurve.engines.reference.common import Arrays, Cache, Gradients, view
from kurve.plan import Op


def read_forward(
    op: Op, x: np.ndarray, state: State, training: bool
) -> tuple[np.ndarray, Cache]:
    """Row b of the states for sample b of the batch; the values of x are unused."""
    rows = view(state.buffers, op.buffers["state"])[: len(x)]
    return rows.astype(x.dtype).reshape(len(x), *op.out_shape), x.shape


def read_backward(
    op: Op, dy: np.ndarray, cache: Cache, state: State
) -> tuple[np.ndarray, Gradients]:
    """dx = 0: no gradient flows to the previous batch."""
    return np.zeros(cache, dy.dtype), {}


def keep_forward(
    op: Op, xs: Arrays, state: State, training: bool
) -> tuple[np.ndarray, Cache]:
    """Returns the first input. The others are the new states, see `kept`."""
    return xs[0].copy(), xs


def keep_backward(
    op: Op, dy: np.ndarray, cache: Cache, state: State
) -> tuple[Arrays, Gradients]:
    """dy for the first input, 0 for the others."""
    return [dy, *(np.zeros_like(x) for x in cache[1:])], {}


def kept(op: Op, cache: Cache, state: State) -> dict[str, np.ndarray]:
    """The new states, by role."""
    return {f"state_{k}": value for k, value in enumerate(cache[1:])}
