"""Layers that change the shape of samples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from kurve.core.arguments import is_count, is_integer
from kurve.layers.base import Layer, LayerArguments
from kurve.layers.windows import is_last
from kurve.plan import Op, Shape, VariableSpec


class Flatten(Layer):
    """A sample's elements in one row: x (B, ..., C) -> y (B, elements), row-major.

    Args:
        data_format: None or "channels_last".
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: data_format="channels_first".

    Example:
        >>> kurve.layers.Flatten()(np.ones((5, 28, 28))).shape
        (5, 784)
    """

    def __init__(
        self, data_format: str | None = None, **common: Unpack[LayerArguments]
    ) -> None:
        if not is_last(data_format):
            raise ValueError(
                "[Flatten] data_format must be 'channels_last'. "
                f"Received: data_format={data_format!r}. Try Flatten()."
            )
        super().__init__(**common)

    def output_sample_shape(self, input_shape: Shape) -> Shape:
        return (math.prod(input_shape),)

    def lower(
        self, input_shape: Shape, slots: Mapping[str, VariableSpec], index: int
    ) -> list[Op]:
        shape = self.output_sample_shape(input_shape)
        return [Op("reshape", self.name, input_shape, shape)]


class Reshape(Layer):
    """The same elements in another shape, row-major: x (B, ...) -> y (B, *target).

    Args:
        target_shape: of one sample; one axis may be -1 and takes the elements left.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: two axes of -1 or an axis below 1; when built: samples with another
            number of elements.

    Example:
        >>> kurve.layers.Reshape((28, 28, -1))(np.ones((5, 784))).shape
        (5, 28, 28, 1)
    """

    arguments = ("target_shape",)

    def __init__(
        self, target_shape: Sequence[int], **common: Unpack[LayerArguments]
    ) -> None:
        super().__init__(**common)
        axes: Any = [target_shape] if is_integer(target_shape) else target_shape
        good = isinstance(axes, (list, tuple)) and all(
            is_integer(axis) and (axis == -1 or is_count(axis)) for axis in axes
        )
        if not good or not axes or list(axes).count(-1) > 1:
            raise ValueError(
                "[Reshape] target_shape must be a tuple of positive integers, without "
                "the batch axis; one of them may be -1. "
                f"Received: target_shape={target_shape!r}. Try Reshape((28, 28, 1))."
            )
        self.target_shape = tuple(int(axis) for axis in axes)

    def output_sample_shape(self, input_shape: Shape) -> Shape:
        size = math.prod(input_shape)
        known = math.prod(axis for axis in self.target_shape if axis > 0)
        free = size // known if -1 in self.target_shape else 1
        if known * free != size or not free:
            raise ValueError(
                f"[Reshape] layer {self.name!r} cannot arrange {size} elements as "
                f"{self.target_shape}. Received: samples of shape {input_shape}. "
                "Try -1 for one axis."
            )
        return tuple(free if axis < 0 else axis for axis in self.target_shape)

    def lower(
        self, input_shape: Shape, slots: Mapping[str, VariableSpec], index: int
    ) -> list[Op]:
        shape = self.output_sample_shape(input_shape)
        return [Op("reshape", self.name, input_shape, shape)]
