"""Derivatives of a formula f(p) -> (n,) by its parameters, without pen and paper.

* "cs", the complex step: f(p + ih) = f(p) + ih f'(p) + ..., so that f' = Im f / h to
  the last digit for any tiny h, because nothing is subtracted (Squire & Trapp 1998). It
  needs a formula that NumPy can follow into the complex plane.
* "3-point", central differences, made one order better by a second pair of points
  (Richardson 1911), which also shows the error: where that is large, other steps are
  tried and the most certain result is kept (Ridders 1982).
* "2-point", forward differences: half the work, half the digits.

Without a choice the complex step is taken if central differences agree with it.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from enum import Enum

import numpy as np

from kurve.solvers.linear import dot

Formula = Callable[[np.ndarray], np.ndarray]

TINY = 1e-200
"""Complex steps h |p|: their square must vanish beside 1, not in the numbers."""

WIDTHS = (1e-3, 1e-4, 1e-2, 1e-5, 1e-1)
"""Shares of a parameter, the usual one first, that differences are tried over."""

FORWARD = 1.5e-8
"""Share of a parameter for forward differences, the root of float64's rounding."""

CENTRAL = 6e-6
"""The same for central differences, the cube root."""

GOOD = 1e-9
"""Error of a difference, as a share of the largest derivative, that is good enough."""


class Digits(Enum):
    """How many digits of derivatives count: forward differences have half of them,
    central ones most."""

    HALF, MOST, ALL = range(3)


class Derivatives:
    """The Jacobian (n, P) of `formula` at points between `lower` and `upper`."""

    def __init__(
        self,
        formula: Formula,
        lower: np.ndarray,
        upper: np.ndarray,
        method: str | None = None,
    ) -> None:
        self.formula, self.lower, self.upper = formula, lower, upper
        self.method = method
        self.shares = [1.0] * len(lower)
        self.uppers = upper.tolist()
        self.widest = [
            (high - low) / 8.0
            for low, high in zip(lower.tolist(), self.uppers, strict=True)
        ]
        self.confirmed: np.ndarray | None = None

    def __call__(self, p: np.ndarray, at_p: np.ndarray) -> np.ndarray:
        """Args:
        p: (P,), where.
        at_p: formula(p).
        """
        out = np.empty((len(p), len(at_p)))
        units = self.rows(p, at_p, out)
        return out.T * units

    def rows(
        self,
        p: np.ndarray,
        at_p: np.ndarray,
        out: np.ndarray,
        digits: Digits = Digits.ALL,
        units: np.ndarray | None = None,
    ) -> np.ndarray | float:
        """Write the Jacobian's columns to out (P, n), with as many digits as the
        method gives at most.

        Args:
            units: (P,), where out holds differences from near p, over these.

        Returns:
            What each row is to be multiplied with, (P,) or the same for all.
        """
        if digits is not Digits.ALL or self.method == "2-point":
            return self.differences(p, at_p, out, digits is Digits.MOST)
        if self.method in (None, "cs"):
            confirmed = self.complex_step(p, out, units)
            found = confirmed is not None
            if self.method is None:
                found = found and (confirmed or self.agrees(p, at_p, out))
                self.method = "cs" if found else "3-point"
                self.confirmed = p.copy()
            if self.method == "cs" and found:
                return 1.0
        for j in range(len(p)):
            out[j] = self.central(p, at_p, j)
        return 1.0

    def note(self, terms: list[float], size: float) -> None:
        """Learn from |J_j p_j| beside the values how wide differences may be: a peak
        at 1e6 that is 1 wide wants a small part of its place, a slope a large one."""
        self.shares = [
            math.sqrt(min(1.0, size / t)) if t else share
            for t, share in zip(terms, self.shares, strict=True)
        ]

    def agrees(
        self,
        p: np.ndarray,
        at_p: np.ndarray,
        rows: np.ndarray,
        whiten: Formula | None = None,
    ) -> bool:
        """Whether a difference along all parameters at once, each as strong as the
        others, confirms these derivatives: complex steps can be wrong where a formula
        drops imaginary parts."""
        norms = [math.sqrt(dot(row, row)) for row in rows]
        whole = at_p.astype(np.float64, copy=False)
        reach, point = 1e-6 * math.sqrt(dot(whole, whole)), p.copy()
        steps = np.empty(len(p))
        for j, norm in enumerate(norms):
            h = self.width(p, j, 1e-6, reach / norm if norm else 0.0)
            up = float(p[j]) + h <= self.uppers[j]
            down = float(p[j]) - h >= self.lower[j]
            steps[j] = -h if down and (j % 2 or not up) else h
        point += steps
        there = self.formula(point)
        found = there - at_p if whiten is None else whiten(there) - whiten(at_p)
        wanted = np.einsum("j,jn->n", steps, rows)
        wrong = np.ascontiguousarray(found - wanted, np.float64)
        terms = float(np.vdot(np.abs(p), norms)) + reach * 1e6
        most = 1e-4 * math.sqrt(dot(wanted, wanted)) + 1e-15 * terms
        return math.sqrt(dot(wrong, wrong)) <= most

    def certain(self, p: np.ndarray) -> bool:
        """Whether complex steps are not in use, or were confirmed near p."""
        if self.method != "cs" or self.confirmed is None:
            return self.method != "cs"
        near = zip(p.tolist(), self.confirmed.tolist(), strict=True)
        return all(abs(a - b) <= 1e-2 * abs(b) for a, b in near)

    def complex_step(
        self, p: np.ndarray, out: np.ndarray, units: np.ndarray | None = None
    ) -> bool | None:
        """Write exact rows to out.

        Returns:
            Whether what was there, times units, confirms them; None where the formula
            refuses complex numbers, or they are not finite.
        """
        if self.method is not None:
            return self._complex_step(p, out, None)
        with warnings.catch_warnings():  # once, for it takes its time
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            return self._complex_step(p, out, units)

    def _complex_step(
        self, p: np.ndarray, out: np.ndarray, units: np.ndarray | None
    ) -> bool | None:
        base, confirmed = p.astype(np.complex128), units is not None
        for j, at in enumerate(p.tolist()):
            row = out[j]
            h = TINY * max(abs(at), TINY) if at else TINY
            point = base.copy()
            point[j] = complex(at, h)
            try:
                values = self.formula(point)
            except Exception:  # whatever a user's formula raises
                return None
            before = None if units is None else row * units[j]
            if values.dtype.kind == "c":
                np.divide(values.imag, h, row)
            else:
                row[:] = 0.0
            if before is not None:
                before -= row
                confirmed &= dot(before, before) <= 1e-8 * dot(row, row)
            del values, before  # their memory serves the next ones
        whole = out.reshape(-1)
        return confirmed if math.isfinite(dot(whole, whole)) else None

    def central(self, p: np.ndarray, at_p: np.ndarray, j: int) -> np.ndarray:
        """Column j by differences over h and 2h: (4 D(h) - D(2h)) / 3."""
        best, least = np.full(len(at_p), np.nan), np.inf
        for width in WIDTHS:
            h = self.width(p, j, width)
            if not h:
                continue
            if self.lower[j] <= p[j] - 2 * h and p[j] + 2 * h <= self.upper[j]:
                one = (self.at(p, j, h) - self.at(p, j, -h)) / (2 * h)
                two = (self.at(p, j, 2 * h) - self.at(p, j, -2 * h)) / (4 * h)
                found = (4.0 * one - two) / 3.0
            else:  # at a bound, from one side
                s = h if p[j] + 4 * h <= self.upper[j] else -h
                one = self.one_sided(p, at_p, j, s)
                found = (4.0 * one - self.one_sided(p, at_p, j, 2 * s)) / 3.0
            size = float(np.abs(found).max(initial=0.0))
            # Cut-off is at most the second pair's correction, to the power of 2;
            # rounding is that of the values over h.
            cut = float(np.abs(found - one).max(initial=0.0))
            error = 3e-16 * float(np.abs(at_p).max(initial=0.0)) / abs(h)
            # No change at all may mean that h leads out of where f changes.
            error = (cut * cut / size + error) / size if size else 1e300
            if np.isfinite(size) and error < least:
                best, least = found, error
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
        """Write f(h) - f(0) of each parameter, or f(h) - f(-h), to out (P, n); returns
        1 / h, or 1 / 2h, (P,)."""
        formula, units = self.formula, np.empty(len(p))
        near = CENTRAL if central else FORWARD
        near = near if at_p.dtype != np.float32 else 3e-4
        for j, at in enumerate(p.tolist()):
            h = min(near * self.shares[j] * (abs(at) or 1.0), self.widest[j])
            there = at - h if at + h > self.uppers[j] else at + h
            point, low, at_low = p.copy(), at, at_p
            if central and self.lower[j] <= at - h and there > at:
                low = point[j] = at - h
                at_low = formula(point)
                point = p.copy()
            point[j] = there
            np.subtract(formula(point), at_low, out[j])
            units[j] = 1.0 / (there - low)
        return units

    def width(self, p: np.ndarray, j: int, share: float, h: float = 0.0) -> float:
        """A step, h or this share of the parameter, that is exact in binary: p + h - p.
        Within narrow bounds, a part."""
        at = float(p[j])
        h = h or share * self.shares[j] * (abs(at) or 1.0)
        return (at + min(h, self.widest[j])) - at

    def at(self, p: np.ndarray, j: int, h: float) -> np.ndarray:
        point = p.copy()
        point[j] += h
        return self.formula(point)


class Given:
    """Derivatives by a function of the user's, (p) -> (n, P)."""

    method = "given"

    def __init__(self, jacobian: Formula) -> None:
        self.jacobian = jacobian

    def rows(
        self,
        p: np.ndarray,
        at_p: np.ndarray,
        out: np.ndarray,
        digits: Digits = Digits.ALL,
    ) -> np.ndarray:
        out[:] = self.jacobian(p).T
        return np.ones(len(p))

    def note(self, terms: list[float], size: float) -> None:
        pass
