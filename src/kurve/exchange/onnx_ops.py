"""Plan operations in ONNX, one function per op kind; image operations are in
`kurve.exchange.onnx_images`."""

from __future__ import annotations

from collections.abc import Callable

from kurve.exchange import constants, onnx_tapes
from kurve.exchange import onnx_images as images
from kurve.exchange.onnx_graph import Arrays, Graph, activated
from kurve.plan import Op
from kurve.plan.kinds import TRAINING_ONLY


def dense(graph: Graph, op: Op, arrays: Arrays, x: str) -> str:
    def constant(name: str, *shape: int) -> str:
        array = arrays[name]  # not copied if possible: shared arrays are written once
        return graph.constant(
            array if array.ndim == len(shape) else array.reshape(shape)
        )

    if op.attrs.get("transposed"):
        kernel = graph.constant(constants.matrix(op, arrays))
    else:
        kernel = constant("kernel", op.in_shape[-1], op.out_shape[-1])
    z = graph.node("MatMul", x, kernel)
    if "bias" in arrays:
        z = graph.node("Add", z, constant("bias", op.out_shape[-1]))
    return activated(graph, op, z)


def activation(graph: Graph, op: Op, arrays: Arrays, x: str) -> str:
    return activated(graph, op, x)


def softmax(graph: Graph, op: Op, arrays: Arrays, x: str) -> str:
    return graph.node("Softmax", x, axis=-1)


def identity(graph: Graph, op: Op, arrays: Arrays, x: str) -> str:
    """An operation without effect at inference."""
    return x


def normalization(graph: Graph, op: Op, arrays: Arrays, x: str) -> str:
    """The constants belong to the trailing axes, so they broadcast."""
    mean, deviation = map(graph.constant, constants.normalization(op, arrays))
    if op.attrs["invert"]:
        return graph.node("Add", graph.node("Mul", x, deviation), mean)
    return graph.node("Div", graph.node("Sub", x, mean), deviation)


OPS: dict[str, Callable[[Graph, Op, Arrays, str], str]] = {
    "dense": dense,
    "activation": activation,
    "softmax": softmax,
    **dict.fromkeys(TRAINING_ONLY, identity),
    "normalization": normalization,
    "reshape": images.reshape,
    "conv": images.conv,
    "conv_transpose": images.conv_transpose,
    "pool": images.pool,
    "global_pool": images.global_pool,
    "pad": images.pad,
    "upsample": images.upsample,
    "batch_normalization": images.batch_normalization,
    "layer_normalization": images.layer_normalization,
    "scale": images.scale,
    "map": onnx_tapes.map_,
}
