"""A formula's problem of least squares, in its parameters and in their logarithms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


class Fit:
    """The problem of `kurve.solvers.least_squares`: r = whiten(f(x, *p) - y).

    With bounds, parameters that stand at one and would leave are held (a step is the
    best one of the others), and what still leaves is projected back.
    """

    @np.errstate(all="ignore")
    def __init__(
        self,
        formula: Callable[[np.ndarray], np.ndarray],
        y: np.ndarray,
        whiten: Callable[[np.ndarray], np.ndarray],
        jacobian: Callable[[np.ndarray, np.ndarray], np.ndarray],
        lower: np.ndarray,
        upper: np.ndarray,
    ) -> None:
        self.formula, self.y, self.whiten = formula, y, whiten
        self.jacobian, self.lower, self.upper = jacobian, lower, upper
        self.calls = 0
        size = np.linalg.norm(whiten(np.abs(y)).astype(np.float64))
        self.rounding = 8.0 * float(np.finfo(np.float64).eps) * float(size)

    def residuals(self, p: np.ndarray) -> np.ndarray | None:
        self.calls += 1
        r = self.whiten(self.formula(p) - self.y)
        return r if np.isfinite(r).all() else None

    def cost(self, p: np.ndarray, residuals: np.ndarray) -> float:
        return 0.5 * float(residuals @ residuals)

    def linearize(self, p: np.ndarray) -> Tangent | None:
        values = self.formula(p)
        r = self.whiten(values - self.y)
        jacobian = self.whiten(self.jacobian(p, values))
        here = Tangent(r, jacobian, p <= self.lower, p >= self.upper)
        return here if np.isfinite([here.cost, *here.norms]).all() else None

    def allows(self, p: np.ndarray) -> bool:
        return bool(((p >= self.lower) & (p <= self.upper)).all())

    def project(self, p: np.ndarray) -> np.ndarray:
        return np.clip(p, self.lower, self.upper)

    def enter(self, p: np.ndarray) -> np.ndarray:
        """The variables that stand for parameters p, and back."""
        return p

    def leave(self, q: np.ndarray) -> np.ndarray:
        return q


class InLogarithms:
    """The same problem in variables q with p = start e^q; parameters that start at 0
    stay as they are."""

    def __init__(self, fit: Fit, start: np.ndarray) -> None:
        self.fit, self.unit, self.rounding = fit, start, fit.rounding
        self.moved = start != 0.0

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
        low, high = p <= self.fit.lower, p >= self.fit.upper
        low, high = np.where(slope > 0, low, high), np.where(slope > 0, high, low)
        return Tangent(here.residuals, here.jacobian * slope, low, high)

    def allows(self, q: np.ndarray) -> bool:
        return self.fit.allows(self.leave(q))

    def project(self, q: np.ndarray) -> np.ndarray:
        p = self.leave(q)
        inside = self.fit.project(p)
        # A bound at 0 or beyond is never reached.
        kept = self.moved & ((inside == p) | (inside * self.unit <= 0.0))
        return np.where(kept, q, self.enter(inside))


class Tangent:
    """The linear model r + J d, solved through the singular values of J D^-1: that
    keeps digits which J^T J would lose, and makes every further damping cheap."""

    def __init__(
        self, r: np.ndarray, jacobian: np.ndarray, at_lower: Any, at_upper: Any
    ) -> None:
        self.residuals, self.jacobian = r, jacobian
        self.cost = 0.5 * float(r @ r)
        self.norms = np.sqrt(np.sum(jacobian**2, axis=0))
        gradient = jacobian.T @ r.astype(np.float64)
        self.free = ~((at_lower & (gradient > 0)) | (at_upper & (gradient < 0)))

    def prepare(self, scale: np.ndarray) -> float:
        self.scale = scale[self.free]
        self.u, self.s, self.vt = np.linalg.svd(
            self.jacobian[:, self.free] / self.scale, full_matrices=False
        )
        r = self.residuals.astype(np.float64)
        self.u_r = self.u.T @ r
        kept = self.s > self.smallest()
        size = float(np.linalg.norm(r))
        return float(np.linalg.norm(self.u_r[kept])) / size if size else 0.0

    def smallest(self) -> float:
        """Singular values up to this are zero but for rounding."""
        most = float(self.s.max(initial=0.0))
        return float(np.finfo(np.float64).eps) * max(self.jacobian.shape) * most

    def full_rank(self) -> bool:
        return bool((self.s > self.smallest()).all())

    def step(self, damping: float) -> np.ndarray:
        return self._solve(damping, self.u_r)

    def bend(self, damping: float, curvature: np.ndarray) -> np.ndarray:
        return self._solve(damping, self.u.T @ curvature.astype(np.float64))

    def _solve(self, damping: float, u_v: np.ndarray) -> np.ndarray:
        factors = np.where(self.s > 0.0, self.s / (self.s**2 + damping), 0.0)
        step = np.zeros(len(self.free))
        step[self.free] = -(self.vt.T @ (factors * u_v)) / self.scale
        return step

    def newton(self) -> np.ndarray:
        """The undamped step, along what has influence."""
        kept = self.s > self.smallest()
        return self._solve(0.0, np.where(kept, self.u_r, 0.0))

    def along(self, step: np.ndarray) -> np.ndarray:
        return self.jacobian @ step

    def promised(self, step: np.ndarray) -> float:
        change = self.jacobian @ step
        return -float(change @ self.residuals) - 0.5 * float(change @ change)
