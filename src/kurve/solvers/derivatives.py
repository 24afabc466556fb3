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

import warnings
from collections.abc import Callable

import numpy as np

Formula = Callable[[np.ndarray], np.ndarray]

TINY = 1e-200
"""Complex steps h |p|: their square must vanish beside 1, not in the numbers."""

WIDTHS = (1e-3, 1e-4, 1e-2, 1e-5, 1e-1)
"""Shares of a parameter, the usual one first, that differences are tried over."""

GOOD = 1e-9
"""Error of a difference, as a share of the largest derivative, that is good enough."""


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

    def __call__(self, p: np.ndarray, at_p: np.ndarray) -> np.ndarray:
        """Args:
        p: (P,), where.
        at_p: formula(p).
        """
        if self.method is None:
            self.method = "cs" if self.agrees(p, at_p) else "3-point"
        if self.method == "cs":
            jacobian = self.complex_step(p)
            if jacobian is not None and np.isfinite(jacobian).all():
                return jacobian
        columns = [
            self.forward(p, at_p, j) if self.method == "2-point" else
            self.central(p, at_p, j)
            for j in range(len(p))
        ]  # fmt: skip
        return np.stack(columns, axis=1)

    def agrees(self, p: np.ndarray, at_p: np.ndarray) -> bool:
        """Whether the formula takes complex parameters and means the same with them."""
        exact = self.complex_step(p)
        if exact is None or exact.shape != (len(at_p), len(p)):
            return False
        if not np.isfinite(exact).all():
            return False
        for j in range(len(p)):
            other = self.central(p, at_p, j)
            size = np.abs(other).max(initial=0.0)
            if not np.abs(exact[:, j] - other).max(initial=0.0) <= 1e-5 * size:
                return False
        return True

    def complex_step(self, p: np.ndarray) -> np.ndarray | None:
        """Exact derivatives, or None where the formula refuses complex numbers."""
        columns = []
        with warnings.catch_warnings():
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            for j in range(len(p)):
                h = TINY * max(abs(float(p[j])), TINY) if p[j] else TINY
                point = p.astype(np.complex128)
                point[j] += 1j * h
                try:
                    values = np.asarray(self.formula(point))
                except Exception:  # whatever a user's formula raises
                    return None
                if values.dtype.kind != "c":
                    values = np.zeros(values.shape, np.complex128)
                columns.append(values.imag / h)
        return np.stack(columns, axis=1).astype(np.float64)

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
            error = cut * cut / size if size else 0.0
            error += 3e-16 * float(np.abs(at_p).max(initial=0.0)) / abs(h)
            if np.isfinite(size) and error < least:
                best, least = found, error
            if error <= GOOD * size:
                break
        return best

    def one_sided(
        self, p: np.ndarray, at_p: np.ndarray, j: int, h: float
    ) -> np.ndarray:
        """Column j from points on one side: (4 f(h) - f(2h) - 3 f(0)) / 2h."""
        return (4 * self.at(p, j, h) - self.at(p, j, 2 * h) - 3 * at_p) / (2 * h)

    def forward(self, p: np.ndarray, at_p: np.ndarray, j: int) -> np.ndarray:
        """Column j by (f(h) - f(0)) / h."""
        h = self.width(p, j, 1.5e-8)
        if p[j] + h > self.upper[j]:
            h = -h
        return (self.at(p, j, h) - at_p) / h

    def width(self, p: np.ndarray, j: int, share: float) -> float:
        """A step that is exact in binary: p + h - p. Within narrow bounds, a part."""
        h = share * (abs(float(p[j])) or 1.0)
        h = min(h, float(self.upper[j] - self.lower[j]) / 8.0)
        return float((p[j] + h) - p[j])

    def at(self, p: np.ndarray, j: int, h: float) -> np.ndarray:
        point = p.copy()
        point[j] += h
        return np.asarray(self.formula(point), np.float64)
