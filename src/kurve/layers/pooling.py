"""Pooling layers: the maximum or mean of each window, or of a whole sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

from kurve.core.arguments import check_flag, from_signature
from kurve.formulas import functions as ops
from kurve.layers.base import LayerArguments
from kurve.layers.masks import fitted
from kurve.layers.windows import Images, Sizes, Sliding, of_volumes, plane_attrs
from kurve.plan import Op, Shape, VariableSpec


class _Pooling(Sliding):
    """See `MaxPooling2D`."""

    built_when_made = True

    arguments = from_signature()
    mode: str

    def __init__(
        self,
        pool_size: Sizes = 2,
        strides: Sizes | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(
            ("pool_size", pool_size),
            pool_size if strides is None else strides,
            padding,
            data_format=data_format,
            **common,
        )
        self.pool_size = tuple(window.size for window in self.windows)

    def output_sample_shape(self, input_shape: Shape) -> Shape:
        return (*self.places(input_shape), input_shape[-1])

    def lower(
        self, input_shape: Shape, slots: Mapping[str, VariableSpec], index: int
    ) -> list[Op]:
        shape = self.output_sample_shape(input_shape)
        if self.axes == 3:
            pads = self.zeros(input_shape)
            width = plane_attrs("pool", self.windows[2:], pads[2:])
            rest = plane_attrs("pool", self.windows[:2], pads[:2])
            op = Op("pool", self.name, input_shape, shape, attrs={"mode": self.mode})
            return of_volumes(op, width, rest)
        attrs = {**self.attrs("pool", input_shape), "mode": self.mode}
        return [Op("pool", self.name, input_shape, shape, attrs=attrs)]


class MaxPooling1D(_Pooling):
    """`MaxPooling2D` along one axis: x (B, L, C) -> y (B, P, C).

    Args: as `MaxPooling2D`.

    Raises:
        ValueError: as `MaxPooling2D`.

    Example:
        >>> kurve.layers.MaxPooling1D(2)(np.arange(6.0).reshape(1, 6, 1)).ravel()
        array([1., 3., 5.], dtype=float32)
    """

    axes, mode = 1, "max"


class MaxPooling2D(_Pooling):
    """The maximum of each window, per channel.

    Shapes:   x (B, H, W, C) -> y (B, P, Q, C)
    Backward: dy goes to the first maximum of its window in row-major order; the zeros
              of padding="same" never win.
    Source:   Riesenhuber & Poggio 1999; defaults follow keras.layers.MaxPooling2D.

    Args:
        pool_size: one integer for all axes, or one per axis.
        strides: step of the window; None for pool_size.
        padding, data_format: see `Conv2D`.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: a number below 1, or an unknown padding; when built: samples smaller
            than the window.

    Example:
        >>> x = np.arange(16.0).reshape(1, 4, 4, 1)
        >>> kurve.layers.MaxPooling2D(2)(x)[0, :, :, 0]
        array([[ 5.,  7.],
               [13., 15.]], dtype=float32)
    """

    mode = "max"


class AveragePooling1D(_Pooling):
    """`AveragePooling2D` along one axis: x (B, L, C) -> y (B, P, C).

    Args: as `AveragePooling2D`.

    Raises:
        ValueError: as `AveragePooling2D`.

    Example:
        >>> kurve.layers.AveragePooling1D(2)(np.arange(6.0).reshape(1, 6, 1)).ravel()
        array([0.5, 2.5, 4.5], dtype=float32)
    """

    axes, mode = 1, "average"


class AveragePooling2D(_Pooling):
    """The mean of each window, per channel; padding does not count.

    Shapes:   x (B, H, W, C) -> y (B, P, Q, C)
    Backward: dy / (elements in the window) goes to each of them.
    Source:   LeCun et al. 1990; defaults follow keras.layers.AveragePooling2D.

    Args:
        pool_size, strides, padding, data_format: see `MaxPooling2D`.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: as `MaxPooling2D`.

    Example:
        >>> x = np.arange(16.0).reshape(1, 4, 4, 1)
        >>> kurve.layers.AveragePooling2D(2)(x)[0, :, :, 0]
        array([[ 2.5,  4.5],
               [10.5, 12.5]], dtype=float32)
    """

    mode = "average"


class _GlobalPooling(Images):
    """See `GlobalAveragePooling2D`."""

    built_when_made = True

    arguments = from_signature()
    mode: str

    def __init__(
        self,
        data_format: str | None = None,
        keepdims: bool = False,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(data_format, **common)
        self.keepdims = check_flag(type(self).__name__, "keepdims", keepdims)

    def output_sample_shape(self, input_shape: Shape) -> Shape:
        self.check_axes(input_shape)
        kept = (1,) * self.axes if self.keepdims else ()
        return (*kept, input_shape[-1])

    def lower(
        self, input_shape: Shape, slots: Mapping[str, VariableSpec], index: int
    ) -> list[Op]:
        shape = self.output_sample_shape(input_shape)
        attrs = {"mode": self.mode}
        if self.axes < 3:
            return [Op("global_pool", self.name, input_shape, shape, attrs=attrs)]
        d, h, w, c = input_shape
        image = (d * h, w, c)
        return [
            Op("reshape", self.name, input_shape, image),
            Op("global_pool", self.name, image, (c,), attrs=attrs),
            Op("reshape", self.name, (c,), shape),
        ]


class GlobalMaxPooling1D(_GlobalPooling):
    """The maximum along the axis: x (B, L, C) -> y (B, C).

    Args: as `GlobalMaxPooling2D`.

    Raises:
        ValueError: as `GlobalMaxPooling2D`.

    Example:
        >>> kurve.layers.GlobalMaxPooling1D()(np.arange(6.0).reshape(1, 6, 1))
        array([[5.]], dtype=float32)
    """

    axes, mode = 1, "max"


class GlobalMaxPooling2D(_GlobalPooling):
    """The maximum of each channel.

    Shapes:   x (B, H, W, C) -> y (B, C), or (B, 1, 1, C) with keepdims
    Backward: dy goes to the first maximum in row-major order.
    Source:   defaults follow keras.layers.GlobalMaxPooling2D.

    Args:
        data_format: "channels_last" or "channels_first"; None is the first.
        keepdims: whether the axes stay, with length 1.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: another data_format.
        TypeError: keepdims neither true nor false.

    Example:
        >>> kurve.layers.GlobalMaxPooling2D()(np.arange(16.0).reshape(1, 4, 4, 1))
        array([[15.]], dtype=float32)
    """

    mode = "max"


class GlobalAveragePooling1D(_GlobalPooling):
    """The mean along the axis: x (B, L, C) -> y (B, C); for a masked input, the mean
    over valid steps (NaN if there are none).

    Args: as `GlobalMaxPooling2D`.

    Raises:
        ValueError: as `GlobalMaxPooling2D`; a mask whose shape is not (B, L).

    Example:
        >>> kurve.layers.GlobalAveragePooling1D()(np.arange(6.0).reshape(1, 6, 1))
        array([[2.5]], dtype=float32)
    """

    axes, mode, takes_mask_second = 1, "average", True

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """None: no steps are left.

        Args:
            inputs, previous_mask: inputs and masks of the layer.
        """
        return None

    def call_masked(self, x: Any, mask: Any) -> Any:
        self.check_axes(x.sample)
        if tuple(mask.shape) != tuple(x.shape[:2]):
            raise ValueError(
                f"[GlobalAveragePooling1D] the mask of layer {self.name!r} must match "
                f"the first two axes of its input. Received: a mask of shape "
                f"{tuple(mask.shape)} for an input of shape {x.shape}. "
                f"Try a mask of shape {tuple(x.shape[:2])}."
            )
        mask = fitted("GlobalAveragePooling1D", mask, x)
        total = ops.sum(ops.where(mask, x, 0.0), 1, self.keepdims)
        count = ops.sum(ops.cast(mask, "float32"), 1, self.keepdims)
        return total / count


class GlobalAveragePooling2D(_GlobalPooling):
    """The mean of each channel.

    Shapes:   x (B, H, W, C) -> y (B, C), or (B, 1, 1, C) with keepdims
    Backward: dx = dy / (H W)
    Source:   Lin, Chen & Yan 2014; defaults follow
              keras.layers.GlobalAveragePooling2D.

    Args:
        data_format, keepdims: see `GlobalMaxPooling2D`.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError, TypeError: as `GlobalMaxPooling2D`.

    Example:
        >>> kurve.layers.GlobalAveragePooling2D()(np.arange(16.0).reshape(1, 4, 4, 1))
        array([[7.5]], dtype=float32)
    """

    mode = "average"


class MaxPooling3D(_Pooling):
    """`MaxPooling2D` along three axes: x (B, D, H, W, C) -> y (B, P, Q, R, C).

    Args: as `MaxPooling2D`.

    Raises:
        ValueError: as `MaxPooling2D`.

    Example:
        >>> x = np.arange(8.0).reshape(1, 2, 2, 2, 1)
        >>> kurve.layers.MaxPooling3D(2)(x).ravel()
        array([7.], dtype=float32)
    """

    axes, mode = 3, "max"


class AveragePooling3D(_Pooling):
    """`AveragePooling2D` along three axes: x (B, D, H, W, C) -> y (B, P, Q, R, C).

    Args: as `MaxPooling2D`.

    Raises:
        ValueError: as `MaxPooling2D`.

    Example:
        >>> x = np.arange(8.0).reshape(1, 2, 2, 2, 1)
        >>> kurve.layers.AveragePooling3D(2)(x).ravel()
        array([3.5], dtype=float32)
    """

    axes, mode = 3, "average"


class GlobalMaxPooling3D(_GlobalPooling):
    """The maximum of each channel: x (B, D, H, W, C) -> y (B, C).

    Args: as `GlobalMaxPooling2D`.

    Raises:
        ValueError: as `GlobalMaxPooling2D`.

    Example:
        >>> kurve.layers.GlobalMaxPooling3D()(np.arange(8.0).reshape(1, 2, 2, 2, 1))
        array([[7.]], dtype=float32)
    """

    axes, mode = 3, "max"


class GlobalAveragePooling3D(_GlobalPooling):
    """The mean of each channel: x (B, D, H, W, C) -> y (B, C).

    Args: as `GlobalMaxPooling2D`.

    Raises:
        ValueError: as `GlobalMaxPooling2D`.

    Example:
        >>> kurve.layers.GlobalAveragePooling3D()(np.arange(8.0).reshape(1, 2, 2, 2, 1))
        array([[3.5]], dtype=float32)
    """

    axes, mode = 3, "average"
