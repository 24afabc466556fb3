"""Score formulas: R2, accuracy and confusion-matrix counts.

R2 is computed so that the scale of the numbers does not matter. Sums of squares
overflow above 1e154, underflow below 1e-162, and lose the variance of y next to a large
mean. Therefore errors and deviations are measured from the first value, in units of a
power of two near the largest of them, and the mean is subtracted in a second pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kurve.core.arrays import scalar


@dataclass(frozen=True)
class Residuals:
    """Residuals and deviations from the mean, from which R2, RMSE and MAE are computed,
    for each of T outputs.

    errors: (n, T), (y - predicted) / (2 error_unit).
    distances: (n, T), (y - mean of y) / (2 spread_unit); exactly 0 where y is constant.
    error_unit, spread_unit: (T,), powers of two.
    constant: (T,), whether y is constant.
    """

    errors: np.ndarray
    distances: np.ndarray
    error_unit: np.ndarray
    spread_unit: np.ndarray
    constant: np.ndarray

    @property
    def ratio(self) -> np.ndarray:
        """error_unit / spread_unit."""
        with np.errstate(over="ignore"):
            return self.error_unit / self.spread_unit


def explained(error: np.ndarray, spread: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    """1 - error / spread * ratio^2; NaN if the spread is 0.

    Args:
        error, spread: mean squares of the residuals and of the deviations of y.
        ratio: unit of the residuals divided by that of the deviations.
    """
    known = spread > 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        left = error / np.where(known, spread, 1.0) * ratio**2
    return np.where(known, 1.0 - left, np.nan)


def residuals(y: np.ndarray, predicted: np.ndarray) -> Residuals:
    """The residuals of predictions, float64 (n, T), against y (n, T)."""
    with np.errstate(over="ignore", invalid="ignore"):
        errors = 0.5 * y - 0.5 * predicted  # halves, because y - predicted can overflow
        distances = 0.5 * y - 0.5 * y[:1]
    error_unit, spread_unit = _unit(errors), _unit(distances)
    constant = np.all(distances == 0.0, axis=0)
    distances = distances / spread_unit
    distances = distances - distances.mean(axis=0)
    return Residuals(errors / error_unit, distances, error_unit, spread_unit, constant)


def r2(
    y: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """1 - sum w (y - predicted)^2 / sum w (y - mean y)^2 of each output.

    If y is constant, the score is 1 for a perfect prediction and 0 for any other.

    Args:
        y, predicted: float64 (n, T).
        weights: (n,), all 1 if None.

    Returns:
        (T,)
    """
    found = residuals(y, predicted)
    with np.errstate(over="ignore", invalid="ignore"):
        error = np.average(found.errors**2, axis=0, weights=weights)
        mean = np.average(found.distances, axis=0, weights=weights)
        spread = np.average((found.distances - mean) ** 2, axis=0, weights=weights)
    flat = found.constant | ~(spread > 0.0)
    known = explained(error, spread, found.ratio)
    return np.where(flat, np.where(error == 0.0, 1.0, 0.0), known)


def accuracy(
    y: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None = None
) -> float:
    """Fraction of correct predictions.

    Args:
        y, predicted: arrays of the same shape; (n,) with weights.
        weights: (n,), all 1 if None.
    """
    return float(np.average(y == predicted, weights=weights))


def class_numbers(y: Any, classes: Sequence[Any]) -> np.ndarray:
    """The index in `classes` of each row's class; -1 if it is not there."""
    index = {scalar(name): i for i, name in enumerate(classes)}
    values, inverse = np.unique(np.asarray(y), return_inverse=True)
    numbers = np.array([index.get(scalar(value), -1) for value in values])
    return numbers[inverse.reshape(-1)]


def count_pairs(
    rows: np.ndarray, columns: np.ndarray, size: int, weights: np.ndarray | None = None
) -> np.ndarray:
    """The confusion matrix (size, size) of non-negative class numbers (n,): int64
    counts, or float64 sums of weights (n,)."""
    pairs = np.bincount(rows * size + columns, weights, size * size)
    return pairs.reshape(size, size)


def _unit(values: np.ndarray) -> np.ndarray:
    """A power of two near the largest magnitude in each column; 1 for a column of
    zeros."""
    largest = np.abs(values).max(axis=0)
    usable = np.isfinite(largest) & (largest > 0.0)
    _, exponent = np.frexp(np.where(usable, largest, 1.0))
    return np.ldexp(1.0, np.maximum(exponent - 1, -1021))
