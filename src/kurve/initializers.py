"""Initial values of variables. Names, defaults and formulas are Keras's.

An initializer without a seed draws from the random stream of its model and variable;
one with a seed gives the same values wherever it is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np

from kurve.core import registry, rng
from kurve.core.arguments import (
    check_seed,
    check_unused,
    is_count,
    is_integer,
    is_number,
)
from kurve.core.arrays import as_numbers
from kurve.core.entries import Entrance, entries, entry
from kurve.errors import absent as _absent
from kurve.errors import lookup
from kurve.plan import Shape

_TRUNCATED_STDDEV = 0.87962566103423978
"""Standard deviation of a standard normal cut off at two standard deviations."""


@entries
class Initializer(Entrance):
    """Base class of the initializers: `values` gives the numbers, `get_config` the
    arguments."""

    seed: int | None = None

    def __init__(self) -> None:
        """Takes no arguments; those of a subclass are its own."""

    def __call__(
        self,
        shape: Shape,
        seed: int | None = None,
        stream: int = 0,
        *,
        dtype: str | None = None,
    ) -> np.ndarray:
        """Values of a variable, float32.

        Args:
            shape: of the variable.
            seed, stream: key of the random numbers, for an initializer without a seed;
                None for a new seed.
            dtype: None or "float32".

        Raises:
            ValueError: a bad shape; values outside the range of float32.
        """
        where = type(self).__name__
        check_unused(where, dtype=dtype)
        axes: Any = (shape,) if is_integer(shape) else shape
        if not isinstance(axes, (tuple, list)) or not all(is_count(a, 0) for a in axes):
            raise ValueError(
                f"[{where}] shape must be a tuple of integers of at least 0. "
                f"Received: shape={shape!r}. Try shape=(2, 3)."
            )
        seed = check_seed(where, seed)
        if self.seed is not None:
            seed, stream = self.seed, 0
        elif seed is None:
            seed = rng.next_seed()
        with np.errstate(over="ignore", invalid="ignore"):
            values = self.values(tuple(int(a) for a in axes), seed, stream).astype(
                np.float32
            )
        return finite(where, values)

    def values(self, shape: Shape, seed: int, stream: int) -> np.ndarray:
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if not k.startswith("_")}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The initializer of a `get_config`."""
        return cls(**config)

    def clone(self) -> Self:
        """An equal one."""
        return self.from_config(self.get_config())

    @staticmethod
    def of_function(function: Callable[..., Any]) -> type[Initializer]:
        """The custom class, one for each function (shape, dtype=None) -> values."""
        if function not in _of_functions:
            name = getattr(function, "__name__", type(function).__name__)
            given: dict[str, Any] = (
                {"dtype": "float32"} if _takes_dtype(function) else {}
            )
            _of_functions[function] = type(
                name if name.isidentifier() else "initializer",
                (Initializer,),
                {"__call__": lambda self, shape: function(shape, **given)},
            )
        return _of_functions[function]


def _takes_dtype(function: Callable[..., Any]) -> bool:
    import inspect

    parameters = inspect.signature(function).parameters.values()
    return any(p.name == "dtype" or p.kind is p.VAR_KEYWORD for p in parameters)


_of_functions: dict[Callable[..., Any], type[Initializer]] = {}


class Zeros(Initializer):
    """All 0.

    Example:
        >>> kurve.initializers.Zeros()((2,))
        array([0., 0.], dtype=float32)
    """

    def values(self, shape: Shape, seed: int, stream: int) -> np.ndarray:
        return np.zeros(shape)


class Ones(Initializer):
    """All 1.

    Example:
        >>> kurve.initializers.Ones()((2,))
        array([1., 1.], dtype=float32)
    """

    def values(self, shape: Shape, seed: int, stream: int) -> np.ndarray:
        return np.ones(shape)


class Constant(Initializer):
    """All `value`.

    Args:
        value: a number, or an array that can be broadcast to the shape.

    Raises:
        ValueError: not finite, or an array that does not fit the shape.

    Example:
        >>> kurve.initializers.Constant(0.5)((2,))
        array([0.5, 0.5], dtype=float32)
    """

    def __init__(self, value: Any = 0.0) -> None:
        try:
            array = np.asarray(value, np.float64)
        except (TypeError, ValueError, OverflowError):
            array = np.array(np.nan)
        once = array[tuple(slice(None if s else 1) for s in array.strides)]
        if isinstance(value, (str, bytes)) or not np.isfinite(once).all():
            raise ValueError(
                "[Constant] value must be a finite number, or an array of them. "
                f"Received: value={value!r}. Try Constant(0.5)."
            )
        self.value = value

    def values(self, shape: Shape, seed: int, stream: int) -> np.ndarray:
        value = np.asarray(self.value, dtype=np.float64)
        try:
            return np.broadcast_to(value, shape)
        except ValueError:
            raise ValueError(
                f"[Constant] value must fit a variable of shape {shape}. "
                f"Received: value of shape {value.shape}. Try one number."
            ) from None

    def get_config(self) -> dict[str, Any]:
        return {"value": np.asarray(self.value).tolist()}


class Identity(Initializer):
    """`gain` times the identity matrix, with zeros where a matrix is not square.

    Args:
        gain: a finite number.

    Raises:
        ValueError: gain is not finite; a variable that is not a matrix.

    Example:
        >>> kurve.initializers.Identity(2.0)((2, 3))
        array([[2., 0., 0.],
               [0., 2., 0.]], dtype=float32)
    """

    def __init__(self, gain: float = 1.0) -> None:
        _check_numbers(self, gain=gain)
        self.gain = gain

    def values(self, shape: Shape, seed: int, stream: int) -> np.ndarray:
        if len(shape) != 2:
            raise ValueError(
                "[Identity] the variable must be a matrix. "
                f"Received: shape={shape}. Try 'zeros'."
            )
        return self.gain * np.eye(*shape)


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
        _check_numbers(self, minval=minval, maxval=maxval)
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
        _check_numbers(self, mean=mean, stddev=stddev)
        self.mean, self.stddev = mean, stddev
        self.seed = check_seed(type(self).__name__, seed)

    def values(self, shape: Shape, seed: int, stream: int) -> np.ndarray:
        z = rng.normal(seed, rng.INITIALIZER, stream, math.prod(shape))
        return (self.mean + self.stddev * z).reshape(shape)


class TruncatedNormal(RandomNormal):
    """Normal, with values beyond two standard deviations drawn again.

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
        if not is_number(scale) or scale <= 0:
            raise ValueError(
                f"[{type(self).__name__}] scale must be finite and above 0. "
                f"Received: {scale!r}. Try scale=1.0."
            )
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
        if omega is not None and not (is_number(omega) and omega > 0.0):
            raise ValueError(
                "[SineUniform] omega must be finite and above 0, or None for a hidden "
                f"layer. Received: omega={omega!r}. Try omega=10.0."
            )
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
        _check_numbers(self, gain=gain)
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


_ALL: list[type[Initializer]] = [
    Zeros,
    Ones,
    Constant,
    Identity,
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

CLASSES = {cls.__name__: cls for cls in _ALL}


def _snake(name: str) -> str:
    return "".join("_" + c.lower() if c.isupper() else c for c in name).lstrip("_")


_TABLE: dict[str, type[Initializer]] = (
    CLASSES
    | {_snake(name): cls for name, cls in CLASSES.items()}
    | {"uniform": RandomUniform, "normal": RandomNormal, "zero": Zeros, "one": Ones}
    | {"IdentityInitializer": Identity, "OrthogonalInitializer": Orthogonal}
)


@entry
def get(identifier: Any) -> Initializer | None:
    """An initializer: of a name, with Keras's defaults, of a class or a configuration;
    of an array, whose values it gives; of a function (shape, dtype=None) -> values.
    None for None.

    Raises:
        ValueError: an unknown name, an array that is not finite.
        TypeError: none of these.
    """
    if identifier is None or isinstance(identifier, Initializer):
        return identifier
    if isinstance(identifier, str):
        cls = lookup("initializers", "initializer", identifier, _TABLE)
        initializer: Initializer = cls()
        return initializer
    if isinstance(identifier, Mapping) and {"class_name", "config"} <= set(identifier):
        return deserialize(identifier)
    if isinstance(identifier, (np.ndarray, np.generic)):
        return Constant(identifier)
    if isinstance(identifier, type) and issubclass(identifier, Initializer):
        return identifier()
    if callable(identifier) and not isinstance(identifier, type):
        return Initializer.of_function(identifier)()
    raise TypeError(
        "[initializers] an initializer must be a name, an object of "
        "kurve.initializers, an array, or a function (shape, dtype=None). "
        f"Received: {identifier!r}. Try 'glorot_uniform'."
    )


def of_weight(identifier: Any) -> Initializer:
    """As `get`, for a layer: None is "glorot_uniform", as in Keras's `add_weight`."""
    return get(identifier) or GlorotUniform()


def draw(
    initializer: Initializer, shape: Shape, seed: int | None = None, stream: int = 0
) -> np.ndarray:
    """Values of a variable. A custom `__call__` has Keras's arguments, (shape,
    dtype=None), and gets only the shape.

    Raises:
        ValueError: values of another shape, or not finite in float32.
    """
    cls = type(initializer)
    if cls.__call__ is Initializer.__call__:
        return initializer(shape, seed, stream)
    values = as_numbers(
        cls.__name__, "the initial values", initializer(shape), np.float32
    )
    if values.shape != shape:
        raise ValueError(
            f"[{cls.__name__}] the initial values must have shape {shape}. "
            f"Received: shape {values.shape}. Try values of the shape asked for."
        )
    return finite(cls.__name__, values)


def finite(where: str, values: np.ndarray) -> np.ndarray:
    """The values, if all are finite."""
    if np.isfinite(values).all():
        return values
    raise ValueError(
        f"[{where}] initial values must be finite in float32. Received: NaN or "
        "infinity. Try smaller numbers."
    )


def _check_numbers(initializer: Initializer, **given: Any) -> None:
    for name, value in given.items():
        if not is_number(value):
            raise ValueError(
                f"[{type(initializer).__name__}] {name} must be a finite number. "
                f"Received: {name}={value!r}. Try {name}=0.05."
            )


def serialize(initializer: Initializer) -> dict[str, Any]:
    """Class and configuration of an initializer."""
    return registry.entry(initializer, CLASSES)


def deserialize(config: Mapping[str, Any]) -> Initializer:
    """The initializer of a `serialize`."""
    cls = registry.find(
        "initializers", "initializer", config["class_name"], _TABLE, Initializer
    )
    initializer: Initializer = cls(**config["config"])
    return initializer


def _fans(shape: Shape) -> dict[str, float]:
    """Fan in and fan out of a kernel: the last two axes, times the receptive field of a
    convolution before them."""
    if len(shape) < 2:
        fan_in = fan_out = math.prod(shape)
    else:
        field = math.prod(shape[:-2])
        fan_in, fan_out = shape[-2] * field, shape[-1] * field
    return {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}


zeros, ones, constant, identity = Zeros, Ones, Constant, Identity
IdentityInitializer, OrthogonalInitializer = Identity, Orthogonal
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
