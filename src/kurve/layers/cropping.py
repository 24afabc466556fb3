"""Cropping of sequences, images and volumes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

from kurve.core.arguments import from_signature, is_count
from kurve.formulas import functions as ops
from kurve.layers.base import LayerArguments
from kurve.layers.padding import sides
from kurve.layers.windows import Images
from kurve.plan import Op, Shape, VariableSpec


class _Cropping(Images):
    """Shared by two: how many elements to crop at each end of each axis."""

    _sides: tuple[tuple[int, int], ...]

    def call(self, x: Any) -> Any:
        """The cropped x."""
        self.check_axes(tuple(x.shape[1:]))
        key = [slice(None)]
        for (first, last), size in zip(self._sides, x.shape[1:], strict=False):
            if first + last >= size:
                raise ValueError(
                    f"[{type(self).__name__}] layer {self.name!r} must leave part of "
                    f"each axis. Received: cropping={self.cropping}, x.shape="  # type: ignore[attr-defined]
                    f"{x.shape}. Try smaller numbers."
                )
            key.append(slice(first, size - last))
        return ops.get_item(x, tuple(key))


def _pair(where: str, value: Any, given: Any) -> tuple[int, int]:
    pair = (value, value) if is_count(value, 0) else value
    if (
        not isinstance(pair, (list, tuple))
        or len(pair) != 2
        or not all(is_count(n, 0) for n in pair)
    ):
        raise ValueError(
            f"[{where}] cropping must be an integer of at least 0, or a pair of them "
            f"for each axis. Received: cropping={given!r}. Try cropping=1."
        )
    return int(pair[0]), int(pair[1])


class Cropping1D(_Cropping):
    """Crop the ends of a sequence: x (B, L, C) -> y (B, L - first - last, C).

    Args:
        cropping: how many elements to crop at the start and end; a single integer
            applies to both.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: not one or two non-negative integers; when built: nothing would be
            left.

    Example:
        >>> kurve.layers.Cropping1D((1, 2))(np.ones((2, 8, 3))).shape
        (2, 5, 3)
    """

    axes = 1
    arguments = from_signature()

    def __init__(
        self, cropping: Any = (1, 1), **common: Unpack[LayerArguments]
    ) -> None:
        super().__init__(**common)
        self.cropping = _pair("Cropping1D", cropping, cropping)
        self._sides = (self.cropping,)


class Cropping2D(_Cropping):
    """Crop the border of an image: x (B, H, W, C) -> y (B, H - top - bottom, W - left -
    right, C).

    Args:
        cropping: ((top, bottom), (left, right)); a pair (h, w) stands for the same at
            both ends, and an integer for all four.
        data_format: "channels_last" or "channels_first"; None is the first.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: invalid or negative numbers; when built: nothing would be left.

    Example:
        >>> kurve.layers.Cropping2D(((1, 0), (2, 2)))(np.ones((2, 8, 8, 3))).shape
        (2, 7, 4, 3)
    """

    arguments = from_signature()

    def __init__(
        self,
        cropping: Any = ((0, 0), (0, 0)),
        data_format: str | None = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(data_format, **common)
        each = (cropping, cropping) if is_count(cropping, 0) else cropping
        if not isinstance(each, (list, tuple)) or len(each) != 2:
            each = (None, None)
        self.cropping = tuple(_pair("Cropping2D", one, cropping) for one in each)
        self._sides = self.cropping


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
    arguments = from_signature()

    def __init__(
        self,
        cropping: Any = 1,
        data_format: str | None = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(data_format, **common)
        self.cropping = sides(type(self), "cropping", cropping)

    def output_sample_shape(self, input_shape: Shape) -> Shape:
        self.check_axes(input_shape)
        axes = zip(self.cropping, input_shape, strict=False)
        left = tuple(length - sum(sides) for sides, length in axes)
        if min(left) < 1:
            raise ValueError(
                f"[{type(self).__name__}] layer {self.name!r} must leave part of each "
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
