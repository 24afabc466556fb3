"""Attempts at a formula's parameters: one quick walk, and others where it fails."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import chain, islice
from typing import NamedTuple

import numpy as np

from kurve.solvers.least_squares import End, Rules, descend
from kurve.solvers.tangents import Fit, InLogarithms, Tangent
from kurve.solvers.trust_region import Place, walk

ATTEMPTS = ((1e-3, False), (1e-3, True), (1.0, False), (1e3, False))
"""Damping of the first step, and whether it is one of logarithms. The next attempt is
made where one ends without a minimum, or where a parameter has no influence: a product
of powers is a curved valley that is straight in logarithms, and a timid first step may
not lead where a bold one does."""

RESCUES = 10
"""Random starts that are tried in the end where no attempt has found a minimum that
determines all parameters."""

LAST_STEP, LAST_CHANGE = 1e-11, 1e-10
"""What may be left to gain behind the last step (see `Linearization.prepare`), and by
how much it may change derivatives."""


class Found(NamedTuple):
    """Where one attempt ended: parameters, whitened residuals, the linear model at
    them or one last step before."""

    p: np.ndarray
    residuals: np.ndarray
    cost: float
    tangent: Tangent
    left: float
    end: End
    converged: bool

    @property
    def sound(self) -> bool:
        """A minimum, and every parameter has influence there."""
        return self.converged and self.tangent.full_rank()


def best_of(
    fit: Fit, points: Iterator[np.ndarray], starts: int, most: int
) -> Found | None:
    """From the first so many points; where that is not sound, by other attempts from
    the first of them, and from further points one after the other."""
    best: Found | None = None
    first = next(points)
    for start in chain([first], islice(points, starts - 1)):
        best = _better(best, _quick(fit, start, most))
    for damping, in_logarithms in ATTEMPTS:
        if best is not None and best.sound:
            return best
        way = InLogarithms(fit, first) if in_logarithms else fit
        best = _better(best, _slow(fit, way, first, Rules(damping=damping), most))
    for start in islice(points, RESCUES):
        if best is not None and best.sound:
            return best
        best = _better(best, _slow(fit, fit, start, Rules(), most))
    return best


def _better(one: Found | None, other: Found | None) -> Found | None:
    """A minimum before none, then the lower one."""
    if one is None or other is None:
        return one or other
    right = other.converged, -other.cost
    return other if right > (one.converged, -one.cost) else one


def _quick(fit: Fit, start: np.ndarray, most: int) -> Found | None:
    place = walk(fit, start, most)
    return None if place is None else _polished(fit, place)


def _slow(
    fit: Fit, way: Fit | InLogarithms, start: np.ndarray, rules: Rules, most: int
) -> Found | None:
    last = fit.calls + most
    path, last_q = descend(way, way.enter(start), rules), None
    end = End(False, f"f was called {most} times")
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
    return _polished(fit, Place(p, here, left, 1.0, here.norms, end))


def _polished(fit: Fit, place: Place) -> Found | None:
    """Gauss-Newton's steps as long as they leave less to gain: the last digits, where
    rounding hides which cost is lower. They end where neither a further step nor
    derivatives behind it would change a digit that counts."""
    p, here, left, rate, norms, end = place
    residuals, cost = here.residuals, here.cost
    for _ in range(100 if left < 1e-2 else 0):
        trial = fit.project(p + here.newton())
        r = fit.residuals(trial)
        if r is None or not (now := fit.cost(trial, r)) <= cost * (1.0 + 1e-6):
            break
        if left * rate <= LAST_STEP and rate * _change(norms, here.norms) <= LAST_CHANGE:
            p, residuals, cost = trial, r, now
            break
        there = fit.linearize(trial)
        if there is None:
            break
        less = there.prepare(there.norms)
        if not less < left:
            break
        norms, rate = here.norms, less / left
        p, here, left, residuals, cost = trial, there, less, r, now
    rounded = left * math.sqrt(2.0 * cost) <= fit.rounding
    converged = left < (1e-2 if end.converged else 1e-4) or rounded
    return Found(p, residuals, cost, here, left, end, converged)


def _change(before: np.ndarray, now: np.ndarray) -> float:
    """The largest relative change of the Jacobian's columns."""
    pairs = zip(before.tolist(), now.tolist(), strict=True)
    return max(abs(a - b) / b if b else 1.0 for a, b in pairs)


def starts_around(
    first: np.ndarray, seed: int, lower: np.ndarray, upper: np.ndarray
) -> Iterator[np.ndarray]:
    """p0, then points between the bounds, or p0 times some power of two around 1."""
    yield first
    random = np.random.default_rng(seed)
    both = np.isfinite(lower) & np.isfinite(upper)
    while True:
        around = np.where(
            first != 0.0,
            first * np.exp2(2.0 * random.standard_normal(len(first))),
            random.standard_normal(len(first)),
        )
        share = random.random(len(first))
        with np.errstate(invalid="ignore"):
            between = lower + share * (upper - lower)
        yield np.clip(np.where(both, between, around), lower, upper)
