"""Operations of a plan in C, one Python function per op kind; those for images are in
`kurve.exchange.c_images`."""

from __future__ import annotations

import math
from collections.abc import Callable

from kurve.exchange import c_graphs, c_tapes, constants
from kurve.exchange import c_images as images
from kurve.exchange.c_functions import Activations, Arrays, CFunction, repeated
from kurve.plan import Op
from kurve.plan.kinds import TRAINING_ONLY


def dense(activations: Activations, op: Op, arrays: Arrays) -> CFunction:
    inputs, outputs = op.in_shape[-1], op.out_shape[-1]
    rows = math.prod(op.in_shape[:-1])
    bias = "bias" in arrays
    start = f"w[{inputs * outputs} + j]" if bias else "0.0f"
    result = activations.apply(op, "y[j]")
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
    kernel = constants.matrix(op, arrays)
    weights = [("kernel", kernel)] + ([("bias", arrays["bias"])] if bias else [])
    return CFunction(tuple(weights), repeated(body, rows, inputs, outputs))


def activation(activations: Activations, op: Op, arrays: Arrays) -> CFunction | None:
    result = activations.apply(op, "x[i]")
    if result == "x[i]":
        return None
    size = math.prod(op.in_shape)
    return CFunction((), ("int i;", f"for (i = 0; i < {size}; i++) y[i] = {result};"))


def softmax(activations: Activations, op: Op, arrays: Arrays) -> CFunction:
    size = op.in_shape[-1]
    body = [
        "float top = x[0], sum = 0.0f;",
        "int i;",
        f"for (i = 1; i < {size}; i++) top = x[i] > top ? x[i] : top;",
        f"for (i = 0; i < {size}; i++) sum += y[i] = expf(x[i] - top);",
        f"for (i = 0; i < {size}; i++) y[i] /= sum;",
    ]
    return CFunction((), repeated(body, math.prod(op.in_shape[:-1]), size, size))


def no_code(activations: Activations, op: Op, arrays: Arrays) -> None:
    """An operation that does nothing at inference, or moves nothing in memory."""


def normalization(activations: Activations, op: Op, arrays: Arrays) -> CFunction:
    """The constants belong to the trailing axes, so a sample repeats them."""
    mean, deviation = constants.normalization(op, arrays)
    size = mean.size
    scaled = f"(x[i] - w[i]) / w[{size} + i]"
    if op.attrs["invert"]:
        scaled = f"w[i] + x[i] * w[{size} + i]"
    body = ["int i;", f"for (i = 0; i < {size}; i++) y[i] = {scaled};"]
    return CFunction(
        (("mean", mean.ravel()), ("deviation", deviation.ravel())),
        repeated(body, math.prod(op.in_shape) // size, size, size),
    )


OPS: dict[str, Callable[[Activations, Op, Arrays], CFunction | None]] = {
    "dense": dense,
    "activation": activation,
    "softmax": softmax,
    **dict.fromkeys(TRAINING_ONLY, no_code),
    "reshape": no_code,
    "normalization": normalization,
    "conv": images.conv,
    "conv_transpose": images.conv_transpose,
    "pool": images.pool,
    "global_pool": images.global_pool,
    "pad": images.pad,
    "upsample": images.upsample,
    "batch_normalization": images.batch_normalization,
    "layer_normalization": images.layer_normalization,
    "scale": images.scale,
    "map": c_tapes.map_,
    **c_graphs.OPS,
}
