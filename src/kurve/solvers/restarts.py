"""Starting points for a formula whose first fit is not well determined.

Many points are drawn, and at each of them f is solved for the parameters in which it is
linear, so that only the others are guesses (variable projection, Golub & Pereyra 1973).
The points with the lowest cost are good starts.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from kurve.solvers.linear import dot
from kurve.solvers.problems import FormulaProblem, QRLinearization

LINEARITY_POINTS = 4
"""Points at which f is tested for linearity in each parameter."""

GROUPS, GROUP_SIZE = 8, 10
"""The best point of each group is a start: the best of all would often lead to the same
minimum."""


def best_starts(
    problem: FormulaProblem, p0: np.ndarray, x: Any, seed: int
) -> list[np.ndarray]:
    """Points at which f is close to the data, closest first."""
    points = _drawn(problem, p0, x, seed)
    nonlinear, influential = np.zeros((2, len(p0)), bool)
    for p in (p0, *points[: LINEARITY_POINTS - 1]):
        _test_linearity(problem, p, nonlinear, influential)
    linear = influential & ~nonlinear
    points[:, linear] = p0[linear]
    starts = []
    for first in range(0, len(points), GROUP_SIZE):
        group = []
        for point in points[first : first + GROUP_SIZE]:
            p = _solved(problem, point, linear)
            if _residuals(problem, p) is not None:
                group.append((problem.cached_cost, p))
        starts += sorted(group, key=lambda pair: pair[0])[:1]
    return [p for _, p in sorted(starts, key=lambda pair: pair[0])]


def _drawn(problem: FormulaProblem, p0: np.ndarray, x: Any, seed: int) -> np.ndarray:
    """Points (GROUPS * GROUP_SIZE, P) within the bounds if both are finite; otherwise,
    half of them are p0 times factors of 1/9 to 9, of either sign, and some parameters
    have the size of x, or of 1 / x. Latin hypercube sampling spreads each parameter
    evenly over its range (McKay 1979)."""
    random, shape = np.random.default_rng(seed), (GROUPS * GROUP_SIZE, len(p0))
    ranks = random.permuted(np.tile(np.arange(shape[0]), (shape[1], 1)), axis=1).T
    fraction = (ranks + random.random(shape)) / max(shape[0], 1)
    size = (fraction / (1.0 - fraction)) ** 2
    size[random.random(shape) < 0.25] *= -1.0
    points = np.where(p0 != 0.0, p0, 1.0) * size
    if isinstance(x, np.ndarray) and x.ndim == 1 and np.isfinite(x).all():
        kind, span = random.random(shape), float(np.ptp(x)) or 1.0
        points = np.where(kind < 0.2, random.choice(x, shape), points)
        points = np.where(kind > 0.8, size / span, points)
    both = np.isfinite(problem.lower) & np.isfinite(problem.upper)
    with np.errstate(invalid="ignore"):
        between = problem.lower + fraction * (problem.upper - problem.lower)
    return problem.project(np.where(both, between, points).astype(p0.dtype))


def _residuals(problem: FormulaProblem, p: np.ndarray) -> np.ndarray | None:
    """Residuals at p; None also if f rejects these parameters with an exception."""
    try:
        return problem.residuals(p)
    except Exception:
        return None


def _test_linearity(
    problem: FormulaProblem,
    p: np.ndarray,
    nonlinear: np.ndarray,
    influential: np.ndarray,
) -> None:
    """Mark the parameters (P,) in which f is not linear at p, and those that change f
    at all."""
    r = _residuals(problem, p)
    if r is None:
        return
    for j in range(len(p)):
        one, two = p.copy(), p.copy()
        step = abs(p[j]) or 1.0
        if p[j] + 2.0 * step > problem.upper[j]:
            step = -step
        one[j], two[j] = p[j] + step, p[j] + 2.0 * step
        r_one = _residuals(problem, one) if problem.allows(two) else None
        r_two = _residuals(problem, two) if r_one is not None else None
        if r_one is None or r_two is None:
            nonlinear[j] = True
            continue
        size = float(np.abs(r_one).max() + np.abs(r).max())
        nonlinear[j] |= float(np.abs(r_two - 2.0 * r_one + r).max()) > 1e-10 * size
        influential[j] |= float(np.abs(r_one - r).max()) > 1e-10 * size


def _solved(problem: FormulaProblem, p: np.ndarray, linear: np.ndarray) -> np.ndarray:
    """p with the best values of the parameters in which f is linear."""
    places = np.flatnonzero(linear)
    r = _residuals(problem, p) if len(places) else None
    if r is None:
        return p
    columns = np.empty((len(places) + 1, len(r)))
    multipliers = np.ones(len(places) + 1)
    columns[-1] = r
    for row, j in enumerate(places):
        point = p.copy()
        step = abs(p[j]) or 1.0
        point[j] += step if p[j] + step <= problem.upper[j] else -step
        there = _residuals(problem, point)
        if there is None:
            return p
        np.subtract(there, r, columns[row])
        multipliers[row] = 1.0 / (point[j] - p[j])
    here = QRLinearization(columns, multipliers, 0.0)
    if not np.isfinite(here.norms).all():
        return p
    here.prepare(here.norms)
    solved = p.copy()
    solved[places] += here.newton()
    return problem.project(solved)


def autocorrelated(residuals: np.ndarray, x: Any) -> bool:
    """Whether adjacent residuals along x are correlated beyond chance (Durbin & Watson
    1950)."""
    along_x = isinstance(x, np.ndarray) and x.shape == residuals.shape
    if along_x and not (x[1:] >= x[:-1]).all():
        residuals = residuals[np.argsort(x, kind="stable")]
    squares, products = dot(residuals, residuals), dot(residuals[1:], residuals[:-1])
    if not squares:
        return False
    return products / squares > 2.5 / math.sqrt(len(residuals))
