"""Initial values from a fixed distribution, independent of the shape."""

from __future__ import annotations

import math

import numpy as np

from kurve.core import rng
from kurve.core.rng import check_seed
from kurve.initializers.base import Initializer, check_numbers
from kurve.plan import Shape


class RandomUniform(Initializer):
    """Uniform in (minval, maxval).

    Args:
        minval, maxval: the bounds.
        seed: an integer for the same values at each call; None for the model's.

    Raises:
        ValueError: a bound that is not a finite number.

    Example:
        >>> kurve.initializers.RandomUniform(0.0, 1.0, seed=1)((2,))
        array([0.8992593 , 0.08621551], dtype=float32)
    """

    def __init__(
        self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None
    ) -> None:
        check_numbers(self, minval=minval, maxval=maxval)
        self.minval, self.maxval = minval, maxval
        self.seed = check_seed(type(self).__name__, seed)

    def values(self, shape: Shape, seed: int, stream: int) -> np.ndarray:
        u = rng.uniform(seed, rng.INITIALIZER, stream, math.prod(shape))
        return (self.minval + (self.maxval - self.minval) * u).reshape(shape)


class RandomNormal(Initializer):
    """Normal with the given mean and standard deviation.

    Args:
        mean, stddev: finite numbers.
        seed: an integer for the same values at each call; None for the model's.

    Raises:
        ValueError: a number that is not finite.

    Example:
        >>> kurve.initializers.RandomNormal(seed=1)((2, 3)).shape
        (2, 3)
    """

    def __init__(
        self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None
    ) -> None:
        check_numbers(self, mean=mean, stddev=stddev)
        self.mean, self.stddev = mean, stddev
        self.seed = check_seed(type(self).__name__, seed)

    def values(self, shape: Shape, seed: int, stream: int) -> np.ndarray:
        z = rng.normal(seed, rng.INITIALIZER, stream, math.prod(shape))
        return (self.mean + self.stddev * z).reshape(shape)


class TruncatedNormal(RandomNormal):
    """Normal, with values beyond two standard deviations redrawn.

    Args:
        mean, stddev: finite numbers.
        seed: an integer for the same values at each call; None for the model's.

    Raises:
        ValueError: a number that is not finite.

    Example:
        >>> values = kurve.initializers.TruncatedNormal(stddev=1.0)((1000,))
        >>> bool((abs(values) <= 2.0).all())
        True
    """

    def values(self, shape: Shape, seed: int, stream: int) -> np.ndarray:
        z = rng.truncated_normal(seed, rng.INITIALIZER, stream, math.prod(shape))
        return (self.mean + self.stddev * z).reshape(shape)
