"""Elementwise functions of `kurve.ops`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from kurve.formulas.axes import dtype_name
from kurve.formulas.calls import as_array, elementwise, function, graph_of
from kurve.formulas.graph import Tensor


def _unary(
    name: str, rule: str, doc: str, dtype: str = "float32"
) -> Callable[..., Any]:
    def call(x: Any) -> Any:
        return elementwise(rule, x, dtype=dtype)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = doc
    return function(call)


def _binary(
    name: str, rule: str, doc: str, dtype: str = "float32"
) -> Callable[..., Any]:
    def call(x1: Any, x2: Any) -> Any:
        return elementwise(rule, x1, x2, dtype=dtype)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = doc
    return function(call)


add = _binary("add", "add", "x1 + x2.")
subtract = _binary("subtract", "sub", "x1 - x2.")
multiply = _binary("multiply", "mul", "x1 x2, element by element.")
divide = _binary("divide", "div", "x1 / x2.")
true_divide = _binary("true_divide", "div", "x1 / x2.")
mod = _binary("mod", "mod", "The remainder of x1 / x2, with the sign of x2.")
power = _binary("power", "pow", "x1 to the power of x2.")
maximum = _binary("maximum", "max", "The elementwise maximum.")
minimum = _binary("minimum", "min", "The elementwise minimum.")
arctan2 = _binary("arctan2", "arctan2", "The angle of (x2, x1), in radians.")
equal = _binary("equal", "eq", "Whether x1 = x2.", "bool")
not_equal = _binary("not_equal", "ne", "Whether x1 differs from x2.", "bool")
less = _binary("less", "lt", "Whether x1 < x2.", "bool")
less_equal = _binary("less_equal", "le", "Whether x1 <= x2.", "bool")
greater = _binary("greater", "gt", "Whether x1 > x2.", "bool")
greater_equal = _binary("greater_equal", "ge", "Whether x1 >= x2.", "bool")
logical_and = _binary("logical_and", "and", "Whether both are true.", "bool")
logical_or = _binary("logical_or", "or", "Whether at least one is true.", "bool")

negative = _unary("negative", "neg", "-x.")
absolute = _unary("absolute", "abs", "|x|.")
abs = _unary("abs", "abs", "|x|.")
square = _unary("square", "square", "x squared.")
sqrt = _unary("sqrt", "sqrt", "The square root.")
rsqrt = _unary("rsqrt", "rsqrt", "1 / sqrt(x).")
reciprocal = _unary("reciprocal", "reciprocal", "1 / x.")
exp = _unary("exp", "exp", "e to the power of x.")
expm1 = _unary("expm1", "expm1", "exp(x) - 1.")
log = _unary("log", "log", "The natural logarithm.")
log1p = _unary("log1p", "log1p", "log(1 + x).")
sin = _unary("sin", "sin", "The sine.")
cos = _unary("cos", "cos", "The cosine.")
tan = _unary("tan", "tan", "The tangent.")
arcsin = _unary("arcsin", "arcsin", "The inverse sine.")
arccos = _unary("arccos", "arccos", "The inverse cosine.")
arctan = _unary("arctan", "arctan", "The inverse tangent.")
sinh = _unary("sinh", "sinh", "The hyperbolic sine.")
cosh = _unary("cosh", "cosh", "The hyperbolic cosine.")
tanh = _unary("tanh", "tanh", "The hyperbolic tangent.")
arcsinh = _unary("arcsinh", "arcsinh", "The inverse hyperbolic sine.")
arccosh = _unary("arccosh", "arccosh", "The inverse hyperbolic cosine.")
arctanh = _unary("arctanh", "arctanh", "The inverse hyperbolic tangent.")
sigmoid = _unary("sigmoid", "sigmoid", "1 / (1 + exp(-x)).")
softplus = _unary("softplus", "softplus", "log(1 + exp(x)).")
erf = _unary("erf", "erf", "The error function.")
relu = _unary("relu", "relu", "max(x, 0).")
sign = _unary("sign", "sign", "-1, 0 or 1.")
floor = _unary("floor", "floor", "The largest integer <= x.")
ceil = _unary("ceil", "ceil", "The smallest integer >= x.")
stop_gradient = _unary(
    "stop_gradient", "stop_gradient", "x, as a constant for gradients."
)
logical_not = _unary("logical_not", "not", "Whether x is false.", "bool")
isfinite = _unary("isfinite", "isfinite", "Whether x is finite.", "bool")
isnan = _unary("isnan", "isnan", "Whether x is NaN.", "bool")


@function
def isinf(x: Any) -> Any:
    """Whether x is infinite."""
    return logical_not(logical_or(isfinite(x), isnan(x)))


@function
def floor_divide(x1: Any, x2: Any) -> Any:
    """floor(x1 / x2)."""
    return floor(divide(x1, x2))


@function
def log2(x: Any) -> Any:
    """The logarithm to base 2."""
    return multiply(log(x), 1.0 / math.log(2.0))


@function
def log10(x: Any) -> Any:
    """The logarithm to base 10."""
    return multiply(log(x), 1.0 / math.log(10.0))


@function
def logaddexp(x1: Any, x2: Any) -> Any:
    """log(exp(x1) + exp(x2))."""
    return add(maximum(x1, x2), softplus(negative(absolute(subtract(x1, x2)))))


@function
def round(x: Any, decimals: int = 0) -> Any:
    """Round x to the given number of decimals."""
    if decimals == 0:
        return elementwise("round", x)
    return divide(elementwise("round", multiply(x, 10.0**decimals)), 10.0**decimals)


@function
def clip(x: Any, x_min: Any, x_max: Any) -> Any:
    """Limit x to the range from x_min to x_max."""
    return minimum(maximum(x, x_min), x_max)


@function
def where(condition: Any, x1: Any = None, x2: Any = None) -> Any:
    """x1 where the condition holds, x2 elsewhere."""
    return elementwise("where", condition, x1, x2)


_MIDDLE = (
    2.81022636e-08,
    3.43273939e-07,
    -3.5233877e-06,
    -4.39150654e-06,
    0.00021858087,
    -0.00125372503,
    -0.00417768164,
    0.246640727,
    1.50140941,
)
_TAILS = (
    -0.000200214257,
    0.000100950558,
    0.00134934322,
    -0.00367342844,
    0.00573950773,
    -0.0076224613,
    0.00943887047,
    1.00167406,
    2.83297682,
)


@function
def erfinv(x: Any) -> Any:
    """The inverse of `erf` to float32 precision; x in (-1, 1).

    Source: Giles 2012, "Approximating the erfinv function".
    """
    w = negative(log1p(negative(square(x))))
    middle, tail = w - 2.5, sqrt(maximum(w, 5.0)) - 3.0
    low, high = _MIDDLE[0] * middle + _MIDDLE[1], _TAILS[0] * tail + _TAILS[1]
    for a, b in zip(_MIDDLE[2:], _TAILS[2:], strict=True):
        low, high = low * middle + a, high * tail + b
    return where(less(w, 5.0), low, high) * x


@function
def cast(x: Any, dtype: str) -> Any:
    """x as numbers of another type; integers are cut off towards zero."""
    graph = graph_of(x)
    if graph is None and str(dtype) == "string":
        return np.asarray(as_array(x)).astype(str)
    name = dtype_name(dtype)
    if graph is None:
        value = as_array(x)
        return (np.asarray(value) if np.isscalar(value) else value).astype(name)
    x = graph.as_tensor(x)
    if name == "bool":
        return x if x.dtype == "bool" else elementwise("ne", x, 0.0, dtype="bool")
    if name.startswith(("int", "uint")) and x.dtype.startswith("float"):
        return graph.map(
            [x],
            lambda b, r: b.op(
                "mul", b.op("sign", r[0]), b.op("floor", b.op("abs", r[0]))
            ),
            name,
        )
    return Tensor(graph, x.index, x.sample, x.batched, name)


@function
def zeros_like(x: Any, dtype: str | None = None) -> Any:
    """Zeros with the shape of x."""
    return full_like(x, 0.0, dtype)


@function
def ones_like(x: Any, dtype: str | None = None) -> Any:
    """Ones with the shape of x."""
    return full_like(x, 1.0, dtype)


@function
def full_like(x: Any, fill_value: float, dtype: str | None = None) -> Any:
    """`fill_value` in the shape of x."""
    graph = graph_of(x)
    if graph is None:
        return np.full_like(as_array(x), fill_value, dtype=dtype)
    y = graph.map([graph.as_tensor(x)], lambda b, r: b.constant(float(fill_value)))
    return y if dtype is None else cast(y, dtype)
