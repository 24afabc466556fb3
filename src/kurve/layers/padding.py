"""Layers that enlarge a sample: zeros around it, or each element several times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

from kurve.core.arguments import is_integer
from kurve.layers.base import LayerArguments
from kurve.layers.windows import Images, Sizes, integers, pad_attrs
from kurve.plan import Attr, Op, Shape, VariableSpec


class _ZeroPadding(Images):
    """See `ZeroPadding2D`."""

    arguments = ("padding", "data_format")

    def __init__(
        self,
        padding: Any = 1,
        data_format: str | None = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(data_format, **common)
        self.pads = self._pads(padding)
        self.padding = self.pads if self.axes > 1 else self.pads[0]

    def _pads(self, padding: Any) -> tuple[tuple[int, int], ...]:
        """Zeros before and after each axis."""
        each = [padding] * self.axes if is_integer(padding) else padding
        if self.axes == 1 and not is_integer(padding):
            each = [padding]
        try:
            if len(each) != self.axes:
                raise ValueError
            pairs = [[p, p] if is_integer(p) else p for p in each]
            checked = (integers(type(self), "padding", pair, 2, 0) for pair in pairs)
            return tuple((before, after) for before, after in checked)
        except (TypeError, ValueError):
            forms = {
                1: "an integer or (left, right)",
                2: "an integer, (rows, columns) or ((top, bottom), (left, right))",
            }[self.axes]
            raise ValueError(
                f"[{type(self).__name__}] padding must be {forms}, of at least 0. "
                f"Received: padding={padding!r}. Try padding=1."
            ) from None

    def output_sample_shape(self, input_shape: Shape) -> Shape:
        self.check_axes(input_shape)
        axes = zip(self.pads, input_shape, strict=False)
        return (*(length + sum(pads) for pads, length in axes), input_shape[-1])

    def lower(
        self, input_shape: Shape, slots: Mapping[str, VariableSpec], index: int
    ) -> list[Op]:
        shape = self.output_sample_shape(input_shape)
        return [Op("pad", self.name, input_shape, shape, attrs=pad_attrs(self.pads))]


class ZeroPadding1D(_ZeroPadding):
    """Zeros before and after a sequence: x (B, L, C) -> y (B, left + L + right, C).

    Args:
        padding: an integer, or (left, right).
        data_format: None or "channels_last".
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: padding of another form, or below 0.

    Example:
        >>> kurve.layers.ZeroPadding1D((1, 0))(np.ones((1, 2, 1))).ravel()
        array([0., 1., 1.], dtype=float32)
    """

    axes = 1


class ZeroPadding2D(_ZeroPadding):
    """Rows and columns of zeros around an image.

    Shapes: x (B, H, W, C) -> y (B, top + H + bottom, left + W + right, C)
    Source: defaults follow keras.layers.ZeroPadding2D.

    Args:
        padding: an integer, (rows, columns) or ((top, bottom), (left, right)).
        data_format: None or "channels_last".
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: padding of another form, or below 0.

    Example:
        >>> kurve.layers.ZeroPadding2D(1)(np.ones((1, 2, 2, 1)))[0, :, :, 0]
        array([[0., 0., 0., 0.],
               [0., 1., 1., 0.],
               [0., 1., 1., 0.],
               [0., 0., 0., 0.]], dtype=float32)
    """


class _UpSampling(Images):
    """See `UpSampling2D`."""

    size: tuple[int, ...]
    interpolation = "nearest"

    def output_sample_shape(self, input_shape: Shape) -> Shape:
        self.check_axes(input_shape)
        axes = zip(self.size, input_shape, strict=False)
        return (*(times * length for times, length in axes), input_shape[-1])

    def lower(
        self, input_shape: Shape, slots: Mapping[str, VariableSpec], index: int
    ) -> list[Op]:
        shape = self.output_sample_shape(input_shape)
        height, width = (1, *self.size)[-2:]
        attrs: dict[str, Attr] = {"size_h": height, "size_w": width}
        attrs["interpolation"] = self.interpolation
        return [Op("upsample", self.name, input_shape, shape, attrs=attrs)]


class UpSampling1D(_UpSampling):
    """Repeats each element `size` times: x (B, L, C) -> y (B, size L, C).

    Args:
        size: at least 1.
        name, trainable, input_shape: see `Layer`.

    Raises:
        TypeError: size is not an integer.
        ValueError: size below 1.

    Example:
        >>> kurve.layers.UpSampling1D(2)([[[1.0], [2.0]]]).ravel()
        array([1., 1., 2., 2.], dtype=float32)
    """

    axes = 1
    arguments = ("size",)

    def __init__(self, size: int = 2, **common: Unpack[LayerArguments]) -> None:
        if not is_integer(size) and not isinstance(size, (list, tuple)):
            raise TypeError(
                "[UpSampling1D] size must be an integer. "
                f"Received: size={size!r} of type {type(size).__name__}. Try size=2."
            )
        super().__init__(**common)
        self.size = integers(type(self), "size", size, 1)


class UpSampling2D(_UpSampling):
    """Enlarges an image by a whole number along each axis.

    Shapes:   x (B, H, W, C) -> y (B, size H, size W, C)
    Backward: the transposed map: each pixel gets the dy of all pixels it went into
    Source:   defaults follow keras.layers.UpSampling2D; "bilinear" takes the centres
              of pixels to be at half-integers.

    Args:
        size: one integer for both axes, or (rows, columns).
        data_format: None or "channels_last".
        interpolation: "nearest" (repeat each pixel) or "bilinear".
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: size below 1, or an unknown interpolation.

    Example:
        >>> kurve.layers.UpSampling2D(2)(np.array([[[[1.0], [2.0]]]]))[0, :, :, 0]
        array([[1., 1., 2., 2.],
               [1., 1., 2., 2.]], dtype=float32)
    """

    arguments = ("size", "data_format", "interpolation")

    def __init__(
        self,
        size: Sizes = 2,
        data_format: str | None = None,
        interpolation: str = "nearest",
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(data_format, **common)
        self.size = integers(type(self), "size", size, 2)
        if not isinstance(interpolation, str) or interpolation not in (
            "nearest",
            "bilinear",
        ):
            raise ValueError(
                "[UpSampling2D] interpolation must be 'nearest' or 'bilinear'. "
                f"Received: {interpolation!r}. Try interpolation='nearest'."
            )
        self.interpolation = interpolation
