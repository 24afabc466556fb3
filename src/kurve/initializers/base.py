"""The base class of initializers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np

from kurve.core import rng
from kurve.core.arguments import check_number, check_unused, is_count, is_integer
from kurve.core.arrays import as_numbers
from kurve.core.entries import Entrance, entries
from kurve.core.results import result
from kurve.core.rng import check_seed
from kurve.plan import Shape


@entries
class Initializer(Entrance):
    """Base class of initializers: `values` returns the numbers, `get_config` the
    arguments."""

    seed: int | None = None

    function: Callable[..., Any] | None = None
    """The function it wraps, see `of_function`."""

    def __init__(self) -> None:
        """Takes no arguments; subclasses define theirs."""

    def __call__(
        self,
        shape: Shape,
        seed: int | None = None,
        stream: int = 0,
        *,
        dtype: str | None = None,
    ) -> np.ndarray:
        """The initial values of a variable, float32.

        Args:
            shape: shape of the variable.
            seed, stream: key of the random numbers, for an initializer without a seed;
                None for a new seed.
            dtype: None or "float32".

        Raises:
            ValueError: a bad shape; values outside the range of float32.
        """
        where = type(self).__name__
        check_unused(where, dtype=dtype)
        axes: Any = (shape,) if is_integer(shape) else shape
        if isinstance(axes, np.ndarray) and axes.ndim == 1:  # of tf.shape
            axes = axes.tolist()
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
        found: np.ndarray = result(finite(where, values))
        return found

    def values(self, shape: Shape, seed: int, stream: int) -> np.ndarray:
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if not k.startswith("_")}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The initializer from a result of `get_config`."""
        return cls(**config)

    def clone(self) -> Self:
        """A copy with the same arguments."""
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
                {
                    "__call__": lambda self, shape: function(shape, **given),
                    "function": staticmethod(function),
                },
            )
        return _of_functions[function]


def _takes_dtype(function: Callable[..., Any]) -> bool:
    import inspect

    parameters = inspect.signature(function).parameters.values()
    return any(p.name == "dtype" or p.kind is p.VAR_KEYWORD for p in parameters)


_of_functions: dict[Callable[..., Any], type[Initializer]] = {}


def draw(
    initializer: Initializer, shape: Shape, seed: int | None = None, stream: int = 0
) -> np.ndarray:
    """The initial values of a variable. A custom `__call__` has Keras's arguments,
    (shape, dtype=None), and gets only the shape.

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
            f"Received: shape {values.shape}. Try values of this shape."
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


def check_numbers(initializer: Initializer, **given: Any) -> None:
    for name, value in given.items():
        check_number(type(initializer).__name__, name, value, 0.05)
