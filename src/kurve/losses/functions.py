"""Losses as functions: the value of every row, (..., O) -> (...), float32.

Arguments are those of the classes, whose docstrings give the formulas.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from kurve.core.entries import entry
from kurve.core.results import result
from kurve.losses.base import Loss
from kurve.losses.crossentropies import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
)
from kurve.losses.probabilistic import GaussianNLL
from kurve.losses.regression import (
    Huber,
    LogCosh,
    MeanAbsoluteError,
    MeanSquaredError,
    Pinball,
)

F = TypeVar("F", bound=Callable[..., Any])


def _of(cls: type[Loss]) -> Callable[[F], F]:
    """Decorator of the function that computes the loss of a class."""

    def of_class(function: F) -> F:
        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            return result(function(*args, **kwargs))

        called.kind = cls.kind  # type: ignore[attr-defined]
        return entry(called)  # type: ignore[return-value]

    return of_class


@_of(MeanSquaredError)
def mean_squared_error(y_true: Any, y_pred: Any) -> np.ndarray:
    """`MeanSquaredError` of every row."""
    return MeanSquaredError().call(y_true, y_pred)


@_of(MeanAbsoluteError)
def mean_absolute_error(y_true: Any, y_pred: Any) -> np.ndarray:
    """`MeanAbsoluteError` of every row."""
    return MeanAbsoluteError().call(y_true, y_pred)


@_of(Huber)
def huber(y_true: Any, y_pred: Any, delta: float = 1.0) -> np.ndarray:
    """`Huber` of every row."""
    return Huber(delta).call(y_true, y_pred)


@_of(LogCosh)
def log_cosh(y_true: Any, y_pred: Any) -> np.ndarray:
    """`LogCosh` of every row."""
    return LogCosh().call(y_true, y_pred)


@_of(BinaryCrossentropy)
def binary_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> np.ndarray:
    """`BinaryCrossentropy` of every row."""
    return BinaryCrossentropy(from_logits, label_smoothing, axis).call(y_true, y_pred)


@_of(CategoricalCrossentropy)
def categorical_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> np.ndarray:
    """`CategoricalCrossentropy` of every row."""
    return CategoricalCrossentropy(from_logits, label_smoothing, axis).call(
        y_true, y_pred
    )


@_of(SparseCategoricalCrossentropy)
def sparse_categorical_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    ignore_class: int | None = None,
    axis: int = -1,
) -> np.ndarray:
    """`SparseCategoricalCrossentropy` of every row."""
    return SparseCategoricalCrossentropy(from_logits, ignore_class, axis=axis).call(
        y_true, y_pred
    )


@_of(GaussianNLL)
def gaussian_nll(y_true: Any, y_pred: Any, beta: float = 0.0) -> np.ndarray:
    """`GaussianNLL` of every row."""
    return GaussianNLL(beta).call(y_true, y_pred)


@_of(Pinball)
def pinball(
    y_true: Any, y_pred: Any, quantiles: Sequence[float] = (0.05, 0.5, 0.95)
) -> np.ndarray:
    """`Pinball` of every row."""
    return Pinball(quantiles).call(y_true, y_pred)
