"""Operations on images in ONNX.

Convolutions in ONNX are channels-first; runtimes remove the transpositions between
them. Sequences are images of height 1, as in `kurve.plan`.
"""

from __future__ import annotations

import math

import numpy as np

from kurve.engines.reference.common import number, plane_shape
from kurve.exchange import constants
from kurve.exchange.onnx_graph import Arrays, Graph, activated
from kurve.plan import Op, Shape


def reshape(graph: Graph, op: Op, arrays: Arrays, x: str) -> str:
    return _reshaped(graph, x, op.out_shape)


def conv(graph: Graph, op: Op, arrays: Arrays, x: str) -> str:
    shape = (number(op, "kernel_h"), number(op, "kernel_w"), -1, op.out_shape[-1])
    kernel = arrays["kernel"].reshape(shape).transpose(3, 2, 0, 1)
    bias = [graph.constant(arrays["bias"])] if "bias" in arrays else []
    z = graph.node(
        "Conv",
        _channels_first(graph, x, op.in_shape),
        graph.constant(kernel),
        *bias,
        group=number(op, "groups"),
        kernel_shape=_sizes(op, "kernel"),
        strides=_sizes(op, "stride"),
        dilations=_sizes(op, "dilation"),
        pads=_pads(op),
    )
    return activated(graph, op, _channels_last(graph, z, op.out_shape))


def conv_transpose(graph: Graph, op: Op, arrays: Arrays, x: str) -> str:
    """Negative padding, which ONNX lacks, becomes zeros appended to the output."""
    kernel = arrays["kernel"]
    kernel = kernel.reshape(number(op, "kernel_h"), -1, *kernel.shape[-2:])
    pads = _pads(op)
    z = graph.node(
        "ConvTranspose",
        _channels_first(graph, x, op.in_shape),
        graph.constant(kernel.transpose(3, 2, 0, 1)),
        kernel_shape=_sizes(op, "kernel"),
        strides=_sizes(op, "stride"),
        dilations=_sizes(op, "dilation"),
        pads=[max(pad, 0) for pad in pads],
    )
    bottom, right = (max(-pad, 0) for pad in pads[2:])
    if bottom or right:
        more = graph.constant([0, 0, 0, 0, 0, 0, bottom, right], np.int64)
        z = graph.node("Pad", z, more)
    z = _channels_last(graph, z, op.out_shape)
    if "bias" in arrays:
        z = graph.node("Add", z, graph.constant(arrays["bias"]))
    return activated(graph, op, z)


def pool(graph: Graph, op: Op, arrays: Arrays, x: str) -> str:
    y = graph.node(
        "MaxPool" if op.attrs["mode"] == "max" else "AveragePool",
        _channels_first(graph, x, op.in_shape),
        kernel_shape=_sizes(op, "pool"),
        strides=_sizes(op, "stride"),
        pads=_pads(op),
    )
    return _channels_last(graph, y, op.out_shape)


def global_pool(graph: Graph, op: Op, arrays: Arrays, x: str) -> str:
    kind = "ReduceMax" if op.attrs["mode"] == "max" else "ReduceMean"
    y = graph.node(kind, x, axes=list(range(1, len(op.in_shape))), keepdims=0)
    return _reshaped(graph, y, op.out_shape)


def pad(graph: Graph, op: Op, arrays: Arrays, x: str) -> str:
    top, left, bottom, right = _pads(op)
    before, after = [0, top, left, 0], [0, bottom, right, 0]
    if len(op.in_shape) == 2:
        before, after = [0, left, 0], [0, right, 0]
    return graph.node("Pad", x, graph.constant([*before, *after], np.int64))


def upsample(graph: Graph, op: Op, arrays: Arrays, x: str) -> str:
    nearest = op.attrs["interpolation"] == "nearest"
    mode = {"mode": "linear"}
    if nearest:
        mode = {"mode": "nearest", "nearest_mode": "floor"}
    y = graph.node(
        "Resize",
        _channels_first(graph, x, op.in_shape),
        "",
        graph.constant([1.0, 1.0, *map(float, _sizes(op, "size"))]),
        coordinate_transformation_mode="asymmetric" if nearest else "half_pixel",
        **mode,
    )
    return _channels_last(graph, y, op.out_shape)


def batch_normalization(graph: Graph, op: Op, arrays: Arrays, x: str) -> str:
    mean, factor = constants.batch_normalization(op, arrays)
    y = graph.node("Sub", x, graph.constant(mean))
    y = graph.node("Mul", y, graph.constant(factor))
    if "beta" in arrays:
        y = graph.node("Add", y, graph.constant(arrays["beta"]))
    return y


def layer_normalization(graph: Graph, op: Op, arrays: Arrays, x: str) -> str:
    size, shape = number(op, "size"), op.in_shape
    axes = next(n for n in range(1, 9) if math.prod(shape[-n:]) == size)
    weights = [arrays.get("gamma", np.ones(size, np.float32))]
    if "beta" in arrays:
        weights.append(arrays["beta"])
    return graph.node(
        "LayerNormalization",
        x,
        *(graph.constant(array.reshape(shape[-axes:])) for array in weights),
        axis=-axes,
        epsilon=float(op.attrs["epsilon"]),
    )


def scale(graph: Graph, op: Op, arrays: Arrays, x: str) -> str:
    factor, offset = (
        graph.constant(arrays[role] if role in arrays else float(op.attrs[role]))
        for role in ("scale", "offset")
    )
    return graph.node("Add", graph.node("Mul", x, factor), offset)


def _reshaped(graph: Graph, x: str, shape: Shape) -> str:
    """Reshape; 0 keeps the batch size."""
    return graph.node("Reshape", x, graph.constant([0, *shape], np.int64))


def _channels_first(graph: Graph, x: str, shape: Shape) -> str:
    """(N, H, W, C) or (N, L, C) as (N, C, H, W)."""
    if len(shape) == 2:
        x = _reshaped(graph, x, plane_shape(shape))
    return graph.node("Transpose", x, perm=[0, 3, 1, 2])


def _channels_last(graph: Graph, x: str, shape: Shape) -> str:
    """(N, C, H, W) as (N, H, W, C) or (N, L, C)."""
    x = graph.node("Transpose", x, perm=[0, 2, 3, 1])
    return _reshaped(graph, x, shape) if len(shape) == 2 else x


def _sizes(op: Op, name: str) -> list[int]:
    return [number(op, f"{name}_h"), number(op, f"{name}_w")]


def _pads(op: Op) -> list[int]:
    return [number(op, f"pad_{side}") for side in ("top", "left", "bottom", "right")]
