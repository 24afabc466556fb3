"""Sorting along an axis.

Formula: the rank of an element is the number of those before it in the order, equal
ones by position; the element of each rank is found by one-hot encoding the ranks.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kurve.formulas import functions as ops
from kurve.formulas.calls import as_array, function, graph_of

NAMES = ("argsort", "sort")


@function
def sort(x: Any, axis: int | None = -1) -> Any:
    """The elements in ascending order along an axis; of all axes, flattened, if None.

    In a model, memory grows with the square of the axis.
    """
    if graph_of(x) is None:
        return np.sort(np.asarray(as_array(x)), axis)
    x, axis = _along(x, axis)
    last = ops.moveaxis(x, axis, -1)
    values = ops.where(_at_ranks(last), ops.expand_dims(last, -1), 0.0)
    return ops.moveaxis(ops.sum(values, -2), -1, axis)


@function
def argsort(x: Any, axis: int | None = -1) -> Any:
    """The positions of the elements in ascending order along an axis; equal elements
    stay in order. See `sort`."""
    if graph_of(x) is None:
        array = np.asarray(as_array(x))
        return np.argsort(array, axis, kind="stable").astype(np.int32)
    x, axis = _along(x, axis)
    last = ops.moveaxis(x, axis, -1)
    places = np.arange(ops.shape(last)[-1], dtype=np.float32)[:, None]
    found = ops.sum(ops.where(_at_ranks(last), places, 0.0), -2)
    return ops.cast(ops.moveaxis(found, -1, axis), "int32")


def _along(x: Any, axis: int | None) -> tuple[Any, int]:
    return (ops.reshape(x, (-1,)), 0) if axis is None else (x, axis)


def _at_ranks(x: Any) -> Any:
    """Whether an element, by the last axis but one, has a rank, by the last axis."""
    size = ops.shape(x)[-1]
    mine, others = ops.expand_dims(x, -1), ops.expand_dims(x, -2)
    earlier = np.tri(size, k=-1, dtype=np.float32)
    equal = ops.cast(ops.equal(others, mine), "float32") * earlier
    ranks = ops.sum(ops.cast(ops.less(others, mine), "float32") + equal, -1)
    return ops.cast(ops.one_hot(ops.cast(ranks, "int32"), size), "bool")
