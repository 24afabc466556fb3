"""The plan of a finished graph: its operations joined, and its outputs as heads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import TYPE_CHECKING

from kurve.formulas.joining import joined
from kurve.formulas.symbols import Tensor
from kurve.plan import Head, MetricSpec, Plan, Spec

if TYPE_CHECKING:
    from kurve.formulas.graph import Graph


def finished(
    graph: Graph,
    outputs: Sequence[Tensor],
    rows: Sequence[Tensor | None],
    penalized: bool,
    metrics: Sequence[Sequence[Tensor]],
) -> Plan:
    """See `Graph.finish`."""
    penalty = None
    if penalized and graph.losses:
        penalty = graph.losses[0]
        for tensor in graph.losses[1:]:
            penalty = graph.elementwise("add", penalty, tensor)
    outside = len(graph.input_shapes) + len(graph.target_shapes)
    seen: set[int] = set()
    heads = []
    for tensor, loss, metric in zip_longest(outputs, rows, metrics):
        if (graph.ops or graph._calls) and (
            tensor.index < outside or tensor.index in seen
        ):
            tensor = graph.op("reshape", [tensor], tensor.sample)
        seen.add(tensor.index)
        head = Head(tensor.index, tensor.sample)
        if loss is not None:
            # A value for the whole batch is not a sum of rows, except with weights.
            reduction = "mean" if loss.batched else "sum_if_weighted"
            loss = _computed(graph, loss)
            head = replace(head, loss=Spec("rows"), rows=loss.index)
            head = replace(head, reduction=reduction)
        own = tuple(
            MetricSpec(
                "rows",
                rows=_computed(graph, one).index,
                of_batch="" if one.batched else "mean",
            )
            for one in metric or ()
        )
        heads.append(replace(head, metrics=own))
    graph.refuse_batches(outputs)
    if penalty is not None:
        heads.append(Head(penalty.index, penalty.sample))
    ops, heads = joined(graph.ops, outside, heads)
    value = heads.pop().value if penalty is not None else None
    return Plan(
        graph.input_shapes,
        tuple(ops),
        tuple(graph.vectors[True]),
        tuple(graph.vectors[False]),
        tuple(heads),
        targets=graph.target_shapes,
        penalty=value,
    )


def _computed(graph: Graph, tensor: Tensor) -> Tensor:
    """The tensor itself if an operation computes it, else a copy by one."""
    if tensor.index < graph.given:
        return graph.elementwise("add", tensor, 0.0)
    return tensor
