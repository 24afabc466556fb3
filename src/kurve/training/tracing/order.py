"""What the values of a traced step depend on, and when they are computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kurve.formulas.graph import Tensor
from kurve.plan import Op

CAPTURED = "captured"
"""Kind of placeholders for arrays that are not arguments."""


def needed(step: Any, roots: Sequence[Tensor]) -> set[int]:
    """The values that these depend on, including themselves."""
    found = {t.index for t in roots}
    for i in reversed(range(len(step.ops))):
        if step.given + i in found and step.ops[i].kind != CAPTURED:
            found.update(step.ops[i].inputs)
    return found


def is_given(step: Any, index: int) -> bool:
    """Whether a value is an input."""
    return index < step.given or index in step.arrays


def _reads_only_inputs(op: Op) -> bool:
    if op.params or op.buffers or op.body is not None or op.kind == "random":
        return False
    return op.kind != CAPTURED and not op.acts_in_training


def time_of(step: Any, index: int) -> int:
    """The number of updates before a value: before the last operation with variables
    or random numbers that it is computed by."""
    times = step._times
    for position in range(len(times), len(step.ops)):
        op = step.ops[position]
        times.append(0)
        if _reads_only_inputs(op):
            read = (v - step.given for v in op.inputs)
            times[position] = max((times[r] for r in read if r >= 0), default=0)
        elif op.kind != CAPTURED:
            before = (update.before <= position for update in step.updates)
            times[position] = sum(before)
    return times[index - step.given] if index >= step.given else 0


def seen(step: Any, index: int, spans: Sequence[tuple[int, int]]) -> bool:
    """Whether a tape watched the computation of a value."""
    return any(a <= index - step.given < b for a, b in spans)
