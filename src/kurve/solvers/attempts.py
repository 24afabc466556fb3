"""Attempts at a formula's parameters: one quick walk, and others where it fails."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from kurve.solvers.least_squares import Options, StopReason, descend
from kurve.solvers.restarts import best_starts, pattern
from kurve.solvers.tangents import Fit, InLogarithms, Tangent
from kurve.solvers.trust_region import LAST_CHANGE, LAST_STEP, Place, change, part, walk

ATTEMPTS = ((1e-3, False), (1e-3, True), (1.0, False), (1e3, False))
"""Damping of the first step, and whether it is one of logarithms. The next attempt is
made where one ends without a minimum, or where a parameter has no influence: a product
of powers is a curved valley that is straight in logarithms, and a timid first step may
not lead where a bold one does."""

RESCUES = 10
"""Random starts that are tried in the end where no attempt has found a minimum that
determines all parameters."""

LAST_LEFT = 5e-12
"""What may be left to gain behind the last step (see `Linearization.prepare`), wherever
parameters are."""

AGAIN = 2
"""So often the best minimum must be found again to be taken for the lowest."""

EXPLAINED, DOUBTFUL, HALF = 0.999, 0.75, 0.5
"""Shares of the data's variation. A fit that explains this much is not looked at
twice, one that does not explain half of it always is, and one between where its
residuals follow a pattern; if it then explains less than the second, there is a
warning."""


class Found(NamedTuple):
    """Where one attempt ended: parameters, whitened residuals, the linear model at
    them or one last step before."""

    p: np.ndarray
    residuals: np.ndarray
    cost: float
    tangent: Tangent
    left: float
    end: StopReason
    converged: bool
    linear: bool = False

    @property
    def determined(self) -> bool:
        """A minimum, and every parameter has influence there."""
        return self.converged and self.tangent.full_rank()


class Search:
    """The search for the best parameters.

    Args:
        fit: the problem.
        x: what f gets.
        variation: |y - mean|^2 of whitened data, what a constant leaves.
        most: calls of f in one attempt.
        seed: of random starts.
    """

    def __init__(
        self, fit: Fit, x: Any, variation: float, most: int, seed: int
    ) -> None:
        self.fit, self.x, self.variation = fit, x, variation
        self.most, self.seed = most, seed

    def explained(self, found: Found) -> float:
        """The share of the variation, R^2."""
        return 1.0 - 2.0 * found.cost / self.variation if self.variation else 1.0

    def well_determined(self, found: Found | None) -> bool:
        """Determined, and no sign of a false minimum."""
        if found is None or not found.determined:
            return False
        explained = self.explained(found)
        if found.linear or explained >= EXPLAINED:
            return True
        return explained >= HALF and not pattern(found.residuals, self.x)

    def doubtful(self, found: Found) -> bool:
        """Whether a minimum explains so little that a lower one is likely."""
        little = not found.linear and self.explained(found) < DOUBTFUL
        return little and pattern(found.residuals, self.x)

    def best(self, first: np.ndarray, starts: int) -> Found | None:
        """From so many points, p0 first; where that is not sound, by other attempts."""
        fit, points = self.fit, starts_around(self.fit, first, self.seed)
        best: Found | None = None
        for start in islice(points, starts):
            best = _better(best, _quick(fit, start, self.most))
        for damping, in_logarithms in ATTEMPTS:
            if best is not None and best.determined:
                break
            way = InLogarithms(fit, first) if in_logarithms else fit
            rules = Options(damping=damping)
            best = _better(best, _slow(fit, way, first, rules, self.most))
        if self.well_determined(best):
            return best
        again = 0
        for start in best_starts(fit, first, self.x, self.seed):
            try:
                found = _quick(fit, start, self.most)
            except Exception:  # f refuses what p0 would never have led to
                continue
            again += best is not None and found is not None and _alike(best, found)
            best = _better(best, found)
            if self.well_determined(best) or again == AGAIN:
                break
        for start in islice(points, RESCUES):
            if best is not None and best.determined:
                break
            best = _better(best, _slow(fit, fit, start, Options(), self.most))
        return best


def _better(one: Found | None, other: Found | None) -> Found | None:
    """A minimum before none, then the lower one."""
    if one is None or other is None:
        return one or other
    right = other.converged, -other.cost
    return other if right > (one.converged, -one.cost) else one


def _alike(one: Found, other: Found) -> bool:
    """Whether two attempts ended in minima of the same height."""
    both = one.determined and other.determined
    return both and abs(one.cost - other.cost) <= 1e-6 * one.cost


def _quick(fit: Fit, start: np.ndarray, most: int) -> Found | None:
    place = walk(fit, start, most)
    return None if place is None else _polished(fit, place)


def _slow(
    fit: Fit, way: Fit | InLogarithms, start: np.ndarray, rules: Options, most: int
) -> Found | None:
    last = fit.calls + most
    path, last_q = descend(way, way.enter(start), rules), None
    end = StopReason(False, f"f was called {most} times")
    while True:
        try:
            last_q = next(path)
        except StopIteration as stop:
            end = stop.value
            break
        if fit.calls > last:
            break
    if last_q is None:
        return None
    p = way.leave(last_q)
    here = fit.linearize(p)
    if here is None:
        return None
    left = here.prepare(here.norms)
    return _polished(fit, Place(p, here, left, 1.0, math.inf, False, end))


def _polished(fit: Fit, place: Place) -> Found | None:
    """Gauss-Newton's steps as long as they leave less to gain: the last digits, where
    rounding hides which cost is lower. They end where neither a further step nor
    derivatives behind it would change a digit that counts."""
    p, here, left, rate, curvature, linear, end = place
    residuals, cost = here.residuals, here.cost
    for _ in range(100 if left < 1e-2 else 0):
        step = here.newton()
        trial = fit.project(p + step)
        r = fit.residuals(trial)
        if r is None or not (now := fit.cost(trial, r)) <= cost * (1.0 + 1e-6):
            break
        moved = part(step, trial)
        settled = left * rate <= LAST_LEFT or moved * rate <= LAST_STEP
        if settled and (not moved or moved * curvature <= LAST_CHANGE):
            p, residuals, cost = trial, r, now
            break
        there = fit.linearize(trial)
        if there is None:
            break
        less = there.prepare(there.norms)
        if not less < left:
            break
        rate = less / left
        curvature = change(here.norms, there.norms) / moved if moved else math.inf
        p, here, left, residuals, cost = trial, there, less, r, now
    rounded = left * math.sqrt(2.0 * cost) <= fit.rounding
    converged = left < (1e-2 if end.converged else 1e-4) or rounded
    return Found(p, residuals, cost, here, left, end, converged, linear)


def starts_around(fit: Fit, first: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    """p0, then points between the bounds, or p0 times some power of two around 1."""
    yield first
    random = np.random.default_rng(seed)
    both = np.isfinite(fit.lower) & np.isfinite(fit.upper)
    while True:
        around = np.where(
            first != 0.0,
            first * np.exp2(2.0 * random.standard_normal(len(first))),
            random.standard_normal(len(first)),
        )
        share = random.random(len(first))
        with np.errstate(invalid="ignore"):
            between = fit.lower + share * (fit.upper - fit.lower)
        yield fit.project(np.where(both, between, around).astype(first.dtype))
