"""A formula's problem of least squares, in its parameters and in their logarithms."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from kurve.solvers.derivatives import Derivatives, Digits, Given
from kurve.solvers.linear import EPS, Turned, dot, triangle

Whiten = Callable[[np.ndarray], np.ndarray]


def unchanged(r: np.ndarray) -> np.ndarray:
    """The whitening of equal errors."""
    return r


class Formula:
    """(p) -> f(x, *p) as a float or complex vector; complex for complex p only."""

    def __init__(self, f: Callable[..., Any], x: Any, shape: tuple[int, ...]) -> None:
        self.f, self.x, self.shape = f, x, shape

    def __call__(self, p: np.ndarray) -> np.ndarray:
        return self.vector(self.f(self.x, *p), p.dtype.kind == "c")

    def vector(self, values: Any, complex_too: bool = False) -> np.ndarray:
        """What f gives as a vector.

        Raises:
            TypeError, ValueError: it is not like ydata.
        """
        if type(values) is not np.ndarray:
            values = np.asarray(np.ma.filled(values, np.nan))
        if values.shape != self.shape:
            raise ValueError(
                "[curve_fit] f must give an array like ydata. Received: shape "
                f"{values.shape} for ydata of shape {self.shape}. "
                "Try a * np.ones_like(x) for a constant."
            )
        kind = values.dtype.kind
        if kind == "c" and not complex_too:
            raise TypeError(
                "[curve_fit] f must give real numbers. Received: complex ones. Try "
                "np.concatenate([z.real, z.imag]) of them and of ydata."
            )
        if kind not in "fc":
            values = values.astype(np.float64)
        return values if values.ndim == 1 else values.ravel()


class Fit:
    """The problem of `kurve.solvers.least_squares`: r = whiten(f(x, *p) - y).

    With bounds, parameters that stand at one and would leave are held (a step is the
    best one of the others), and what still leaves is projected back.
    """

    def __init__(
        self,
        formula: Formula,
        y: np.ndarray,
        whiten: Whiten,
        derivatives: Derivatives | Given,
        lower: np.ndarray,
        upper: np.ndarray,
    ) -> None:
        self.formula, self.y, self.whiten = formula, y, whiten
        self.derivatives, self.lower, self.upper = derivatives, lower, upper
        self.bounded = any(map(math.isfinite, lower.tolist() + upper.tolist()))
        self.calls = 0
        self.at: np.ndarray | None = None
        whitened = whiten(y).astype(np.float64, copy=False)
        self.size = math.sqrt(dot(whitened, whitened))
        self.eps = float(np.finfo(y.dtype).eps)

    def values(self, p: np.ndarray) -> np.ndarray:
        """f at p; the last ones are remembered, and so are residuals and cost."""
        if p is not self.at:
            self.calls += 1
            self.at, self.f_at = p, self.formula(p)
            r = self.whiten(self.f_at - self.y)
            self.r_at = r = r if r.dtype == np.float64 else r.astype(np.float64)
            self.cost_at = 0.5 * dot(r, r)
        return self.f_at

    def residuals(self, p: np.ndarray) -> np.ndarray | None:
        self.values(p)
        return self.r_at if math.isfinite(self.cost_at) else None

    def cost(self, p: np.ndarray, residuals: np.ndarray) -> float:
        return self.cost_at if p is self.at else 0.5 * dot(residuals, residuals)

    def linearize(self, p: np.ndarray, digits: Digits = Digits.ALL) -> Tangent | None:
        """The problem near p, or None where it is not finite."""
        values = self.values(p)
        columns, units = np.empty((len(p) + 1, len(self.y))), np.ones(len(p) + 1)
        jacobian, columns[-1] = columns[:-1], self.r_at
        units[:-1] = self.derivatives.rows(p, values, jacobian, digits)
        if self.whiten is not unchanged:
            jacobian[:] = self.whiten(jacobian)
        here = self.tangent(p, columns, units)
        if not math.isfinite(sum(self.terms) + here.cost):
            return None
        self.derivatives.note(self.terms, self.size)
        if self.bounded:
            slopes = here.triangle.T @ here.q
            here.held = (p <= self.lower) & (slopes > 0.0)
            here.held |= (p >= self.upper) & (slopes < 0.0)
        return here

    def tangent(
        self,
        p: np.ndarray,
        columns: np.ndarray,
        units: np.ndarray,
        made: tuple[np.ndarray, np.ndarray] | None = None,
        turned: Turned | None = None,
    ) -> Tangent:
        """The linear model at p; `rounding` is from now on the one near it."""
        r = columns[-1]
        here = Tangent(columns, units, 0.5 * dot(r, r), made, turned)
        self.terms = [
            a * abs(b) for a, b in zip(here.norms.tolist(), p.tolist(), strict=True)
        ]
        return here

    @property
    def rounding(self) -> float:
        """Of the residuals near the last tangent. The rounding of f is that of its
        terms, whatever they add up to: where p is known to its last digit, f is known
        to that of J_j p_j."""
        eps = max(self.eps, float(np.finfo(self.f_at.dtype).eps))
        return 8.0 * eps * (self.size + float(sum(self.terms)))

    def allows(self, p: np.ndarray) -> bool:
        return not self.bounded or bool(((p >= self.lower) & (p <= self.upper)).all())

    def project(self, p: np.ndarray) -> np.ndarray:
        return np.clip(p, self.lower, self.upper) if self.bounded else p

    def enter(self, p: np.ndarray) -> np.ndarray:
        """The variables that stand for parameters p, and back."""
        return p

    def leave(self, q: np.ndarray) -> np.ndarray:
        return q


class InLogarithms:
    """The same problem in variables q with p = start e^q; parameters that start at 0
    stay as they are."""

    def __init__(self, fit: Fit, start: np.ndarray) -> None:
        self.fit, self.unit = fit, start
        self.moved = start != 0.0

    @property
    def rounding(self) -> float:
        return self.fit.rounding

    def enter(self, p: np.ndarray) -> np.ndarray:
        q = p.astype(np.float64)
        q[self.moved] = np.log(p[self.moved] / self.unit[self.moved])
        return q

    def leave(self, q: np.ndarray) -> np.ndarray:
        return np.where(self.moved, self.unit * np.exp(q), q)

    def residuals(self, q: np.ndarray) -> np.ndarray | None:
        return self.fit.residuals(self.leave(q))

    def cost(self, q: np.ndarray, residuals: np.ndarray) -> float:
        return self.fit.cost(q, residuals)

    def linearize(self, q: np.ndarray) -> Tangent | None:
        p = self.leave(q)
        here = self.fit.linearize(p)
        if here is None:
            return None
        slope = np.where(self.moved, p, 1.0)  # dp/dq
        units = here.units * np.append(slope, 1.0)
        scaled = Tangent(here.columns, units, here.cost)
        scaled.held = here.held
        return scaled

    def allows(self, q: np.ndarray) -> bool:
        return self.fit.allows(self.leave(q))

    def project(self, q: np.ndarray) -> np.ndarray:
        p = self.leave(q)
        inside = self.fit.project(p)
        # A bound at 0 or beyond is never reached.
        kept = self.moved & ((inside == p) | (inside * self.unit <= 0.0))
        return np.where(kept, q, self.enter(inside))


class Tangent:
    """The linear model r + J d, through J = Q R and `linear.Turned`.

    Args:
        columns: (P + 1, n), those of J, and r.
        units: (P + 1,) what they are to be multiplied with; 1 for r.
        cost: |r|^2 / 2.
        made: what `triangle` makes of columns and units, where that is known.
        turned: the same turned.

    held: (P,) which parameters must not move; None for none
    """

    held: np.ndarray | None = None

    def __init__(
        self,
        columns: np.ndarray,
        units: np.ndarray,
        cost: float,
        made: tuple[np.ndarray, np.ndarray] | None = None,
        turned: Turned | None = None,
    ) -> None:
        self.columns, self.units, self.residuals = columns, units, columns[-1]
        self.whole, norms = made or triangle(columns, units)
        self.norms, self.cost = norms[:-1], cost
        self.least = EPS * max(columns.shape)
        if turned is not None:
            self.turned = turned

    @property
    def triangle(self) -> np.ndarray:
        return self.whole[:-1, :-1]

    @property
    def q(self) -> np.ndarray:
        return self.whole[:-1, -1]

    def prepare(self, scale: np.ndarray) -> float:
        if self.held is not None:
            scale = np.where(self.held, np.inf, scale)
        self.turned = Turned(self.whole, scale, self.least)
        return self.turned.size / math.sqrt(2.0 * self.cost) if self.cost else 0.0

    def full_rank(self) -> bool:
        """Whether every parameter that is not held has influence of its own."""
        s = self.turned.s.tolist()
        held = 0 if self.held is None else int(self.held.sum())
        return sum(a > self.least * max(s) for a in s) + held == len(s)

    def step(self, damping: float) -> np.ndarray:
        return self._solve(damping, self.turned.s * self.turned.u_r)

    def geodesic_correction(self, damping: float, curvature: np.ndarray) -> np.ndarray:
        columns = np.concatenate([self.columns[:-1], curvature[None]])
        q = triangle(columns, self.units)[0][:-1, -1]
        return self._solve(
            damping, self.turned.vt @ self.turned.unturned(q @ self.triangle)
        )

    def _solve(self, damping: float, back: np.ndarray) -> np.ndarray:
        squares = self.turned.s**2 + damping
        factors = np.divide(back, squares, np.zeros_like(back), where=squares > 0.0)
        return self.turned.unturned(-factors @ self.turned.vt)

    def newton(self) -> np.ndarray:
        """The undamped step, along what has influence."""
        return self.turned.within(math.inf)[0]

    def jvp(self, step: np.ndarray) -> np.ndarray:
        # Not `@`: BLAS's threads wait for each other where a core is busy.
        return np.einsum("j,jn->n", step * self.units[:-1], self.columns[:-1])

    def predicted_reduction(self, step: np.ndarray) -> float:
        change = self.triangle @ step
        return -float(change @ self.q) - 0.5 * float(change @ change)
