"""Variables read directly: embedding tables and whole variables."""

from __future__ import annotations

import numpy as np

from kurve.engines.base import State
from kurve.engines.reference.common import Cache, Gradients, total, view
from kurve.plan import Op


def embedding_forward(
    op: Op, x: np.ndarray, state: State, training: bool
) -> tuple[np.ndarray, Cache]:
    """y = embeddings[x] for x truncated to integers; embeddings (N, D), y
    (*x.shape, D). NaN for an invalid index: x < 0, x >= N or NaN."""
    table = view(state.params, op.params["embeddings"])
    known = (x >= 0) & (x < len(table))
    rows = np.where(known, x, 0).astype(np.int64)
    nan = table.dtype.type(np.nan)
    return np.where(known[..., None], table[rows], nan), (known, rows)


def embedding_backward(
    op: Op, dy: np.ndarray, cache: Cache, state: State
) -> tuple[np.ndarray, Gradients]:
    """d embeddings[r] = sum of dy where x = r, in order of position; dx = 0."""
    known, rows = cache
    table = np.zeros(op.params["embeddings"].shape)
    np.add.at(table, rows[known], dy[known])
    return np.zeros(known.shape, dy.dtype), {"embeddings": table.astype(dy.dtype)}


def variable_forward(
    op: Op, x: np.ndarray, state: State, training: bool
) -> tuple[np.ndarray, Cache]:
    """y_b = the variable, a parameter or a buffer, for each sample b of x."""
    ((vector, slot),) = [
        *((state.params, slot) for slot in op.params.values()),
        *((state.buffers, slot) for slot in op.buffers.values()),
    ]
    return np.repeat(view(vector, slot)[None], len(x), axis=0), x.shape


def variable_backward(
    op: Op, dy: np.ndarray, cache: Cache, state: State
) -> tuple[np.ndarray, Gradients]:
    """The variable's gradient is the sum of dy over the samples; dx = 0."""
    return np.zeros(cache, dy.dtype), {role: total(dy, axis=0) for role in op.params}
