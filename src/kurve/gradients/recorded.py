"""Calls of functions on arrays while tapes record: each becomes a segment, whose values
the tapes follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from kurve.core.results import result
from kurve.formulas.graph import Graph, Tensor
from kurve.formulas.recording import UNRECORDED, active, recording
from kurve.formulas.tensor import leaves, replaced
from kurve.gradients.picking import BY_ROWS, picked
from kurve.gradients.segments import Segment, plan_of, state_of
from kurve.gradients.traces import Trace, key_of_call, known_trace, remember_trace
from kurve.gradients.values import TracedValues, is_float, plain, traced
from kurve.ops.tape import constants_of


def recorded_call(
    call: Callable[..., Any], args: Any, kwargs: Mapping[str, Any], key: Any = None
) -> Any:
    """The result of a function, recorded on active tapes. The function is traced with
    each array as one sample, so that the first axis is an axis like the others.

    Args:
        key: the values besides the arguments on which the function's formula depends,
            hashable: it is then traced once for similar arguments. None for a function
            that may do something different in each call.
    """
    if active.step is not None:
        return call(*args, **kwargs)
    if getattr(call, "__name__", "") == "get_item":
        found = picked(*args, **kwargs)
        if found is not UNRECORDED:
            return found
    if getattr(call, "__name__", "") in ("take", "segment_sum"):
        rows = BY_ROWS[call.__name__](*args, **kwargs)
        if rows is not UNRECORDED:
            return rows
    arrays: list[np.ndarray] = []
    keys: list[int | None] = []
    places: dict[int, int] = {}

    def is_input(leaf: Any) -> bool:
        if isinstance(leaf, TracedValues) and leaf.key is not None:
            return True
        is_array = isinstance(leaf, np.ndarray) and leaf.ndim > 0
        return is_array and leaf.dtype.kind in "fb"

    for leaf in leaves((args, kwargs)):
        if is_input(leaf) and id(leaf) not in places:
            places[id(leaf)] = len(arrays)
            arrays.append(plain(leaf))
            keys.append(getattr(leaf, "key", None))
    floats = [a.dtype for a in arrays if is_float(a.dtype)]
    dtype = np.result_type(np.float32, *floats)
    given = [np.asarray(a, dtype) for a in arrays]
    if not given:  # a trace has at least one input
        given, keys = [np.zeros(1, dtype)], [None]
    by_rows = (
        getattr(call, "__name__", "") in _OF_IMAGES
        and len(arrays) == 1
        and arrays[0].ndim > 2
    )
    if key is not None:
        key = key_of_call(key, args, kwargs, places)
    with recording(()), constants_of(dtype):
        found = None if key is None else known_trace(key)
        if found is None:
            found = _traced(call, args, kwargs, arrays, places, by_rows)
            if key is not None:
                remember_trace(key, found)
        plan, out = found.plan, found.out
        state = state_of(plan, found.params, found.buffers, dtype)
        whole = not by_rows
        segment = Segment(plan, found.params, found.buffers, state, given, False, whole)
    return on_tapes(segment, out, keys)


def _traced(
    call: Callable[..., Any],
    args: Any,
    kwargs: Mapping[str, Any],
    arrays: list[np.ndarray],
    places: Mapping[int, int],
    by_rows: bool,
) -> Trace:
    """The operations of a call, for whole arrays or for rows of a batch."""
    shapes = [a.shape[by_rows:] for a in arrays] or [(1,)]
    graph = Graph(shapes)
    graph.runs_once = True
    tensors = [
        Tensor(graph, i, shape, by_rows, "bool" if a.dtype.kind == "b" else "float32")
        for i, (shape, a) in enumerate(zip(shapes, arrays, strict=False))
    ]

    def swap(leaf: Any) -> Any:
        return tensors[places[id(leaf)]] if id(leaf) in places else plain(leaf)

    before, Graph.current = Graph.current, graph
    try:
        out = call(*replaced(args, swap), **replaced(dict(kwargs), swap))
    finally:
        Graph.current = before
    return Trace(plan_of(graph), graph.params, graph.buffers, out)


_OF_IMAGES = ("average_pool", "conv", "depthwise_conv", "max_pool")
"""Functions whose first axis is a batch, as their layers have it."""


def on_tapes(segment: Segment, out: Any, keys: list[int | None]) -> Any:
    """Replace the tensors of a structure with values watched by tapes."""

    def value(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        if leaf.dtype != "float32":
            return result(np.asarray(segment.value(leaf.index)).astype(leaf.dtype))
        return followed(segment, leaf.index)

    values = replaced(out, value)
    remember(segment, keys)
    return values


def followed(segment: Segment, number: int) -> TracedValues:
    """A value of a segment, as a new value on tapes."""
    found = traced(np.asarray(segment.value(number)))
    assert found.key is not None
    segment.outputs.append((number, found.key, False))
    return found


def remember(segment: Segment, keys: list[int | None]) -> None:
    """Add a segment to the active tapes.

    Args:
        keys: keys of its arrays.
    """
    segment.finish(keys)
    for tape in active.tapes:
        tape.add(segment)
