"""Standardization in float64, before values are cast to float32."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kurve.estimators import far_values

TINY = 1e-15
"""Standard deviation, relative to the largest value, below which a column counts as
constant: it is float64 rounding noise."""

RARE = 0.1
"""Minimum standard deviation to divide a 0/1 column by, so that a rare level does not
become a huge number."""

BEYOND, LATER = 1.0, 5.0
"""Standard deviations beyond the training range up to which z is linear; LATER if the
range is that of the first of many batches."""

LARGEST = 1e30
"""Largest z: leaves room for the products and squares of a first layer."""


@dataclass
class Scaler:
    """z = (x - mean) / deviation, column by column.

    mean, deviation: (C,) float64; deviation is 1 for constant columns.
    low, high:       (C,) the range of the data
    tails:           (2, C) z below and above which it grows as a logarithm, so that a
                     far value, such as a typing error, does not make a network
                     extrapolate far: with an end e, z = e + log(1 + z - e) above it.
                     None if z is linear everywhere.
    """

    mean: np.ndarray
    deviation: np.ndarray
    low: np.ndarray
    high: np.ndarray
    tails: np.ndarray | None = None

    @classmethod
    def learn(
        cls, x: np.ndarray, weights: np.ndarray | None = None, scale: bool = True
    ) -> Scaler:
        """Learn mean and standard deviation of x (n, C), with weighted rows.

        Args:
            scale: False for the identity.
        """
        low, high = x.min(axis=0), x.max(axis=0)
        if not scale:
            return cls(np.zeros_like(low), np.ones_like(low), low, high)
        # Relative to the midpoint and in units of a power of two, squares neither
        # overflow nor underflow, and a huge offset does not cost precision.
        middle = low / 2 + high / 2
        unit = _unit(low, high)
        z = (x - middle) / unit
        mean = np.average(z, axis=0, weights=weights)
        deviation = np.sqrt(np.average((z - mean) ** 2, axis=0, weights=weights))
        return cls(middle + mean * unit, deviation * unit, low, high).without_zeros()

    def without_zeros(self) -> Scaler:
        """A copy with deviation 1 for constant columns."""
        size = np.maximum(np.abs(self.low), np.abs(self.high))
        constant = ~(self.deviation > TINY * size)
        deviation = np.where(constant, 1.0, self.deviation)
        return Scaler(self.mean, deviation, self.low, self.high)

    def with_tails(
        self,
        x: np.ndarray,
        columns: int,
        all_columns: bool = True,
        beyond: float = BEYOND,
    ) -> Scaler:
        """A copy whose first columns have tails, and whose means and deviations do not
        depend on far values; see `estimators.far_values`.

        Args:
            x: (n, C) the data, or a sample of the rows.
            columns: how many columns may get tails.
            all_columns: False for tails in columns with an outlier only.
            beyond: standard deviations from the range of values that are not far to
                where the tails begin.
        """
        mean, deviation = self.mean.copy(), self.deviation.copy()
        tails = np.array([[-LARGEST], [LARGEST]]) * np.ones(len(mean))
        ends = far_values.ends(x[:, :columns])
        quarters = np.array([self.low[:columns], self.high[:columns]]) / 4
        bent = np.full(columns, all_columns)
        far = (quarters[0] < ends[0]) | (quarters[1] > ends[1])
        for column in np.flatnonzero(far):
            values = x[:, column] / 4
            if not all_columns:
                known = np.append(values, quarters[:, column])
                bent[column] = np.isfinite(
                    far_values.first_outlier(known, *ends[:, column])
                )
            if bent[column]:
                one = Scaler.learn(np.clip(values, *ends[:, column])[:, None] * 4)
                mean[column], deviation[column] = one.mean[0], one.deviation[0]
        if not bent.any():
            return self
        inside = np.clip(quarters, *ends)
        found = (inside - mean[:columns] / 4) / (deviation[:columns] / 4)
        found += [[-beyond], [beyond]]
        tails[:, :columns] = np.where(bent, found, tails[:, :columns])
        return Scaler(mean, deviation, self.low, self.high, tails)

    def soften(self, first: int) -> None:
        """Divide the columns from `first` on, of 0 and 1, by at least `RARE`."""
        self.deviation[first:] = np.maximum(self.deviation[first:], RARE)

    def forward(self, x: np.ndarray) -> np.ndarray:
        """z, float32, clipped to its range."""
        return np.ascontiguousarray(self.standardized(x), np.float32)

    def standardized(self, x: np.ndarray) -> np.ndarray:
        """z, float64, clipped to its range."""
        with np.errstate(over="ignore"):
            z = (x - self.mean) / self.deviation
            if not np.isfinite(z).all():
                halves = (x / 2 - self.mean / 2) / (self.deviation / 2)
                z = np.where(np.isfinite(z), z, halves)
        return bent(np.clip(z, -LARGEST, LARGEST), self.tails)

    def straight(self, z: np.ndarray) -> np.ndarray:
        """z without tails, (x - mean) / deviation, clipped to its range."""
        if self.tails is None:
            return z
        inside = np.clip(z, *self.tails)
        beyond = np.minimum(np.abs(z - inside), np.log(LARGEST))
        return np.asarray(inside + np.copysign(np.expm1(beyond), z - inside))

    def slopes(self, x: np.ndarray) -> np.ndarray:
        """The derivative of z by x, (n, C)."""
        slopes = np.broadcast_to(1.0 / self.deviation, x.shape)
        if self.tails is None:
            return slopes
        z = self.straight(self.standardized(x))
        return slopes / (1.0 + np.abs(z - np.clip(z, *self.tails)))

    def backward(self, z: np.ndarray) -> np.ndarray:
        """x, float64, clipped to its range."""
        z = self.straight(np.asarray(z, np.float64))
        with np.errstate(over="ignore", invalid="ignore"):
            x = z * self.deviation + self.mean
            if np.isfinite(x).all():
                return x
            largest = np.finfo(np.float64).max / 4
            quarters = z * (self.deviation / 4) + self.mean / 4
            beyond = np.isfinite(z) & ~np.isfinite(x)
            return np.where(beyond, 4 * np.clip(quarters, -largest, largest), x)


def bent(z: np.ndarray, tails: np.ndarray | None) -> np.ndarray:
    """z with its logarithmic tails; see `Scaler`."""
    if tails is None:
        return z
    inside = np.clip(z, *tails)
    beyond = z - inside
    return np.asarray(inside + np.copysign(np.log1p(np.abs(beyond)), beyond))


@dataclass
class Moments:
    """Mean, standard deviation and range of data that comes in batches.

    squares: the sum of squared differences from the mean, in units of `unit`^2; see
        `Scaler.learn`.
    Source: Chan, Golub & LeVeque 1983, the pairwise update.
    """

    count: float = 0.0
    mean: np.ndarray | None = None
    squares: np.ndarray | None = None
    unit: np.ndarray | None = None
    low: np.ndarray | None = None
    high: np.ndarray | None = None

    def add(self, x: np.ndarray, weights: np.ndarray | None) -> None:
        """Add the rows of x (n, C)."""
        count = float(len(x)) if weights is None else float(weights.sum())
        if not count:
            return
        low, high = x.min(axis=0), x.max(axis=0)
        middle = low / 2 + high / 2
        if self.low is not None and self.high is not None:
            low, high = np.minimum(self.low, low), np.maximum(self.high, high)
        unit = _unit(low, high)
        z = (x - middle) / unit
        mean = np.average(z, axis=0, weights=weights)
        squares = np.average((z - mean) ** 2, axis=0, weights=weights) * count
        mean = middle + mean * unit
        if self.mean is not None and self.squares is not None:
            assert self.unit is not None
            total = self.count + count
            step = (mean / 2 - self.mean / 2) / unit * 2
            squares += self.squares * (self.unit / unit) ** 2
            squares += step**2 * (self.count * count / total)
            # In halves: a step from the lowest to the highest float64 overflows.
            mean = (self.mean / 2 + step * (count / total) * (unit / 2)) * 2
        self.count += count
        self.mean, self.squares, self.unit = mean, squares, unit
        self.low, self.high = low, high

    def scaler(self, scale: bool) -> Scaler:
        """The scaler of all added rows."""
        assert self.mean is not None and self.squares is not None
        assert self.low is not None and self.high is not None and self.unit is not None
        if not scale:
            zero = np.zeros_like(self.mean)
            return Scaler(zero, zero + 1.0, self.low, self.high)
        deviation = np.sqrt(self.squares / self.count) * self.unit
        return Scaler(self.mean, deviation, self.low, self.high).without_zeros()


def _unit(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """A power of two of about the size of half the range."""
    reach = np.maximum(high / 2 - low / 2, np.finfo(np.float64).tiny)
    return np.asarray(np.exp2(np.floor(np.log2(reach))))


def row_hashes(values: np.ndarray) -> np.ndarray:
    """A 64-bit hash of every row of float64 values (n, C): uint64 (n,).

    Equal rows have equal hashes, wherever they are. The mixing function is that of
    splitmix64 (Steele, Lea & Flood 2014).
    """
    bits = np.ascontiguousarray(values + 0.0).view(np.uint64)  # -0.0 is 0.0
    hashes = np.full(len(bits), 0x9E3779B97F4A7C15, np.uint64)
    for column in range(bits.shape[1]):
        hashes ^= bits[:, column]
        hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        hashes ^= hashes >> np.uint64(31)
    return hashes


def merge_equal_rows(
    values: np.ndarray, weights: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """The rows to keep, in order, and their weights.

    Rows that are equal in all values are merged into one with the sum of their weights;
    rows of weight 0 are dropped. The order is that of the hashes, so the original order
    has no effect, a repeated row is the same as one with a larger weight, and no row is
    in both the training and the validation set.

    Args:
        values: (n, C) float64, inputs and targets side by side.
        weights: (n,) or None.

    Returns:
        Positions (m,) int64, and weights (m,), None if all are equal.
    """
    hashes = row_hashes(values)
    order = np.argsort(hashes, kind="stable")
    if weights is not None:
        order = order[weights[order] > 0]
    sorted_hashes = hashes[order]
    same = np.flatnonzero(sorted_hashes[1:] == sorted_hashes[:-1])
    if not len(same):
        return order, None if weights is None else _unless_equal(weights[order])
    equal = (values[order[same]] == values[order[same + 1]]).all(axis=1)
    first = np.ones(len(order), bool)
    first[same[equal] + 1] = False
    group = np.cumsum(first) - 1
    counted = np.ones(len(order)) if weights is None else weights[order]
    return order[first], _unless_equal(np.bincount(group, counted))


def _unless_equal(weights: np.ndarray) -> np.ndarray | None:
    """The weights, None if all are equal."""
    return None if len(weights) and (weights == weights[0]).all() else weights
