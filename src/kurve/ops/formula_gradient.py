"""Gradients of formulas, for penalties."""

from __future__ import annotations

import math
from typing import Any

from kurve.ops.elementwise import RULES
from kurve.ops.formula import Formula, Step, Symbol, replayed, trace

_Shape = tuple[int, ...]


def with_gradient(formula: Formula) -> Formula:
    """Turn a scalar formula w -> L into w -> dL/dw and L as an array (1,)."""
    (shape,) = formula.inputs

    def function(w: Symbol) -> list[Symbol]:
        registers = replayed(formula, [w])
        (output,) = formula.outputs
        adjoint: dict[int, Any] = {output: registers[output] * 0.0 + 1.0}
        for i in reversed(range(len(formula.steps))):
            step, here = formula.steps[i], i + 1
            if here not in adjoint or step.name == "constant":
                continue
            given = [registers[a] for a in step.arguments]
            parts = _parts(step, adjoint[here], registers[here], given, w)
            for a, part in zip(step.arguments, parts, strict=True):
                if part is not None:
                    part = _summed(part, registers[a])
                    adjoint[a] = adjoint[a] + part if a in adjoint else part
        slope = _full(adjoint[0], w) if 0 in adjoint else w * 0.0
        ones = _ones(w).sum(range(len(shape)), keepdims=True) / float(math.prod(shape))
        return [slope, (registers[output] * ones).reshape(1)]

    return trace([shape], function)


def _parts(step: Step, dy: Any, y: Symbol, given: list[Symbol], build: Symbol) -> Any:
    """The gradient of L for each argument of a step."""
    x = given[0]
    if step.name == "sum":
        kept = tuple(1 if i in step.options else n for i, n in enumerate(x.shape))
        return [_full(dy.reshape(kept) if dy.shape else dy, x)]
    if step.name == "reshape":
        return [_full(dy, y).reshape(x.shape)]
    if step.name == "matmul":
        dy = _full(dy, y)
        a_turned, b_turned = step.options
        a: Any = given[0].T if a_turned else given[0]
        b: Any = given[1].T if b_turned else given[1]
        return [
            b @ dy.T if a_turned else dy @ b.T,
            dy.T @ a if b_turned else a.T @ dy,
        ]
    return RULES[step.name].gradient(build, dy, y, *given)


def _ones(x: Symbol) -> Symbol:
    """An array of ones with the shape of x, whatever its values."""
    return x.op("max", x.op("eq", x, x), 1.0)


def _full(dy: Any, x: Symbol) -> Any:
    """Broadcast dy to the shape of x."""
    return dy if dy.shape == x.shape else dy * _ones(x)


def _summed(part: Any, x: Symbol) -> Any:
    """The gradient of an argument that was broadcast to the shape of `part`."""
    if part.shape == x.shape or not part.shape:
        return part
    if not x.shape:
        return part.sum()
    more = len(part.shape) - len(x.shape)
    axes = [*range(more)]
    axes += [
        more + i for i, n in enumerate(x.shape) if n == 1 and part.shape[more + i] != 1
    ]
    return part.sum(axes).reshape(x.shape)
