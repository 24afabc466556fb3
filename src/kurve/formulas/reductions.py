"""Functions of `kurve.ops` along axes: reductions, norms, softmax."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from kurve.core.dtypes import FLOAT32_MAX
from kurve.formulas.axes import axis_of, sample_axis
from kurve.formulas.calls import as_array, elementwise, function, graph_of
from kurve.formulas.elements import (
    absolute,
    add,
    cast,
    clip,
    divide,
    exp,
    log,
    maximum,
    minimum,
    multiply,
    negative,
    not_equal,
    power,
    rsqrt,
    sqrt,
    square,
    stop_gradient,
    subtract,
)
from kurve.formulas.shapes import moveaxis, reshape, squeeze, transpose


def _axes(x: Any, axis: Any) -> list[int]:
    """The axes to reduce, counted from the start, in ascending order."""
    axes = range(x.ndim) if axis is None else [axis] if isinstance(axis, int) else axis
    return sorted({axis_of(a, x.ndim) for a in axes})


def _reduced(
    mode: str, x: Any, axis: Any, keepdims: bool, dtype: str = "float32"
) -> Any:
    """A reduction over some axes, or over all."""
    graph = graph_of(x)
    assert graph is not None
    x = graph.as_tensor(x)
    drop = _axes(x, axis)
    over_batch = bool(x.batched and drop and drop[0] == 0)
    if over_batch:
        drop = drop[1:]
    own = [a - x.batched for a in drop]
    stay = [a for a in range(len(x.sample)) if a not in own]
    kept = tuple(1 if a in own else s for a, s in enumerate(x.sample))
    result = x
    if own:
        if own != list(range(own[0], own[-1] + 1)):
            order = [a + x.batched for a in (*stay, *own)]
            x = transpose(x, ([0] if x.batched else []) + order)
            own = list(range(len(stay), len(x.sample)))
        first, count = own[0], len(own)
        out = x.sample[:first] + x.sample[first + count :]
        attrs: dict[str, Any] = {"mode": mode, "axis": first, "count": count}
        result = graph.op("reduce", [x], out, attrs=attrs, dtype=dtype)
    if over_batch and mode == "min":
        flipped = elementwise("neg", result)
        largest = graph.op(
            "batch_reduce",
            [flipped],
            result.sample,
            attrs={"mode": "max"},
            batched=False,
        )
        result = elementwise("neg", largest)
    elif over_batch:
        if mode not in ("mean", "sum", "max"):
            raise NotImplementedError(
                f"[{mode}] only sums, means, maxima and minima can reduce the "
                f"batch axis. Received: a tensor of shape {x.shape}. Try one of "
                "the other axes."
            )
        result = graph.op(
            "batch_reduce", [result], result.sample, attrs={"mode": mode}, batched=False
        )
    if keepdims:
        target = (1, *kept) if not result.batched and over_batch else kept
        result = reshape(result, (-1, *kept) if result.batched else target)
    return result


def _reduction(name: str, mode: str, doc: str) -> Callable[..., Any]:
    def call(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        if graph_of(x) is None:
            return getattr(np, name)(as_array(x), axis=_tuple(axis), keepdims=keepdims)
        return _reduced(mode, x, axis, keepdims)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = doc
    return function(call)


def _tuple(axis: Any) -> Any:
    return tuple(axis) if isinstance(axis, list) else axis


sum = _reduction("sum", "sum", "The sum over these axes, or over all.")
mean = _reduction("mean", "mean", "The mean over these axes, or over all.")
_max = _reduction("max", "max", "The maximum over these axes, or over all.")
_min = _reduction("min", "min", "The minimum over these axes, or over all.")
_prod = _reduction("prod", "prod", "The product over these axes, or over all.")


@function
def max(x: Any, axis: Any = None, keepdims: bool = False, initial: Any = None) -> Any:
    """The maximum over these axes, or over all; at least `initial`."""
    if initial is None:
        return _max(x, axis, keepdims)
    if graph_of(x) is None:  # there may be no elements
        y = as_array(x)
        return np.max(y, _tuple(axis), keepdims=keepdims, initial=initial)
    return maximum(_max(x, axis, keepdims), initial)


@function
def min(x: Any, axis: Any = None, keepdims: bool = False, initial: Any = None) -> Any:
    """The minimum over these axes, or over all; at most `initial`."""
    if initial is None:
        return _min(x, axis, keepdims)
    if graph_of(x) is None:
        y = as_array(x)
        return np.min(y, _tuple(axis), keepdims=keepdims, initial=initial)
    return minimum(_min(x, axis, keepdims), initial)


@function
def prod(x: Any, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Any:
    """The product over these axes, or over all."""
    return _prod(x if dtype is None else cast(x, dtype), axis, keepdims)


amax, amin = max, min


@function
def var(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The variance."""
    if graph_of(x) is None:
        return np.var(as_array(x), axis=_tuple(axis), keepdims=keepdims)
    return mean(square(subtract(x, mean(x, axis, True))), axis, keepdims)


@function
def std(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The standard deviation."""
    return sqrt(var(x, axis, keepdims))


@function
def any(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Whether any element is true."""
    if graph_of(x) is None:
        return np.any(as_array(x), axis=_tuple(axis), keepdims=keepdims)
    return cast(max(cast(cast(x, "bool"), "float32"), axis, keepdims), "bool")


@function
def all(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Whether all elements are true."""
    if graph_of(x) is None:
        return np.all(as_array(x), axis=_tuple(axis), keepdims=keepdims)
    return cast(min(cast(cast(x, "bool"), "float32"), axis, keepdims), "bool")


@function
def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """log(sum(exp(x)))."""
    graph = graph_of(x)
    if graph is not None:
        x = graph.as_tensor(x)
        axes = _axes(x, axis)
        if not (x.batched and axes and axes[0] == 0):
            return _reduced("logsumexp", x, axis, keepdims)
        # finite, so that inf - inf does not occur
        largest = clip(stop_gradient(max(x, axis, True)), -FLOAT32_MAX, FLOAT32_MAX)
        y = add(log(sum(exp(subtract(x, largest)), axis, True)), largest)
        return y if keepdims else squeeze(y, tuple(axes))
    x = np.asarray(as_array(x))
    most = np.max(x, axis=_tuple(axis), keepdims=True)
    most = np.where(np.isfinite(most), most, 0.0).astype(x.dtype)
    y = np.log(np.sum(np.exp(x - most), axis=_tuple(axis), keepdims=True)) + most
    return y if keepdims else np.squeeze(y, axis=_tuple(axis))


@function
def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """The index of the first maximum."""
    if graph_of(x) is None:
        return np.argmax(as_array(x), axis=axis, keepdims=keepdims).astype(np.int32)
    return _reduced("argmax", x, axis, keepdims, "int32")


@function
def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """The index of the first minimum."""
    return argmax(negative(x), axis, keepdims)


@function
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """A norm of vectors or matrices, as `numpy.linalg.norm`.

    Args:
        x: the vectors or matrices.
        ord: None for the Euclidean norm of all elements along the axes. For a vector
            p, that of |x|^p; inf, -inf and 0 for the largest |x|, the smallest, and the
            number of elements that are not 0. For a matrix "fro"; 1 and -1 for the
            largest and the smallest sum of |x| of a column, inf and -inf of a row; 2,
            -2 and "nuc" for the largest singular value, the smallest, and their sum,
            which models do not compute.
        axis: one axis for vectors, two for matrices; None for all of x.
        keepdims: whether reduced axes are kept with size 1.

    Raises:
        ValueError: an ord that there is not for a vector or a matrix.
        NotImplementedError: singular values in a model.
    """
    ord = None if isinstance(ord, str) and ord == "euclidean" else ord
    if graph_of(x) is None:
        return np.linalg.norm(as_array(x).astype(np.float32), ord, axis, keepdims)
    rank = len(x.shape)
    if axis is None and ord is None:
        return sqrt(sum(square(x), axis, keepdims))
    axes = tuple(range(rank)) if axis is None else axis
    axes = (axes,) if isinstance(axes, int) else tuple(axes)
    largest = {1: (0, max), -1: (0, min), math.inf: (1, max), -math.inf: (1, min)}
    if len(axes) == 2 and ord in largest:
        place, chosen = largest[ord]
        rows, columns = (a % rank for a in axes)
        added, other = (rows, columns) if place == 0 else (columns, rows)
        y = chosen(sum(absolute(x), added, True), other, True)
        return y if keepdims else squeeze(y, (rows, columns))
    if ord is None or (len(axes) == 2 and ord in ("fro", "euclidean")):
        return sqrt(sum(square(x), axes, keepdims))
    if len(axes) == 2 and ord in (2, -2, "nuc"):
        raise NotImplementedError(
            "[norm] a model cannot compute singular values. Received: "
            f"ord={ord!r} for matrices. Try ord='fro'."
        )
    if len(axes) != 1 or isinstance(ord, str):
        raise ValueError(
            "[norm] ord must be a number for vectors, and 'fro', 'nuc', 1, -1, 2, -2, "
            f"inf or -inf for matrices. Received: ord={ord!r} for {len(axes)} axes. "
            "Try ord=None."
        )
    (along,) = axes
    if ord in (math.inf, -math.inf):
        return (max if ord > 0 else min)(absolute(x), along, keepdims)
    if ord == 0:
        return sum(cast(not_equal(x, 0.0), "float32"), along, keepdims)
    if ord == 1:
        return sum(absolute(x), along, keepdims)
    if ord == 2:
        return sqrt(sum(square(x), along, keepdims))
    return power(sum(power(absolute(x), ord), along, keepdims), 1.0 / ord)


@function
def normalize(
    x: Any, axis: int | None = -1, order: Any = 2, epsilon: float | None = None
) -> Any:
    """Divide x by its norm along an axis, or by that of all of it (None); norms are at
    least epsilon (1e-12)."""
    least = 1e-12 if epsilon is None else epsilon
    if order == 2:
        squares = sum(square(x), axis, True)
        return multiply(x, rsqrt(maximum(squares, least**2)))
    return divide(x, maximum(norm(x, order, axis, True), least))


@function
def softmax(x: Any, axis: Any = -1) -> Any:
    """exp(x) / sum(exp(x)) along an axis, or over several."""
    graph = graph_of(x)
    if graph is None:
        x = np.asarray(as_array(x))
        e = np.exp(x - np.max(x, axis=axis, keepdims=True))
        return e / np.sum(e, axis=axis, keepdims=True)
    x = graph.as_tensor(x)
    axes = _axes(x, axis)
    if len(axes) > 1 or (x.batched and axes[0] == 0):
        return exp(log_softmax(x, axis))
    axis = axes[0]
    if sample_axis(x, axis) == len(x.sample) - 1:
        return graph.op("softmax", [x], x.sample)
    return moveaxis(softmax(moveaxis(x, axis, -1)), -1, axis)


@function
def log_softmax(x: Any, axis: Any = -1) -> Any:
    """x - log(sum(exp(x))) along an axis, or over several."""
    return subtract(x, logsumexp(x, axis, True))
