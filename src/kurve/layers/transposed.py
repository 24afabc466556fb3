"""Transposed convolutions: from small images to larger ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

from kurve import activations, initializers, regularizers
from kurve.core.arguments import from_signature
from kurve.formulas.rearranging import conv_transpose
from kurve.layers.base import Variable
from kurve.layers.convolution import Convolving, KernelArguments
from kurve.layers.windows import Sizes, plane_attrs
from kurve.plan import Op, Shape, VariableSpec


class _ConvTranspose(Convolving):
    """See `Conv2DTranspose`."""

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
        output_padding: Sizes | None = None,
        data_format: str | None = None,
        dilation_rate: Sizes = 1,
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
        self.output_padding = (
            None
            if output_padding is None
            else self.numbers("output_padding", output_padding, 0)
        )
        self.refuse_strides_with_dilation()
        if self.output_padding is not None and any(
            more >= stride
            for more, stride in zip(self.output_padding, self.strides, strict=True)
        ):
            raise ValueError(
                f"[{type(self).__name__}] output_padding must be below strides. "
                f"Received: output_padding={output_padding!r}, strides={strides!r}. "
                "Try output_padding=None."
            )
        self.kernel_initializer = initializers.of_weight(kernel_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.kernel: Variable

    def make_variables(self, input_shape: Shape) -> None:
        self.output_sample_shape(input_shape)
        self.kernel = self.add_weight(
            (*self.kernel_size, self.filters, input_shape[-1]),
            self.kernel_initializer,
            name="kernel",
            regularizer=self.kernel_regularizer,
        )
        self.add_bias(self.filters)

    def crops(self) -> list[tuple[int, int]]:
        """Elements cropped from both ends of each axis of the full output; negative
        numbers add zeros instead."""
        more = self.output_padding or (None,) * self.axes
        return [
            window.crops(self.padding, extra)
            for window, extra in zip(self.windows, more, strict=True)
        ]

    def output_sample_shape(self, input_shape: Shape) -> Shape:
        self.check_axes(input_shape)
        lengths = tuple(
            (length - 1) * window.stride + window.span - sum(crops)
            for length, window, crops in zip(
                input_shape, self.windows, self.crops(), strict=False
            )
        )
        if min(lengths) < 1:
            raise ValueError(
                f"[{type(self).__name__}] layer {self.name!r} would leave nothing. "
                f"Received: samples of shape {input_shape}. Try output_padding=None."
            )
        return (*lengths, self.filters)

    def lower(
        self, input_shape: Shape, slots: Mapping[str, VariableSpec], index: int
    ) -> list[Op]:
        shape = self.output_sample_shape(input_shape)
        attrs = plane_attrs("kernel", self.windows, self.crops())
        return self.activated(
            Op("conv_transpose", self.name, input_shape, shape, slots, attrs=attrs)
        )


class Conv1DTranspose(_ConvTranspose):
    """`Conv2DTranspose` along one axis: x (B, L, I), kernel (K, O, I) -> y (B, M, O).

    Defaults follow keras.layers.Conv1DTranspose.

    Args: as `Conv2DTranspose`.

    Raises:
        ValueError: as `Conv2DTranspose`.

    Example:
        >>> kurve.layers.Conv1DTranspose(8, 3, strides=2)(np.ones((2, 10, 4))).shape
        (2, 21, 8)
    """

    axes = 1


class Conv2DTranspose(_ConvTranspose):
    """The gradient of `Conv2D` as a layer: each pixel adds a kernel, scaled by its
    channels, to a larger image, `strides` apart.

    Shapes:   x (B, H, W, I), kernel (KH, KW, O, I), bias (O,) -> y (B, P, Q, O);
              P = H * stride for padding="same", (H - 1) * stride + max(span, stride)
              for "valid", span = (KH - 1) * dilation + 1
    Backward: a convolution of dz = dy * activation'(z)
    Source:   Zeiler et al. 2010; defaults follow keras.layers.Conv2DTranspose.

    Args:
        filters: O, at least 1.
        kernel_size, strides, data_format, dilation_rate: see `Conv2D`.
        padding: "valid" or "same".
        output_padding: extra rows and columns beyond the smallest output from which a
            `Conv2D` could produce x, below strides; None for the P above.
        activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer,
            bias_regularizer, kernel_constraint, bias_constraint: see `Dense`.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: a number below 1, an unknown name, output_padding not below strides.

    Example:
        >>> layer = kurve.layers.Conv2DTranspose(8, 3, strides=2, padding="same")
        >>> layer(np.ones((1, 7, 7, 4))).shape
        (1, 14, 14, 8)
    """


class Conv3DTranspose(_ConvTranspose):
    """`Conv2DTranspose` along three axes: x (B, D, H, W, I), kernel (KD, KH, KW, O, I)
    -> y (B, P, Q, R, O).

    Defaults follow keras.layers.Conv3DTranspose.

    Args: as `Conv2DTranspose`.

    Raises:
        ValueError: as `Conv2DTranspose`.

    Example:
        >>> layer = kurve.layers.Conv3DTranspose(2, 3, strides=2)
        >>> layer(np.ones((1, 3, 4, 5, 1))).shape
        (1, 7, 9, 11, 2)
    """

    axes = 3

    def call(self, x: Any) -> Any:
        """The output, by `kurve.ops`: engines have no operation for it."""
        self.check_axes(tuple(x.shape[1:]))
        y = conv_transpose(
            x,
            self.kernel,
            self.strides,
            self.padding,
            self.output_padding,
            dilation_rate=self.dilation_rate,
        )
        return self.activation(y if self.bias is None else y + self.bias)
