"""Ops that join several values."""

from __future__ import annotations

import numpy as np

from kurve.engines.base import State
from kurve.engines.reference.common import Arrays, Cache, Gradients, number
from kurve.plan import Op


def concatenate_forward(
    op: Op, xs: Arrays, state: State, training: bool
) -> tuple[np.ndarray, Cache]:
    """y = the inputs side by side along an axis of a sample."""
    return np.concatenate(xs, axis=1 + number(op, "axis")), [x.shape for x in xs]


def concatenate_backward(
    op: Op, dy: np.ndarray, cache: Cache, state: State
) -> tuple[Arrays, Gradients]:
    """Each input gets its part of dy."""
    axis = 1 + number(op, "axis")
    ends = np.cumsum([shape[axis] for shape in cache])
    return np.split(dy, ends[:-1], axis=axis), {}
