"""What the checks ask about an operation of a plan."""

from __future__ import annotations

from kurve.plan import TRAINING_ONLY, Op

AFFINE = frozenset(
    {
        *("dense", "conv", "conv_transpose", "activation"),
        *("normalization", "batch_normalization", "scale"),
        *("reshape", "pad", "upsample"),
    }
)
"""Operations that are affine maps, if their activation is linear."""


def activation_of(op: Op) -> str:
    """Name of the activation that an operation ends with."""
    return (
        "softmax" if op.kind == "softmax" else str(op.attrs.get("activation", "linear"))
    )


def is_linear(op: Op) -> bool:
    """Whether the operation is an affine map, alone or after another one."""
    if op.kind in ("pool", "global_pool"):
        return op.attrs["mode"] == "average"
    return op.kind in AFFINE | TRAINING_ONLY and activation_of(op) == "linear"
