"""The chain rule of each operation as formulas, for second derivatives.

A rule takes the operation, its inputs, its output and the gradient of that, all tensors
of a plan under construction, and returns the gradient of each input and variable.
Operations without a rule are decomposed first if possible.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

import numpy as np

from kurve.engines.reference.common import plane_shape
from kurve.formulas import functions as ops
from kurve.formulas.graph import Graph, Tensor
from kurve.ops.elementwise import RULES
from kurve.ops.tape import Builder, Tape, gradient
from kurve.plan import Op, Shape

Found = tuple[list[Any], dict[str, Any]]
"""Gradients of the inputs (None for zero), and of the variables by role: functions that
build them on demand, or None if there is no formula."""

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def _elu_slope(b: Builder, z: int, alpha: float) -> int:
    below = b.op("mul", alpha, b.op("exp", b.op("min", z, 0.0)))
    return b.op("where", b.op("gt", z, 0.0), 1.0, below)


def _silu_slope(b: Builder, z: int, alpha: float) -> int:
    rest = b.op("mul", z, b.op("sigmoid", b.op("neg", z)))
    return b.op("mul", b.op("sigmoid", z), b.op("add", 1.0, rest))


def _gelu_slope(b: Builder, z: int, alpha: float) -> int:
    """P(Z <= z) + z p(z) of a standard normal Z."""
    share = b.op("add", 1.0, b.op("erf", b.op("mul", z, math.sqrt(0.5))))
    density = b.op("exp", b.op("mul", -0.5, b.op("square", z)))
    density = b.op("mul", 1.0 / math.sqrt(2.0 * math.pi), density)
    return b.op("add", b.op("mul", 0.5, share), b.op("mul", z, density))


def _softsign_slope(b: Builder, z: int, alpha: float) -> int:
    return b.op("reciprocal", b.op("square", b.op("add", 1.0, b.op("abs", z))))


OF_OUTPUT: dict[str, Callable[[Builder, int, float], int]] = {
    "linear": lambda b, y, a: b.constant(1.0),
    "relu": lambda b, y, a: b.op("gt", y, 0.0),
    "sigmoid": lambda b, y, a: b.op("mul", y, b.op("sub", 1.0, y)),
    "tanh": lambda b, y, a: b.op("sub", 1.0, b.op("square", y)),
}
"""Derivatives of the activations that engines fuse, as formulas of the output, so that
the preceding operation can keep it; and of the others, as formulas of the input."""

OF_INPUT: dict[str, Callable[[Builder, int, float], int]] = {
    "leaky_relu": lambda b, z, a: b.op("where", b.op("gt", z, 0.0), 1.0, float(a)),
    "elu": _elu_slope,
    "selu": lambda b, z, a: b.op("mul", SELU_SCALE, _elu_slope(b, z, SELU_ALPHA)),
    "silu": _silu_slope,
    "gelu": _gelu_slope,
    "softplus": lambda b, z, a: b.op("sigmoid", z),
    "softsign": _softsign_slope,
    "sin": lambda b, z, a: b.op("cos", z),
    "snake": lambda b, z, a: b.op("add", 1.0, b.op("sin", b.op("mul", 2.0 * a, z))),
}


def times_slope(op: Op, z: Tensor | None, y: Tensor, dy: Tensor) -> Tensor:
    """dy f'(z) of an operation with an activation, from its output or input: the
    gradient before the activation, or the tangent after it."""
    name, alpha = str(op.attrs["activation"]), float(op.attrs["alpha"])
    if name == "linear":
        return dy
    source, slope = (y, OF_OUTPUT[name]) if name in OF_OUTPUT else (z, OF_INPUT[name])
    return y.graph.map(
        [source, dy], lambda b, r: b.op("mul", slope(b, r[0], alpha), r[1])
    )


def over_batch(x: Tensor) -> Tensor:
    """The sum over samples, repeated per sample: the gradient of a variable."""
    graph = x.graph
    return graph.op("batch_reduce", [x], x.sample, attrs={"mode": "sum"}, batched=True)


def reshaped(x: Tensor, sample: Shape) -> Tensor:
    """x with samples of another shape."""
    return ops.reshape(x, (-1, *sample))


def summed_to(x: Tensor, sample: Shape) -> Tensor:
    """Sum a gradient over broadcast axes to this sample shape."""
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
    params = {"value": spec} if spec in graph.vectors[True] else {}
    buffers = {} if params else {"value": spec}
    return graph.op("variable", [x], spec.shape, params, buffers, batched=True)


def product(op: Op, x: Tensor, back: bool = False) -> Tensor:
    """The matrix product of a dense operation, without bias and activation; with
    `back`, its backward pass, from output to input."""
    attrs: dict[str, Any] = {"activation": "linear", "alpha": 0.0}
    if back != bool(op.attrs.get("transposed")):
        attrs["transposed"] = True
    shape = op.in_shape if back else op.out_shape
    return x.graph.op("dense", [x], shape, {"kernel": op.params["kernel"]}, attrs=attrs)


def _dense(op: Op, xs: Sequence[Tensor], y: Tensor, dy: Tensor) -> Found:
    (x,) = xs
    inside, outside = op.in_shape[-1], op.out_shape[-1]
    rows = math.prod(op.in_shape[:-1])
    dz = times_slope(op, None, y, dy)

    def kernel() -> Tensor:
        pair = [reshaped(x, (rows, inside)), reshaped(dz, (rows, outside))]
        shape = inside, outside
        if op.attrs.get("transposed"):
            pair, shape = pair[::-1], shape[::-1]
        attrs = {"transpose_a": True, "transpose_b": False}
        dw = x.graph.op("matmul", pair, shape, attrs=attrs)
        return reshaped(over_batch(dw), op.params["kernel"].shape)

    def bias() -> Tensor:
        db = over_batch(ops.sum(reshaped(dz, (rows, outside)), 1))
        return reshaped(db, op.params["bias"].shape)

    found = {"kernel": kernel, "bias": bias}
    return [product(op, dz, True)], {role: found[role] for role in op.params}


def written(op: Op, values: list[Tensor], places: Sequence[int], tape: Tape) -> Tensor:
    """Append a tape as an operation on values and the variables of another operation.

    Args:
        values: values it can read; unused ones are dropped, except for one.
        places: for each input of the tape, the index of its value; variables
            come after values.
    """
    first, more = len(values), len(op.params) + len(op.buffers)
    build = Builder(RULES, first + more)
    out = build.inline(tape, places)
    read = {a for step in build.finish(out).code for a in step.arguments} | {*out}
    kept: list[int] = []  # positions of the values that it reads, without duplicates
    place: dict[int, int] = {}
    for k in range(first):
        if k in read:
            same = [i for i, j in enumerate(kept) if values[j].index == values[k].index]
            place[k] = same[0] if same else len(kept)
            kept += [] if same else [k]
    kept = kept or [0]
    inputs = [place.get(k, 0) for k in range(first)]
    inputs += range(len(kept), len(kept) + more)
    own = Builder(RULES, len(kept) + more)
    moved = own.finish(own.inline(tape, [inputs[p] for p in places]))
    return values[0].graph.op(
        "map",
        [values[k] for k in kept],
        op.out_shape,
        op.params,
        op.buffers,
        tape=moved,
        batched=True,
    )


def _map(op: Op, xs: Sequence[Tensor], y: Tensor, dy: Tensor) -> Found:
    assert op.tape is not None
    n, more = len(xs), len(op.params) + len(op.buffers)

    def part(i: int) -> Tensor:
        """dL/d of one input of the tape, before it is summed."""
        tape = gradient(op.tape, RULES, [i])  # type: ignore[arg-type]
        return written(op, [*xs, dy], [*range(n), *range(n + 1, n + 1 + more), n], tape)

    # A constant's input only provides the number of samples and can have any shape.
    dxs = [
        summed_to(part(i), x.sample) if len(x.sample) <= len(op.out_shape) else None
        for i, x in enumerate(xs)
    ]

    def weight(i: int, spec: Any) -> Tensor:
        whole = over_batch(part(i))
        shape = spec.shape
        if len(shape) > len(op.out_shape):  # its first axis stood for the batch
            shape = shape[1:]
        return reshaped(summed_to(whole, shape), spec.shape)

    return dxs, {
        role: functools.partial(weight, i, spec)
        for i, (role, spec) in enumerate(op.params.items(), n)
    }


def _activation(op: Op, xs: Sequence[Tensor], y: Tensor, dy: Tensor) -> Found:
    return [times_slope(op, xs[0], y, dy)], {}


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
    return [None], {role: lambda: over_batch(dy) for role in op.params}


def _batch_reduce(op: Op, xs: Sequence[Tensor], y: Tensor, dy: Tensor) -> Found:
    if op.attrs["mode"] == "max":
        raise KeyError("batch_reduce")
    attrs = {"mode": op.attrs["mode"]}
    return [y.graph.op("batch_reduce", [dy], dy.sample, attrs=attrs)], {}


def _same(op: Op, xs: Sequence[Tensor], y: Tensor, dy: Tensor) -> Found:
    """For dropout and random factors: linear, with the same random numbers."""
    if op.attrs.get("alpha"):
        raise KeyError(op.kind)
    if op.kind == "gaussian_noise" and not op.attrs.get("multiply"):
        return [dy], {}
    return [y.graph.op(op.kind, [dy], op.out_shape, attrs=op.attrs)], {}


def _cumsum(op: Op, xs: Sequence[Tensor], y: Tensor, dy: Tensor) -> Found:
    attrs = {**op.attrs, "reverse": not op.attrs["reverse"]}
    return [y.graph.op("cumsum", [dy], op.in_shape, attrs=attrs)], {}


def _pad(op: Op, xs: Sequence[Tensor], y: Tensor, dy: Tensor) -> Found:
    names = ("top", "left") if len(op.in_shape) > 2 else ("left",)
    if len(op.in_shape) > 3:
        names = ("front", *names)
    starts = (*(int(op.attrs[f"pad_{name}"]) for name in names), 0)
    attrs = {"starts": starts, "sizes": op.in_shape, "steps": (1,) * len(starts)}
    return [y.graph.op("slice", [dy], op.in_shape, attrs=attrs)], {}


def _pads(op: Op, back: Sequence[int], whole: Sequence[int]) -> dict[str, int]:
    """The pad_* of the operation that reverses a convolution: `back` are the sizes to
    produce, `whole` those without cropping."""
    attrs = op.attrs
    top, left = int(attrs["pad_top"]), int(attrs["pad_left"])
    return {
        "pad_top": top,
        "pad_left": left,
        "pad_bottom": whole[0] - back[0] - top,
        "pad_right": whole[1] - back[1] - left,
    }


def _bias(op: Op, dz: Tensor) -> Tensor:
    axes = list(range(1, len(op.out_shape)))
    return over_batch(ops.sum(dz, axes) if axes else dz)


def _conv(op: Op, xs: Sequence[Tensor], y: Tensor, dy: Tensor) -> Found:
    """dx is the transposed convolution of dz with the same kernel."""
    if int(op.attrs.get("groups", 1)) != 1:
        raise KeyError("conv")
    dz = times_slope(op, None, y, dy)
    a = op.attrs
    sizes = plane_shape(op.out_shape)[:2]
    whole = [
        (s - 1) * int(a[f"stride_{d}"])
        + (int(a[f"kernel_{d}"]) - 1) * int(a[f"dilation_{d}"])
        + 1
        for s, d in zip(sizes, "hw", strict=True)
    ]
    attrs = {k: v for k, v in a.items() if k != "groups"}
    attrs |= {"activation": "linear", "alpha": 0.0}
    attrs |= _pads(op, plane_shape(op.in_shape)[:2], whole)
    kernel = {"kernel": op.params["kernel"]}
    dx = y.graph.op("conv_transpose", [dz], op.in_shape, kernel, attrs=attrs)
    return [dx], {"kernel": None, "bias": lambda: _bias(op, dz)}


def _conv_transpose(op: Op, xs: Sequence[Tensor], y: Tensor, dy: Tensor) -> Found:
    """dx is the convolution of dz with the same kernel."""
    dz = times_slope(op, None, y, dy)
    attrs = {**op.attrs, "activation": "linear", "alpha": 0.0, "groups": 1}
    if min(int(attrs[f"pad_{side}"]) for side in ("bottom", "right")) < 0:
        raise KeyError("conv_transpose")
    kernel = {"kernel": op.params["kernel"]}
    dx = y.graph.op("conv", [dz], op.in_shape, kernel, attrs=attrs)
    return [dx], {"kernel": None, "bias": lambda: _bias(op, dz)}


def _nothing(op: Op, xs: Sequence[Tensor], y: Tensor, dy: Tensor) -> Found:
    return [None] * len(xs), {}


def _embedding_gradient(op: Op, indices: Tensor, dy: Tensor) -> Tensor:
    """dE (N, D) of each sample: the sum of dy over the places of each number."""
    rows, width = op.params["embeddings"].shape
    count = math.prod(op.in_shape)
    flat = reshaped(indices, (count, 1))
    numbers = np.arange(rows, dtype=np.float32)[None, :]
    hot = ops.cast(ops.equal(flat, numbers), "float32")
    attrs = {"transpose_a": True, "transpose_b": False}
    pair = [hot, reshaped(dy, (count, width))]
    return dy.graph.op("matmul", pair, (rows, width), attrs=attrs)


def _embedding(op: Op, xs: Sequence[Tensor], y: Tensor, dy: Tensor) -> Found:
    return [None], {
        "embeddings": lambda: over_batch(_embedding_gradient(op, xs[0], dy))
    }


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
    "pad": _pad,
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "random": _nothing,
    "embedding": _embedding,
}
"""Rules by kind; KeyError if there is none."""


def reached(graph: Graph, wanted: Container[int]) -> list[bool]:
    """Whether each value depends on what is wanted: indices of values and ids of
    variables."""
    found = [v in wanted for v in range(graph.given + len(graph.ops))]
    for i, op in enumerate(graph.ops):
        found[graph.given + i] |= any(found[v] for v in op.inputs) or any(
            id(spec) in wanted for spec in op.params.values()
        )
    return found


def back_through(
    graph: Graph,
    gradients: Mapping[int, Tensor],
    wanted: Container[int],
    of_variables: dict[int, Tensor] | None = None,
) -> dict[int, Tensor]:
    """The backward pass through all operations of a graph.

    Args:
        gradients: gradients of values, by index.
        wanted: indices of values and ids of variables whose gradients are wanted. Ids
            are large, indices small.
        of_variables: receives the gradients of variables, by id.

    Returns:
        The gradients of the wanted values that the given ones depend on.

    Raises:
        KeyError: the kind of an operation without a rule.
    """
    found, given, forward = dict(gradients), graph.given, list(graph.ops)
    depends = reached(graph, wanted)
    for i in reversed(range(len(forward))):
        here, op = given + i, forward[i]
        if here not in found or not depends[here]:
            continue
        dy = found[here] if here in wanted else found.pop(here)
        dy = Tensor(graph, dy.index, dy.sample)  # it differs per sample
        if here in wanted and not any(depends[v] for v in op.inputs):
            continue
        xs = [Tensor(graph, v, graph.shapes[v]) for v in op.inputs]
        y = Tensor(graph, here, op.out_shape)
        dxs, parts = RULES_OF_OPS[op.kind](op, xs, y, dy)
        for v, dx in zip(op.inputs, dxs, strict=True):
            if dx is not None and depends[v]:
                found[v] = found[v] + dx if v in found else dx
        for role, spec in op.params.items():
            if of_variables is None or id(spec) not in wanted or role not in parts:
                continue
            if parts[role] is None:
                raise KeyError(op.kind)
            part, old = parts[role](), of_variables.get(id(spec))
            of_variables[id(spec)] = part if old is None else old + part
    return {v: dy for v, dy in found.items() if v in wanted}
