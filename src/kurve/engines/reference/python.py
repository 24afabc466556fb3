"""Formulas that run uncompiled: the operation holds their Python code."""

from __future__ import annotations

import numpy as np

from kurve.engines.base import State
from kurve.engines.reference.common import Arrays, Cache, Gradients, view
from kurve.plan import Op


def python_forward(
    op: Op, xs: Arrays, state: State, training: bool
) -> tuple[np.ndarray, Cache]:
    """y of the whole batch, computed by the code."""
    values = {role: view(state.params, slot) for role, slot in op.params.items()}
    values |= {role: view(state.buffers, slot) for role, slot in op.buffers.items()}
    y, cache = op.attrs["code"].forward(xs, values, training)
    return y.astype(state.params.dtype), cache


def python_backward(
    op: Op, dy: np.ndarray, cache: Cache, state: State
) -> tuple[Arrays, Gradients]:
    """The gradients, from the tape that recorded the run."""
    dxs, slopes = op.attrs["code"].backward(dy, cache)
    return dxs, {role: dw for role, dw in slopes.items() if role in op.params}
