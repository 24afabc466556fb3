"""Activations written as formulas are fused into the preceding product, like those of
`Dense(units, activation)`, which saves a pass over the elements."""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from kurve.ops.elementwise import RULES
from kurve.ops.tape import Builder, Tape, constants_of
from kurve.plan import Attr, Head, Op

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772

PRODUCTS = ("dense", "conv", "conv_transpose")

MAX_STEPS = 16
"""Maximum number of instructions of a tape that is compared."""


def with_activations(
    new: list[Op | None], same: list[int], outside: int, heads: Sequence[Head]
) -> None:
    """Fuse activations into products that nothing else reads.

    Args:
        new: the operations; None for those dropped.
        same: for each value its replacement, usually itself.
    """
    reads = [v for op in new if op is not None for v in op.inputs]
    reads += [v for head in heads for v in head.read]
    count = Counter(same[v] for v in reads)
    for i, op in enumerate(new):
        if op is None or len(op.inputs) != 1 or op.in_shape != op.out_shape:
            continue
        value = same[op.inputs[0]]
        product = new[value - outside] if value >= outside else None
        if (
            product is None
            or product.kind not in PRODUCTS
            or product.attrs.get("activation") != "linear"
            or count[value] != 1
        ):
            continue
        attrs = _activation(op)
        if attrs is not None:
            attrs = {**product.attrs, **attrs}
            new[value - outside] = replace(product, attrs=attrs)
            new[i], same[outside + i] = None, value


def _activation(op: Op) -> Mapping[str, Attr] | None:
    """The activation that an operation computes, if products can."""
    if op.kind == "activation":
        return {name: op.attrs[name] for name in ("activation", "alpha")}
    if op.tape is None or op.params or op.buffers or len(op.tape.code) > MAX_STEPS:
        return None
    form = _form(op.tape)
    constants = (step.value for step in op.tape.code if step.name == "constant")
    for alpha in (0.0, 1.0, *constants):
        name = _known(alpha).get(form)
        if name is not None:
            return {"activation": name, "alpha": alpha}
    return None


def _form(tape: Tape) -> str:
    """A string that is the same for tapes that only differ in the order of their
    instructions, or of the arguments of sums and products."""
    forms = [f"x{k}" for k in range(tape.inputs)]
    for step in tape.code:
        parts = [forms[a] for a in step.arguments]
        if step.name in ("add", "mul"):
            parts.sort()
        value = repr(step.value) if step.name == "constant" else ""
        forms.append(f"{step.name}{value}({','.join(parts)})")
    return " ".join(forms[o] for o in tape.outputs)


def _leaky_relu(b: Builder, z: int, alpha: float) -> int:
    return b.op("where", b.op("gt", z, 0.0), z, b.op("mul", alpha, z))


def _elu(b: Builder, z: int, alpha: float) -> int:
    below = b.op("mul", alpha, b.op("expm1", b.op("min", z, 0.0)))
    return b.op("add", b.op("relu", z), below)


def _selu(b: Builder, z: int, alpha: float) -> int:
    return b.op("mul", SELU_SCALE, _elu(b, z, SELU_ALPHA))


def _gelu(b: Builder, z: int, alpha: float) -> int:
    cdf = b.op("add", 1.0, b.op("erf", b.op("div", z, math.sqrt(2.0))))
    return b.op("mul", b.op("mul", 0.5, z), cdf)


def _silu(b: Builder, z: int, alpha: float) -> int:
    return b.op("mul", z, b.op("sigmoid", z))


def _softsign(b: Builder, z: int, alpha: float) -> int:
    return b.op("div", z, b.op("add", 1.0, b.op("abs", z)))


_WRITTEN: dict[str, Callable[[Builder, int, float], int]] = {
    **{
        name: lambda b, z, alpha, name=name: b.op(name, z)  # type: ignore[misc]
        for name in ("relu", "sigmoid", "tanh", "softplus", "sin")
    },
    "silu": _silu,
    "softsign": _softsign,
    "selu": _selu,
    "gelu": _gelu,
    "leaky_relu": _leaky_relu,
    "elu": _elu,
}
"""How `kurve.ops` writes the activations."""

_WITH_ALPHA = ("leaky_relu", "elu")


@functools.lru_cache(maxsize=64)
def _known(alpha: float) -> dict[Any, str]:
    """The forms of the activations with this parameter, and their names."""
    known = {}
    for name, write in _WRITTEN.items():
        if (alpha > 0.0) == (name in _WITH_ALPHA):
            with constants_of(np.float32):
                build = Builder(RULES, 1)
                known[_form(build.finish([write(build, 0, alpha)]))] = name
    return known
