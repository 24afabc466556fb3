"""Layers that change the shape of samples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from kurve.core.arguments import check_integer, from_signature, is_count, is_integer
from kurve.formulas import functions as ops
from kurve.layers.arguments import check_data_format
from kurve.layers.base import Layer, LayerArguments
from kurve.layers.channels import last
from kurve.plan import Op, Shape, VariableSpec


class Flatten(Layer):
    """Flatten each sample: x (B, ..., C) -> y (B, elements), row-major.

    Args:
        data_format: "channels_last"; with "channels_first" the channels are moved
            to the end first.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: another data_format.

    Example:
        >>> kurve.layers.Flatten()(np.ones((5, 28, 28))).shape
        (5, 784)
    """

    takes_scalars = True

    def __init__(
        self, data_format: str | None = None, **common: Unpack[LayerArguments]
    ) -> None:
        super().__init__(**common)
        self.data_format = check_data_format(type(self), data_format)

    def output_sample_shape(self, input_shape: Shape) -> Shape:
        return (math.prod(input_shape),)

    def lower(
        self, input_shape: Shape, slots: Mapping[str, VariableSpec], index: int
    ) -> list[Op]:
        shape = self.output_sample_shape(input_shape)
        ops = [Op("reshape", self.name, input_shape, shape)]
        if self.data_format == "channels_first" and len(input_shape) > 1:
            moved = last(input_shape)
            axes = last(tuple(range(len(input_shape))))
            move = Op("permute", self.name, input_shape, moved, attrs={"axes": axes})
            ops = [move, Op("reshape", self.name, moved, shape)]
        return ops

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        if self.data_format == "channels_first":
            config["data_format"] = self.data_format
        return config


class Reshape(Layer):
    """Reshape each sample in row-major order: x (B, ...) -> y (B, *target).

    Args:
        target_shape: shape of one sample; one axis can be -1 and is inferred.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: two axes of -1 or an axis below 1; when built: samples with another
            number of elements.

    Example:
        >>> kurve.layers.Reshape((28, 28, -1))(np.ones((5, 784))).shape
        (5, 28, 28, 1)
    """

    takes_scalars = True

    arguments = from_signature()

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
                "the batch axis; one of them can be -1. "
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


class Permute(Layer):
    """Permute the axes of each sample: y[b, j, i] = x[b, i, j] for dims=(2, 1).

    Args:
        dims: axes of the input, counted from 1, in output order.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: dims that do not name each axis once; when built: samples of
            a different number of axes.

    Example:
        >>> kurve.layers.Permute((2, 1))(np.ones((5, 2, 3))).shape
        (5, 3, 2)
    """

    arguments = from_signature()

    def __init__(self, dims: Sequence[int], **common: Unpack[LayerArguments]) -> None:
        super().__init__(**common)
        axes = tuple(dims) if isinstance(dims, (list, tuple)) else ()
        if not axes or not all(map(is_integer, axes)):
            axes = (0,)
        if sorted(axes) != list(range(1, len(axes) + 1)):
            raise ValueError(
                "[Permute] dims must name each axis of a sample once, counted from 1. "
                f"Received: dims={dims!r}. Try Permute((2, 1))."
            )
        self.dims = tuple(int(axis) for axis in axes)

    def call(self, x: Any) -> Any:
        """x with permuted axes."""
        if len(x.shape) != len(self.dims) + 1:
            raise ValueError(
                f"[Permute] layer {self.name!r} takes samples of {len(self.dims)} "
                f"axes. Received: x.shape={x.shape}. Try dims for each axis."
            )
        return ops.transpose(x, (0, *self.dims))


class RepeatVector(Layer):
    """Repeat each sample n times: x (B, C) -> y (B, n, C).

    Args:
        n: at least 1.
        name, trainable, input_shape: see `Layer`.

    Raises:
        TypeError: n is not an integer.
        ValueError: n below 1; when built: samples with more than one axis.

    Example:
        >>> kurve.layers.RepeatVector(2)([[1.0, 3.0]])
        array([[[1., 3.],
                [1., 3.]]], dtype=float32)
    """

    arguments = from_signature()

    def __init__(self, n: int, **common: Unpack[LayerArguments]) -> None:
        super().__init__(**common)
        if not is_integer(n):
            raise TypeError(
                "[RepeatVector] n must be an integer. "
                f"Received: n={n!r}. Try RepeatVector(3)."
            )
        check_integer("RepeatVector", "n", n, 3)
        self.n = int(n)

    def call(self, x: Any) -> Any:
        """The repeated x."""
        if len(x.shape) != 2:
            raise ValueError(
                f"[RepeatVector] layer {self.name!r} takes samples of one axis. "
                f"Received: x.shape={x.shape}. Try Flatten before it."
            )
        return ops.repeat(ops.expand_dims(x, 1), self.n, 1)
