"""Constraints, applied to the weights of a layer after each update."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.config import EPSILON
from kurve.core import registry
from kurve.core.arguments import (
    check_number,
    is_integer,
)
from kurve.core.arrays import as_numbers
from kurve.core.entries import Entrance, entry
from kurve.core.later import absent as _absent
from kurve.core.registration import restored
from kurve.errors import lookup

if TYPE_CHECKING:
    from kurve.ops.formula import Formula


class Constraint(Entrance):
    """Base class of constraints; by itself it changes nothing.

    A custom constraint computes the new weights in `__call__`, with operators and
    NumPy's elementwise functions, sums and means. It is traced with symbolic weights
    when a model is built, so it must be a formula: `numpy.where`, not `if`.

    Example:
        >>> class Halved(kurve.constraints.Constraint):
        ...     def __call__(self, w):
        ...         return 0.5 * w
        >>> layer = kurve.layers.Dense(1, kernel_constraint=Halved())
    """

    def __call__(self, w: Any) -> Any:
        """The new value of the weights w."""
        return _weights(self, w)

    def get_config(self) -> dict[str, Any]:
        """The arguments that recreate this constraint."""
        return {}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Constraint:
        return cls(**config)

    def serialized(self) -> dict[str, Any]:
        """Class and configuration, see `serialize`."""
        return serialize(self)

    def formula_for(self, shape: tuple[int, ...]) -> Formula:
        """Trace the constraint for weights of that shape, for engines.

        Raises:
            ValueError: it is not a formula, or its result has another shape.
        """
        return formula(self, shape)


class MaxNorm(Constraint):
    """Norms of at most max_value: w * clip(|w|, 0, max_value) / (|w| + 1e-7).

    Source: Srivastava et al. 2014, appendix A.1.

    Args:
        max_value: largest norm, at least 0.
        axis: axis or axes over which norms are computed: 0 for the kernel of `Dense`,
            (0, 1, 2) for that of `Conv2D`.

    Raises:
        ValueError: a number out of range, or invalid axes.

    Example:
        >>> kurve.constraints.MaxNorm(1.0)([[3.0], [4.0]]).round(3)
        array([[0.6],
               [0.8]], dtype=float32)
    """

    def __init__(self, max_value: float = 2, axis: Any = 0) -> None:
        self.max_value = _number(self, "max_value", max_value)
        self.axis = _axes(self, axis)

    def __call__(self, w: Any) -> Any:
        w = _weights(self, w)
        norms = _norms(w, self.axis)
        return w * (np.clip(norms, 0.0, self.max_value) / (EPSILON + norms))

    def get_config(self) -> dict[str, Any]:
        return {"max_value": self.max_value, "axis": self.axis}


class NonNeg(Constraint):
    """No negative weights: max(w, 0).

    Example:
        >>> kurve.constraints.NonNeg()([-1.0, 2.0])
        array([0., 2.], dtype=float32)
    """

    def __call__(self, w: Any) -> Any:
        return np.maximum(_weights(self, w), 0.0)


class UnitNorm(Constraint):
    """Norms of 1: w / (|w| + 1e-7).

    Args:
        axis: see `MaxNorm`.

    Raises:
        ValueError: no axes.

    Example:
        >>> kurve.constraints.UnitNorm()([[3.0], [4.0]]).round(3)
        array([[0.6],
               [0.8]], dtype=float32)
    """

    def __init__(self, axis: Any = 0) -> None:
        self.axis = _axes(self, axis)

    def __call__(self, w: Any) -> Any:
        w = _weights(self, w)
        return w / (EPSILON + _norms(w, self.axis))

    def get_config(self) -> dict[str, Any]:
        return {"axis": self.axis}


class MinMaxNorm(Constraint):
    """Norms from min_value to max_value: w * d / (|w| + 1e-7), with
    d = rate * clip(|w|, min_value, max_value) + (1 - rate) |w|.

    Args:
        min_value, max_value: at least 0.
        rate: 1 enforces the norms at once, smaller values gradually.
        axis: see `MaxNorm`.

    Raises:
        ValueError: a number out of range, or invalid axes.

    Example:
        >>> kurve.constraints.MinMaxNorm(10.0, 20.0)([[3.0], [4.0]]).round(3)
        array([[6.],
               [8.]], dtype=float32)
    """

    def __init__(
        self,
        min_value: float = 0.0,
        max_value: float = 1.0,
        rate: float = 1.0,
        axis: Any = 0,
    ) -> None:
        self.min_value = _number(self, "min_value", min_value)
        self.max_value = _number(self, "max_value", max_value)
        self.rate = _number(self, "rate", rate)
        self.axis = _axes(self, axis)

    def __call__(self, w: Any) -> Any:
        w = _weights(self, w)
        norms = _norms(w, self.axis)
        clipped = np.clip(norms, self.min_value, self.max_value)
        desired = self.rate * clipped + (1.0 - self.rate) * norms
        return w * (desired / (EPSILON + norms))

    def get_config(self) -> dict[str, Any]:
        return {
            "min_value": self.min_value,
            "max_value": self.max_value,
            "rate": self.rate,
            "axis": self.axis,
        }


max_norm, non_neg, unit_norm, min_max_norm = MaxNorm, NonNeg, UnitNorm, MinMaxNorm

CLASSES: dict[str, type[Constraint]] = {
    cls.__name__: cls for cls in [MaxNorm, NonNeg, UnitNorm, MinMaxNorm, Constraint]
}

_TABLE: Mapping[str, Callable[[], Constraint]] = CLASSES | {
    "max_norm": MaxNorm,
    "non_neg": NonNeg,
    "unit_norm": UnitNorm,
    "min_max_norm": MinMaxNorm,
    "constraint": Constraint,
}


@entry
def get(identifier: Any) -> Constraint | None:
    """The constraint for a name (with Keras's defaults), a `serialize` result or a
    class; None for None."""
    if identifier is None or isinstance(identifier, Constraint):
        return identifier
    if isinstance(identifier, str):
        found: Constraint = lookup("constraints", "constraint", identifier, _TABLE)()
        return found
    if isinstance(identifier, Mapping) and "class_name" in identifier:
        return deserialize(identifier)
    if isinstance(identifier, type) and issubclass(identifier, Constraint):
        return identifier()
    if callable(identifier) and not isinstance(identifier, type):
        return _of_function(identifier)()
    raise TypeError(
        "[constraints] a constraint must be a name or an object of "
        "kurve.constraints, or a function of the weights. "
        f"Received: {identifier!r}. Try 'non_neg', or your own "
        "kurve.constraints.Constraint."
    )


def _of_function(function: Callable[[Any], Any]) -> type[Constraint]:
    return registry.class_of_function(function, Constraint)


def serialize(constraint: Constraint | None) -> Any:
    """Class and configuration of a constraint; None for None."""
    return registry.entry(constraint, CLASSES)


def deserialize(config: Mapping[str, Any]) -> Constraint:
    """The constraint from a `serialize` result."""
    found: Constraint = restored(
        "constraints", "constraint", config, _TABLE, Constraint, get, _of_function
    )
    return found


def formula(constraint: Constraint, shape: tuple[int, ...]) -> Formula:
    """Trace the constraint for weights of that shape, for engines.

    Raises:
        ValueError: it is not a formula, or its result has another shape.
    """
    from kurve.ops.formula import trace

    shape = shape or (1,)
    name = type(constraint).__name__
    try:
        found = trace([shape], lambda w: (constraint(w),))
    except Exception as error:
        raise ValueError(
            f"[{name}] a constraint must be a formula of weights of shape {shape}, "
            "with operators and NumPy's functions. "
            f"Received: {type(error).__name__}: {error} Try kurve.constraints.MaxNorm."
        ) from error
    if found.shape(found.outputs[0]) != shape:
        raise ValueError(
            f"[{name}] a constraint must keep the shape of the weights, {shape}. "
            f"Received: {found.shape(found.outputs[0])}. Try sums with keepdims=True."
        )
    return found


def _weights(constraint: Constraint, w: Any) -> Any:
    """An array or a symbolic tensor."""
    from kurve.ops.formula import Symbol

    if isinstance(w, Symbol):
        return w
    return as_numbers(type(constraint).__name__, "w", w, np.float32)


def _norms(w: Any, axis: Any) -> Any:
    axes = axis if isinstance(axis, int) else tuple(axis)
    return np.sqrt(np.sum(np.square(w), axis=axes, keepdims=True))


def _number(constraint: Constraint, name: str, value: Any) -> float:
    check_number(type(constraint).__name__, name, value, 1.0, 0)
    return value if isinstance(value, (int, float)) else float(value)


def _axes(constraint: Constraint, axis: Any) -> int | list[int]:
    if is_integer(axis):
        return int(axis)
    if isinstance(axis, (list, tuple)) and axis and all(map(is_integer, axis)):
        return [int(a) for a in axis]
    raise ValueError(
        f"[{type(constraint).__name__}] axis must be an integer or a list of them. "
        f"Received: {axis!r}. Try axis=0."
    )


__getattr__ = _absent(__name__)
