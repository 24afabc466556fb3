"""Least-squares problems of formulas, in parameters or their logarithms."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from kurve.solvers.derivatives import Accuracy, Derivatives, UserJacobian
from kurve.solvers.linear import EPS, ScaledSVD, dot, qr

Whiten = Callable[[np.ndarray], np.ndarray]


def unchanged(r: np.ndarray) -> np.ndarray:
    """The whitening of independent errors of variance 1."""
    return r


class Formula:
    """p -> f(x, *p) as a float or complex vector; complex for complex p only."""

    def __init__(self, f: Callable[..., Any], x: Any, shape: tuple[int, ...]) -> None:
        self.f, self.x, self.shape = f, x, shape

    def __call__(self, p: np.ndarray) -> np.ndarray:
        return self.vector(self.f(self.x, *p), p.dtype.kind == "c")

    def vector(self, values: Any, allow_complex: bool = False) -> np.ndarray:
        """The result of f, as a vector.

        Raises:
            TypeError, ValueError: its shape differs from ydata.
        """
        if type(values) is not np.ndarray:
            values = np.asarray(np.ma.filled(values, np.nan))
        if values.shape != self.shape:
            raise ValueError(
                "[curve_fit] f must return an array of the shape of ydata. Received: "
                f"shape {values.shape} for ydata of shape {self.shape}. "
                "Try a * np.ones_like(x) for a constant."
            )
        kind = values.dtype.kind
        if kind == "c" and not allow_complex:
            raise TypeError(
                "[curve_fit] f must return real numbers. Received: complex numbers. "
                "Try np.concatenate([z.real, z.imag]) for both f and ydata."
            )
        if kind not in "fc":
            values = values.astype(np.float64)
        return values if values.ndim == 1 else values.ravel()


class FormulaProblem:
    """The problem of `kurve.solvers.least_squares`: r = whiten(f(x, *p) - y).

    With bounds, parameters at a bound that would leave it are held fixed (the step is
    optimal in the others), and anything that still leaves the bounds is projected back.

    calls: number of calls of f, not counting derivatives
    """

    def __init__(
        self,
        formula: Formula,
        y: np.ndarray,
        whiten: Whiten,
        derivatives: Derivatives | UserJacobian,
        lower: np.ndarray,
        upper: np.ndarray,
    ) -> None:
        self.formula, self.y, self.whiten = formula, y, whiten
        self.derivatives, self.lower, self.upper = derivatives, lower, upper
        self.bounded = any(map(math.isfinite, lower.tolist() + upper.tolist()))
        self.calls = 0
        self.cached_at: np.ndarray | None = None
        whitened = whiten(y).astype(np.float64, copy=False)
        self.data_norm = math.sqrt(dot(whitened, whitened))
        self.eps = float(np.finfo(y.dtype).eps)

    def values(self, p: np.ndarray) -> np.ndarray:
        """f at p; values, residuals and cost at the last point are cached."""
        if p is not self.cached_at:
            self.calls += 1
            self.cached_at, self.cached_values = p, self.formula(p)
            r = self.whiten(self.cached_values - self.y)
            r = r if r.dtype == np.float64 else r.astype(np.float64)
            self.cached_residuals, self.cached_cost = r, 0.5 * dot(r, r)
        return self.cached_values

    def residuals(self, p: np.ndarray) -> np.ndarray | None:
        self.values(p)
        return self.cached_residuals if math.isfinite(self.cached_cost) else None

    def cost(self, p: np.ndarray, residuals: np.ndarray) -> float:
        if p is self.cached_at:
            return self.cached_cost
        return 0.5 * dot(residuals, residuals)

    def linearize(
        self, p: np.ndarray, accuracy: Accuracy = Accuracy.FULL
    ) -> QRLinearization | None:
        """The problem near p, or None if it is not finite."""
        values = self.values(p)
        columns = np.empty((len(p) + 1, len(self.y)))
        multipliers = np.ones(len(p) + 1)
        jacobian, columns[-1] = columns[:-1], self.cached_residuals
        multipliers[:-1] = self.derivatives.rows(p, values, jacobian, accuracy)
        if self.whiten is not unchanged:
            jacobian[:] = self.whiten(jacobian)
        here = self.linearization(p, columns, multipliers)
        if not math.isfinite(sum(self.terms) + here.cost):
            return None
        self.derivatives.adapt_widths(self.terms, self.data_norm)
        if self.bounded:
            gradient = here.r_jacobian.T @ here.qr_residuals
            here.held = (p <= self.lower) & (gradient > 0.0)
            here.held |= (p >= self.upper) & (gradient < 0.0)
        return here

    def linearization(
        self,
        p: np.ndarray,
        columns: np.ndarray,
        multipliers: np.ndarray,
        factorized: tuple[np.ndarray, np.ndarray] | None = None,
        svd: ScaledSVD | None = None,
    ) -> QRLinearization:
        """The linear model at p; `rounding` then refers to p."""
        r = columns[-1]
        here = QRLinearization(columns, multipliers, 0.5 * dot(r, r), factorized, svd)
        self.terms = [
            a * abs(b) for a, b in zip(here.norms.tolist(), p.tolist(), strict=True)
        ]
        return here

    @property
    def rounding(self) -> float:
        """Length of the rounding error of the residuals near the last linearization.
        The rounding error of f is that of its terms, whatever they add up to: if p is
        known to its last digit, f is known to that of J_j p_j."""
        eps = max(self.eps, float(np.finfo(self.cached_values.dtype).eps))
        return 8.0 * eps * (self.data_norm + float(sum(self.terms)))

    def allows(self, p: np.ndarray) -> bool:
        return not self.bounded or bool(((p >= self.lower) & (p <= self.upper)).all())

    def project(self, p: np.ndarray) -> np.ndarray:
        return np.clip(p, self.lower, self.upper) if self.bounded else p

    def to_variables(self, p: np.ndarray) -> np.ndarray:
        """The variables of the problem for parameters p."""
        return p

    def to_parameters(self, q: np.ndarray) -> np.ndarray:
        """The parameters for variables q of the problem."""
        return q


class LogProblem:
    """The same problem in variables q with p = start e^q; parameters that start at 0
    are their own variables."""

    def __init__(self, problem: FormulaProblem, start: np.ndarray) -> None:
        self.problem, self.start = problem, start
        self.logarithmic = start != 0.0

    @property
    def rounding(self) -> float:
        return self.problem.rounding

    def to_variables(self, p: np.ndarray) -> np.ndarray:
        q, logarithmic = p.astype(np.float64), self.logarithmic
        q[logarithmic] = np.log(p[logarithmic] / self.start[logarithmic])
        return q

    def to_parameters(self, q: np.ndarray) -> np.ndarray:
        return np.where(self.logarithmic, self.start * np.exp(q), q)

    def residuals(self, q: np.ndarray) -> np.ndarray | None:
        return self.problem.residuals(self.to_parameters(q))

    def cost(self, q: np.ndarray, residuals: np.ndarray) -> float:
        return self.problem.cost(q, residuals)

    def linearize(self, q: np.ndarray) -> QRLinearization | None:
        p = self.to_parameters(q)
        here = self.problem.linearize(p)
        if here is None:
            return None
        dp_dq = np.where(self.logarithmic, p, 1.0)
        multipliers = here.multipliers * np.append(dp_dq, 1.0)
        scaled = QRLinearization(here.columns, multipliers, here.cost)
        scaled.held = here.held
        return scaled

    def allows(self, q: np.ndarray) -> bool:
        return self.problem.allows(self.to_parameters(q))

    def project(self, q: np.ndarray) -> np.ndarray:
        p = self.to_parameters(q)
        inside = self.problem.project(p)
        # A bound at 0 or beyond is never reached.
        unreachable = (inside == p) | (inside * self.start <= 0.0)
        return np.where(self.logarithmic & unreachable, q, self.to_variables(inside))


class QRLinearization:
    """The linear model r + J d, through R of [J, r] = Q R and `linear.ScaledSVD`.

    Args:
        columns: (P + 1, n), the columns of J, and r, each over its multiplier.
        multipliers: (P + 1,), 1 for r.
        cost: |r|^2 / 2.
        factorized: what `linear.qr` returns for columns and multipliers, if known.
        svd: their scaled SVD, if known.

    norms: (P,) of J's columns
    held:  (P,) which parameters are fixed; None for none
    """

    held: np.ndarray | None = None

    def __init__(
        self,
        columns: np.ndarray,
        multipliers: np.ndarray,
        cost: float,
        factorized: tuple[np.ndarray, np.ndarray] | None = None,
        svd: ScaledSVD | None = None,
    ) -> None:
        self.columns, self.multipliers = columns, multipliers
        self.residuals, self.cost = columns[-1], cost
        self.r, norms = factorized or qr(columns, multipliers)
        self.norms = norms[:-1]
        self.rank_tolerance = EPS * max(columns.shape)
        if svd is not None:
            self.svd = svd

    @property
    def r_jacobian(self) -> np.ndarray:
        """R of J alone, (P, P)."""
        return self.r[:-1, :-1]

    @property
    def qr_residuals(self) -> np.ndarray:
        """Q^T r, (P,)."""
        return self.r[:-1, -1]

    def prepare(self, scale: np.ndarray) -> float:
        if self.held is not None:
            scale = np.where(self.held, np.inf, scale)
        self.svd = ScaledSVD(self.r, scale, self.rank_tolerance)
        if not self.cost:
            return 0.0
        return self.svd.projected_norm / math.sqrt(2.0 * self.cost)

    def full_rank(self) -> bool:
        """Whether every free parameter has an independent influence."""
        s = self.svd.s.tolist()
        held = 0 if self.held is None else int(self.held.sum())
        return sum(a > self.rank_tolerance * max(s) for a in s) + held == len(s)

    def step(self, damping: float) -> np.ndarray:
        return self._solve(damping, self.svd.s * self.svd.ur)

    def geodesic_correction(self, damping: float, curvature: np.ndarray) -> np.ndarray:
        columns = np.concatenate([self.columns[:-1], curvature[None]])
        qt_curvature = qr(columns, self.multipliers)[0][:-1, -1]
        gradient = self.svd.unscaled(qt_curvature @ self.r_jacobian)
        return self._solve(damping, self.svd.vt @ gradient)

    def _solve(self, damping: float, rotated_gradient: np.ndarray) -> np.ndarray:
        """-(J^T J + damping D^2)^-1 of the gradient, given as V^T D^-1 of it."""
        squares = self.svd.s**2 + damping
        factors = np.divide(
            rotated_gradient,
            squares,
            np.zeros_like(rotated_gradient),
            where=squares > 0.0,
        )
        return self.svd.unscaled(-factors @ self.svd.vt)

    def newton(self) -> np.ndarray:
        """The Gauss-Newton step, along the directions with influence."""
        return self.svd.trust_region_step(math.inf)[0]

    def jvp(self, step: np.ndarray) -> np.ndarray:
        # Not `@`: BLAS threads wait for each other if a core is busy.
        return np.einsum("j,jn->n", step * self.multipliers[:-1], self.columns[:-1])

    def predicted_reduction(self, step: np.ndarray) -> float:
        change = self.r_jacobian @ step
        squares = float(change @ change)
        return -float(change @ self.qr_residuals) - 0.5 * squares
