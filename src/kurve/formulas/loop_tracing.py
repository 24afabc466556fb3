"""The loops of `kurve.ops` in a model: their body is traced once, as one operation,
if all steps do the same; otherwise the loop is unrolled."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kurve.formulas import functions as ops
from kurve.formulas.arrays import unstack
from kurve.formulas.calls import graph_of
from kurve.formulas.graph import Graph, Tensor
from kurve.formulas.loops import MIN_STEPS, scanned
from kurve.formulas.moved import Moved
from kurve.formulas.needs import NeedsValues
from kurve.formulas.tensor import leaves, pack, replaced

Step = Callable[[Any, Any], tuple[Any, Any]]
"""From the carry and an element to the new carry and the output."""

_KEEPING = frozenset(
    ("append", "extend", "setdefault", "add_loss", "assign", "assign_add", "assign_sub")
)
"""Methods by which a body can store its results elsewhere."""


class Counter(Tensor):
    """The number of a step. Python code that branches on it, or passes it to a call,
    needs an integer: the loop is then unrolled."""

    def __eq__(self, other: object) -> bool:
        raise self._no_values("a comparison")

    def __hash__(self) -> int:
        raise self._no_values("a key")

    def __format__(self, spec: str) -> str:
        raise self._no_values("a text")

    def __str__(self) -> str:
        raise self._no_values("a text")


class _Unlike(Exception):
    """A state is the same for all samples before a step, but not after it."""


def looped(
    function: Any,
    step: Step,
    carry: Any,
    xs: Any,
    length: int,
    reverse: bool = False,
    counts: bool = False,
) -> tuple[Any, Any] | None:
    """The last carry and all outputs of a loop, as one operation; None if it must be
    unrolled.

    Args:
        function: whose code shows whether it stores results elsewhere.
        step: see `Step`.
        carry: any structure of states.
        xs: any structure of arrays whose first axis is that of the steps.
        counts: whether xs are the numbers of the steps.
    """
    graph = graph_of(carry, xs)
    if graph is None or length < MIN_STEPS or _keeps(function):
        return None
    for all_alike in (True, False):
        mark, made = graph.mark(), graph.made
        try:
            return _looped(graph, step, carry, xs, length, reverse, counts, all_alike)
        except _Unlike:
            graph.back_to(mark)
            graph.made = made
        except _LeakedTensor as error:
            raise NeedsValues(str(error)) from None
        except Exception:
            # Unrolled, the steps either work or report the error.
            graph.back_to(mark)
            graph.made = made
            return None
    return None


class _LeakedTensor(Exception):
    """A tensor of a step is kept elsewhere."""


def _keeps(function: Any) -> bool:
    code = getattr(function, "__code__", None)
    return code is None or not _KEEPING.isdisjoint(code.co_names)


def _looped(
    graph: Graph,
    step: Step,
    carry: Any,
    xs: Any,
    length: int,
    reverse: bool,
    counts: bool,
    all_alike: bool,
) -> tuple[Any, Any]:
    states = [graph.as_tensor(leaf) for leaf in leaves(carry)]
    if not all_alike:
        states = [Tensor(graph, s.index, s.sample, True, s.dtype) for s in states]
    elements = [_rows(graph, leaf) for leaf in leaves(xs) if leaf is not None]
    start = len(graph.shapes)
    results: list[Any] = []
    inside: list[weakref.ref[Tensor]] = []

    def body(read: list[Tensor], held: list[Tensor]) -> tuple[Any, list[Any]]:
        given = iter(read)
        if counts:
            t = read[0]
            x: Any = Counter(graph, t.index, t.sample, t.batched, "int32")
        else:
            x = replaced(xs, lambda leaf: None if leaf is None else next(given))
        before = iter(held)
        new, y = step(replaced(carry, lambda _: next(before)), x)
        news = [graph.as_tensor(leaf) for leaf in leaves(new)]
        for one, old in zip(news, held, strict=True):
            if one.batched and not old.batched:
                raise _Unlike
        outs = [None if leaf is None else graph.as_tensor(leaf) for leaf in leaves(y)]
        structure = replaced(y, lambda _: None)
        results[:] = [structure, [_Shape(one) for one in outs]]
        inside[:] = [weakref.ref(t) for t in graph.made or () if t.index >= start]
        known = [one for one in outs if one is not None]
        if not known:
            return (news or [read[0]])[0], news
        flat = [ops.reshape(_batched(one), (-1, _size(one))) for one in known]
        return flat[0] if len(flat) == 1 else ops.concatenate(flat, 1), news

    structure: Any
    mark = graph.mark()
    found = scanned(
        body,
        elements,
        [_batched(s) if not all_alike else s for s in states],
        length,
        reverse=reverse,
        sequences=True,
        last=bool(states),
        shared=True,
    )
    if found is None:
        raise _Unlike
    structure, shapes = results
    if any(ref() is not None for ref in inside):
        gc.collect()
        if any(ref() is not None for ref in inside):
            graph.back_to(mark)
            raise _LeakedTensor(
                "[loop] a tensor computed in a step must be part of the step's output "
                "or states. Received: one that was stored elsewhere. "
                "Try returning it."
            )
    new = iter(
        [
            Tensor(graph, part.index, state.sample, state.batched, state.dtype)
            for part, state in zip(found.states, states, strict=True)
        ]
    )
    ys: list[Tensor | None] = []
    at = 0
    for shape in shapes:
        if shape.size is None:
            ys.append(None)
            continue
        y = found.y
        if len(shapes) > 1:
            y = ops.get_item(y, (..., slice(at, at + shape.size)))
            at += shape.size
        if reverse:
            y = ops.flip(y, 1)
        y = ops.reshape(y, (-1, length, *shape.sample))
        y.dtype = shape.dtype
        ys.append(
            Moved(y, "scan")
            if shape.batched
            else Tensor(graph, y.index, y.sample, False, y.dtype)
        )
    outputs = iter(ys)
    return (
        replaced(carry, lambda _: next(new)),
        replaced(structure, lambda _: next(outputs)),
    )


class _Shape:
    """The properties of an output of a step, without the tensor itself."""

    def __init__(self, one: Tensor | None) -> None:
        self.size = None if one is None else _size(one)
        if one is not None:
            self.sample, self.dtype, self.batched = one.sample, one.dtype, one.batched


def _size(x: Tensor) -> int:
    return math.prod(x.sample)


def _batched(x: Tensor) -> Tensor:
    """The same value as one of each sample."""
    return Tensor(x.graph, x.index, x.sample, True, x.dtype)


def _rows(graph: Graph, leaf: Any) -> Tensor:
    """A tensor (B, T, ...) or, the same for all samples, (T, ...)."""
    return leaf.of if isinstance(leaf, Moved) else graph.as_tensor(leaf)


def by_sample(f: Callable[[Any], Any], xs: Any) -> Any | None:
    """f of each sample of xs, traced once for a sample without the batch axis; None if
    xs are not tensors of a batch.

    Raises:
        NeedsValues: the function reads other samples too.
    """
    found = list(leaves(xs))
    if not all(type(x) is Tensor and x.batched for x in found):
        return None
    graph: Graph = found[0].graph
    start = len(graph.ops)
    out = f(
        replaced(xs, lambda x: Tensor(graph, x.index, x.sample, False, x.dtype)),
    )
    made = [graph.as_tensor(leaf) for leaf in leaves(out)]
    mixes = any(op.kind == "batch_reduce" for op in graph.ops[start:])
    if mixes or any(tensor.batched for tensor in made):
        raise NeedsValues(
            "[map] the function must only depend on its argument. Received: one that "
            "reads a tensor of the whole batch. Try passing it as an argument."
        )
    rest = iter(made)
    return replaced(out, lambda _: _batched(next(rest)))


def numbers(lower: int, upper: int) -> np.ndarray:
    """The numbers of steps, as elements of a loop."""
    return np.arange(lower, upper, dtype=np.float32)


def parts_of(where: str, xs: Any, length: int | None) -> Sequence[Any]:
    """What each step reads, in order.

    Raises:
        ValueError: xs of different lengths.
    """
    found = [unstack(leaf, axis=0) for leaf in leaves(xs)]
    counts = {len(parts) for parts in found}
    if length is not None and counts and min(counts) >= length:
        counts, found = {length}, [parts[:length] for parts in found]
    if len(counts) != 1:
        raise ValueError(
            f"[{where}] the arrays that are looped over must have first axes of "
            f"equal length. Received: "
            f"{sorted(counts)}. Try slices of one length."
        )
    steps = []
    for parts in zip(*found, strict=True):
        steps.append(pack(xs, parts))
    return steps
