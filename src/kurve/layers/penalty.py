"""A penalty on the output of a layer."""

from __future__ import annotations

from typing import Any, Unpack

from kurve.core.arguments import from_signature
from kurve.formulas import functions as ops
from kurve.layers.base import Layer, LayerArguments
from kurve.regularizers import L1L2


class ActivityRegularization(Layer):
    """y = x, with l1 sum |x| + l2 sum x^2, averaged over the batch, added to the loss.

    Source: defaults follow keras.layers.ActivityRegularization.

    Args:
        l1, l2: strengths, at least 0.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: not finite, or below 0.

    Example:
        >>> kurve.layers.ActivityRegularization(l2=0.1)([[1.0, 2.0]])
        array([[1., 2.]], dtype=float32)
    """

    built_when_made = True

    _supports_masking = True

    takes_scalars = True
    arguments = from_signature()

    def __init__(
        self, l1: float = 0.0, l2: float = 0.0, **common: Unpack[LayerArguments]
    ) -> None:
        if common.get("activity_regularizer") is not None:
            raise ValueError(
                "[ActivityRegularization] the penalty is defined by l1 and l2. "
                f"Received: activity_regularizer={common['activity_regularizer']!r} "
                "too. Try only l1 and l2."
            )
        super().__init__(**common)
        self.activity_regularizer = L1L2(l1, l2)
        self.l1, self.l2 = self.activity_regularizer.l1, self.activity_regularizer.l2

    def call(self, x: Any) -> Any:
        """The input."""
        return ops.reshape(x, (-1, *x.shape[1:]))

    def get_config(self) -> dict[str, Any]:
        """The arguments that recreate this layer."""
        config = super().get_config()
        del config["activity_regularizer"]
        return config
