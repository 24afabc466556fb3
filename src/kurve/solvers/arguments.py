"""Checks of the arguments of `kurve.curve_fit`."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

import numpy as np

from kurve.core.arrays import as_numbers, is_frame
from kurve.solvers.problems import unchanged

WHERE = "curve_fit"


def as_data(name: str, values: Any, check_finite: bool) -> np.ndarray:
    """Convert `values` to float64, but keep np.longdouble."""
    array = as_numbers(WHERE, name, values, missing=not check_finite)
    if array.dtype != np.longdouble:
        array = array.astype(np.float64, copy=False)
    if array.size == 0:
        raise ValueError(
            f"[curve_fit] {name} must not be empty. Received: shape {array.shape}. "
            "Try at least as many data points as parameters."
        )
    # One sum is faster than testing each value; if it overflows, test them all.
    if (
        check_finite
        and not math.isfinite(np.add.reduce(array, None))
        and (not np.isfinite(array).all())
    ):
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(
            f"[curve_fit] {name} must be finite. Received: "
            f"{name}[{', '.join(map(str, index))}] = {array[index]}. "
            "Try removing such data points."
        )
    return array


def as_independent(xdata: Any, check_finite: bool) -> Any:
    """Prepare xdata for f: arrays and series as float64; other objects unchanged,
    because f may know how to use them."""
    if isinstance(xdata, (list, tuple)) or (
        hasattr(xdata, "__array__")
        and not isinstance(xdata, Mapping)
        and not is_frame(xdata)
    ):
        return as_data("xdata", xdata, check_finite)
    return xdata


def as_p0(f: Callable[..., Any], p0: Any) -> np.ndarray:
    """p0 as an array; by default, a one for each parameter of f."""
    if p0 is not None:
        if type(p0) is list and all(
            type(v) in (float, int) and abs(v) <= 1e300 for v in p0
        ):  # like as_numbers, but faster
            start = np.array(p0, np.float64)
        else:
            start = as_numbers(WHERE, "p0", p0, np.float64)
        start = start if start.ndim else start.reshape(1)
        finite = start.ndim == 1 and all(map(math.isfinite, start.tolist()))
        if not finite or not start.size:
            raise ValueError(
                "[curve_fit] p0 must be finite numbers, one per parameter. "
                f"Received: {p0!r}. Try p0=[1.0, 1.0]."
            )
        return start
    if isinstance(f, FunctionType) and not f.__dict__:  # like inspect, but faster
        count = f.__code__.co_argcount
        star = bool(f.__code__.co_flags & inspect.CO_VARARGS)
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
            "[curve_fit] p0 is needed, because the signature of f does not reveal how "
            f"many parameters it has. Received: f={f!r}. Try p0=[1.0, 1.0]."
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
            "[curve_fit] bounds must be (lower, upper) with lower < upper, each a "
            f"number, or one number for each of the {parameters} parameters. "
            f"Received: {bounds!r}. Try bounds=(0, np.inf)."
        )
    return lower, upper


def within_bounds(
    start: np.ndarray, default: bool, lower: np.ndarray, upper: np.ndarray
) -> np.ndarray:
    """Check that p0 lies within the bounds; as in SciPy, a default one becomes the
    midpoint, or lies 1 from a single bound."""
    if not default:
        outside = (start < lower) | (start > upper)
        if outside.any():
            i = int(np.argmax(outside))
            raise ValueError(
                f"[curve_fit] p0 must lie between the bounds. Received: p0[{i}] = "
                f"{start[i]:g}, bounds {lower[i]:g} and {upper[i]:g}. "
                "Try a p0 between them."
            )
        return start
    low, high = np.isfinite(lower), np.isfinite(upper)
    with np.errstate(invalid="ignore"):
        middle = 0.5 * (lower + upper)
    off_a_bound = np.where(low, lower + 1.0, np.where(high, upper - 1.0, start))
    return np.where(low & high, middle, off_a_bound)


class Deviations:
    """Whitens errors with these standard deviations."""

    def __init__(self, sigma: np.ndarray) -> None:
        self.sigma = sigma

    def __call__(self, r: np.ndarray) -> np.ndarray:
        return r / self.sigma


def as_whitening(sigma: Any, n: int) -> Callable[[np.ndarray], np.ndarray]:
    """A function of r, (n,) or (P, n), that whitens errors to be independent with
    variance 1: r / sigma, or L^-1 r for a covariance L L^T."""
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
        # Not `@`: BLAS threads wait for each other if a core is busy.
        return lambda r: np.einsum("ij,...j->...i", inverse, r)
    sigma = sigma.ravel() if sigma.size == n else sigma
    if sigma.shape != (n,) or not (sigma > 0).all():
        raise ValueError(
            f"[curve_fit] sigma must be positive, of shape ({n},) or ({n}, {n}). "
            f"Received: shape {sigma.shape}, smallest value "
            f"{sigma.min(initial=np.inf):g}. Try sigma=None for equal errors."
        )
    return Deviations(sigma)
