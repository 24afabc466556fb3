"""What each operation of a plan becomes in C: one function an op kind; those of images
are in `kurve.exchange.c_images`."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from kurve.exchange import c_images as images
from kurve.exchange.c_steps import Arrays, Functions, Step, repeated
from kurve.kinds import TRAINING_ONLY
from kurve.plan import Op


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
    return Step(tuple(held), repeated(body, rows, inputs, outputs))


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
    return Step((), repeated(body, math.prod(op.in_shape[:-1]), size, size))


def nothing(functions: Functions, op: Op, arrays: Arrays) -> None:
    """What only training does, or what moves nothing in memory."""


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
        repeated(body, math.prod(op.in_shape) // size, size, size),
    )


OPS: dict[str, Callable[[Functions, Op, Arrays], Step | None]] = {
    "dense": dense,
    "activation": activation,
    "softmax": softmax,
    "normalization": normalization,
    **dict.fromkeys(TRAINING_ONLY, nothing),
    "reshape": nothing,
    "conv": images.conv,
    "conv_transpose": images.conv_transpose,
    "pool": images.pool,
    "global_pool": images.global_pool,
    "pad": images.pad,
    "upsample": images.upsample,
    "batch_normalization": images.batch_normalization,
    "layer_normalization": images.layer_normalization,
    "scale": images.scale,
}
