"""Recurrent operations, volumes and pooling, made of operations that have rules for
their derivatives."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kurve.formulas import functions as ops
from kurve.formulas.graph import Graph, Tensor
from kurve.gradients.formulas import reshaped, slot_value
from kurve.plan import Op


def _times(x: Tensor, spec: Any) -> Tensor:
    """x @ a variable."""
    attrs = {"activation": "linear", "alpha": 0.0}
    shape = (*x.sample[:-1], spec.shape[-1])
    return x.graph.op("dense", [x], shape, {"kernel": spec}, attrs=attrs)


def _activated(op: Op, x: Tensor, prefix: str = "") -> Tensor:
    name = str(op.attrs[f"{prefix}activation"])
    if name == "linear":
        return x
    own = {"activation": name, "alpha": op.attrs.get(f"{prefix}alpha", 0.0)}
    return x.graph.op("activation", [x], x.sample, attrs=own)


def recurrent(graph: Graph, op: Op, xs: Sequence[Tensor], training: bool) -> Tensor:
    """lstm, gru and simple_rnn, step by step. Formulas:
    `kurve.engines.reference.recurrence`."""
    attrs, read = op.attrs, iter(xs)
    x = next(read)
    mask = next(read) if attrs.get("masked") else None
    count = 2 if op.kind == "lstm" else 1
    kernel, inner = op.params["kernel"], op.params["recurrent_kernel"]
    units, steps = inner.shape[0], op.in_shape[0]
    if attrs.get("initial"):
        states = [next(read) for _ in range(count)]
    else:
        zero = ops.sum(x, (1, 2)) * 0.0
        states = [graph.map([reshaped(zero, (1,))], _first, shape=(units,))] * count
    factors = next(read) if attrs.get("recurrent_dropout") else None
    of_x = _times(x, kernel)
    bias = slot_value(x, op.params["bias"]) if "bias" in op.params else None
    both = bias is not None and len(bias.sample) == 2
    if bias is not None:
        of_x = of_x + reshaped(bias[:, 0] if both else bias, (1, of_x.sample[-1]))

    def gate(z: Tensor, k: int) -> Tensor:
        return z[:, k * units : (k + 1) * units]

    def of_h(h: Tensor, k: int | None = None) -> Tensor:
        """The product with the recurrent kernel, or a gate's part of it."""
        if factors is None or len(factors.sample) == 1:
            z = _times(h if factors is None else h * factors, inner)
            return z if k is None else gate(z, k)
        if k is not None:
            return gate(_times(h * factors[:, k], inner), k)
        gates = range(inner.shape[1] // units)
        return ops.concatenate([of_h(h, g) for g in gates], 1)

    def step(z: Tensor, states: list[Tensor]) -> list[Tensor]:
        h = states[0]
        if op.kind == "simple_rnn":
            return [_activated(op, z + of_h(h))]
        if op.kind == "lstm":
            z = z + of_h(h)
            i, f, o = (_activated(op, gate(z, k), "recurrent_") for k in (0, 1, 3))
            c = f * states[1] + i * _activated(op, gate(z, 2))
            return [o * _activated(op, c), c]
        if attrs.get("reset_after"):
            u = of_h(h)
            if both:
                assert bias is not None
                u = u + bias[:, 1]
            update, reset = (
                _activated(op, gate(z, k) + gate(u, k), "recurrent_") for k in (0, 1)
            )
            new = reset * gate(u, 2)
        else:
            update, reset = (
                _activated(op, gate(z, k) + of_h(h, k), "recurrent_") for k in (0, 1)
            )
            new = of_h(reset * h, 2)
        n = _activated(op, gate(z, 2) + new)
        return [update * h + (1.0 - update) * n]

    out = []
    for t in reversed(range(steps)) if attrs.get("reverse") else range(steps):
        new = step(of_x[:, t], states)
        if mask is not None:
            here = mask[:, t : t + 1]
            new = [ops.where(here, a, b) for a, b in zip(new, states, strict=True)]
        states = new
        both_states = ops.concatenate(states, 1) if attrs.get("states") else states[0]
        out.append(both_states)
    y = ops.stack(out, 1) if attrs.get("sequences") else out[-1]
    return reshaped(y, op.out_shape)


def _first(build: Any, registers: Any) -> Any:
    return registers[0]


def conv3d(graph: Graph, op: Op, x: Tensor, training: bool) -> Tensor:
    """The sum over the places of the kernel of strided pieces times its numbers."""
    a, spec = op.attrs, op.params["kernel"]
    names = (("front", "back"), ("top", "bottom"), ("left", "right"))
    pads = [(int(a[f"pad_{p}"]), int(a[f"pad_{q}"])) for p, q in names]
    x = ops.pad(x, [(0, 0), *pads, (0, 0)])
    kernel = slot_value(x, spec)
    *sizes, depth, width = spec.shape
    groups, out = int(a.get("groups", 1)), op.out_shape[:3]
    strides = [int(a[f"stride_{d}"]) for d in "dhw"]
    dilations = [int(a[f"dilation_{d}"]) for d in "dhw"]
    places = math.prod(out)
    total: Any = None
    for place in itertools.product(*map(range, sizes)):
        index = tuple(
            slice(p * d, p * d + (n - 1) * s + 1, s)
            for p, d, n, s in zip(place, dilations, out, strides, strict=True)
        )
        piece = reshaped(x[(slice(None), *index)], (places, x.sample[-1]))
        numbers = kernel[(slice(None), *place)]
        own = width // groups
        parts = [
            ops.matmul(
                piece[:, :, g * depth : (g + 1) * depth],
                numbers[:, :, g * own : (g + 1) * own],
            )
            for g in range(groups)
        ]
        part = parts[0] if groups == 1 else ops.concatenate(parts, -1)
        total = part if total is None else total + part
    if "bias" in op.params:
        total = total + reshaped(slot_value(x, op.params["bias"]), (1, width))
    return _activated(op, reshaped(total, op.out_shape))


def pool(graph: Graph, op: Op, x: Tensor, training: bool) -> Tensor:
    """The mean of windows, or their maximum, by strided pieces; the first largest of
    equal ones counts."""
    a = op.attrs
    axes = "dhw"[-(len(op.in_shape) - 1) :] if len(op.in_shape) > 2 else "w"
    names = {"d": ("front", "back"), "h": ("top", "bottom"), "w": ("left", "right")}
    pads = [tuple(int(a[f"pad_{side}"]) for side in names[d]) for d in axes]
    around = [(0, 0), *pads, (0, 0)]
    largest = a["mode"] == "max"
    x = reshaped(x, op.in_shape)
    counted = np.ones((1, *op.in_shape), np.float32)
    if any(map(any, pads)):
        low = -3e38 if largest else 0.0
        x = ops.pad(x, around, constant_values=low)
        counted = np.pad(counted, around)
    windows, strides = (
        [int(a[f"{what}_{d}"]) for d in axes] for what in ("pool", "stride")
    )
    total: Any = None
    counts: Any = 0.0
    for offset in itertools.product(*map(range, windows)):
        index = tuple(
            slice(p, p + (n - 1) * s + 1, s)
            for p, n, s in zip(offset, op.out_shape, strides, strict=False)
        )
        piece = x[(slice(None), *index)]
        counts = counts + counted[(slice(None), *index)]
        if total is None:
            total = piece
        elif largest:
            total = ops.where(ops.greater(piece, total), piece, total)
        else:
            total = total + piece
    return total if largest else total / counts[0]


def global_max_pool(graph: Graph, op: Op, x: Tensor, training: bool) -> Tensor:
    """The maximum of each channel."""
    channels = op.in_shape[-1]
    x = reshaped(x, (math.prod(op.in_shape) // channels, channels))
    return reshaped(ops.max(x, 1), op.out_shape)


RECURRENT: Mapping[str, Any] = dict.fromkeys(("lstm", "gru", "simple_rnn"), recurrent)
