"""The chain rule of each operation as formulas: what second derivatives are made of.

A rule takes the operation, its inputs, its output and the gradient of that, all tensors
of a plan under construction, and gives the gradient of each input and of each variable.
Operations without a rule here that are made of others are taken apart first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kurve.formulas import functions as ops
from kurve.formulas.graph import Graph, Tensor
from kurve.ops.elementwise import RULES
from kurve.ops.tape import Builder, gradient
from kurve.plan import Op, Shape

Found = tuple[list[Any], dict[str, Any]]
"""Gradients of the inputs (None: zero), and of the variables by role."""

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def _gauss(z: Any) -> Any:
    return ops.exp(-0.5 * ops.square(z)) / math.sqrt(2.0 * math.pi)


def _elu_slope(z: Any, alpha: float) -> Any:
    return ops.where(z > 0.0, 1.0, alpha * ops.exp(ops.minimum(z, 0.0)))


SLOPES: dict[str, Callable[[Any, float], Any]] = {
    "linear": lambda z, a: ops.ones_like(z),
    "relu": lambda z, a: ops.cast(z > 0.0, "float32"),
    "leaky_relu": lambda z, a: ops.where(z > 0.0, ops.ones_like(z), a),
    "elu": _elu_slope,
    "selu": lambda z, a: SELU_SCALE * _elu_slope(z, SELU_ALPHA),
    "sigmoid": lambda z, a: ops.sigmoid(z) * ops.sigmoid(-z),
    "tanh": lambda z, a: 1.0 - ops.square(ops.tanh(z)),
    "silu": lambda z, a: ops.sigmoid(z) * (1.0 + z * ops.sigmoid(-z)),
    "gelu": lambda z, a: 0.5 * (1.0 + ops.erf(z / math.sqrt(2.0))) + z * _gauss(z),
    "softplus": lambda z, a: ops.sigmoid(z),
    "softsign": lambda z, a: 1.0 / ops.square(1.0 + ops.absolute(z)),
    "sin": lambda z, a: ops.cos(z),
    "snake": lambda z, a: 1.0 + ops.sin(2.0 * a * z),
}
"""Derivatives of the activations that engines have fused."""


def over_batch(x: Tensor) -> Tensor:
    """The sum over samples, again for each sample: the gradient of a variable."""
    graph = x.graph
    return graph.op("batch_reduce", [x], x.sample, attrs={"mode": "sum"}, batched=True)


def reshaped(x: Tensor, sample: Shape) -> Tensor:
    """x with samples of another shape."""
    return ops.reshape(x, (-1, *sample))


def summed_to(x: Tensor, sample: Shape) -> Tensor:
    """The gradient of a value with samples of this shape, which were repeated."""
    have = x.sample
    aligned = (1,) * (len(have) - len(sample)) + tuple(sample)[
        max(0, len(sample) - len(have)) :
    ]
    axes = [i + 1 for i, (s, o) in enumerate(zip(aligned, have, strict=True)) if s != o]
    if axes:
        x = ops.sum(x, axes, True)
    return reshaped(x, sample) if x.sample != tuple(sample) else x


def slot_value(x: Tensor, spec: Any) -> Tensor:
    """A variable's value, the same for each sample of x."""
    graph = x.graph
    params = {"value": spec} if spec in graph._vectors[True] else {}
    buffers = {} if params else {"value": spec}
    return graph.op("variable", [x], spec.shape, params, buffers, batched=True)


def before_activation(op: Op, x: Tensor, dy: Tensor) -> Tensor:
    """The gradient before an operation's activation."""
    name, alpha = str(op.attrs["activation"]), float(op.attrs["alpha"])
    if name == "linear":
        return dy
    attrs = {**op.attrs, "activation": "linear", "alpha": 0.0}
    z = x.graph.op(op.kind, [x], op.out_shape, op.params, op.buffers, attrs)
    return dy * SLOPES[name](z, alpha)


def _dense(op: Op, xs: Sequence[Tensor], y: Tensor, dy: Tensor) -> Found:
    (x,) = xs
    graph, kernel = x.graph, op.params["kernel"]
    inside, outside = op.in_shape[-1], op.out_shape[-1]
    rows = math.prod(op.in_shape[:-1])
    dz = reshaped(before_activation(op, x, dy), (rows, outside))
    matrix = reshaped(slot_value(x, kernel), (inside, outside))
    turned = {"transpose_a": False, "transpose_b": True}
    dx = graph.op("matmul", [dz, matrix], (rows, inside), attrs=turned)
    turned = {"transpose_a": True, "transpose_b": False}
    flat = reshaped(x, (rows, inside))
    dw = graph.op("matmul", [flat, dz], (inside, outside), attrs=turned)
    found = {"kernel": reshaped(over_batch(dw), kernel.shape)}
    if "bias" in op.params:
        db = over_batch(ops.sum(dz, 1))
        found["bias"] = reshaped(db, op.params["bias"].shape)
    return [reshaped(dx, op.in_shape)], found


def _map(op: Op, xs: Sequence[Tensor], y: Tensor, dy: Tensor) -> Found:
    assert op.tape is not None
    graph, n = xs[0].graph, len(xs)
    more = len(op.params) + len(op.buffers)

    def part(i: int) -> Tensor:
        """dL/d of one input of the tape, before it is summed."""
        tape = gradient(op.tape, RULES, [i])  # type: ignore[arg-type]
        build = Builder(RULES, n + 1 + more)
        places = [*range(n), *range(n + 1, n + 1 + more), n]
        out = build.inline(tape, places)
        return graph.op(
            "map",
            [*xs, dy],
            op.out_shape,
            op.params,
            op.buffers,
            tape=build.finish(out),
        )

    # A constant has an input only for the number of samples, of any shape.
    dxs = [
        summed_to(part(i), x.sample) if len(x.sample) <= len(op.out_shape) else None
        for i, x in enumerate(xs)
    ]
    dws = {}
    for i, (role, spec) in enumerate(op.params.items(), n):
        if spec.trainable:
            whole = over_batch(part(i))
            shape = spec.shape
            if len(shape) > len(op.out_shape):  # its first axis stood for the batch
                shape = shape[1:]
            dws[role] = reshaped(summed_to(whole, shape), spec.shape)
    return dxs, dws


def _activation(op: Op, xs: Sequence[Tensor], y: Tensor, dy: Tensor) -> Found:
    slope = SLOPES[str(op.attrs["activation"])](xs[0], float(op.attrs["alpha"]))
    return [dy * slope], {}


def _reshape(op: Op, xs: Sequence[Tensor], y: Tensor, dy: Tensor) -> Found:
    return [reshaped(dy, op.in_shape)], {}


def _reduce(op: Op, xs: Sequence[Tensor], y: Tensor, dy: Tensor) -> Found:
    axis, count = int(op.attrs["axis"]), int(op.attrs["count"])
    kept = (*op.in_shape[:axis], *(1,) * count, *op.in_shape[axis + count :])
    mode = str(op.attrs["mode"])
    if mode == "argmax":
        return [None], {}
    dy = reshaped(dy, kept)
    if mode in ("sum", "mean"):
        if mode == "mean":
            dy = dy / float(math.prod(op.in_shape[axis : axis + count]))
        return [ops.broadcast_to(dy, (None, *op.in_shape))], {}
    right = ops.cast(ops.equal(xs[0], reshaped(y, kept)), "float32")
    axes = [1 + axis + i for i in range(count)]
    share = right / ops.sum(right, axes, True)
    return [ops.stop_gradient(share) * dy], {}


def _permute(op: Op, xs: Sequence[Tensor], y: Tensor, dy: Tensor) -> Found:
    order = tuple(int(a) for a in np.argsort(op.attrs["axes"]))
    return [y.graph.op("permute", [dy], op.in_shape, attrs={"axes": order})], {}


def _slice(op: Op, xs: Sequence[Tensor], y: Tensor, dy: Tensor) -> Found:
    return [y.graph.op("place", [dy], op.in_shape, attrs=op.attrs)], {}


def _place(op: Op, xs: Sequence[Tensor], y: Tensor, dy: Tensor) -> Found:
    return [y.graph.op("slice", [dy], op.in_shape, attrs=op.attrs)], {}


def _concatenate(op: Op, xs: Sequence[Tensor], y: Tensor, dy: Tensor) -> Found:
    axis, first, found = int(op.attrs["axis"]), 0, []
    for x in xs:
        last = first + x.sample[axis]
        key = (*(slice(None),) * (axis + 1), slice(first, last))
        found.append(ops.get_item(dy, key))
        first = last
    return found, {}


def _matmul(op: Op, xs: Sequence[Tensor], y: Tensor, dy: Tensor) -> Found:
    a, b = xs
    ta, tb = bool(op.attrs["transpose_a"]), bool(op.attrs["transpose_b"])

    def product(p: Tensor, tp: bool, q: Tensor, tq: bool, out: Shape) -> Tensor:
        attrs = {"transpose_a": tp, "transpose_b": tq}
        return y.graph.op("matmul", [p, q], out, attrs=attrs)

    da = (
        product(b, tb, dy, True, a.sample)
        if ta
        else product(dy, False, b, not tb, a.sample)
    )
    db = (
        product(dy, True, a, ta, b.sample)
        if tb
        else product(a, not ta, dy, False, b.sample)
    )
    return [da, db], {}


def _variable(op: Op, xs: Sequence[Tensor], y: Tensor, dy: Tensor) -> Found:
    found = {r: over_batch(dy) for r, spec in op.params.items() if spec.trainable}
    return [None], found


def _batch_reduce(op: Op, xs: Sequence[Tensor], y: Tensor, dy: Tensor) -> Found:
    if op.attrs["mode"] == "max":
        raise KeyError("batch_reduce")
    attrs = {"mode": op.attrs["mode"]}
    return [y.graph.op("batch_reduce", [dy], dy.sample, attrs=attrs)], {}


def _same(op: Op, xs: Sequence[Tensor], y: Tensor, dy: Tensor) -> Found:
    """Of dropout and of factors: linear, with the same numbers of the same stream."""
    if op.attrs.get("alpha"):
        raise KeyError(op.kind)
    if op.kind == "gaussian_noise" and not op.attrs.get("multiply"):
        return [dy], {}
    return [y.graph.op(op.kind, [dy], op.out_shape, attrs=op.attrs)], {}


def _cumsum(op: Op, xs: Sequence[Tensor], y: Tensor, dy: Tensor) -> Found:
    attrs = {**op.attrs, "reverse": not op.attrs["reverse"]}
    return [y.graph.op("cumsum", [dy], op.in_shape, attrs=attrs)], {}


def _pads(op: Op, back: Sequence[int], whole: Sequence[int]) -> dict[str, int]:
    """The pad_* of the operation that turns a convolution around: `back` are the sizes
    that it must give, `whole` those without any cropping."""
    attrs = op.attrs
    top, left = int(attrs["pad_top"]), int(attrs["pad_left"])
    return {
        "pad_top": top,
        "pad_left": left,
        "pad_bottom": whole[0] - back[0] - top,
        "pad_right": whole[1] - back[1] - left,
    }


def _plane(shape: Shape) -> Shape:
    return (*(1,) * (3 - len(shape)), *shape)


def _conv(op: Op, xs: Sequence[Tensor], y: Tensor, dy: Tensor) -> Found:
    """dx is the transposed convolution of dz with the same kernel."""
    if int(op.attrs.get("groups", 1)) != 1:
        raise KeyError("conv")
    dz = before_activation(op, xs[0], dy)
    a = op.attrs
    sizes = _plane(op.out_shape)[:2]
    whole = [
        (s - 1) * int(a[f"stride_{d}"])
        + (int(a[f"kernel_{d}"]) - 1) * int(a[f"dilation_{d}"])
        + 1
        for s, d in zip(sizes, "hw", strict=True)
    ]
    attrs = {k: v for k, v in a.items() if k != "groups"}
    attrs |= {"activation": "linear", "alpha": 0.0}
    attrs |= _pads(op, _plane(op.in_shape)[:2], whole)
    kernel = {"kernel": op.params["kernel"]}
    dx = y.graph.op("conv_transpose", [dz], op.in_shape, kernel, attrs=attrs)
    found: dict[str, Any] = {"kernel": None}
    if "bias" in op.params:
        axes = list(range(1, len(op.out_shape)))
        found["bias"] = over_batch(ops.sum(dz, axes))
    return [dx], found


def _conv_transpose(op: Op, xs: Sequence[Tensor], y: Tensor, dy: Tensor) -> Found:
    """dx is the convolution of dz with the same kernel."""
    dz = before_activation(op, xs[0], dy)
    attrs = {**op.attrs, "activation": "linear", "alpha": 0.0, "groups": 1}
    if min(int(attrs[f"pad_{side}"]) for side in ("bottom", "right")) < 0:
        raise KeyError("conv_transpose")
    kernel = {"kernel": op.params["kernel"]}
    dx = y.graph.op("conv", [dz], op.in_shape, kernel, attrs=attrs)
    found: dict[str, Any] = {"kernel": None}
    if "bias" in op.params:
        axes = list(range(1, len(op.out_shape)))
        found["bias"] = over_batch(ops.sum(dz, axes))
    return [dx], found


def _nothing(op: Op, xs: Sequence[Tensor], y: Tensor, dy: Tensor) -> Found:
    return [None] * len(xs), {}


def _embedding(op: Op, xs: Sequence[Tensor], y: Tensor, dy: Tensor) -> Found:
    return [None], {"embeddings": None}


RULES_OF_OPS: Mapping[str, Callable[..., Found]] = {
    "dense": _dense,
    "map": _map,
    "activation": _activation,
    "reshape": _reshape,
    "reduce": _reduce,
    "permute": _permute,
    "slice": _slice,
    "place": _place,
    "concatenate": _concatenate,
    "matmul": _matmul,
    "variable": _variable,
    "batch_reduce": _batch_reduce,
    "dropout": _same,
    "gaussian_noise": _same,
    "cumsum": _cumsum,
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "random": _nothing,
    "embedding": _embedding,
}
"""By kind. A KeyError says that there is none."""


# ---------------------------------------------------------------- taken apart


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
        raise KeyError(op.kind)
    channels = op.in_shape[-1]
    x = reshaped(x, (math.prod(op.in_shape) // channels, channels))
    return reshaped(ops.mean(x, 1), op.out_shape)


def _logsumexp(graph: Graph, op: Op, x: Tensor, training: bool) -> Tensor:
    axis, count = int(op.attrs["axis"]), int(op.attrs["count"])
    axes = [1 + axis + i for i in range(count)]
    most = ops.stop_gradient(ops.max(x, axes, True))
    y = ops.log(ops.sum(ops.exp(x - most), axes, True)) + most
    return reshaped(y, op.out_shape)


APART: Mapping[str, Callable[[Graph, Op, Tensor, bool], Tensor]] = {
    "softmax": _softmax,
    "layer_normalization": _layer_normalization,
    "batch_normalization": _batch_normalization,
    "global_pool": _global_pool,
}


def computed(graph: Graph, op: Op, xs: Sequence[Tensor], training: bool) -> Tensor:
    """The value of an operation, made of those that have a rule."""
    if op.kind in APART:
        return APART[op.kind](graph, op, xs[0], training)
    if op.kind == "reduce" and op.attrs["mode"] == "logsumexp":
        return _logsumexp(graph, op, xs[0], training)
    if op.kind == "reduce" and op.attrs["mode"] == "prod":
        raise KeyError("prod")
    return graph.op(
        op.kind, xs, op.out_shape, op.params, op.buffers, op.attrs, op.tape, True
    )
