"""Formulas of layers that need arrays, and therefore run as they are written."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from kurve.core.results import Values, result
from kurve.formulas import functions as ops
from kurve.formulas.graph import Graph
from kurve.formulas.recording import active
from kurve.formulas.tensor import leaves, replaced
from kurve.layers.arguments import takes
from kurve.layers.weights import running
from kurve.regularizers import L1L2


def called(layer: Any, args: Any, kwargs: Mapping[str, Any], training: Any) -> Any:
    """The output of a layer's `call` for arrays, on the tapes that record.

    Args:
        training: whether layers in it act as in training; None for the mode of the call
            around it.
    """
    if training is None:
        training = bool(active.training)
    args, given = replaced(args, _as_values), replaced(dict(kwargs), _as_values)
    mask = _pass_mask(layer, args, given)
    if takes(layer.call, "training"):
        given["training"] = training
    owner = layer.loss_owner
    owner._losses = []
    for part in layer.parts:
        part._losses = []
    before = active.training, Graph.current
    active.training, Graph.current = training, None
    running.append(layer)
    try:
        y = layer.call(*args, **given)
    finally:
        running.pop()
        active.training, Graph.current = before
    y = replaced(y, _as_values)
    losses = [*owner._losses, *_losses_of(layer)]
    if layer.activity_regularizer is not None:
        losses += [penalty(layer.activity_regularizer, leaf) for leaf in leaves(y)]
    owner._losses = []
    for part in layer.parts:
        part._losses = []
    layer._losses = losses
    return _attached(layer, args, given, y, mask)


def _as_values(leaf: Any) -> Any:
    """Arrays with the methods of tensors."""
    return result(leaf) if type(leaf) is np.ndarray else leaf


def _losses_of(layer: Any) -> Iterator[Any]:
    for part in layer.parts:
        yield from part._losses


def penalty(rule: Any, y: Any) -> Any:
    """Summed over each sample, averaged over samples."""
    if not isinstance(rule, L1L2):
        return rule(y) / float(len(y))
    terms: Any = rule.l1 * ops.sum(ops.absolute(y)) if rule.l1 else 0.0
    if rule.l2:
        terms = terms + rule.l2 * ops.sum(ops.square(y))
    return terms / float(len(y))


def _mask_of(value: Any) -> Any:
    return replaced(value, lambda leaf: getattr(leaf, "_keras_mask", None))


def _pass_mask(layer: Any, args: Any, given: dict[str, Any]) -> Any:
    """Put the mask of the first input among the arguments of `call`, if it has one for
    it; and return it."""
    first = args[0] if args else next(iter(given.values()))
    mask = _mask_of(first)
    if all(one is None for one in leaves(mask)):
        mask = None
    if given.get("mask") is not None:
        return given["mask"]
    if mask is not None and "mask" in inspect.signature(layer.call).parameters:
        given["mask"] = mask
    return mask


def _attached(layer: Any, args: Any, given: Any, y: Any, mask: Any) -> Any:
    """The outputs with their masks."""
    if not layer.supports_masking or (mask is None and not layer.makes_masks):
        return y
    first = args[0] if args else next(iter(given.values()))
    masks = iter(list(leaves(layer.compute_mask(first, mask))))
    for leaf in leaves(y):
        own = next(masks, None)
        if isinstance(leaf, Values) and own is not None and leaf._keras_mask is None:
            leaf._keras_mask = np.asarray(own).astype(bool)
    return y
