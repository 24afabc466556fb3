"""Pooling to a given size, for samples of any size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Unpack

from kurve.core.arguments import from_signature
from kurve.formulas import rearranging
from kurve.layers.base import LayerArguments
from kurve.layers.windows import Images, Sizes, integers
from kurve.plan import Shape


class _AdaptivePooling(Images):
    """See `AdaptiveAveragePooling2D`."""

    arguments = from_signature()
    pool: Callable[..., Any]

    def __init__(
        self,
        output_size: Sizes,
        data_format: str | None = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(data_format, **common)
        self.output_size = integers(
            type(self), "output_size", output_size, self.axes, 1
        )

    def output_sample_shape(self, input_shape: Shape) -> Shape:
        self.check_axes(input_shape)
        return (*self.output_size, input_shape[-1])

    def call(self, x: Any) -> Any:
        """The forward pass."""
        self.check_axes(tuple(x.shape[1:]))
        return type(self).pool(x, self.output_size)


class AdaptiveAveragePooling1D(_AdaptivePooling):
    """`AdaptiveAveragePooling2D` along one axis: x (B, L, C) -> y (B, P, C).

    Args: as `AdaptiveAveragePooling2D`.

    Raises:
        ValueError: as `AdaptiveAveragePooling2D`.

    Example:
        >>> x = np.arange(6.0).reshape(1, 6, 1)
        >>> kurve.layers.AdaptiveAveragePooling1D(3)(x).ravel()
        array([0.5, 2.5, 4.5], dtype=float32)
    """

    axes, pool = 1, staticmethod(rearranging.adaptive_average_pool)


class AdaptiveAveragePooling2D(_AdaptivePooling):
    """The means of windows that divide an image into P x Q parts, for images of any
    size: window i of P covers rows floor(i H / P) to ceil((i + 1) H / P) - 1.

    Shapes:   x (B, H, W, C) -> y (B, P, Q, C)
    Source:   defaults follow keras.layers.AdaptiveAveragePooling2D.

    Args:
        output_size: (P, Q), or a number for both.
        data_format: "channels_last" or "channels_first"; None is the first.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: a size below 1; when built: samples that are not images.

    Example:
        >>> kurve.layers.AdaptiveAveragePooling2D((2, 3))(np.ones((1, 7, 8, 4))).shape
        (1, 2, 3, 4)
    """

    axes, pool = 2, staticmethod(rearranging.adaptive_average_pool)


class AdaptiveAveragePooling3D(_AdaptivePooling):
    """`AdaptiveAveragePooling2D` along three axes: x (B, D, H, W, C) -> y (B, P, Q, R,
    C).

    Args: as `AdaptiveAveragePooling2D`.

    Raises:
        ValueError: as `AdaptiveAveragePooling2D`.

    Example:
        >>> x = np.arange(8.0).reshape(1, 2, 2, 2, 1)
        >>> kurve.layers.AdaptiveAveragePooling3D(1)(x).ravel()
        array([3.5], dtype=float32)
    """

    axes, pool = 3, staticmethod(rearranging.adaptive_average_pool)


class AdaptiveMaxPooling1D(_AdaptivePooling):
    """`AdaptiveMaxPooling2D` along one axis: x (B, L, C) -> y (B, P, C).

    Args: as `AdaptiveAveragePooling2D`.

    Raises:
        ValueError: as `AdaptiveAveragePooling2D`.

    Example:
        >>> x = np.arange(6.0).reshape(1, 6, 1)
        >>> kurve.layers.AdaptiveMaxPooling1D(3)(x).ravel()
        array([1., 3., 5.], dtype=float32)
    """

    axes, pool = 1, staticmethod(rearranging.adaptive_max_pool)


class AdaptiveMaxPooling2D(_AdaptivePooling):
    """The maxima of the windows of `AdaptiveAveragePooling2D`.

    Args: as `AdaptiveAveragePooling2D`.

    Raises:
        ValueError: as `AdaptiveAveragePooling2D`.

    Example:
        >>> x = np.arange(16.0).reshape(1, 4, 4, 1)
        >>> kurve.layers.AdaptiveMaxPooling2D(2)(x).ravel()
        array([ 5.,  7., 13., 15.], dtype=float32)
    """

    axes, pool = 2, staticmethod(rearranging.adaptive_max_pool)


class AdaptiveMaxPooling3D(_AdaptivePooling):
    """`AdaptiveMaxPooling2D` along three axes: x (B, D, H, W, C) -> y (B, P, Q, R, C).

    Args: as `AdaptiveAveragePooling2D`.

    Raises:
        ValueError: as `AdaptiveAveragePooling2D`.

    Example:
        >>> x = np.arange(8.0).reshape(1, 2, 2, 2, 1)
        >>> kurve.layers.AdaptiveMaxPooling3D(1)(x).ravel()
        array([7.], dtype=float32)
    """

    axes, pool = 3, staticmethod(rearranging.adaptive_max_pool)
