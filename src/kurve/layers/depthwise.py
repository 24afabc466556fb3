"""Depthwise convolutions, alone or followed by one that mixes channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Unpack

from kurve import activations, initializers, regularizers
from kurve.core.arguments import from_signature
from kurve.layers.base import Variable
from kurve.layers.convolution import ConvolutionArguments, Convolving
from kurve.layers.windows import Sizes
from kurve.plan import Op, Shape, VariableSpec

if TYPE_CHECKING:
    from kurve.constraints import Constraint


class DepthwiseArguments(ConvolutionArguments, total=False):
    """Keras's arguments of layers with a depthwise kernel."""

    depthwise_constraint: str | Constraint | None


class SeparableArguments(DepthwiseArguments, total=False):
    """Keras's arguments of layers with both kernels."""

    pointwise_constraint: str | Constraint | None


class _DepthwiseConv(Convolving):
    """See `DepthwiseConv2D`."""

    arguments = from_signature()
    constrained: Mapping[str, str] = {
        "kernel": "depthwise_constraint",
        "bias": "bias_constraint",
    }

    def __init__(
        self,
        kernel_size: Sizes,
        strides: Sizes = 1,
        padding: str = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: Sizes = 1,
        activation: str | activations.Activation | None = None,
        use_bias: bool = True,
        depthwise_initializer: str | initializers.Initializer = "glorot_uniform",
        bias_initializer: str | initializers.Initializer = "zeros",
        depthwise_regularizer: str | regularizers.Regularizer | None = None,
        bias_regularizer: str | regularizers.Regularizer | None = None,
        **common: Unpack[DepthwiseArguments],
    ) -> None:
        super().__init__(
            kernel_size,
            strides,
            padding,
            data_format,
            dilation_rate,
            activation,
            use_bias,
            bias_initializer,
            bias_regularizer,
            **common,
        )
        self.depth_multiplier = self.count("depth_multiplier", depth_multiplier)
        self.depthwise_initializer = initializers.of_weight(depthwise_initializer)
        self.depthwise_regularizer = regularizers.get(depthwise_regularizer)
        self.kernel: Variable

    def make_variables(self, input_shape: Shape) -> None:
        filters = self.output_sample_shape(input_shape)[-1]
        self.kernel = self.add_weight(
            (*self.kernel_size, input_shape[-1], self.depth_multiplier),
            self.depthwise_initializer,
            name="kernel",
            regularizer=self.depthwise_regularizer,
        )
        self.add_bias(filters)

    def output_sample_shape(self, input_shape: Shape) -> Shape:
        return (*self.places(input_shape), input_shape[-1] * self.depth_multiplier)

    def lower(
        self, input_shape: Shape, slots: Mapping[str, VariableSpec], index: int
    ) -> list[Op]:
        shape = self.output_sample_shape(input_shape)
        attrs = {**self.attrs("kernel", input_shape), "groups": input_shape[-1]}
        return self.activated(
            Op("conv", self.name, input_shape, shape, slots, attrs=attrs)
        )


class DepthwiseConv1D(_DepthwiseConv):
    """`DepthwiseConv2D` along one axis: x (B, L, I), kernel (K, I, M) -> y (B, P, I M).

    Defaults follow keras.layers.DepthwiseConv1D.

    Args: as `DepthwiseConv2D`.

    Raises:
        ValueError: as `DepthwiseConv2D`.

    Example:
        >>> kurve.layers.DepthwiseConv1D(3)(np.ones((2, 10, 4))).shape
        (2, 8, 4)
    """

    axes = 1


class DepthwiseConv2D(_DepthwiseConv):
    """Convolution of each channel with its own kernels; channels never mix.

    Shapes: x (B, H, W, I), kernel (KH, KW, I, M), bias (I M,) -> y (B, P, Q, I M);
            outputs i M ... i M + M - 1 are those of channel i
    Source: Howard et al. 2017 (MobileNets); defaults follow
            keras.layers.DepthwiseConv2D.

    Args:
        kernel_size, strides, padding, data_format, dilation_rate: see `Conv2D`.
        depth_multiplier: M, at least 1.
        activation, use_bias, depthwise_initializer, bias_initializer,
            depthwise_regularizer, bias_regularizer, depthwise_constraint,
            bias_constraint: see `Dense`.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: as `Conv2D`.

    Example:
        >>> layer = kurve.layers.DepthwiseConv2D(3, depth_multiplier=2)
        >>> layer(np.ones((1, 8, 8, 4))).shape
        (1, 6, 6, 8)
    """


class _SeparableConv(Convolving):
    """See `SeparableConv2D`."""

    arguments = from_signature()
    constrained: Mapping[str, str] = {
        "depthwise_kernel": "depthwise_constraint",
        "pointwise_kernel": "pointwise_constraint",
        "bias": "bias_constraint",
    }

    def __init__(
        self,
        filters: int,
        kernel_size: Sizes,
        strides: Sizes = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Sizes = 1,
        depth_multiplier: int = 1,
        activation: str | activations.Activation | None = None,
        use_bias: bool = True,
        depthwise_initializer: str | initializers.Initializer = "glorot_uniform",
        pointwise_initializer: str | initializers.Initializer = "glorot_uniform",
        bias_initializer: str | initializers.Initializer = "zeros",
        depthwise_regularizer: str | regularizers.Regularizer | None = None,
        pointwise_regularizer: str | regularizers.Regularizer | None = None,
        bias_regularizer: str | regularizers.Regularizer | None = None,
        **common: Unpack[SeparableArguments],
    ) -> None:
        super().__init__(
            kernel_size,
            strides,
            padding,
            data_format,
            dilation_rate,
            activation,
            use_bias,
            bias_initializer,
            bias_regularizer,
            **common,
        )
        self.filters = self.count("filters", filters)
        self.depth_multiplier = self.count("depth_multiplier", depth_multiplier)
        self.depthwise_initializer = initializers.of_weight(depthwise_initializer)
        self.pointwise_initializer = initializers.of_weight(pointwise_initializer)
        self.depthwise_regularizer = regularizers.get(depthwise_regularizer)
        self.pointwise_regularizer = regularizers.get(pointwise_regularizer)
        self.depthwise_kernel: Variable
        self.pointwise_kernel: Variable

    def make_variables(self, input_shape: Shape) -> None:
        self.output_sample_shape(input_shape)
        channels, ones = input_shape[-1], (1,) * self.axes
        self.depthwise_kernel = self.add_weight(
            (*self.kernel_size, channels, self.depth_multiplier),
            self.depthwise_initializer,
            name="depthwise_kernel",
            regularizer=self.depthwise_regularizer,
        )
        self.pointwise_kernel = self.add_weight(
            (*ones, channels * self.depth_multiplier, self.filters),
            self.pointwise_initializer,
            name="pointwise_kernel",
            regularizer=self.pointwise_regularizer,
        )
        self.add_bias(self.filters)

    def output_sample_shape(self, input_shape: Shape) -> Shape:
        return (*self.places(input_shape), self.filters)

    def lower(
        self, input_shape: Shape, slots: Mapping[str, VariableSpec], index: int
    ) -> list[Op]:
        shape = self.output_sample_shape(input_shape)
        middle = (*shape[:-1], input_shape[-1] * self.depth_multiplier)
        attrs = {**self.attrs("kernel", input_shape), "groups": input_shape[-1]}
        depthwise = {"kernel": slots["depthwise_kernel"]}
        pointwise = {"kernel": slots["pointwise_kernel"]}
        if self.use_bias:
            pointwise["bias"] = slots["bias"]
        single = {"groups": 1} | {
            name: int(not name.startswith("pad")) for name in attrs if name != "groups"
        }
        return [
            *self.activated(
                Op("conv", self.name, input_shape, middle, depthwise, attrs=attrs),
                last=False,
            ),
            *self.activated(
                Op("conv", self.name, middle, shape, pointwise, attrs=single)
            ),
        ]


class SeparableConv1D(_SeparableConv):
    """`SeparableConv2D` along one axis: x (B, L, I) -> y (B, P, O).

    Defaults follow keras.layers.SeparableConv1D.

    Args: as `SeparableConv2D`.

    Raises:
        ValueError: as `SeparableConv2D`.

    Example:
        >>> kurve.layers.SeparableConv1D(8, 3)(np.ones((2, 10, 4))).shape
        (2, 8, 8)
    """

    axes = 1


class SeparableConv2D(_SeparableConv):
    """A depthwise convolution followed by a 1 x 1 convolution that mixes the channels:
    it does much of what `Conv2D` does, with a fraction of the weights.

    Shapes: x (B, H, W, I), depthwise_kernel (KH, KW, I, M), pointwise_kernel
            (1, 1, I M, O), bias (O,) -> y (B, P, Q, O)
    Source: Chollet 2017 (Xception); defaults follow keras.layers.SeparableConv2D.

    Args:
        filters: O, at least 1.
        kernel_size, strides, padding, data_format, dilation_rate: see `Conv2D`.
        depth_multiplier: M, at least 1.
        activation, use_bias, depthwise_initializer, pointwise_initializer,
            bias_initializer, depthwise_regularizer, pointwise_regularizer,
            bias_regularizer, depthwise_constraint, pointwise_constraint,
            bias_constraint: see `Dense`.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: as `Conv2D`.

    Example:
        >>> layer = kurve.layers.SeparableConv2D(8, 3)
        >>> layer(np.ones((1, 8, 8, 4))).shape
        (1, 6, 6, 8)
        >>> layer.count_params()
        76
    """
