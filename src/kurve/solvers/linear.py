"""Linear algebra of the solvers, in float64.

The compiled core computes it if available: on one thread unless matrices are large, and
with the same bits for any number of threads. Neither holds for the libraries used by
NumPy, which serve as the fallback.

Only the upper triangle of a symmetric matrix A (P, P) is read; the rest is arbitrary.
"""

from __future__ import annotations

import numpy as np

EPS = float(np.finfo(np.float64).eps)

try:
    from kurve import _core

    COMPILED = bool(_core.available_isas())
    trust_region = _core.trust_region
    DoubleTape, TracedFormula = _core.DoubleTape, _core.TracedFormula
    PythonFormula = _core.PythonFormula
except ImportError:
    COMPILED = False


class Jacobian:
    """J (n, P) = sqrt_weights (n,) times the `columns` (P,) of rows (n, C).

    Args:
        rows: float32 in C order, not copied.
        sqrt_weights: float64.
        columns: int64, ascending.
    """

    def __init__(
        self, rows: np.ndarray, sqrt_weights: np.ndarray, columns: np.ndarray
    ) -> None:
        self.shape = len(rows), len(columns)
        if COMPILED:
            self._core = _core.Jacobian(rows, sqrt_weights, columns)
        else:
            self._matrix = rows[:, columns].astype(np.float64) * sqrt_weights[:, None]

    def add_gram(self, gram: np.ndarray) -> None:
        """gram (P, P) += J^T J."""
        if COMPILED:
            self._core.add_gram(gram)
        else:
            gram += self._matrix.T @ self._matrix

    def vjp(self, r: np.ndarray) -> np.ndarray:
        """J^T r, (P,)."""
        if not COMPILED:
            return self._matrix.T @ r
        out = np.empty(self.shape[1])
        self._core.vjp(r, out)
        return out

    def jvp(self, d: np.ndarray) -> np.ndarray:
        """J d, (n,)."""
        if not COMPILED:
            return self._matrix @ d
        out = np.empty(self.shape[0])
        self._core.jvp(d, out)
        return out


class CholeskyFactor:
    """The factor of a positive definite matrix, A = R^T R.

    Source: Golub & Van Loan 2013, 4.2.
    """

    def __init__(self, matrix: np.ndarray) -> None:
        self._matrix = matrix  # R, or A without the compiled core

    def solve(self, b: np.ndarray) -> np.ndarray:
        """A^-1 b for b (P,)."""
        if not COMPILED:
            return np.linalg.solve(self._matrix, b)
        x = b.copy()
        _core.cholesky_solve(self._matrix, x)
        return x

    def log_determinant(self) -> float:
        """log det A."""
        if not COMPILED:
            return float(np.linalg.slogdet(self._matrix)[1])
        return 2.0 * float(np.log(diagonal(self._matrix)).sum())

    def inverse_diagonal(self) -> np.ndarray:
        """The diagonal of A^-1, (P,)."""
        if not COMPILED:
            return diagonal(np.linalg.inv(self._matrix))
        out = np.empty(len(self._matrix))
        _core.inverse_diagonal(self._matrix, out)
        return out


def cholesky(a: np.ndarray, shift: np.ndarray | float) -> CholeskyFactor | None:
    """The factor of A + diag(shift); None if it is not positive definite."""
    matrix = a.copy()
    diagonal(matrix)[:] += shift
    if COMPILED:
        definite = _core.cholesky(matrix) == len(matrix)
        return CholeskyFactor(matrix) if definite else None
    matrix = _symmetric(matrix)
    if not np.isfinite(matrix).all():
        return None
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return None
    return CholeskyFactor(matrix)


def quadratic_form(a: np.ndarray, d: np.ndarray) -> float:
    """d^T A d."""
    if COMPILED:
        return _core.quadratic_form(a, d)
    return float(d @ _symmetric(a) @ d)


def qr(columns: np.ndarray, multipliers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """R (C, C) of A = Q R, zero below its diagonal, and the norms (C,) of A's columns,
    which are the rows of columns (C, n), each times its multiplier (C,)."""
    count = len(columns)
    out, norms = np.zeros((count, count)), np.empty(count)
    if COMPILED:
        _core.qr(columns, multipliers, out, norms)
        return out, norms
    r = np.linalg.qr(columns.T, mode="r")
    out[: len(r)] = r * multipliers
    return out, np.sqrt(np.sum(out**2, axis=0))


class ScaledSVD:
    """The linear model r + J d, with J = Q R, in the coordinates in which
    R D^-1 = U diag(s) V^T: this keeps digits that J^T J would lose, and makes every
    further damping cheap.

    Args:
        r: (P + 1, P + 1), R of [J, r]; None if `trust_region` fills the arrays.
        scale: (P,) D; 0 counts as 1, and infinity fixes the parameter.
        rank_tolerance: directions with s of up to this fraction of the largest have no
            influence.

    s, ur, vt: (P,), U^T Q^T r (P,), V^T (P, P)
    projected_norm: norm of the projection of r onto the directions with influence
    """

    def __init__(
        self, r: np.ndarray | None, scale: np.ndarray, rank_tolerance: float
    ) -> None:
        P = len(scale)
        self.scale, self.rank_tolerance = scale, rank_tolerance
        if COMPILED:
            self.s, self.ur, self.vt = np.empty(P), np.empty(P), np.empty((P, P))
            if r is not None:
                self.projected_norm = _core.scaled_svd(
                    r, rank_tolerance, scale, self.s, self.ur, self.vt
                )
            return
        assert r is not None
        u, self.s, self.vt = np.linalg.svd(r[:-1, :-1] / np.where(scale > 0, scale, 1))
        self.ur = r[:-1, -1] @ u
        influential = self.s > rank_tolerance * self.s.max()
        self.projected_norm = float(np.linalg.norm(self.ur[influential]))

    def trust_region_step(
        self, radius: float
    ) -> tuple[np.ndarray, float, float, float]:
        """The best step d with |D d| of at most radius, to within 10 %: with a damping
        mu it minimizes |r + J d|^2 + mu |D d|^2.

        Returns:
            d, |D d|, the predicted reduction of |r|^2 / 2, and mu.

        Source: Hebden 1973; Moré 1978, section 5.
        """
        step = np.empty(len(self.s))
        if COMPILED:
            return step, *_core.trust_region_step(
                self.scale, self.s, self.ur, self.vt, self.rank_tolerance, radius, step
            )
        kept = self.s > self.rank_tolerance * self.s.max()
        a, b, mu = self.s[kept] ** 2, (self.s * self.ur)[kept], 0.0
        for _ in range(30):  # Newton's iteration for 1 / |D d| = 1 / radius
            d = b / (a + mu)
            length = float(np.linalg.norm(d))
            if not length > 1.1 * radius or not np.isfinite(length):
                break
            mu += (
                (length - radius) / radius * length**2 / float(np.sum(d**2 / (a + mu)))
            )
        predicted_reduction = 0.5 * float(np.sum(d**2 * (a + 2.0 * mu)))
        return self.unscaled(-d @ self.vt[kept]), length, predicted_reduction, mu

    def unscaled(self, step: np.ndarray) -> np.ndarray:
        """D^-1 of a step."""
        return step / np.where(self.scale > 0.0, self.scale, 1.0)


def dot(x: np.ndarray, y: np.ndarray) -> float:
    """Sum of x y."""
    return _core.dot(x, y) if COMPILED else float(x @ y)


def diagonal(matrix: np.ndarray) -> np.ndarray:
    """A writable view of the diagonal of a matrix in C order."""
    return matrix.reshape(-1)[:: len(matrix) + 1]


def _symmetric(a: np.ndarray) -> np.ndarray:
    """The matrix with its upper triangle mirrored below the diagonal."""
    return np.triu(a) + np.triu(a, 1).T
