"""Novelty detection: which rows lie outside the training data.

A row is outside if one of three conditions holds:

* it has a categorical level that was not in the training data;
* a number lies beyond the range of the training data by more than `MARGIN` of it;
* the distance to its nearest neighbours in a sample of the training rows is larger than
  for all but 1 % of the training rows. Distances are those of the scaled columns.

The third condition finds holes in the data and unusual combinations of columns, which
the first two miss. Its threshold is a quantile of the distances of the training rows,
each measured without the row itself, so it flags about 1 % of new rows from the same
source, whatever the distribution.
Source: Ramaswamy, Rastogi & Shim 2000 (distance to the k-th neighbour); Laxhammar &
Falkman 2010 (conformal threshold).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

MARGIN = 0.05
"""How far a number can lie beyond a column's range, as a fraction of the range."""

ALARMS = 0.01
"""Fraction of the training rows beyond the threshold: the rate of false alarms."""

SAMPLE = 1000
"""Maximum training rows in the sample used for distances."""

NEIGHBOURS = 3
"""Distances are measured to this neighbour, so that a single outlier in the training
data does not make its surroundings count as inside."""

CELLS = 1 << 22
"""Distances computed at a time."""


@dataclass
class Novelty:
    """The location of the training rows.

    low, high: (D,) range of the matrix's columns, in scaled units
    sample:    (m, D) scaled rows to measure distances to
    threshold: distance beyond which a row is outside
    """

    low: np.ndarray
    high: np.ndarray
    sample: np.ndarray
    threshold: float

    @classmethod
    def learn(cls, z: np.ndarray, generator: np.random.Generator) -> Novelty:
        """Learn from scaled training rows z (n, D)."""
        chosen = generator.permutation(len(z))
        sample = np.ascontiguousarray(z[chosen[:SAMPLE]], np.float32)
        others = z[chosen[SAMPLE : 3 * SAMPLE]]
        # With few rows, distances within the sample; else of other rows to it.
        within = len(others) < len(sample)
        distances = _distances(sample if within else others, sample, within)
        return cls(
            z.min(axis=0), z.max(axis=0), sample, _upper_quantile(distances, ALARMS)
        )

    def extend(self, z: np.ndarray, generator: np.random.Generator) -> Novelty:
        """Add further rows."""
        more = Novelty.learn(np.concatenate([self.sample, z]), generator)
        more.low = np.minimum(more.low, self.low)
        more.high = np.maximum(more.high, self.high)
        return more

    def outside(self, z: np.ndarray) -> np.ndarray:
        """Which rows of z (n, D) are outside: bool (n,)."""
        margin = MARGIN * (self.high - self.low) + 1e-5
        beyond = ((z < self.low - margin) | (z > self.high + margin)).any(axis=1)
        far = _distances(z, self.sample, within=False) > self.threshold
        return np.asarray(beyond | far)


def _distances(z: np.ndarray, sample: np.ndarray, within: bool) -> np.ndarray:
    """Distance of each row to its nearest neighbours in the sample: float64 (n,).

    Args:
        within: whether z is the sample; a row is not a neighbour of itself.
    """
    most = len(sample) - within
    if most < 1:
        return np.zeros(len(z))
    k = min(NEIGHBOURS, most) - 1 + within
    reference = np.asarray(sample, np.float64)
    sizes = (reference**2).sum(axis=1)
    distances = np.empty(len(z))
    step = max(1, CELLS // len(sample))
    for first in range(0, len(z), step):
        rows = np.clip(np.asarray(z[first : first + step], np.float64), -1e15, 1e15)
        squares = (rows**2).sum(axis=1)[:, None] + sizes - 2.0 * rows @ reference.T
        if k < len(sample) - 1:
            squares = np.partition(squares, k, axis=1)
        else:
            squares = np.sort(squares, axis=1)
        distances[first : first + step] = np.sqrt(np.maximum(squares[:, k], 0.0))
    return distances


def _upper_quantile(values: np.ndarray, fraction: float) -> float:
    """The value that a new one exceeds with probability at most `fraction`; with too
    few values, twice the largest."""
    n = len(values)
    rank = math.ceil((n + 1) * (1.0 - fraction))
    ordered = np.sort(values)
    threshold = ordered[rank - 1] if rank <= n else 2.0 * ordered[-1]
    return float(threshold * (1.0 + 1e-5) + 1e-4)
