"""Derivatives of a formula f(p) -> (n,) with respect to its parameters.

* The chain rule, for formulas with `kurve.ops` and where complex numbers fail: see
  `kurve.solvers.tracing`.
* "cs", the complex step: f(p + ih) = f(p) + ih f'(p) + ..., so that f' = Im f / h is
  exact to the last digit for any tiny h, because nothing is subtracted (Squire & Trapp
  1998). It needs a formula that NumPy can evaluate in the complex plane.
* "3-point", central differences, improved by one order with a second pair of points
  (Richardson 1911), which also estimates the error: where it is large, other widths are
  tried, and the result with the smallest error is used (Ridders 1982).
* "2-point", forward differences: half the work, half the digits.

By default, the complex step is used if central differences confirm it.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from enum import Enum
from typing import Any

import numpy as np

from kurve.solvers.linear import dot

VectorFunction = Callable[[np.ndarray], np.ndarray]

TINY = 1e-200
"""Complex steps h relative to |p|: h^2 must underflow, but not h."""

WIDTHS = (1e-3, 1e-4, 1e-2, 1e-5, 1e-1)
"""Difference widths as fractions of a parameter, the default first."""

FORWARD = 1.5e-8
"""Width of forward differences: square root of the float64 epsilon."""

CENTRAL = 6e-6
"""Width of central differences: cube root of the float64 epsilon."""

GOOD = 1e-9
"""Accepted error of a difference, as a fraction of the largest derivative."""


class Accuracy(Enum):
    """The required accuracy of derivatives: forward differences provide half of the
    digits, central ones most of them."""

    HALF, MOST, FULL = range(3)


class Derivatives:
    """The Jacobian (n, P) of `formula` at points between `lower` and `upper`.

    method: how it is computed; None until the complex step has been tried
    width_factors: (P,) factors of the difference widths
    """

    method: str | None

    trace: Callable[[np.ndarray, np.ndarray, np.ndarray], Any] | None = None
    """The traced formula, see `kurve.solvers.tracing`; None if it should not be tried
    (again)."""

    traced: Any = None
    """The result of `trace`."""

    def __init__(
        self,
        formula: VectorFunction,
        lower: np.ndarray,
        upper: np.ndarray,
        method: str | None = None,
    ) -> None:
        self.formula, self.lower, self.upper = formula, lower, upper
        self.method = method
        self.width_factors = [1.0] * len(lower)
        self.uppers = upper.tolist()
        self.max_widths = [
            (high - low) / 8.0
            for low, high in zip(lower.tolist(), self.uppers, strict=True)
        ]
        self.confirmed_at: np.ndarray | None = None

    @property
    def exact(self) -> bool:
        """Whether full accuracy costs no more than half accuracy."""
        return self.traced is not None and bool(self.traced.is_cheap)

    def try_trace(self, p: np.ndarray, at_p: np.ndarray, out: np.ndarray) -> bool:
        """Try to compute the derivatives at p by `trace`, writing them to out."""
        trace, self.trace = self.trace, None
        self.traced = None if trace is None else trace(p, at_p, out)
        found = self.traced is not None
        self.method = "traced" if found else self.method
        return found

    def __call__(self, p: np.ndarray, at_p: np.ndarray) -> np.ndarray:
        """The Jacobian (n, P) at p (P,), where at_p = formula(p)."""
        out = np.empty((len(p), len(at_p)))
        multipliers = self.rows(p, at_p, out)
        return out.T * multipliers

    def rows(
        self,
        p: np.ndarray,
        at_p: np.ndarray,
        out: np.ndarray,
        accuracy: Accuracy = Accuracy.FULL,
        multipliers: np.ndarray | None = None,
    ) -> np.ndarray | float:
        """Write the columns of the Jacobian to the rows of out (P, n), up to the
        accuracy of the method.

        Args:
            multipliers: (P,), if out holds differences from near p, which can then
                confirm the complex step.

        Returns:
            The factor of each row, (P,) or one for all.
        """
        if self.method == "traced" and (accuracy is Accuracy.FULL or self.exact):
            self.traced.jacobian(p, out)
            return 1.0
        if accuracy is not Accuracy.FULL or self.method == "2-point":
            return self.differences(p, at_p, out, accuracy is Accuracy.MOST)
        if self.method in (None, "cs"):
            confirmed = self.complex_step(p, out, multipliers)
            valid = confirmed is not None
            if self.method is None:
                valid = valid and (confirmed or self.agrees(p, at_p, out))
                if not valid and self.try_trace(p, at_p, out):
                    return 1.0
                self.method = "cs" if valid else "3-point"
                self.confirmed_at = p.copy()
            if self.method == "cs" and valid:
                return 1.0
        for j in range(len(p)):
            out[j] = self.central(p, at_p, j)
        return 1.0

    def adapt_widths(self, terms: list[float], data_norm: float) -> None:
        """Choose difference widths by comparing |J_j p_j| with the norm of the data: a
        peak at 1e6 of width 1 needs a small fraction of its position, a slope a large
        one."""
        self.width_factors = [
            math.sqrt(min(1.0, data_norm / term)) if term else factor
            for term, factor in zip(terms, self.width_factors, strict=True)
        ]

    def agrees(
        self,
        p: np.ndarray,
        at_p: np.ndarray,
        rows: np.ndarray,
        whiten: VectorFunction | None = None,
    ) -> bool:
        """Whether a difference along all parameters at once, each with the same effect,
        confirms these derivatives: complex steps can be wrong if a formula drops
        imaginary parts."""
        norms = [math.sqrt(dot(row, row)) for row in rows]
        values = at_p.astype(np.float64, copy=False)
        effect, point = 1e-6 * math.sqrt(dot(values, values)), p.copy()
        steps = np.empty(len(p))
        for j, norm in enumerate(norms):
            h = self.width(p, j, 1e-6, effect / norm if norm else 0.0)
            up = float(p[j]) + h <= self.uppers[j]
            down = float(p[j]) - h >= self.lower[j]
            steps[j] = -h if down and (j % 2 or not up) else h
        point += steps
        there = self.formula(point)
        change = there - at_p if whiten is None else whiten(there) - whiten(at_p)
        expected = np.einsum("j,jn->n", steps, rows)
        error = np.ascontiguousarray(change - expected, np.float64)
        terms = float(np.vdot(np.abs(p), norms)) + effect * 1e6
        limit = 1e-4 * math.sqrt(dot(expected, expected)) + 1e-15 * terms
        return math.sqrt(dot(error, error)) <= limit

    def certain(self, p: np.ndarray) -> bool:
        """Whether complex steps are unused or were confirmed near p."""
        if self.method != "cs" or self.confirmed_at is None:
            return self.method != "cs"
        pairs = zip(p.tolist(), self.confirmed_at.tolist(), strict=True)
        return all(abs(a - b) <= 1e-2 * abs(b) for a, b in pairs)

    def complex_step(
        self, p: np.ndarray, out: np.ndarray, multipliers: np.ndarray | None = None
    ) -> bool | None:
        """Write exact rows to out.

        Returns:
            Whether the previous content of out, times multipliers, confirms them; None
            if the formula rejects complex numbers or the rows are not finite.
        """
        if self.method is not None:
            return self._complex_step(p, out, None)
        with warnings.catch_warnings():  # only the first time, because it is slow
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            return self._complex_step(p, out, multipliers)

    def _complex_step(
        self, p: np.ndarray, out: np.ndarray, multipliers: np.ndarray | None
    ) -> bool | None:
        base, confirmed = p.astype(np.complex128), multipliers is not None
        for j, at in enumerate(p.tolist()):
            row = out[j]
            h = TINY * max(abs(at), TINY) if at else TINY
            point = base.copy()
            point[j] = complex(at, h)
            try:
                values = self.formula(point)
            except Exception:  # anything a user's formula raises
                return None
            before = None if multipliers is None else row * multipliers[j]
            if values.dtype.kind == "c":
                np.divide(values.imag, h, row)
            else:
                row[:] = 0.0
            if before is not None:
                before -= row
                confirmed &= dot(before, before) <= 1e-8 * dot(row, row)
            del values, before  # so that NumPy can reuse their memory
        flat = out.reshape(-1)
        return confirmed if math.isfinite(dot(flat, flat)) else None

    def central(self, p: np.ndarray, at_p: np.ndarray, j: int) -> np.ndarray:
        """Column j by differences D over h and 2h: (4 D(h) - D(2h)) / 3."""
        best, smallest = np.full(len(at_p), np.nan), np.inf
        for width in WIDTHS:
            h = self.width(p, j, width)
            if not h:
                continue
            if self.lower[j] <= p[j] - 2 * h and p[j] + 2 * h <= self.upper[j]:
                one = (self.at(p, j, h) - self.at(p, j, -h)) / (2 * h)
                two = (self.at(p, j, 2 * h) - self.at(p, j, -2 * h)) / (4 * h)
                column = (4.0 * one - two) / 3.0
            else:  # one-sided at a bound
                s = h if p[j] + 4 * h <= self.upper[j] else -h
                one = self.one_sided(p, at_p, j, s)
                column = (4.0 * one - self.one_sided(p, at_p, j, 2 * s)) / 3.0
            size = float(np.abs(column).max(initial=0.0))
            # The truncation error is at most the square of the second pair's
            # correction, and the rounding error is that of the values divided by h.
            correction = float(np.abs(column - one).max(initial=0.0))
            error = 3e-16 * float(np.abs(at_p).max(initial=0.0)) / abs(h)
            # No change at all can mean that h leaves the range where f changes.
            error = (correction * correction / size + error) / size if size else 1e300
            if np.isfinite(size) and error < smallest:
                best, smallest = column, error
            if error <= GOOD:
                break
        return best

    def one_sided(
        self, p: np.ndarray, at_p: np.ndarray, j: int, h: float
    ) -> np.ndarray:
        """Column j from points on one side: (4 f(h) - f(2h) - 3 f(0)) / 2h."""
        return (4 * self.at(p, j, h) - self.at(p, j, 2 * h) - 3 * at_p) / (2 * h)

    def differences(
        self, p: np.ndarray, at_p: np.ndarray, out: np.ndarray, central: bool
    ) -> np.ndarray:
        """Write f(h) - f(0), or f(h) - f(-h), for each parameter to out (P, n); return
        1 / h, or 1 / 2h, (P,)."""
        formula, multipliers = self.formula, np.empty(len(p))
        width = CENTRAL if central else FORWARD
        width = width if at_p.dtype != np.float32 else 3e-4
        for j, at in enumerate(p.tolist()):
            h = width * self.width_factors[j] * (abs(at) or 1.0)
            h = min(h, self.max_widths[j])
            there = at - h if at + h > self.uppers[j] else at + h
            point, low, at_low = p.copy(), at, at_p
            if central and self.lower[j] <= at - h and there > at:
                low = point[j] = at - h
                at_low = formula(point)
                point = p.copy()
            point[j] = there
            np.subtract(formula(point), at_low, out[j])
            multipliers[j] = 1.0 / (there - low)
        return multipliers

    def width(self, p: np.ndarray, j: int, fraction: float, h: float = 0.0) -> float:
        """A width, h or this fraction of the parameter, that is exact in binary: (p +
        h) - p, limited by narrow bounds."""
        at = float(p[j])
        h = h or fraction * self.width_factors[j] * (abs(at) or 1.0)
        return (at + min(h, self.max_widths[j])) - at

    def at(self, p: np.ndarray, j: int, h: float) -> np.ndarray:
        """f at p with h added to parameter j."""
        point = p.copy()
        point[j] += h
        return self.formula(point)


class UserJacobian:
    """Derivatives by a user's function, p -> (n, P)."""

    method = "given"

    def __init__(self, jacobian: VectorFunction) -> None:
        self.jacobian = jacobian

    def rows(
        self,
        p: np.ndarray,
        at_p: np.ndarray,
        out: np.ndarray,
        accuracy: Accuracy = Accuracy.FULL,
    ) -> np.ndarray:
        out[:] = self.jacobian(p).T
        return np.ones(len(p))

    def adapt_widths(self, terms: list[float], data_norm: float) -> None:
        pass
