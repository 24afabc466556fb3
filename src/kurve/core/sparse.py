"""Rows of sparse matrices, made dense a few at a time. SciPy is never imported."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from kurve.core.arrays import as_numbers, is_sparse
from kurve.core.samples import cast, fitted, non_finite_error

ROOM = 1 << 24
"""Bytes of dense rows to make at a time, unless one batch needs more."""


def sparse_matrix(data: Any) -> Any:
    """`data` if it is a sparse matrix, or the sparse matrix of a pandas data frame
    whose columns are all sparse with zeros left out; None for any other object."""
    if is_sparse(data):
        return data if len(data.shape) == 2 else None
    dtypes = getattr(data, "dtypes", None)
    if dtypes is None or not len(dtypes):
        return None
    for dtype in set(dtypes):
        if not str(dtype).startswith("Sparse[") or dtype.fill_value != 0:
            return None
    try:
        return data.sparse.to_coo()
    except ImportError:  # it needs SciPy
        return None


class SparseRows:
    """Checked rows of a sparse matrix. Indexing with a slice or an array of integers
    makes these rows a dense array, equal to that of the whole matrix.

    Args:
        where, argument: for messages: the method and the name of its argument.
        data: a sparse matrix of n rows.
        sample_shape: required shape of one sample; any if None.
        dtype: dtype of the dense rows; that of the matrix if None.

    Raises:
        ValueError: no rows, a wrong shape, complex numbers, or non-finite values.
    """

    __array_ufunc__ = None  # NumPy must not read it row by row

    def __init__(
        self,
        where: str,
        argument: str,
        data: Any,
        sample_shape: tuple[int, ...] | None = None,
        dtype: Any = None,
    ) -> None:
        nothing = np.broadcast_to(np.zeros((), data.dtype), data.shape)
        self.shape = fitted(where, argument, nothing, sample_shape).shape
        self.ndim = len(self.shape)
        matrix = data.tocsr()
        if not matrix.has_canonical_format:
            matrix = matrix.copy() if matrix is data else matrix
            matrix.sum_duplicates()
        values = as_numbers(where, f"{argument}.data", matrix.data)
        self.dtype = np.dtype(values.dtype if dtype is None else dtype)
        if values.dtype != self.dtype:
            parts = cast(values, self.dtype), matrix.indices, matrix.indptr
            matrix = type(matrix)(parts, shape=matrix.shape)
        self._matrix = matrix
        finite = np.isfinite(matrix.data)
        if not finite.all():
            k = int(np.argmin(finite))
            row = int(np.searchsorted(matrix.indptr, k, "right")) - 1
            position = row, int(matrix.indices[k])
            count = int((~finite).sum())
            kind = self.dtype
            raise non_finite_error(where, argument, kind, position, values[k], count)

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        dense: np.ndarray = self._matrix[rows].toarray()
        return np.ascontiguousarray(dense).reshape(-1, *self.shape[1:])

    def part(self, first: int, last: int) -> SparseRows:
        """The rows first..last-1, still sparse."""
        found = copy.copy(self)
        found._matrix = self._matrix[first:last]
        found.shape = (last - first, *self.shape[1:])
        return found

    @property
    def parts(self) -> tuple[np.ndarray, ...]:
        """The arrays of the matrix in compressed rows: values, columns, ends."""
        return self._matrix.data, self._matrix.indices, self._matrix.indptr

    @property
    def rows_at_once(self) -> int:
        """Number of dense rows that fit into `ROOM`, at least 1."""
        row = int(np.prod(self.shape[1:])) * self.dtype.itemsize
        return max(1, ROOM // row)
