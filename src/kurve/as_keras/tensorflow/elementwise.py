"""Elementwise functions: `tf.exp`, `tf.math.log`, `tf.square`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from kurve.as_keras.tensorflow.values import concrete, eager, operands, tensor
from kurve.formulas import functions as ops

_ONE = {
    "abs": "absolute",
    "acos": "arccos",
    "acosh": "arccosh",
    "asin": "arcsin",
    "asinh": "arcsinh",
    "atan": "arctan",
    "atanh": "arctanh",
    "ceil": "ceil",
    "cos": "cos",
    "cosh": "cosh",
    "erf": "erf",
    "exp": "exp",
    "expm1": "expm1",
    "floor": "floor",
    "is_finite": "isfinite",
    "is_inf": "isinf",
    "is_nan": "isnan",
    "log": "log",
    "log1p": "log1p",
    "logical_not": "logical_not",
    "negative": "negative",
    "reciprocal": "reciprocal",
    "rint": "round",
    "round": "round",
    "rsqrt": "rsqrt",
    "sigmoid": "sigmoid",
    "sign": "sign",
    "sin": "sin",
    "sinh": "sinh",
    "softplus": "softplus",
    "sqrt": "sqrt",
    "square": "square",
    "stop_gradient": "stop_gradient",
    "tan": "tan",
    "tanh": "tanh",
}
"""Functions of one tensor: TensorFlow's name, and that of `kurve.ops`."""

_TWO = {
    "add": "add",
    "atan2": "arctan2",
    "divide": "true_divide",
    "div": "true_divide",
    "equal": "equal",
    "floordiv": "floor_divide",
    "floormod": "mod",
    "greater": "greater",
    "greater_equal": "greater_equal",
    "less": "less",
    "less_equal": "less_equal",
    "logical_and": "logical_and",
    "logical_or": "logical_or",
    "maximum": "maximum",
    "minimum": "minimum",
    "mod": "mod",
    "multiply": "multiply",
    "not_equal": "not_equal",
    "pow": "power",
    "realdiv": "true_divide",
    "subtract": "subtract",
    "truediv": "true_divide",
}
"""Functions of two tensors."""

__all__ = [
    *_ONE,
    *_TWO,
    "add_n",
    "clip_by_value",
    "divide_no_nan",
    "logical_xor",
    "multiply_no_nan",
    "squared_difference",
    "xlogy",
]


def _unary(name: str, own: str) -> Callable[..., Any]:
    def call(x: Any, name: Any = None) -> Any:
        return getattr(ops, own)(*operands(x))

    return _named(call, name, own)


def _binary(name: str, own: str) -> Callable[..., Any]:
    def call(x: Any, y: Any, name: Any = None) -> Any:
        given = list(operands(x, y))
        if own == "true_divide" and all(_is_whole(v) for v in given):
            return np.true_divide(*given)  # in float64
        return getattr(ops, own)(*given)

    return _named(call, name, own)


def _is_whole(x: Any) -> bool:
    return isinstance(x, int) or (isinstance(x, np.ndarray) and x.dtype.kind in "iu")


def _named(call: Callable[..., Any], name: str, own: str) -> Callable[..., Any]:
    call.__name__ = call.__qualname__ = name
    call.__doc__ = getattr(ops, own).__doc__
    return eager(call)


for _name, _own in _ONE.items():
    setattr(sys.modules[__name__], _name, _unary(_name, _own))
for _name, _own in _TWO.items():
    setattr(sys.modules[__name__], _name, _binary(_name, _own))


@eager
def add_n(inputs: Any, name: Any = None) -> Any:
    """The sum of several tensors."""
    total = tensor(inputs[0])
    for part in inputs[1:]:
        total = ops.add(*operands(total, part))
    return total


@eager
def clip_by_value(
    t: Any, clip_value_min: Any, clip_value_max: Any, name: Any = None
) -> Any:
    """t clipped to the bounds."""
    return ops.clip(*operands(t, clip_value_min, clip_value_max))


@eager
def divide_no_nan(x: Any, y: Any, name: Any = None) -> Any:
    """x / y; 0 where y is 0."""
    x, y = operands(x, y)
    zero = ops.equal(y, 0.0)
    return ops.where(zero, 0.0, ops.true_divide(x, ops.where(zero, 1.0, y)))


@eager
def multiply_no_nan(x: Any, y: Any, name: Any = None) -> Any:
    """x y; 0 where y is 0, even if x is not finite."""
    x, y = operands(x, y)
    return ops.where(ops.equal(y, 0.0), 0.0, ops.multiply(x, y))


@eager
def logical_xor(x: Any, y: Any, name: Any = None) -> Any:
    """Whether exactly one of the two is true."""
    return ops.not_equal(*operands(x, y))


@eager
def squared_difference(x: Any, y: Any, name: Any = None) -> Any:
    """(x - y)²."""
    return ops.square(ops.subtract(*operands(x, y)))


@eager
def xlogy(x: Any, y: Any, name: Any = None) -> Any:
    """x log(y); 0 where x is 0."""
    a, b = concrete("math.xlogy", x, y)
    return np.where(a == 0, 0.0, a * np.log(np.where(a == 0, 1.0, b))).astype(b.dtype)
