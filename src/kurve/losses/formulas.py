"""Losses given by formulas with functions of `kurve.ops`, which engines run as plan
operations, forward and backward. This is the shared part; see `hinges`, `overlap` and
`focal`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from kurve.core.arguments import (
    check_number,
    is_integer,
)
from kurve.core.dtypes import FLOAT32_MAX
from kurve.core.entries import entry
from kurve.formulas import functions as ops
from kurve.losses.base import Loss, PlainLoss


class Formula(Loss):
    """Base class: `rows` is the formula, with functions of `kurve.ops`.

    Its result, one number per row or for the whole batch, is weighted and averaged.

    Args:
        name, reduction, dtype: see `Loss`.

    Raises:
        ValueError: as `Loss`.

    Example:
        >>> class Fourth(kurve.losses.Formula):
        ...     def rows(self, y_true, y_pred):
        ...         return ((y_true - y_pred) ** 4).mean(axis=-1)
        >>> Fourth()(np.zeros((1, 1)), np.full((1, 1), 2.0))
        16.0
    """

    @property
    def by_ops(self) -> bool:
        return True


class PlainFormula(PlainLoss, Formula):
    """A formula without parameters."""


class FunctionLoss(Formula):
    """A user's function, traced as a formula.

    Args:
        function: (y_true, y_pred) -> one value per row or for the batch, with
            functions of `kurve.ops` or NumPy.
        name: the function's name if None.
        reduction, dtype: see `Loss`.

    Raises:
        TypeError: not a function of two arguments.

    Example:
        >>> from kurve.losses import FunctionLoss
        >>> FunctionLoss(lambda y, p: abs(y - p))(np.zeros((1, 1)), np.ones((1, 1)))
        1.0
    """

    kind = "function"

    def __init__(
        self,
        function: Callable[[Any, Any], Any],
        name: str | None = None,
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        if not callable(function) or isinstance(function, type):
            raise TypeError(
                "[FunctionLoss] a loss must be a function of y_true and y_pred. "
                f"Received: {function!r}. Try def loss(y_true, y_pred): ..."
            )
        own = getattr(function, "__name__", "function")
        super().__init__(
            name or (own if own.isidentifier() else "loss"), reduction, dtype
        )
        self.function = function

    @property
    def written(self) -> Loss:
        """What files name: the loss whose `__call__` this is, or this one."""
        owner = getattr(self.function, "__self__", None)
        return owner if isinstance(owner, Loss) else self

    @property
    def any_targets(self) -> bool:
        return True

    def rows(self, y_true: Any, y_pred: Any) -> Any:
        """The user's formula."""
        return self.function(y_true, y_pred)

    def _by_formula(self, y: np.ndarray, p: np.ndarray) -> np.ndarray:
        """Errors come from the user's code."""
        with np.errstate(all="ignore"):
            return np.asarray(self.rows(y, p), np.float64)

    def paired(self, y_true: Any, y_pred: Any) -> tuple[np.ndarray, np.ndarray]:
        """Both as float32 arrays, of any shapes."""
        return np.asarray(y_true, np.float32), np.asarray(y_pred, np.float32)


def row_function(cls: type[Formula]) -> Callable[..., Any]:
    """The loss as a function of y_true and y_pred that returns the value of every
    row."""

    def call(y_true: Any, y_pred: Any, **arguments: Any) -> Any:
        return cls(**arguments).rows(
            ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        )

    call.__name__ = call.__qualname__ = cls.kind
    call.__doc__ = f"`{cls.__name__}` of every row."
    call.kind = cls.kind  # type: ignore[attr-defined]
    return entry(call)


def number(loss: Loss, name: str, value: Any, most: float = math.inf) -> float:
    """Validate a number from 0 to `most`.

    Raises:
        ValueError: anything else.
    """
    return check_number(
        type(loss).__name__, name, value, 0.5, 0, min(most, FLOAT32_MAX)
    )


def axis_of(loss: Loss, value: Any, several: bool = False) -> Any:
    """Validate an axis; with `several`, also a tuple of axes, or None for all.

    Raises:
        ValueError: anything else.
    """
    if is_integer(value):
        return int(value)
    if several and value is None:
        return None
    if several and isinstance(value, (list, tuple)) and all(map(is_integer, value)):
        return tuple(int(axis) for axis in value)
    raise ValueError(
        f"[{type(loss).__name__}] axis must be an integer"
        f"{', a tuple of them or None' if several else ''}. "
        f"Received: axis={value!r}. Try axis=-1."
    )
