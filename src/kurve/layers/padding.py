"""Zero padding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

from kurve.core.arguments import from_signature, is_integer
from kurve.layers.base import LayerArguments
from kurve.layers.windows import Images, integers, of_volumes, pad_attrs
from kurve.plan import Op, Shape, VariableSpec


def sides(cls: type[Images], argument: str, value: Any) -> tuple[tuple[int, int], ...]:
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

    arguments = from_signature()

    def __init__(
        self,
        padding: Any = 1,
        data_format: str | None = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(data_format, **common)
        self.pads = sides(type(self), "padding", padding)
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
