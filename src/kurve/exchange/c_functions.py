"""The parts of C functions: activations, and the function of one operation. Formulas
are those of `kurve.engines.reference`; NaN stays NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from kurve.engines.reference.activations import SELU_ALPHA, SELU_SCALE
from kurve.exchange.c_text import single
from kurve.exchange.constants import Arrays as Arrays
from kurve.plan import Op

ACTIVATIONS: dict[str, tuple[str, ...]] = {
    "relu": ("return z < 0.0f ? 0.0f : z;",),
    "leaky_relu": ("return z > 0.0f ? z : ALPHA * z;",),
    "elu": ("return z > 0.0f ? z : ALPHA * expm1f(z);",),
    "selu": (
        f"return {single(SELU_SCALE)} *",
        f"    (z > 0.0f ? z : {single(SELU_ALPHA)} * expm1f(z));",
    ),
    "sigmoid": (
        "const float e = expf(-fabsf(z));",
        "return (z < 0.0f ? e : 1.0f) / (1.0f + e);",
    ),
    "tanh": ("return tanhf(z);",),
    "silu": (
        "const float e = expf(-fabsf(z));",
        "return z * ((z < 0.0f ? e : 1.0f) / (1.0f + e));",
    ),
    "gelu": (f"return 0.5f * z * erfcf(z * {single(-math.sqrt(0.5))});",),
    "softplus": ("return (z < 0.0f ? 0.0f : z) + log1pf(expf(-fabsf(z)));",),
    "softsign": ("return z / (1.0f + fabsf(z));",),
    "sin": ("return sinf(z);",),
    "snake": (
        "float wave = ALPHA * z;",
        "wave = wave > FLT_MAX ? FLT_MAX : wave < -FLT_MAX ? -FLT_MAX : wave;",
        "wave = sinf(wave);",
        "return z + wave * wave / ALPHA;",
    ),
}
"""Bodies of the functions f(float z)."""


@dataclass(frozen=True)
class CFunction:
    """The C function of one operation: its arrays, in the order of w,
    and its body, a function of w, x and y.

    scratch: number of floats that the body needs in `scratch`
    """

    arrays: tuple[tuple[str, np.ndarray], ...]
    body: tuple[str, ...]
    scratch: int = 0


class Activations:
    """The activation functions that a file needs, without duplicates."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._functions: dict[tuple[str, float], tuple[str, list[str]]] = {}

    def apply(self, op: Op, z: str) -> str:
        """A C expression for the op's activation of z."""
        kind, alpha = str(op.attrs["activation"]), float(op.attrs["alpha"])
        if kind == "linear":
            return z
        body = ACTIVATIONS[kind]
        if (kind, alpha) not in self._functions:
            count = sum(other == kind for other, _ in self._functions)
            function = f"{self.name}_{kind}" + (f"_{count + 1}" if count else "")
            text = [
                f"static float {function}(float z)",
                "{",
                *("    " + line.replace("ALPHA", single(alpha)) for line in body),
                "}",
                "",
            ]
            self._functions[kind, alpha] = function, text
        return f"{self._functions[kind, alpha][0]}({z})"

    def text(self) -> list[str]:
        return [line for _, lines in self._functions.values() for line in lines]


def repeated(body: list[str], rows: int, inputs: int, outputs: int) -> tuple[str, ...]:
    """The body, for each of the sample's rows."""
    if rows == 1:
        return tuple(body)
    return (
        "int row;",
        f"for (row = 0; row < {rows}; row++, x += {inputs}, y += {outputs}) {{",
        *("    " + line for line in body),
        "}",
    )
