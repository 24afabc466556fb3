"""Decomposition of operations without a rule for second derivatives into operations
that have one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from kurve.formulas import functions as ops
from kurve.formulas.graph import Graph, Tensor
from kurve.formulas.loops import written_out
from kurve.gradients.formulas import OF_OUTPUT, reshaped, slot_value
from kurve.gradients.sequences import RECURRENT, conv3d, global_max_pool, pool
from kurve.ops.elementwise import RULES
from kurve.ops.tape import Builder
from kurve.plan import Op, Shape
from kurve.plan.kinds import OPERATIONS


def _softmax(graph: Graph, op: Op, x: Tensor, training: bool) -> Tensor:
    e = ops.exp(x - ops.stop_gradient(ops.max(x, -1, True)))
    y: Tensor = e / ops.sum(e, -1, True)
    return y


def _affine(op: Op, x: Tensor, channels: Shape) -> Tensor:
    for role, operate in (("gamma", ops.multiply), ("beta", ops.add)):
        if role in op.params:
            x = operate(x, reshaped(slot_value(x, op.params[role]), channels))
    return x


def _layer_normalization(graph: Graph, op: Op, x: Tensor, training: bool) -> Tensor:
    size, epsilon = int(op.attrs["size"]), float(op.attrs["epsilon"])
    rows = math.prod(op.in_shape) // size
    x = reshaped(x, (rows, size))
    centred = x - ops.mean(x, -1, True)
    variance = ops.mean(ops.square(centred), -1, True)
    y = _affine(op, centred * ops.rsqrt(variance + epsilon), (1, size))
    return reshaped(y, op.out_shape)


def _batch_normalization(graph: Graph, op: Op, x: Tensor, training: bool) -> Tensor:
    if training and not op.attrs["frozen"]:
        raise KeyError(op.kind)
    channels = op.in_shape[-1]
    x = reshaped(x, (math.prod(op.in_shape) // channels, channels))
    mean = reshaped(slot_value(x, op.buffers["moving_mean"]), (1, channels))
    variance = reshaped(slot_value(x, op.buffers["moving_variance"]), (1, channels))
    standard = (x - mean) * ops.rsqrt(variance + float(op.attrs["epsilon"]))
    return reshaped(_affine(op, standard, (1, channels)), op.out_shape)


def _global_pool(graph: Graph, op: Op, x: Tensor, training: bool) -> Tensor:
    if op.attrs["mode"] != "average":
        return global_max_pool(graph, op, x, training)
    channels = op.in_shape[-1]
    x = reshaped(x, (math.prod(op.in_shape) // channels, channels))
    return reshaped(ops.mean(x, 1), op.out_shape)


def _logsumexp(graph: Graph, op: Op, x: Tensor, training: bool) -> Tensor:
    axis, count = int(op.attrs["axis"]), int(op.attrs["count"])
    axes = [1 + axis + i for i in range(count)]
    most = ops.stop_gradient(ops.max(x, axes, True))
    y = ops.log(ops.sum(ops.exp(x - most), axes, True)) + most
    return reshaped(y, op.out_shape)


def _numbers(op: Op, x: Tensor, write: Callable[..., int]) -> Tensor:
    """A formula of x and the operation's buffers, whose shape is that of the last axes
    of x or of its layout."""
    build = Builder(RULES, 1 + len(op.buffers))
    places = {role: 1 + i for i, role in enumerate(op.buffers)}
    tape = build.finish([write(build, places)])
    shape = next((spec.shape for spec in op.buffers.values()), op.in_shape)
    laid = (math.prod(op.in_shape) // math.prod(shape), *shape)
    x = reshaped(x, laid)
    y = x.graph.op("map", [x], laid, {}, op.buffers, tape=tape)
    return reshaped(y, op.out_shape)


def _scale(graph: Graph, op: Op, x: Tensor, training: bool) -> Tensor:
    def write(build: Builder, places: Mapping[str, int]) -> int:
        def number(role: str) -> int:
            if role in places:
                return places[role]
            return build.constant(float(op.attrs[role]))

        return build.op("add", build.op("mul", 0, number("scale")), number("offset"))

    return _numbers(op, x, write)


def _normalization(graph: Graph, op: Op, x: Tensor, training: bool) -> Tensor:
    def write(build: Builder, places: Mapping[str, int]) -> int:
        epsilon = build.constant(float(op.attrs["epsilon"]))
        deviation = build.op("max", build.op("sqrt", places["variance"]), epsilon)
        if op.attrs["invert"]:
            return build.op("add", build.op("mul", 0, deviation), places["mean"])
        return build.op("div", build.op("sub", 0, places["mean"]), deviation)

    return _numbers(op, x, write)


DECOMPOSED: Mapping[str, Callable[[Graph, Op, Tensor, bool], Tensor]] = {
    "softmax": _softmax,
    "layer_normalization": _layer_normalization,
    "batch_normalization": _batch_normalization,
    "global_pool": _global_pool,
    "pool": pool,
    "conv3d": conv3d,
    "scale": _scale,
    "normalization": _normalization,
}


def is_decomposed(op: Op) -> bool:
    """Whether `computed` can decompose an operation."""
    if op.kind == "reduce":
        return op.attrs["mode"] in ("logsumexp", "prod")
    if op.kind in DECOMPOSED or op.kind in RECURRENT or op.kind == "scan":
        return True
    return (
        OPERATIONS[op.kind].activated
        and op.kind != "activation"
        and op.attrs["activation"] not in OF_OUTPUT
    )


def computed(graph: Graph, op: Op, xs: Sequence[Tensor], training: bool) -> Tensor:
    """The value of an operation, decomposed into ones that have a rule."""
    if op.kind in DECOMPOSED:
        return DECOMPOSED[op.kind](graph, op, xs[0], training)
    if op.kind in RECURRENT:
        y: Tensor = RECURRENT[op.kind](graph, op, xs, training)
        return y
    if op.kind == "scan":
        return written_out(
            graph, op, xs, lambda g, one, read: computed(g, one, read, training)
        )
    if op.kind == "reduce" and op.attrs["mode"] == "logsumexp":
        return _logsumexp(graph, op, xs[0], training)
    if op.kind == "reduce" and op.attrs["mode"] == "prod":
        raise KeyError("prod")
    if is_decomposed(op):
        name = str(op.attrs["activation"])
        own = {"activation": name, "alpha": op.attrs["alpha"]}
        plain = {**op.attrs, "activation": "linear", "alpha": 0.0}
        z = graph.op(op.kind, xs, op.out_shape, op.params, op.buffers, plain)
        return graph.op("activation", [z], op.out_shape, attrs=own)
    return graph.op(
        op.kind, xs, op.out_shape, op.params, op.buffers, op.attrs, op.tape, True
    )
