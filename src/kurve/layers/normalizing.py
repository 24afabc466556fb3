"""Normalization layers over samples or groups of channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from kurve import initializers, regularizers
from kurve.core.arguments import (
    MAX_COUNT,
    check_flag,
    check_number,
    from_signature,
    is_count,
    is_integer,
)
from kurve.formulas import functions as ops
from kurve.layers.base import Layer, LayerArguments, Variable
from kurve.layers.scaling import StandardizingArguments
from kurve.layers.softmax import checked_axes, places


class UnitNormalization(Layer):
    """y = x / sqrt(sum(x^2)), with the sum over some axes: vectors of length 1.

    Args:
        axis: axis or axes, counting the batch axis.
        name, trainable, input_shape: see `Layer`.

    Raises:
        TypeError: axes that are not integers.
        ValueError: when built: axes that samples do not have.

    Example:
        >>> kurve.layers.UnitNormalization()([[3.0, 4.0]])
        array([[0.6, 0.8]], dtype=float32)
    """

    built_when_made = True

    _supports_masking = True

    arguments = from_signature()

    def __init__(
        self, axis: int | Sequence[int] = -1, **common: Unpack[LayerArguments]
    ) -> None:
        super().__init__(**common)
        self.axis = checked_axes("UnitNormalization", axis)

    def call(self, x: Any) -> Any:
        """The forward pass."""
        axes: Any = places("UnitNormalization", self.axis, x)
        return ops.normalize(x, axes, 2, 1e-12)


def checked_epsilon(where: str, epsilon: Any) -> float:
    """What is added to a variance."""
    return check_number(where, "epsilon", epsilon, 0.001, 0)


class RMSNormalization(Layer):
    """y = scale * x / sqrt(mean(x^2) + epsilon), with the mean over some axes of each
    sample.

    Shapes:   x (B, ..., C), scale (C,) for axis=-1 -> y as x
    Source:   Zhang & Sennrich 2019; defaults follow keras.layers.RMSNormalization.

    Args:
        axis: axis or axes, counting the batch axis.
        epsilon: added to the mean, at least 0.
        name, trainable, input_shape: see `Layer`.

    Raises:
        TypeError: axes that are not integers.
        ValueError: epsilon below 0; when built: axes that samples do not have.

    Example:
        >>> kurve.layers.RMSNormalization(epsilon=0.0)([[3.0, 3.0], [-1.0, 1.0]])
        array([[ 1.,  1.],
               [-1.,  1.]], dtype=float32)
    """

    arguments = from_signature()

    def __init__(
        self,
        axis: int | Sequence[int] = -1,
        epsilon: float = 1e-6,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**common)
        self.axis = checked_axes("RMSNormalization", axis)
        self.epsilon = checked_epsilon("RMSNormalization", epsilon)
        self.scale: Variable

    def build(self, input_shape: Any) -> None:
        """Create the scale."""
        axes = places("RMSNormalization", self.axis, input_shape)
        shape = [input_shape[a] for a in axes]
        self.scale = self.add_weight(shape, "ones", name="scale")

    def call(self, x: Any) -> Any:
        """The forward pass."""
        axes = places("RMSNormalization", self.axis, x)
        size = ops.rsqrt(ops.mean(ops.square(x), axes, True) + self.epsilon)
        return x * size * along(self.scale, axes, x)


def along(variable: Any, axes: Sequence[int], x: Any) -> Any:
    """Reshape a variable whose axes are `axes` of x to broadcast with x."""
    rank = len(x.shape)
    if list(axes) == list(range(rank - len(axes), rank)):
        return variable
    shape = [variable.shape[axes.index(a)] if a in axes else 1 for a in range(1, rank)]
    return ops.reshape(variable, shape)


class GroupNormalization(Layer):
    """y = gamma * (x - mean) / sqrt(variance + epsilon) + beta, with the mean and
    variance of each group of channels of each sample.

    Shapes:   x (B, ..., C), gamma and beta (C,) -> y as x
    Source:   Wu & He 2018; defaults follow keras.layers.GroupNormalization.

    Args:
        groups: number of groups, which must divide C; -1 for one group per channel.
        axis: the channel axis.
        epsilon: added to the variance, at least 0.
        center, scale: whether to use beta and gamma.
        beta_initializer, gamma_initializer, beta_regularizer, gamma_regularizer,
            beta_constraint, gamma_constraint: name or object.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: groups or epsilon out of range; when built: groups that do not
            divide the channels.

    Example:
        >>> kurve.layers.GroupNormalization(2, epsilon=0.0)([[1.0, 3.0, 10.0, 30.0]])
        array([[-1.,  1., -1.,  1.]], dtype=float32)
    """

    _supports_masking = True

    arguments = from_signature()
    constrained: Mapping[str, str] = {
        "gamma": "gamma_constraint",
        "beta": "beta_constraint",
    }

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: str | initializers.Initializer = "zeros",
        gamma_initializer: str | initializers.Initializer = "ones",
        beta_regularizer: str | regularizers.Regularizer | None = None,
        gamma_regularizer: str | regularizers.Regularizer | None = None,
        **common: Unpack[StandardizingArguments],
    ) -> None:
        where = "GroupNormalization"
        if not is_count(groups) and not (is_integer(groups) and groups == -1):
            raise ValueError(
                f"[{where}] groups must be an integer from 1 to {MAX_COUNT}, or -1. "
                f"Received: groups={groups!r}. Try groups=4."
            )
        super().__init__(**common)
        self.groups = int(groups)
        self.axis = checked_axes(where, axis)
        if not isinstance(self.axis, int):
            raise TypeError(
                f"[{where}] axis must be an integer. "
                f"Received: axis={axis!r}. Try axis=-1."
            )
        self.epsilon = checked_epsilon(where, epsilon)
        self.center = check_flag(where, "center", center)
        self.scale = check_flag(where, "scale", scale)
        self.beta_initializer = initializers.of_weight(beta_initializer)
        self.gamma_initializer = initializers.of_weight(gamma_initializer)
        self.beta_regularizer = regularizers.get(beta_regularizer)
        self.gamma_regularizer = regularizers.get(gamma_regularizer)
        self.gamma: Variable | None = None
        self.beta: Variable | None = None

    def build(self, input_shape: Any) -> None:
        """Create gamma and beta."""
        (axis,) = places("GroupNormalization", self.axis, input_shape)
        channels = input_shape[axis]
        groups = channels if self.groups == -1 else self.groups
        if not channels or channels % groups:
            raise ValueError(
                "[GroupNormalization] groups must divide the channels. Received: "
                f"groups={self.groups} for shape {input_shape}. Try groups=1."
            )
        for name, wanted in (("gamma", self.scale), ("beta", self.center)):
            if wanted:
                weight = self.add_weight(
                    (channels,),
                    getattr(self, f"{name}_initializer"),
                    name=name,
                    regularizer=getattr(self, f"{name}_regularizer"),
                )
                setattr(self, name, weight)

    def call(self, x: Any) -> Any:
        """The forward pass."""
        (axis,) = places("GroupNormalization", self.axis, x)
        sample = list(x.shape[1:])
        channels = sample[axis - 1]
        groups = channels if self.groups == -1 else self.groups
        split = [*sample[: axis - 1], groups, channels // groups, *sample[axis:]]
        parts = ops.reshape(x, (-1, *split))
        axes = [a for a in range(1, len(split) + 1) if a != axis]
        centered = parts - ops.mean(parts, axes, True)
        variance = ops.mean(ops.square(centered), axes, True)
        y = ops.reshape(centered * ops.rsqrt(variance + self.epsilon), (-1, *sample))
        if self.gamma is not None:
            y = y * along(self.gamma, [axis], y)
        if self.beta is not None:
            y = y + along(self.beta, [axis], y)
        return y
