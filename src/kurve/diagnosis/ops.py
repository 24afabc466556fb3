"""Properties of an operation of a plan that the checks need."""

from __future__ import annotations

import math

from kurve.ops.activations import FORMULAS
from kurve.plan import Op
from kurve.plan.kinds import ACTIVATIONS, OPERATIONS


def activation_of(op: Op) -> str:
    """Name of the operation's final activation."""
    if op.kind == "softmax":
        return "softmax"
    return str(op.attrs.get("activation", "linear"))


def ends_with_activation(op: Op) -> bool:
    """Whether its outputs are units with an activation; a formula declares it."""
    return OPERATIONS[op.kind].activated or (
        op.kind == "map" and "activation" in op.attrs
    )


def is_linear(op: Op) -> bool:
    """Whether the operation is an affine map in prediction."""
    if op.kind in ("pool", "global_pool"):
        return op.attrs["mode"] == "average"
    if op.kind == "reduce":
        return op.attrs["mode"] in ("sum", "mean")
    return OPERATIONS[op.kind].affine and activation_of(op) == "linear"


def output_range(op: Op) -> tuple[float, float]:
    """Lowest and highest value of the operation's final activation."""
    if op.kind == "map":
        formula = FORMULAS.get(activation_of(op))
        return (-math.inf, math.inf) if formula is None else formula.range_of(op.attrs)
    facts = ACTIVATIONS[activation_of(op)]
    if activation_of(op) == "elu":
        return -float(op.attrs["alpha"]), facts.high
    return facts.low, facts.high
