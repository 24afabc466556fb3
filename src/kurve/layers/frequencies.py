"""Finding the frequencies in data: a greedy search, then least squares.

    y(x) = c + d . x + sum over k of a_k sin(w_k . x) + b_k cos(w_k . x)

The frequencies w_k are found one at a time, each at the highest peak of the periodogram
of the residuals of the previous ones, and after each one all are refined jointly. The
refinement matters: a wave with a frequency error e is out of phase with the data
after a distance of pi / e, so the resolution of a periodogram is too coarse to
extrapolate.

Finally, waves that are integer multiples of a slower one, within the precision of the
data, are made exact multiples.

Samples can be unevenly spaced; c and d keep a trend from passing for a long period.
Source: Lomb 1976 and Scargle 1982 for the periodogram of uneven samples; Golub &
Pereyra 1973 and Kaufman 1975 (variable projection) for the refinement.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from kurve.core import rng

ROWS = 2**13
"""Beyond this many rows, a random subset is used."""

LOWEST = 0.5
"""Cycles over the data below which a wave cannot be distinguished from a trend."""

PER_CYCLE = (4, 2)
"""Periodogram points per cycle, along one feature and along each of two."""

CELLS = 8
"""Minimum number of grid cells in the shortest period."""

PAIR_CYCLES = 16
"""Maximum cycles along each of two features, for oblique waves."""

PAIRED_FEATURES = 12
"""With more features than this, pairs are not searched."""

PEAKS = 3
"""Number of periodogram peaks that are compared exactly."""

CHANCE = 1e-3
"""Probability that pure noise passes for a frequency."""

FURTHER = 4
"""Extra frequencies to find beyond the requested ones, because remaining structure,
such as a wave's harmonics, would bias them."""

NEAR = 0.15
"""A wave within this many cycles over the data of a multiple of another one is tried as
its harmonic."""

COST = 10.0
"""A harmonic may increase the squared error by at most this many residual variances per
feature, which happens by chance once in a thousand times."""

ROUNDS = 30
"""Maximum refinement steps; about 5 are needed."""


def find_frequencies(x: np.ndarray, y: np.ndarray, count: int) -> np.ndarray:
    """The strongest frequencies of y(x), in radians per unit of x: (I, F) with F <=
    count, as many as stand out from the residuals.

    Searches for waves along one or two features, with at most half as many cycles along
    each as it has distinct values.

    Args:
        x: (n, I) float64, finite.
        y: (n, T) float64, finite; targets with common frequencies.
    """
    if len(x) > ROWS:
        chosen = rng.permutation(0, 0, len(x))[:ROWS]
        x, y = x[chosen], y[chosen]
    low, span, std = x.min(axis=0), np.ptp(x, axis=0), y.std(axis=0)
    moving, varying = span > 0.0, std > 0.0
    u = (x - low)[:, moving] / span[moving] - 0.5
    v = (y - y.mean(axis=0))[:, varying] / std[varying]
    waves = np.zeros((u.shape[1], 0))
    if u.size and v.size:
        waves = _search(u, v, count + FURTHER)[:, :count]
    frequencies = np.zeros((x.shape[1], waves.shape[1]))
    frequencies[moving] = waves / span[moving, None]
    return frequencies


@dataclass(frozen=True)
class _Group:
    """Features along which a wave can run, and the maximum cycles along each."""

    features: tuple[int, ...]
    cycles: tuple[float, ...]


def _groups(u: np.ndarray) -> list[_Group]:
    cycles = [(len(np.unique(column)) - 1) / 2 for column in u.T]
    usable = [j for j, most in enumerate(cycles) if most > LOWEST]
    groups = [_Group((j,), (cycles[j],)) for j in usable]
    if len(usable) <= PAIRED_FEATURES:
        short = [min(most, PAIR_CYCLES) for most in cycles]
        pairs = combinations(usable, 2)
        groups += [_Group(pair, (short[pair[0]], short[pair[1]])) for pair in pairs]
    return groups


def _search(u: np.ndarray, v: np.ndarray, count: int) -> np.ndarray:
    """`find_frequencies` for features in [-1/2, 1/2] and targets of variance 1."""
    groups = _groups(u)
    tried = sum(4.0 * math.prod(group.cycles) for group in groups)
    waves = np.zeros((u.shape[1], 0))
    residuals = _fit(u, v, waves)[1]
    while waves.shape[1] < count and (residuals**2).sum() > 1e-10 * v.size:
        candidate = _strongest(u, residuals, waves, groups)
        if candidate is None:
            break
        more = np.column_stack([waves, candidate])
        more = _refined(u, v, more, np.eye(more.shape[1]))
        reduced = _fit(u, v, more)[1]
        before, after = (residuals**2).sum(), (reduced**2).sum()
        if not _stands_out(before, after, _freedom(u, v, more), v.shape[1], tried):
            break
        waves, residuals = more, reduced
    return _tied(u, v, waves)


def _freedom(u: np.ndarray, v: np.ndarray, waves: np.ndarray) -> int:
    """Degrees of freedom of the residuals."""
    return v.size - v.shape[1] * (1 + u.shape[1] + 2 * waves.shape[1]) - waves.size


def _tied(u: np.ndarray, v: np.ndarray, waves: np.ndarray) -> np.ndarray:
    """The waves, made integer multiples of slower ones if the data allow it: together,
    all harmonics determine a period better than each does alone."""
    base, multiples = waves, np.eye(waves.shape[1])
    error = float((_fit(u, v, waves)[1] ** 2).sum())
    variance = error / max(_freedom(u, v, waves), 1)
    order = np.argsort((waves**2).sum(axis=0))
    for place, fast in enumerate(order):
        for slow in order[:place]:
            if not multiples[slow, slow]:
                continue  # is a multiple itself
            times = np.rint(base[:, fast] @ base[:, slow] / (base[:, slow] ** 2).sum())
            distance = np.linalg.norm(base[:, fast] - times * base[:, slow])
            if abs(times) < 2 or distance > 2.0 * math.pi * NEAR:
                continue
            tried = multiples.copy()
            tried[:, fast] = times * multiples[:, slow]
            moved = _refined(u, v, base, tried)
            there = float((_fit(u, v, moved @ tried)[1] ** 2).sum())
            if there - error <= COST * u.shape[1] * variance:
                base, multiples, error = moved, tried, there
                break
    return base @ multiples


def _stands_out(
    before: float, after: float, freedom: int, targets: int, tried: float
) -> bool:
    """Whether the best of `tried` frequencies explains more than chance would.

    In white noise, what a frequency explains is chi-squared with m = 2 T degrees of
    freedom, in units of the noise's variance; P(chi2 > z) <= (e z / m)^(m/2) e^(-z/2)
    (Chernoff 1952), times `tried` for the best of so many.
    """
    if freedom < 1 or after >= before:
        return False
    z, m = (before - after) * freedom / max(after, 1e-30 * before), 2 * targets
    log_chance = math.log(tried) + 0.5 * m * (1.0 + math.log(z / m)) - 0.5 * z
    return z > m and log_chance < math.log(CHANCE)


def _strongest(
    u: np.ndarray, residuals: np.ndarray, waves: np.ndarray, groups: list[_Group]
) -> np.ndarray | None:
    """The frequency (I,) that explains most of the residuals, up to the resolution of
    the grid."""
    basis = _basis(u, waves)
    best, most = None, 0.0
    for group in groups:
        for cycles in _peaks(u[:, group.features], residuals, group):
            wave = np.zeros((u.shape[1], 1))
            wave[list(group.features), 0] = 2.0 * math.pi * cycles
            pair = _basis(u, wave)[:, -2:]
            pair -= basis @ _solution(basis, pair)
            if np.linalg.eigvalsh(pair.T @ pair)[0] < 1e-6 * len(u):
                continue  # too close to one found before
            explained = float(((pair.T @ residuals) * _solution(pair, residuals)).sum())
            if explained > most:
                best, most = wave[:, 0], explained
    return best


def _peaks(u: np.ndarray, residuals: np.ndarray, group: _Group) -> Iterator[np.ndarray]:
    """The highest peaks of the periodogram of residuals (n, T) over one or two
    features, as cycles along each. For the FFT, samples are put on a grid whose cells
    are narrow compared to a period."""
    cells = [2 ** math.ceil(math.log2(CELLS * most)) for most in group.cycles]
    per_cycle = PER_CYCLE[len(cells) - 1]
    place = [
        np.minimum(((column + 0.5) * size).astype(np.int64), size - 1)
        for column, size in zip(u.T, cells, strict=True)
    ]
    flat = np.ravel_multi_index(place, cells)
    padded = [per_cycle * size for size in cells]
    power = np.zeros(1)
    for target in residuals.T:
        grid = np.bincount(flat, target, minlength=math.prod(cells)).reshape(cells)
        power = power + np.abs(np.fft.rfftn(grid, padded, axes=range(len(cells)))) ** 2
    steps = [np.fft.fftfreq(size, 1.0 / size) / per_cycle for size in padded[:-1]]
    steps.append(np.arange(power.shape[-1]) / per_cycle)
    along = np.meshgrid(*steps, indexing="ij", sparse=True)
    beyond = [abs(a) > most for a, most in zip(along, group.cycles, strict=True)]
    power[np.broadcast_to(sum(beyond) > 0, power.shape)] = 0.0
    power[sum(a**2 for a in along) < LOWEST**2] = 0.0
    for _ in range(PEAKS):
        at = np.unravel_index(int(power.argmax()), power.shape)
        if not power[at] > 0.0:
            return
        here = np.array([axis[i] for axis, i in zip(steps, at, strict=True)])
        yield here
        near = [abs(a - b) <= 1.0 for a, b in zip(along, here, strict=True)]
        power[np.broadcast_to(sum(near) == len(near), power.shape)] = 0.0


def _basis(u: np.ndarray, waves: np.ndarray) -> np.ndarray:
    """1, u, the sines and the cosines: (n, 1 + I + 2 K)."""
    phase = u @ waves
    return np.column_stack([np.ones(len(u)), u, np.sin(phase), np.cos(phase)])


def _fit(
    u: np.ndarray, v: np.ndarray, waves: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Least-squares coefficients of the basis, and the residuals."""
    basis = _basis(u, waves)
    coefficients = _solution(basis, v)
    return coefficients, v - basis @ coefficients


def _solution(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """argmin |a s - b|^2 by the normal equations: a has many rows and few columns,
    sines of different frequencies, which are far from linearly dependent."""
    return np.linalg.lstsq(a.T @ a, a.T @ b, rcond=1e-13)[0]


def _refined(
    u: np.ndarray, v: np.ndarray, base: np.ndarray, multiples: np.ndarray
) -> np.ndarray:
    """The nearby base (I, K) whose waves base @ multiples minimize the residuals.

    Gauss-Newton on the frequencies alone, with least-squares coefficients at every
    point: the derivatives of the residuals are projected out of the basis (Kaufman's
    approximation of variable projection). A step that is too long is halved repeatedly.
    """
    start, count = base, base.shape[1]
    coefficients, residuals = _fit(u, v, base @ multiples)
    error = float((residuals**2).sum())
    for _ in range(ROUNDS):
        basis = _basis(u, base @ multiples)
        sines, cosines = basis[:, -2 * count : -count], basis[:, -count:]
        a, b = coefficients[-2 * count : -count], coefficients[-count:]
        # Derivatives of the prediction wrt each phase (n, T, K), then wrt the base
        # (n, T, I, K).
        by_phase = cosines[:, None, :] * a.T - sines[:, None, :] * b.T
        by_phase = by_phase @ multiples.T
        jacobian = by_phase[:, :, None, :] * u[:, None, :, None]
        jacobian = jacobian.reshape(len(u), -1)
        jacobian -= basis @ _solution(basis, jacobian)
        jacobian = jacobian.reshape(residuals.size, base.size)
        step = _solution(jacobian, residuals.ravel())
        for halvings in range(8):
            tried = base + step.reshape(base.shape) / 2**halvings
            new_coefficients, new_residuals = _fit(u, v, tried @ multiples)
            new_error = float((new_residuals**2).sum())
            if new_error < error:
                break
        else:
            break
        gain = error - new_error
        base, coefficients, residuals = tried, new_coefficients, new_residuals
        error = new_error
        if gain <= 1e-10 * error:
            break
    slowest = np.linalg.norm(base @ multiples, axis=0).min() / (2.0 * math.pi)
    return base if slowest > 0.5 * LOWEST else start
