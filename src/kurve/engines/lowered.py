"""The operations of a plan as plain data, as the compiled core reads them: in Python,
see `kurve.engines.native`, and from files, see `kurve.exchange.plan_files`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kurve.ops.elementwise import RULES
from kurve.ops.tape import Tape, gradient, with_slope
from kurve.plan import Op, Plan, Spec


def plain_op(op: Op, plan: Plan, reads: Sequence[int] | None = None) -> dict[str, Any]:
    """An operation; variables are named by their index in the plan.

    Args:
        reads: the values that it reads; None in a loop, all of whose values may move.
    """
    found: dict[str, Any] = {
        "kind": op.kind,
        "layer": op.layer,
        "in_shape": list(op.in_shape),
        "out_shape": list(op.out_shape),
        "params": {role: plan.params.index(v) for role, v in op.params.items()},
        "buffers": {role: plan.buffers.index(v) for role, v in op.buffers.items()},
        "attrs": plain_attrs(op),
    }
    if op.inputs:
        found["inputs"] = list(op.inputs)
        found["more_shapes"] = [list(shape) for shape in op.more_shapes]
    if op.tape is not None:
        found |= _map(op, op.tape, plan, reads)
    if op.body is not None:
        found["body"] = {
            "inputs": [list(shape) for shape in op.body.inputs],
            "ops": [plain_op(own, plan) for own in op.body.ops],
            "outputs": list(op.body.outputs),
        }
    return found


def plain_attrs(spec: Spec | Op) -> dict[str, float | str | list[int]]:
    """The parameters of an operation, a loss, a metric or an optimizer."""
    return {name: _attr(value) for name, value in spec.attrs.items()}


def _attr(value: Any) -> float | str | list[int]:
    if isinstance(value, tuple):
        return list(value)
    return value if isinstance(value, str) else float(value)


def _map(op: Op, tape: Tape, plan: Plan, reads: Sequence[int] | None) -> dict[str, Any]:
    """The formula of a map, that of its gradient, and the inputs behind its values."""
    count = len(op.in_shapes)
    # Nothing asks for the gradient of an input or a target.
    wanted = [k for k in range(count) if reads is None or reads[k] >= plan.given]
    wanted += [i for i, v in enumerate(op.params.values(), count) if v.trainable]
    wanted = wanted or [0]
    backward = None
    if count == 1 and wanted == [0] and op.in_shape == op.out_shape:
        backward = with_slope(tape, RULES)
    if backward is None:
        backward = gradient(tape, RULES, wanted)
    return {
        "tape": plain_tape(tape),
        "gradient": plain_tape(backward),
        "operands": [plan.params.index(slot) for slot in op.params.values()],
        "constants": [plan.buffers.index(slot) for slot in op.buffers.values()],
        "wanted": wanted,
    }


def plain_tape(tape: Tape) -> dict[str, Any]:
    code = [(i.name, list(i.arguments), i.value) for i in tape.code]
    return {"inputs": tape.inputs, "code": code, "outputs": list(tape.outputs)}
