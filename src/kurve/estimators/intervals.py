"""Prediction intervals: from a mean and a standard deviation, from quantiles, and from
the errors of held-out rows.

All have shape (n, T, 2), low and high ends, in the units of the targets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

CELLS = 1 << 22
"""Maximum numbers that CV+ partitions at a time."""


def check_coverage(coverage: float) -> float:
    """`coverage` as a float.

    Raises:
        ValueError: not a number between 0 and 1.
    """
    number = isinstance(coverage, (int, float, np.integer, np.floating))
    # The last number below 1 has no quantile in float64.
    if not number or not 0.0 < coverage < 1.0 or 0.5 + coverage / 2.0 == 1.0:
        raise ValueError(
            "[predict_interval] coverage must be a number between 0 and 1. "
            f"Received: {coverage!r}. Try coverage=0.9."
        )
    return float(coverage)


@np.errstate(over="ignore")
def gaussian(mean: np.ndarray, deviation: np.ndarray, coverage: float) -> np.ndarray:
    """mean -+ z deviation, z the normal quantile of (1 + coverage) / 2."""
    reach = NormalDist().inv_cdf(0.5 + coverage / 2.0) * deviation
    return np.stack([mean - reach, mean + reach], axis=-1)


def between_quantiles(
    values: np.ndarray, levels: np.ndarray, coverage: float
) -> np.ndarray:
    """The interval from the quantile (1 - coverage) / 2 to (1 + coverage) / 2.

    Between two levels that the network has learned, quantiles are interpolated linearly
    in the normal quantile of the level, which is exact for a normal distribution.

    Args:
        values: (n, T, Q) quantiles, increasing along the last axis.
        levels: (Q,) their levels.

    Raises:
        ValueError: the coverage reaches beyond the outermost levels.
    """
    widest = 1.0 - 2.0 * max(levels[0], 1.0 - levels[-1])
    if coverage > widest + 1e-9:
        raise ValueError(
            f"[predict_interval] coverage must be at most {widest:g}, because the "
            f"network has learned the quantiles {levels[0]:g} to {levels[-1]:g}. "
            f"Received: {coverage:g}. Try interval='conformal'."
        )
    normal = NormalDist().inv_cdf
    axis = np.array([normal(float(level)) for level in levels])
    ends = []
    for level in (0.5 - coverage / 2.0, 0.5 + coverage / 2.0):
        z = normal(level)
        upper = int(np.clip(np.searchsorted(axis, z), 1, len(axis) - 1))
        part = (z - axis[upper - 1]) / (axis[upper] - axis[upper - 1])
        ends.append(values[..., upper - 1] * (1 - part) + values[..., upper] * part)
    return np.stack(ends, axis=-1)


def widened(
    mean: np.ndarray,
    ends: np.ndarray,
    near_mean: np.ndarray,
    near_ends: np.ndarray,
    extra: np.ndarray,
    coverage: float,
) -> np.ndarray:
    """Intervals for rows outside the data (n, T, 2): on each side of the mean, the
    distance to the end, there or at the nearest point inside, whichever is larger; and
    the uncertainty that is added on the way, in quadrature.

    Args:
        mean, ends: (n, T), (n, T, 2) at the rows.
        near_mean, near_ends: at the nearest points inside.
        extra: (n, T) added standard deviation.
    """
    signs = np.array([-1.0, 1.0])
    there = signs * (ends - mean[..., None])
    inside = signs * (near_ends - near_mean[..., None])
    reach = np.maximum(np.maximum(there, inside), 0.0)
    added = NormalDist().inv_cdf(0.5 + coverage / 2.0) * extra[..., None]
    with np.errstate(over="ignore"):
        return np.asarray(mean[..., None] + signs * np.hypot(reach, added))


def errors(y: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """(y - mean) / deviation, computed with halves, because y - mean can overflow."""
    with np.errstate(over="ignore"):
        return np.asarray((y / 2 - mean / 2) / (deviation / 2))


@dataclass
class Conformal:
    """Split conformal intervals: mean -+ q deviation, where q is the quantile of the
    scores |y - mean| / deviation of rows held out from training.

    At least the fraction `coverage` of new rows from the same source lies inside, for
    any distribution and any model, however bad.
    Source: Vovk, Gammerman & Shafer 2005; Lei et al. 2018 (the finite-sample quantile
    ceil((m + 1) coverage) / m, and the division by a deviation).

    scores:  (m, T), each column in increasing order
    weights: (m, T) in the order of the scores, of mean 1
    """

    scores: np.ndarray
    weights: np.ndarray

    @classmethod
    def learn(
        cls,
        y: np.ndarray,
        mean: np.ndarray,
        deviation: np.ndarray,
        weights: np.ndarray | None,
    ) -> Conformal:
        """Learn from held-out rows (m, T)."""
        scores = np.abs(errors(y, mean, deviation))
        order = np.argsort(scores, axis=0, kind="stable")
        counted = np.ones(len(y)) if weights is None else weights / weights.mean()
        return cls(np.take_along_axis(scores, order, axis=0), counted[order])

    def enough(self, coverage: float) -> bool:
        """Whether there are enough rows for this coverage."""
        return math.ceil((len(self.scores) + 1) * coverage - 1e-9) <= len(self.scores)

    @np.errstate(over="ignore")
    def interval(
        self, mean: np.ndarray, deviation: np.ndarray, coverage: float
    ) -> np.ndarray:
        """Intervals for new rows.

        Raises:
            ValueError: too few held-out rows for this coverage.
        """
        m = len(self.scores)
        if not self.enough(coverage):
            raise ValueError(
                f"[predict_interval] coverage={coverage:g} needs at least "
                f"{math.ceil(coverage / (1.0 - coverage) - 1e-9)} held-out rows. "
                f"Received: {m} held-out rows, which allow coverage {m / (m + 1):.3g}. "
                "Try a lower coverage, more rows, or interval='cv+'."
            )
        rank = math.ceil((m + 1) * coverage - 1e-9)
        below = np.cumsum(self.weights, axis=0)
        index = np.minimum((below < rank - 1e-6).sum(axis=0), m - 1)
        factor = self.scores[index, np.arange(self.scores.shape[1])]
        reach = factor * deviation
        return np.stack([mean - reach, mean + reach], axis=-1)


@dataclass
class CrossValidation:
    """CV+ intervals: for each training row i, the model that was trained without it
    gives mean_i(x) -+ score_i deviation_i(x) for the new row; the interval extends from
    the lower quantile of the low ends to the upper quantile of the high ones.

    At least the fraction 1 - 2 (1 - coverage) of new rows, and nearly always about
    `coverage`, lies inside. Source: Barber, Candes, Ramdas & Tibshirani 2021, section 3
    (CV+), with residuals divided by the predicted deviation.

    scores:  (m, T) |y - mean| / deviation of each row, by the model of its fold
    fold_of: (m,) the fold of each row
    """

    scores: np.ndarray
    fold_of: np.ndarray

    @np.errstate(over="ignore")
    def interval(
        self, means: np.ndarray, deviations: np.ndarray, coverage: float
    ) -> np.ndarray:
        """Intervals for new rows.

        Args:
            means, deviations: (folds, n, T) predictions of each fold's model.

        Raises:
            ValueError: too few rows for this coverage.
        """
        m, targets = self.scores.shape
        rank = math.ceil((m + 1) * coverage - 1e-9)
        if rank > m:
            raise ValueError(
                f"[predict_interval] coverage={coverage:g} needs at least "
                f"{math.ceil(coverage / (1.0 - coverage) - 1e-9)} rows. Received: {m} "
                "training rows. Try a lower coverage or more rows."
            )
        n = means.shape[1]
        ends = np.empty((n, targets, 2))
        step = max(1, CELLS // m)
        for t in range(targets):
            for first in range(0, n, step):
                rows = slice(first, first + step)
                middle = means[self.fold_of, rows, t]
                reach = self.scores[:, t, None] * deviations[self.fold_of, rows, t]
                high = np.partition(middle + reach, rank - 1, axis=0)[rank - 1]
                low = -np.partition(reach - middle, rank - 1, axis=0)[rank - 1]
                ends[rows, t] = np.stack([low, high], axis=-1)
        return ends
