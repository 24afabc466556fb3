"""Other starts for a formula whose first fit is not sound.

Many points are drawn, and in each the parameters that f is linear in are solved for, so
that only the others have to be guessed (Golub & Pereyra 1973). Points where that leaves
little are good starts.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from kurve.solvers.linear import dot
from kurve.solvers.tangents import Fit, Tangent

LOOKS = 4
"""Points where it is looked at which parameters f is linear in."""

GROUPS, DRAWN = 8, 10
"""Of so many points each group's best is a start: the best of all would often lead to
the same minimum."""


def best_starts(fit: Fit, first: np.ndarray, x: Any, seed: int) -> list[np.ndarray]:
    """Points where f is near the data, the nearest first."""
    points = _drawn(fit, first, x, seed)
    bends, counts = np.zeros((2, len(first)), bool)
    for p in (first, *points[: LOOKS - 1]):
        _look(fit, p, bends, counts)
    linear = counts & ~bends
    points[:, linear] = first[linear]
    starts = []
    for first_of in range(0, len(points), DRAWN):
        group = []
        for point in points[first_of : first_of + DRAWN]:
            p = _solved(fit, point, linear)
            if _residuals(fit, p) is not None:
                group.append((fit.cost_at, p))
        starts += sorted(group, key=lambda pair: pair[0])[:1]
    return [p for _, p in sorted(starts, key=lambda pair: pair[0])]


def _drawn(fit: Fit, first: np.ndarray, x: Any, seed: int) -> np.ndarray:
    """Points (GROUPS * DRAWN, P) between the bounds where both are finite; else p0
    times factors of 1/9 to 9 for half of them, of either sign; some parameters as large
    as x, or as one over x. Each parameter is spread evenly over its range (McKay 1979).
    """
    random, shape = np.random.default_rng(seed), (GROUPS * DRAWN, len(first))
    ranks = random.permuted(np.tile(np.arange(shape[0]), (shape[1], 1)), axis=1).T
    share = (ranks + random.random(shape)) / max(shape[0], 1)
    size = (share / (1.0 - share)) ** 2
    size[random.random(shape) < 0.25] *= -1.0
    points = np.where(first != 0.0, first, 1.0) * size
    if isinstance(x, np.ndarray) and x.ndim == 1 and np.isfinite(x).all():
        kind, span = random.random(shape), float(np.ptp(x)) or 1.0
        points = np.where(kind < 0.2, random.choice(x, shape), points)
        points = np.where(kind > 0.8, size / span, points)
    both = np.isfinite(fit.lower) & np.isfinite(fit.upper)
    with np.errstate(invalid="ignore"):
        between = fit.lower + share * (fit.upper - fit.lower)
    return fit.project(np.where(both, between, points).astype(first.dtype))


def _residuals(fit: Fit, p: np.ndarray) -> np.ndarray | None:
    """Those at p; None too where f refuses such parameters, whatever it raises."""
    try:
        return fit.residuals(p)
    except Exception:
        return None


def _look(fit: Fit, p: np.ndarray, bends: np.ndarray, counts: np.ndarray) -> None:
    """Note for which parameters (P,) f is no straight line at p, and which count."""
    r = _residuals(fit, p)
    if r is None:
        return
    for j in range(len(p)):
        one, two = p.copy(), p.copy()
        step = abs(p[j]) or 1.0
        if p[j] + 2.0 * step > fit.upper[j]:
            step = -step
        one[j], two[j] = p[j] + step, p[j] + 2.0 * step
        r_one = _residuals(fit, one) if fit.allows(two) else None
        r_two = _residuals(fit, two) if r_one is not None else None
        if r_one is None or r_two is None:
            bends[j] = True
            continue
        size = float(np.abs(r_one).max() + np.abs(r).max())
        bends[j] |= float(np.abs(r_two - 2.0 * r_one + r).max()) > 1e-10 * size
        counts[j] |= float(np.abs(r_one - r).max()) > 1e-10 * size


def _solved(fit: Fit, p: np.ndarray, linear: np.ndarray) -> np.ndarray:
    """p with the best values of the parameters that f is linear in."""
    places = np.flatnonzero(linear)
    r = _residuals(fit, p) if len(places) else None
    if r is None:
        return p
    columns, units = np.empty((len(places) + 1, len(r))), np.ones(len(places) + 1)
    columns[-1] = r
    for row, j in enumerate(places):
        point = p.copy()
        step = abs(p[j]) or 1.0
        point[j] += step if p[j] + step <= fit.upper[j] else -step
        there = _residuals(fit, point)
        if there is None:
            return p
        np.subtract(there, r, columns[row])
        units[row] = 1.0 / (point[j] - p[j])
    here = Tangent(columns, units, 0.0)
    if not np.isfinite(here.norms).all():
        return p
    here.prepare(here.norms)
    solved = p.copy()
    solved[places] += here.newton()
    return fit.project(solved)


def pattern(residuals: np.ndarray, x: Any) -> bool:
    """Whether residuals follow each other along x, more than chance lets them: the
    correlation of neighbours (Durbin & Watson 1950)."""
    jvp = isinstance(x, np.ndarray) and x.shape == residuals.shape
    if jvp and not (x[1:] >= x[:-1]).all():
        residuals = residuals[np.argsort(x, kind="stable")]
    square, product = dot(residuals, residuals), dot(residuals[1:], residuals[:-1])
    if not square:
        return False
    return product / square > 2.5 / math.sqrt(len(residuals))
