"""Initial values of variables. Names, defaults and formulas are Keras's.

An initializer without a seed draws from the stream of its model and variable; one with
a seed gives the same values wherever it is used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from kurve import registry, rng
from kurve.entries import Entrance
from kurve.errors import absent as _absent
from kurve.errors import lookup
from kurve.plan import Shape

_TRUNCATED_STDDEV = 0.87962566103423978
"""Standard deviation of a standard normal cut off at two standard deviations."""


class Initializer(Entrance):
    """Base class: `values` gives the numbers, `get_config` the arguments."""

    seed: int | None = None

    def __call__(
        self, shape: Shape, seed: int | None = None, stream: int = 0
    ) -> np.ndarray:
        """Values of a variable, float32.

        Args:
            shape: of the variable.
            seed, stream: key of the random numbers, for an initializer without a seed
                of its own; a fresh seed if None.
        """
        if self.seed is not None:
            seed, stream = self.seed, 0
        elif seed is None:
            seed = rng.next_seed()
        return self.values(tuple(shape), seed, stream).astype(np.float32)

    def values(self, shape: Shape, seed: int, stream: int) -> np.ndarray:
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if not k.startswith("_")}


class Zeros(Initializer):
    """All 0."""

    def values(self, shape: Shape, seed: int, stream: int) -> np.ndarray:
        return np.zeros(shape)


class Ones(Initializer):
    """All 1."""

    def values(self, shape: Shape, seed: int, stream: int) -> np.ndarray:
        return np.ones(shape)


class Constant(Initializer):
    """All `value`, a number or an array that fits the shape."""

    def __init__(self, value: Any = 0.0) -> None:
        self.value = value

    def values(self, shape: Shape, seed: int, stream: int) -> np.ndarray:
        return np.broadcast_to(np.asarray(self.value, dtype=np.float64), shape)

    def get_config(self) -> dict[str, Any]:
        return {"value": np.asarray(self.value).tolist()}


class RandomUniform(Initializer):
    """Uniform in (minval, maxval)."""

    def __init__(
        self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None
    ) -> None:
        self.minval, self.maxval, self.seed = minval, maxval, seed

    def values(self, shape: Shape, seed: int, stream: int) -> np.ndarray:
        u = rng.uniform(seed, rng.INITIALIZER, stream, math.prod(shape))
        return (self.minval + (self.maxval - self.minval) * u).reshape(shape)


class RandomNormal(Initializer):
    """Normal with the given mean and standard deviation."""

    def __init__(
        self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None
    ) -> None:
        self.mean, self.stddev, self.seed = mean, stddev, seed

    def values(self, shape: Shape, seed: int, stream: int) -> np.ndarray:
        z = rng.normal(seed, rng.INITIALIZER, stream, math.prod(shape))
        return (self.mean + self.stddev * z).reshape(shape)


class TruncatedNormal(RandomNormal):
    """Normal, with values beyond two standard deviations drawn anew."""

    def values(self, shape: Shape, seed: int, stream: int) -> np.ndarray:
        z = rng.truncated_normal(seed, rng.INITIALIZER, stream, math.prod(shape))
        return (self.mean + self.stddev * z).reshape(shape)


class VarianceScaling(Initializer):
    """Random values of variance scale / n, n the fan in, fan out or their mean.

    distribution "uniform": in (-limit, limit), limit = sqrt(3 scale / n);
    "truncated_normal": cut off at two standard deviations, then scaled to the variance;
    "untruncated_normal".
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
    ) -> None:
        if not scale > 0:
            raise ValueError(
                f"[{type(self).__name__}] scale must be above 0. "
                f"Received: {scale!r}. Try scale=1.0."
            )
        self.scale, self.seed = scale, seed
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
    """A VarianceScaling whose numbers are in its name."""

    _arguments: tuple[float, str, str]

    def __init__(self, seed: int | None = None) -> None:
        scale, mode, distribution = self._arguments
        super().__init__(scale, mode, distribution, seed)

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed}


class GlorotUniform(_Named):
    """Uniform within sqrt(6 / (fan_in + fan_out)). Source: Glorot & Bengio 2010."""

    _arguments = (1.0, "fan_avg", "uniform")


class GlorotNormal(_Named):
    """Truncated normal of variance 2 / (fan_in + fan_out). Source: Glorot & Bengio
    2010."""

    _arguments = (1.0, "fan_avg", "truncated_normal")


class HeUniform(_Named):
    """Uniform within sqrt(6 / fan_in). Source: He et al. 2015."""

    _arguments = (2.0, "fan_in", "uniform")


class HeNormal(_Named):
    """Truncated normal of variance 2 / fan_in. Source: He et al. 2015."""

    _arguments = (2.0, "fan_in", "truncated_normal")


class LecunUniform(_Named):
    """Uniform within sqrt(3 / fan_in). Source: LeCun et al. 1998."""

    _arguments = (1.0, "fan_in", "uniform")


class LecunNormal(_Named):
    """Truncated normal of variance 1 / fan_in. Source: LeCun et al. 1998."""

    _arguments = (1.0, "fan_in", "truncated_normal")


class SineUniform(Initializer):
    """For layers with the activation "sin": every layer's units then see a spread of
    phases that neither dies out nor runs wild, however deep the network is.

    omega None, a hidden layer: uniform within sqrt(6 / n), n the fan in. Its inputs are
    sines of variance about 1/2, so z = x @ kernel has variance 2/n n/2 = 1.
    omega given, the first layer: uniform within omega / n. Its inputs are data of size
    1, and z spans several periods: frequencies up to omega are there to begin with.

    Source: Sitzmann et al. 2020 (SIREN), section 3.2 and theorem 1.8. The paper writes
    sin(omega (x @ kernel)) and divides the hidden kernels by omega; here omega is part
    of the kernels, where it cancels in all but the first. A learning rate of the paper
    is therefore worth omega times as much here, if the optimizer is Adam.

        Dense(64, "sin", kernel_initializer=SineUniform(omega=10.0))
        Dense(64, "sin", kernel_initializer="sine_uniform")

    Args:
        omega: largest frequency to begin with, in radians per unit of the inputs; None
            for a hidden layer. The paper takes 30 for images, with inputs in [-1, 1];
            curves want less.
        seed: see `Initializer`.

    Raises:
        ValueError: omega is not a finite number above 0.
    """

    def __init__(self, omega: float | None = None, seed: int | None = None) -> None:
        if omega is not None and not 0.0 < omega < math.inf:
            raise ValueError(
                "[SineUniform] omega must be finite and above 0, or None for a hidden "
                f"layer. Received: omega={omega!r}. Try omega=10.0."
            )
        self.omega, self.seed = omega, seed

    def values(self, shape: Shape, seed: int, stream: int) -> np.ndarray:
        n = max(1.0, _fans(shape)["fan_in"])
        limit = math.sqrt(6.0 / n) if self.omega is None else self.omega / n
        u = rng.uniform(seed, rng.INITIALIZER, stream, math.prod(shape))
        return np.asarray(limit * (2.0 * u - 1.0)).reshape(shape)


class Orthogonal(Initializer):
    """`gain` times a random matrix with orthonormal rows or columns.

    Axes before the last are flattened. Source: Saxe, McClelland & Ganguli 2014.
    """

    def __init__(self, gain: float = 1.0, seed: int | None = None) -> None:
        self.gain, self.seed = gain, seed

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


CLASSES: dict[str, type[Initializer]] = {
    cls.__name__: cls
    for cls in [
        Zeros,
        Ones,
        Constant,
        RandomUniform,
        RandomNormal,
        TruncatedNormal,
        VarianceScaling,
        GlorotUniform,
        GlorotNormal,
        HeUniform,
        HeNormal,
        LecunUniform,
        LecunNormal,
        Orthogonal,
        SineUniform,
    ]
}


def _snake(name: str) -> str:
    return "".join("_" + c.lower() if c.isupper() else c for c in name).lstrip("_")


_TABLE: dict[str, type[Initializer]] = (
    CLASSES
    | {_snake(name): cls for name, cls in CLASSES.items()}
    | {"uniform": RandomUniform, "normal": RandomNormal, "zero": Zeros, "one": Ones}
)


def get(identifier: str | Initializer | None) -> Initializer:
    """The initializer of that name, with Keras's defaults; None is "zeros"."""
    if isinstance(identifier, Initializer):
        return identifier
    if isinstance(identifier, str) or identifier is None:
        cls = lookup("initializers", "initializer", identifier or "zeros", _TABLE)
        made: Initializer = cls()
        return made
    raise TypeError(
        "[initializers] an initializer must be a name or an object of "
        f"kurve.initializers. Received: {identifier!r}. Try 'glorot_uniform'."
    )


def serialize(initializer: Initializer) -> dict[str, Any]:
    """Class and configuration of an initializer."""
    return registry.entry(initializer, CLASSES)


def deserialize(config: Mapping[str, Any]) -> Initializer:
    """The initializer that `serialize` has described."""
    cls = registry.find(
        "initializers", "initializer", config["class_name"], CLASSES, Initializer
    )
    made: Initializer = cls(**config["config"])
    return made


def _fans(shape: Shape) -> dict[str, float]:
    """Inputs and outputs that one unit of a kernel has: the last two axes, times the
    receptive field of a convolution before them."""
    if len(shape) < 2:
        fan_in = fan_out = math.prod(shape)
    else:
        field = math.prod(shape[:-2])
        fan_in, fan_out = shape[-2] * field, shape[-1] * field
    return {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}


zeros, ones, constant = Zeros, Ones, Constant
random_uniform, random_normal, truncated_normal = (
    RandomUniform,
    RandomNormal,
    TruncatedNormal,
)
variance_scaling, orthogonal = VarianceScaling, Orthogonal
sine_uniform = SineUniform
glorot_uniform, glorot_normal = GlorotUniform, GlorotNormal
he_uniform, he_normal = HeUniform, HeNormal
lecun_uniform, lecun_normal = LecunUniform, LecunNormal

__getattr__ = _absent(__name__)
