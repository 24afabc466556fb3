"""Shared helpers for ops: variables in flat vectors, planes, and types."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kurve.core import rng
from kurve.engines.base import State
from kurve.plan import Op, Shape

Cache = Any  # what an op's forward pass saves for its backward pass
Gradients = dict[str, np.ndarray]
Arrays = Sequence[np.ndarray]

Forward = Callable[[Op, np.ndarray, State, bool], tuple[np.ndarray, Cache]]
Backward = Callable[[Op, np.ndarray, Cache, State], tuple[np.ndarray, Gradients]]
# For ops with several inputs: lists of arrays, and a gradient for each.
ForwardMany = Callable[[Op, Arrays, State, bool], tuple[np.ndarray, Cache]]
BackwardMany = Callable[[Op, np.ndarray, Cache, State], tuple[Arrays, Gradients]]
Statistics = Callable[[Op, Cache, State], dict[str, np.ndarray]]


def view(vector: np.ndarray, slot: Any) -> np.ndarray:
    """A view of one variable in its flat vector."""
    return vector[slot.offset : slot.end].reshape(slot.shape)


def stream_of(op: Op, state: State) -> tuple[int, int, int]:
    """Key, purpose and stream of the op's random numbers in this step, for
    `kurve.core.rng`; the key is the op's own seed or the model's."""
    key = int(op.attrs.get("seed", state.seed))
    return key, rng.DROPOUT + int(op.attrs["stream"]), state.step


def total(x: np.ndarray, axis: int) -> np.ndarray:
    """The sum along an axis, accumulated in float64: NumPy adds rows sequentially,
    and the float32 error of such a sum grows with its length."""
    return np.asarray(x.sum(axis=axis, dtype=np.float64).astype(x.dtype))


def plane(x: np.ndarray, shape: Shape) -> np.ndarray:
    """A batch of samples (H, W, C) or (L, C) as (B, H, W, C); H = 1 for the latter."""
    return x.reshape(len(x), *plane_shape(shape))


def plane_shape(shape: Shape) -> Shape:
    """(H, W, C) of a sample (H, W, C) or (L, C)."""
    return (*((1,) * (3 - len(shape))), *shape)


def number(op: Op, name: str) -> int:
    return int(op.attrs[name])


def pads(op: Op) -> tuple[tuple[int, int], ...]:
    """Zeros before and after each axis of a batch of planes, for `numpy.pad`."""
    top, bottom, left, right = (
        number(op, f"pad_{side}") for side in ("top", "bottom", "left", "right")
    )
    return (0, 0), (top, bottom), (left, right), (0, 0)
