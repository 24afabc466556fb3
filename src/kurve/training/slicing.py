"""Models that start inside the graph of another model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kurve.formulas.tensor import KerasTensor, Node, leaves, replaced
from kurve.layers.core import InputLayer


def from_inputs(nodes: Sequence[Node], inputs: Any, *parts: Any) -> tuple[Any, ...]:
    """`inputs` and `parts` of a graph whose inputs are those of a model: an `Input` for
    each tensor made by another call, and the calls after it, with the same layers.

    Args:
        nodes: the calls from the inputs to the parts, in topological order.
        inputs, parts: nested structures of symbolic tensors.
    """
    new: dict[int, KerasTensor] = {}
    for tensor in leaves(inputs):
        new[id(tensor)] = tensor
        if not tensor.history.node.is_input:
            name = f"{tensor.name}CLONE"
            layer = InputLayer(batch_shape=tensor.shape, dtype=tensor.dtype, name=name)
            new[id(tensor)] = _like(tensor, layer.output)

    def of(leaf: Any) -> Any:
        return new[id(leaf)] if isinstance(leaf, KerasTensor) else leaf

    def made(leaf: Any) -> Any:
        if not isinstance(leaf, KerasTensor):
            return leaf
        copy = _like(leaf, KerasTensor(leaf.shape, leaf.dtype))
        return new.setdefault(id(leaf), copy)

    for node in nodes:
        if not node.is_input:
            args, kwargs = replaced(node.args, of), replaced(node.kwargs, of)
            out = replaced(node.outputs, made)
            Node(node.operation, args, kwargs, out).encodes = node.encodes
    return tuple(replaced(part, of) for part in (inputs, *parts))


def _like(tensor: KerasTensor, copy: KerasTensor) -> KerasTensor:
    """The copy, with what is known of the tensor."""
    copy.mask_sample, copy.of_batch = tensor.mask_sample, tensor.of_batch
    copy.rows = tensor.rows
    return copy
