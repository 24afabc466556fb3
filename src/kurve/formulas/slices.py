"""Functions of `kurve.ops` that slice and join tensors."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from kurve.core.arguments import check_unused
from kurve.formulas.axes import axis_of, no_batch, sample_axis
from kurve.formulas.calls import as_array, function, graph_of
from kurve.formulas.elements import cast, equal
from kurve.formulas.graph import Tensor, is_variable
from kurve.formulas.limits import spend
from kurve.formulas.moved import Moved, in_layer
from kurve.formulas.needs import NeedsBatch
from kurve.formulas.shapes import expand_dims, moveaxis, reshape, shape
from kurve.formulas.sizes import check_constant

MAX_JOINED = 64
"""Maximum number of inputs of one operation; more are joined in stages."""


@function
def flip(x: Any, axis: int | Sequence[int] | None = None) -> Any:
    """Reverse x along these axes."""
    count = len(shape(x))
    axes = range(count) if axis is None else [axis] if isinstance(axis, int) else axis
    index = [slice(None)] * count
    for a in axes:
        index[axis_of(a, count)] = slice(None, None, -1)
    return get_item(x, tuple(index))


@function
def get_item(x: Any, key: Any) -> Any:
    """x[key], for integers, slices, None and `...`."""
    graph = graph_of(x)
    if graph is None:
        return as_array(x)[key]
    x = graph.as_tensor(x)
    keys = list(key) if isinstance(key, tuple) else [key]
    if isinstance(x, Moved):
        return _of_moved(x, keys)
    named = sum(k is not None and k is not Ellipsis for k in keys)
    if Ellipsis in [k for k in keys if k is None or k is Ellipsis]:
        at = next(i for i, k in enumerate(keys) if k is Ellipsis)
        keys[at : at + 1] = [slice(None)] * (x.ndim - named)
    else:
        keys += [slice(None)] * (x.ndim - named)
    starts, sizes, steps, out, axis = [], [], [], [], 0
    for k in keys:
        if k is None:
            out.append(1)
            continue
        if axis >= x.ndim:
            raise ValueError(
                f"[tensor] there are more indices than axes. Received: {key!r} for "
                f"shape {x.shape}. Try fewer."
            )
        if axis == 0 and x.batched:
            if k != slice(None):
                raise no_batch("tensor", x)
            out.append(-1)
            axis += 1
            continue
        whole = x.shape[axis]
        assert whole is not None
        if isinstance(k, slice):
            first, stop, step = k.indices(whole)
            count = len(range(first, stop, step))
            if not count:
                raise ValueError(
                    f"[tensor] a slice must not be empty. Received: {key!r} for shape "
                    f"{x.shape}. Try other bounds."
                )
            out.append(count)
        elif isinstance(k, (int, np.integer)) or _is_integer_array(k):
            first, count, step = axis_of(int(k), whole), 1, 1
        else:
            raise TypeError(
                "[tensor] an index must be an integer, a slice, None or `...`. "
                f"Received: {k!r}. Try ops.take."
            )
        starts.append(first)
        sizes.append(count)
        steps.append(step)
        axis += 1
    y = x
    if tuple(sizes) != x.sample or any(step != 1 for step in steps):
        attrs = {"starts": tuple(starts), "sizes": tuple(sizes), "steps": tuple(steps)}
        y = graph.op("slice", [x], tuple(sizes), attrs=attrs, dtype=x.dtype)
    return reshape(y, out)


@function
def concatenate(xs: Sequence[Any], axis: int = 0) -> Any:
    """Concatenate tensors along an axis."""
    graph = graph_of(xs)
    if graph is None:
        return np.concatenate([as_array(x) for x in xs], axis=axis)
    tensors = [graph.as_tensor(x) for x in xs]
    if len(tensors) == 1:
        return tensors[0]
    batched = next((t for t in tensors if t.batched), tensors[0])
    along = sample_axis(batched, axis)
    if along < 0:
        raise no_batch("concatenate", batched)
    for tensor in tensors:
        other = [s for i, s in enumerate(tensor.sample) if i != along]
        if len(tensor.sample) != len(batched.sample) or other != [
            s for i, s in enumerate(batched.sample) if i != along
        ]:
            raise ValueError(
                "[concatenate] shapes must agree in all axes except the one along "
                f"which to concatenate. Received: {[t.shape for t in tensors]}, "
                f"axis={axis}. Try ops.reshape, or another axis."
            )
    while len(tensors) > MAX_JOINED:
        tensors = [
            _side_by_side(tensors[i : i + MAX_JOINED], along)
            for i in range(0, len(tensors), MAX_JOINED)
        ]
    return _side_by_side(tensors, along)


def _is_integer_array(k: Any) -> bool:
    """Whether an index is an array of one integer, such as `ops.argmax(x[0])`."""
    return isinstance(k, np.ndarray) and k.ndim == 0 and k.dtype.kind in "iu"


def _side_by_side(tensors: Sequence[Any], along: int) -> Any:
    """Concatenate along an axis of a sample, as one operation."""
    first = tensors[0]
    if len(tensors) == 1:
        return first
    out = list(first.sample)
    out[along] = sum(t.sample[along] for t in tensors)
    return first.graph.op("concatenate", tensors, tuple(out), attrs={"axis": along})


def _of_moved(x: Moved, keys: list[Any]) -> Any:
    """x[keys], where the first one belongs to the axis before the batch axis."""
    first, batch = keys[0], slice(None) if len(keys) < 2 else keys[1]
    if batch != slice(None) or first is None or first is Ellipsis:
        raise no_batch("tensor", x)
    y = get_item(x.of, (slice(None), first, *keys[2:]))
    return Moved(y, "tensor") if isinstance(first, slice) else y


@function
def stack(x: Sequence[Any], axis: int = 0) -> Any:
    """Stack tensors along a new axis."""
    parts = list(x) if isinstance(axis, int) and axis == 0 else []
    batched = parts and all(type(p) is Tensor and p.batched for p in parts)
    if batched and in_layer(parts[0]):
        return Moved(stack(parts, 1), "stack")
    return concatenate([expand_dims(part, axis) for part in x], axis)


@function
def split(x: Any, indices_or_sections: int | Sequence[int], axis: int = 0) -> Any:
    """Split x into equal parts, or at these positions."""
    count = len(shape(x))
    along = axis_of(axis, count)
    whole = shape(x)[along]
    if isinstance(indices_or_sections, int):
        if whole is None or whole % indices_or_sections:
            raise ValueError(
                "[split] the axis must split into equal parts. Received: "
                f"{indices_or_sections} parts of an axis of {whole}. Try positions."
            )
        spend(indices_or_sections)
        step = whole // indices_or_sections
        cuts = list(range(step, whole, step))
    else:
        cuts = list(indices_or_sections)
    edges = [0, *cuts, whole]
    parts = []
    for first, last in itertools.pairwise(edges):
        index = [slice(None)] * count
        index[along] = slice(first, last)
        parts.append(get_item(x, tuple(index)))
    return parts


@function
def one_hot(
    x: Any,
    num_classes: int,
    axis: int = -1,
    dtype: str | None = None,
    sparse: bool = False,
) -> Any:
    """One-hot encode class numbers."""
    check_unused("one_hot", sparse=sparse)
    spend(elements=num_classes)
    known = x.size if isinstance(x, np.ndarray) else 1
    check_constant("one_hot", known, num_classes)
    classes = np.arange(num_classes)
    y = cast(equal(expand_dims(x, -1), classes.astype(np.float32)), dtype or "float32")
    return y if axis in (-1, len(shape(y)) - 1) else moveaxis(y, -1, axis)


@function
def take(x: Any, indices: Any, axis: int | None = None) -> Any:
    """Select elements along an axis, by constant integers, or rows of a weight, by
    computed ones.

    Raises:
        ValueError: constants outside the axis.
        NotImplementedError: computed integers, and not rows of a weight.
    """
    if graph_of(x, indices) is None:
        return np.take(
            as_array(x), np.asarray(as_array(indices)).astype(np.int64), axis
        )
    if axis is None and len(shape(x)) == 1:
        axis = 0
    if isinstance(indices, Tensor):
        if axis != 0 or not is_variable(x):
            across = axis == 0 and getattr(x, "batched", False)
            raise (NeedsBatch if across else NotImplementedError)(
                "[take] computed indices can only select rows of a weight: axis=0. "
                f"Received: axis={axis} of {x!r}. Try ops.one_hot and ops.matmul."
            )
        graph = indices.graph
        out = (*indices.sample, *x.shape[1:])
        return graph.op("embedding", [indices], out, {"embeddings": graph.place(x)})
    if axis is None:
        x, axis = reshape(x, (-1,)), 0
    before = shape(x)
    at = axis_of(axis, len(before))
    whole, numbers = before[at], np.asarray(indices)
    places = numbers.ravel().astype(np.int64)
    if whole is None:
        raise no_batch("take", x)
    outside = places[(places < -whole) | (places >= whole)]
    if not len(places) or len(outside):
        given = int(outside[0]) if len(outside) else indices
        raise ValueError(
            f"[take] there must be indices, all in the axis of {whole} elements. "
            f"Received: {given!r}. Try np.clip on them."
        )
    parts = [get_item(x, (*[slice(None)] * at, run)) for run in _runs(places % whole)]
    y = concatenate(parts, at)
    if numbers.ndim == 1:
        return y
    after = shape(y)
    sizes = [-1 if s is None else s for s in (*after[:at], *numbers.shape)]
    return reshape(y, (*sizes, *after[at + 1 :]))


def _runs(places: np.ndarray) -> Iterator[slice]:
    """Integers of at least 0 as slices, in their order."""
    steps, first = np.diff(places).tolist(), 0
    while first < len(places):
        step = steps[first] if first < len(steps) else 1
        last = first + 1
        while step and last <= len(steps) and steps[last - 1] == step:
            last += 1
        step = step or 1
        start = int(places[first])
        stop = start + (last - first) * step
        yield slice(start, None if stop < 0 else stop, step)
        first = last
