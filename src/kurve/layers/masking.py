"""Masking: steps that do not count."""

from __future__ import annotations

from typing import Any, Unpack

from kurve.core.arguments import check_number
from kurve.formulas import functions as ops
from kurve.layers.base import Layer, LayerArguments


class Masking(Layer):
    """Marks the steps whose features are all `mask_value`: layers and losses behind it
    leave them out.

    Shapes:   x (B, T, ..., C) -> y (B, T, ..., C), 0 at these steps, and its mask
              (B, T, ...)
    Source:   defaults follow keras.layers.Masking.

    Args:
        mask_value: a finite number.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: mask_value is no finite number.

    Example:
        >>> x = np.array([[[1.0, 2.0], [0.0, 0.0]]])
        >>> kurve.layers.Masking().compute_mask(x)
        array([[ True, False]])
        >>> kurve.layers.GlobalAveragePooling1D()(kurve.layers.Masking()(x))
        array([[1., 2.]], dtype=float32)
    """

    arguments = ("mask_value",)
    makes_masks = True

    def __init__(
        self, mask_value: float = 0.0, **common: Unpack[LayerArguments]
    ) -> None:
        super().__init__(**common)
        check_number("Masking", "mask_value", mask_value, 0.0)
        self.mask_value = float(mask_value)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """The steps with a feature that is not `mask_value`.

        Args:
            inputs: (B, T, ..., C).
            previous_mask: not needed.
        """
        return ops.any(ops.not_equal(inputs, self.mask_value), -1)

    def call(self, x: Any) -> Any:
        """x, with 0 at the other steps."""
        mask = self.compute_mask(x)
        y = ops.where(ops.expand_dims(mask, -1), x, 0.0)
        y.mask = mask
        return y
