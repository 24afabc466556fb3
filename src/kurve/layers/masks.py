"""Masks: which steps of a sequence are valid.

A tensor carries its mask (`Tensor.mask`, of dtype "bool", usually (B, T)); each layer
reads the masks of its inputs and sets that of its output. The rules are Keras's: `call`
with an argument `mask` receives the mask of the first input, one with `query_mask` that
of its input `query`. A layer that overrides `compute_mask`, or sets `supports_masking`,
gives its output a mask; others drop it, with a warning.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kurve.core.entries import warn
from kurve.formulas.graph import Graph, Tensor
from kurve.formulas.tensor import KerasTensor, leaves, replaced


def is_masked(*values: Any) -> bool:
    """Whether any tensor in nested values has a mask."""
    return any(
        getattr(leaf, "mask", None) is not None
        or getattr(leaf, "mask_sample", None) is not None
        for leaf in leaves(values)
    )


def masks_of(value: Any) -> Any:
    """The masks of tensors, in the same structure."""
    return replaced(value, lambda leaf: leaf.mask if _is_tensor(leaf) else None)


def _is_tensor(leaf: Any) -> bool:
    return isinstance(leaf, (Tensor, KerasTensor))


def pass_masks(layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Add the masks of the inputs to the arguments of `call`, if it has parameters for
    them that were not passed.

    Returns:
        The mask of the first input, in the same structure.
    """
    first = args[0] if args else next(iter(kwargs.values()))
    if not layer.has_formula:
        mask = kwargs.get("mask")
        if mask is None and is_masked(first):
            mask = masks_of(first)
            if layer.takes_mask:
                kwargs["mask"] = mask
        return mask
    names = inspect.signature(layer.call).parameters
    if not any(name == "mask" or name.endswith("_mask") for name in names):
        return masks_of(first) if is_masked(first) else None
    named = {k: v for k, v in kwargs.items() if k != "training"}
    given = inspect.signature(layer.call).bind_partial(*args, **named).arguments
    tensors = {k: v for k, v in given.items() if _holds_tensors(v)}
    mask = given.get("mask")
    if len(tensors) == 1 and "mask" in names and mask is None:
        (value,) = tensors.values()
        mask = masks_of(value)
        if mask is not None:
            kwargs["mask"] = mask
    for name, value in tensors.items() if len(tensors) > 1 else ():
        own = f"{name}_mask"
        if own in names and given.get(own) is None and is_masked(value):
            kwargs[own] = masks_of(value)
    return masks_of(first) if mask is None else mask


def _holds_tensors(value: Any) -> bool:
    parts = list(leaves(value))
    return any(map(_is_tensor, parts)) and all(
        part is None or _is_tensor(part) for part in parts
    )


def attach(
    layer: Any, graph: Graph, args: Any, kwargs: Mapping[str, Any], y: Any, mask: Any
) -> Any:
    """Attach masks to the outputs of a layer.

    Args:
        mask: mask of the first input.
    """
    there = any(leaf is not None for leaf in leaves(mask))
    if not layer.supports_masking:
        if there:
            _warn_of_loss(layer)
        return y
    if not there and not layer.makes_masks:
        return y
    outputs = [leaf for leaf in leaves(y) if _is_tensor(leaf)]
    if all(leaf.mask is not None for leaf in outputs):
        return y  # call() has set them
    first = args[0] if args else next(iter(kwargs.values()))
    with graph.named(layer):
        masks = list(leaves(layer.compute_mask(first, mask)))
    masks = [_as_mask(layer, graph, one) for one in masks]
    if not any(one is not None for one in masks):
        return y
    inputs = {id(leaf) for leaf in leaves((args, dict(kwargs)))}
    rest = iter(masks)

    def masked(leaf: Any) -> Any:
        own = next(rest, None)
        if not _is_tensor(leaf) or leaf.mask is not None or own is None:
            return leaf
        if id(leaf) in inputs:  # others can read it without the mask
            leaf = leaf.without_mask()
        leaf.mask = own
        return leaf

    return replaced(y, masked)


def _as_mask(layer: Any, graph: Graph, mask: Any) -> Tensor | None:
    """A mask as a tensor of the graph, of dtype "bool"."""
    if mask is None:
        return None
    if isinstance(mask, np.ndarray):
        mask = graph.as_tensor(mask)
    if not isinstance(mask, Tensor):
        raise TypeError(
            f"[{type(layer).__name__}] compute_mask must return a tensor, or None. "
            f"Received: {mask!r}. Try kurve.ops functions of its arguments."
        )
    return _bool(mask)


def _bool(mask: Any) -> Any:
    from kurve.formulas import functions as ops

    return mask if mask.dtype == "bool" else ops.cast(mask, "bool")


def _warn_of_loss(layer: Any) -> None:
    if layer._warned_of_mask:
        return
    layer._warned_of_mask = True
    warn(
        f"[{type(layer).__name__}] layer {layer.name!r} gets a masked input but drops "
        "the mask: later layers and losses treat all steps as valid. Try "
        "GlobalAveragePooling1D or another layer that reduces the steps before it; in "
        "custom layers supports_masking = True, or a compute_mask that returns None."
    )


def is_for_all(
    name: str, mask: Any, arrays: Sequence[np.ndarray], broadcasts: bool
) -> bool:
    """Whether an argument of a direct call is a mask shared by all samples: of an
    attention, (T, S) or (1, T, S).

    Args:
        broadcasts: whether the argument `mask` broadcasts to the input.
    """
    own = "mask" if broadcasts else "attention_mask"
    if name != own or not arrays or mask is None:
        return False
    shape = np.shape(mask)
    if shape[:1] == (1,) and len(arrays[0]) > 1:
        return True
    return len(shape) < arrays[0].ndim if broadcasts else len(shape) == 2


def check_rows(where: str, named: Mapping[str, Any], arrays: Sequence[Any]) -> None:
    """Refuse masks in a direct call that do not match the samples.

    Args:
        named: indices of the arrays among them, the first of which is x.
    """
    for name, value in named.items():
        if name != "mask" and not name.endswith("_mask"):
            continue
        for leaf in leaves(value):
            mask = arrays[leaf.number] if hasattr(leaf, "number") else None
            if mask is not None and mask.shape[:1] != arrays[0].shape[:1]:
                raise ValueError(
                    f"[{where}] {name} must have one value per sample of the input. "
                    f"Received: {name} of shape {mask.shape} for an input of shape "
                    f"{arrays[0].shape}. Try as many samples."
                )


def fitted(where: str, mask: Any, x: Any) -> Any:
    """Expand a mask of x (B, T, ...) to as many axes as x: (B, T, 1, ...).

    Raises:
        ValueError: its sizes do not match x.
    """
    from kurve.formulas import functions as ops

    own, shape = tuple(mask.shape), tuple(x.shape)
    fits = len(own) <= len(shape) and all(
        a == b or a is None or b is None or a == 1
        for a, b in zip(own, shape, strict=False)
    )
    if not fits:
        raise ValueError(
            f"[{where}] a mask must match the first axes of its input. "
            f"Received: mask of shape {own} for an input of shape {shape}. "
            f"Try a mask of shape {shape[:2]}."
        )
    missing = len(shape) - len(own)
    return ops.expand_dims(mask, list(range(len(own), len(shape)))) if missing else mask


def either(masks: Any) -> Any:
    """The disjunction of several masks; None if any of them is None."""
    from kurve.formulas import functions as ops

    if masks is None or any(mask is None for mask in masks):
        return None
    found = masks[0]
    for mask in masks[1:]:
        found = ops.logical_or(found, mask)
    return found
