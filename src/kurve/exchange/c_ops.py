"""What each operation of a plan becomes in C: one function an op kind, one entry an
activation. Formulas are those of `kurve.engines.reference`; NaN stays NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from kurve.engines.reference.activations import SELU_ALPHA, SELU_SCALE
from kurve.exchange.c_text import single
from kurve.plan import Op

Arrays = Mapping[str, np.ndarray]

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
class Step:
    """One operation: its arrays, in the order in which w holds them, and the body of a
    function of w, x and y.

    scratch: floats that the body takes from `scratch`
    """

    arrays: tuple[tuple[str, np.ndarray], ...]
    body: tuple[str, ...]
    scratch: int = 0


class Functions:
    """The small functions that a file needs, each once."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._made: dict[tuple[str, float], tuple[str, list[str]]] = {}

    def activated(self, op: Op, z: str) -> str:
        """An expression for the op's activation of z."""
        kind, alpha = str(op.attrs["activation"]), float(op.attrs["alpha"])
        if kind == "linear":
            return z
        body = ACTIVATIONS[kind]
        if (kind, alpha) not in self._made:
            count = sum(made == kind for made, _ in self._made)
            function = f"{self.name}_{kind}" + (f"_{count + 1}" if count else "")
            text = [
                f"static float {function}(float z)",
                "{",
                *("    " + line.replace("ALPHA", single(alpha)) for line in body),
                "}",
                "",
            ]
            self._made[kind, alpha] = function, text
        return f"{self._made[kind, alpha][0]}({z})"

    def text(self) -> list[str]:
        return [line for _, lines in self._made.values() for line in lines]


def dense(functions: Functions, op: Op, arrays: Arrays) -> Step:
    inputs, outputs = arrays["kernel"].shape
    rows = math.prod(op.in_shape[:-1])
    bias = "bias" in arrays
    start = f"w[{inputs * outputs} + j]" if bias else "0.0f"
    result = functions.activated(op, "y[j]")
    body = [
        "int i, j;",
        f"for (j = 0; j < {outputs}; j++) y[j] = {start};",
        f"for (i = 0; i < {inputs}; i++) {{",
        "    const float t = x[i];",
        f"    const float *RESTRICT k = w + (long)i * {outputs};",
        f"    for (j = 0; j < {outputs}; j++) y[j] += t * k[j];",
        "}",
    ]
    if result != "y[j]":
        body.append(f"for (j = 0; j < {outputs}; j++) y[j] = {result};")
    held = [("kernel", arrays["kernel"])] + ([("bias", arrays["bias"])] if bias else [])
    return Step(tuple(held), _repeated(body, rows, inputs, outputs))


def activation(functions: Functions, op: Op, arrays: Arrays) -> Step | None:
    result = functions.activated(op, "x[i]")
    if result == "x[i]":
        return None
    size = math.prod(op.in_shape)
    return Step((), ("int i;", f"for (i = 0; i < {size}; i++) y[i] = {result};"))


def softmax(functions: Functions, op: Op, arrays: Arrays) -> Step:
    size = op.in_shape[-1]
    body = [
        "float top = x[0], sum = 0.0f;",
        "int i;",
        f"for (i = 1; i < {size}; i++) top = x[i] > top ? x[i] : top;",
        f"for (i = 0; i < {size}; i++) sum += y[i] = expf(x[i] - top);",
        f"for (i = 0; i < {size}; i++) y[i] /= sum;",
    ]
    return Step((), _repeated(body, math.prod(op.in_shape[:-1]), size, size))


def nothing(functions: Functions, op: Op, arrays: Arrays) -> None:
    """What only training does."""


def normalization(functions: Functions, op: Op, arrays: Arrays) -> Step:
    """The kept axes are the trailing ones: a sample repeats them."""
    mean = arrays["mean"].ravel()
    epsilon = np.float32(float(op.attrs["epsilon"]))
    deviation = np.maximum(np.sqrt(arrays["variance"].ravel()), epsilon)
    size = mean.size
    scaled = f"(x[i] - w[i]) / w[{size} + i]"
    if op.attrs["invert"]:
        scaled = f"w[i] + x[i] * w[{size} + i]"
    body = ["int i;", f"for (i = 0; i < {size}; i++) y[i] = {scaled};"]
    return Step(
        (("mean", mean), ("deviation", deviation)),
        _repeated(body, math.prod(op.in_shape) // size, size, size),
    )


def _repeated(body: list[str], rows: int, inputs: int, outputs: int) -> tuple[str, ...]:
    """The body, for each of the sample's rows."""
    if rows == 1:
        return tuple(body)
    return (
        "int row;",
        f"for (row = 0; row < {rows}; row++, x += {inputs}, y += {outputs}) {{",
        *("    " + line for line in body),
        "}",
    )


OPS: dict[str, Callable[[Functions, Op, Arrays], Step | None]] = {
    "dense": dense,
    "activation": activation,
    "softmax": softmax,
    "dropout": nothing,
    "normalization": normalization,
}
