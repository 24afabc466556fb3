"""`curve_fit`: the parameters of a formula, with SciPy's signature."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from kurve.core.arrays import as_numbers
from kurve.core.entries import entry, warn
from kurve.errors import lookup
from kurve.solvers import linear
from kurve.solvers.arguments import (
    UNBOUNDED,
    WHERE,
    as_bounds,
    as_data,
    as_independent,
    as_p0,
    as_whitening,
    within_bounds,
)
from kurve.solvers.attempts import Search
from kurve.solvers.derivatives import Derivatives, UserJacobian
from kurve.solvers.linear import ScaledSVD, dot
from kurve.solvers.problems import Formula, FormulaProblem, unchanged
from kurve.solvers.tracing import calls_ops, trace
from kurve.solvers.trust_region import Attempt

LARGE = 4000
"""Rows from which on any formula is traced at the start."""

HINTS = {
    "converted to Python scalars": "np.exp and the like instead of math.exp",
    "truth value of an array": "np.where instead of if",
}
"""Phrases in errors of formulas written for scalars, and what to write instead."""


@entry
def curve_fit(
    f: Callable[..., Any],
    xdata: Any,
    ydata: Any,
    p0: Any = None,
    sigma: Any = None,
    absolute_sigma: bool = False,
    check_finite: bool = True,
    bounds: Any = UNBOUNDED,
    method: str | None = "lm",
    jac: str | Callable[..., Any] | None = None,
    *,
    full_output: bool = False,
    starts: int = 1,
    seed: int = 0,
    maxfev: int | None = None,
) -> Any:
    """Fit the parameters of a formula: y = f(x, *p) + error.

    Minimizes the sum of ((f(x, *p) - y) / sigma)^2 by the Levenberg-Marquardt method
    in float64 (see `kurve.solvers.least_squares`). The arguments and the result are
    those of scipy.optimize.curve_fit.

        def decay(x, height, rate):
            return height * np.exp(-rate * x)

        p, covariance = curve_fit(decay, x, y, p0=[1.0, 0.1])
        deviations = np.sqrt(np.diag(covariance))

    Args:
        f: f(x, p_1, ..., p_P) -> an array like ydata.
        xdata: the x passed to f: an array, or any object.
        ydata: (n,). Data of np.longdouble is fitted in that precision, for residuals
            near float64's rounding.
        p0: (P,) the starting point; ones if None, moved within the bounds.
        sigma: (n,) or a number: standard deviations of ydata; (n, n): its covariance.
        absolute_sigma: whether sigma is in units of ydata; otherwise only its ratios
            matter, and the residuals determine the scale.
        check_finite: whether to reject NaN and infinity in the data.
        bounds: (lower, upper), each a number or (P,), or an object with lb and ub.
        method: "lm" or None, which is the same.
        jac: function (x, *p) -> (n, P) for the derivatives of f; "cs" (complex step),
            "3-point", "2-point", or None for the best method for f. Derivatives of
            formulas with `kurve.ops`, or with NumPy operators and elementwise
            functions, are exact, even with absolute values and conditions.
        full_output: whether to return more results.
        starts: number of starts: p0, and random points around it (within the bounds
            if both are finite). The best fit is returned.
        seed: seed of the random starts.
        maxfev: maximum number of calls of f per attempt, not counting derivatives;
            500 (P + 1) if None.

    Returns:
        (popt, pcov): parameters (P,) and their covariance (P, P). With full_output also
        a dictionary with "nfev" and "fvec" (the residuals over sigma), a message, and
        an integer from 1 to 4, as in SciPy.

    Raises:
        TypeError, ValueError: invalid argument.
        RuntimeError: no minimum was found.

    Warns:
        RuntimeWarning: the data does not determine all parameters, and pcov is
            infinite; or the fit explains so little that a lower minimum is likely.

    Source: Marquardt 1963; Nielsen 1999; Transtrum & Sethna 2012; bounds by projection
    as in Kanzow, Yamashita & Fukushima 2004.

    Example:
        >>> def line(x, a, b):
        ...     return a * x + b
        >>> x = np.linspace(0.0, 1.0, 5)
        >>> parameters, covariance = kurve.curve_fit(line, x, 2.0 * x + 1.0)
        >>> parameters.round(6)
        array([2., 1.])
    """
    if method not in (None, "lm"):
        raise ValueError(
            "[curve_fit] method must be 'lm', which also supports bounds. "
            f"Received: {method!r}. Try omitting method."
        )
    for name, count, example in (("starts", starts, 10), ("maxfev", maxfev, 1000)):
        is_count = isinstance(count, (int, np.integer)) and count > 0
        if count is not None and not is_count:
            raise ValueError(
                f"[curve_fit] {name} must be an integer of at least 1. "
                f"Received: {count!r}. Try {name}={example}."
            )
    y = as_data("ydata", ydata, check_finite)
    x = as_independent(xdata, check_finite)
    start = as_p0(f, p0)
    lower, upper = as_bounds(bounds, len(start))
    if bounds is not UNBOUNDED:
        start = within_bounds(start, p0 is None, lower, upper)
    if y.size < len(start):
        raise ValueError(
            "[curve_fit] there must be at least as many data points as parameters. "
            f"Received: {y.size} data points, {len(start)} parameters. "
            "Try a formula with fewer parameters."
        )
    whiten = as_whitening(sigma, y.size)
    formula = Formula(f, x, y.shape)
    start = start.astype(y.dtype)
    with np.errstate(all="ignore"):
        derivatives = _derivatives(f, x, formula, jac, y.size, lower, upper)
        problem = FormulaProblem(formula, y.ravel(), whiten, derivatives, lower, upper)
        _check_start(problem, start)
        if isinstance(derivatives, Derivatives):
            _trace_early(f, formula, derivatives, start, problem.values(start))
        max_calls = maxfev or 500 * (len(start) + 1)
        variation = _variation(y.ravel(), whiten)
        search = Search(problem, x, variation, max_calls, seed)
        best = search.best(start, starts)
        guessed = derivatives if isinstance(derivatives, Derivatives) else None
        if best is not None and jac is None and guessed and not guessed.certain(best.p):
            rows, values = best.linearization.columns[:-1], problem.values(best.p)
            if not guessed.agrees(best.p, values, rows, whiten):
                guessed.method = "3-point"  # complex steps were correct elsewhere
                best = search.best(best.p, 1)
    if best is None or not best.converged:
        why = "it is not finite near p0" if best is None else best.stop.message
        raise RuntimeError(
            f"[curve_fit] no minimum was found: {why}. Received: "
            f"p0={start.tolist()}. Try a p0 closer to the solution, starts=10, or "
            "bounds."
        )
    if search.doubtful(best):
        explained = max(search.explained(best), 0.0)
        warn(
            f"[curve_fit] the best fit found explains {explained:.0%} of the data's "
            "variation, and its residuals follow a pattern: there may be a lower "
            "minimum, or the formula may be wrong. Try a p0 closer to the solution, "
            "starts=100, or bounds.",
            RuntimeWarning,
        )
    popt = np.asarray(best.p, np.float64)
    pcov = _covariance(best, absolute_sigma)
    if not full_output:
        return popt, pcov
    info = {"nfev": problem.calls, "fvec": best.residuals}
    ier = 4 if best.offset < 1e-8 else 1
    return popt, pcov, info, best.stop.message, ier


def _check_start(problem: FormulaProblem, start: np.ndarray) -> None:
    """Check that the formula is finite at p0; add a hint to errors that it raises
    there."""
    try:
        values = problem.values(start)
    except (TypeError, ValueError) as error:
        for words, hint in HINTS.items():
            if words in str(error):
                raise type(error)(
                    "[curve_fit] f must accept all of xdata at once. "
                    f"Received: {type(error).__name__}: {error}. Try {hint}."
                ) from error
        raise
    if problem.residuals(start) is None and not np.isfinite(values).all():
        i = int(np.argmin(np.isfinite(values)))
        raise ValueError(
            f"[curve_fit] f must be finite at p0. Received: value {i} is {values[i]} "
            f"for p0={start.tolist()}. Try another p0."
        )


def _trace_early(
    f: Callable[..., Any],
    formula: Formula,
    derivatives: Derivatives,
    start: np.ndarray,
    at_start: np.ndarray,
) -> None:
    """Trace a formula from the start where that saves time: for the compiled core,
    for functions of ops, which take longer than the operations alone, and for much
    data, where tracing takes less time than one call."""
    if linear.COMPILED or calls_ops(f) or at_start.size >= LARGE:
        out = np.empty((len(start), at_start.size))
        traced = derivatives.try_trace(start, at_start, out)
        if traced and derivatives.traced.by_ops:
            formula.f = derivatives.traced.value


def _variation(y: np.ndarray, whiten: Callable[[np.ndarray], np.ndarray]) -> float:
    """The whitened variation of the data around the best constant, |y - mean|^2."""
    if whiten is unchanged:
        deviations = y - np.add.reduce(y) / len(y)
    else:
        ones, whitened = whiten(np.ones_like(y)), whiten(y)
        constant = np.sum(ones * whitened) / np.sum(ones * ones)
        deviations = whitened - ones * constant
    deviations = deviations.astype(np.float64, copy=False)
    return dot(deviations, deviations)


def _covariance(attempt: Attempt, absolute_sigma: bool) -> np.ndarray:
    """(J^T J)^-1, times the variance of the residuals unless sigma is absolute."""
    n, parameters = len(attempt.residuals), len(attempt.p)
    here, norms = attempt.linearization, attempt.linearization.norms
    if min(norms.tolist()) > 0.0 and (absolute_sigma or n > parameters):
        svd = here.svd
        if here.held is not None:
            svd = ScaledSVD(here.r, norms, here.rank_tolerance)
        s = svd.s.tolist()
        if min(s) > svd.rank_tolerance * max(s):
            root = svd.vt.T / svd.s / svd.scale[:, None]
            variance = 1.0 if absolute_sigma else 2.0 * attempt.cost / (n - parameters)
            return root @ root.T * variance
    warn(
        "[curve_fit] the covariance of the parameters could not be estimated, because "
        "the data does not determine them all. Try a formula with fewer parameters, "
        "more data, or another p0.",
        RuntimeWarning,
    )
    return np.full((parameters, parameters), np.inf)


def _derivatives(
    f: Callable[..., Any],
    x: Any,
    formula: Formula,
    jac: Any,
    n: int,
    lower: np.ndarray,
    upper: np.ndarray,
) -> Derivatives | UserJacobian:
    if not callable(jac):
        if jac is not None:
            lookup(WHERE, "jac", jac, dict.fromkeys(("cs", "3-point", "2-point")))
        found = Derivatives(formula, lower, upper, jac)
        if jac is None:
            found.trace = functools.partial(trace, f, x, formula.shape)
        return found

    def checked(p: np.ndarray) -> np.ndarray:
        jacobian = as_numbers(WHERE, "jac's result", jac(x, *p), np.float64, True)
        if jacobian.shape != (n, len(p)):
            raise ValueError(
                f"[curve_fit] jac must return an array ({n}, {len(p)}), the derivative "
                "of every value with respect to every parameter. "
                f"Received: {jacobian.shape}. "
                "Try np.stack([df_dp1, df_dp2], axis=1)."
            )
        return jacobian

    return UserJacobian(checked)
