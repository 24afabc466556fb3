"""Checks of what users pass to `kurve.curve_fit`."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

import numpy as np

from kurve.core.arrays import as_numbers, is_frame
from kurve.solvers.tangents import unchanged

WHERE = "curve_fit"


def as_data(name: str, given: Any, check_finite: bool) -> np.ndarray:
    """`given` in float64, or in np.longdouble where it is that."""
    array = as_numbers(WHERE, name, given, missing=not check_finite)
    if array.dtype != np.longdouble:
        array = array.astype(np.float64, copy=False)
    if array.size == 0:
        raise ValueError(
            f"[curve_fit] {name} must not be empty. Received: shape {array.shape}. "
            "Try at least as many data as parameters."
        )
    # One sum instead of a test of each; it may overflow where all are finite.
    if (
        check_finite
        and not math.isfinite(np.add.reduce(array, None))
        and (not np.isfinite(array).all())
    ):
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(
            f"[curve_fit] {name} must be finite. Received: "
            f"{name}[{', '.join(map(str, place))}] = {array[place]}. "
            "Try leaving such data out."
        )
    return array


def as_independent(given: Any, check_finite: bool) -> Any:
    """xdata for f: in float64 whatever is an array or a series; other objects as they
    are, for f may know what to do with them."""
    if isinstance(given, (list, tuple)) or (
        hasattr(given, "__array__")
        and not isinstance(given, Mapping)
        and not is_frame(given)
    ):
        return as_data("xdata", given, check_finite)
    return given


def as_first(f: Callable[..., Any], p0: Any, bounds: Any) -> np.ndarray:
    """p0, or as many ones as f has parameters."""
    if p0 is not None:
        if type(p0) is list and all(
            type(v) in (float, int) and abs(v) <= 1e300 for v in p0
        ):  # as as_numbers, but quickly
            first = np.array(p0, np.float64)
        else:
            first = as_numbers(WHERE, "p0", p0, np.float64)
        first = first if first.ndim else first.reshape(1)
        finite = first.ndim == 1 and all(map(math.isfinite, first.tolist()))
        if not finite or not first.size:
            raise ValueError(
                "[curve_fit] p0 must be finite numbers, one for each parameter. "
                f"Received: {p0!r}. Try p0=[1.0, 1.0]."
            )
        return first
    if isinstance(f, FunctionType) and not f.__dict__:  # as inspect, but quickly
        count, star = (
            f.__code__.co_argcount,
            bool(f.__code__.co_flags & inspect.CO_VARARGS),
        )
        if count > 1 and not star:
            return np.ones(count - 1)
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    named = [p for p in parameters if p.kind in kinds]
    star = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters)
    if star or len(named) < 2:
        raise ValueError(
            "[curve_fit] p0 is needed, because f does not say how many parameters it "
            f"has. Received: f={f!r}. Try p0=[1.0, 1.0]."
        )
    return np.ones(len(named) - 1)


UNBOUNDED = -np.inf, np.inf


def as_bounds(bounds: Any, parameters: int) -> tuple[np.ndarray, np.ndarray]:
    if bounds is UNBOUNDED:
        lower, upper = np.empty(parameters), np.empty(parameters)
        lower.fill(-np.inf)
        upper.fill(np.inf)
        return lower, upper
    if hasattr(bounds, "lb") and hasattr(bounds, "ub"):
        bounds = bounds.lb, bounds.ub
    try:
        low, high = bounds
        shape = (parameters,)
        low, high = (as_numbers(WHERE, "bounds", b, np.float64) for b in (low, high))
        lower = np.broadcast_to(low, shape).copy()
        upper = np.broadcast_to(high, shape).copy()
    except (TypeError, ValueError):
        lower = upper = np.zeros(parameters)
    if not (lower < upper).all():
        raise ValueError(
            "[curve_fit] bounds must be (lower, upper), numbers or arrays with one for "
            f"each of the {parameters} parameters, lower < upper. "
            f"Received: {bounds!r}. Try bounds=(0, np.inf)."
        )
    return lower, upper


def as_start(
    first: np.ndarray, given: bool, lower: np.ndarray, upper: np.ndarray
) -> np.ndarray:
    """p0 between the bounds; without one, the middle or one off a bound, as SciPy."""
    if given:
        outside = (first < lower) | (first > upper)
        if outside.any():
            i = int(np.argmax(outside))
            raise ValueError(
                f"[curve_fit] p0 must lie between the bounds. Received: p0[{i}] = "
                f"{first[i]:g}, bounds {lower[i]:g} and {upper[i]:g}. "
                "Try a p0 between them."
            )
        return first
    low, high = np.isfinite(lower), np.isfinite(upper)
    with np.errstate(invalid="ignore"):
        middle = 0.5 * (lower + upper)
    start = np.where(low, lower + 1.0, np.where(high, upper - 1.0, first))
    return np.where(low & high, middle, start)


def as_whitening(sigma: Any, n: int) -> Callable[[np.ndarray], np.ndarray]:
    """What makes the errors independent and of variance 1: r / sigma, or L^-1 r for a
    covariance L L^T; r (n,), or many of them (P, n)."""
    if sigma is None:
        return unchanged
    sigma = as_numbers(WHERE, "sigma", sigma, np.float64)
    if sigma.size == 1 and n != 1:
        sigma = np.full(n, sigma.item())
    if sigma.shape == (n, n) and n > 1:
        try:
            inverse = np.linalg.inv(np.linalg.cholesky(sigma))
        except np.linalg.LinAlgError:
            raise ValueError(
                "[curve_fit] sigma must be positive definite, because it is a "
                f"covariance. Received: a matrix ({n}, {n}) that is not. "
                "Try its diagonal's square root, (n,)."
            ) from None
        # Not `@`: BLAS's threads wait for each other where a core is busy.
        return lambda r: np.einsum("ij,...j->...i", inverse, r)
    sigma = sigma.ravel() if sigma.size == n else sigma
    if sigma.shape != (n,) or not (sigma > 0).all():
        raise ValueError(
            f"[curve_fit] sigma must be positive, of shape ({n},) or ({n}, {n}). "
            f"Received: shape {sigma.shape}, least value "
            f"{sigma.min(initial=np.inf):g}. Try sigma=None for equal errors."
        )
    return lambda r: r / sigma
