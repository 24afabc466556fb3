"""A function as a layer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Unpack

from kurve.layers.base import Layer, LayerArguments


class Lambda(Layer):
    """y = function(x), written with `kurve.ops` functions and operators.

    Files cannot store functions. A custom layer, a subclass of `Layer` with `call`, can
    be saved instead.

    Args:
        function: a function of a tensor or a list of tensors.
        output_shape: unused, because the function is traced.
        mask: mask of the output, or a function of (x, mask) that returns it; None drops
            masks.
        arguments: further arguments of the function, by name.
        name, trainable, input_shape: see `Layer`.

    Raises:
        TypeError: not a function, or one that needs concrete values.
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
        """Always true: it can be called with any structure of tensors."""
        return True

    @property
    def makes_masks(self) -> bool:
        """Whether outputs can have a mask even if no input has one."""
        return self.mask is not None

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """The mask defined by the argument `mask`.

        Args:
            inputs: inputs of the function.
            previous_mask: mask of the inputs.
        """
        if callable(self.mask):
            return self.mask(inputs, previous_mask)
        return self.mask

    def call(self, x: Any, mask: Any = None, training: bool | None = None) -> Any:
        """Call the function, passing the mask of the input if it has such an
        argument."""
        named = dict(self.given)
        parameters = inspect.signature(self.function).parameters
        if "mask" in parameters:
            named["mask"] = mask
        if "training" in parameters:
            named["training"] = training
        return self.function(x, **named)

    def check_input(self, input_shape: Any) -> None:
        """Accepts any shape; the function checks it."""

    def get_config(self) -> dict[str, Any]:
        """Refused: functions cannot be serialized."""
        raise NotImplementedError(
            f"[Lambda] a function cannot be saved. Received: layer "
            f"{self.name!r} with {self.function!r}. Try a subclass of kurve.layers."
            "Layer with the formula in call(self, x)."
        )

    def copied(self) -> Lambda:
        """A new layer with the same function, for `clone_model`."""
        return Lambda(
            self.function,
            mask=self.mask,
            arguments=self.given,
            name=self.name,
            trainable=self.trainable,
            input_shape=self.given_input_shape,
            activity_regularizer=self.activity_regularizer,
        )
