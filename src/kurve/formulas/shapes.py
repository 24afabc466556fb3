"""Functions of `kurve.ops` that change shapes."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from kurve.formulas.axes import axis_of, no_batch
from kurve.formulas.calls import as_array, function, graph_of
from kurve.formulas.graph import MAX_AXES, Graph
from kurve.formulas.limits import spend
from kurve.formulas.moved import Moved, in_layer
from kurve.formulas.needs import NeedsBatch
from kurve.formulas.sizes import check_constant


@function
def shape(x: Any) -> Any:
    """The shape as a tuple, with None for unknown sizes."""
    return tuple(x.shape) if hasattr(x, "shape") else np.shape(x)


@function
def ndim(x: Any) -> int:
    """The number of axes."""
    return len(shape(x))


@function
def size(x: Any) -> Any:
    """The number of elements, None if it is unknown."""
    axes = shape(x)
    unknown = any(a is None for a in axes)  # rows of a traced step also equal None
    return None if unknown else math.prod(axes)


@function
def reshape(x: Any, newshape: Sequence[int | None]) -> Any:
    """Reshape x in row-major order; -1 (or None, for the batch) is inferred."""
    graph = graph_of(x)
    axes = (newshape,) if isinstance(newshape, int) else tuple(newshape)
    if graph is None:
        return np.reshape(as_array(x), tuple(-1 if a is None else a for a in axes))
    x = graph.as_tensor(x)
    sample = axes
    if x.batched:
        if not axes or axes[0] not in (-1, None):
            raise _of_rows(x, axes)
        sample = axes[1:]
    total, known = (
        math.prod(x.sample),
        math.prod(a for a in sample if a not in (-1, None)),
    )
    out = tuple(total // max(known, 1) if a in (-1, None) else int(a) for a in sample)
    if math.prod(out) != total or sum(a in (-1, None) for a in sample) > 1:
        # If the first axis is inferred, samples may be split or joined.
        one = sum(a in (-1, None) for a in axes) == 1
        raise (NeedsBatch if x.batched and one else ValueError)(
            f"[reshape] the shapes must have the same number of elements. Received: "
            f"{x.shape} and {axes}. Try -1 for one axis."
        )
    if out == x.sample:
        return x
    return graph.op("reshape", [x], out, dtype=x.dtype)


def _of_rows(x: Any, axes: Sequence[int | None]) -> Exception:
    """The error for a shape without a batch axis, which may fix the number of rows."""
    error = no_batch("reshape", x)
    size = math.prod(x.sample)
    if axes and all(isinstance(a, int) and a > 0 for a in axes):
        rows, rest = divmod(math.prod(int(a or 0) for a in axes), size)
        error.rows = rows if rows and not rest else None
    return error


@function
def expand_dims(x: Any, axis: int | Sequence[int]) -> Any:
    """Insert axes of size 1."""
    graph = graph_of(x)
    if graph is None:
        return np.expand_dims(as_array(x), axis)
    x = graph.as_tensor(x)
    axes = list(x.shape)
    news = [axis] if isinstance(axis, int) else list(axis)
    if x.ndim + len(news) > MAX_AXES:
        raise ValueError(
            f"[expand_dims] there can be at most {MAX_AXES} axes. Received: "
            f"{len(news)} new ones for shape {x.shape}. Try fewer."
        )
    for new in sorted(axis_of(a, x.ndim + len(news)) for a in news):
        if x.batched and new == 0:
            raise no_batch("expand_dims", x)
        axes.insert(new, 1)
    return reshape(x, axes)


@function
def squeeze(x: Any, axis: int | Sequence[int] | None = None) -> Any:
    """Remove axes of size 1: the given ones, or all."""
    graph = graph_of(x)
    if graph is None:
        return np.squeeze(as_array(x), axis)
    x = graph.as_tensor(x)
    if axis is None:
        drop = {i for i, s in enumerate(x.shape) if s == 1}
    else:
        drop = {axis_of(a, x.ndim) for a in ([axis] if isinstance(axis, int) else axis)}
    if any(x.shape[i] != 1 for i in drop):
        raise ValueError(
            f"[squeeze] only axes of size 1 can be removed. Received: shape {x.shape}, "
            f"axis={axis}. Try ops.reshape."
        )
    return reshape(x, [s for i, s in enumerate(x.shape) if i not in drop])


@function
def transpose(x: Any, axes: Sequence[int] | None = None) -> Any:
    """Permute the axes; reversed by default."""
    graph = graph_of(x)
    if graph is None:
        return np.transpose(as_array(x), axes)
    x = graph.as_tensor(x)
    order = [axis_of(a, x.ndim) for a in axes or reversed(range(x.ndim))]
    if isinstance(x, Moved):
        x, order = x.of, [{0: 1, 1: 0}.get(a, a) for a in order]
    if x.batched:
        if order[0] != 0:
            if order[1] == 0 and in_layer(x) and len(set(order)) == x.ndim:
                order[:2] = 0, order[0]
                return Moved(transpose(x, order), "transpose")
            raise no_batch("transpose", x)
        order = [a - 1 for a in order[1:]]
    if sorted(order) != list(range(len(x.sample))):
        raise ValueError(
            f"[transpose] axes must name each axis once. Received: axes={axes} for "
            f"shape {x.shape}. Try axes={tuple(range(x.ndim))}."
        )
    if order == sorted(order):
        return x
    out = tuple(x.sample[a] for a in order)
    return graph.op("permute", [x], out, attrs={"axes": tuple(order)}, dtype=x.dtype)


@function
def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """Swap two axes."""
    order = list(range(len(shape(x))))
    a, b = axis_of(axis1, len(order)), axis_of(axis2, len(order))
    order[a], order[b] = b, a
    return transpose(x, order)


@function
def moveaxis(x: Any, source: int, destination: int) -> Any:
    """Move one axis to another position."""
    count = len(shape(x))
    order = [i for i in range(count) if i != axis_of(source, count)]
    order.insert(axis_of(destination, count), axis_of(source, count))
    return transpose(x, order)


@function
def broadcast_to(x: Any, shape: Sequence[int | None]) -> Any:
    """Broadcast x to this shape."""
    graph = graph_of(x)
    if graph is None:
        return np.broadcast_to(as_array(x), shape)  # type: ignore[arg-type]
    x = graph.as_tensor(x)
    if not x.batched and tuple(shape)[:1] == (None,):
        rows = graph.filled((1,) * (len(tuple(shape)) - 1), 0.0)
        return broadcast_to(x + rows, shape)
    sample = tuple(shape)[1:] if x.batched else tuple(shape)
    if sample == x.sample:
        return x
    try:
        fits = np.broadcast_shapes(x.sample, sample) == sample  # type: ignore[arg-type]
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            "[broadcast_to] the shapes must broadcast. Received: "
            f"{x.shape} and {tuple(shape)}. Try ops.reshape first."
        )
    out: Any = sample
    return graph.map([x], lambda b, r: r[0], x.dtype, out)


@function
def repeat(x: Any, repeats: int, axis: int | None = None) -> Any:
    """Repeat each element of an axis `repeats` times."""
    graph = graph_of(x)
    if graph is None:
        check_constant("repeat", np.size(as_array(x)), np.max(repeats, initial=0))
        return np.repeat(as_array(x), repeats, axis)
    x = graph.as_tensor(x)
    along = axis_of(0 if axis is None else axis, x.ndim)
    if along == 0 and x.batched:
        raise no_batch("repeat", x)
    axes: list[Any] = list(x.shape)
    wide = broadcast_to(
        expand_dims(x, along + 1), [*axes[: along + 1], repeats, *axes[along + 1 :]]
    )
    axes[along] *= repeats
    return reshape(wide, axes)


@function
def tile(x: Any, repeats: int | Sequence[int]) -> Any:
    """x repeated `repeats` times along each axis."""
    times = [repeats] if isinstance(repeats, int) else list(repeats)
    of_batch = bool(times) and times[0] is None  # as often as there are rows
    graph = graph_of(x) or (Graph.current if of_batch else None)
    if graph is None:
        check_constant("tile", np.size(as_array(x)), *times)
        return np.tile(as_array(x), repeats)
    x = graph.as_tensor(x)
    if of_batch and not x.batched and x.shape[:1] == (1,):
        x = broadcast_to(x, (None, *x.shape[1:]))
    if of_batch and x.batched:
        times[0] = 1
    times = [1] * (x.ndim - len(times)) + [int(count) for count in times]
    for axis, count in enumerate(times):
        if count != 1:
            if axis == 0 and x.batched:
                raise no_batch("tile", x)
            axes: list[Any] = list(x.shape)
            wide = broadcast_to(
                expand_dims(x, axis), [*axes[:axis], count, *axes[axis:]]
            )
            axes[axis] *= count
            x = reshape(wide, axes)
    return x


@function
def pad(
    x: Any, pad_width: Any, mode: str = "constant", constant_values: float | None = None
) -> Any:
    """Pad x with zeros, or `constant_values`, before and after each axis."""
    graph = graph_of(x)
    if graph is None:
        margins = np.broadcast_to(np.asarray(pad_width), (np.ndim(as_array(x)), 2))
        added = np.sum(margins, axis=1).tolist()
        shape = np.shape(as_array(x))
        check_constant("pad", *(s + a for s, a in zip(shape, added, strict=True)))
        extra = {} if constant_values is None else {"constant_values": constant_values}
        return np.pad(as_array(x), pad_width, mode=mode, **extra)  # type: ignore[call-overload]
    x = graph.as_tensor(x)
    widths = np.broadcast_to(np.asarray(pad_width), (x.ndim, 2)).tolist()
    if x.batched:
        if widths[0] != [0, 0]:
            raise no_batch("pad", x)
        widths = widths[1:]
    if any(operator.index(w) < 0 for pair in widths for w in pair):
        raise ValueError(
            f"[pad] margins must not be negative. Received: pad_width={pad_width!r}. "
            "Try a slice, x[:, 1:-1]."
        )
    if mode != "constant":
        raise NotImplementedError(
            "[pad] tensors can only be padded with a constant. "
            f'Received: mode={mode!r}. Try mode="constant".'
        )
    out = tuple(
        s + before + after for s, (before, after) in zip(x.sample, widths, strict=True)
    )
    attrs = {
        "starts": tuple(w[0] for w in widths),
        "sizes": x.sample,
        "steps": (1,) * len(out),
    }
    y = graph.op("place", [x], out, attrs=attrs)
    if constant_values:
        spend(elements=math.prod(out))
        inside = np.zeros(out, np.float32)
        inside[
            tuple(slice(w[0], w[0] + s) for w, s in zip(widths, x.sample, strict=True))
        ] = 1.0
        y = y + float(constant_values) * (1.0 - inside)
    return y
