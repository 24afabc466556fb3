"""Convolution layers: small kernels that slide over a sequence or an image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Unpack

from kurve import activations, initializers, regularizers
from kurve.core.arguments import check_flag, from_signature
from kurve.layers.base import LayerArguments, Variable
from kurve.layers.windows import Sizes, Sliding, integers
from kurve.plan import Op, Shape, VariableSpec

if TYPE_CHECKING:
    from kurve.constraints import Constraint


class ConvolutionArguments(LayerArguments, total=False):
    """Keras's arguments of convolutions."""

    bias_constraint: str | Constraint | None


class KernelArguments(ConvolutionArguments, total=False):
    """Keras's arguments of layers with one kernel."""

    kernel_constraint: str | Constraint | None


class Convolving(Sliding):
    """Shared by all convolutions: window, activation and bias."""

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
        bias_regularizer: str | regularizers.Regularizer | None,
        **common: Any,
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
        """Keras refuses it too, and every model must be exportable to Keras."""
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ValueError(
                f"[{type(self).__name__}] only one of strides and dilation_rate can be "
                f"above 1. Received: strides={self.strides}, "
                f"dilation_rate={self.dilation_rate}. Try strides=1."
            )

    def add_bias(self, filters: int) -> None:
        if self.use_bias:
            self.bias = self.add_weight(
                (filters,),
                self.bias_initializer,
                name="bias",
                regularizer=self.bias_regularizer,
            )

    def activated(self, op: Op, *, last: bool = True) -> list[Op]:
        """`op` and, if it is the layer's last op, the activation: fused into it, or as
        a separate op."""
        chosen = self.activation if last else activations.linear
        op = replace(op, attrs={**chosen.attrs(), **op.attrs})
        return [op, *chosen.ops(op.layer, op.out_shape)]


class _Conv(Convolving):
    """See `Conv2D`."""

    arguments = from_signature()
    constrained: Mapping[str, str] = {
        "kernel": "kernel_constraint",
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
        groups: int = 1,
        activation: str | activations.Activation | None = None,
        use_bias: bool = True,
        kernel_initializer: str | initializers.Initializer = "glorot_uniform",
        bias_initializer: str | initializers.Initializer = "zeros",
        kernel_regularizer: str | regularizers.Regularizer | None = None,
        bias_regularizer: str | regularizers.Regularizer | None = None,
        **common: Unpack[KernelArguments],
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
            (*self.kernel_size, input_shape[-1] // self.groups, self.filters),
            self.kernel_initializer,
            name="kernel",
            regularizer=self.kernel_regularizer,
        )
        self.add_bias(self.filters)

    def output_sample_shape(self, input_shape: Shape) -> Shape:
        places = self.places(input_shape)
        if input_shape[-1] % self.groups:
            raise ValueError(
                f"[{type(self).__name__}] layer {self.name!r} splits the channels into"
                f" {self.groups} groups, so their number must be a multiple of it. "
                f"Received: samples of shape {input_shape}. Try groups=1."
            )
        return (*places, self.filters)

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """The convolution of `call`, without bias and activation, with this kernel. A
        subclass may call it with another one, or override it.

        Args:
            inputs: x, see the class.
            kernel: of the shape of `self.kernel`.
        """
        from kurve.formulas import nn

        return nn.conv(
            inputs,
            kernel,
            self.strides,
            self.padding,
            self.data_format,
            self.dilation_rate,
        )

    @property
    def has_formula(self) -> bool:
        """Whether a subclass says how it convolves."""
        own = type(self).convolution_op is not _Conv.convolution_op
        return own or super().has_formula

    @property
    def lowered_calls(self) -> tuple[Any, ...]:
        return (*super().lowered_calls, _Conv.call)

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """The output; by `convolution_op` where a subclass has one."""
        if type(self).convolution_op is _Conv.convolution_op:
            return super().call(*args, **kwargs)
        y = self.convolution_op(args[0], self.kernel)
        y = y if self.bias is None else y + self.bias
        return self.activation(y)

    def lower(
        self, input_shape: Shape, slots: Mapping[str, VariableSpec], index: int
    ) -> list[Op]:
        shape = self.output_sample_shape(input_shape)
        attrs = {**self.attrs("kernel", input_shape), "groups": self.groups}
        kind = "conv3d" if self.axes == 3 else "conv"
        return self.activated(
            Op(kind, self.name, input_shape, shape, slots, attrs=attrs)
        )


class Conv1D(_Conv):
    """`Conv2D` along one axis: x (B, L, I), kernel (K, I / groups, O) -> y (B, M, O).

    padding="causal" puts all zeros first: y[t] does not depend on x after step t.
    Source: van den Oord et al. 2016 (causal); defaults follow keras.layers.Conv1D.

    Args: as `Conv2D`.

    Raises:
        ValueError: as `Conv2D`.

    Example:
        >>> kurve.layers.Conv1D(8, 3, padding="causal")(np.ones((2, 10, 1))).shape
        (2, 10, 8)
    """

    axes = 1
    paddings = ("valid", "same", "causal")


class Conv2D(_Conv):
    """Cross-correlation with O kernels, bias and activation.

    y[b, h, w] = activation(bias + sum over i, j of x[b, h s + i d, w s + j d] @
    kernel[i, j]), with stride s and dilation rate d along each axis.

    Shapes:   x (B, H, W, I), kernel (KH, KW, I / groups, O), bias (O,)
              -> y (B, P, Q, O), P = (H + zeros - span) // s + 1, span = (KH - 1) d + 1
    Backward: dz = dy * activation'(z); dkernel[i, j] = sum of x^T dz and
              dx = sum of dz @ kernel[i, j]^T over the positions that y sums over;
              dbias = sum of dz over B, P, Q
    Source:   LeCun et al. 1989; Krizhevsky, Sutskever & Hinton 2012 (groups); Yu &
              Koltun 2016 (dilation); defaults follow keras.layers.Conv2D.

    Args:
        filters: O, at least 1; a multiple of groups.
        kernel_size: one integer for all axes, or one for each.
        strides: how far the window moves, along all axes or each.
        padding: "valid": no zeros; "same": enough zeros around the sample to keep its
            size (divided by the strides), an odd one at the bottom and right.
        data_format: "channels_last" or "channels_first"; None is the first.
        dilation_rate: distance between the kernel's elements; needs strides of 1.
        groups: number of groups the channels are split into, each with its own
            kernels.
        activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer,
            bias_regularizer, kernel_constraint, bias_constraint: see `Dense`.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: a number below 1, an unknown name, or both strides and dilation
            above 1;
            when built: samples smaller than the window.

    Example:
        >>> layer = kurve.layers.Conv2D(8, 3, strides=2, padding="same")
        >>> layer(np.ones((2, 28, 28, 1))).shape
        (2, 14, 14, 8)
        >>> layer.kernel.shape
        (3, 3, 1, 8)
    """


class Conv3D(_Conv):
    """`Conv2D` along three axes: x (B, D, H, W, I), kernel (KD, KH, KW, I / groups, O)
    -> y (B, P, Q, R, O).

    Source: Ji, Xu, Yang & Yu 2013; defaults follow keras.layers.Conv3D.

    Args: as `Conv2D`.

    Raises:
        ValueError: as `Conv2D`.

    Example:
        >>> kurve.layers.Conv3D(4, 3, padding="same")(np.ones((2, 6, 8, 8, 1))).shape
        (2, 6, 8, 8, 4)
    """

    axes = 3
