"""Traces of recorded calls, kept so that a loop traces each of its functions once."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any, NamedTuple

from kurve.formulas.graph import Tensor, is_variable
from kurve.formulas.tensor import is_structure, keys, replaced
from kurve.plan import Plan

MAX_TRACES = 512
"""Maximum number of traces that are kept."""


class Trace(NamedTuple):
    """The operations of a call, its variables, and its result, made of tensors."""

    plan: Plan
    params: list[Any]
    buffers: list[Any]
    out: Any


_known: dict[Any, tuple[Plan, list[weakref.ref[Any]], Any]] = {}

_PLAIN = (bool, int, float, str, type(None))


def key_of_call(
    key: Any, args: Any, kwargs: Mapping[str, Any], places: Mapping[int, int]
) -> Any:
    """What the trace of a call depends on: the function, the shapes of arrays, which
    variables, and all numbers and names. None if there is something else.

    Args:
        places: of the arrays that are inputs of the trace, by id.
    """
    parts: list[Any] = [key]

    def add(part: Any) -> bool:
        place = places.get(id(part))
        if place is not None:
            parts.append((place, part.shape, part.dtype.char))
        elif isinstance(part, _PLAIN):
            value = repr(part) if isinstance(part, float) else part  # 0.0 is not -0.0
            parts.append((type(part), value))
        elif type(part) is tuple:
            parts.append((tuple, len(part)))
            return all(map(add, part))
        elif is_structure(part):
            named = isinstance(part, Mapping)
            names = keys(part) if named else range(len(part))
            parts.append((type(part), tuple(names)))
            return all(add(part[name]) for name in names)
        elif is_variable(part):
            parts.append(("variable", id(part)))
        else:
            return False
        return True

    return tuple(parts) if add(args) and add(kwargs) else None


def known_trace(key: Any) -> Trace | None:
    """The trace with this key, if its variables are still there."""
    found = _known.get(key)
    if found is None:
        return None
    plan, references, out = found
    params = [reference() for reference in references]
    if any(variable is None for variable in params):
        del _known[key]
        return None
    return Trace(plan, params, [], out)


def remember_trace(key: Any, trace: Trace) -> None:
    """Keep a trace, unless it holds constants or random numbers, which the next call
    might have others of."""
    plan = trace.plan
    if trace.buffers or any(
        op.acts_in_training or op.kind == "random" for op in plan.ops
    ):
        return
    if len(_known) >= MAX_TRACES:
        _known.clear()

    def without_graph(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        graph: Any = None
        return Tensor(graph, leaf.index, leaf.sample, leaf.batched, leaf.dtype)

    references = [weakref.ref(variable) for variable in trace.params]
    _known[key] = plan, references, replaced(trace.out, without_graph)
