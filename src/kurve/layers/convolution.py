"""Convolutions: small kernels that slide over a sequence or an image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

from kurve import activations, initializers, regularizers
from kurve.core.arguments import check_flag
from kurve.layers.base import LayerArguments, Variable
from kurve.layers.windows import Sizes, Sliding, integers
from kurve.plan import Op, Shape, VariableSpec


class ConvolutionArguments(LayerArguments, total=False):
    kernel_constraint: None
    bias_constraint: None
    depthwise_constraint: None
    pointwise_constraint: None


class Convolving(Sliding):
    """What all convolutions share: window, activation and bias."""

    activation = activations.Chosen()

    def __init__(
        self,
        kernel_size: Sizes,
        strides: Sizes,
        padding: str,
        data_format: str | None,
        dilation_rate: Sizes,
        activation: str | activations.Activation | None,
        use_bias: bool,
        bias_initializer: str | initializers.Initializer,
        bias_regularizer: str | regularizers.L1L2 | None,
        **common: Unpack[ConvolutionArguments],
    ) -> None:
        super().__init__(
            ("kernel_size", kernel_size),
            strides,
            padding,
            dilation_rate,
            data_format=data_format,
            **common,
        )
        self.kernel_size = tuple(window.size for window in self.windows)
        self.activation = activation
        self.use_bias = check_flag(type(self).__name__, "use_bias", use_bias)
        self.bias_initializer = initializers.of_weight(bias_initializer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.bias: Variable | None = None

    def count(self, argument: str, value: Any) -> int:
        """An integer of at least 1."""
        return integers(type(self), argument, value, 1)[0]

    def refuse_strides_with_dilation(self) -> None:
        """As Keras does, so that every model can be handed to it."""
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ValueError(
                f"[{type(self).__name__}] only one of strides and dilation_rate can be "
                f"above 1. Received: strides={self.strides}, "
                f"dilation_rate={self.dilation_rate}. Try strides=1."
            )

    def add_bias(self, filters: int) -> None:
        if self.use_bias:
            self.bias = self.add_weight(
                "bias",
                (filters,),
                self.bias_initializer,
                regularizer=self.bias_regularizer,
            )

    def activated(self, op: Op, *, last: bool = True) -> list[Op]:
        """`op` with the activation fused, if it is the layer's last one; softmax is an
        op of its own."""
        soft = self.activation.name == "softmax"
        fused = self.activation if last and not soft else activations.linear
        made = [
            Op(
                *(op.kind, op.layer, op.in_shape, op.out_shape),
                params=op.params,
                attrs={**fused.attrs(), **op.attrs},
            )
        ]
        if last and soft:
            made.append(Op("softmax", op.layer, op.out_shape, op.out_shape))
        return made


class _Conv(Convolving):
    """See `Conv2D`."""

    arguments = (
        *("filters", "kernel_size", "strides", "padding", "data_format"),
        *("dilation_rate", "groups", "activation", "use_bias", "kernel_initializer"),
        *("bias_initializer", "kernel_regularizer", "bias_regularizer"),
    )

    def __init__(
        self,
        filters: int,
        kernel_size: Sizes,
        strides: Sizes = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Sizes = 1,
        groups: int = 1,
        activation: str | activations.Activation | None = None,
        use_bias: bool = True,
        kernel_initializer: str | initializers.Initializer = "glorot_uniform",
        bias_initializer: str | initializers.Initializer = "zeros",
        kernel_regularizer: str | regularizers.L1L2 | None = None,
        bias_regularizer: str | regularizers.L1L2 | None = None,
        **common: Unpack[ConvolutionArguments],
    ) -> None:
        super().__init__(
            *(kernel_size, strides, padding, data_format, dilation_rate, activation),
            *(use_bias, bias_initializer, bias_regularizer),
            **common,
        )
        self.filters = self.count("filters", filters)
        self.groups = self.count("groups", groups)
        self.refuse_strides_with_dilation()
        if self.filters % self.groups:
            raise ValueError(
                f"[{type(self).__name__}] filters must be a multiple of groups. "
                f"Received: filters={filters}, groups={groups}. "
                f"Try filters={-(-self.filters // self.groups) * self.groups}."
            )
        self.kernel_initializer = initializers.of_weight(kernel_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.kernel: Variable

    def make_variables(self, input_shape: Shape) -> None:
        self.output_sample_shape(input_shape)
        self.kernel = self.add_weight(
            "kernel",
            (*self.kernel_size, input_shape[-1] // self.groups, self.filters),
            self.kernel_initializer,
            regularizer=self.kernel_regularizer,
        )
        self.add_bias(self.filters)

    def output_sample_shape(self, input_shape: Shape) -> Shape:
        places = self.places(input_shape)
        if input_shape[-1] % self.groups:
            raise ValueError(
                f"[{type(self).__name__}] layer {self.name!r} divides the channels into"
                f" {self.groups} groups, so their number must be a multiple of that. "
                f"Received: samples of shape {input_shape}. Try groups=1."
            )
        return (*places, self.filters)

    def lower(
        self, input_shape: Shape, slots: Mapping[str, VariableSpec], index: int
    ) -> list[Op]:
        shape = self.output_sample_shape(input_shape)
        attrs = {**self.attrs("kernel", input_shape), "groups": self.groups}
        return self.activated(
            Op("conv", self.name, input_shape, shape, slots, attrs=attrs)
        )


class Conv1D(_Conv):
    """`Conv2D` along one axis: x (B, L, I), kernel (K, I / groups, O) -> y (B, M, O).

    padding="causal" puts all zeros before the axis: y[t] sees nothing after x[t].
    Source: van den Oord et al. 2016 (causal); defaults follow keras.layers.Conv1D.
    """

    axes = 1
    paddings = ("valid", "same", "causal")


class Conv2D(_Conv):
    """Cross-correlation with O kernels, bias and activation:
    y[b, h, w] = activation(bias + sum over i, j of x[b, h s + i d, w s + j d] @
    kernel[i, j]), with strides s and dilation rates d of either axis.

    Shapes:   x (B, H, W, I), kernel (KH, KW, I / groups, O), bias (O,)
              -> y (B, P, Q, O), P = (H + zeros - span) // s + 1, span = (KH - 1) d + 1
    Backward: dz = dy * activation'(z); dkernel[i, j] = sum of x^T dz and
              dx = sum of dz @ kernel[i, j]^T over the places that y sums over;
              dbias = sum of dz over B, P, Q
    Source:   LeCun et al. 1989; Krizhevsky, Sutskever & Hinton 2012 (groups); Yu &
              Koltun 2016 (dilation); defaults follow keras.layers.Conv2D.

    Args:
        filters: O, at least 1; a multiple of groups.
        kernel_size: one integer for all axes, or one for each.
        strides: steps of the window.
        padding: "valid": no zeros; "same": as many around the sample as keep its size
            (divided by the strides), the odd one at bottom and right.
        data_format: None or "channels_last".
        dilation_rate: distance of the kernel's elements; with strides 1 only.
        groups: the channels are divided into as many groups, each with kernels of its
            own.
        activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer,
            bias_regularizer: see `Dense`.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: a number below 1, an unknown name, strides and dilation above 1.
    """


class _DepthwiseConv(Convolving):
    """See `DepthwiseConv2D`."""

    arguments = (
        *("kernel_size", "strides", "padding", "depth_multiplier", "data_format"),
        *("dilation_rate", "activation", "use_bias", "depthwise_initializer"),
        *("bias_initializer", "depthwise_regularizer", "bias_regularizer"),
    )

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
        depthwise_regularizer: str | regularizers.L1L2 | None = None,
        bias_regularizer: str | regularizers.L1L2 | None = None,
        **common: Unpack[ConvolutionArguments],
    ) -> None:
        super().__init__(
            *(kernel_size, strides, padding, data_format, dilation_rate, activation),
            *(use_bias, bias_initializer, bias_regularizer),
            **common,
        )
        self.depth_multiplier = self.count("depth_multiplier", depth_multiplier)
        self.depthwise_initializer = initializers.of_weight(depthwise_initializer)
        self.depthwise_regularizer = regularizers.get(depthwise_regularizer)
        self.kernel: Variable

    def make_variables(self, input_shape: Shape) -> None:
        filters = self.output_sample_shape(input_shape)[-1]
        self.kernel = self.add_weight(
            "kernel",
            (*self.kernel_size, input_shape[-1], self.depth_multiplier),
            self.depthwise_initializer,
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
    """`DepthwiseConv2D` along one axis: x (B, L, I), kernel (K, I, M) -> (B, P, I M).

    Defaults follow keras.layers.DepthwiseConv1D.
    """

    axes = 1


class DepthwiseConv2D(_DepthwiseConv):
    """Convolution of each channel with kernels of its own; channels never mix.

    Shapes: x (B, H, W, I), kernel (KH, KW, I, M), bias (I M,) -> y (B, P, Q, I M);
            outputs i M ... i M + M - 1 are those of channel i
    Source: Howard et al. 2017 (MobileNets); defaults follow
            keras.layers.DepthwiseConv2D.

    Args:
        kernel_size, strides, padding, data_format, dilation_rate: see `Conv2D`.
        depth_multiplier: M, at least 1.
        activation, use_bias, depthwise_initializer, bias_initializer,
            depthwise_regularizer, bias_regularizer: see `Dense`.
        name, trainable, input_shape: see `Layer`.
    """


class _SeparableConv(Convolving):
    """See `SeparableConv2D`."""

    arguments = (
        *("filters", "kernel_size", "strides", "padding", "data_format"),
        *("dilation_rate", "depth_multiplier", "activation", "use_bias"),
        *("depthwise_initializer", "pointwise_initializer", "bias_initializer"),
        *("depthwise_regularizer", "pointwise_regularizer", "bias_regularizer"),
    )

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
        depthwise_regularizer: str | regularizers.L1L2 | None = None,
        pointwise_regularizer: str | regularizers.L1L2 | None = None,
        bias_regularizer: str | regularizers.L1L2 | None = None,
        **common: Unpack[ConvolutionArguments],
    ) -> None:
        super().__init__(
            *(kernel_size, strides, padding, data_format, dilation_rate, activation),
            *(use_bias, bias_initializer, bias_regularizer),
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
            "depthwise_kernel",
            (*self.kernel_size, channels, self.depth_multiplier),
            self.depthwise_initializer,
            regularizer=self.depthwise_regularizer,
        )
        self.pointwise_kernel = self.add_weight(
            "pointwise_kernel",
            (*ones, channels * self.depth_multiplier, self.filters),
            self.pointwise_initializer,
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
    """

    axes = 1


class SeparableConv2D(_SeparableConv):
    """A convolution of each channel by itself, then one of 1 x 1 that mixes them: much
    of a `Conv2D` for a fraction of its weights.

    Shapes: x (B, H, W, I), depthwise_kernel (KH, KW, I, M), pointwise_kernel
            (1, 1, I M, O), bias (O,) -> y (B, P, Q, O)
    Source: Chollet 2017 (Xception); defaults follow keras.layers.SeparableConv2D.

    Args:
        filters: O, at least 1.
        kernel_size, strides, padding, data_format, dilation_rate: see `Conv2D`.
        depth_multiplier: M, at least 1.
        activation, use_bias, depthwise_initializer, pointwise_initializer,
            bias_initializer, depthwise_regularizer, pointwise_regularizer,
            bias_regularizer: see `Dense`.
        name, trainable, input_shape: see `Layer`.
    """
