"""Layers that repeat or interpolate elements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Unpack

from kurve.core.arguments import from_signature, is_integer
from kurve.layers.base import LayerArguments
from kurve.layers.windows import Images, Sizes, integers, of_volumes
from kurve.plan import Attr, Op, Shape, VariableSpec


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
    arguments = from_signature()

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

    arguments = from_signature()

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
    arguments = from_signature()

    def __init__(
        self,
        size: Sizes = 2,
        data_format: str | None = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(data_format, **common)
        self.size = integers(type(self), "size", size, 3)
