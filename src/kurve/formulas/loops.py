"""Loops as one operation: a step is traced once, and engines repeat it.

scanned       the loop of a step, as an operation of the kind "scan"
written_out   the unrolled steps of such an operation
rewritten     a plan with other operations, such as one without loops
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from kurve.formulas import functions as ops
from kurve.formulas.graph import Graph, Tensor
from kurve.formulas.joining import joined
from kurve.plan import Body, Head, Op, Plan, Shape, VariableSpec
from kurve.plan.kinds import OPERATIONS

Step = Callable[[list[Tensor], list[Tensor]], tuple[Any, Sequence[Any]]]
"""From the elements of a step and the states to the output and the new states."""

Append = Callable[[Graph, Op, Sequence[Tensor]], Tensor]

MIN_STEPS = 8
"""Minimum number of steps for a single operation: unrolling fewer is cheap."""

MAX_READ = 60
"""The most values that a loop can read."""


class Scanned(NamedTuple):
    """The results of a loop.

    y: of all steps, (B, T, ...), or of the last one
    states: the last ones; empty if not requested
    """

    y: Tensor
    states: list[Tensor]


class _Gone:
    """The graph of what was computed in a step, once the loop is made."""

    def __getattr__(self, name: str) -> Any:
        raise ValueError(
            "[loop] a tensor computed in a step only exists in that step, so it must "
            "be returned. Received: one stored in an attribute and used after the "
            "loop. Try returning it as part of the output, or as a state."
        )


def scanned(
    step: Step,
    elements: Sequence[Tensor],
    states: Sequence[Tensor],
    length: int,
    *,
    reverse: bool = False,
    sequences: bool = True,
    last: bool = True,
    shared: bool = False,
) -> Scanned | None:
    """The loop of a step, as one operation.

    Args:
        elements: (B, T, ...) each; step t gets element t of all.
        states: (B, ...) each, before the first step.
        length: T.
        reverse: from the last element to the first; outputs are in the order of steps.
        sequences: whether to give the outputs of all steps, or the last one.
        last: whether to give the last states.
        shared: whether values that are the same for all samples remain so within a
        step.

    Returns:
        None if the steps must be unrolled: if they have moving statistics, random
        numbers that are also drawn in prediction, added losses, or states that change
        their shapes.
    """
    first = (*elements, *states)[0]
    graph: Graph = first.graph
    mark, start = graph.mark(), len(graph.shapes)
    made, graph.made = graph.made, []

    def place(shape: Shape, like: Tensor) -> Tensor:
        op = Op("reshape", "", shape, shape, inputs=(first.index,))
        return graph.append_op(op, like.batched or not shared, like.dtype)

    try:
        read = [place(x.sample[1:], x) for x in elements]
        held = [place(s.sample, s) for s in states]
        y, news = step(read, held)
        outputs = [graph.as_tensor(t) for t in (y, *news)]
        names = {read_.index for read_ in (*read, *held)}
        for k, t in enumerate(outputs):
            if t.index < start or t.index in names:
                outputs[k] = graph.op("reshape", [t], t.sample, batched=True)
        traced = graph.made
    finally:
        graph.made = made
    inside = graph.ops[start - graph.given :]
    loop = _loop(graph, start, len(names), inside, outputs, elements, states)
    if loop is None or len(graph.losses) != mark[2]:
        graph.back_to(mark)
        return None
    body, captured = loop
    del graph.ops[start - graph.given :], graph.shapes[start:]
    for tensor in traced:
        tensor.graph = _Gone()  # type: ignore[assignment]
    if made is not None:
        made.extend(t for t in traced if t.index < start)
    y_shape = (length, *outputs[0].sample) if sequences else outputs[0].sample
    sizes = [math.prod(y_shape), *(math.prod(s.sample) for s in states)]
    inputs = [*(t.index for t in (*elements, *states)), *captured]
    shapes = [graph.shapes[v] for v in inputs]
    out = graph.append_op(
        Op(
            "scan",
            graph._layers[-1].name if graph._layers else "scan",
            shapes[0],
            (sum(sizes),) if last else y_shape,
            _roles(body.ops, True),
            _roles(body.ops, False),
            {
                "turns": length,
                "moving": len(elements),
                "carried": len(states),
                "reverse": reverse,
                "sequences": sequences,
                "states": last,
            },
            inputs=tuple(inputs),
            more_shapes=tuple(shapes[1:]),
            body=body,
        )
    )
    if not last:
        return Scanned(out, [])
    parts, at = [], 0
    for size, shape in zip(sizes, [y_shape, *(s.sample for s in states)], strict=True):
        part = ops.get_item(out, (slice(None), slice(at, at + size)))
        parts.append(ops.reshape(part, (-1, *shape)))
        at += size
    return Scanned(parts[0], parts[1:])


def _loop(
    graph: Graph,
    start: int,
    given: int,
    inside: list[Op],
    outputs: list[Tensor],
    elements: Sequence[Tensor],
    states: Sequence[Tensor],
) -> tuple[Body, list[int]] | None:
    """The traced body, and the indices of the values from outside that it reads in all
    steps."""
    for op in inside:
        facts = OPERATIONS.get(op.kind)
        if facts is None or facts.mixes_rows or facts.updates_buffers:
            return None
        if op.kind in ("random", "states"):
            return None
    after = [tensor.sample for tensor in outputs[1:]]
    if after != [state.sample for state in states]:
        return None
    inside = inside[given:]
    found = {v for op in inside for v in op.inputs if v < start}
    captured = sorted(found)
    if len(elements) + len(states) + len(captured) > MAX_READ:
        return None
    numbers = {start + k: k for k in range(given)}
    numbers |= {v: given + k for k, v in enumerate(captured)}
    outside = len(numbers)
    numbers |= {start + given + i: outside + i for i in range(len(inside))}
    moved = [replace(op, inputs=tuple(numbers[v] for v in op.inputs)) for op in inside]
    heads = [Head(numbers[t.index], t.sample) for t in outputs]
    new, heads = joined(moved, outside, heads)
    shapes = [x.sample[1:] for x in elements] + [s.sample for s in states]
    shapes += [graph.shapes[v] for v in captured]
    plan = Plan(tuple(shapes), tuple(new), (), (), ())
    explicit = tuple(replace(op, inputs=plan.reads(i)) for i, op in enumerate(new))
    return Body(plan.inputs, explicit, tuple(head.value for head in heads)), captured


def _roles(inside: Sequence[Op], trained: bool) -> dict[str, VariableSpec]:
    """The variables of the operations of a body, each once."""
    groups = (op.params if trained else op.buffers for op in inside)
    specs = dict.fromkeys(spec for group in groups for spec in group.values())
    return {f"{'param' if trained else 'buffer'}_{i}": s for i, s in enumerate(specs)}


def written_out(
    graph: Graph, op: Op, xs: Sequence[Tensor], append: Append | None = None
) -> Tensor:
    """The value of a loop that is unrolled into operations of the graph.

    Args:
        xs: what the loop reads.
        append: appends an operation that reads these tensors; `appended` if None.
    """
    append = append or appended
    body, attrs = op.body, op.attrs
    assert body is not None
    steps, moving, carried = (int(attrs[k]) for k in ("turns", "moving", "carried"))
    states, constants = list(xs[moving : moving + carried]), xs[moving + carried :]
    ys: list[Tensor] = []
    for t in range(steps):
        at = steps - 1 - t if attrs["reverse"] else t
        values = [ops.get_item(x, (slice(None), at)) for x in xs[:moving]]
        values += [*states, *constants]
        for inner in body.ops:
            read = [values[v] for v in inner.inputs]
            values.append(append(graph, inner, read))
        y, *states = (values[v] for v in body.outputs)
        ys.append(y)
    out: Tensor = ops.stack(ys, 1) if attrs["sequences"] else ys[-1]
    if attrs["states"]:
        flat = [
            ops.reshape(part, (-1, math.prod(part.sample))) for part in (out, *states)
        ]
        out = ops.concatenate(flat, 1)
    if out.sample != op.out_shape:
        out = ops.reshape(out, (-1, *op.out_shape))
    return out


def appended(graph: Graph, op: Op, read: Sequence[Tensor]) -> Tensor:
    """An operation of another graph as one of this, with the same variables; a loop is
    unrolled."""
    if op.kind == "scan":
        return written_out(graph, op, read)
    return graph.append_op(replace(op, inputs=tuple(t.index for t in read)))


def rewritten(plan: Plan, append: Append) -> Plan:
    """The same plan with each operation appended by that function."""
    graph = Graph(plan.inputs, plan.targets)
    graph.vectors[True] = list(plan.params)
    values = [*graph.inputs, *graph.targets]
    for i, op in enumerate(plan.ops):
        values.append(append(graph, op, [values[v] for v in plan.reads(i)]))
    heads = [head.numbered(lambda v: values[v].index) for head in plan.heads]
    if plan.penalty is not None:
        heads.append(Head(values[plan.penalty].index, ()))
    new, heads = joined(graph.ops, graph.given, heads)
    penalty = heads.pop().value if plan.penalty is not None else None
    return replace(plan, ops=tuple(new), heads=tuple(heads), penalty=penalty)
