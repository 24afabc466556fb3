"""Masking of time steps."""

from __future__ import annotations

from typing import Any, Unpack

from kurve.core.arguments import check_number, from_signature
from kurve.formulas import functions as ops
from kurve.layers.base import Layer, LayerArguments


class Masking(Layer):
    """Masks the steps whose features all equal `mask_value`, so that later layers and
    losses skip them.

    Shapes:   x (B, T, ..., C) -> y (B, T, ..., C), 0 at these steps, and its mask
              (B, T, ...)
    Source:   defaults follow keras.layers.Masking.

    Args:
        mask_value: a finite number.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: mask_value is not a finite number.

    Example:
        >>> x = np.array([[[1.0, 2.0], [0.0, 0.0]]])
        >>> kurve.layers.Masking().compute_mask(x)
        array([[ True, False]])
        >>> kurve.layers.GlobalAveragePooling1D()(kurve.layers.Masking()(x))
        array([[1., 2.]], dtype=float32)
    """

    built_when_made = True

    arguments = from_signature()
    makes_masks = True

    def __init__(
        self, mask_value: float = 0.0, **common: Unpack[LayerArguments]
    ) -> None:
        super().__init__(**common)
        check_number("Masking", "mask_value", mask_value, 0.0)
        self.mask_value = float(mask_value)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """True for steps with a feature other than `mask_value`.

        Args:
            inputs: (B, T, ..., C).
            previous_mask: unused.
        """
        return ops.any(ops.not_equal(inputs, self.mask_value), -1)

    def call(self, x: Any) -> Any:
        """x, with masked steps set to 0."""
        mask = self.compute_mask(x)
        y = ops.where(ops.expand_dims(mask, -1), x, 0.0)
        y.mask = mask
        return y
