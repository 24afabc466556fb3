"""Creating tensors, and their shapes: `tf.constant`, `tf.reshape`, `tf.concat`."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from kurve.as_keras.tensorflow.reductions import value
from kurve.as_keras.tensorflow.values import (
    asked,
    concrete,
    eager,
    is_symbolic_tensor,
    kind,
    operands,
    tensor,
)
from kurve.formulas import functions as ops
from kurve.formulas import ordering
from kurve.formulas.graph import is_variable

__all__ = [
    "argsort",
    "boolean_mask",
    "broadcast_to",
    "cast",
    "concat",
    "constant",
    "convert_to_tensor",
    "ensure_shape",
    "expand_dims",
    "eye",
    "fill",
    "gather",
    "gather_nd",
    "get_static_value",
    "identity",
    "linspace",
    "meshgrid",
    "one_hot",
    "ones",
    "ones_like",
    "pad",
    "range",
    "rank",
    "repeat",
    "reshape",
    "reverse",
    "roll",
    "saturate_cast",
    "shape",
    "shape_n",
    "size",
    "slice",
    "sort",
    "split",
    "squeeze",
    "stack",
    "tile",
    "to_float",
    "to_int32",
    "transpose",
    "unique",
    "unstack",
    "where",
    "zeros",
    "zeros_like",
]


def constant(
    value: Any, dtype: Any = None, shape: Any = None, name: Any = None, **_: Any
) -> Any:
    """A constant tensor; a single number fills the shape."""
    made = tensor(value, dtype)
    return made if shape is None else tensor(_filled(made, sizes(shape)))


def _filled(array: Any, shape: Any) -> Any:
    return np.full(shape, array) if array.size == 1 else np.reshape(array, shape)


def sizes(shape: Any) -> Any:
    """A shape of tensors or numbers, as numbers; None stays."""
    if isinstance(shape, (int, np.integer)):
        return (int(shape),)
    return tuple(None if s is None else int(s) for s in shape)


def convert_to_tensor(
    value: Any, dtype: Any = None, dtype_hint: Any = None, name: Any = None
) -> Any:
    """Convert a value to a tensor."""
    if is_symbolic_tensor(value):
        return value if dtype is None else ops.cast(value, kind(dtype))
    return tensor(value, dtype)


def zeros(shape: Any, dtype: Any = "float32", name: Any = None, **_: Any) -> Any:
    """A tensor of zeros."""
    return _of_number(shape, 0, dtype)


def ones(shape: Any, dtype: Any = "float32", name: Any = None, **_: Any) -> Any:
    """A tensor of ones."""
    return _of_number(shape, 1, dtype)


def fill(dims: Any, value: Any, name: Any = None, **_: Any) -> Any:
    """A tensor filled with one number."""
    if _of_batch(dims):
        return ops.full(dims, float(value))
    return tensor(np.full(sizes(dims), tensor(value)))


def _of_batch(shape: Any) -> bool:
    """Whether a shape begins with the unknown size of a batch."""
    return isinstance(shape, (list, tuple)) and len(shape) > 0 and shape[0] is None


def _of_number(shape: Any, number: int, dtype: Any) -> Any:
    if _of_batch(shape):
        return ops.full(shape, number, kind(dtype))
    return tensor(np.full(sizes(shape), number, kind(dtype)))


@eager
def zeros_like(input: Any, dtype: Any = None, name: Any = None, **_: Any) -> Any:
    """Zeros with the shape of the input."""
    return ops.zeros_like(value(input), None if dtype is None else kind(dtype))


@eager
def ones_like(input: Any, dtype: Any = None, name: Any = None, **_: Any) -> Any:
    """Ones with the shape of the input."""
    return ops.ones_like(value(input), None if dtype is None else kind(dtype))


def range(
    start: Any,
    limit: Any = None,
    delta: Any = 1,
    dtype: Any = None,
    name: Any = "range",
) -> Any:
    """Numbers from start (0) to the limit, exclusive."""
    first, last = (0, start) if limit is None else (start, limit)
    first, last, delta = (_plain(x) for x in (first, last, delta))
    whole = all(isinstance(x, (int, np.integer)) for x in (first, last, delta))
    return tensor(
        np.arange(first, last, delta), dtype or ("int32" if whole else "float32")
    )


def _plain(x: Any) -> Any:
    return x.item() if isinstance(x, (np.ndarray, np.generic)) else x


@eager
def linspace(start: Any, stop: Any, num: Any, name: Any = None, axis: int = 0) -> Any:
    """Evenly spaced numbers, including both ends."""
    first, last = concrete("linspace", start, stop)
    kept = np.float64 if first.dtype == np.float64 else np.float32
    return np.linspace(first, last, int(num), axis=axis).astype(kept)


def eye(
    num_rows: Any,
    num_columns: Any = None,
    batch_shape: Any = None,
    dtype: Any = "float32",
    name: Any = None,
) -> Any:
    """1 on the diagonal, 0 elsewhere."""
    columns = None if num_columns is None else int(num_columns)
    matrix = np.eye(int(num_rows), columns, dtype=kind(dtype))
    lead = () if batch_shape is None else sizes(batch_shape)
    return tensor(np.broadcast_to(matrix, (*lead, *matrix.shape)).copy())


@eager
def cast(x: Any, dtype: Any, name: Any = None) -> Any:
    """Cast x to another dtype; None, the unknown size of a batch, stays."""
    if x is None:
        return None
    x = value(x)
    if getattr(x, "dtype", None) == kind(dtype):
        return x
    return ops.cast(x, kind(dtype))


def saturate_cast(value: Any, dtype: Any, name: Any = None) -> Any:
    """`cast`, clipping to the dtype's range."""
    info: Any = np.iinfo(kind(dtype))
    return cast(ops.clip(tensor(value), info.min, info.max), dtype)


def to_float(x: Any, name: Any = None) -> Any:
    """Cast x to float32."""
    return cast(x, "float32")


def to_int32(x: Any, name: Any = None) -> Any:
    """Cast x to int32."""
    return cast(x, "int32")


def identity(input: Any, name: Any = None) -> Any:
    """The same tensor; for a variable, its current value."""
    if is_variable(input):
        return tensor(np.array(input))
    return tensor(input)


def get_static_value(tensor: Any, partial: Any = False) -> Any:
    """The value as an array; None for a tensor without one."""
    return None if is_symbolic_tensor(tensor) else np.asarray(tensor)


# ---------------------------------------------------------------- shapes

_own = value
"""The function, for use where an argument has the same name."""


def shape(input: Any, out_type: Any = "int32", name: Any = None) -> Any:
    """The shape; in a model a tuple with None for the batch."""
    if is_symbolic_tensor(input):
        return asked(input).shape
    return tensor(np.array(ops.shape(value(input)), kind(out_type)))


def shape_n(input: Any, out_type: Any = "int32", name: Any = None) -> Any:
    """The shapes of several tensors."""
    return [shape(part, out_type) for part in input]


def size(input: Any, out_type: Any = "int32", name: Any = None) -> Any:
    """The number of elements."""
    found = ops.size(value(input))
    return found if is_symbolic_tensor(input) else tensor(found, out_type)


def rank(input: Any, name: Any = None) -> Any:
    """The number of axes."""
    found = len(ops.shape(value(input)))
    return found if is_symbolic_tensor(input) else tensor(found)


@eager
def reshape(tensor: Any, shape: Any, name: Any = None) -> Any:
    """Reshape; -1 is inferred."""
    return ops.reshape(value(tensor), sizes(shape))


def ensure_shape(x: Any, shape: Any, name: Any = None) -> Any:
    """x, after checking its shape; None matches any size.

    Raises:
        ValueError: the shape differs.
    """
    axes = ops.shape(value(x))
    fits = len(axes) == len(shape) and all(
        want is None or have == want for have, want in zip(axes, shape, strict=True)
    )
    if not fits:
        raise ValueError(
            f"[tf.ensure_shape] x must have shape {tuple(shape)}. "
            f"Received: shape {tuple(axes)}. Try tf.reshape."
        )
    return x


@eager
def expand_dims(input: Any, axis: Any = None, name: Any = None, dim: Any = None) -> Any:
    """Insert an axis of length 1."""
    return ops.expand_dims(value(input), int(dim if axis is None else axis))


@eager
def squeeze(input: Any, axis: Any = None, name: Any = None) -> Any:
    """Remove the given axes of length 1, or all."""
    return ops.squeeze(value(input), tuple(axis) if isinstance(axis, list) else axis)


@eager
def transpose(
    a: Any, perm: Any = None, conjugate: Any = False, name: Any = "transpose"
) -> Any:
    """Permute the axes; reversed by default."""
    return ops.transpose(value(a), None if perm is None else sizes(perm))


@eager
def reverse(tensor: Any, axis: Any, name: Any = None) -> Any:
    """Reverse the order along the given axes."""
    return ops.flip(value(tensor), [int(a) for a in np.ravel(axis)])


@eager
def concat(values: Any, axis: Any, name: Any = "concat") -> Any:
    """Concatenate tensors along an axis."""
    return ops.concatenate([value(v) for v in values], int(axis))


@eager
def stack(values: Any, axis: int = 0, name: Any = "stack") -> Any:
    """Stack tensors along a new axis."""
    if not isinstance(values, (list, tuple)):
        values = unstack(values)
    return ops.stack([value(v) for v in values], axis)


@eager
def unstack(value: Any, num: Any = None, axis: int = 0, name: Any = "unstack") -> Any:
    """Split along an axis and remove it."""
    x = _own(value)
    count = ops.shape(x)[axis]
    lead: list[Any] = [builtins.slice(None)] * (axis % len(ops.shape(x)))
    return [ops.get_item(x, (*lead, i)) for i in builtins.range(count)]


@eager
def split(
    value: Any,
    num_or_size_splits: Any,
    axis: int = 0,
    num: Any = None,
    name: Any = "split",
) -> Any:
    """Split into equal parts, or parts of the given sizes."""
    if np.ndim(num_or_size_splits) == 0:
        return ops.split(_own(value), int(num_or_size_splits), axis)
    lengths = [int(n) for n in num_or_size_splits]
    if -1 in lengths:
        whole = ops.shape(_own(value))[axis]
        lengths[lengths.index(-1)] = whole - sum(lengths) - 1
    return ops.split(_own(value), np.cumsum(lengths)[:-1].tolist(), axis)


@eager
def tile(input: Any, multiples: Any, name: Any = None) -> Any:
    """Repeat the tensor along each axis."""
    return ops.tile(value(input), sizes(multiples))


@eager
def repeat(input: Any, repeats: Any, axis: Any = None, name: Any = None) -> Any:
    """Repeat each element along an axis."""
    if np.ndim(repeats) == 0:
        return ops.repeat(value(input), int(repeats), axis)
    return np.repeat(concrete("repeat", input), np.asarray(repeats), axis)


@eager
def broadcast_to(input: Any, shape: Any, name: Any = None) -> Any:
    """Broadcast to this shape."""
    return ops.broadcast_to(value(input), sizes(shape))


@eager
def pad(
    tensor: Any,
    paddings: Any,
    mode: str = "CONSTANT",
    constant_values: Any = 0,
    name: Any = None,
) -> Any:
    """Pad before and after each axis."""
    widths = [sizes(pair) for pair in paddings]
    if mode.upper() == "CONSTANT":
        return ops.pad(value(tensor), widths, "constant", constant_values)
    return ops.pad(value(tensor), widths, mode.lower())


@eager
def slice(input_: Any, begin: Any, size: Any, name: Any = None) -> Any:
    """A slice from `begin` of the given sizes; -1 takes the rest."""
    key = (
        builtins.slice(b, None if s == -1 else b + s)
        for b, s in zip(sizes(begin), sizes(size), strict=True)
    )
    return ops.get_item(value(input_), tuple(key))


@eager
def roll(input: Any, shift: Any, axis: Any, name: Any = None) -> Any:
    """Roll elements along axes."""
    return np.roll(concrete("roll", input), sizes(shift), sizes(axis))


# ---------------------------------------------------------------- elements


@eager
def gather(
    params: Any,
    indices: Any,
    validate_indices: Any = None,
    axis: Any = None,
    batch_dims: int = 0,
    name: Any = None,
) -> Any:
    """Gather elements along an axis (the first by default) by index."""
    if batch_dims:
        x, at = concrete("gather", params, indices)
        if batch_dims != 1 or axis not in (None, 1):
            raise NotImplementedError(
                "[tf.gather] batch_dims must be 0, or 1 for axis 1. "
                f"Received: batch_dims={batch_dims}, axis={axis}. Try a loop over rows."
            )
        return np.stack([row[i] for row, i in zip(x, at, strict=True)])
    numbers = indices if is_symbolic_tensor(indices) else tensor(indices)
    return ops.take(value(params), numbers, 0 if axis is None else axis)


@eager
def gather_nd(params: Any, indices: Any, batch_dims: int = 0, name: Any = None) -> Any:
    """The elements at the positions in the last axis of `indices`."""
    x, at = concrete("gather_nd", params, indices)
    return x[tuple(np.moveaxis(at, -1, 0))]


@eager
def boolean_mask(
    tensor: Any, mask: Any, axis: Any = None, name: Any = "boolean_mask"
) -> Any:
    """The elements for which the mask is true."""
    x, chosen = concrete("boolean_mask", tensor, mask)
    lead: Any = (builtins.slice(None),) * int(axis or 0)
    return x[(*lead, chosen.astype(bool))]


@eager
def where(condition: Any, x: Any = None, y: Any = None, name: Any = None) -> Any:
    """x where the condition is true, y elsewhere; without both, the indices where it is
    true."""
    if x is None and y is None:
        return np.argwhere(concrete("where", condition)).astype(np.int64)
    return ops.where(value(condition), *operands(x, y))


@eager
def one_hot(
    indices: Any,
    depth: Any,
    on_value: Any = None,
    off_value: Any = None,
    axis: Any = None,
    dtype: Any = None,
    name: Any = None,
) -> Any:
    """One-hot encode indices."""
    name_ = "float32" if dtype is None else kind(dtype)
    y = ops.one_hot(value(indices), int(depth), -1 if axis is None else axis, name_)
    if on_value is None and off_value is None:
        return y
    on = 1 if on_value is None else on_value
    off = 0 if off_value is None else off_value
    return ops.where(ops.equal(y, 1), *operands(on, off))


@eager
def sort(
    values: Any, axis: int = -1, direction: str = "ASCENDING", name: Any = None
) -> Any:
    """Sort along an axis."""
    found = ordering.sort(value(values), axis)
    return ops.flip(found, axis) if direction == "DESCENDING" else found


@eager
def argsort(
    values: Any,
    axis: int = -1,
    direction: str = "ASCENDING",
    stable: Any = False,
    name: Any = None,
) -> Any:
    """The indices that sort the elements."""
    x = value(values)
    return ordering.argsort(-x if direction == "DESCENDING" else x, axis)


@eager
def unique(x: Any, out_idx: Any = "int32", name: Any = None) -> Any:
    """The distinct elements in order of occurrence, and the index of each element among
    them."""
    array = concrete("unique", x)
    found, first, inverse = np.unique(array, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return found[order], np.argsort(order)[inverse].astype(kind(out_idx))


@eager
def meshgrid(*args: Any, indexing: Any = "xy", name: Any = None) -> Any:
    """The coordinates of a grid."""
    return list(np.meshgrid(*(np.asarray(tensor(a)) for a in args), indexing=indexing))
