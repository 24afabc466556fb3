"""Least squares by Levenberg and Marquardt's method as Moré (1978) made it: of all
steps d with |D d| at most the radius of the region that the linear model is trusted in,
the best one. The radius follows the gain ratio, what a step brings over what it
promised. It begins large, so that a problem that is linear is solved by one step.

This is the quick way for formulas: rough derivatives lead it until few steps are left.
`kurve.solvers.least_squares` has the slow one, which keeps to curved valleys.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from kurve.solvers import linear
from kurve.solvers.derivatives import FORWARD, Derivatives
from kurve.solvers.least_squares import End
from kurve.solvers.tangents import Fit, Tangent, unchanged

FIRST_RADIUS = 100.0
"""Of the first region, as a multiple of |D p|."""

ROUGH = 1e-7
"""What is left to gain (see `Linearization.prepare`) before the last step with rough
derivatives: forward differences, which have half the digits."""

NEAR = 1e-5
"""What is left where costs are too near to each other to be compared."""

MOST_STEPS = 100


class Place(NamedTuple):
    """Where a walk ended: a point, the linear model there, what is left to gain, what
    part that is of what was left one step before, the norms of J's columns there, and
    whether J was the same all the way."""

    p: np.ndarray
    tangent: Tangent
    left: float
    rate: float
    norms: np.ndarray
    linear: bool
    end: End


def change(before: np.ndarray, now: np.ndarray) -> float:
    """The largest relative change of the norms of J's columns."""
    pairs = zip(before.tolist(), now.tolist(), strict=True)
    return max(abs(a - b) / b if b else 1.0 for a, b in pairs)


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
    first = fit.linearize(start, rough)
    if first is None:
        return None
    p, here, scale, norms = start, first, first.norms, first.norms
    length = float(np.linalg.norm(scale * p))
    radius, before, rate = FIRST_RADIUS * (length or 1.0), 0.0, 1.0

    def ended(converged: bool, message: str) -> Place:
        same = here.cost < first.cost and change(first.norms, here.norms) < 1e-5
        return Place(p, here, left, rate, norms, same, End(converged, message))

    for count in range(MOST_STEPS):
        left = here.prepare(scale)
        rate = min(left / before, 1.0) if before else 1.0
        if left <= NEAR and not rough:
            return ended(True, "no step promises a lower cost")
        done = False
        while not done:
            step, size, promised, damping = here.turned.within(radius)
            trial = fit.project(p + step)
            if fit.bounded:
                promised = here.promised(trial - p)
            residuals = fit.residuals(trial)
            cost = math.inf if residuals is None else fit.cost(trial, residuals)
            gained = here.cost - cost
            ratio = gained / promised if promised > 0.0 else -1.0
            if not count:
                radius = min(radius, size)
            if ratio <= 0.25:
                radius = min(radius, 10.0 * size) * _shrink(here, gained, promised)
            elif ratio >= 0.75 or not damping:
                radius = 2.0 * size
            if fit.calls > last:
                return ended(False, f"f was called {most} times")
            if ratio >= 1e-4:
                break
            done = _hidden(fit, here, promised) or radius <= 1e-15 * float(
                np.linalg.norm(scale * p)
            )
        if done and not rough:
            return ended(True, "rounding hides a lower cost")
        # What was promised and not kept is about what is left.
        expected = promised * abs(1.0 - ratio)
        if done or left <= ROUGH or expected <= NEAR**2 * here.cost:
            rough = False
        # A step that was cut short does not say how fast steps converge.
        before = 0.0 if done or damping else left
        trial = p if done else trial
        there = fit.linearize(trial, rough)
        if there is None:
            return ended(False, "a derivative is not finite")
        p, norms, here = trial, here.norms, there
        scale = np.maximum(scale, here.norms)
    left, rate = here.prepare(scale), 1.0
    return ended(False, f"{MOST_STEPS} steps found none")


ENDS = (
    End(True, "no step promises a lower cost"),
    End(True, "rounding hides a lower cost"),
    End(False, "f was called {} times"),
    End(False, "a derivative is not finite"),
    End(False, f"{MOST_STEPS} steps found none"),
)


def _compiled(fit: Fit, start: np.ndarray, most: int) -> Place | None:
    """The same without bounds in float64, where the core is there."""
    p, (count, n) = start.copy(), (len(start), len(fit.y))
    columns, units = np.empty((count + 1, n)), np.empty(count + 1)
    scale, norms = np.empty(count), np.empty(count)

    formula, whiten, y, derivatives = fit.formula, fit.whiten, fit.y, fit.derivatives
    assert isinstance(derivatives, Derivatives)
    point, shares, rest = start.copy(), np.empty(count), np.empty(n)
    values = fit.values(start)

    def residuals() -> None:
        nonlocal values
        values = formula(point)
        np.subtract(values, y, rest)
        if whiten is not unchanged:
            rest[:] = whiten(rest)

    def rows(same: bool) -> None:
        derivatives.shares = shares.tolist()
        jacobian = columns[:-1]
        derivatives.rows(point, values if same else formula(point), jacobian)
        if whiten is not unchanged:
            jacobian[:] = whiten(jacobian)

    columns[-1] = fit.r_at
    end, left, rate, is_linear, made = linear.walk(
        residuals,
        rows,
        point,
        shares,
        rest,
        p,
        columns,
        units,
        scale,
        norms,
        fit.size,
        FORWARD,
        FIRST_RADIUS,
        ROUGH,
        NEAR,
        MOST_STEPS,
        most,
    )
    fit.calls += made
    if not end:
        return None
    here = fit.tangent(p, columns, units)
    here.prepare(scale)
    if not np.isfinite(here.norms).all():
        left = math.inf  # nothing is known there
    why = ENDS[end - 1]
    why = End(why.converged, why.message.format(most))
    return Place(p, here, left, rate, norms, is_linear, why)


def _shrink(here: Tangent, gained: float, promised: float) -> float:
    """By what the radius is multiplied: where the parabola through both costs and the
    slope has its minimum, within limits."""
    if gained >= 0.0:
        return 0.5
    slope = -promised  # half of it, for an undamped step
    if not math.isfinite(gained) or gained < -99.0 * here.cost:
        return 0.1
    return max(0.1, 0.5 * slope / (slope + 0.5 * gained))


def _hidden(fit: Fit, here: Tangent, promised: float) -> bool:
    """Whether so small a gain vanishes in the rounding of f."""
    n = len(here.residuals)
    noise = fit.rounding * math.sqrt(2.0 * here.cost / n)
    return promised <= max(noise, 1e-15 * here.cost, fit.rounding**2 / n)
