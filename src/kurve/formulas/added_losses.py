"""Terms that layers add to the loss of the plan under construction."""

from __future__ import annotations

from kurve.formulas import functions as ops
from kurve.formulas.graph import Graph, Tensor


def add_loss(graph: Graph, tensor: Tensor) -> None:
    """Add a value to the loss: its elements are summed."""
    total = ops.sum(tensor)
    if total.batched:  # with the batch axis only
        total = ops.sum(total, 0)
    source = graph.source()
    zero = ops.zeros_like(ops.sum(source, list(range(1, 1 + len(source.sample)))))
    graph.losses.append(zero + total)


def penalize(graph: Graph, tensor: Tensor, l1: float, l2: float) -> None:
    """Add l1 |y| + l2 y^2, summed over each sample and averaged over the batch."""
    terms = l1 * ops.absolute(tensor) if l1 else 0.0
    if l2:
        terms = terms + l2 * ops.square(tensor)
    if isinstance(terms, Tensor):
        axes = list(range(1, len(tensor.sample) + 1))
        graph.losses.append(ops.sum(terms, axes) if axes else terms)
