"""Layers that wrap another layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, Unpack

from kurve.core.inside import is_model
from kurve.formulas import functions as ops
from kurve.layers.base import Layer, LayerArguments
from kurve.layers.core import Activation
from kurve.layers.dense import Dense
from kurve.layers.masks import fitted


def described(layer: Any) -> dict[str, Any]:
    """Class and configuration of a layer or model inside a layer."""
    from kurve.models.configs import serialize_operation

    return serialize_operation(layer)


def of_description(config: Mapping[str, Any]) -> Any:
    """The layer or model from a `described` result."""
    from kurve.models.config_reader import deserialize_operation

    return deserialize_operation(config)


class Wrapper(Layer):
    """Base class of layers that wrap another layer and share its weights.

    Args:
        layer: the inner layer, or a model.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: not a layer.

    Example:
        >>> class Twice(kurve.layers.Wrapper):
        ...     def call(self, x):
        ...         return self.layer(self.layer(x))
        >>> Twice(kurve.layers.Dense(3))(np.ones((2, 3))).shape
        (2, 3)
    """

    parts_by_name = True

    def __init__(self, layer: Layer, **common: Unpack[LayerArguments]) -> None:
        if not isinstance(layer, Layer):
            raise ValueError(
                f"[{type(self).__name__}] layer must be a layer. "
                f"Received: layer={layer!r}. Try {type(self).__name__}(Dense(8))."
            )
        super().__init__(**common)
        self.layer = layer

    def build(self, input_shape: Any) -> None:
        """Build the inner layer, for a `build` of a subclass that calls this one."""
        if self._building and self.layer.built_shape is None:
            self.layer.build(input_shape)
        super().build(input_shape)

    def get_config(self) -> dict[str, Any]:
        """The arguments that recreate this layer."""
        return {**super().get_config(), "layer": described(self.layer)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The layer of a `get_config`."""
        layer = of_description(config["layer"])
        rest = {name: value for name, value in config.items() if name != "layer"}
        return super().from_config({**rest, "layer": layer})


class TimeDistributed(Wrapper):
    """Applies the inner layer to each element of the first axis: y[:, t] = layer(x[:,
    t]).

    A mask (B, T, ...) is passed on; inner layers that take masks get mask[:, t].

    Args:
        layer: the inner layer, or a model.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: not a layer; when built: samples with fewer than two axes; when
            called: a mask that is not (B, T, ...).
        NotImplementedError: when built: the inner layer has moving statistics, like
            `BatchNormalization`.

    Example:
        >>> inner = kurve.layers.Conv2D(4, 3)
        >>> kurve.layers.TimeDistributed(inner)(np.ones((2, 5, 8, 8, 1))).shape
        (2, 5, 6, 6, 4)
    """

    _supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Build the inner layer."""
        self._check(input_shape)
        self.layer.build((input_shape[0], *input_shape[2:]))
        for variable in self.layer.variables:
            if variable.role == "statistic":
                raise NotImplementedError(
                    "[TimeDistributed] a layer with moving statistics cannot be "
                    f"repeated in a step. Received: {self.layer!r} with "
                    f"{variable.name}. Try it without TimeDistributed."
                )

    def call(self, x: Any, mask: Any = None) -> Any:
        """The outputs of all steps."""
        self._check(x.shape)
        if mask is not None:
            fitted("TimeDistributed", mask, x)
            if len(mask.shape) < 2:
                raise ValueError(
                    "[TimeDistributed] the mask must have the time axis: "
                    f"(B, {x.shape[1]}, ...). Received: a mask of shape {mask.shape}. "
                    "Try mask=None."
                )
        if type(self.layer) in (Dense, Activation):  # on the last axis, or elementwise
            return self.layer(x)
        takes = mask is not None and self.layer.takes_mask
        if takes and len(mask.shape) == 2 and is_model(self.layer):
            takes = False  # models cannot use a mask with one value per sample
        steps = []
        for t in range(x.shape[1]):
            own = {"mask": ops.get_item(mask, (slice(None), t))} if takes else {}
            steps.append(self.layer(ops.get_item(x, (slice(None), t)), **own))
        return ops.stack(steps, 1)

    def _check(self, shape: Any) -> None:
        if len(shape) < 3:
            raise ValueError(
                f"[TimeDistributed] layer {self.name!r} takes samples of at least two "
                f"axes. Received: shape {tuple(shape)}. Try {self.layer!r} directly."
            )
