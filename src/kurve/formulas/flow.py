"""Control flow in `kurve.ops`: branches and loops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kurve.formulas import functions as ops
from kurve.formulas.arrays import unstack
from kurve.formulas.axes import axis_of
from kurve.formulas.calls import as_array
from kurve.formulas.graph import Tensor
from kurve.formulas.loop_tracing import by_sample, looped, numbers, parts_of
from kurve.formulas.recording import active
from kurve.formulas.tensor import KerasTensor, leaves, replaced

MAX_TRIED = 64
"""Iterations of a loop of unknown length in a trial of its formula."""


def cond(pred: Any, true_fn: Callable[[], Any], false_fn: Callable[[], Any]) -> Any:
    """The result of one of the functions; if the model computes the condition, both run
    and the result is chosen elementwise."""
    if isinstance(pred, (Tensor, KerasTensor)):
        return _chosen(pred, true_fn(), false_fn())
    return true_fn() if bool(np.asarray(as_array(pred))) else false_fn()


def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """Call the branch with that index."""
    if not isinstance(index, (Tensor, KerasTensor)):
        number = int(np.clip(int(as_array(index)), 0, len(branches) - 1))
        return branches[number](*operands)
    y = branches[-1](*operands)
    for i in reversed(range(len(branches) - 1)):
        y = _chosen(ops.less_equal(index, float(i)), branches[i](*operands), y)
    return y


def _chosen(pred: Any, one: Any, other: Any) -> Any:
    """Two results of the same structure, the first where the condition holds."""
    others = leaves(other)
    return replaced(one, lambda leaf: ops.where(pred, leaf, next(others)))


def fori_loop(
    lower: int, upper: int, body_fun: Callable[[int, Any], Any], init_val: Any
) -> Any:
    """Apply body_fun(i, value) for i from lower to upper - 1."""
    first, end = int(lower), int(upper)
    found = looped(
        body_fun,
        lambda value, i: (body_fun(i, value), None),
        init_val,
        numbers(first, end),
        end - first,
        counts=True,
    )
    if found is not None:
        return found[0]
    for i in range(first, end):
        init_val = body_fun(i, init_val)
    return init_val


def while_loop(
    cond: Callable[..., Any],
    body: Callable[..., Any],
    loop_vars: Any,
    maximum_iterations: int | None = None,
) -> Any:
    """Apply body(*loop_vars) while cond(*loop_vars) holds."""
    many = isinstance(loop_vars, (tuple, list))
    values, steps = tuple(loop_vars) if many else (loop_vars,), 0
    while maximum_iterations is None or steps < maximum_iterations:
        going_on = cond(*values)
        if isinstance(going_on, KerasTensor):
            raise NotImplementedError(
                "[while_loop] a condition computed by the model cannot end a loop of "
                "symbolic tensors. Try it in the call() of a layer, or ops.fori_loop "
                "with ops.where."
            )
        if not going_on:
            break
        if active.undo is not None and steps == MAX_TRIED:
            break  # of zeros; only shapes are asked for
        result = body(*values)
        values = tuple(result) if isinstance(result, (tuple, list)) else (result,)
        steps += 1
    return values if many else values[0]


def scan(
    f: Callable[[Any, Any], Any],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int = 1,
) -> Any:
    """Apply carry, y = f(carry, x) along the first axis; return the last carry and all
    y."""
    if not callable(f):
        raise TypeError(
            f"[scan] f must be a function. Received: f={f!r}. "
            "Try lambda carry, x: (carry + x, carry)."
        )
    if xs is None and length is None:
        raise ValueError(
            "[scan] a loop without xs needs a length. Received: xs=None, "
            "length=None. Try length=10."
        )
    found = None
    known = xs is None or all(_has_steps(leaf) for leaf in leaves(xs))
    if unroll is not True and known:
        steps = int(length or 0) if xs is None else _length(xs, length)
        given = numbers(0, steps) if xs is None else xs
        step = (lambda c, _: f(c, None)) if xs is None else f
        found = looped(f, step, init, given, steps, bool(reverse))
    if found is not None:
        return found
    parts: Sequence[Any] = [None] * int(length or 0)
    if xs is not None:
        parts = parts_of("scan", xs, length)
    ys = []
    for x in reversed(parts) if reverse else parts:
        init, y = f(init, x)
        ys.append(y)
    ys = ys[::-1] if reverse else ys
    return init, None if not ys or ys[0] is None else _stacked(ys)


def associative_scan(
    f: Callable[[Any, Any], Any], elems: Any, reverse: bool = False, axis: int = 0
) -> Any:
    """The cumulative results of an associative f along an axis: [a, f(a, b), f(f(a, b),
    c), ...]; f gets slices of several elements."""
    if not callable(f):
        raise TypeError(
            f"[associative_scan] f must be a function. Received: f={f!r}. Try ops.add."
        )
    shapes = [tuple(ops.shape(leaf)) for leaf in leaves(elems)]
    sizes = {shape[axis_of(axis, len(shape))] for shape in shapes}
    if len(sizes) != 1:
        raise ValueError(
            "[associative_scan] all elements must have an equal axis. Received: "
            f"shapes {shapes} for axis={axis}. Try ops.broadcast_to."
        )
    if reverse:
        elems = replaced(elems, lambda leaf: ops.flip(leaf, axis))
    if next(iter(sizes)) is None:  # the batch
        parts = [unstack(leaf, axis=axis) for leaf in leaves(elems)]
        sizes = {len(parts[0])}
    y = _associative(f, elems, axis)
    return replaced(y, lambda leaf: ops.flip(leaf, axis)) if reverse else y


def _associative(f: Callable[[Any, Any], Any], elems: Any, axis: int) -> Any:
    """First the pairs, then the results up to each pair, then those in between: log2(n)
    calls."""

    def cut(structure: Any, start: int, stop: int | None, step: int) -> Any:
        def of(leaf: Any) -> Any:
            count = len(ops.shape(leaf))
            key: list[Any] = [slice(None)] * count
            key[axis_of(axis, count)] = slice(start, stop, step)
            return ops.get_item(leaf, tuple(key))

        return replaced(structure, of)

    def along(*structures: Any) -> Any:
        others = [leaves(structure) for structure in structures[1:]]
        return replaced(
            structures[0],
            lambda leaf: ops.concatenate([leaf, *(next(o) for o in others)], axis),
        )

    one = next(iter(leaves(elems)))
    n = int(ops.shape(one)[axis])
    if n < 2:
        return elems
    pairs = f(cut(elems, 0, n - 1, 2), cut(elems, 1, n, 2))
    odd = _associative(f, pairs, axis)
    last = n // 2 - (n % 2 == 0)
    first = cut(elems, 0, 1, 1)
    even = first
    if last:
        between = f(cut(odd, 0, last, 1), cut(elems, 2, n, 2))
        even = along(first, between)
    alternating = []
    for k in range(n):
        source = odd if k % 2 else even
        alternating.append(cut(source, k // 2, k // 2 + 1, 1))
    return along(*alternating)


def map(f: Callable[[Any], Any], xs: Any) -> Any:
    """Apply f to each x along the first axis."""
    found = by_sample(f, xs)
    if found is not None:
        return found
    if all(_has_steps(leaf) for leaf in leaves(xs)):
        loop = looped(f, lambda _, x: ((), f(x)), (), xs, _length(xs, None))
        if loop is not None:
            return loop[1]
    return _stacked([f(x) for x in parts_of("map", xs, None)])


def vectorized_map(function: Callable[[Any], Any], elements: Any) -> Any:
    """Same as `map`."""
    return map(function, elements)


def _has_steps(leaf: Any) -> bool:
    """Whether it has a first axis of known size."""
    shape = ops.shape(leaf)
    return not isinstance(leaf, KerasTensor) and bool(shape) and shape[0] is not None


def _length(xs: Any, length: int | None) -> int:
    """The number of steps; 0 if the unrolled steps should report the error."""
    counts = {ops.shape(leaf)[0] for leaf in leaves(xs)}
    own = counts.pop() if len(counts) == 1 else 0
    return int(own) if length in (None, own) else 0


def _stacked(ys: Sequence[Any]) -> Any:
    parts = zip(*(list(leaves(y)) for y in ys), strict=True)
    return replaced(ys[0], lambda leaf: _joined(leaf, next(parts)))


def _joined(first: Any, parts: Sequence[Any]) -> Any:
    return None if first is None else ops.stack(parts, 0)


OTHERS = (
    associative_scan,
    cond,
    fori_loop,
    map,
    scan,
    switch,
    vectorized_map,
    while_loop,
)
"""Functions that are not recorded as calls in a model."""
