"""Functions of `kurve.ops` for arrays only, because networks have no use for their
results or derivatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kurve.formulas.calls import as_array
from kurve.formulas.graph import Tensor, is_variable
from kurve.formulas.tensor import KerasTensor, leaves

ARRAYS = (
    "allclose",
    "angle",
    "argpartition",
    "argsort",
    "array_equal",
    "array_split",
    "bartlett",
    "bincount",
    "bitwise_and",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_not",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "blackman",
    "conj",
    "conjugate",
    "corrcoef",
    "correlate",
    "diag",
    "diagflat",
    "digitize",
    "dsplit",
    "dstack",
    "fliplr",
    "flipud",
    "fmax",
    "fmin",
    "fmod",
    "gcd",
    "hamming",
    "hanning",
    "histogram",
    "hsplit",
    "i0",
    "imag",
    "isin",
    "isreal",
    "kaiser",
    "kron",
    "lcm",
    "ldexp",
    "left_shift",
    "median",
    "nanargmax",
    "nanargmin",
    "nancumprod",
    "nancumsum",
    "nanmax",
    "nanmean",
    "nanmedian",
    "nanmin",
    "nanpercentile",
    "nanprod",
    "nanquantile",
    "nanstd",
    "nansum",
    "nanvar",
    "nextafter",
    "nonzero",
    "percentile",
    "quantile",
    "real",
    "right_shift",
    "rot90",
    "searchsorted",
    "signbit",
    "sort",
    "trapezoid",
    "unique",
    "unravel_index",
    "vander",
    "vsplit",
    "vstack",
)
"""NumPy functions."""

ALGEBRA = (
    "cholesky",
    "det",
    "eig",
    "eigh",
    "inv",
    "lstsq",
    "matrix_rank",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "svd",
)
"""`numpy.linalg` functions."""


def _of_arrays(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def only_arrays(*args: Any, **kwargs: Any) -> Any:
        for leaf in leaves((args, kwargs)):
            if isinstance(leaf, (Tensor, KerasTensor)):
                raise NotImplementedError(
                    f"[{name}] a model cannot compute this function. Received: "
                    f"{leaf!r}. Try it on arrays, before or after the model."
                )
        plain = [as_array(a) if is_variable(a) else a for a in args]
        return call(*plain, **kwargs)

    only_arrays.__name__ = only_arrays.__qualname__ = name
    only_arrays.__doc__ = f"NumPy's `{name}`, on arrays."
    return only_arrays


def _scatter(indices: Any, values: Any, shape: Sequence[int]) -> np.ndarray:
    y = np.zeros(shape, np.asarray(values).dtype)
    np.add.at(y, tuple(np.moveaxis(np.asarray(indices), -1, 0)), np.asarray(values))
    return y


def _scatter_update(inputs: Any, indices: Any, updates: Any) -> np.ndarray:
    y = np.array(inputs)
    y[tuple(np.moveaxis(np.asarray(indices), -1, 0))] = updates
    return y


def _solve_triangular(a: Any, b: Any, lower: bool = False) -> Any:
    a, b = np.asarray(a), np.asarray(b)
    half = np.tril(a) if lower else np.triu(a)
    if b.ndim == a.ndim - 1:
        return np.linalg.solve(half, b[..., None])[..., 0]
    return np.linalg.solve(half, b)


def _logdet(x: Any) -> Any:
    return np.linalg.slogdet(x)[1]


def _sequences(x: Any, sequence_length: int, sequence_stride: int) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(x, sequence_length, -1)
    return np.array(windows[..., ::sequence_stride, :])


_OWN: dict[str, Callable[..., Any]] = {
    "extract_sequences": _sequences,
    "logdet": _logdet,
    "scatter": _scatter,
    "scatter_update": _scatter_update,
    "solve_triangular": _solve_triangular,
}

ONLY_ARRAYS = {
    name: _of_arrays(name, call)
    for name, call in (
        *((name, getattr(np, name)) for name in ARRAYS if hasattr(np, name)),
        *((name, getattr(np.linalg, name)) for name in ALGEBRA),
        *_OWN.items(),
    )
}
"""The functions by name."""
