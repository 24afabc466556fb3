"""Functions of arrays, composed of functions with derivatives: used for values that a
tape watches, where NumPy's own would be constants."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kurve.formulas import algebra
from kurve.formulas import functions as ops
from kurve.formulas.arrays import diagonal, take_along_axis


def _sort(x: Any, axis: int = -1) -> Any:
    return take_along_axis(x, np.argsort(np.asarray(x), axis), axis)


def _median(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return _quantile(x, 0.5, axis, keepdims=keepdims)


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


def _quantile(
    x: Any, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False
) -> Any:
    """Interpolated between neighbours in the order of the values."""
    axes = range(np.ndim(x)) if axis is None else np.atleast_1d(axis) % np.ndim(x)
    others = [a for a in range(np.ndim(x)) if a not in axes]
    flat = ops.transpose(x, (*others, *axes))
    flat = ops.reshape(flat, (*(np.shape(x)[a] for a in others), -1))
    ordered = _sort(flat, -1)

    def at(part: float) -> Any:
        place = part * (np.shape(flat)[-1] - 1)
        low, high = math.floor(place), math.ceil(place)
        between = {
            "linear": place - low,
            "lower": 0.0,
            "higher": 1.0,
            "midpoint": 0.5,
            "nearest": round(place) - low,
        }[method]
        # Infinite values have no part in what they are not between.
        y = ordered[..., low if between < 1.0 else high]
        if 0.0 < between < 1.0:
            y = y * (1.0 - between) + ordered[..., high] * between
        shape = [1 if a in axes else np.shape(x)[a] for a in range(np.ndim(x))]
        return ops.reshape(y, shape) if keepdims else y

    parts = np.asarray(q)
    return ops.stack([at(p) for p in parts], 0) if parts.ndim else at(float(parts))


def _percentile(x: Any, q: Any, *args: Any, **kwargs: Any) -> Any:
    return _quantile(x, np.asarray(q) / 100.0, *args, **kwargs)


def _fmax(x1: Any, x2: Any) -> Any:
    first, second = np.asarray(x1), np.asarray(x2)
    return ops.where((first >= second) | np.isnan(second), x1, x2)


def _fmin(x1: Any, x2: Any) -> Any:
    first, second = np.asarray(x1), np.asarray(x2)
    return ops.where((first <= second) | np.isnan(second), x1, x2)


def _fmod(x1: Any, x2: Any) -> Any:
    return x1 - np.trunc(np.asarray(x1) / np.asarray(x2)) * x2


def _nanmax(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    given = ops.where(np.isnan(np.asarray(x)), -math.inf, x)
    return ops.max(given, axis, keepdims=keepdims)


def _nanmin(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    given = ops.where(np.isnan(np.asarray(x)), math.inf, x)
    return ops.min(given, axis, keepdims=keepdims)


def _diag(x: Any, k: int = 0) -> Any:
    if np.ndim(x) == 2:
        return diagonal(x, k)
    size = np.shape(x)[0] + abs(k)
    padded = ops.pad(x, [(0, abs(k))])
    return ops.expand_dims(padded, 1 if k >= 0 else 0) * np.eye(size, k=k)


def _kron(x1: Any, x2: Any) -> Any:
    rank = max(np.ndim(x1), np.ndim(x2))
    first = (1,) * (rank - np.ndim(x1)) + np.shape(x1)
    second = (1,) * (rank - np.ndim(x2)) + np.shape(x2)
    y = ops.reshape(x1, [n for s in first for n in (s, 1)])
    y = y * ops.reshape(x2, [n for s in second for n in (1, s)])
    return ops.reshape(y, [a * b for a, b in zip(first, second, strict=True)])


def _trapezoid(y: Any, x: Any = None, dx: float = 1.0, axis: int = -1) -> Any:
    values = ops.moveaxis(y, axis, -1)
    steps: Any = dx
    if x is not None:
        places = ops.moveaxis(x, axis, -1) if np.ndim(x) > 1 else x
        steps = places[..., 1:] - places[..., :-1]
    return ops.sum(steps * (values[..., 1:] + values[..., :-1]), -1) / 2.0


def _rot90(array: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Any:
    for _ in range(k % 4):
        array = ops.flip(ops.swapaxes(array, *axes), axes[0])
    return array


DIFFERENTIABLE: Mapping[str, Callable[..., Any]] = {
    "det": algebra.det,
    "inv": algebra.inv,
    "slogdet": algebra.slogdet,
    "logdet": algebra.logarithm_of_det,
    "solve": algebra.solve,
    "quantile": _quantile,
    "percentile": _percentile,
    "fmax": _fmax,
    "fmin": _fmin,
    "fmod": _fmod,
    "nanmax": _nanmax,
    "nanmin": _nanmin,
    "diag": _diag,
    "diagflat": lambda x, k=0: _diag(ops.reshape(x, (-1,)), k),
    "kron": _kron,
    "rot90": _rot90,
    "trapezoid": _trapezoid,
    "sort": _sort,
    "median": _median,
    "vstack": _vstack,
    "fliplr": lambda x: ops.flip(x, 1),
    "flipud": lambda x: ops.flip(x, 0),
    "nansum": _nansum,
    "nanmean": _nanmean,
}
