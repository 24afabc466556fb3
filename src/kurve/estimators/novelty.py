"""Rows outside the training data.

A row is outside if one of three things is true:

* it holds a level of a category that training has not seen;
* a number lies beyond the range of the training data by more than `MARGIN` of it;
* the distance to its nearest neighbours in a sample of the training rows is larger than
  for all but 1 % of the training rows. Distances are those of the scaled columns.

The third finds holes and broken relations between columns, however far the first two
reach. Its threshold is a quantile of the training rows' own distances, each measured
without the row itself, so of rows that come from where the training data came from
about 1 % are called outside by it, whatever the distribution.
Source: Ramaswamy, Rastogi & Shim 2000 (distance to the k-th neighbour); Laxhammar &
Falkman 2010 (conformal threshold).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

MARGIN = 0.05
"""Part of a column's range by which a number may lie beyond it."""

ALARMS = 0.01
"""Share of the training rows that lie beyond the threshold."""

SAMPLE = 1000
"""Most training rows that are kept to measure distances to."""

NEIGHBOURS = 3
"""The distance is that to this neighbour: one stray row makes no region known."""

CELLS = 1 << 22
"""Distances computed at a time."""


@dataclass
class Novelty:
    """What was learnt of where the training rows lie.

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
        """From scaled training rows z (n, D)."""
        chosen = generator.permutation(len(z))
        sample = np.ascontiguousarray(z[chosen[:SAMPLE]], np.float32)
        others = z[chosen[SAMPLE : 3 * SAMPLE]]
        # With few rows they are measured against each other, else against the sample.
        alone = len(others) < len(sample)
        distances = _distances(sample if alone else others, sample, itself=alone)
        return cls(
            z.min(axis=0), z.max(axis=0), sample, _upper_quantile(distances, ALARMS)
        )

    def extend(self, z: np.ndarray, generator: np.random.Generator) -> Novelty:
        """With further rows."""
        more = Novelty.learn(np.concatenate([self.sample, z]), generator)
        more.low = np.minimum(more.low, self.low)
        more.high = np.maximum(more.high, self.high)
        return more

    def outside(self, z: np.ndarray) -> np.ndarray:
        """Which rows of z (n, D) are outside: bool (n,)."""
        margin = MARGIN * (self.high - self.low) + 1e-5
        beyond = ((z < self.low - margin) | (z > self.high + margin)).any(axis=1)
        far = _distances(z, self.sample, itself=False) > self.threshold
        return np.asarray(beyond | far)


def _distances(z: np.ndarray, sample: np.ndarray, itself: bool) -> np.ndarray:
    """Distance of each row to its nearest neighbours in the sample: float64 (n,).

    Args:
        itself: whether z is the sample, whose rows are no neighbours of their own.
    """
    most = len(sample) - itself
    if most < 1:
        return np.zeros(len(z))
    k = min(NEIGHBOURS, most) - 1 + itself
    reference = np.asarray(sample, np.float64)
    sizes = (reference**2).sum(axis=1)
    found = np.empty(len(z))
    step = max(1, CELLS // len(sample))
    for first in range(0, len(z), step):
        rows = np.clip(np.asarray(z[first : first + step], np.float64), -1e15, 1e15)
        squares = (rows**2).sum(axis=1)[:, None] + sizes - 2.0 * rows @ reference.T
        if k < len(sample) - 1:
            squares = np.partition(squares, k, axis=1)
        else:
            squares = np.sort(squares, axis=1)
        found[first : first + step] = np.sqrt(np.maximum(squares[:, k], 0.0))
    return found


def _upper_quantile(values: np.ndarray, share: float) -> float:
    """The value that at most `share` of the values, and of one more, lie above; with
    too few values to say, twice the largest."""
    n = len(values)
    rank = math.ceil((n + 1) * (1.0 - share))
    ordered = np.sort(values)
    threshold = ordered[rank - 1] if rank <= n else 2.0 * ordered[-1]
    return float(threshold * (1.0 + 1e-5) + 1e-4)
