"""Functions of `kurve.ops` that accumulate along an axis: sums and products."""

from __future__ import annotations

from typing import Any

import numpy as np

from kurve.formulas.axes import axis_of, no_batch, sample_axis
from kurve.formulas.calls import as_array, function, graph_of
from kurve.formulas.elements import cast, multiply
from kurve.formulas.slices import concatenate, get_item


@function
def cumsum(x: Any, axis: int | None = None, dtype: Any = None) -> Any:
    """The cumulative sum along an axis."""
    x = x if dtype is None else cast(x, dtype)
    graph = graph_of(x)
    if graph is None:
        return np.cumsum(as_array(x), axis=axis)
    x = graph.as_tensor(x)
    along = sample_axis(x, axis if axis is not None else 0)
    if along < 0:
        raise no_batch("cumsum", x)
    return graph.op("cumsum", [x], x.sample, attrs={"axis": along, "reverse": False})


@function
def cumprod(x: Any, axis: int | None = None, dtype: Any = None) -> Any:
    """The products of the first 1, 2, 3, ... elements of an axis."""
    x = x if dtype is None else cast(x, dtype)
    graph = graph_of(x)
    if graph is None:
        return np.cumprod(as_array(x), axis=axis)
    x = graph.as_tensor(x)
    axis = 0 if axis is None else axis
    if sample_axis(x, axis) < 0:
        raise no_batch("cumprod", x)
    size = x.shape[axis_of(axis, x.ndim)]
    whole: list[Any] = [slice(None)] * x.ndim
    parts: list[Any] = []
    for i in range(int(size or 0)):
        whole[axis_of(axis, x.ndim)] = slice(i, i + 1)
        part = get_item(x, tuple(whole))
        parts.append(part if i == 0 else multiply(parts[-1], part))
    return concatenate(parts, axis)
