"""Softmax over arbitrary axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

from kurve.core.arguments import from_signature, is_integer
from kurve.formulas import functions as ops
from kurve.layers.base import Layer, LayerArguments


class Softmax(Layer):
    """y = exp(x) / sum(exp(x)), with the sum over some axes.

    In a call, `mask` marks the elements that count (True, or above 0.5). It broadcasts
    to x; masked elements of y are 0 and left out of the sum.

    Args:
        axis: axis or axes, counting the batch axis.
        name, trainable, input_shape: see `Layer`.

    Raises:
        TypeError: axes that are not integers.
        ValueError: when built: axes that samples do not have; when called: a mask that
            does not broadcast to x.

    Example:
        >>> kurve.layers.Softmax()([[0.0, 0.0]])
        array([[0.5, 0.5]], dtype=float32)
    """

    built_when_made = True

    _supports_masking = True
    mask_broadcasts = True

    arguments = from_signature()

    def __init__(
        self, axis: int | Sequence[int] = -1, **common: Unpack[LayerArguments]
    ) -> None:
        super().__init__(**common)
        self.axis = checked_axes("Softmax", axis)

    def call(self, x: Any, mask: Any = None) -> Any:
        """The forward pass."""
        axes = [self.axis] if isinstance(self.axis, int) else list(self.axis)
        if mask is not None:
            mask = self._checked(mask, x)
            x = ops.where(mask, x, -1e9)
        if len(axes) == 1:
            y = ops.softmax(x, axes[0])
        else:
            y = ops.exp(x - ops.logsumexp(x, axes, True))
        return y if mask is None else ops.where(mask, y, 0.0)

    def _checked(self, mask: Any, x: Any) -> Any:
        """The mask, of dtype "bool"."""
        own, shape = tuple(mask.shape), tuple(x.shape)
        pairs = zip(reversed(own), reversed(shape), strict=False)
        batched = own[:1] == (None,)
        if (
            len(own) > len(shape)
            or (batched and len(own) < len(shape))
            or any(a not in (1, b, None) for a, b in pairs)
        ):
            raise ValueError(
                f"[Softmax] the mask of layer {self.name!r} must broadcast to its "
                "input: counted from the last axis, sizes are equal or 1. Received: "
                f"mask of shape {own} for an input of shape {shape}. Try "
                "Activation('softmax') for the softmax of each step of a sequence."
            )
        if "bool" in str(mask.dtype):
            return mask
        return ops.greater(mask, 0.5)


def checked_axes(where: str, axis: Any) -> int | tuple[int, ...]:
    """Validate axes: an integer, or a tuple of several.

    Raises:
        TypeError: neither.
    """
    if is_integer(axis):
        return int(axis)
    if isinstance(axis, (list, tuple)) and axis and all(map(is_integer, axis)):
        return tuple(int(a) for a in axis)
    raise TypeError(
        f"[{where}] axis must be an integer or several of them. "
        f"Received: axis={axis!r}. Try axis=-1."
    )


def places(where: str, axis: int | tuple[int, ...], x: Any) -> list[int]:
    """The axes as sorted non-negative integers.

    Args:
        x: a tensor, or its shape including the batch axis.

    Raises:
        ValueError: the batch axis, a missing axis, or a duplicate.
    """
    shape = tuple(x.shape if hasattr(x, "shape") else x)
    given = [axis] if isinstance(axis, int) else list(axis)
    rank = len(shape)
    found = sorted(a % rank for a in given if -rank <= a < rank)
    if len(set(found)) != len(given) or 0 in found:
        raise ValueError(
            f"[{where}] axis must name axes of the input other than the "
            f"batch axis. Received: axis={axis} for shape {shape}. Try axis=-1."
        )
    return found
