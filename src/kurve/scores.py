"""How much of y a prediction explains, whatever the size of the numbers.

Sums of squares overflow beyond 1e154, vanish below 1e-162, and lose the spread of y
beside a large mean. So errors and distances are taken about the first value, in units
of a power of two near the largest of them, and the mean in a second pass.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Residuals:
    """What R2 and its kin are made of, for each of T outputs.

    errors: (n, T), (y - predicted) / (2 error_unit).
    distances: (n, T), of y from its mean, over 2 spread_unit; exactly 0 where y never
        changes.
    error_unit, spread_unit: (T,), powers of two.
    constant: (T,), whether y never changes.
    """

    errors: np.ndarray
    distances: np.ndarray
    error_unit: np.ndarray
    spread_unit: np.ndarray
    constant: np.ndarray

    @property
    def ratio(self) -> np.ndarray:
        """Of the units."""
        with np.errstate(over="ignore"):
            return self.error_unit / self.spread_unit


def explained(error: np.ndarray, spread: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    """1 - error / spread, from mean squares in units of that ratio; NaN where the
    spread is 0."""
    known = spread > 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        left = error / np.where(known, spread, 1.0) * ratio**2
    return np.where(known, 1.0 - left, np.nan)


def residuals(y: np.ndarray, predicted: np.ndarray) -> Residuals:
    """Errors and distances of y and predicted, float64 (n, T)."""
    with np.errstate(over="ignore", invalid="ignore"):
        errors = 0.5 * y - 0.5 * predicted  # halves, because y - predicted may overflow
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

    A y that never changes is explained wholly, 1, or not at all, 0.

    Args:
        y, predicted: float64 (n, T).
        weights: (n,), 1 each if None.

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


def _unit(values: np.ndarray) -> np.ndarray:
    """A power of two near the largest size in each column; 1 for a column of zeros."""
    largest = np.abs(values).max(axis=0)
    usable = np.isfinite(largest) & (largest > 0.0)
    _, exponent = np.frexp(np.where(usable, largest, 1.0))
    return np.ldexp(1.0, np.maximum(exponent - 1, -1021))
