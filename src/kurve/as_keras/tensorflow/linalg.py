"""Linear algebra on values: `tf.linalg.inv`, `tf.linalg.solve`."""

from __future__ import annotations

from typing import Any

import numpy as np

from kurve.as_keras.tensorflow.arrays import eye as eye
from kurve.as_keras.tensorflow.reductions import l2_normalize as l2_normalize
from kurve.as_keras.tensorflow.reductions import value
from kurve.as_keras.tensorflow.values import concrete, eager
from kurve.formulas import functions as ops

__all__ = [
    "band_part",
    "cholesky",
    "det",
    "diag",
    "diag_part",
    "eigh",
    "eigvalsh",
    "eye",
    "inv",
    "l2_normalize",
    "lstsq",
    "matrix_rank",
    "matrix_transpose",
    "pinv",
    "qr",
    "set_diag",
    "slogdet",
    "solve",
    "svd",
    "tensor_diag",
    "trace",
]


@eager
def inv(input: Any, adjoint: Any = False, name: Any = None) -> Any:
    """The inverse of a matrix."""
    return np.linalg.inv(concrete("linalg.inv", input))


@eager
def pinv(a: Any, rcond: Any = None, name: Any = None) -> Any:
    """The pseudo-inverse of a matrix."""
    return np.linalg.pinv(concrete("linalg.pinv", a), rcond)


@eager
def det(input: Any, name: Any = None) -> Any:
    """The determinant."""
    return np.linalg.det(concrete("linalg.det", input))


@eager
def slogdet(input: Any, name: Any = None) -> Any:
    """The sign of the determinant, and the logarithm of its absolute value."""
    return tuple(np.linalg.slogdet(concrete("linalg.slogdet", input)))


@eager
def solve(matrix: Any, rhs: Any, adjoint: Any = False, name: Any = None) -> Any:
    """The solution x of matrix @ x = rhs."""
    a, b = concrete("linalg.solve", matrix, rhs)
    return np.linalg.solve(np.swapaxes(a, -2, -1) if adjoint else a, b)


@eager
def lstsq(
    matrix: Any,
    rhs: Any,
    l2_regularizer: float = 0.0,
    fast: Any = True,
    name: Any = None,
) -> Any:
    """The least-squares solution x of matrix @ x = rhs."""
    a, b = concrete("linalg.lstsq", matrix, rhs)
    if l2_regularizer:
        square = a.T @ a + l2_regularizer * np.eye(a.shape[1], dtype=a.dtype)
        return np.linalg.solve(square, a.T @ b)
    return np.linalg.lstsq(a, b, rcond=None)[0]


@eager
def cholesky(input: Any, name: Any = None) -> Any:
    """The lower triangle L for which L @ L.T is the matrix."""
    return np.linalg.cholesky(concrete("linalg.cholesky", input))


@eager
def qr(input: Any, full_matrices: Any = False, name: Any = None) -> Any:
    """An orthogonal and an upper triangular factor."""
    mode: Any = "complete" if full_matrices else "reduced"
    return tuple(np.linalg.qr(concrete("linalg.qr", input), mode))


@eager
def svd(
    tensor: Any, full_matrices: Any = False, compute_uv: Any = True, name: Any = None
) -> Any:
    """Singular values s and factors u and v: u @ diag(s) @ v.T."""
    x = concrete("linalg.svd", tensor)
    if not compute_uv:
        return np.linalg.svd(x, compute_uv=False)
    u, s, v = np.linalg.svd(x, bool(full_matrices))
    return s, u, np.swapaxes(v, -2, -1)


@eager
def eigh(tensor: Any, name: Any = None) -> Any:
    """Eigenvalues and eigenvectors of a symmetric matrix."""
    return tuple(np.linalg.eigh(concrete("linalg.eigh", tensor)))


@eager
def eigvalsh(tensor: Any, name: Any = None) -> Any:
    """Eigenvalues of a symmetric matrix."""
    return np.linalg.eigvalsh(concrete("linalg.eigvalsh", tensor))


@eager
def matrix_rank(a: Any, tol: Any = None, name: Any = None) -> Any:
    """The rank of a matrix."""
    return np.int32(np.linalg.matrix_rank(concrete("linalg.matrix_rank", a), tol))


@eager
def matrix_transpose(a: Any, name: Any = "matrix_transpose") -> Any:
    """Swap the last two axes."""
    return ops.swapaxes(value(a), -2, -1)


@eager
def diag(diagonal: Any, name: Any = "diag") -> Any:
    """Matrices with the given diagonals, 0 elsewhere."""
    d = concrete("linalg.diag", diagonal)
    return d[..., None] * np.eye(d.shape[-1], dtype=d.dtype)


tensor_diag = diag


@eager
def diag_part(input: Any, name: Any = "diag_part") -> Any:
    """The diagonals of matrices."""
    return np.diagonal(concrete("linalg.diag_part", input), axis1=-2, axis2=-1).copy()


@eager
def set_diag(input: Any, diagonal: Any, name: Any = "set_diag") -> Any:
    """Replace the diagonals of matrices."""
    x, d = concrete("linalg.set_diag", input, diagonal)
    x, n = x.copy(), d.shape[-1]
    x[..., np.arange(n), np.arange(n)] = d
    return x


@eager
def band_part(input: Any, num_lower: int, num_upper: int, name: Any = None) -> Any:
    """Keep this many diagonals below and above the main one; -1 keeps all."""
    x = concrete("linalg.band_part", input)
    if num_lower >= 0:
        x = np.triu(x, -int(num_lower))
    return np.tril(x, int(num_upper)) if num_upper >= 0 else x


@eager
def trace(x: Any, name: Any = None) -> Any:
    """The sum of the diagonal."""
    return np.trace(concrete("linalg.trace", x), axis1=-2, axis2=-1)
