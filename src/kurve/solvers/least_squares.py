"""Least squares by Levenberg and Marquardt: the core that networks and formulas share.

The cost is C(p) = |r(p)|^2 / 2 (and a ridge, if the problem has one). Near p the
residuals are about r + J d, and a step d solves

    (J^T J + mu D^2) d = -J^T r        with D the norms of J's columns (Marquardt 1963).

mu, the damping, turns the step from Gauss and Newton's (mu = 0) to a short one downhill
(mu large). It follows the gain ratio, the decrease of C over what the linear model
promised (Nielsen 1999). Where the residuals curve along d, half their second derivative
bends the step (geodesic acceleration, Transtrum & Sethna 2012), and a step that would
bend too much is refused: so the path keeps to narrow, curved valleys.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import NamedTuple, Protocol

import numpy as np

REACH = 0.1
"""Share of a step over which the curvature along it is measured."""

BENT = 0.75
"""A step is refused if twice its bend is more than this share of its length."""

MOST_DAMPING = 1e32


class Linearization(Protocol):
    """A problem near one point p.

    residuals: r(p)
    cost:      C(p)
    norms:     (P,) of J's columns
    """

    residuals: np.ndarray
    cost: float
    norms: np.ndarray

    def prepare(self, scale: np.ndarray) -> float:
        """Make ready for `step` with D = scale (P,).

        Returns:
            What is left to gain: sqrt of the share of C that a whole Gauss-Newton step
            promises to take away (the relative offset of Bates & Watts 1981).
        """

    def step(self, damping: float) -> np.ndarray:
        """d (P,) of the formula above."""

    def geodesic_correction(self, damping: float, curvature: np.ndarray) -> np.ndarray:
        """The step (P,) for `curvature` in the place of the residuals."""

    def jvp(self, step: np.ndarray) -> np.ndarray:
        """J d, like the residuals."""

    def predicted_reduction(self, step: np.ndarray) -> float:
        """Decrease of the cost that the linear model promises for d."""


class Problem(Protocol):
    """What is to be made small, of P parameters."""

    @property
    def rounding(self) -> float:
        """How long the rounding error of the residuals may be, near the last
        linearization."""

    def residuals(self, p: np.ndarray) -> np.ndarray | None:
        """r at p, or None where it is not finite."""

    def cost(self, p: np.ndarray, residuals: np.ndarray) -> float:
        """C at p."""

    def linearize(self, p: np.ndarray) -> Linearization | None:
        """The problem near p, or None where it is not finite."""

    def allows(self, p: np.ndarray) -> bool:
        """Whether r may be asked for at p."""

    def project(self, p: np.ndarray) -> np.ndarray:
        """The nearest point where it may."""


class Options(NamedTuple):
    """When to stop, and how to start.

    offset:   converged where no more is left to gain than this (`prepare`)
    step:     a step smaller than this share of the parameters is none
    decrease: nor is a decrease by less than this share of the cost
    stall:    the share of the cost by which 10 steps must change it
    damping:  of the first step
    bends:    whether steps are bent
    even:     whether all parameters are damped alike (Levenberg 1944), by the largest
              column of J at the start, or each by its own
    """

    offset: float = 1e-10
    step: float = 1e-14
    decrease: float = 1e-14
    stall: float = 0.0
    damping: float = 1e-3
    bends: bool = True
    even: bool = False


class StopReason(NamedTuple):
    """Why no further point comes."""

    converged: bool
    message: str


def descend(
    problem: Problem, start: np.ndarray, rules: Options
) -> Generator[np.ndarray, None, StopReason]:
    """Points of falling cost, `start` first, for the caller to look at between steps.

    Whoever iterates may stop at any point; what comes back in the end says why nothing
    better was found.
    """
    p, damping, factor = start, rules.damping, 2.0
    scale, costs = np.zeros_like(p), deque[float](maxlen=11)
    while True:
        here = problem.linearize(p)
        if here is None:
            return StopReason(False, "a derivative or the sum of squares is not finite")
        if not rules.even:
            scale = np.maximum(scale, here.norms)
        elif not scale.any():
            scale = np.full_like(p, here.norms.max())
        left = here.prepare(np.where(scale > 0.0, scale, 1.0))
        yield p
        if here.cost == 0.0:
            return StopReason(True, "the fit is exact")
        # What the rounding of n residuals, if it is random, does to their squares' sum.
        noise = problem.rounding * np.sqrt(2.0 * here.cost / len(here.residuals))
        noise = max(float(noise), 1e-15 * here.cost)
        if left <= rules.offset:
            return StopReason(True, "no step promises a lower cost")
        costs.append(here.cost)
        if len(costs) > 10 and max(costs) - min(costs) <= rules.stall * here.cost:
            return StopReason(True, "the cost has stopped to fall")
        while True:
            step = here.step(damping)
            size = float(np.linalg.norm(scale * step))
            trial, cost = _try(problem, here, p, step, size, damping, scale, rules)
            if cost < here.cost:
                break
            if here.predicted_reduction(step) <= noise:
                return StopReason(True, "rounding hides a lower cost")
            if size <= rules.step * float(np.linalg.norm(scale * p)):
                return StopReason(True, "rounding hides a lower cost")
            damping, factor = damping * factor, 2.0 * factor
            if damping > MOST_DAMPING:
                return StopReason(False, "no step lowers the cost")
        predicted_reduction = here.predicted_reduction(trial - p)
        gain = (
            (here.cost - cost) / predicted_reduction
            if predicted_reduction > 0.0
            else 0.0
        )
        decrease = here.cost - cost
        damping *= max(1.0 / 3.0, 1.0 - (2.0 * min(gain, 1.0) - 1.0) ** 3)
        factor = 2.0
        p = trial
        if decrease <= rules.decrease * here.cost and predicted_reduction <= (
            rules.decrease * here.cost
        ):
            if problem.linearize(p) is not None:
                yield p
            return StopReason(True, "the cost has stopped to fall")


def _try(
    problem: Problem,
    here: Linearization,
    p: np.ndarray,
    step: np.ndarray,
    size: float,
    damping: float,
    scale: np.ndarray,
    rules: Options,
) -> tuple[np.ndarray, float]:
    """Where the step leads, bent where that is allowed, and the cost there; infinite
    where it must not be taken."""
    if not np.isfinite(size):
        return p, np.inf
    if rules.bends and problem.allows(p + REACH * step):
        near = problem.residuals(p + REACH * step)
        if near is None:
            return p, np.inf
        change = (near - here.residuals) / REACH
        curvature = (2.0 / REACH) * (change - here.jvp(step))
        # Not `norm`: the bits of a long dot product depend on BLAS's threads.
        if np.sqrt(np.sum(curvature**2)) > 2.0 / REACH**2 * problem.rounding:
            geodesic_correction = 0.5 * here.geodesic_correction(damping, curvature)
            bent = float(np.linalg.norm(scale * geodesic_correction))
            if not 2.0 * bent <= BENT * size:
                return p, np.inf
            step = step + geodesic_correction
    trial = problem.project(p + step)
    residuals = problem.residuals(trial)
    return trial, np.inf if residuals is None else problem.cost(trial, residuals)
