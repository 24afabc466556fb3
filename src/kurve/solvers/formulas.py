"""`curve_fit`: the parameters of your own formula, with SciPy's signature."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from kurve.entries import entry, warn
from kurve.errors import lookup
from kurve.solvers.arguments import (
    as_bounds,
    as_data,
    as_first,
    as_start,
    as_whitening,
)
from kurve.solvers.derivatives import Derivatives
from kurve.solvers.least_squares import End, Rules, descend
from kurve.solvers.tangents import Fit, InLogarithms, Tangent

ATTEMPTS = ((1e-3, False), (1e-3, True), (1.0, False), (1e3, False))
"""Damping of the first step, and whether it is one of logarithms. The next attempt is
made where one ends without a minimum, or where a parameter has no influence: a product
of powers is a curved valley that is straight in logarithms, and a timid first step may
not lead where a bold one does."""

RESCUES = 10
"""Random starts that are tried in the end where no attempt has found a minimum that
determines all parameters."""

WHERE = "curve_fit"


class Found(NamedTuple):
    """Where one attempt ended."""

    p: np.ndarray
    tangent: Tangent
    left: float
    end: End
    converged: bool

    @property
    def sound(self) -> bool:
        """A minimum, and every parameter has influence there."""
        return self.converged and self.tangent.full_rank()


@entry
def curve_fit(
    f: Callable[..., Any],
    xdata: Any,
    ydata: Any,
    p0: Any = None,
    sigma: Any = None,
    absolute_sigma: bool = False,
    check_finite: bool = True,
    bounds: Any = (-np.inf, np.inf),
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

    Source: Marquardt 1963; Nielsen 1999; Transtrum & Sethna 2012; bounds by projection
    as in Kanzow, Yamashita & Fukushima 2004.
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
    x = xdata
    if isinstance(xdata, (list, tuple, np.ndarray)):
        x = as_data("xdata", xdata, check_finite)
    first = as_first(f, p0, bounds)
    lower, upper = as_bounds(bounds, len(first))
    first = as_start(first, p0 is not None, lower, upper)
    if y.size < len(first):
        raise ValueError(
            f"[curve_fit] there must be at least as many data as parameters. Received: "
            f"{y.size} data, {len(first)} parameters. Try a formula with fewer."
        )
    whiten = as_whitening(sigma, y.size)

    def formula(p: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            values = np.asarray(f(x, *p))
        if values.shape != y.shape:
            raise ValueError(
                "[curve_fit] f must give an array like ydata. Received: shape "
                f"{values.shape} for ydata of shape {y.shape}. "
                "Try a * np.ones_like(x) for a constant."
            )
        return (values if values.dtype.kind in "fc" else values.astype(float)).ravel()

    values = formula(first)
    if not np.isfinite(values).all():
        i = int(np.argmin(np.isfinite(values)))
        raise ValueError(
            f"[curve_fit] f must be finite at p0. Received: value {i} is {values[i]} "
            f"for p0={first.tolist()}. Try another p0."
        )
    jacobian = _jacobian(f, x, formula, jac, y.size, lower, upper)
    fit = Fit(formula, y.ravel(), whiten, jacobian, lower, upper)
    most = maxfev or 500 * (len(first) + 1)
    with np.errstate(all="ignore"):
        points = _starts(first, starts + RESCUES, seed, lower, upper)
        best = _best_start(fit, points[:starts], points[starts:], most)
    if best is not None and jac is None and isinstance(jacobian, Derivatives):
        p = np.asarray(best.p, np.float64)
        if jacobian.method == "cs" and not jacobian.agrees(p, formula(p)):
            jacobian.method = "3-point"  # complex steps were right at p0 only
            with np.errstate(all="ignore"):
                best = _best_start(fit, [p], [], most)
    if best is None or not best.converged:
        why = "it is not finite near p0" if best is None else best.end.message
        raise RuntimeError(
            f"[curve_fit] no minimum was found: {why}. Received: "
            f"p0={first.tolist()}. Try p0 nearer to the answer, starts=10, or bounds."
        )
    popt = np.asarray(best.p, np.float64)
    pcov = _covariance(best.tangent, absolute_sigma)
    if not full_output:
        return popt, pcov
    info = {"nfev": fit.calls, "fvec": np.asarray(best.tangent.residuals, np.float64)}
    ier = 4 if best.left < 1e-8 else 1
    return popt, pcov, info, best.end.message, ier


def _best_start(
    fit: Fit, starts: list[np.ndarray], rescues: list[np.ndarray], most: int
) -> Found | None:
    """From all starts; from rescues one after the other until the best is sound."""
    best: Found | None = None
    for start in starts:
        best = _better(best, _best_attempt(fit, start, most))
    for start in rescues:
        if best is not None and best.sound:
            break
        best = _better(best, _attempt(fit, fit, start, Rules(), most))
    return best


def _best_attempt(fit: Fit, start: np.ndarray, most: int) -> Found | None:
    """From one start: attempt after attempt, until one is sound."""
    best: Found | None = None
    for damping, in_logarithms in ATTEMPTS:
        way = InLogarithms(fit, start) if in_logarithms else fit
        found = _attempt(fit, way, start, Rules(damping=damping), most)
        best = _better(best, found)
        if best is not None and best.sound:
            break
    return best


def _better(one: Found | None, other: Found | None) -> Found | None:
    """A minimum before none, then the lower one."""
    if one is None or other is None:
        return one or other
    right = other.converged, -other.tangent.cost
    return other if right > (one.converged, -one.tangent.cost) else one


def _attempt(
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
    return None if last_q is None else _polished(fit, way.leave(last_q), end)


def _polished(fit: Fit, p: np.ndarray, end: End) -> Found | None:
    """Gauss-Newton's steps as long as they leave less to gain: the last digits, where
    rounding hides which cost is lower. In the precision of the data."""
    p = p.astype(fit.y.dtype)
    here = fit.linearize(p)
    if here is None:
        return None
    left = here.prepare(np.where(here.norms > 0.0, here.norms, 1.0))
    for _ in range(20 if left < 1e-2 else 0):
        there = fit.linearize(trial := fit.project(p + here.newton()))
        if there is None or not np.isfinite(there.residuals).all():
            break
        less = there.prepare(np.where(there.norms > 0.0, there.norms, 1.0))
        if not (less < left and there.cost <= here.cost * (1.0 + 1e-6)):
            break
        p, here, left = trial, there, less
    rounded = bool(left * np.sqrt(2.0 * here.cost) <= fit.rounding)
    converged = left < (1e-2 if end.converged else 1e-4) or rounded
    return Found(p, here, left, end, converged)


def _covariance(tangent: Tangent, absolute_sigma: bool) -> np.ndarray:
    """(J^T J)^-1, times the variance of the residuals unless sigma is absolute."""
    n, parameters = tangent.jacobian.shape
    norms = tangent.norms
    if (norms > 0.0).all() and (absolute_sigma or n > parameters):
        _, s, vt = np.linalg.svd(tangent.jacobian / norms, full_matrices=False)
        if s[-1] > np.finfo(np.float64).eps * max(n, parameters) * s[0]:
            half = vt.T / s / norms[:, None]
            variance = 1.0 if absolute_sigma else 2.0 * tangent.cost / (n - parameters)
            return half @ half.T * variance
    warn(
        "[curve_fit] the covariance of the parameters could not be estimated, because "
        "the data does not determine them all. Try a formula with fewer parameters, "
        "more data, or another p0.",
        RuntimeWarning,
    )
    return np.full((parameters, parameters), np.inf)


def _starts(
    first: np.ndarray, count: int, seed: int, lower: np.ndarray, upper: np.ndarray
) -> list[np.ndarray]:
    """p0, then points between the bounds, or p0 times some power of two around 1."""
    random = np.random.default_rng(seed)
    both = np.isfinite(lower) & np.isfinite(upper)
    starts = [first]
    for _ in range(count - 1):
        around = np.where(
            first != 0.0,
            first * np.exp2(2.0 * random.standard_normal(len(first))),
            random.standard_normal(len(first)),
        )
        share = random.random(len(first))
        with np.errstate(invalid="ignore"):
            between = lower + share * (upper - lower)
        starts.append(np.clip(np.where(both, between, around), lower, upper))
    return starts


def _jacobian(
    f: Callable[..., Any],
    x: Any,
    formula: Callable[[np.ndarray], np.ndarray],
    jac: Any,
    n: int,
    lower: np.ndarray,
    upper: np.ndarray,
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    if not callable(jac):
        if jac is not None:
            lookup(WHERE, "jac", jac, dict.fromkeys(("cs", "3-point", "2-point")))
        return Derivatives(formula, lower, upper, jac)

    def given(p: np.ndarray, values: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            jacobian = np.asarray(jac(x, *p), np.float64)
        if jacobian.shape != (n, len(p)):
            raise ValueError(
                f"[curve_fit] jac must give an array ({n}, {len(p)}), the derivative "
                f"of every value by every parameter. Received: {jacobian.shape}. "
                "Try np.stack([df_dp1, df_dp2], axis=1)."
            )
        return jacobian

    return given
