"""Forward-mode derivatives: the tangent of each operation's output from the tangents of
its inputs.

A rule takes the operation, its inputs, its output and the tangents of the inputs (None
for constant inputs), all tensors of a plan under construction, and returns the tangent
of the output.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kurve.formulas import functions as ops
from kurve.formulas.graph import Tensor
from kurve.gradients.formulas import (
    product,
    reshaped,
    times_slope,
    written,
)
from kurve.ops.elementwise import RULES
from kurve.ops.tape import tangent
from kurve.plan import Op

Tangents = Sequence[Any]
"""Tangents of the inputs: a tensor, or None."""


def _same(op: Op, xs: Sequence[Tensor], y: Tensor, dxs: Tangents) -> Any:
    """For linear operations without variables."""
    return y.graph.op(
        op.kind, list(dxs), op.out_shape, attrs=op.attrs, batched=y.batched
    )


def _dense(op: Op, xs: Sequence[Tensor], y: Tensor, dxs: Tangents) -> Any:
    (dx,) = dxs
    return times_slope(op, None, y, product(op, dx))


def _conv(op: Op, xs: Sequence[Tensor], y: Tensor, dxs: Tangents) -> Any:
    plain = {**op.attrs, "activation": "linear", "alpha": 0.0}
    kernel = {"kernel": op.params["kernel"]}
    dz = y.graph.op(op.kind, list(dxs), op.out_shape, kernel, attrs=plain)
    return times_slope(op, None, y, dz)


def _map(op: Op, xs: Sequence[Tensor], y: Tensor, dxs: Tangents) -> Any:
    assert op.tape is not None
    moving = [i for i, dx in enumerate(dxs) if dx is not None]
    n, more = len(xs), len(op.params) + len(op.buffers)
    tape = tangent(op.tape, RULES, moving)
    if _is_zero(tape):
        return None
    # Values come first: the inputs, the output, the tangents; then the variables.
    values = [*xs, y, *(dx for dx in dxs if dx is not None)]
    places = [*range(n), *range(len(values), len(values) + more)]
    return written(op, values, [*places, *range(n, len(values))], tape)


def _is_zero(tape: Any) -> bool:
    """Whether the output is always 0."""
    at = tape.outputs[0] - tape.inputs
    return at >= 0 and tape.code[at].name == "constant" and tape.code[at].value == 0.0


def _activation(op: Op, xs: Sequence[Tensor], y: Tensor, dxs: Tangents) -> Any:
    return times_slope(op, xs[0], y, dxs[0])


def _noise(op: Op, xs: Sequence[Tensor], y: Tensor, dxs: Tangents) -> Any:
    return _same(op, xs, y, dxs) if op.attrs.get("multiply") else dxs[0]


def _dropout(op: Op, xs: Sequence[Tensor], y: Tensor, dxs: Tangents) -> Any:
    if op.attrs.get("alpha"):
        raise KeyError(op.kind)
    return _same(op, xs, y, dxs)


def _reduce(op: Op, xs: Sequence[Tensor], y: Tensor, dxs: Tangents) -> Any:
    mode, (dx,) = str(op.attrs["mode"]), dxs
    if mode == "argmax":
        return None
    if mode in ("sum", "mean"):
        return _same(op, xs, y, dxs)
    axis, count = int(op.attrs["axis"]), int(op.attrs["count"])
    kept = (*op.in_shape[:axis], *(1,) * count, *op.in_shape[axis + count :])
    right = ops.cast(ops.equal(xs[0], reshaped(y, kept)), "float32")
    axes = [1 + axis + i for i in range(count)]
    share = ops.stop_gradient(right / ops.sum(right, axes, True))
    return reshaped(ops.sum(share * dx, axes, True), op.out_shape)


def _concatenate(op: Op, xs: Sequence[Tensor], y: Tensor, dxs: Tangents) -> Any:
    parts = [
        ops.zeros_like(x) if dx is None else dx for x, dx in zip(xs, dxs, strict=True)
    ]
    return _same(op, xs, y, parts)


def _matmul(op: Op, xs: Sequence[Tensor], y: Tensor, dxs: Tangents) -> Any:
    found: Any = None
    for pair in ((dxs[0], xs[1]), (xs[0], dxs[1])):
        if None not in pair:
            part = _same(op, xs, y, pair)
            found = part if found is None else found + part
    return found


def _batch_reduce(op: Op, xs: Sequence[Tensor], y: Tensor, dxs: Tangents) -> Any:
    if op.attrs["mode"] == "max":
        raise KeyError("batch_reduce")
    return _same(op, xs, y, dxs)


def _nothing(op: Op, xs: Sequence[Tensor], y: Tensor, dxs: Tangents) -> Any:
    return None


TANGENTS: Mapping[str, Callable[..., Any]] = {
    "dense": _dense,
    "map": _map,
    "activation": _activation,
    "conv": _conv,
    "conv3d": _conv,
    "conv_transpose": _conv,
    "reduce": _reduce,
    "concatenate": _concatenate,
    "matmul": _matmul,
    "batch_reduce": _batch_reduce,
    "dropout": _dropout,
    "gaussian_noise": _noise,
    "variable": _nothing,
    "random": _nothing,
    "embedding": _nothing,
    **dict.fromkeys(
        ("reshape", "permute", "slice", "place", "cumsum", "pad", "upsample"), _same
    ),
}
"""Rules by kind; KeyError if there is none."""
