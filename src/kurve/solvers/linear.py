"""Linear algebra of the solvers, in float64.

The compiled core does it where there is one: on one thread unless the matrices are
large, and with the same bits for any number of threads, neither of which is true of
the libraries behind NumPy. Where there is none, NumPy does.

Of a symmetric matrix A (P, P) only the upper triangle counts; what stands below its
diagonal may be anything.
"""

from __future__ import annotations

import numpy as np

try:
    from kurve import _core

    COMPILED = bool(_core.available_isas())
except ImportError:
    COMPILED = False


class Jacobian:
    """J (n, P) = roots (n,) times `columns` (P,) of rows (n, C).

    Args:
        rows: float32 in C order, not copied.
        roots: float64.
        columns: int64, ascending.
    """

    def __init__(
        self, rows: np.ndarray, roots: np.ndarray, columns: np.ndarray
    ) -> None:
        self.shape = len(rows), len(columns)
        if COMPILED:
            self._core = _core.Jacobian(rows, roots, columns)
        else:
            self._whole = rows[:, columns].astype(np.float64) * roots[:, None]

    def add_square(self, square: np.ndarray) -> None:
        """square (P, P) += J^T J."""
        if COMPILED:
            self._core.add_square(square)
        else:
            square += self._whole.T @ self._whole

    def back(self, r: np.ndarray) -> np.ndarray:
        """J^T r, (P,)."""
        if not COMPILED:
            return self._whole.T @ r
        out = np.empty(self.shape[1])
        self._core.back(r, out)
        return out

    def times(self, d: np.ndarray) -> np.ndarray:
        """J d, (n,)."""
        if not COMPILED:
            return self._whole @ d
        out = np.empty(self.shape[0])
        self._core.times(d, out)
        return out


class Factor:
    """A symmetric matrix that has proved to be positive definite, factorised.

    Source: Cholesky's A = R^T R (Golub & Van Loan 2013, 4.2).
    """

    def __init__(self, matrix: np.ndarray) -> None:
        self._matrix = matrix

    def solve(self, b: np.ndarray) -> np.ndarray:
        """A^-1 b for b (P,)."""
        if not COMPILED:
            return np.linalg.solve(self._matrix, b)
        x = b.copy()
        _core.solve(self._matrix, x)
        return x

    def inverse_diagonal(self) -> np.ndarray:
        """The diagonal of A^-1, (P,)."""
        if not COMPILED:
            return diagonal(np.linalg.inv(self._matrix))
        out = np.empty(len(self._matrix))
        _core.inverse_diagonal(self._matrix, out)
        return out


def factor(a: np.ndarray, shift: np.ndarray | float) -> Factor | None:
    """A + diag(shift), factorised; None where that is not positive definite."""
    matrix = a.copy()
    diagonal(matrix)[:] += shift
    if COMPILED:
        return Factor(matrix) if _core.factor(matrix) == len(matrix) else None
    matrix = _whole(matrix)
    if not np.isfinite(matrix).all():
        return None
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return None
    return Factor(matrix)


def quadratic(a: np.ndarray, d: np.ndarray) -> float:
    """d^T A d."""
    if COMPILED:
        return _core.quadratic(a, d)
    return float(d @ _whole(a) @ d)


def dot(x: np.ndarray, y: np.ndarray) -> float:
    """Sum of x y."""
    return _core.dot(x, y) if COMPILED else float(x @ y)


def diagonal(matrix: np.ndarray) -> np.ndarray:
    """The diagonal of a matrix in C order, to be written to."""
    return matrix.reshape(-1)[:: len(matrix) + 1]


def _whole(a: np.ndarray) -> np.ndarray:
    """The matrix, its upper triangle below the diagonal too."""
    return np.triu(a) + np.triu(a, 1).T
