"""Elementwise formulas in C: a tape as the body of a loop over the outputs."""

from __future__ import annotations

import math

from kurve.exchange.c_functions import Activations, Arrays, CFunction
from kurve.exchange.c_text import single
from kurve.ops.tape import Tape
from kurve.plan import Op, Shape

EXPRESSIONS: dict[str, str] = {
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "neg": "-{0}",
    "reciprocal": "1.0f / {0}",
    "square": "{0} * {0}",
    "sqrt": "sqrtf({0})",
    "rsqrt": "1.0f / sqrtf({0})",
    "pow": "powf({0}, {1})",
    "mod": "fmodf({0}, {1}) != 0.0f && (fmodf({0}, {1}) < 0.0f) != ({1} < 0.0f)"
    " ? fmodf({0}, {1}) + {1} : fmodf({0}, {1})",
    "exp": "expf({0})",
    "expm1": "expm1f({0})",
    "log": "logf({0})",
    "log1p": "log1pf({0})",
    "sigmoid": "({0} < 0.0f ? expf({0}) : 1.0f) / (1.0f + expf(-fabsf({0})))",
    "softplus": "({0} < 0.0f ? 0.0f : {0}) + log1pf(expf(-fabsf({0})))",
    "erf": "erff({0})",
    "sin": "sinf({0})",
    "cos": "cosf({0})",
    "tan": "tanf({0})",
    "tanh": "tanhf({0})",
    "sinh": "sinhf({0})",
    "cosh": "coshf({0})",
    "arcsin": "asinf({0})",
    "arccos": "acosf({0})",
    "arcsinh": "asinhf({0})",
    "arccosh": "acoshf({0})",
    "arctan": "atanf({0})",
    "arctanh": "atanhf({0})",
    "arctan2": "atan2f({0}, {1})",
    "abs": "fabsf({0})",
    "sign": "{0} > 0.0f ? 1.0f : {0} < 0.0f ? -1.0f : {0}",
    "floor": "floorf({0})",
    "ceil": "ceilf({0})",
    "round": "rintf({0})",
    "stop_gradient": "{0}",
    "max": "{0} > {1} || {0} != {0} ? {0} : {1}",
    "min": "{0} < {1} || {0} != {0} ? {0} : {1}",
    "relu": "{0} < 0.0f ? 0.0f : {0}",
    "where": "{0} != 0.0f ? {1} : {2}",
    "lt": "{0} < {1} ? 1.0f : 0.0f",
    "le": "{0} <= {1} ? 1.0f : 0.0f",
    "gt": "{0} > {1} ? 1.0f : 0.0f",
    "ge": "{0} >= {1} ? 1.0f : 0.0f",
    "eq": "{0} == {1} ? 1.0f : 0.0f",
    "ne": "{0} != {1} ? 1.0f : 0.0f",
    "and": "{0} != 0.0f && {1} != 0.0f ? 1.0f : 0.0f",
    "or": "{0} != 0.0f || {1} != 0.0f ? 1.0f : 0.0f",
    "not": "{0} == 0.0f ? 1.0f : 0.0f",
    "isfinite": "fabsf({0}) <= FLT_MAX ? 1.0f : 0.0f",
    "isnan": "{0} != {0} ? 1.0f : 0.0f",
}
"""Each operation of `kurve.ops.elementwise` in C; NaN propagates."""


def map_(activations: Activations, op: Op, arrays: Arrays) -> CFunction:
    """y[i] = f(x[i], variables), the shapes broadcast."""
    assert op.tape is not None
    inputs = [
        f"x{number or ''}[{_index(shape, op.out_shape)}]"
        for number, shape in enumerate(op.in_shapes)
    ]
    offset = 0
    for role in arrays:
        place = _index(arrays[role].shape, op.out_shape)
        inputs.append(f"w[{offset} + {place}]" if offset else f"w[{place}]")
        offset += arrays[role].size
    lines, (result,) = statements(op.tape, inputs)
    body = [
        "int i;",
        f"for (i = 0; i < {math.prod(op.out_shape)}; i++) {{",
        *("    " + line for line in lines),
        f"    y[i] = {result};",
        "}",
    ]
    return CFunction(tuple(arrays.items()), tuple(body))


def statements(tape: Tape, inputs: list[str]) -> tuple[list[str], list[str]]:
    """The declarations of a tape's registers, and the expressions of its outputs.

    Args:
        inputs: one expression per input.
    """
    used = {a for step in tape.code for a in step.arguments} | set(tape.outputs)
    lines = [
        f"const float r{number} = {text};"
        for number, text in enumerate(inputs)
        if number in used
    ]
    names = [f"r{number}" for number in range(len(inputs))]
    for step in tape.code:
        if step.name == "constant":
            names.append(single(step.value))
            continue
        text = EXPRESSIONS[step.name].format(*(names[a] for a in step.arguments))
        lines.append(f"const float r{len(names)} = {text};")
        names.append(f"r{len(names)}")
    return lines, [names[output] for output in tape.outputs]


def _index(shape: Shape, whole: Shape) -> str:
    """The position of element i of an array of shape `whole` in one that is broadcast
    to it."""
    aligned = (1,) * (len(whole) - len(shape)) + shape
    if aligned == whole:
        return "i"
    parts: list[str] = []
    step, stride = 1, 1  # of one index in `whole` and in the array
    for size, length in zip(reversed(aligned), reversed(whole), strict=True):
        if size > 1:
            position = f"i / {step} % {length}" if step > 1 else f"i % {length}"
            parts.append(f"{position} * {stride}" if stride > 1 else position)
        step, stride = step * length, stride * size
    return " + ".join(reversed(parts)) or "0"
