"""Layers that change the size of a sample: zero padding, cropping and upsampling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Unpack

from kurve.core.arguments import is_integer
from kurve.layers.base import LayerArguments
from kurve.layers.windows import Images, Sizes, integers, of_volumes, pad_attrs
from kurve.plan import Attr, Op, Shape, VariableSpec


def _sides(cls: type[Images], argument: str, value: Any) -> tuple[tuple[int, int], ...]:
    """Numbers of elements before and after each axis."""
    each = [value] * cls.axes if is_integer(value) else value
    if cls.axes == 1 and not is_integer(value):
        each = [value]
    try:
        if len(each) != cls.axes:
            raise ValueError
        pairs = [[n, n] if is_integer(n) else n for n in each]
        checked = (integers(cls, argument, pair, 2, 0) for pair in pairs)
        return tuple((before, after) for before, after in checked)
    except (TypeError, ValueError):
        forms = {
            1: "an integer or (left, right)",
            2: "an integer, (rows, columns) or ((top, bottom), (left, right))",
            3: "an integer, (depth, rows, columns) or ((front, back), (top, bottom), "
            "(left, right))",
        }[cls.axes]
        raise ValueError(
            f"[{cls.__name__}] {argument} must be {forms}, of at least 0. "
            f"Received: {argument}={value!r}. Try {argument}=1."
        ) from None


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
        self.pads = _sides(type(self), "padding", padding)
        self.padding = self.pads if self.axes > 1 else self.pads[0]

    def output_sample_shape(self, input_shape: Shape) -> Shape:
        self.check_axes(input_shape)
        axes = zip(self.pads, input_shape, strict=False)
        return (*(length + sum(pads) for pads, length in axes), input_shape[-1])

    def lower(
        self, input_shape: Shape, slots: Mapping[str, VariableSpec], index: int
    ) -> list[Op]:
        shape = self.output_sample_shape(input_shape)
        if self.axes == 3:
            op = Op("pad", self.name, input_shape, shape)
            width, rest = pad_attrs(self.pads[2:]), pad_attrs(self.pads[:2])
            return of_volumes(op, width, rest)
        return [Op("pad", self.name, input_shape, shape, attrs=pad_attrs(self.pads))]


class ZeroPadding1D(_ZeroPadding):
    """Pad a sequence with zeros at both ends: x (B, L, C) -> y (B, left + L + right,
    C).

    Args:
        padding: an integer, or (left, right).
        data_format: "channels_last" or "channels_first"; None is the first.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: padding of another form, or negative.

    Example:
        >>> kurve.layers.ZeroPadding1D((1, 0))(np.ones((1, 2, 1))).ravel()
        array([0., 1., 1.], dtype=float32)
    """

    axes = 1


class ZeroPadding2D(_ZeroPadding):
    """Pad an image with rows and columns of zeros.

    Shapes: x (B, H, W, C) -> y (B, top + H + bottom, left + W + right, C)
    Source: defaults follow keras.layers.ZeroPadding2D.

    Args:
        padding: an integer, (rows, columns) or ((top, bottom), (left, right)).
        data_format: "channels_last" or "channels_first"; None is the first.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: padding of another form, or negative.

    Example:
        >>> kurve.layers.ZeroPadding2D(1)(np.ones((1, 2, 2, 1)))[0, :, :, 0]
        array([[0., 0., 0., 0.],
               [0., 1., 1., 0.],
               [0., 1., 1., 0.],
               [0., 0., 0., 0.]], dtype=float32)
    """


class ZeroPadding3D(_ZeroPadding):
    """Pad a volume with zeros.

    Shapes: x (B, D, H, W, C) -> y (B, front + D + back, top + H + bottom, left + W +
            right, C)
    Source: defaults follow keras.layers.ZeroPadding3D.

    Args:
        padding: an integer, (depth, rows, columns) or ((front, back), (top, bottom),
            (left, right)).
        data_format: "channels_last" or "channels_first"; None is the first.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: padding of another form, or negative.

    Example:
        >>> x = np.ones((1, 1, 1, 2, 1))
        >>> kurve.layers.ZeroPadding3D((1, 0, 0))(x)[0, :, 0, :, 0]
        array([[0., 0.],
               [1., 1.],
               [0., 0.]], dtype=float32)
    """

    axes = 3


class Cropping3D(Images):
    """Crop the border of a volume.

    Shapes:   x (B, D, H, W, C) -> y (B, D - front - back, H - top - bottom, W - left -
              right, C)
    Backward: dx = dy inside, 0 at the border
    Source:   defaults follow keras.layers.Cropping3D.

    Args:
        cropping: an integer, (depth, rows, columns) or ((front, back), (top, bottom),
            (left, right)): how many elements are left out.
        data_format: "channels_last" or "channels_first"; None is the first.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: cropping of another form, or negative; when built: nothing would be
            left.

    Example:
        >>> x = np.arange(27.0).reshape(1, 3, 3, 3, 1)
        >>> kurve.layers.Cropping3D((1, 1, (0, 1)))(x).ravel()
        array([12., 13.], dtype=float32)
    """

    axes = 3
    arguments = ("cropping", "data_format")

    def __init__(
        self,
        cropping: Any = 1,
        data_format: str | None = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(data_format, **common)
        self.cropping = _sides(type(self), "cropping", cropping)

    def output_sample_shape(self, input_shape: Shape) -> Shape:
        self.check_axes(input_shape)
        axes = zip(self.cropping, input_shape, strict=False)
        left = tuple(length - sum(sides) for sides, length in axes)
        if min(left) < 1:
            raise ValueError(
                f"[{type(self).__name__}] layer {self.name!r} must leave some of each "
                f"axis. Received: cropping={self.cropping}, samples of shape "
                f"{input_shape}. Try smaller numbers."
            )
        return (*left, input_shape[-1])

    def lower(
        self, input_shape: Shape, slots: Mapping[str, VariableSpec], index: int
    ) -> list[Op]:
        shape = self.output_sample_shape(input_shape)
        attrs = {
            "starts": (*(before for before, _ in self.cropping), 0),
            "sizes": shape,
            "steps": (1,) * len(shape),
        }
        return [Op("slice", self.name, input_shape, shape, attrs=attrs)]


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
        attrs: dict[str, Attr] = {"interpolation": self.interpolation}
        op = Op("upsample", self.name, input_shape, shape, attrs=attrs)
        *rest, width = self.size
        along: dict[str, Attr] = {"size_h": 1, "size_w": width}
        if self.axes == 3:
            return of_volumes(op, along, {"size_h": rest[0], "size_w": rest[1]})
        if rest:
            along["size_h"] = rest[0]
        return [replace(op, attrs=attrs | along)]


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
    """Enlarges an image by an integer factor along each axis.

    Shapes:   x (B, H, W, C) -> y (B, size H, size W, C)
    Backward: the transposed map: each pixel receives the dy of all pixels it
        contributed to
    Source:   defaults follow keras.layers.UpSampling2D; "bilinear" assumes the centres
              of pixels to be at half-integers.

    Args:
        size: one integer for both axes, or (rows, columns).
        data_format: "channels_last" or "channels_first"; None is the first.
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


class UpSampling3D(_UpSampling):
    """Repeats each element of a volume along each axis.

    Shapes: x (B, D, H, W, C) -> y (B, size D, size H, size W, C)
    Source: defaults follow keras.layers.UpSampling3D.

    Args:
        size: one integer for all axes, or one for each.
        data_format: "channels_last" or "channels_first"; None is the first.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: size below 1.

    Example:
        >>> kurve.layers.UpSampling3D((1, 1, 2))(np.array([[[[[1.0], [2.0]]]]])).ravel()
        array([1., 1., 2., 2.], dtype=float32)
    """

    axes = 3
    arguments = ("size", "data_format")

    def __init__(
        self,
        size: Sizes = 2,
        data_format: str | None = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(data_format, **common)
        self.size = integers(type(self), "size", size, 3)
