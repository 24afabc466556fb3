"""Penalties on the weights, added to the loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from kurve.core import registry
from kurve.core.arguments import check_number
from kurve.core.arrays import as_numbers
from kurve.core.dtypes import FLOAT32_MAX
from kurve.core.entries import Entrance, entries, entry
from kurve.core.later import absent as _absent
from kurve.core.overrides import refuse_overrides
from kurve.core.registration import restored
from kurve.errors import lookup

if TYPE_CHECKING:
    from kurve.ops.formula import Formula


class Regularizer(Entrance):
    """Base class. A custom regularizer computes the penalty, a number, in `__call__`,
    with operators and NumPy's elementwise functions, sums and means. It is traced with
    symbolic weights when a model is built, so it must be a formula: `numpy.where`, not
    `if`.

    Example:
        >>> class Fourth(kurve.regularizers.Regularizer):
        ...     def __call__(self, w):
        ...         return 0.01 * np.sum(w**4.0)
        >>> layer = kurve.layers.Dense(1, kernel_regularizer=Fourth())
    """

    def __call__(self, w: Any) -> Any:
        """The penalty of one array."""
        raise NotImplementedError

    def terms_for(self, shape: tuple[int, ...]) -> tuple[float, float, Formula | None]:
        """l1, l2 and the formula of any other penalty, for engines.

        Args:
            shape: shape of the weights.

        Raises:
            ValueError: it is not a formula, or its result is not a number.
        """
        return 0.0, 0.0, formula(self, shape)

    def get_config(self) -> dict[str, Any]:
        """The arguments that recreate this regularizer."""
        return {}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Regularizer:
        return cls(**config)


@entries
@dataclass(frozen=True)
class L1L2(Regularizer):
    """Penalty l1 * sum |w| + l2 * sum w^2, added to the loss.

    Source: Tibshirani 1996 (l1), Hoerl & Kennard 1970 (l2).

    Args:
        l1, l2: strengths, at least 0.

    Raises:
        ValueError: not finite or negative.

    Example:
        >>> kurve.regularizers.L1L2(l1=0.1, l2=0.01)([3.0, -1.0])
        0.5
    """

    ignored: ClassVar = ("__call__",)
    instead: ClassVar = "L1, L2 or L1L2 with your own numbers"

    l1: float = 0.0
    l2: float = 0.0

    def __post_init__(self) -> None:
        for name, value in (("l1", self.l1), ("l2", self.l2)):
            if value is None:  # 0, as in Keras
                object.__setattr__(self, name, 0.0)
            else:
                check_number(type(self).__name__, name, value, 0.01, 0, FLOAT32_MAX)

    def __call__(self, w: Any) -> float:
        """The penalty of one array."""
        w = as_numbers(type(self).__name__, "w", w)
        return float(self.l1 * np.sum(np.abs(w)) + self.l2 * np.sum(w**2))

    def terms_for(self, shape: tuple[int, ...]) -> tuple[float, float, Formula | None]:
        """Its two numbers: see `Regularizer`."""
        return self.l1, self.l2, None

    def get_config(self) -> dict[str, float]:
        return {"l1": self.l1, "l2": self.l2}


class L1(L1L2):
    """Penalty l1 * sum |w|, added to the loss.

    Args:
        l1: strength, at least 0.

    Raises:
        ValueError: not finite or negative.

    Example:
        >>> kurve.regularizers.L1(0.5)([3.0, -1.0])
        2.0
    """

    def __init__(self, l1: float = 0.01) -> None:
        super().__init__(l1=l1)

    def get_config(self) -> dict[str, float]:
        return {"l1": self.l1}


class L2(L1L2):
    """Penalty l2 * sum w^2, added to the loss.

    Args:
        l2: strength, at least 0.

    Raises:
        ValueError: not finite or negative.

    Example:
        >>> kurve.regularizers.L2(0.5)([3.0, -1.0])
        5.0
    """

    def __init__(self, l2: float = 0.01) -> None:
        super().__init__(l2=l2)

    def get_config(self) -> dict[str, float]:
        return {"l2": self.l2}


class OrthogonalRegularizer(Regularizer):
    """Penalty on non-orthogonal rows or columns of a matrix:
    factor times the mean |cosine| of all pairs.

    Source: Brock et al. 2017; the formula is that of
    keras.regularizers.OrthogonalRegularizer.

    Args:
        factor: strength, at least 0.
        mode: "rows" or "columns".

    Raises:
        ValueError: factor not finite or negative; unknown mode; when called, not a
            matrix.

    Example:
        >>> kurve.regularizers.OrthogonalRegularizer(1.0)([[1.0, 0.0], [3.0, 4.0]])
        0.6
    """

    def __init__(self, factor: float = 0.01, mode: str = "rows") -> None:
        check_number("OrthogonalRegularizer", "factor", factor, 0.01, 0, FLOAT32_MAX)
        lookup("OrthogonalRegularizer", "mode", mode, {"rows": 0, "columns": 0})
        self.factor, self.mode = float(factor), mode

    def __call__(self, w: Any) -> Any:
        from kurve.ops.formula import Symbol

        symbolic = isinstance(w, Symbol)
        w = w if symbolic else as_numbers(type(self).__name__, "w", w)
        if len(w.shape) != 2:
            raise ValueError(
                "[OrthogonalRegularizer] the weights must be a matrix. Received: shape "
                f"{w.shape}. Try it as kernel_regularizer of Dense."
            )
        axis = 1 if self.mode == "rows" else 0
        squares = np.sum(np.square(w), axis=axis, keepdims=True)
        root = np.maximum(np.sqrt(squares), 1e-7)
        unit = w / root
        products = unit @ unit.T if axis else unit.T @ unit
        # Leave out the diagonal, which holds no pairs.
        total = np.sum(np.abs(products)) - np.sum(np.square(unit))
        size = products.shape[0]
        penalty = total * (self.factor * 0.5 / max(size * (size - 1) / 2, 1))
        return penalty if symbolic else round(float(penalty), 12)

    def get_config(self) -> dict[str, Any]:
        return {"factor": self.factor, "mode": self.mode}


def formula(regularizer: Regularizer, shape: tuple[int, ...]) -> Formula:
    """The penalty of weights of that shape and its gradient, for engines.

    Raises:
        ValueError: it is not a formula, or its result is not a number.
    """
    from kurve.ops.formula import trace
    from kurve.ops.formula_gradient import with_gradient

    shape, name = shape or (1,), type(regularizer).__name__
    try:
        found = trace([shape], lambda w: (regularizer(w),))
        if found.shape(found.outputs[0]) != ():
            raise TypeError(f"the penalty has shape {found.shape(found.outputs[0])}.")
        return with_gradient(found)
    except Exception as error:
        raise ValueError(
            f"[{name}] a penalty must be a scalar formula of weights of "
            f"shape {shape}, with operators and NumPy's functions. "
            f"Received: {type(error).__name__}: {error} Try kurve.regularizers.L2."
        ) from error


l1, l2, l1_l2 = L1, L2, L1L2
orthogonal_regularizer = OrthogonalRegularizer

CLASSES: dict[str, type[Regularizer]] = {
    cls.__name__: cls for cls in [L1, L2, L1L2, OrthogonalRegularizer]
}

_TABLE: Mapping[str, Callable[[], Regularizer]] = CLASSES | {
    "orthogonal_regularizer": OrthogonalRegularizer,
    "l1": L1,
    "l2": L2,
    "l1l2": L1L2,
    "l1_l2": lambda: L1L2(0.01, 0.01),
}


@entry
def get(identifier: str | Mapping[str, Any] | Regularizer | None) -> Regularizer | None:
    """The regularizer for a name (with Keras's defaults) or a `serialize` result; None
    for None."""
    if identifier is None:
        return None
    if isinstance(identifier, L1L2):
        refuse_overrides("regularizers", identifier)
        return identifier
    if isinstance(identifier, Regularizer):
        return identifier
    if isinstance(identifier, Mapping) and "class_name" in identifier:
        return deserialize(identifier)
    if isinstance(identifier, str):
        regularizer: Regularizer = lookup(
            "regularizers", "regularizer", identifier, _TABLE
        )()
        return regularizer
    if callable(identifier) and not isinstance(identifier, type):
        return _of_function(identifier)()
    raise TypeError(
        "[regularizers] a regularizer must be a name or an object of "
        "kurve.regularizers, or a function of the weights. "
        f"Received: {identifier!r}. Try 'l2'."
    )


def _of_function(function: Callable[[Any], Any]) -> type[Regularizer]:
    return registry.class_of_function(function, Regularizer)


def serialize(regularizer: Regularizer | None) -> Any:
    """Class and configuration of a regularizer; None for None."""
    return registry.entry(regularizer, CLASSES)


def deserialize(config: Mapping[str, Any]) -> Regularizer:
    """The regularizer from a `serialize` result."""
    found: Regularizer = restored(
        "regularizers",
        "regularizer",
        config,
        CLASSES,
        Regularizer,
        get,
        _of_function,
    )
    return found


__getattr__ = _absent(__name__)
