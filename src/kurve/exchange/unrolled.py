"""Plans whose recurrent operations and loops are unrolled, for formats that have no
code for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kurve.formulas.graph import Graph, Tensor
from kurve.formulas.loops import appended, rewritten, written_out
from kurve.gradients.sequences import RECURRENT
from kurve.plan import Op, Plan

Writes = Callable[[Op], bool]
"""Whether a format has code for a recurrent operation."""


def every(op: Op) -> bool:
    """All recurrent operations."""
    return True


def none(op: Op) -> bool:
    """No recurrent operation."""
    return False


def unrolled(plan: Plan, writes: Writes) -> Plan:
    """The same plan with loops unrolled, and recurrent operations that a format cannot
    write."""

    def turns(op: Op) -> bool:
        return op.kind == "scan" or (op.kind in RECURRENT and not writes(op))

    def append(graph: Graph, op: Op, read: Sequence[Tensor]) -> Tensor:
        if not turns(op):
            return appended(graph, op, read)
        if op.kind == "scan":
            return written_out(graph, op, read, append)
        y: Tensor = RECURRENT[op.kind](graph, op, read, False)
        return y

    return rewritten(plan, append) if any(map(turns, plan.ops)) else plan
