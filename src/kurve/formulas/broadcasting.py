"""Broadcasting of operands of elementwise functions, per sample."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from kurve.plan import Shape


def broadcast_shapes(
    operands: Sequence[Any], shapes: Sequence[Shape], batched: bool
) -> Shape:
    """The per-sample shape of a broadcast result.

    Args:
        shapes: sample shape of each operand; for an operand without a batch axis, its
            shape, whose first axis can stand for the batch if it is 1.
    """
    ranks = [
        len(shape)
        for operand, shape in zip(operands, shapes, strict=True)
        if getattr(operand, "batched", False)
    ]
    most = max(ranks, default=0)
    fitted = []
    for operand, shape in zip(operands, shapes, strict=True):
        own = getattr(operand, "batched", False)
        if batched and own and len(shape) < most:
            # NumPy would align the batch axis with another one.
            raise _mismatch(operands)
        if batched and not own and len(shape) == most + 1 and shape[0] == 1:
            shape = shape[1:]
        fitted.append(shape)
    try:
        out = np.broadcast_shapes(*fitted)
    except ValueError:
        raise _mismatch(operands) from None
    if batched and len(out) > most:
        raise _mismatch(operands)
    return out


def in_one_stretch(shape: Shape, out: Shape) -> bool:
    """Whether the axes that an operand does not broadcast are adjacent, so that engines
    can read it in place."""
    sample = (1,) * (len(out) - len(shape)) + tuple(shape)[
        max(0, len(shape) - len(out)) :
    ]
    own = [s == o for s, o in zip(sample, out, strict=True) if o != 1]
    return sum(b and not a for a, b in pairwise([False, *own])) <= 1


def _mismatch(operands: Sequence[Any]) -> ValueError:
    shapes = ", ".join(str(getattr(o, "shape", np.shape(o))) for o in operands)
    return ValueError(
        "[ops] shapes must broadcast: counted from the last axis, sizes are equal or "
        f"1. Received: {shapes}. Try ops.reshape or ops.expand_dims."
    )
