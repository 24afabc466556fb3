"""Least squares by the Levenberg-Marquardt method in Moré's form (1978): the best step
d with |D d| within the trust region of the linear model. The radius is controlled by
the gain ratio, the decrease of the cost divided by the predicted reduction. It starts
large, so that a linear problem is solved in one step.

This is the fast method for formulas: it uses approximate derivatives until few steps
are left. `kurve.solvers.least_squares` has the robust one, which follows curved
valleys.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from kurve.solvers import linear
from kurve.solvers.derivatives import CENTRAL, FORWARD, Accuracy, Derivatives
from kurve.solvers.least_squares import ROUNDING, StopReason
from kurve.solvers.problems import FormulaProblem, QRLinearization, unchanged

FIRST_RADIUS = 100.0
"""Initial radius, as a multiple of |D p|."""

APPROXIMATE_UNTIL = 1e-7
"""Relative offset (see `Linearization.prepare`) down to which forward differences, with
half the digits, are accurate enough."""

COMPARABLE_UNTIL = 1e-5
"""Relative offset at which costs are too close to compare."""

LAST_STEP, LAST_CHANGE = 1e-11, 2e-11
"""Largest relative change of a parameter, and of the norms of J's columns, that is
accepted as remaining after the last step."""

LAST_OFFSET = 5e-12
"""Relative offset (see `Linearization.prepare`) allowed after the last step, for any
values of the parameters."""

MAX_STEPS = 100

CONVERGED = StopReason(True, "no step is predicted to reduce the cost")
NOT_DIFFERENTIABLE = StopReason(False, "a derivative is not finite")
TOO_MANY_STEPS = StopReason(False, f"{MAX_STEPS} steps were not enough")


class Endpoint(NamedTuple):
    """The end of a descent.

    p, linearization: the point and the linear model there
    offset:    the relative offset there
    rate:      ratio of the offset to that of the previous step
    curvature: relative change of the norms of J's columns divided by that of
               parameters, in the last step
    linear:    whether J was constant
    """

    p: np.ndarray
    linearization: QRLinearization
    offset: float
    rate: float
    curvature: float
    linear: bool
    stop: StopReason


class Attempt(NamedTuple):
    """The end of one attempt: parameters, whitened residuals, and the linear model at
    or one step before them.

    offset: the relative offset of that model
    linear: whether J was constant
    """

    p: np.ndarray
    residuals: np.ndarray
    cost: float
    linearization: QRLinearization
    offset: float
    stop: StopReason
    converged: bool
    linear: bool = False

    @classmethod
    def of(
        cls,
        p: np.ndarray,
        residuals: np.ndarray,
        cost: float,
        linearization: QRLinearization,
        offset: float,
        stop: StopReason,
        linear: bool,
        rounding: float,
    ) -> Attempt:
        """Whether it is a minimum follows from the offset, or from the rounding error
        of the residuals."""
        rounded = offset * math.sqrt(2.0 * cost) <= rounding
        converged = offset < (1e-2 if stop.converged else 1e-4) or rounded
        return cls(p, residuals, cost, linearization, offset, stop, converged, linear)

    @property
    def determined(self) -> bool:
        """Whether it is a minimum that determines every parameter."""
        return self.converged and self.linearization.full_rank()


def relative_change(before: np.ndarray, now: np.ndarray) -> float:
    """The largest relative change of the norms of J's columns."""
    pairs = zip(before.tolist(), now.tolist(), strict=True)
    return max(abs(a - b) / b if b else 1.0 for a, b in pairs)


def relative_step(step: np.ndarray, p: np.ndarray) -> float:
    """The largest relative change of a parameter by a step to p."""
    pairs = zip(step.tolist(), p.tolist(), strict=True)
    changes = (abs(d / at) if at else math.inf for d, at in pairs if d)
    return max(changes, default=0.0)


def minimize(
    problem: FormulaProblem, start: np.ndarray, max_calls: int
) -> Endpoint | None:
    """Descend from `start`, with at most about `max_calls` calls of f.

    Returns:
        None if f is not finite at the start, or cannot be differentiated.
    """
    problem.values(start)
    differences = isinstance(problem.derivatives, Derivatives)
    last_call = problem.calls + max_calls
    if isinstance(problem.derivatives, Derivatives) and problem.derivatives.exact:
        differences = False
    accuracy = Accuracy.HALF if differences else Accuracy.FULL
    first = problem.linearize(start, accuracy)
    if first is None:
        return None
    p, here, scale, norms = start, first, first.norms, first.norms
    length = float(np.linalg.norm(scale * p))
    radius, offset_before = FIRST_RADIUS * (length or 1.0), 0.0
    rate, curvature, moved, accuracy_before = 1.0, math.inf, 0.0, accuracy

    def finish(stop: StopReason) -> Endpoint:
        here.prepare(here.norms)
        change = relative_change(first.norms, here.norms)
        is_linear = here.cost < first.cost and change < 1e-5
        return Endpoint(p, here, offset, rate, curvature, is_linear, stop)

    for count in range(MAX_STEPS):
        offset = here.prepare(scale)
        rates = min(offset / offset_before, 1.0) if offset_before else 1.0, rate
        curvatures = (
            relative_change(norms, here.norms) / moved if moved else math.inf,
            curvature,
        )
        # After a change of accuracy, the offset and the change of J mostly reflect the
        # error of earlier derivatives: use the steps before that.
        same, accuracy_before = accuracy is accuracy_before, accuracy
        rate = rates[0] if same or accuracy is Accuracy.MOST else min(rates)
        curvature = curvatures[0] if same else min(curvatures)
        if offset <= COMPARABLE_UNTIL and accuracy is Accuracy.FULL:
            return finish(CONVERGED)
        done = hidden = False
        while not done:
            step, size, predicted, damping = here.svd.trust_region_step(radius)
            trial = problem.project(p + step)
            if problem.bounded:
                predicted = here.predicted_reduction(trial - p)
            residuals = problem.residuals(trial)
            cost = math.inf if residuals is None else problem.cost(trial, residuals)
            reduction = here.cost - cost
            ratio = reduction / predicted if predicted > 0.0 else -1.0
            if not count:
                radius = min(radius, size)
            if ratio <= 0.25:
                radius = min(radius, 10.0 * size)
                radius *= _shrink_factor(here, reduction, predicted)
            elif ratio >= 0.75 or not damping:
                radius = 2.0 * size
            if problem.calls > last_call:
                return finish(_too_many_calls(max_calls))
            if ratio >= 1e-4:
                break
            noise = _noise(problem, here)
            hidden = predicted <= noise
            if hidden and -reduction <= noise and accuracy is not Accuracy.FULL:
                break
            done = hidden or radius <= 1e-15 * float(np.linalg.norm(scale * p))
        if done and accuracy is Accuracy.FULL:
            return finish(ROUNDING)
        # The error of the prediction is about the next reduction.
        expected = predicted * abs(1.0 - ratio)
        moved = 0.0 if done else relative_step(step, trial)
        after = moved * rate**2  # of the step after the next
        straight = rate == 1.0 and expected <= COMPARABLE_UNTIL**2 * here.cost
        soon = (
            hidden
            or offset <= APPROXIMATE_UNTIL
            or moved * rate * curvature <= LAST_CHANGE
        )
        if done or straight or (accuracy is Accuracy.MOST and soon):
            accuracy = Accuracy.FULL
        elif accuracy is Accuracy.HALF and (
            hidden
            or offset <= APPROXIMATE_UNTIL
            or (after * rate <= LAST_STEP and after * curvature <= LAST_CHANGE)
        ):
            accuracy = Accuracy.MOST
        # A step that the radius has cut short does not show the rate of convergence.
        offset_before = 0.0 if done or damping else offset
        if not offset_before:
            rate, curvature = 1.0, math.inf
        trial = p if done else trial
        there = problem.linearize(trial, accuracy)
        if there is None:
            return finish(NOT_DIFFERENTIABLE)
        p, norms, here = trial, here.norms, there
        scale = np.maximum(scale, here.norms)
    offset, rate = here.prepare(scale), 1.0
    return finish(TOO_MANY_STEPS)


def _too_many_calls(calls: int) -> StopReason:
    return StopReason(False, f"f was called {calls} times")


def is_compiled(problem: FormulaProblem, start: np.ndarray) -> bool:
    """Whether `compiled` can fit it: without bounds, in float64."""
    plain = start.dtype == problem.cached_values.dtype == problem.y.dtype == np.float64
    differences = isinstance(problem.derivatives, Derivatives)
    return linear.COMPILED and plain and differences and not problem.bounded


def _function(
    problem: FormulaProblem, start: np.ndarray, columns: np.ndarray
) -> tuple[Any, bool]:
    """The residuals and their derivatives for the compiled core, and whether it
    computes them itself."""
    formula, whiten, derivatives = problem.formula, problem.whiten, problem.derivatives
    assert isinstance(derivatives, Derivatives)
    sigma = getattr(whiten, "sigma", None)
    if derivatives.traced is not None and (whiten is unchanged or sigma is not None):
        tape, arrays = derivatives.traced.tape, derivatives.traced.flat(formula.shape)
        return linear.TracedFormula(tape, arrays, problem.y, sigma), True
    jacobian, multipliers = columns[:-1], np.empty(len(start))
    point, width_factors = start.copy(), np.empty(len(start))

    def residuals_of(values: Any) -> np.ndarray:
        return np.asarray(whiten(formula.vector(values) - problem.y), np.float64)

    def write_jacobian(values: Any) -> None:
        derivatives.width_factors = width_factors.tolist()
        at_point = formula(point) if values is None else formula.vector(values)
        if whiten is unchanged:
            scales = derivatives.rows(
                point, at_point, jacobian, multipliers=multipliers
            )
        else:
            scales = derivatives.rows(point, at_point, jacobian)
            jacobian[:] = whiten(jacobian)
        if isinstance(scales, np.ndarray):  # differences
            np.multiply(jacobian, scales[:, None], jacobian)

    return linear.PythonFormula(
        formula.f,
        formula.x,
        problem.y if whiten is unchanged else None,
        np.ndarray,
        residuals_of,
        write_jacobian,
        point,
        width_factors,
        columns,
    ), False


def compiled(
    problem: FormulaProblem, start: np.ndarray, max_calls: int
) -> Attempt | None:
    """`minimize` and `attempts.refined` by the compiled core."""
    p, (count, n) = start.copy(), (len(start), len(problem.y))
    columns, multipliers = np.empty((count + 1, n)), np.empty(count + 1)
    r, norms = np.zeros((count + 1, count + 1)), np.empty(count + 1)
    residuals = np.empty(n)
    svd = linear.ScaledSVD(None, np.empty(count), linear.EPS * max(columns.shape))
    function, is_exact = _function(problem, start, columns)
    columns[-1] = problem.cached_residuals
    reason, offset, is_linear, calls, cost, rounding = linear.trust_region(
        function,
        p,
        residuals,
        columns,
        multipliers,
        r,
        norms,
        svd.scale,
        svd.s,
        svd.ur,
        svd.vt,
        problem.data_norm,
        0.0 if is_exact else FORWARD,
        CENTRAL,
        FIRST_RADIUS,
        APPROXIMATE_UNTIL,
        COMPARABLE_UNTIL,
        LAST_OFFSET,
        LAST_STEP,
        LAST_CHANGE,
        MAX_STEPS,
        max_calls,
    )
    problem.calls += calls
    if not reason:
        return None
    here = problem.linearization(p, columns, multipliers, (r, norms), svd)
    stop = (
        CONVERGED,
        ROUNDING,
        _too_many_calls(max_calls),
        NOT_DIFFERENTIABLE,
        TOO_MANY_STEPS,
    )[reason - 1]
    return Attempt.of(p, residuals, cost, here, offset, stop, is_linear, rounding)


def _shrink_factor(here: QRLinearization, reduction: float, predicted: float) -> float:
    """The factor of the radius: the minimum of the parabola through both costs and the
    slope, within limits."""
    if reduction >= 0.0:
        return 0.5
    slope = -predicted  # half of it for an undamped step
    if not math.isfinite(reduction) or reduction < -99.0 * here.cost:
        return 0.1
    return max(0.1, 0.5 * slope / (slope + 0.5 * reduction))


def _noise(problem: FormulaProblem, here: QRLinearization) -> float:
    """The rounding error of costs: a smaller decrease cannot be observed."""
    n = len(here.residuals)
    noise = problem.rounding * math.sqrt(2.0 * here.cost / n)
    return max(noise, 1e-15 * here.cost, problem.rounding**2 / n)
