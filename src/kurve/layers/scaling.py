"""Normalization and rescaling layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from kurve import initializers, regularizers
from kurve.core.arguments import (
    check_flag,
    check_number,
    from_signature,
    is_integer,
)
from kurve.core.arrays import as_numbers
from kurve.layers.base import Layer, LayerArguments, Variable
from kurve.layers.softmax import places
from kurve.plan import Attr, Op, Shape, VariableSpec

if TYPE_CHECKING:
    from kurve.constraints import Constraint


def moved_to_the_end(
    name: str,
    sample: Shape,
    axes: Sequence[int],
    lower: Callable[[Shape], list[Op]],
) -> list[Op]:
    """The operations of `lower` for samples whose `axes` come last; otherwise the axes
    are moved there and back. Samples that are numbers become vectors of one."""
    if not sample:
        there = Op("reshape", name, (), (1,))
        return [there, *lower((1,)), Op("reshape", name, (1,), ())]
    order = [i for i in range(len(sample)) if i not in axes] + list(axes)
    if order == sorted(order):
        return lower(sample)
    inner = tuple(sample[i] for i in order)
    back = tuple(order.index(i) for i in range(len(sample)))
    there = Op("permute", name, sample, inner, attrs={"axes": tuple(order)})
    return [
        there,
        *lower(inner),
        Op("permute", name, inner, sample, attrs={"axes": back}),
    ]


class StandardizingArguments(LayerArguments, total=False):
    """Keras's arguments of both layers."""

    beta_constraint: str | Constraint | None
    gamma_constraint: str | Constraint | None


class _Standardizing(Layer):
    """Shared by both: y = gamma * standardized x + beta."""

    _supports_masking = True

    constrained: Mapping[str, str] = {
        "gamma": "gamma_constraint",
        "beta": "beta_constraint",
    }

    def __init__(
        self,
        epsilon: float,
        center: bool,
        scale: bool,
        beta_initializer: str | initializers.Initializer,
        gamma_initializer: str | initializers.Initializer,
        beta_regularizer: str | regularizers.Regularizer | None,
        gamma_regularizer: str | regularizers.Regularizer | None,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self.epsilon = self._number("epsilon", epsilon, math.inf, 1e-3)
        where = type(self).__name__
        self.center = check_flag(where, "center", center)
        self.scale = check_flag(where, "scale", scale)
        self.beta_initializer = initializers.of_weight(beta_initializer)
        self.gamma_initializer = initializers.of_weight(gamma_initializer)
        self.beta_regularizer = regularizers.get(beta_regularizer)
        self.gamma_regularizer = regularizers.get(gamma_regularizer)
        self.gamma: Variable | None = None
        self.beta: Variable | None = None

    def _number(self, name: str, value: Any, below: float, default: float) -> float:
        return check_number(type(self).__name__, name, value, default, 0, below, "[)")

    def _axes(self, axis: Any, one: bool = False) -> tuple[int, ...]:
        """The axes as integers."""
        axes = (axis,) if is_integer(axis) else () if one else axis
        if not isinstance(axes, (list, tuple)) or not axes:
            axes = (None,)
        if not all(map(is_integer, axes)):
            kind = "an integer" if one else "an integer or a tuple of integers"
            raise ValueError(
                f"[{type(self).__name__}] axis must be {kind}. "
                f"Received: axis={axis!r}. Try axis=-1."
            )
        return tuple(int(a) for a in axes)

    def add_gamma_and_beta(self, shape: Shape) -> None:
        if self.scale:
            self.gamma = self.add_weight(
                shape,
                self.gamma_initializer,
                name="gamma",
                regularizer=self.gamma_regularizer,
            )
        if self.center:
            self.beta = self.add_weight(
                shape,
                self.beta_initializer,
                name="beta",
                regularizer=self.beta_regularizer,
            )


class BatchNormalizationArguments(StandardizingArguments, total=False):
    """Keras's arguments of `BatchNormalization`."""

    synchronized: bool
    renorm: bool
    renorm_clipping: None
    renorm_momentum: float


class BatchNormalization(_Standardizing):
    """y = gamma * (x - mean) / sqrt(variance + epsilon) + beta, separately for each
    channel.

    In training, mean and variance are those of the batch, over all axes except `axis`.
    The moving statistics are updated with the step: moving = moving * momentum + batch
    * (1 - momentum). Prediction uses the moving statistics, and so does training with
    trainable=False. Masked steps are normalized too, but do not count in mean and
    variance.

    Shapes:   x (B, ..., C), gamma, beta, moving_mean, moving_variance (C,) -> y as x
    Backward: n = gamma dy; dx = (n - mean(n) - x^ mean(n x^)) / sqrt(variance +
              epsilon), x^ the standardized x; dgamma = sum(dy x^), dbeta = sum(dy)
    Source:   Ioffe & Szegedy 2015; defaults follow keras.layers.BatchNormalization.

    Args:
        axis: the channel axis, counting the batch axis.
        momentum: momentum of the moving mean and variance, in [0, 1).
        epsilon: added to the variance, at least 0.
        center, scale: whether to use beta and gamma.
        beta_initializer, gamma_initializer, moving_mean_initializer,
            moving_variance_initializer, beta_regularizer, gamma_regularizer,
            beta_constraint, gamma_constraint: name or object.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: momentum or epsilon out of range; when built: an axis that samples
            do not have; when called: a mask without the axes of x except the last.

    Example:
        >>> layer = kurve.layers.BatchNormalization(epsilon=0.0)
        >>> layer([[1.0], [3.0]], training=True).ravel()
        array([-1.,  1.], dtype=float32)
    """

    arguments = from_signature()

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: str | initializers.Initializer = "zeros",
        gamma_initializer: str | initializers.Initializer = "ones",
        moving_mean_initializer: str | initializers.Initializer = "zeros",
        moving_variance_initializer: str | initializers.Initializer = "ones",
        beta_regularizer: str | regularizers.Regularizer | None = None,
        gamma_regularizer: str | regularizers.Regularizer | None = None,
        **common: Unpack[BatchNormalizationArguments],
    ) -> None:
        super().__init__(
            epsilon,
            center,
            scale,
            beta_initializer,
            gamma_initializer,
            beta_regularizer,
            gamma_regularizer,
            **common,
        )
        self.axis = self._axes(axis, one=True)[0]
        self.momentum = self._number("momentum", momentum, 1.0, 0.99)
        self.moving_mean_initializer = initializers.of_weight(moving_mean_initializer)
        self.moving_variance_initializer = initializers.of_weight(
            moving_variance_initializer
        )
        self.moving_mean: Variable
        self.moving_variance: Variable

    def make_variables(self, input_shape: Shape) -> None:
        shape = (input_shape[self._place(input_shape)],)
        self.add_gamma_and_beta(shape)
        self.moving_mean = self.add_weight(
            shape, self.moving_mean_initializer, name="moving_mean", role="statistic"
        )
        self.moving_variance = self.add_weight(
            shape,
            self.moving_variance_initializer,
            name="moving_variance",
            role="statistic",
        )

    def check_input(self, input_shape: Shape) -> None:
        channels = self.moving_mean.shape[0]
        if input_shape[self._place(input_shape)] != channels:
            raise ValueError(
                f"[BatchNormalization] layer {self.name!r} was built for {channels} "
                f"channels. Received: samples of shape {input_shape}. "
                "Try a new layer."
            )

    def output_sample_shape(self, input_shape: Shape) -> Shape:
        self._place(input_shape)
        return input_shape

    def _place(self, input_shape: Shape) -> int:
        """The channel axis of a sample."""
        (axis,) = places("BatchNormalization", self.axis, (None, *input_shape))
        return axis - 1

    def lower(
        self, input_shape: Shape, slots: Mapping[str, VariableSpec], index: int
    ) -> list[Op]:
        moving = ("moving_mean", "moving_variance")
        attrs: dict[str, Attr] = {
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "frozen": not self.trainable,
        }
        params = {k: slot for k, slot in slots.items() if k not in moving}
        buffers = {k: slots[k] for k in moving}

        def at_the_end(shape: Shape) -> list[Op]:
            kind = "batch_normalization"
            return [Op(kind, self.name, shape, shape, params, buffers, attrs)]

        axes = [self._place(input_shape)]
        return moved_to_the_end(self.name, input_shape, axes, at_the_end)

    def call_masked(self, x: Any, mask: Any) -> Any:
        if tuple(mask.shape) != tuple(x.shape[:-1]):
            raise ValueError(
                f"[BatchNormalization] the mask of layer {self.name!r} must have the "
                "axes of its input except the last. Received: a mask of shape "
                f"{tuple(mask.shape)} for an input of shape {x.shape}. Try mask=None."
            )
        if self._place(x.sample) != len(x.sample) - 1:
            raise ValueError(
                "[BatchNormalization] with a mask, the channels must be the last axis. "
                f"Received: axis={self.axis} for an input of shape {x.shape}. "
                "Try axis=-1."
            )
        graph = x.graph
        placed = {v.name.rpartition("/")[2]: graph.place(v) for v in self.variables}
        (op,) = self.lower(x.sample, placed, 0)
        both = [x, graph.as_tensor(mask)]
        kind = "masked_batch_normalization"
        return graph.op(kind, both, x.sample, op.params, op.buffers, op.attrs)


class LayerNormalizationArguments(StandardizingArguments, total=False):
    """Keras's arguments of `LayerNormalization`."""

    rms_scaling: bool


class LayerNormalization(_Standardizing):
    """y = gamma * (x - mean) / sqrt(variance + epsilon) + beta, with the mean and
    variance of each sample.

    Shapes:   x (B, ..., C), gamma and beta (C,) for axis=-1 -> y as x
    Backward: see `BatchNormalization`, over the elements normalized together
    Source:   Ba, Kiros & Hinton 2016; defaults follow keras.layers.LayerNormalization.

    Args:
        axis: axis or axes that are normalized together.
        epsilon, center, scale, beta_initializer, gamma_initializer, beta_regularizer,
            gamma_regularizer, beta_constraint, gamma_constraint: see
            `BatchNormalization`.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: epsilon out of range; when built: axes that samples do not have.

    Example:
        >>> kurve.layers.LayerNormalization(epsilon=0.0)([[1.0, 3.0], [10.0, 30.0]])
        array([[-1.,  1.],
               [-1.,  1.]], dtype=float32)
    """

    arguments = from_signature()

    def __init__(
        self,
        axis: int | Sequence[int] = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: str | initializers.Initializer = "zeros",
        gamma_initializer: str | initializers.Initializer = "ones",
        beta_regularizer: str | regularizers.Regularizer | None = None,
        gamma_regularizer: str | regularizers.Regularizer | None = None,
        **common: Unpack[LayerNormalizationArguments],
    ) -> None:
        super().__init__(
            epsilon,
            center,
            scale,
            beta_initializer,
            gamma_initializer,
            beta_regularizer,
            gamma_regularizer,
            **common,
        )
        axes = self._axes(axis)
        self.axis = axes[0] if is_integer(axis) else axes

    def make_variables(self, input_shape: Shape) -> None:
        self.add_gamma_and_beta(self._together(input_shape))

    def check_input(self, input_shape: Shape) -> None:
        together = self._together(input_shape)
        for variable in self._variables:
            if variable.shape != together:
                raise ValueError(
                    f"[LayerNormalization] layer {self.name!r} was built for "
                    f"{variable.shape} elements normalized together. Received: "
                    f"samples of shape {input_shape}, with {together}. "
                    "Try a new layer."
                )

    def output_sample_shape(self, input_shape: Shape) -> Shape:
        self._together(input_shape)
        return input_shape

    def _places(self, input_shape: Shape) -> list[int]:
        """The axes of a sample that are normalized together, in order."""
        shape = (None, *input_shape)
        return [a - 1 for a in places("LayerNormalization", self.axis, shape)]

    def _together(self, input_shape: Shape) -> Shape:
        """Shape of the elements that are normalized together."""
        return tuple(input_shape[a] for a in self._places(input_shape))

    def lower(
        self, input_shape: Shape, slots: Mapping[str, VariableSpec], index: int
    ) -> list[Op]:
        size = math.prod(self._together(input_shape))
        attrs: dict[str, Attr] = {"epsilon": self.epsilon, "size": size}

        def at_the_end(shape: Shape) -> list[Op]:
            kind = "layer_normalization"
            return [Op(kind, self.name, shape, shape, slots, attrs=attrs)]

        axes = self._places(input_shape)
        return moved_to_the_end(self.name, input_shape, axes, at_the_end)


class Rescaling(Layer):
    """y = x * scale + offset: `Rescaling(1 / 255)` maps image bytes to [0, 1].

    Shapes: x (B, ..., C) -> y the same.
    Source: defaults follow keras.layers.Rescaling.

    Args:
        scale, offset: finite numbers, or arrays (C,).
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: not finite; when built: an array whose length is not C.

    Example:
        >>> kurve.layers.Rescaling(1 / 100, offset=-1.0)([[0, 100, 200]])
        array([[-1.,  0.,  1.]], dtype=float32)
    """

    _supports_masking = True

    takes_scalars = takes_vectors = True

    arguments = from_signature()

    def __init__(
        self, scale: Any, offset: Any = 0.0, **common: Unpack[LayerArguments]
    ) -> None:
        super().__init__(**common)
        self.scale = self._numbers("scale", scale)
        self.offset = self._numbers("offset", offset)

    @staticmethod
    def _numbers(name: str, value: Any) -> float | tuple[float, ...]:
        try:
            array = as_numbers("Rescaling", name, value, np.float64)
        except (TypeError, ValueError):
            array = np.array(np.nan)
        with np.errstate(over="ignore"):
            rounded = array.astype(np.float32)
        if array.ndim > 1 or not array.size or not np.isfinite(rounded).all():
            raise ValueError(
                f"[Rescaling] {name} must be a finite number, or one per "
                f"channel. Received: {name}={value!r}. Try Rescaling(1 / 255)."
            )
        return tuple(array.tolist()) if array.ndim else float(array)

    def make_variables(self, input_shape: Shape) -> None:
        self.output_sample_shape(input_shape)
        for name, value in (("scale", self.scale), ("offset", self.offset)):
            if isinstance(value, tuple):
                constant = initializers.Constant(value)
                self.add_weight((len(value),), constant, name=name, role="constant")

    def check_input(self, input_shape: Shape) -> None:
        self.output_sample_shape(input_shape)

    def output_sample_shape(self, input_shape: Shape) -> Shape:
        for name, value in (("scale", self.scale), ("offset", self.offset)):
            channels = input_shape[-1] if input_shape else 1
            if isinstance(value, tuple) and len(value) != channels:
                raise ValueError(
                    f"[Rescaling] {name} must be a number, or one per channel "
                    f"({channels}). Received: {len(value)} numbers, and "
                    f"samples of shape {input_shape}. Try {name}={value[0]:g}."
                )
        return input_shape

    def lower(
        self, input_shape: Shape, slots: Mapping[str, VariableSpec], index: int
    ) -> list[Op]:
        attrs: dict[str, Attr] = {
            name: value
            for name, value in (("scale", self.scale), ("offset", self.offset))
            if not isinstance(value, tuple)
        }

        def scaled(shape: Shape) -> list[Op]:
            return [Op("scale", self.name, shape, shape, buffers=slots, attrs=attrs)]

        return moved_to_the_end(self.name, input_shape, (), scaled)
