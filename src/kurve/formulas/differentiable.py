"""Functions of arrays, composed of functions with derivatives: used for values that a
tape watches, where NumPy's own would be constants."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kurve.formulas import functions as ops
from kurve.formulas.arrays import take_along_axis


def _sort(x: Any, axis: int = -1) -> Any:
    return take_along_axis(x, np.argsort(np.asarray(x), axis), axis)


def _median(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    if axis is None or isinstance(axis, (tuple, list)):
        axes = range(np.ndim(x)) if axis is None else [a % np.ndim(x) for a in axis]
        others = [a for a in range(np.ndim(x)) if a not in axes]
        shape = [1 if a in axes else np.shape(x)[a] for a in range(np.ndim(x))]
        flat = ops.transpose(x, (*others, *axes))
        y = _median(ops.reshape(flat, (*(np.shape(x)[a] for a in others), -1)), -1)
        return ops.reshape(y, shape) if keepdims else y
    size = np.shape(x)[axis]
    order = np.argsort(np.asarray(x), axis)
    middle = np.take(order, sorted({(size - 1) // 2, size // 2}), axis)
    return ops.mean(take_along_axis(x, middle, axis), axis, keepdims=keepdims)


def _vstack(xs: Sequence[Any]) -> Any:
    flat = [x if np.ndim(x) > 1 else ops.reshape(x, (1, -1)) for x in xs]
    return ops.concatenate(flat, 0)


def _nansum(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    given = ops.where(np.isnan(np.asarray(x)), 0.0, x)
    return ops.sum(given, axis, keepdims=keepdims)


def _nanmean(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    place = None if axis is None else axis if isinstance(axis, int) else tuple(axis)
    counts = np.sum(~np.isnan(np.asarray(x)), axis=place, keepdims=keepdims)
    return _nansum(x, axis, keepdims) / counts


DIFFERENTIABLE: Mapping[str, Callable[..., Any]] = {
    "sort": _sort,
    "median": _median,
    "vstack": _vstack,
    "fliplr": lambda x: ops.flip(x, 1),
    "flipud": lambda x: ops.flip(x, 0),
    "nansum": _nansum,
    "nanmean": _nanmean,
}
