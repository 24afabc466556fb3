"""The masks that Keras passes between the layers of a graph.

In Keras, a mask is a tensor that functions compute: `Embedding` calls not_equal(x, 0),
`Concatenate` concatenates the masks of its inputs, and so on. Those calls count in the
distances from the outputs, by which Keras orders layers and their weights.
"""

from __future__ import annotations

from collections.abc import Sequence

from kurve.core.inside import is_model
from kurve.formulas.public import FUNCTIONS
from kurve.formulas.tensor import FunctionCall, KerasTensor, Node, leaves, tensors_in
from kurve.layers.attention import Attention
from kurve.layers.masks import pass_masks


def pass_keras_masks(nodes: Sequence[Node]) -> None:
    """Let each call know the masks that Keras would pass to it (`Node.seen`).

    Args:
        nodes: calls in topological order.
    """
    for node in nodes:
        layer = node.operation
        if node.seen is not None or node.is_input or isinstance(layer, FunctionCall):
            continue
        kwargs = dict(node.kwargs)
        mask = pass_masks(layer, node.args, kwargs)
        node.seen = list(tensors_in((node.args, kwargs)))
        there = any(leaf is not None for leaf in leaves(mask))
        if is_model(layer) or not layer.supports_masking:
            continue
        if there or layer.makes_masks:
            first = node.args[0] if node.args else next(iter(kwargs.values()))
            masks = list(leaves(layer.compute_mask(first, mask)))
            if isinstance(layer, Attention):
                masks = [None if one is None else _copy(one) for one in masks]
            for y, one in zip(tensors_in(node.outputs), masks, strict=False):
                y.mask = one


def _copy(mask: KerasTensor) -> KerasTensor:
    """Keras calls convert_to_tensor here."""
    copy = KerasTensor(mask.shape, "bool")
    Node(FunctionCall(FUNCTIONS["logical_not"]), (mask,), {}, copy)
    return copy
