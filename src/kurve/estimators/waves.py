"""Bayesian linear regression on sines and cosines of the inputs.

    f(x) = c + sum over k of (a_k sin(w_k x) + b_k cos(w_k x))

The frequencies w are fixed: for one column, all multiples of a fundamental frequency
whose period is longer than the range of the data; for several, random ones from the
spectral density of a Matern covariance with a smoothness and a length scale per column.
D further frequencies are so low that their sines are straight lines. The amplitudes
have a normal prior, wide for the lines, and falling with the frequency for the waves.
How fast it falls, the length scales, and the size of the waves relative to the noise
maximize the evidence, so no waves are learned from a noisy line. With this prior, the
amplitudes have a closed form, and a sine of 100 periods is as easy as one.

The result is a network: `FourierFeatures` and a `Dense` output.

Source: Rahimi & Recht 2007 (random frequencies); Solin & Sarkka 2020 (regular ones);
MacKay 1992 (evidence).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from kurve.solvers.linear import CholeskyFactor, Jacobian, cholesky

LINE = 0.01
"""Frequency of the waves that serve as straight lines, per standard deviation."""

FLAT = 1e6
"""Prior variance of lines, in units of the noise's."""

PERIOD = 1.3
"""Fundamental period for one column, relative to the range of the data."""

MAX_WAVES, MIN_ROWS = 160, 3
"""Maximum number of frequencies for one column, and minimum number of rows for each."""

RANDOM_WAVES = 128
"""Number of random frequencies, for several columns."""

SAMPLE = 2_000
"""Maximum rows for the choice of lengths and smoothness."""

LENGTHS = tuple(0.02 * 2.0**k for k in range(8))
RANDOM_LENGTHS = tuple(0.35 * 2.0**k for k in range(5))
"""Lengths that are tried first, in standard deviations of the column."""

RATIOS = (0.3, 10.0, 300.0, 1e4, 1e6, 1e8)
"""Variances of the waves that are tried first, in units of the noise's."""

ROUGH, SMOOTH = 1.5, 5.5
"""Smoothness of the covariance: how many derivatives its functions have, and a half."""

DOUBT = 4.5
"""Log odds against waves, and further ones of 1 for each length."""

ROWS_PER_LENGTH = 20
"""Minimum rows per column for a separate length scale of each column."""

SHORTEST, LONGEST = 0.01, 64.0
"""Limits of the lengths."""

FINEST = 1.2
"""Factor at which the search for lengths and ratio stops."""

ROUNDING = 1e-12
"""Smallest variance of the noise: smaller ones are float32 rounding errors."""


@dataclass(frozen=True)
class Prior:
    """Of the amplitudes.

    lengths:    per column
    ratio:      variance of all waves, in units of the noise's; 0 for lines only
    smoothness: of the covariance
    """

    lengths: tuple[float, ...]
    ratio: float
    smoothness: float


@dataclass(frozen=True)
class Sums:
    """Of weighted rows.

    gram: (P, P), its upper triangle; moments (P, T); squares (T,); rows: their weight
    """

    gram: np.ndarray
    moments: np.ndarray
    squares: np.ndarray
    rows: float

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.gram + other.gram,
            self.moments + other.moments,
            self.squares + other.squares,
            self.rows + other.rows,
        )

    def __sub__(self, other: Sums) -> Sums:
        return Sums(
            self.gram - other.gram,
            self.moments - other.moments,
            self.squares - other.squares,
            self.rows - other.rows,
        )


@dataclass(frozen=True)
class Solution:
    """Amplitudes (P, T), of lines and waves and the constant.

    noise:    (T,) its variance
    evidence: log probability of the data, up to a constant
    spread:   (P,) prior standard deviations, in units of the noise's
    factor:   of the posterior precision of the amplitudes over their spread
    """

    amplitudes: np.ndarray
    noise: np.ndarray
    evidence: float
    spread: np.ndarray
    factor: CholeskyFactor

    def covariance(self) -> np.ndarray:
        """Of the amplitudes (P, P), in units of the noise's variance."""
        size = len(self.spread)
        columns = [self.factor.solve(row) for row in np.eye(size)]
        return np.stack(columns) * self.spread * self.spread[:, None]


class Waves:
    """Frequencies for the rows of a table, and the prior of their amplitudes.

    Args:
        z: (n, D) scaled inputs.
        seed: of random frequencies.
    """

    def __init__(self, z: np.ndarray, seed: int) -> None:
        self.columns = z.shape[1]
        count = min(MAX_WAVES, max(4, len(z) // MIN_ROWS))
        if self.columns == 1:
            reach = float(np.ptp(z)) or 1.0
            self.base = 2 * np.pi / (PERIOD * reach) * np.arange(1.0, count + 1)[None]
        else:
            rng = np.random.default_rng(seed)
            count = RANDOM_WAVES
            normal = rng.standard_normal((self.columns, count))
            self.base = normal
            self.mixing = rng.standard_gamma(ROUGH + 1.0, count) / (ROUGH + 1.0)

    def frequencies(self, prior: Prior) -> np.ndarray:
        """(D, F)"""
        lines = LINE * np.eye(self.columns)
        if self.columns == 1:
            return np.hstack([lines, self.base])
        waves = self.base / np.sqrt(self.mixing) / np.array(prior.lengths)[:, None]
        return np.hstack([lines, waves])

    def features(self, z: np.ndarray, prior: Prior) -> np.ndarray:
        """Sines, cosines and 1 (n, P), float32."""
        phases = np.einsum("nd,df->nf", z.astype(np.float64), self.frequencies(prior))
        rows = np.empty((len(z), 2 * phases.shape[1] + 1), np.float32)
        rows[:, : phases.shape[1]] = np.sin(phases)
        rows[:, phases.shape[1] : -1] = np.cos(phases)
        rows[:, -1] = 1.0
        return rows

    def spread(self, prior: Prior) -> np.ndarray:
        """Prior standard deviations of the amplitudes (P,), in units of the noise's."""
        count = self.base.shape[1]
        if self.columns == 1:
            nu = prior.smoothness
            density = (1.0 + (self.base[0] * prior.lengths[0]) ** 2 / (2 * nu)) ** (
                -nu - 0.5
            )
            density /= density.sum()
        else:
            density = np.full(count, 1.0 / count)
        waves = np.sqrt(prior.ratio * density)
        lines = np.full(self.columns, np.sqrt(FLAT) / LINE)
        none = np.zeros(self.columns)
        return np.concatenate([lines, waves, none, waves, [np.sqrt(FLAT)]])


def sums(rows: np.ndarray, y: np.ndarray, weights: np.ndarray | None) -> Sums:
    """Of features (n, P) and targets (n, T)."""
    n, size = rows.shape
    roots = np.ones(n) if weights is None else np.sqrt(weights.astype(np.float64))
    jacobian = Jacobian(rows, roots, np.arange(size))
    gram = np.zeros((size, size))
    jacobian.add_gram(gram)
    targets = y.astype(np.float64) * roots[:, None]
    moments = np.stack([jacobian.vjp(np.ascontiguousarray(t)) for t in targets.T], 1)
    return Sums(gram, moments, (targets**2).sum(axis=0), float((roots**2).sum()))


def solve(total: Sums, spread: np.ndarray) -> Solution | None:
    """The most probable amplitudes."""
    scaled = total.gram * spread * spread[:, None]
    factor = cholesky(scaled, 1.0)
    if factor is None:
        return None
    right = total.moments * spread[:, None]
    inner = np.stack([factor.solve(np.ascontiguousarray(b)) for b in right.T], axis=1)
    rows = max(total.rows, 1.0)
    flat = int((spread >= np.sqrt(FLAT)).sum())
    free = max(rows - flat, 1.0)
    noise = (total.squares - (right * inner).sum(axis=0)) / free
    noise = np.maximum(noise, ROUNDING)
    evidence = -0.5 * free * float(np.log(noise).sum())
    evidence -= 0.5 * len(noise) * factor.log_determinant()
    return Solution(inner * spread[:, None], noise, evidence, spread, factor)


class Search:
    """Search for the prior that makes the data most probable.

    Args:
        waves: their frequencies.
        z, y, weights: scaled rows.
    """

    def __init__(
        self, waves: Waves, z: np.ndarray, y: np.ndarray, weights: np.ndarray | None
    ) -> None:
        self.waves, self.z, self.y, self.weights = waves, z, y, weights
        self._sums: dict[tuple[float, ...], Sums] = {}
        self._known: dict[Prior, float] = {}
        self.separate = len(z) >= ROWS_PER_LENGTH * waves.columns

    def sums(self, prior: Prior) -> Sums:
        """Those of the rows for the frequencies of a prior."""
        key = () if self.waves.columns == 1 else prior.lengths
        if key not in self._sums:
            rows = self.waves.features(self.z, prior)
            self._sums[key] = sums(rows, self.y, self.weights)
        return self._sums[key]

    def evidence(self, prior: Prior) -> float:
        """Log probability of the data, up to a constant."""
        if prior not in self._known:
            found = solve(self.sums(prior), self.waves.spread(prior))
            self._known[prior] = -np.inf if found is None else found.evidence
        return self._known[prior]

    def best(self) -> Prior:
        """The most probable prior: of a grid, then along one of its numbers at a time.
        Lines, unless waves are clearly more probable."""
        columns = self.waves.columns
        lengths = LENGTHS if columns == 1 else RANDOM_LENGTHS
        tried = [
            Prior((length,) * columns, ratio, ROUGH)
            for length in lengths
            for ratio in RATIOS
        ]
        best = max(tried, key=self.evidence)
        step = 2.0
        while step > FINEST:
            before = best
            for change in self._changes(best, step):
                best = max(best, change(best), key=self.evidence)
            if best == before:
                step = np.sqrt(step)
        # Small ratios mean lines; with few rows, so may large ones, by chance.
        lines = replace(best, ratio=0.0)
        gain = self.evidence(best) - self.evidence(lines)
        free = len(best.lengths) if self.separate else 1
        return best if gain > DOUBT + free else lines

    def _groups(self) -> list[Sequence[int]]:
        """Columns whose lengths change together."""
        columns = range(self.waves.columns)
        return [[column] for column in columns] if self.separate else [columns]

    def _changes(self, prior: Prior, step: float) -> Sequence[Callable[[Prior], Prior]]:
        def scaled(columns: Sequence[int], factor: float) -> Callable[[Prior], Prior]:
            def change(prior: Prior) -> Prior:
                lengths = list(prior.lengths)
                for column in columns:
                    length = lengths[column] * factor
                    lengths[column] = min(max(length, SHORTEST), LONGEST)
                return replace(prior, lengths=tuple(lengths))

            return change

        found: list[Callable[[Prior], Prior]] = [
            scaled(columns, factor)
            for columns in self._groups()
            for factor in (step, 1.0 / step)
        ]
        found += [partial(_with_ratio, factor) for factor in (step**2, step**-2)]
        if self.waves.columns == 1:
            found += [partial(_with_smoothness, nu) for nu in (0.5, ROUGH, SMOOTH)]
        return found


def _with_ratio(factor: float, prior: Prior) -> Prior:
    return replace(prior, ratio=prior.ratio * factor)


def _with_smoothness(smoothness: float, prior: Prior) -> Prior:
    return replace(prior, smoothness=smoothness)
