"""Activations written as tapes. New activations only need to be added here.

Each is a function of z = x @ W + b, element by element. Engines run it as an op of
kind "map", forward and backward; `kurve.exchange` exports it to ONNX and C. Names,
arguments and formulas are those of `keras.activations`. Those that engines fuse
into products (relu, tanh, ...) are in `kurve.engines.reference.activations`.
All of them propagate NaN.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from kurve.ops.tape import Builder, Tape, precision

Write = Callable[..., int]
Range = tuple[float, float]


class Formula(NamedTuple):
    """
    write:     (builder, register of z, **arguments) -> register of f(z)
    arguments: their defaults; `...` marks required ones
    range:     lowest and highest value, or a function of the arguments
    smooth:    has a continuous derivative, so that curvature is meaningful
    flatness:  see `kurve.plan.kinds.ActivationFacts`
    """

    write: Write
    arguments: Mapping[str, Any] = MappingProxyType({})
    range: Range | Callable[..., Range] = (-math.inf, math.inf)
    smooth: bool = False
    flatness: Callable[[Any], Any] | None = None

    def range_of(self, arguments: Mapping[str, Any]) -> Range:
        """The range for these arguments, with defaults for the others."""
        if not callable(self.range):
            return self.range
        return self.range(**{k: arguments.get(k, v) for k, v in self.arguments.items()})


def _clip(b: Builder, z: int, low: float, high: float) -> int:
    return b.op("min", b.op("max", z, low), high)


def exponential(b: Builder, z: int) -> int:
    """e^z."""
    return b.op("exp", z)


def mish(b: Builder, z: int) -> int:
    """z tanh(softplus(z)). Source: Misra 2019."""
    return b.op("mul", z, b.op("tanh", b.op("softplus", z)))


def relu(
    b: Builder,
    z: int,
    negative_slope: float = 0.0,
    max_value: float | None = None,
    threshold: float = 0.0,
) -> int:
    """z above the threshold, at most max_value; below it, negative_slope times the
    distance from the threshold."""
    y = b.op("relu", z)
    if threshold != 0.0:
        y = b.op("where", b.op("le", z, threshold), 0.0, z)
    if max_value is not None:
        y = _clip(b, y, 0.0, float(max_value))
    if negative_slope != 0.0:
        below = b.op("relu", b.op("sub", threshold, z))
        y = b.op("sub", y, b.op("mul", negative_slope, below))
    return y


def _relu_range(
    negative_slope: float, max_value: float | None, threshold: float
) -> Range:
    high = math.inf if max_value is None else float(max_value)
    if negative_slope > 0.0:
        return -math.inf, high
    return (0.0, high) if negative_slope == 0.0 else (0.0, math.inf)


def relu6(b: Builder, z: int) -> int:
    """z between 0 and 6. Source: Krizhevsky 2010."""
    return relu(b, z, max_value=6.0)


def hard_sigmoid(b: Builder, z: int) -> int:
    """z / 6 + 1/2 between 0 and 1."""
    return b.op("div", relu6(b, b.op("add", z, 3.0)), 6.0)


def hard_silu(b: Builder, z: int) -> int:
    """z hard_sigmoid(z). Source: Howard et al. 2019."""
    return b.op("mul", z, hard_sigmoid(b, z))


def hard_tanh(b: Builder, z: int) -> int:
    """z between -1 and 1."""
    return _clip(b, z, -1.0, 1.0)


def hard_shrink(b: Builder, z: int, threshold: float = 0.5) -> int:
    """z, but 0 where |z| <= threshold."""
    return b.op("where", b.op("le", b.op("abs", z), threshold), 0.0, z)


def soft_shrink(b: Builder, z: int, threshold: float = 0.5) -> int:
    """z shrunk towards 0 by the threshold, and 0 where |z| <= threshold."""
    return b.op("sub", z, _clip(b, z, -threshold, threshold))


def tanh_shrink(b: Builder, z: int) -> int:
    """z - tanh(z)."""
    return b.op("sub", z, b.op("tanh", z))


def threshold(b: Builder, z: int, threshold: float, default_value: float) -> int:
    """z above the threshold, else default_value."""
    return b.op("where", b.op("le", z, threshold), default_value, z)


def celu(b: Builder, z: int, alpha: float = 1.0) -> int:
    """z for z > 0, alpha (e^(z / alpha) - 1) below. Source: Barron 2017."""
    positive = b.op("gt", z, 0.0)
    # Avoids overflow, since 0 times infinity is NaN.
    below = b.op("where", positive, 0.0, z)
    power = b.op("expm1", b.op("div", below, alpha))
    return b.op("where", positive, z, b.op("mul", alpha, power))


def log_sigmoid(b: Builder, z: int) -> int:
    """log(1 / (1 + e^-z))."""
    return b.op("neg", b.op("softplus", b.op("neg", z)))


def sparse_plus(b: Builder, z: int) -> int:
    """0 below -1, (z + 1)^2 / 4 up to 1, then z."""
    half = b.op("mul", 0.5, b.op("add", _clip(b, z, -1.0, 1.0), 1.0))
    return b.op("where", b.op("ge", z, 1.0), z, b.op("square", half))


def sparse_sigmoid(b: Builder, z: int) -> int:
    """(z + 1) / 2 between 0 and 1. Source: Blondel, Martins & Niculae 2019."""
    return b.op("mul", 0.5, b.op("add", hard_tanh(b, z), 1.0))


def squareplus(builder: Builder, z: int, b: float = 4.0) -> int:
    """(z + sqrt(z^2 + b)) / 2. Source: Barron 2021."""
    square = builder.op("add", builder.op("square", z), float(b))
    return builder.op("mul", 0.5, builder.op("add", z, builder.op("sqrt", square)))


def gelu(b: Builder, z: int, approximate: bool = False) -> int:
    """z (1 + tanh(sqrt(2 / pi) (z + 0.044715 z^3))) / 2. Source: Hendrycks & Gimpel
    2016. Beyond 10, tanh is 1 in float64."""
    near = _clip(b, z, -10.0, 10.0)
    cube = b.op("mul", 0.044715, b.op("pow", near, 3.0))
    inside = b.op("mul", math.sqrt(2.0 / math.pi), b.op("add", near, cube))
    share = b.op("mul", 0.5, b.op("add", 1.0, b.op("tanh", inside)))
    return b.op("mul", z, share)


FORMULAS: dict[str, Formula] = {
    "exponential": Formula(exponential, range=(0.0, math.inf), smooth=True),
    "mish": Formula(mish, range=(-0.3089, math.inf), smooth=True),
    "relu": Formula(
        relu,
        {"negative_slope": 0.0, "max_value": None, "threshold": 0.0},
        _relu_range,
    ),
    "relu6": Formula(relu6, range=(0.0, 6.0)),
    "hard_sigmoid": Formula(hard_sigmoid, range=(0.0, 1.0)),
    "hard_silu": Formula(hard_silu, range=(-0.375, math.inf)),
    "hard_tanh": Formula(hard_tanh, range=(-1.0, 1.0)),
    "hard_shrink": Formula(hard_shrink, {"threshold": 0.5}),
    "soft_shrink": Formula(soft_shrink, {"threshold": 0.5}),
    "tanh_shrink": Formula(tanh_shrink, smooth=True),
    "threshold": Formula(threshold, {"threshold": ..., "default_value": ...}),
    "celu": Formula(celu, {"alpha": 1.0}, lambda alpha: (-abs(alpha), math.inf)),
    "log_sigmoid": Formula(log_sigmoid, range=(-math.inf, 0.0), smooth=True),
    "sparse_plus": Formula(sparse_plus, range=(0.0, math.inf)),
    "sparse_sigmoid": Formula(sparse_sigmoid, range=(0.0, 1.0)),
    "squareplus": Formula(squareplus, {"b": 4.0}, (0.0, math.inf), smooth=True),
    "gelu": Formula(gelu, {"approximate": False}, (-0.1701, math.inf), smooth=True),
}
"""Activations by name. relu and gelu are here for arguments that no engine fuses."""


def tape_of(name: str, arguments: tuple[tuple[str, Any], ...] = ()) -> Tape:
    """The tape of f(z)."""
    return _tape_of(name, arguments, precision.dtype)


@functools.lru_cache(maxsize=256)
def _tape_of(name: str, arguments: tuple[tuple[str, Any], ...], dtype: Any) -> Tape:
    from kurve.ops.elementwise import RULES

    build = Builder(RULES, 1)
    return build.finish([FORMULAS[name].write(build, 0, **dict(arguments))])
