"""Initial values whose scale follows from the number of inputs and outputs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from kurve.core import rng
from kurve.core.arguments import check_number, check_unused
from kurve.core.rng import check_seed
from kurve.errors import lookup
from kurve.initializers.base import Initializer, check_numbers
from kurve.plan import Shape

_TRUNCATED_STDDEV = 0.87962566103423978
"""Standard deviation of a standard normal cut off at two standard deviations."""


class VarianceScaling(Initializer):
    """Random values of variance scale / n, with n the fan in, the fan out or their
    mean.

    distribution "uniform": in (-limit, limit), limit = sqrt(3 scale / n);
    "truncated_normal": cut off at two standard deviations, then scaled to the variance;
    "untruncated_normal".

    Args:
        scale: above 0.
        mode: what n is: "fan_in", "fan_out" or "fan_avg".
        distribution: one of the three above.
        seed: an integer for the same values at each call; None for the model's.

    Raises:
        ValueError: scale is not above 0, or an unknown name.

    Example:
        >>> kurve.initializers.VarianceScaling(2.0)((2, 3)).shape
        (2, 3)
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
        input_axes: None = None,
        output_axes: None = None,
    ) -> None:
        where = type(self).__name__
        check_unused(where, input_axes=input_axes, output_axes=output_axes)
        check_number(where, "scale", scale, 1.0, 0, ends="(]")
        self.scale, self.seed = scale, check_seed(type(self).__name__, seed)
        self.mode, self.distribution = mode, distribution
        self._values = lookup(
            "VarianceScaling",
            "distribution",
            distribution,
            {
                "uniform": self._uniform,
                "truncated_normal": self._truncated_normal,
                "untruncated_normal": self._untruncated_normal,
            },
        )
        lookup("VarianceScaling", "mode", mode, _fans((1, 1)))

    def values(self, shape: Shape, seed: int, stream: int) -> np.ndarray:
        variance = self.scale / max(1.0, _fans(shape)[self.mode])
        values: np.ndarray = self._values(variance, seed, stream, math.prod(shape))
        return values.reshape(shape)

    def _uniform(
        self, variance: float, seed: int, stream: int, count: int
    ) -> np.ndarray:
        limit = math.sqrt(3.0 * variance)
        return limit * (2.0 * rng.uniform(seed, rng.INITIALIZER, stream, count) - 1.0)

    def _truncated_normal(
        self, variance: float, seed: int, stream: int, count: int
    ) -> np.ndarray:
        stddev = math.sqrt(variance) / _TRUNCATED_STDDEV
        return stddev * rng.truncated_normal(seed, rng.INITIALIZER, stream, count)

    def _untruncated_normal(
        self, variance: float, seed: int, stream: int, count: int
    ) -> np.ndarray:
        stddev = math.sqrt(variance)
        return stddev * rng.normal(seed, rng.INITIALIZER, stream, count)


class _Named(VarianceScaling):
    """A `VarianceScaling` with fixed arguments."""

    _arguments: tuple[float, str, str]

    def __init__(
        self,
        seed: int | None = None,
        input_axes: None = None,
        output_axes: None = None,
    ) -> None:
        axes = (input_axes, output_axes)
        super().__init__(*self._arguments, seed, *axes)

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed}


class GlorotUniform(_Named):
    """Uniform within sqrt(6 / (fan_in + fan_out)). Source: Glorot & Bengio 2010.

    Args:
        seed: an integer for the same values at each call; None for the model's.

    Raises:
        TypeError: a seed that is not an integer.

    Example:
        >>> kurve.initializers.GlorotUniform(seed=1)((2, 3)).shape
        (2, 3)
    """

    _arguments = (1.0, "fan_avg", "uniform")


class GlorotNormal(_Named):
    """Truncated normal of variance 2 / (fan_in + fan_out). Source: Glorot & Bengio
    2010.

    Args:
        seed: an integer for the same values at each call; None for the model's.

    Raises:
        TypeError: a seed that is not an integer.

    Example:
        >>> kurve.initializers.GlorotNormal(seed=1)((2, 3)).shape
        (2, 3)
    """

    _arguments = (1.0, "fan_avg", "truncated_normal")


class HeUniform(_Named):
    """Uniform within sqrt(6 / fan_in). Source: He et al. 2015.

    Args:
        seed: an integer for the same values at each call; None for the model's.

    Raises:
        TypeError: a seed that is not an integer.

    Example:
        >>> kurve.initializers.HeUniform(seed=1)((2, 3)).shape
        (2, 3)
    """

    _arguments = (2.0, "fan_in", "uniform")


class HeNormal(_Named):
    """Truncated normal of variance 2 / fan_in. Source: He et al. 2015.

    Args:
        seed: an integer for the same values at each call; None for the model's.

    Raises:
        TypeError: a seed that is not an integer.

    Example:
        >>> kurve.initializers.HeNormal(seed=1)((2, 3)).shape
        (2, 3)
    """

    _arguments = (2.0, "fan_in", "truncated_normal")


class LecunUniform(_Named):
    """Uniform within sqrt(3 / fan_in). Source: LeCun et al. 1998.

    Args:
        seed: an integer for the same values at each call; None for the model's.

    Raises:
        TypeError: a seed that is not an integer.

    Example:
        >>> kurve.initializers.LecunUniform(seed=1)((2, 3)).shape
        (2, 3)
    """

    _arguments = (1.0, "fan_in", "uniform")


class LecunNormal(_Named):
    """Truncated normal of variance 1 / fan_in. Source: LeCun et al. 1998.

    Args:
        seed: an integer for the same values at each call; None for the model's.

    Raises:
        TypeError: a seed that is not an integer.

    Example:
        >>> kurve.initializers.LecunNormal(seed=1)((2, 3)).shape
        (2, 3)
    """

    _arguments = (1.0, "fan_in", "truncated_normal")


class SineUniform(Initializer):
    """For layers with the activation "sin": phases stay spread out, however deep the
    network.

    omega None, a hidden layer: uniform within sqrt(6 / n), n the fan in. Its inputs are
    sines of variance about 1/2, so z = x @ kernel has variance 2/n n/2 = 1. omega
    given, the first layer: uniform within omega / n. Its inputs are data of size 1, and
    z spans several periods: training starts with frequencies up to omega.

    Source: Sitzmann et al. 2020 (SIREN), section 3.2 and theorem 1.8. The paper writes
    sin(omega (x @ kernel)) and divides the hidden kernels by omega; here omega is part
    of the kernels, where it cancels in all but the first. With Adam, a learning rate
    from the paper must therefore be multiplied by omega here.

    Args:
        omega: largest initial frequency, in radians per unit of the inputs; None for a
            hidden layer. The paper takes 30 for images, with inputs in [-1, 1]; curves
            need less.
        seed: an integer for the same values at each call; None for the model's.

    Raises:
        ValueError: omega is not a finite number above 0.

    Example:
        >>> first = kurve.initializers.SineUniform(omega=10.0)
        >>> layer = kurve.layers.Dense(64, "sin", kernel_initializer=first)
        >>> hidden = kurve.layers.Dense(64, "sin", kernel_initializer="sine_uniform")
    """

    def __init__(self, omega: float | None = None, seed: int | None = None) -> None:
        if omega is not None:
            check_number("SineUniform", "omega", omega, 10.0, 0, ends="(]")
        self.omega, self.seed = omega, check_seed("SineUniform", seed)

    def values(self, shape: Shape, seed: int, stream: int) -> np.ndarray:
        n = max(1.0, _fans(shape)["fan_in"])
        limit = math.sqrt(6.0 / n) if self.omega is None else self.omega / n
        u = rng.uniform(seed, rng.INITIALIZER, stream, math.prod(shape))
        return np.asarray(limit * (2.0 * u - 1.0)).reshape(shape)


class Orthogonal(Initializer):
    """`gain` times a random matrix with orthonormal rows or columns.

    Axes before the last are flattened. Source: Saxe, McClelland & Ganguli 2014.

    Args:
        gain: a finite number.
        seed: an integer for the same values at each call; None for the model's.

    Raises:
        ValueError: gain is not finite; a variable of fewer than two axes.

    Example:
        >>> w = kurve.initializers.Orthogonal()((3, 3))
        >>> np.allclose(w @ w.T, np.eye(3), atol=1e-6)
        True
    """

    def __init__(self, gain: float = 1.0, seed: int | None = None) -> None:
        check_numbers(self, gain=gain)
        self.gain, self.seed = gain, check_seed("Orthogonal", seed)

    def values(self, shape: Shape, seed: int, stream: int) -> np.ndarray:
        if len(shape) < 2:
            raise ValueError(
                "[Orthogonal] the variable must have at least two axes. "
                f"Received: shape={shape}. Try 'random_normal' for vectors."
            )
        rows, columns = math.prod(shape[:-1]), shape[-1]
        tall = (max(rows, columns), min(rows, columns))
        z = rng.normal(seed, rng.INITIALIZER, stream, rows * columns).reshape(tall)
        q, r = np.linalg.qr(z)
        q = q * np.sign(np.diag(r))  # makes the distribution uniform (Mezzadri 2007)
        return np.asarray(self.gain * (q if rows >= columns else q.T).reshape(shape))


def _fans(shape: Shape) -> dict[str, float]:
    """Fan in and fan out of a kernel: the last two axes, times the receptive field of a
    convolution before them."""
    if len(shape) < 2:
        fan_in = fan_out = math.prod(shape)
    else:
        field = math.prod(shape[:-2])
        fan_in, fan_out = shape[-2] * field, shape[-1] * field
    return {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
