"""Noise layers, which are only active in training: additive noise, dropout of whole
channels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from kurve.core.arguments import check_number, from_signature
from kurve.core.rng import check_seed
from kurve.layers.base import Layer, LayerArguments
from kurve.layers.core import (
    checked_noise_shape,
    checked_rate,
    random_stream,
    shared_axes,
)
from kurve.layers.windows import Images
from kurve.plan import Op, Shape, VariableSpec


class GaussianNoise(Layer):
    """In training, adds normal noise with mean 0; in prediction it does nothing.

    The noise depends only on the model's seed, the layer's position and the step, as
    for `Dropout`. Source: Bishop 1995; defaults follow keras.layers.GaussianNoise.

    Args:
        stddev: standard deviation, in [0, 1].
        seed: see `Dropout`.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: stddev outside [0, 1].

    Example:
        >>> kurve.layers.GaussianNoise(0.1)([[1.0, 2.0]])
        array([[1., 2.]], dtype=float32)
    """

    built_when_made = True

    _supports_masking = True

    takes_scalars = takes_vectors = True

    arguments = from_signature()

    def __init__(
        self, stddev: float, seed: Any = None, **common: Unpack[LayerArguments]
    ) -> None:
        check_number("GaussianNoise", "stddev", stddev, 0.1, 0, 1)
        super().__init__(**common)
        self.stddev = float(stddev)
        self.seed = check_seed("GaussianNoise", seed)

    def lower(
        self, input_shape: Shape, slots: Mapping[str, VariableSpec], index: int
    ) -> list[Op]:
        attrs = {"stddev": self.stddev, **random_stream(self.seed, index)}
        return [Op("gaussian_noise", self.name, input_shape, input_shape, attrs=attrs)]


class GaussianDropout(Layer):
    """In training, multiplies each element by normal noise with mean 1 and standard
    deviation sqrt(rate / (1 - rate)), like dropout; in prediction it does nothing.

    Source: Srivastava et al. 2014, section 10; defaults follow
            keras.layers.GaussianDropout.

    Args:
        rate: in [0, 1).
        seed: see `Dropout`.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: rate outside [0, 1).

    Example:
        >>> kurve.layers.GaussianDropout(0.1)([[1.0, 2.0]])
        array([[1., 2.]], dtype=float32)
    """

    built_when_made = True

    _supports_masking = True

    takes_scalars = takes_vectors = True

    arguments = from_signature()

    def __init__(
        self, rate: float, seed: Any = None, **common: Unpack[LayerArguments]
    ) -> None:
        super().__init__(**common)
        self.rate = _below_1(type(self), rate)
        self.seed = check_seed("GaussianDropout", seed)

    def lower(
        self, input_shape: Shape, slots: Mapping[str, VariableSpec], index: int
    ) -> list[Op]:
        attrs = {
            "stddev": math.sqrt(self.rate / (1.0 - self.rate)),
            "multiply": True,
            **random_stream(self.seed, index),
        }
        return [Op("gaussian_noise", self.name, input_shape, input_shape, attrs=attrs)]


class AlphaDropout(Layer):
    """In training, sets each element to the minimum of selu with probability `rate`,
    then scales and shifts so that mean 0 and variance 1 are kept; in prediction it does
    nothing. For networks with the activation "selu".

    Source: Klambauer et al. 2017, section "Alpha Dropout"; defaults follow
            keras.layers.AlphaDropout.

    Args:
        rate: in [0, 1).
        noise_shape, seed: see `Dropout`.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: rate outside [0, 1), or a noise_shape that does not fit.

    Example:
        >>> kurve.layers.AlphaDropout(0.1)([[1.0, 2.0]])
        array([[1., 2.]], dtype=float32)
    """

    built_when_made = True

    _supports_masking = True

    arguments = from_signature()

    def __init__(
        self,
        rate: float,
        noise_shape: Sequence[int | None] | None = None,
        seed: Any = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**common)
        self.rate = _below_1(type(self), rate)
        self.noise_shape = checked_noise_shape(type(self), noise_shape)
        self.seed = check_seed("AlphaDropout", seed)

    def output_sample_shape(self, input_shape: Shape) -> Shape:
        shared_axes(type(self), self.noise_shape, input_shape)
        return input_shape

    def lower(
        self, input_shape: Shape, slots: Mapping[str, VariableSpec], index: int
    ) -> list[Op]:
        attrs = {
            "rate": self.rate,
            "alpha": True,
            **shared_axes(type(self), self.noise_shape, input_shape),
            **random_stream(self.seed, index),
        }
        return [Op("dropout", self.name, input_shape, input_shape, attrs=attrs)]


def _below_1(cls: type, rate: Any) -> float:
    """A share of elements to drop, in [0, 1)."""
    return check_number(cls.__name__, "rate", rate, 0.1, 0, 1, "[)")


class _SpatialDropout(Images):
    """See `SpatialDropout2D`."""

    built_when_made = True

    _supports_masking = True

    arguments = from_signature()

    def __init__(
        self,
        rate: float,
        data_format: str | None = None,
        seed: Any = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(data_format, **common)
        self.rate = checked_rate(type(self), rate)
        self.seed = check_seed(type(self).__name__, seed)

    def output_sample_shape(self, input_shape: Shape) -> Shape:
        self.check_axes(input_shape)
        return input_shape

    def lower(
        self, input_shape: Shape, slots: Mapping[str, VariableSpec], index: int
    ) -> list[Op]:
        shared = math.prod(input_shape[:-1])
        attrs = {
            "rate": self.rate,
            "shared": shared,
            **random_stream(self.seed, index),
        }
        return [Op("dropout", self.name, input_shape, input_shape, attrs=attrs)]


class SpatialDropout1D(_SpatialDropout):
    """`SpatialDropout2D` for sequences (B, L, C).

    Args: as `SpatialDropout2D`, seed before data_format.

    Raises:
        ValueError: as `SpatialDropout2D`.

    Example:
        >>> kurve.layers.SpatialDropout1D(0.5)(np.ones((2, 10, 4))).shape
        (2, 10, 4)
    """

    axes = 1

    def __init__(
        self,
        rate: float,
        seed: Any = None,
        data_format: str | None = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(rate, data_format, seed, **common)


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

    Neighbouring pixels are similar, so single dropped pixels could be inferred from the
    others.

    Shapes: x (B, H, W, C) -> y the same.
    Source: Tompson et al. 2015; defaults follow keras.layers.SpatialDropout2D.

    Args:
        rate: in [0, 1].
        data_format: "channels_last" or "channels_first"; None is the first.
        seed: see `Dropout`.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: rate outside [0, 1].

    Example:
        >>> y = kurve.layers.SpatialDropout2D(0.5)(np.ones((1, 4, 4, 3)), training=True)
        >>> bool((y == y[:, :1, :1]).all())
        True
    """
