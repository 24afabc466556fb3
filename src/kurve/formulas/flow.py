"""Control flow in `kurve.ops`: branches and loops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kurve.formulas import functions as ops
from kurve.formulas.arrays import unstack
from kurve.formulas.calls import as_array
from kurve.formulas.graph import Tensor
from kurve.formulas.tensor import KerasTensor


def cond(pred: Any, true_fn: Callable[[], Any], false_fn: Callable[[], Any]) -> Any:
    """The result of one of the functions; if the model computes the condition, both run
    and the result is chosen elementwise."""
    if isinstance(pred, (Tensor, KerasTensor)):
        return ops.where(pred, true_fn(), false_fn())
    return true_fn() if bool(np.asarray(as_array(pred))) else false_fn()


def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """Call the branch with that index."""
    if not isinstance(index, (Tensor, KerasTensor)):
        number = int(np.clip(int(as_array(index)), 0, len(branches) - 1))
        return branches[number](*operands)
    y = branches[-1](*operands)
    for i in reversed(range(len(branches) - 1)):
        y = ops.where(ops.less_equal(index, float(i)), branches[i](*operands), y)
    return y


def fori_loop(
    lower: int, upper: int, body_fun: Callable[[int, Any], Any], init_val: Any
) -> Any:
    """Apply body_fun(i, value) for i from lower to upper - 1."""
    for i in range(int(lower), int(upper)):
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
    values, turns = tuple(loop_vars) if many else (loop_vars,), 0
    while maximum_iterations is None or turns < maximum_iterations:
        going_on = cond(*values)
        if isinstance(going_on, (Tensor, KerasTensor)):
            raise NotImplementedError(
                "[while_loop] a condition computed by the model cannot end a loop. "
                "Try ops.fori_loop with ops.where."
            )
        if not going_on:
            break
        result = body(*values)
        values, turns = tuple(result) if many else (result,), turns + 1
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
    parts = [None] * int(length or 0) if xs is None else _along_first(xs)
    ys = []
    for x in reversed(parts) if reverse else parts:
        init, y = f(init, x)
        ys.append(y)
    ys = ys[::-1] if reverse else ys
    return init, None if not ys or ys[0] is None else _stacked(ys)


def map(f: Callable[[Any], Any], xs: Any) -> Any:
    """Apply f to each x along the first axis."""
    return _stacked([f(x) for x in _along_first(xs)])


def vectorized_map(function: Callable[[Any], Any], elements: Any) -> Any:
    """Same as `map`."""
    return map(function, elements)


def _along_first(xs: Any) -> list[Any]:
    if isinstance(xs, (tuple, list)):
        return list(zip(*(_along_first(x) for x in xs), strict=True))
    return list(unstack(xs, axis=0))


def _stacked(ys: Sequence[Any]) -> Any:
    if isinstance(ys[0], (tuple, list)):
        return type(ys[0])(_stacked(part) for part in zip(*ys, strict=True))
    return ops.stack(ys, 0)


OTHERS = (cond, fori_loop, map, scan, switch, vectorized_map, while_loop)
"""Functions that are not recorded as calls in a model."""
