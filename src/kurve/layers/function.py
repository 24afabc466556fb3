"""A function as a layer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Unpack

from kurve.layers.base import Layer, LayerArguments


class Lambda(Layer):
    """y = function(x), a formula in functions of `kurve.ops` and operators.

    A file cannot hold a function. A custom layer, a subclass of `Layer` with
    `call`, can be saved.

    Args:
        function: of a tensor, or of a list of tensors.
        output_shape: not needed, as the function is tried.
        mask: that of the output, or a function of (x, mask) that gives it; None drops
            masks.
        arguments: further arguments of the function, by name.
        name, trainable, input_shape: see `Layer`.

    Raises:
        TypeError: no function, or one that needs numbers where there are tensors.
        NotImplementedError: when saved.

    Example:
        >>> kurve.layers.Lambda(lambda x: x**2 + 1)([[1.0, 2.0]])
        array([[2., 5.]], dtype=float32)
    """

    takes_scalars = True

    def __init__(
        self,
        function: Callable[..., Any],
        output_shape: Any = None,
        mask: Any = None,
        arguments: Mapping[str, Any] | None = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**common)
        if not callable(function):
            raise TypeError(
                "[Lambda] function must be a function of tensors. "
                f"Received: function={function!r}. Try Lambda(lambda x: x + 1)."
            )
        self.mask = mask
        self._supports_masking = mask is not None
        self.function = function
        self.given = dict(arguments or {})

    @property
    def _takes_any(self) -> bool:
        """Whether it may be called with any structure of tensors: it may."""
        return True

    @property
    def makes_masks(self) -> bool:
        """Whether outputs may have a mask though no input has one."""
        return self.mask is not None

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """What the argument `mask` says.

        Args:
            inputs: of the function.
            previous_mask: of the inputs.
        """
        if callable(self.mask):
            return self.mask(inputs, previous_mask)
        return self.mask

    def call(self, x: Any, mask: Any = None, training: bool | None = None) -> Any:
        """The function, which gets the input's mask if it has such an argument."""
        named = dict(self.given)
        parameters = inspect.signature(self.function).parameters
        if "mask" in parameters:
            named["mask"] = mask
        if "training" in parameters:
            named["training"] = training
        return self.function(x, **named)

    def check_input(self, input_shape: Any) -> None:
        """Any shape that the function takes."""

    def get_config(self) -> dict[str, Any]:
        """Refused: a function cannot be written down."""
        raise NotImplementedError(
            f"[Lambda] a function cannot be saved or copied. Received: layer "
            f"{self.name!r} with {self.function!r}. Try a subclass of kurve.layers."
            "Layer with that formula as call(self, x)."
        )
