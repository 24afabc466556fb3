"""More functions of `kurve.ops`, with NumPy's names and semantics.

They are traceable and so work in layers and losses. Functions for arrays only
are in `kurve.formulas.only_arrays`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from kurve.core.dtypes import FLOAT32_MAX
from kurve.formulas import functions as ops
from kurve.formulas.axes import no_batch
from kurve.formulas.calls import as_array, function, graph_of
from kurve.formulas.graph import Tensor
from kurve.formulas.moved import Moved
from kurve.formulas.sizes import check_constant

# ---------------------------------------------------------------- element by element


@function
def fabs(x: Any) -> Any:
    """|x|."""
    return ops.absolute(x)


@function
def cbrt(x: Any) -> Any:
    """The cube root."""
    return ops.sign(x) * ops.power(ops.absolute(x), 1.0 / 3.0)


@function
def exp2(x: Any) -> Any:
    """2 to the power of x."""
    return ops.exp(x * math.log(2.0))


@function
def erfc(x: Any) -> Any:
    """1 - erf(x)."""
    return 1.0 - ops.erf(x)


@function
def deg2rad(x: Any) -> Any:
    """Convert degrees to radians."""
    return x * (math.pi / 180.0)


@function
def rad2deg(x: Any) -> Any:
    """Convert radians to degrees."""
    return x * (180.0 / math.pi)


@function
def hypot(x1: Any, x2: Any) -> Any:
    """sqrt(x1^2 + x2^2)."""
    return ops.sqrt(ops.square(x1) + ops.square(x2))


@function
def heaviside(x1: Any, x2: Any) -> Any:
    """0 below 0, x2 at 0, 1 above."""
    above = ops.cast(ops.greater(x1, 0.0), "float32")
    return ops.where(ops.equal(x1, 0.0), x2, above)


@function
def sinc(x: Any) -> Any:
    """sin(pi x) / (pi x), 1 at 0."""
    none = ops.equal(x, 0.0)
    angle = math.pi * ops.where(none, 1.0, x)
    return ops.where(none, 1.0, ops.sin(angle) / angle)


@function
def trunc(x: Any) -> Any:
    """x truncated towards zero."""
    return ops.sign(x) * ops.floor(ops.absolute(x))


@function
def divide_no_nan(x1: Any, x2: Any) -> Any:
    """x1 / x2, 0 where x2 is 0."""
    none = ops.equal(x2, 0.0)
    return ops.where(none, 0.0, x1 / ops.where(none, 1.0, x2))


@function
def nan_to_num(
    x: Any, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Any:
    """Replace NaN and infinities in x."""
    y = ops.where(ops.isnan(x), nan, x)
    y = ops.where(ops.equal(y, math.inf), FLOAT32_MAX if posinf is None else posinf, y)
    return ops.where(
        ops.equal(y, -math.inf), -FLOAT32_MAX if neginf is None else neginf, y
    )


@function
def logaddexp2(x1: Any, x2: Any) -> Any:
    """log2(2^x1 + 2^x2)."""
    two = math.log(2.0)
    return ops.logaddexp(x1 * two, x2 * two) / two


@function
def logical_xor(x1: Any, x2: Any) -> Any:
    """Whether exactly one of them is true."""
    return ops.not_equal(
        ops.cast(ops.cast(x1, "bool"), "float32"),
        ops.cast(ops.cast(x2, "bool"), "float32"),
    )


@function
def isposinf(x: Any) -> Any:
    """Whether x is positive infinity."""
    return ops.equal(x, math.inf)


@function
def isneginf(x: Any) -> Any:
    """Whether x is negative infinity."""
    return ops.equal(x, -math.inf)


@function
def isclose(
    x1: Any, x2: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Any:
    """Whether |x1 - x2| <= atol + rtol |x2|."""
    if graph_of(x1, x2) is None:
        return np.isclose(as_array(x1), as_array(x2), rtol, atol, equal_nan)
    return ops.less_equal(ops.absolute(x1 - x2), atol + rtol * ops.absolute(x2))


@function
def saturate_cast(x: Any, dtype: str) -> Any:
    """`cast` that clips values to the range of the dtype."""
    name = ops.dtype_name(dtype)
    if np.dtype(name).kind in "iu":
        limits = np.iinfo(name)
        x = ops.clip(x, float(limits.min), float(limits.max))
    return ops.cast(x, name)


# ---------------------------------------------------------------- over axes


@function
def average(x: Any, axis: Any = None, weights: Any = None) -> Any:
    """The weighted mean; weights need not sum to 1."""
    if weights is None:
        return ops.mean(x, axis)
    if isinstance(axis, int) and len(ops.shape(weights)) == 1:
        after = len(ops.shape(x)) - 1 - axis % len(ops.shape(x))
        weights = ops.reshape(weights, (-1, *(1,) * after))
    total = ops.sum(ops.ones_like(x) * weights, axis)
    return ops.sum(x * weights, axis) / total


@function
def count_nonzero(x: Any, axis: Any = None) -> Any:
    """The number of nonzero elements."""
    flags = ops.cast(ops.not_equal(x, 0.0), "float32")
    return ops.cast(ops.sum(flags, axis), "int32")


@function
def ptp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The maximum minus the minimum."""
    return ops.max(x, axis, keepdims) - ops.min(x, axis, keepdims)


@function
def vdot(x1: Any, x2: Any) -> Any:
    """The dot product of the flattened arrays."""
    return ops.sum(x1 * x2)


@function
def inner(x1: Any, x2: Any) -> Any:
    """The inner product over the last axes."""
    return ops.tensordot(x1, x2, [[-1], [-1]])


@function
def outer(x1: Any, x2: Any) -> Any:
    """The outer product of the flattened arrays."""
    if graph_of(x1, x2) is None:
        check_constant("outer", np.size(as_array(x1)), np.size(as_array(x2)))
        return np.outer(as_array(x1), as_array(x2))
    return ops.expand_dims(x1, -1) * ops.expand_dims(x2, -2)


@function
def cross(x1: Any, x2: Any) -> Any:
    """The cross product along the last axis, of size 3."""
    a = [ops.get_item(x1, (..., slice(i, i + 1))) for i in range(3)]
    b = [ops.get_item(x2, (..., slice(i, i + 1))) for i in range(3)]
    pairs = ((1, 2), (2, 0), (0, 1))
    return ops.concatenate([a[i] * b[j] - a[j] * b[i] for i, j in pairs], -1)


@function
def diff(a: Any, n: int = 1, axis: int = -1) -> Any:
    """The n-th difference of adjacent elements."""
    rank = len(ops.shape(a))
    for _ in range(n):
        front: list[Any] = [slice(None)] * rank
        back = list(front)
        front[axis], back[axis] = slice(1, None), slice(None, -1)
        a = ops.get_item(a, tuple(front)) - ops.get_item(a, tuple(back))
    return a


@function
def tril(x: Any, k: int = 0) -> Any:
    """x with 0 above the k-th diagonal of the last two axes."""
    rows, columns = ops.shape(x)[-2:]
    return ops.where(np.tri(rows, columns, k, dtype=bool), x, 0.0)


@function
def triu(x: Any, k: int = 0) -> Any:
    """x with 0 below the k-th diagonal of the last two axes."""
    rows, columns = ops.shape(x)[-2:]
    return ops.where(np.tri(rows, columns, k - 1, dtype=bool), 0.0, x)


@function
def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The elements of a diagonal, as the last axis."""
    if graph_of(x) is None:
        return np.diagonal(as_array(x), offset, axis1, axis2)
    rank = len(ops.shape(x))
    if sorted((axis1 % rank, axis2 % rank)) != [rank - 2, rank - 1]:
        x = ops.moveaxis(ops.moveaxis(x, axis1, -2), axis2, -1)
    elif axis1 % rank > axis2 % rank:
        x = ops.swapaxes(x, -1, -2)
    rows, columns = ops.shape(x)[-2:]
    first = max(-offset, 0)
    places = range(first, min(rows, columns - offset))
    parts = [ops.get_item(x, (..., slice(i, i + 1), i + offset)) for i in places]
    return ops.concatenate(parts, -1)


@function
def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The sum over a diagonal."""
    return ops.sum(diagonal(x, offset, axis1, axis2), -1)


@function
def ravel(x: Any) -> Any:
    """Flatten x to one axis."""
    return ops.reshape(x, (-1,))


@function
def roll(x: Any, shift: int, axis: int | None = None) -> Any:
    """Shift x along an axis, wrapping around at the ends."""
    if graph_of(x) is None:
        return np.roll(as_array(x), shift, axis)
    if axis is None:
        raise ValueError("[roll] axis is required. Try ops.roll(x, 1, axis=-1).")
    rank = len(ops.shape(x))
    cut = -shift % ops.shape(x)[axis]
    if not cut:
        return x
    front: list[Any] = [slice(None)] * rank
    back = list(front)
    front[axis], back[axis] = slice(cut, None), slice(None, cut)
    return ops.concatenate(
        [ops.get_item(x, tuple(front)), ops.get_item(x, tuple(back))], axis
    )


@function
def unstack(x: Any, num: int | None = None, axis: int = 0) -> Any:
    """Split x along an axis into a list of tensors without it."""
    count = ops.shape(x)[axis] if num is None else num
    if isinstance(x, Tensor) and (count is None or isinstance(x, Moved)):
        if count is None or axis != 0:
            raise no_batch("unstack", x)
        return [ops.get_item(x, k) for k in range(int(count))]
    parts = ops.split(x, int(count), axis)
    return [ops.squeeze(part, axis) for part in parts]


@function
def hstack(xs: Sequence[Any]) -> Any:
    """Concatenate along the second axis; vectors along the first."""
    return ops.concatenate(xs, 0 if len(ops.shape(xs[0])) == 1 else 1)


@function
def append(x1: Any, x2: Any, axis: int | None = None) -> Any:
    """Append x2 to x1."""
    if axis is None:
        return ops.concatenate([ravel(x1), ravel(x2)], 0)
    return ops.concatenate([x1, x2], axis)


def _slice(inputs: Any, start_indices: Sequence[int], shape: Sequence[int]) -> Any:
    """A window of the inputs; -1 or None extends it to the end of an axis."""
    return ops.get_item(inputs, _window(start_indices, shape))


_slice.__name__ = _slice.__qualname__ = "slice"
_slice = function(_slice)


def _window(starts: Sequence[int], shape: Sequence[int | None]) -> tuple[Any, ...]:
    return tuple(
        slice(int(a), None if n in (-1, None) else int(a) + int(n or 0))
        for a, n in zip(starts, shape, strict=True)
    )


@function
def take_along_axis(x: Any, indices: Any, axis: int | None = None) -> Any:
    """x[..., indices[..., i], ...] along an axis, for each position of the others.

    Formula: the sum of one_hot(indices) x, so that indices can be computed by the model
    """
    if graph_of(x, indices) is None:
        numbers = np.asarray(as_array(indices)).astype(np.int64)
        return np.take_along_axis(np.asarray(as_array(x)), numbers, axis)
    if axis is None:
        raise ValueError("[take_along_axis] axis is required. Try axis=-1 or axis=1.")
    rank = len(ops.shape(x))
    axis %= rank
    order = [i for i in range(rank) if i != axis] + [axis]
    chosen = ops.one_hot(
        ops.cast(ops.transpose(indices, order), "int32"), ops.shape(x)[axis]
    )
    values = ops.expand_dims(ops.transpose(x, order), -2)
    back = [order.index(i) for i in range(rank)]
    return ops.transpose(ops.sum(chosen * values, -1), back)


@function
def top_k(x: Any, k: int, sorted: bool = True) -> Any:
    """The k largest elements along the last axis, and their indices.

    Raises:
        ValueError: k is below 1, or larger than the axis.
    """
    size = ops.shape(x)[-1]
    if not 1 <= k <= size:
        raise ValueError(
            f"[top_k] k must be from 1 to {size}, the size of the last axis. "
            f"Received: k={k}. Try k=1."
        )
    if graph_of(x) is None:
        array = np.asarray(as_array(x))
        order = np.argsort(-array, axis=-1, kind="stable")[..., :k]
        return np.take_along_axis(array, order, -1), order.astype(np.int32)
    values, places, rest = [], [], x
    for _ in range(k):
        values.append(ops.max(rest, -1, keepdims=True))
        places.append(ops.argmax(rest, -1, keepdims=True))
        hit = ops.one_hot(ops.squeeze(places[-1], -1), size)
        rest = ops.where(ops.cast(hit, "bool"), -3e38, rest)
    return ops.concatenate(values, -1), ops.cast(ops.concatenate(places, -1), "int32")


@function
def in_top_k(targets: Any, predictions: Any, k: int) -> Any:
    """Whether the prediction of each target's class is among the k largest."""
    classes = ops.shape(predictions)[-1]
    hit = ops.one_hot(ops.cast(targets, "int32"), classes)
    own = ops.sum(hit * predictions, -1, keepdims=True)
    larger = ops.sum(ops.cast(ops.greater(predictions, own), "float32"), -1)
    return ops.less(larger, float(k))


@function
def multi_hot(
    inputs: Any,
    num_classes: int,
    axis: int = -1,
    dtype: str | None = None,
    sparse: bool = False,
) -> Any:
    """1 for class numbers that occur along the last axis, 0 elsewhere."""
    rows = ops.one_hot(inputs, num_classes, axis, None, sparse)
    return ops.cast(
        ops.max(rows, -2 if len(ops.shape(rows)) > 1 else 0), dtype or "float32"
    )


@function
def select(condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0) -> Any:
    """The first choice whose condition holds, else the default."""
    y = default
    for condition, choice in zip(condlist[::-1], choicelist[::-1], strict=True):
        y = ops.where(condition, choice, y)
    return y


@function
def slice_update(inputs: Any, start_indices: Sequence[int], updates: Any) -> Any:
    """The inputs with a window replaced by the updates."""
    shape = ops.shape(updates)
    if graph_of(inputs, updates) is None:
        y = np.array(as_array(inputs))
        y[_window(start_indices, shape)] = as_array(updates)
        return y
    whole = ops.shape(inputs)
    pads = [
        (int(a), 0 if w is None else int(w) - int(a) - int(n))
        for a, n, w in zip(start_indices, shape, whole, strict=True)
    ]
    flags = np.pad(
        np.ones([1 if n is None else n for n in shape], bool)[0:1], [(0, 0), *pads[1:]]
    )
    return ops.where(flags, ops.pad(updates, pads), inputs)
