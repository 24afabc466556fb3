"""`curve_fit`: the parameters of your own formula, with SciPy's signature."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from kurve.core.arrays import as_numbers
from kurve.core.entries import entry, warn
from kurve.errors import lookup
from kurve.solvers.arguments import (
    UNBOUNDED,
    WHERE,
    as_bounds,
    as_data,
    as_first,
    as_independent,
    as_start,
    as_whitening,
)
from kurve.solvers.attempts import Found, Search
from kurve.solvers.derivatives import Derivatives, Given
from kurve.solvers.linear import Turned, dot
from kurve.solvers.tangents import Fit, Formula, unchanged

HINTS = {
    "converted to Python scalars": "np.exp and the like instead of math.exp",
    "truth value of an array": "np.where instead of if",
}
"""Words of the errors of formulas that were written for single numbers, and what to
write instead."""


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
    """Fit the parameters of a formula of your own: y = f(x, *p) + error.

    Minimises the sum of ((f(x, *p) - y) / sigma)^2 by Levenberg and Marquardt's method
    in float64 (see `kurve.solvers.least_squares`). The arguments and what is returned
    are those of scipy.optimize.curve_fit.

        def decay(x, height, rate):
            return height * np.exp(-rate * x)

        p, covariance = curve_fit(decay, x, y, p0=[1.0, 0.1])
        deviations = np.sqrt(np.diag(covariance))

    Args:
        f: f(x, p_1, ..., p_P) -> an array like ydata.
        xdata: what f gets as x: an array, or any object.
        ydata: (n,). An array of np.longdouble is fitted to in that precision, for data
            whose residuals are near float64's rounding.
        p0: (P,) where to begin; ones if None, moved between the bounds.
        sigma: (n,) or a number: standard deviations of ydata; (n, n): its covariance.
        absolute_sigma: whether sigma is meant in the unit of ydata; else only its
            proportions count, and the residuals give the unit.
        check_finite: whether to refuse NaN and infinity in the data.
        bounds: (lower, upper), each a number or (P,), or an object with lb and ub.
        method: "lm" or None, the same.
        jac: function (x, *p) -> (n, P) of the derivatives of f; "cs" (complex step),
            "3-point", "2-point", or None for the best of these that f allows.
        full_output: return more.
        starts: number of starts: p0, and random points around it (or, where both bounds
            are finite, between them). The best fit counts.
        seed: of the random starts.
        maxfev: most calls of f in one attempt, derivatives not counted; 500 (P + 1) if
            None.

    Returns:
        (popt, pcov): parameters (P,) and their covariance (P, P). With full_output also
        a dictionary with "nfev" and "fvec" (the residuals over sigma), a message, and
        an integer from 1 to 4, as SciPy does.

    Raises:
        TypeError, ValueError: a wrong argument.
        RuntimeError: no minimum was found.

    Warns:
        RuntimeWarning: the data does not determine all parameters; pcov is infinite.
            Or the fit explains so little that another minimum is likely to be lower.

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
            f"[curve_fit] method must be 'lm', which takes bounds too. "
            f"Received: {method!r}. Try leaving method out."
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
    first = as_first(f, p0, bounds)
    lower, upper = as_bounds(bounds, len(first))
    if bounds is not UNBOUNDED:
        first = as_start(first, p0 is not None, lower, upper)
    if y.size < len(first):
        raise ValueError(
            f"[curve_fit] there must be at least as many data as parameters. Received: "
            f"{y.size} data, {len(first)} parameters. Try a formula with fewer."
        )
    whiten = as_whitening(sigma, y.size)
    formula = Formula(f, x, y.shape)
    first = first.astype(y.dtype)
    with np.errstate(all="ignore"):
        derivatives = _derivatives(f, x, formula, jac, y.size, lower, upper)
        fit = Fit(formula, y.ravel(), whiten, derivatives, lower, upper)
        _check_first(fit, first)
        most = maxfev or 500 * (len(first) + 1)
        search = Search(fit, x, _variation(y.ravel(), whiten), most, seed)
        best = search.best(first, starts)
        guessed = derivatives if isinstance(derivatives, Derivatives) else None
        if best is not None and jac is None and guessed and not guessed.certain(best.p):
            rows, values = best.tangent.columns[:-1], fit.values(best.p)
            if not guessed.agrees(best.p, values, rows, whiten):
                guessed.method = "3-point"  # complex steps were right elsewhere
                best = search.best(best.p, 1)
    if best is None or not best.converged:
        why = "it is not finite near p0" if best is None else best.end.message
        raise RuntimeError(
            f"[curve_fit] no minimum was found: {why}. Received: "
            f"p0={first.tolist()}. Try p0 nearer to the answer, starts=10, or bounds."
        )
    if search.doubtful(best):
        share = max(search.explained(best), 0.0)
        warn(
            f"[curve_fit] the best fit that was found explains {share:.0%} of the "
            "data's variation, and its residuals follow a pattern: "
            "another minimum may be lower, or the formula wrong. Try p0 nearer "
            "to the answer, starts=100, or bounds.",
            RuntimeWarning,
        )
    popt = np.asarray(best.p, np.float64)
    pcov = _covariance(best, absolute_sigma)
    if not full_output:
        return popt, pcov
    info = {"nfev": fit.calls, "fvec": best.residuals}
    ier = 4 if best.left < 1e-8 else 1
    return popt, pcov, info, best.end.message, ier


def _check_first(fit: Fit, first: np.ndarray) -> None:
    """The formula must be finite at p0; mistakes that show there get a hint."""
    try:
        values = fit.values(first)
    except (TypeError, ValueError) as error:
        for words, hint in HINTS.items():
            if words in str(error):
                raise type(error)(
                    "[curve_fit] f must take the whole of xdata at once. "
                    f"Received: {type(error).__name__}: {error}. Try {hint}."
                ) from error
        raise
    if fit.residuals(first) is None and not np.isfinite(values).all():
        i = int(np.argmin(np.isfinite(values)))
        raise ValueError(
            f"[curve_fit] f must be finite at p0. Received: value {i} is {values[i]} "
            f"for p0={first.tolist()}. Try another p0."
        )


def _variation(y: np.ndarray, whiten: Callable[[np.ndarray], np.ndarray]) -> float:
    """What the best constant leaves of the data, |y - mean|^2, whitened."""
    if whiten is unchanged:
        rest = y - np.add.reduce(y) / len(y)
    else:
        one, whole = whiten(np.ones_like(y)), whiten(y)
        rest = whole - one * (np.sum(one * whole) / np.sum(one * one))
    rest = rest.astype(np.float64, copy=False)
    return dot(rest, rest)


def _covariance(found: Found, absolute_sigma: bool) -> np.ndarray:
    """(J^T J)^-1, times the variance of the residuals unless sigma is absolute."""
    n, parameters = len(found.residuals), len(found.p)
    tangent, norms = found.tangent, found.tangent.norms
    if min(norms.tolist()) > 0.0 and (absolute_sigma or n > parameters):
        turned = tangent.turned
        if tangent.held is not None:
            turned = Turned(tangent.whole, norms, tangent.least)
        s = turned.s.tolist()
        if min(s) > turned.least * max(s):
            half = turned.vt.T / turned.s / turned.scale[:, None]
            variance = 1.0 if absolute_sigma else 2.0 * found.cost / (n - parameters)
            return half @ half.T * variance
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
    formula: Callable[[np.ndarray], np.ndarray],
    jac: Any,
    n: int,
    lower: np.ndarray,
    upper: np.ndarray,
) -> Derivatives | Given:
    if not callable(jac):
        if jac is not None:
            lookup(WHERE, "jac", jac, dict.fromkeys(("cs", "3-point", "2-point")))
        return Derivatives(formula, lower, upper, jac)

    def given(p: np.ndarray) -> np.ndarray:
        jacobian = as_numbers(WHERE, "jac's result", jac(x, *p), np.float64, True)
        if jacobian.shape != (n, len(p)):
            raise ValueError(
                f"[curve_fit] jac must give an array ({n}, {len(p)}), the derivative "
                f"of every value by every parameter. Received: {jacobian.shape}. "
                "Try np.stack([df_dp1, df_dp2], axis=1)."
            )
        return jacobian

    return Given(given)
