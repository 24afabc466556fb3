"""Lowering of plans to the classes of the compiled core: `kurve._core`, or any others
of the same constructors and methods (`kurve.engines.plan_json`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kurve.engines.base import divides_rows
from kurve.engines.formulas import lowered
from kurve.ops.elementwise import RULES
from kurve.ops.tape import Tape, gradient, with_slope
from kurve.plan import Head, Op, OptimizerSpec, Plan, Spec, VariableSpec
from kurve.plan.kinds import OPERATIONS

if TYPE_CHECKING:
    from kurve.ops.formula import Rule


def program(plan: Plan, core: Any) -> Any:
    return core.Program(
        [list(shape) for shape in plan.inputs],
        [_op(op, plan, core, plan.reads(i)) for i, op in enumerate(plan.ops)],
        [_variable(variable, core) for variable in plan.params],
        [_variable(variable, core) for variable in plan.buffers],
        [_head(head, core) for head in plan.heads],
        None
        if plan.optimizer is None
        else core.Spec(plan.optimizer.kind, attrs_of(plan.optimizer)),
        [list(shape) for shape in plan.targets],
        *_updates(plan.optimizer, core),
        separable=_is_separable(plan),
    )


def _is_separable(plan: Plan) -> bool:
    """Whether rows do not influence each other, not even by statistics of a batch."""
    facts = [OPERATIONS.get(op.kind) for op in plan.ops]
    by_row = all(fact is not None and not fact.updates_buffers for fact in facts)
    return by_row and divides_rows(plan)


def attrs_of(spec: Spec | Op) -> dict[str, float | str | Sequence[int]]:
    """The parameters of an operation, a loss, a metric or an optimizer."""
    return {name: _attr(value) for name, value in spec.attrs.items()}


def _attr(value: Any) -> float | str | Sequence[int]:
    if isinstance(value, tuple):
        return list(value)
    return value if isinstance(value, str) else float(value)


def _variable(v: VariableSpec, core: Any) -> Any:
    shape = list(v.shape)
    spec = core.VariableSpec(v.name, shape, v.offset, v.trainable, v.l1, v.l2)
    if v.penalty is not None:
        spec.set_penalty(lowered(v.penalty, core))
    return spec


def _op(op: Op, plan: Plan, core: Any, reads: Sequence[int] | None = None) -> Any:
    """
    reads: the values that it reads; None in a loop, all of whose values may move
    """
    lowered = core.Op(
        op.kind,
        op.layer,
        list(op.in_shape),
        list(op.out_shape),
        {role: plan.params.index(v) for role, v in op.params.items()},
        {role: plan.buffers.index(v) for role, v in op.buffers.items()},
        attrs_of(op),
    )
    if op.inputs:
        shapes = [list(shape) for shape in op.more_shapes]
        lowered.set_inputs(list(op.inputs), shapes)
    if op.tape is not None:
        operands = [plan.params.index(slot) for slot in op.params.values()]
        count = len(op.in_shapes)
        # The gradient of an input or a target is never requested.
        wanted = [k for k in range(count) if reads is None or reads[k] >= plan.given]
        wanted += [i for i, v in enumerate(op.params.values(), count) if v.trainable]
        wanted = wanted or [0]
        backward = None
        if count == 1 and wanted == [0] and op.in_shape == op.out_shape:
            backward = with_slope(op.tape, RULES)
        if backward is None:
            backward = gradient(op.tape, RULES, wanted)
        constants = [plan.buffers.index(slot) for slot in op.buffers.values()]
        lowered.set_tape(
            tape_of(op.tape, core), tape_of(backward, core), operands, constants, wanted
        )
    if op.body is not None:
        inputs = [list(shape) for shape in op.body.inputs]
        inner = [_op(own, plan, core) for own in op.body.ops]
        lowered.set_body(inputs, inner, list(op.body.outputs))
    return lowered


def _head(head: Head, core: Any) -> Any:
    loss = None if head.loss is None else core.Spec(head.loss.kind, attrs_of(head.loss))
    metrics = [
        core.Metric(
            metric.kind,
            attrs_of(metric),
            metric.size,
            metric.weighted,
            -1 if metric.rows is None else metric.rows,
            metric.of_batch,
        )
        for metric in head.metrics
    ]
    rows = -1 if head.rows is None else head.rows
    return core.Head(
        head.value,
        list(head.shape),
        loss,
        metrics,
        head.weight,
        rows,
        head.reduction,
        head.name,
    )


def _updates(optimizer: Spec | None, core: Any) -> tuple[list[Any], int, int]:
    """The update of each variable, the number of slots, and steps per update."""
    if not isinstance(optimizer, OptimizerSpec):
        return [], 0, 1

    def rule(given: Rule | None) -> Any:
        if given is None:
            return None
        return core.Rule(lowered(given.formula, core), list(given.slots))

    updates = [
        core.Update(update.decays, rule(update.rule), rule(update.after))
        for update in optimizer.updates
    ]
    return updates, optimizer.slots, optimizer.every


def tape_of(tape: Tape, core: Any) -> Any:
    code = [(i.name, list(i.arguments), i.value) for i in tape.code]
    return core.Tape(tape.inputs, code, list(tape.outputs))
