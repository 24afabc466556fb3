"""Attempts to fit a formula: a fast one, and fallbacks if it fails."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np

from kurve.solvers.least_squares import Options, StopReason, descend
from kurve.solvers.problems import FormulaProblem, LogProblem
from kurve.solvers.restarts import autocorrelated, best_starts
from kurve.solvers.trust_region import (
    LAST_CHANGE,
    LAST_OFFSET,
    LAST_STEP,
    Attempt,
    Endpoint,
    compiled,
    is_compiled,
    minimize,
    relative_change,
    relative_step,
)

ATTEMPTS = ((1e-3, False), (1e-3, True), (1.0, False), (1e3, False))
"""Initial damping, and whether to fit logarithms of the parameters. The next attempt is
made if one ends without a minimum, or if a parameter has no influence: a product of
powers is a curved valley that is straight in logarithms, and a cautious first step can
succeed where a bold one fails."""

LAST_STARTS = 10
"""Random starts tried last, if no attempt has found a minimum that determines all
parameters."""

CONFIRMATIONS = 2
"""How often the best minimum must be found to count as the global one."""

EXPLAINED, DOUBTFUL, HALF = 0.999, 0.75, 0.5
"""Fractions of the data's variation. A fit that explains the first is accepted, one
that does not explain half is rejected, and one in between is accepted unless its
residuals are autocorrelated; if it then explains less than the second, a warning is
issued."""


class Search:
    """The search for the best parameters.

    Args:
        problem: the problem.
        x: the x passed to f.
        variation: |y - mean|^2 of whitened data, the residual of a constant.
        max_calls: maximum calls of f per attempt.
        seed: seed of random starts.
    """

    def __init__(
        self,
        problem: FormulaProblem,
        x: Any,
        variation: float,
        max_calls: int,
        seed: int,
    ) -> None:
        self.problem, self.x, self.variation = problem, x, variation
        self.max_calls, self.seed = max_calls, seed

    def explained(self, attempt: Attempt) -> float:
        """The explained fraction of the variation, R^2."""
        return 1.0 - 2.0 * attempt.cost / self.variation if self.variation else 1.0

    def well_determined(self, attempt: Attempt | None) -> bool:
        """Whether it is determined and shows no sign of a local minimum."""
        if attempt is None or not attempt.determined:
            return False
        explained = self.explained(attempt)
        if attempt.linear or explained >= EXPLAINED:
            return True
        return explained >= HALF and not autocorrelated(attempt.residuals, self.x)

    def doubtful(self, attempt: Attempt) -> bool:
        """Whether a minimum explains so little that a lower one is likely."""
        little = not attempt.linear and self.explained(attempt) < DOUBTFUL
        return little and autocorrelated(attempt.residuals, self.x)

    def best(self, p0: np.ndarray, starts: int) -> Attempt | None:
        """The best fit from this many starts, p0 first; if it is not well determined,
        also from other attempts and starts."""
        problem, points = self.problem, starts_around(self.problem, p0, self.seed)
        best: Attempt | None = None
        for start in islice(points, starts):
            best = _better(best, fast(problem, start, self.max_calls))
        for damping, in_logarithms in ATTEMPTS:
            if best is not None and best.determined:
                break
            variant = LogProblem(problem, p0) if in_logarithms else problem
            options = Options(damping=damping)
            attempt = _robust(problem, variant, p0, options, self.max_calls)
            best = _better(best, attempt)
        if self.well_determined(best):
            return best
        confirmations = 0
        for start in best_starts(problem, p0, self.x, self.seed):
            try:
                attempt = fast(problem, start, self.max_calls)
            except Exception:  # f rejects parameters not reached from p0
                continue
            if best is not None and attempt is not None:
                confirmations += _same_minimum(best, attempt)
            best = _better(best, attempt)
            if self.well_determined(best) or confirmations == CONFIRMATIONS:
                break
        for start in islice(points, LAST_STARTS):
            if best is not None and best.determined:
                break
            attempt = _robust(problem, problem, start, Options(), self.max_calls)
            best = _better(best, attempt)
        return best


def _better(one: Attempt | None, other: Attempt | None) -> Attempt | None:
    """Prefer a minimum over none, then the lower one."""
    if one is None or other is None:
        return one or other
    rank = other.converged, -other.cost
    return other if rank > (one.converged, -one.cost) else one


def _same_minimum(one: Attempt, other: Attempt) -> bool:
    """Whether two attempts ended in minima with the same cost."""
    both = one.determined and other.determined
    return both and abs(one.cost - other.cost) <= 1e-6 * one.cost


def fast(problem: FormulaProblem, start: np.ndarray, max_calls: int) -> Attempt | None:
    """A trust region method, then `refined`, by the compiled core where it can."""
    problem.values(start)
    if is_compiled(problem, start):
        return compiled(problem, start, max_calls)
    end = minimize(problem, start, max_calls)
    return None if end is None else refined(problem, end)


def _robust(
    problem: FormulaProblem,
    variant: FormulaProblem | LogProblem,
    start: np.ndarray,
    options: Options,
    max_calls: int,
) -> Attempt | None:
    """Damped steps with geodesic acceleration, in the variables of `variant`."""
    last_call = problem.calls + max_calls
    path, q = descend(variant, variant.to_variables(start), options), None
    stop = StopReason(False, f"f was called {max_calls} times")
    while True:
        try:
            q = next(path)
        except StopIteration as end:
            stop = end.value
            break
        if problem.calls > last_call:
            break
    if q is None:
        return None
    p = variant.to_parameters(q)
    here = problem.linearize(p)
    if here is None:
        return None
    offset = here.prepare(here.norms)
    return refined(problem, Endpoint(p, here, offset, 1.0, math.inf, False, stop))


def refined(problem: FormulaProblem, end: Endpoint) -> Attempt | None:
    """Gauss-Newton steps while they reduce the relative offset: they give the last
    digits, where rounding hides which cost is lower. They end when neither another step
    nor new derivatives would change a significant digit."""
    p, here, offset, rate, curvature, linear, stop = end
    residuals, cost = here.residuals, here.cost
    for _ in range(100 if offset < 1e-2 else 0):
        step = here.newton()
        trial = problem.project(p + step)
        r = problem.residuals(trial)
        if r is None:
            break
        trial_cost = problem.cost(trial, r)
        if not trial_cost <= cost * (1.0 + 1e-6):
            break
        moved = relative_step(step, trial)
        last = offset * rate <= LAST_OFFSET or moved * rate <= LAST_STEP
        if last and (not moved or moved * curvature <= LAST_CHANGE):
            p, residuals, cost = trial, r, trial_cost
            break
        there = problem.linearize(trial)
        if there is None:
            break
        trial_offset = there.prepare(there.norms)
        if not trial_offset < offset:
            break
        rate = trial_offset / offset
        change = relative_change(here.norms, there.norms)
        curvature = change / moved if moved else math.inf
        p, here, offset, residuals, cost = trial, there, trial_offset, r, trial_cost
    return Attempt.of(p, residuals, cost, here, offset, stop, linear, problem.rounding)


def starts_around(
    problem: FormulaProblem, p0: np.ndarray, seed: int
) -> Iterator[np.ndarray]:
    """p0, then points between the bounds, or p0 times random powers of two around 1."""
    yield p0
    random = np.random.default_rng(seed)
    both = np.isfinite(problem.lower) & np.isfinite(problem.upper)
    while True:
        around = np.where(
            p0 != 0.0,
            p0 * np.exp2(2.0 * random.standard_normal(len(p0))),
            random.standard_normal(len(p0)),
        )
        fraction = random.random(len(p0))
        with np.errstate(invalid="ignore"):
            between = problem.lower + fraction * (problem.upper - problem.lower)
        yield problem.project(np.where(both, between, around).astype(p0.dtype))
