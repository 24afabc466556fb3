"""Linear algebra of the solvers, in float64.

The compiled core does it where there is one: on one thread unless the matrices are
large, and with the same bits for any number of threads, neither of which is true of
the libraries behind NumPy. Where there is none, NumPy does.

Of a symmetric matrix A (P, P) only the upper triangle counts; what stands below its
diagonal may be anything.
"""

from __future__ import annotations

import numpy as np

EPS = float(np.finfo(np.float64).eps)

try:
    from kurve import _core

    COMPILED = bool(_core.available_isas())
    walk = _core.walk
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
            self._core.add_gram(square)
        else:
            square += self._whole.T @ self._whole

    def back(self, r: np.ndarray) -> np.ndarray:
        """J^T r, (P,)."""
        if not COMPILED:
            return self._whole.T @ r
        out = np.empty(self.shape[1])
        self._core.vjp(r, out)
        return out

    def times(self, d: np.ndarray) -> np.ndarray:
        """J d, (n,)."""
        if not COMPILED:
            return self._whole @ d
        out = np.empty(self.shape[0])
        self._core.jvp(d, out)
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


def triangle(columns: np.ndarray, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """R (C, C) of A = Q R, zero below its diagonal, and the norms (C,) of A's columns,
    which are columns (C, n), each times its unit (C,)."""
    count = len(columns)
    out, norms = np.zeros((count, count)), np.empty(count)
    if COMPILED:
        _core.triangle(columns, units, out, norms)
        return out, norms
    r = np.linalg.qr(columns.T, mode="r")
    out[: len(r)] = r * units
    return out, np.sqrt(np.sum(out**2, axis=0))


class Turned:
    """The linear model r + J d in coordinates where the lengths of R D^-1 = U diag(s)
    V^T, one for each direction, stand alone: that keeps digits which J^T J would lose,
    and makes every further damping cheap.

    Args:
        r: (P + 1, P + 1), R of [J, r]; None where `walk` fills the arrays.
        scale: (P,) D; 0 counts as 1, and infinity holds its parameter.
        least: directions with s up to this part of the largest have no influence.

    size: the norm of U^T q, of what is left of r by its projection to the rest of them
    """

    def __init__(self, r: np.ndarray | None, scale: np.ndarray, least: float) -> None:
        P = len(scale)
        self.scale, self.least = scale, least
        if COMPILED:
            self.s, self.u_r, self.vt = np.empty(P), np.empty(P), np.empty((P, P))
            if r is not None:
                self.size = _core.scaled_svd(r, least, scale, self.s, self.u_r, self.vt)
            return
        assert r is not None
        u, self.s, self.vt = np.linalg.svd(r[:-1, :-1] / np.where(scale > 0, scale, 1))
        self.u_r = r[:-1, -1] @ u
        self.size = float(np.linalg.norm(self.u_r[self.s > least * self.s.max()]))

    def within(self, radius: float) -> tuple[np.ndarray, float, float, float]:
        """The best step d with |D d| at most radius, but for a tenth.

        Returns:
            d, |D d|, the decrease of |r|^2 / 2 that it promises, and its damping.
        """
        step = np.empty(len(self.s))
        if COMPILED:
            return step, *_core.step_within(
                self.scale, self.s, self.u_r, self.vt, self.least, radius, step
            )
        kept = self.s > self.least * self.s.max()
        a, b, mu = self.s[kept] ** 2, (self.s * self.u_r)[kept], 0.0
        for _ in range(30):  # Newton's, for 1 / |D d| = 1 / radius
            d = b / (a + mu)
            length = float(np.linalg.norm(d))
            if not length > 1.1 * radius or not np.isfinite(length):
                break
            mu += (
                (length - radius) / radius * length**2 / float(np.sum(d**2 / (a + mu)))
            )
        predicted_reduction = 0.5 * float(np.sum(d**2 * (a + 2.0 * mu)))
        return self.unturned(-d @ self.vt[kept]), length, predicted_reduction, mu

    def unturned(self, step: np.ndarray) -> np.ndarray:
        """D^-1 of a step."""
        return step / np.where(self.scale > 0.0, self.scale, 1.0)


def dot(x: np.ndarray, y: np.ndarray) -> float:
    """Sum of x y."""
    return _core.dot(x, y) if COMPILED else float(x @ y)


def diagonal(matrix: np.ndarray) -> np.ndarray:
    """The diagonal of a matrix in C order, to be written to."""
    return matrix.reshape(-1)[:: len(matrix) + 1]


def _whole(a: np.ndarray) -> np.ndarray:
    """The matrix, its upper triangle below the diagonal too."""
    return np.triu(a) + np.triu(a, 1).T
