"""Least squares by Levenberg and Marquardt: the core shared by networks and formulas.

The cost is C(p) = |r(p)|^2 / 2 (plus a ridge, if the problem has one). Near p the
residuals are about r + J d, and a step d solves

    (J^T J + mu D^2) d = -J^T r        with D the norms of J's columns (Marquardt 1963).

The damping mu interpolates between the Gauss-Newton step (mu = 0) and a short step down
the gradient (large mu). It is controlled by the gain ratio, the decrease of C divided
by the reduction predicted by the linear model (Nielsen 1999). Where the residuals curve
along d, half their second derivative corrects the step (geodesic acceleration,
Transtrum & Sethna 2012), and a step with too large a correction is rejected, so the
path stays in narrow, curved valleys.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import NamedTuple, Protocol

import numpy as np

PROBE = 0.1
"""Fraction of a step over which the curvature along it is measured."""

MAX_ACCELERATION = 0.75
"""A step is rejected if twice its geodesic correction is longer than this fraction of
it."""

MAX_DAMPING = 1e32


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
        """Prepare for `step` with D = scale (P,).

        Returns:
            The relative offset of Bates & Watts 1981: the square root of the fraction
            of C that a full Gauss-Newton step is predicted to remove.
        """

    def step(self, damping: float) -> np.ndarray:
        """d (P,) of the formula above."""

    def geodesic_correction(self, damping: float, curvature: np.ndarray) -> np.ndarray:
        """The step (P,) with `curvature` in place of the residuals."""

    def jvp(self, step: np.ndarray) -> np.ndarray:
        """J d, of the shape of the residuals."""

    def predicted_reduction(self, step: np.ndarray) -> float:
        """Decrease of the cost that the linear model predicts for d."""


class Problem(Protocol):
    """The function of P parameters to minimize."""

    @property
    def rounding(self) -> float:
        """How long the rounding error of the residuals may be, near the last
        linearization."""

    def residuals(self, p: np.ndarray) -> np.ndarray | None:
        """r at p, or None if it is not finite."""

    def cost(self, p: np.ndarray, residuals: np.ndarray) -> float:
        """C at p."""

    def linearize(self, p: np.ndarray) -> Linearization | None:
        """The problem near p, or None if it is not finite."""

    def allows(self, p: np.ndarray) -> bool:
        """Whether p lies within the bounds, where r can be evaluated."""

    def project(self, p: np.ndarray) -> np.ndarray:
        """The nearest point within the bounds."""


class Options(NamedTuple):
    """When to stop, and how to start.

    offset:     converged at a relative offset (`prepare`) of at most this
    step:       smallest step, as a fraction of the parameters
    decrease:   smallest decrease of a step, as a fraction of the cost
    stall:      fraction of the cost by which 10 steps must change it
    damping:    damping of the first step
    accelerate: whether to apply geodesic corrections
    uniform:    whether to damp all parameters alike (Levenberg 1944), by the largest
                column of J at the start, instead of each by its own column
    """

    offset: float = 1e-10
    step: float = 1e-14
    decrease: float = 1e-14
    stall: float = 0.0
    damping: float = 1e-3
    accelerate: bool = True
    uniform: bool = False


class StopReason(NamedTuple):
    """Why a solver stopped."""

    converged: bool
    message: str


ROUNDING = StopReason(True, "rounding errors hide any further decrease")


def descend(
    problem: Problem, start: np.ndarray, options: Options
) -> Generator[np.ndarray, None, StopReason]:
    """Yield points of falling cost, `start` first, so that the caller can inspect them
    between steps and stop at any; return why there is no further point."""
    p, damping, factor = start, options.damping, 2.0
    scale, costs = np.zeros_like(p), deque[float](maxlen=11)
    while True:
        here = problem.linearize(p)
        if here is None:
            return StopReason(False, "a derivative or the sum of squares is not finite")
        if not options.uniform:
            scale = np.maximum(scale, here.norms)
        elif not scale.any():
            scale = np.full_like(p, here.norms.max())
        offset = here.prepare(np.where(scale > 0.0, scale, 1.0))
        yield p
        if here.cost == 0.0:
            return StopReason(True, "the fit is exact")
        # The effect of random rounding errors of n residuals on their sum of squares.
        noise = problem.rounding * np.sqrt(2.0 * here.cost / len(here.residuals))
        noise = max(float(noise), 1e-15 * here.cost)
        if offset <= options.offset:
            return StopReason(True, "no step is predicted to reduce the cost")
        costs.append(here.cost)
        if len(costs) > 10 and max(costs) - min(costs) <= options.stall * here.cost:
            return StopReason(True, "the cost has stopped falling")
        while True:
            step = here.step(damping)
            size = float(np.linalg.norm(scale * step))
            trial, cost = _try(problem, here, p, step, size, damping, scale, options)
            if cost < here.cost:
                break
            if here.predicted_reduction(step) <= noise:
                return ROUNDING
            if size <= options.step * float(np.linalg.norm(scale * p)):
                return ROUNDING
            damping, factor = damping * factor, 2.0 * factor
            if damping > MAX_DAMPING:
                return StopReason(False, "no step lowers the cost")
        predicted = here.predicted_reduction(trial - p)
        decrease = here.cost - cost
        gain = decrease / predicted if predicted > 0.0 else 0.0
        # Nielsen 1999, section 3.
        damping *= max(1.0 / 3.0, 1.0 - (2.0 * min(gain, 1.0) - 1.0) ** 3)
        factor = 2.0
        p = trial
        smallest = options.decrease * here.cost
        if decrease <= smallest and predicted <= smallest:
            if problem.linearize(p) is not None:
                yield p
            return StopReason(True, "the cost has stopped falling")


def _try(
    problem: Problem,
    here: Linearization,
    p: np.ndarray,
    step: np.ndarray,
    size: float,
    damping: float,
    scale: np.ndarray,
    options: Options,
) -> tuple[np.ndarray, float]:
    """The end of the step, with its correction if enabled, and the cost there; infinite
    if the step is rejected.

    Source: Transtrum & Sethna 2012, section 3: with the second derivative
    k = (2 / h) ((r(p + h d) - r(p)) / h - J d), the correction solves the equation of
    the step with k / 2 in place of r.
    """
    if not np.isfinite(size):
        return p, np.inf
    if options.accelerate and problem.allows(p + PROBE * step):
        near = problem.residuals(p + PROBE * step)
        if near is None:
            return p, np.inf
        change = (near - here.residuals) / PROBE
        curvature = (2.0 / PROBE) * (change - here.jvp(step))
        # Not `norm`: the bits of a long dot product depend on BLAS threads.
        if np.sqrt(np.sum(curvature**2)) > 2.0 / PROBE**2 * problem.rounding:
            correction = 0.5 * here.geodesic_correction(damping, curvature)
            length = float(np.linalg.norm(scale * correction))
            if not 2.0 * length <= MAX_ACCELERATION * size:
                return p, np.inf
            step = step + correction
    trial = problem.project(p + step)
    residuals = problem.residuals(trial)
    return trial, np.inf if residuals is None else problem.cost(trial, residuals)
