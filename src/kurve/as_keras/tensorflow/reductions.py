"""Sums, means and extremes over axes: `tf.reduce_mean`, `tf.argmax`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from kurve.as_keras.tensorflow.values import (
    concrete,
    eager,
    is_symbolic_tensor,
    kind,
    tensor,
)
from kurve.formulas import functions as ops
from kurve.formulas.graph import is_variable

_REDUCTIONS = {
    "reduce_all": "all",
    "reduce_any": "any",
    "reduce_logsumexp": "logsumexp",
    "reduce_max": "max",
    "reduce_mean": "mean",
    "reduce_min": "min",
    "reduce_prod": "prod",
    "reduce_std": "std",
    "reduce_sum": "sum",
    "reduce_variance": "var",
}

__all__ = [
    *_REDUCTIONS,
    "argmax",
    "argmin",
    "arg_max",
    "bincount",
    "clip_by_global_norm",
    "clip_by_norm",
    "confusion_matrix",
    "count_nonzero",
    "global_norm",
    "cumprod",
    "cumsum",
    "in_top_k",
    "l2_normalize",
    "log_softmax",
    "softmax",
    "top_k",
    "zero_fraction",
]


def value(x: Any) -> Any:
    """x as accepted by functions of `kurve.ops`."""
    return x if is_symbolic_tensor(x) or is_variable(x) else tensor(x)


def _reduction(name: str, own: str) -> Callable[..., Any]:
    def call(
        input_tensor: Any,
        axis: Any = None,
        keepdims: Any = None,
        name: Any = None,
        keep_dims: Any = None,
        reduction_indices: Any = None,
    ) -> Any:
        x = value(input_tensor)
        axis = reduction_indices if axis is None else axis
        if isinstance(axis, np.ndarray):
            axis = axis.tolist()
        found = getattr(ops, own)(x, axis, bool(keepdims or keep_dims))
        if isinstance(x, np.ndarray) and x.dtype.kind in "iu":
            found = np.asarray(found).astype(x.dtype)  # so is the mean of integers
        return found

    call.__name__ = call.__qualname__ = name
    call.__doc__ = getattr(ops, own).__doc__
    return eager(call)


for _name, _own in _REDUCTIONS.items():
    setattr(sys.modules[__name__], _name, _reduction(_name, _own))


@eager
def argmax(
    input: Any,
    axis: Any = None,
    output_type: Any = "int64",
    name: Any = None,
    dimension: Any = None,
) -> Any:
    """The index of the first maximum along an axis, the first axis by default."""
    axis = dimension if axis is None else axis
    found = ops.argmax(value(input), 0 if axis is None else axis)
    return ops.cast(found, kind(output_type))


arg_max = argmax


@eager
def argmin(
    input: Any, axis: Any = None, output_type: Any = "int64", name: Any = None
) -> Any:
    """The index of the first minimum along an axis, the first axis by default."""
    found = ops.argmin(value(input), 0 if axis is None else axis)
    return ops.cast(found, kind(output_type))


@eager
def count_nonzero(
    input: Any, axis: Any = None, keepdims: Any = None, dtype: Any = "int64"
) -> Any:
    """The number of nonzero elements."""
    other = ops.cast(ops.not_equal(value(input), 0), "float32")
    return ops.cast(ops.sum(other, axis, bool(keepdims)), kind(dtype))


@eager
def cumsum(
    x: Any,
    axis: Any = 0,
    exclusive: Any = False,
    reverse: Any = False,
    name: Any = None,
) -> Any:
    """Cumulative sums along an axis; without the current element if `exclusive`, from
    the end if `reverse`."""
    x = value(x)
    if reverse:
        x = ops.flip(x, axis)
    total = ops.cumsum(x, axis)
    if isinstance(x, np.ndarray) and x.dtype.kind in "iu":
        total = total.astype(x.dtype)  # NumPy's is int64
    if exclusive:
        total = ops.subtract(total, x)
    return ops.flip(total, axis) if reverse else total


@eager
def cumprod(
    x: Any,
    axis: Any = 0,
    exclusive: Any = False,
    reverse: Any = False,
    name: Any = None,
) -> Any:
    """The products of the first 1, 2, 3, ... elements of an axis: `exclusive` of the
    first 0, 1, 2, ..., `reverse` of the last ones."""
    y = value(x)
    y = ops.flip(y, axis) if reverse else y
    y = ops.cumprod(y, axis)
    if exclusive:
        rest: list[Any] = [slice(None)] * len(y.shape)
        rest[axis] = slice(0, 1)
        one = ops.ones_like(ops.get_item(y, tuple(rest)))
        rest[axis] = slice(0, -1)
        y = ops.concatenate([one, ops.get_item(y, tuple(rest))], axis)
    return ops.flip(y, axis) if reverse else y


@eager
def softmax(logits: Any, axis: Any = -1, name: Any = None) -> Any:
    """exp(x) divided by its sum along an axis."""
    return ops.softmax(value(logits), -1 if axis is None else axis)


@eager
def log_softmax(logits: Any, axis: Any = -1, name: Any = None) -> Any:
    """log(softmax(x))."""
    return ops.log_softmax(value(logits), -1 if axis is None else axis)


@eager
def l2_normalize(
    x: Any, axis: Any = None, epsilon: float = 1e-12, name: Any = None, dim: Any = None
) -> Any:
    """x / sqrt(max(sum(x²), epsilon)) along an axis, or over all elements by
    default."""
    x = value(x)
    squares = ops.sum(ops.square(x), dim if axis is None else axis, True)
    return ops.multiply(x, ops.rsqrt(ops.maximum(squares, epsilon)))


@eager
def clip_by_norm(t: Any, clip_norm: Any, axes: Any = None, name: Any = None) -> Any:
    """t scaled down if its norm exceeds clip_norm."""
    x = value(t)
    size = ops.sqrt(ops.sum(ops.square(x), axes, True))
    return ops.multiply(x, ops.divide(clip_norm, ops.maximum(size, clip_norm)))


@eager
def global_norm(t_list: Any, name: Any = None) -> Any:
    """The global norm of several tensors; None counts as 0."""
    squares = [ops.sum(ops.square(value(t))) for t in t_list if t is not None]
    return ops.sqrt(sum(squares[1:], squares[0]))


def clip_by_global_norm(
    t_list: Any, clip_norm: Any, use_norm: Any = None, name: Any = None
) -> Any:
    """Tensors scaled down together if their global norm exceeds clip_norm, and that
    norm."""
    size = global_norm(t_list) if use_norm is None else value(use_norm)
    factor = ops.divide(clip_norm, ops.maximum(size, clip_norm))
    return [None if t is None else ops.multiply(value(t), factor) for t in t_list], size


@eager
def top_k(input: Any, k: int = 1, sorted: Any = True, name: Any = None) -> Any:
    """The k largest elements along the last axis, and their indices."""
    x = concrete("math.top_k", input)
    at = np.argsort(-x, -1, kind="stable")[..., :k]
    return TopK(np.take_along_axis(x, at, -1), at.astype(np.int32))


class TopK(tuple[Any, Any]):
    """The result of `top_k`."""

    __slots__ = ()
    _fields = ("values", "indices")

    def __new__(cls, values: Any, indices: Any) -> TopK:
        return super().__new__(cls, (values, indices))

    values = property(lambda self: self[0])
    indices = property(lambda self: self[1])


@eager
def in_top_k(targets: Any, predictions: Any, k: int, name: Any = None) -> Any:
    """Whether each target is among the k classes with the highest scores."""
    classes, scores = concrete("math.in_top_k", targets, predictions)
    own = np.take_along_axis(scores, classes.astype(np.int64)[:, None], 1)
    return (scores > own).sum(1) < k


@eager
def confusion_matrix(
    labels: Any,
    predictions: Any,
    num_classes: Any = None,
    weights: Any = None,
    dtype: Any = "int32",
    name: Any = None,
) -> Any:
    """Counts of true classes (rows) against predicted classes (columns)."""
    given = concrete("math.confusion_matrix", labels, predictions)
    true, found = (np.ravel(x).astype(np.int64) for x in given)
    size = int(num_classes or max(true.max(initial=-1), found.max(initial=-1)) + 1)
    matrix = np.zeros((size, size), kind(dtype))
    times = 1 if weights is None else np.ravel(weights)
    np.add.at(matrix, (true, found), times)
    return matrix


@eager
def bincount(arr: Any, weights: Any = None, minlength: Any = None) -> Any:
    """The number of occurrences of each integer."""
    numbers = concrete("math.bincount", arr).ravel()
    if weights is None:
        return np.bincount(numbers, minlength=int(minlength or 0)).astype(np.int32)
    given = np.ravel(weights)
    return np.bincount(numbers, given, int(minlength or 0)).astype(given.dtype)


@eager
def zero_fraction(value: Any, name: Any = None) -> Any:
    """The fraction of elements equal to 0."""
    return np.float32(np.mean(concrete("math.zero_fraction", value) == 0))
