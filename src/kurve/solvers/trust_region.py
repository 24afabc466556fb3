"""Least squares by Levenberg and Marquardt's method as Moré (1978) made it: of all
steps d with |D d| at most the radius of the region that the linear model is trusted in,
the best one. The radius follows the gain ratio, what a step brings over what it
promised. It begins large, so that a problem that is linear is solved by one step.

This is the quick way for formulas: rough derivatives lead it until few steps are left.
`kurve.solvers.least_squares` has the slow one, which keeps to curved valleys.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from kurve.solvers import linear
from kurve.solvers.derivatives import CENTRAL, FORWARD, Derivatives, Digits
from kurve.solvers.least_squares import StopReason
from kurve.solvers.tangents import Fit, Tangent, unchanged

FIRST_RADIUS = 100.0
"""Of the first region, as a multiple of |D p|."""

ROUGH = 1e-7
"""What is left to gain (see `Linearization.prepare`) before the last step with rough
derivatives at the latest: forward differences, which have half the digits."""

LAST_STEP, LAST_CHANGE = 1e-11, 2e-11
"""Which part of any parameter, and of J's norms, may change behind the last step."""

NEAR = 1e-5
"""What is left where costs are too near to each other to be compared."""

MOST_STEPS = 100


class Place(NamedTuple):
    """Where a walk ended: a point, the linear model there, what is left to gain, what
    part that is of what was left one step before, how much the next step will change
    the norms of J's columns, and whether J was the same all the way."""

    p: np.ndarray
    tangent: Tangent
    left: float
    rate: float
    curvature: float
    linear: bool
    end: StopReason


def change(before: np.ndarray, now: np.ndarray) -> float:
    """The largest relative change of the norms of J's columns."""
    pairs = zip(before.tolist(), now.tolist(), strict=True)
    return max(abs(a - b) / b if b else 1.0 for a, b in pairs)


def part(step: np.ndarray, p: np.ndarray) -> float:
    """The largest part of a parameter that a step to p changes."""
    pairs = zip(step.tolist(), p.tolist(), strict=True)
    parts = (abs(d / at) if at else math.inf for d, at in pairs if d)
    return max(parts, default=0.0)


def walk(fit: Fit, start: np.ndarray, most: int) -> Place | None:
    """From `start` downhill, with at most about `most` calls of f.

    Returns:
        None where f is not finite at the start, or cannot be differentiated.
    """
    rough = isinstance(fit.derivatives, Derivatives)
    plain = start.dtype == fit.values(start).dtype == fit.y.dtype == np.float64
    if linear.COMPILED and plain and rough and not fit.bounded:
        return _compiled(fit, start, most)
    last = fit.calls + most
    digits = Digits.HALF if rough else Digits.ALL
    first = fit.linearize(start, digits)
    if first is None:
        return None
    p, here, scale, norms = start, first, first.norms, first.norms
    length = float(np.linalg.norm(scale * p))
    radius, before = FIRST_RADIUS * (length or 1.0), 0.0
    rate, curvature, moved, digits_before = 1.0, math.inf, 0.0, digits

    def ended(converged: bool, message: str) -> Place:
        here.prepare(here.norms)
        same = here.cost < first.cost and change(first.norms, here.norms) < 1e-5
        return Place(
            p,
            here,
            left,
            rate,
            curvature,
            same,
            StopReason(converged, message),
        )

    for count in range(MOST_STEPS):
        left = here.prepare(scale)
        rates = min(left / before, 1.0) if before else 1.0, rate
        curvatures = (
            change(norms, here.norms) / moved if moved else math.inf,
            curvature,
        )
        # Behind rough derivatives what is left, and the change of J, are mostly their
        # error: the steps before tell more.
        same, digits_before = digits is digits_before, digits
        rate = rates[0] if same or digits is Digits.MOST else min(rates)
        curvature = curvatures[0] if same else min(curvatures)
        if left <= NEAR and digits is Digits.ALL:
            return ended(True, "no step promises a lower cost")
        done = hidden = False
        while not done:
            step, size, predicted_reduction, damping = here.turned.within(radius)
            trial = fit.project(p + step)
            if fit.bounded:
                predicted_reduction = here.predicted_reduction(trial - p)
            residuals = fit.residuals(trial)
            cost = math.inf if residuals is None else fit.cost(trial, residuals)
            gained = here.cost - cost
            ratio = gained / predicted_reduction if predicted_reduction > 0.0 else -1.0
            if not count:
                radius = min(radius, size)
            if ratio <= 0.25:
                radius = min(radius, 10.0 * size) * _shrink(
                    here, gained, predicted_reduction
                )
            elif ratio >= 0.75 or not damping:
                radius = 2.0 * size
            if fit.calls > last:
                return ended(False, f"f was called {most} times")
            if ratio >= 1e-4:
                break
            noise = _noise(fit, here)
            hidden = predicted_reduction <= noise
            if hidden and -gained <= noise and digits is not Digits.ALL:
                break
            done = hidden or radius <= 1e-15 * float(np.linalg.norm(scale * p))
        if done and digits is Digits.ALL:
            return ended(True, "rounding hides a lower cost")
        # What was promised and not kept is about what is left.
        expected = predicted_reduction * abs(1.0 - ratio)
        moved = 0.0 if done else part(step, trial)
        after = moved * rate**2  # of the step after the next
        straight = rate == 1.0 and expected <= NEAR**2 * here.cost
        soon = hidden or left <= ROUGH or moved * rate * curvature <= LAST_CHANGE
        if done or straight or (digits is Digits.MOST and soon):
            digits = Digits.ALL
        elif digits is Digits.HALF and (
            hidden
            or left <= ROUGH
            or (after * rate <= LAST_STEP and after * curvature <= LAST_CHANGE)
        ):
            digits = Digits.MOST
        # A step that was cut short does not say how fast steps converge.
        before = 0.0 if done or damping else left
        if not before:
            rate, curvature = 1.0, math.inf
        trial = p if done else trial
        there = fit.linearize(trial, digits)
        if there is None:
            return ended(False, "a derivative is not finite")
        p, norms, here = trial, here.norms, there
        scale = np.maximum(scale, here.norms)
    left, rate = here.prepare(scale), 1.0
    return ended(False, f"{MOST_STEPS} steps found none")


ENDS = (
    StopReason(True, "no step promises a lower cost"),
    StopReason(True, "rounding hides a lower cost"),
    StopReason(False, "f was called {} times"),
    StopReason(False, "a derivative is not finite"),
    StopReason(False, f"{MOST_STEPS} steps found none"),
)


def _compiled(fit: Fit, start: np.ndarray, most: int) -> Place | None:
    """The same without bounds in float64, where the core is there."""
    p, (count, n) = start.copy(), (len(start), len(fit.y))
    columns, units = np.empty((count + 1, n)), np.empty(count + 1)
    whole, norms = np.zeros((count + 1, count + 1)), np.empty(count + 1)
    turned = linear.Turned(None, np.empty(count), linear.EPS * max(columns.shape))
    formula, whiten, derivatives = fit.formula, fit.whiten, fit.derivatives
    assert isinstance(derivatives, Derivatives)
    jacobian = columns[:-1]
    point, shares = start.copy(), np.empty(count)

    def residuals(values: Any) -> np.ndarray:
        return np.asarray(whiten(formula.vector(values) - fit.y), np.float64)

    def rows(values: Any) -> None:
        derivatives.shares = shares.tolist()
        at_point = formula(point) if values is None else formula.vector(values)
        if whiten is unchanged:
            made = derivatives.rows(point, at_point, jacobian, units=units[:-1])
        else:
            made = derivatives.rows(point, at_point, jacobian)
            jacobian[:] = whiten(jacobian)
        if isinstance(made, np.ndarray):  # differences
            np.multiply(jacobian, made[:, None], jacobian)

    columns[-1] = fit.r_at
    end, left, rate, curvature, is_linear, made = linear.walk(
        formula.f,
        formula.x,
        fit.y if whiten is unchanged else None,
        np.ndarray,
        residuals,
        rows,
        point,
        shares,
        p,
        columns,
        units,
        whole,
        norms,
        turned.scale,
        turned.s,
        turned.u_r,
        turned.vt,
        fit.size,
        FORWARD,
        CENTRAL,
        FIRST_RADIUS,
        ROUGH,
        NEAR,
        LAST_STEP,
        LAST_CHANGE,
        MOST_STEPS,
        most,
    )
    fit.calls += made
    if not end:
        return None
    here = fit.tangent(p, columns, units, (whole, norms), turned)
    if not math.isfinite(sum(fit.terms)):
        left = math.inf  # nothing is known there
    why = ENDS[end - 1]
    if not why.converged:
        why = StopReason(False, why.message.format(most))
    return Place(p, here, left, rate, curvature, is_linear, why)


def _shrink(here: Tangent, gained: float, predicted_reduction: float) -> float:
    """By what the radius is multiplied: where the parabola through both costs and the
    slope has its minimum, within limits."""
    if gained >= 0.0:
        return 0.5
    slope = -predicted_reduction  # half of it, for an undamped step
    if not math.isfinite(gained) or gained < -99.0 * here.cost:
        return 0.1
    return max(0.1, 0.5 * slope / (slope + 0.5 * gained))


def _noise(fit: Fit, here: Tangent) -> float:
    """What the rounding of f makes of costs: a gain as small cannot be seen."""
    n = len(here.residuals)
    noise = fit.rounding * math.sqrt(2.0 * here.cost / n)
    return max(noise, 1e-15 * here.cost, fit.rounding**2 / n)
