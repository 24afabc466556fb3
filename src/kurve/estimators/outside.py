"""How uncertain a prediction becomes outside the data.

The data does not show what a function does beyond the last row, but it shows how fast
its slope changes. If the slope at the border persists no longer than slopes do inside,
the error grows with the distance d_j beyond the range of column j by about

    min(sqrt(sum of (s_j d_j)^2), 1 + d)    standard deviations of y,

where s_j is the standard deviation of the slope over the training rows, with a lower
bound for the uncertainty about a constant slope. Far outside, where a wave may have any
phase, the first term would be too large, and the second one takes over.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

SAMPLE = 200
"""Maximum training rows at which slopes are computed."""

STEP = 0.1
"""Of finite differences, in standard deviations of the column."""

FLOOR = 0.02
"""Least uncertainty of a slope, in scaled units."""


def excess(z: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """By how much the rows z (n, D) lie beyond the range: float64 at least 0."""
    z = np.asarray(z, np.float64)
    return np.maximum(np.maximum(low - z, z - high), 0.0)


def slope_spread(
    means: Callable[[np.ndarray], np.ndarray], rows: np.ndarray, columns: int
) -> np.ndarray:
    """Standard deviations of the slopes over the training rows, (D, T).

    Args:
        means: from scaled inputs (n, D) to scaled means (n, T).
        rows: (n, D) scaled training rows.
        columns: how many of the columns, the first ones, are numbers; the others, of
            0 and 1, are never outside.
    """
    rows = rows[:SAMPLE]
    here = means(rows)
    spread = np.full((rows.shape[1], here.shape[1]), FLOOR)
    for column in range(columns):
        moved = rows.copy()
        moved[:, column] += STEP
        slopes = (means(moved) - here) / STEP
        spread[column] = np.hypot(slopes.std(axis=0), FLOOR)
    return spread


def extra_std(beyond: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """The added standard deviations (n, T), in scaled units.

    Args:
        beyond: (n, D), see `excess`.
        spread: (D, T), see `slope_spread`.
    """
    beyond = np.minimum(beyond, 1e15)
    grown = np.sqrt(np.einsum("nd,dt->nt", beyond**2, spread**2))
    most = 1.0 + np.sqrt((beyond**2).sum(axis=1))
    return np.asarray(np.minimum(grown, most[:, None]))
