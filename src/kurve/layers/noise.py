"""Noise in training, nothing in prediction: added, or dropout of whole channels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Unpack

from kurve.core.arguments import is_number
from kurve.layers.base import Layer, LayerArguments
from kurve.layers.core import checked_rate
from kurve.layers.windows import Images
from kurve.plan import Attr, Op, Shape, VariableSpec


class NoiseArguments(LayerArguments, total=False):
    """Keras's arguments of layers that draw random numbers."""

    seed: None


class GaussianNoise(Layer):
    """In training, adds normal noise with mean 0; in prediction it does nothing.

    The noise depends only on the model's seed, the layer's position and the step, as
    for `Dropout`. Source: Bishop 1995; defaults follow keras.layers.GaussianNoise.

    Args:
        stddev: standard deviation, in [0, 1].
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: stddev outside [0, 1].

    Example:
        >>> kurve.layers.GaussianNoise(0.1)([[1.0, 2.0]])
        array([[1., 2.]], dtype=float32)
    """

    arguments = ("stddev",)

    def __init__(self, stddev: float, **common: Unpack[NoiseArguments]) -> None:
        if not is_number(stddev) or not 0.0 <= stddev <= 1.0:
            raise ValueError(
                "[GaussianNoise] stddev must be in [0, 1]. "
                f"Received: stddev={stddev!r}. Try GaussianNoise(0.1)."
            )
        super().__init__(**common)
        self.stddev = float(stddev)

    def lower(
        self, input_shape: Shape, slots: Mapping[str, VariableSpec], index: int
    ) -> list[Op]:
        attrs: dict[str, Attr] = {"stddev": self.stddev, "stream": index}
        return [Op("gaussian_noise", self.name, input_shape, input_shape, attrs=attrs)]


class _SpatialDropout(Images):
    """See `SpatialDropout2D`."""

    arguments = ("rate", "data_format")

    def __init__(
        self,
        rate: float,
        data_format: str | None = None,
        **common: Unpack[NoiseArguments],
    ) -> None:
        super().__init__(data_format, **common)
        self.rate = checked_rate(type(self), rate)

    def output_sample_shape(self, input_shape: Shape) -> Shape:
        self.check_axes(input_shape)
        return input_shape

    def lower(
        self, input_shape: Shape, slots: Mapping[str, VariableSpec], index: int
    ) -> list[Op]:
        shared = math.prod(input_shape[:-1])
        attrs: dict[str, Attr] = {"rate": self.rate, "stream": index, "shared": shared}
        return [Op("dropout", self.name, input_shape, input_shape, attrs=attrs)]


class SpatialDropout1D(_SpatialDropout):
    """`SpatialDropout2D` for sequences (B, L, C).

    Args: as `SpatialDropout2D`.

    Raises:
        ValueError: as `SpatialDropout2D`.

    Example:
        >>> kurve.layers.SpatialDropout1D(0.5)(np.ones((2, 10, 4))).shape
        (2, 10, 4)
    """

    axes = 1


class SpatialDropout3D(_SpatialDropout):
    """`SpatialDropout2D` for volumes (B, D, H, W, C).

    Args: as `SpatialDropout2D`.

    Raises:
        ValueError: as `SpatialDropout2D`.

    Example:
        >>> kurve.layers.SpatialDropout3D(0.5)(np.ones((2, 3, 4, 4, 1))).shape
        (2, 3, 4, 4, 1)
    """

    axes = 3


class SpatialDropout2D(_SpatialDropout):
    """`Dropout` of whole channels.

    Neighbouring pixels are alike, so that a single dropped one could be read off the
    others.

    Shapes: x (B, H, W, C) -> y the same.
    Source: Tompson et al. 2015; defaults follow keras.layers.SpatialDropout2D.

    Args:
        rate: in [0, 1].
        data_format: None or "channels_last".
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: rate outside [0, 1].

    Example:
        >>> y = kurve.layers.SpatialDropout2D(0.5)(np.ones((1, 4, 4, 3)), training=True)
        >>> bool((y == y[:, :1, :1]).all())
        True
    """
