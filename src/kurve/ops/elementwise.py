"""The elementwise operations and their derivatives.

Derivatives are written as instructions, so that they can be run, fused and
differentiated again like any other tape. At kinks they follow Keras and its backends: 0
for relu at 0 and sign(0) = 0 for |x|; ties of max or min split the gradient evenly.

Comparisons return 1.0 or 0.0, and logical operations treat nonzero as true: all
registers have one numeric type.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from kurve.ops.tape import Builder, Rule

LN2 = math.log(2.0)

RULES: dict[str, Rule] = {}
"""The table of operations: the names are used in files and by engines."""


def rule(
    name: str, compute: Callable[..., Any], gradient: Callable[..., Any], arity: int = 1
) -> None:
    RULES[name] = Rule(arity, compute, gradient)


def _erf(x: Any) -> Any:
    return np.asarray(np.frompyfunc(math.erf, 1, 1)(x)).astype(np.asarray(x).dtype)


def _as(x: Any, condition: Any) -> Any:
    """A condition as 1.0 and 0.0 in the dtype of x."""
    return np.asarray(condition).astype(np.asarray(x).dtype)


def _none(build: Builder, dy: int, y: int, *x: int) -> tuple[None, ...]:
    """No derivative, or 0 wherever it exists."""
    return (None,) * len(x)


def _times(name: str, *more: float) -> Callable[..., tuple[int]]:
    """dx = dy * name(x, ...)."""
    return lambda b, dy, y, x: (b.op("mul", dy, b.op(name, x, *more)),)


# Arithmetic.
rule("constant", lambda: None, lambda b, dy, y: (), 0)
rule("add", np.add, lambda b, dy, y, u, v: (dy, dy), 2)
rule("sub", np.subtract, lambda b, dy, y, u, v: (dy, b.op("neg", dy)), 2)
rule(
    "mul",
    np.multiply,
    lambda b, dy, y, u, v: (b.op("mul", dy, v), b.op("mul", dy, u)),
    2,
)
rule(
    "div",
    np.divide,
    lambda b, dy, y, u, v: (
        b.op("div", dy, v),
        b.op("neg", b.op("mul", b.op("div", dy, v), y)),
    ),
    2,
)
rule("neg", np.negative, lambda b, dy, y, x: (b.op("neg", dy),))
rule(
    "reciprocal",
    lambda x: 1.0 / x,
    lambda b, dy, y, x: (b.op("neg", b.op("mul", dy, b.op("square", y))),),
)
rule(
    "square",
    np.square,
    lambda b, dy, y, x: (b.op("mul", dy, b.op("mul", 2.0, x)),),
)
rule(
    "sqrt",
    np.sqrt,
    lambda b, dy, y, x: (b.op("div", b.op("mul", 0.5, dy), y),),
)
rule(
    "rsqrt",
    lambda x: 1.0 / np.sqrt(x),
    lambda b, dy, y, x: (
        b.op("mul", dy, b.op("mul", -0.5, b.op("mul", y, b.op("square", y)))),
    ),
)


def _pow_gradient(b: Builder, dy: int, y: int, x: int, p: int) -> tuple[int, int]:
    """p x^(p - 1), which is 0 for p = 0; y log x, which is 0 at x = 0."""
    slope = b.op("mul", p, b.op("pow", x, b.op("sub", p, 1.0)))
    slope = b.op("where", b.op("eq", p, 0.0), 0.0, slope)
    positive = b.op("where", b.op("gt", x, 0.0), x, 1.0)
    return b.op("mul", dy, slope), b.op(
        "mul", dy, b.op("mul", y, b.op("log", positive))
    )


rule("pow", np.power, _pow_gradient, 2)


def _mod_gradient(b: Builder, dy: int, y: int, u: int, v: int) -> tuple[int, int]:
    whole = b.op("floor", b.op("div", u, v))
    return dy, b.op("neg", b.op("mul", dy, whole))


rule("mod", np.mod, _mod_gradient, 2)

# Exponentials and logarithms.
rule("exp", np.exp, lambda b, dy, y, x: (b.op("mul", dy, y),))
rule("expm1", np.expm1, lambda b, dy, y, x: (b.op("mul", dy, b.op("add", y, 1.0)),))
rule("log", np.log, lambda b, dy, y, x: (b.op("div", dy, x),))
rule("log1p", np.log1p, lambda b, dy, y, x: (b.op("div", dy, b.op("add", x, 1.0)),))
rule(
    "sigmoid",
    lambda x: np.exp(-np.logaddexp(np.zeros_like(x), -x)),
    lambda b, dy, y, x: (b.op("mul", dy, b.op("mul", y, b.op("sub", 1.0, y))),),
)
rule("softplus", lambda x: np.logaddexp(np.zeros_like(x), x), _times("sigmoid"))
rule(
    "erf",
    _erf,
    lambda b, dy, y, x: (
        b.op(
            "mul",
            dy,
            b.op(
                "mul",
                2.0 / math.sqrt(math.pi),
                b.op("exp", b.op("neg", b.op("square", x))),
            ),
        ),
    ),
)

# Circular and hyperbolic functions.
rule("sin", np.sin, _times("cos"))
rule("cos", np.cos, lambda b, dy, y, x: (b.op("neg", b.op("mul", dy, b.op("sin", x))),))
rule(
    "tan",
    np.tan,
    lambda b, dy, y, x: (b.op("mul", dy, b.op("add", 1.0, b.op("square", y))),),
)
rule(
    "tanh",
    np.tanh,
    lambda b, dy, y, x: (b.op("mul", dy, b.op("sub", 1.0, b.op("square", y))),),
)
rule("sinh", np.sinh, _times("cosh"))
rule("cosh", np.cosh, _times("sinh"))


def _over_root(sign: float, constant: float, square: float) -> Callable[..., Any]:
    """dx = sign dy / sqrt(constant + square x^2)."""

    def gradient(b: Builder, dy: int, y: int, x: int) -> tuple[int]:
        inside = b.op("add", constant, b.op("mul", square, b.op("square", x)))
        return (b.op("mul", b.op("mul", sign, dy), b.op("rsqrt", inside)),)

    return gradient


rule("arcsin", np.arcsin, _over_root(1.0, 1.0, -1.0))
rule("arccos", np.arccos, _over_root(-1.0, 1.0, -1.0))
rule("arcsinh", np.arcsinh, _over_root(1.0, 1.0, 1.0))
rule("arccosh", np.arccosh, _over_root(1.0, -1.0, 1.0))
rule(
    "arctan",
    np.arctan,
    lambda b, dy, y, x: (b.op("div", dy, b.op("add", 1.0, b.op("square", x))),),
)
rule(
    "arctanh",
    np.arctanh,
    lambda b, dy, y, x: (b.op("div", dy, b.op("sub", 1.0, b.op("square", x))),),
)


def _arctan2_gradient(b: Builder, dy: int, y: int, u: int, v: int) -> tuple[int, int]:
    part = b.op("div", dy, b.op("add", b.op("square", u), b.op("square", v)))
    return b.op("mul", part, v), b.op("neg", b.op("mul", part, u))


rule("arctan2", np.arctan2, _arctan2_gradient, 2)

# Piecewise functions.
rule("abs", np.abs, _times("sign"))
rule("sign", np.sign, _none)
rule("floor", np.floor, _none)
rule("ceil", np.ceil, _none)
rule("round", np.round, _none)
rule("stop_gradient", lambda x: x, _none)


def _tie(winner: str) -> Callable[..., Any]:
    """The gradient goes to the winner; in a tie, each gets half."""

    def gradient(b: Builder, dy: int, y: int, u: int, v: int) -> tuple[int, int]:
        half = b.op("mul", 0.5, b.op("eq", u, v))
        first = b.op("add", b.op(winner, u, v), half)
        return b.op("mul", dy, first), b.op("mul", dy, b.op("sub", 1.0, first))

    return gradient


rule("max", np.maximum, _tie("gt"), 2)
rule("min", np.minimum, _tie("lt"), 2)
rule(
    "relu",
    lambda x: np.maximum(x, np.zeros((), np.asarray(x).dtype)),
    lambda b, dy, y, x: (b.op("mul", dy, b.op("gt", x, 0.0)),),
)
rule(
    "where",
    lambda c, u, v: np.where(c != 0, u, v),
    lambda b, dy, y, c, u, v: (
        None,
        b.op("where", c, dy, 0.0),
        b.op("where", c, 0.0, dy),
    ),
    3,
)

# Comparison and logic.
rule("lt", lambda u, v: _as(u, u < v), _none, 2)
rule("le", lambda u, v: _as(u, u <= v), _none, 2)
rule("gt", lambda u, v: _as(u, u > v), _none, 2)
rule("ge", lambda u, v: _as(u, u >= v), _none, 2)
rule("eq", lambda u, v: _as(u, u == v), _none, 2)
rule("ne", lambda u, v: _as(u, u != v), _none, 2)
rule("and", lambda u, v: _as(u, (u != 0) & (v != 0)), _none, 2)
rule("or", lambda u, v: _as(u, (u != 0) | (v != 0)), _none, 2)
rule("not", lambda x: _as(x, x == 0), _none)
rule("isfinite", lambda x: _as(x, np.isfinite(x)), _none)
rule("isnan", lambda x: _as(x, np.isnan(x)), _none)

ARITIES = {name: found.arity for name, found in RULES.items()}
"""Number of arguments of each operation."""
