"""Functions of `kurve.ops` for arrays only, because networks do not need their results
or derivatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kurve.formulas.calls import as_array
from kurve.formulas.graph import Tensor, is_variable
from kurve.formulas.recording import active
from kurve.formulas.tensor import KerasTensor, leaves

ARRAYS = (
    "allclose",
    "angle",
    "argpartition",
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


WATCHED = frozenset(
    {
        "det",
        "diag",
        "diagflat",
        "fliplr",
        "flipud",
        "fmax",
        "fmin",
        "fmod",
        "inv",
        "kron",
        "logdet",
        "median",
        "nanmax",
        "nanmean",
        "nanmin",
        "nansum",
        "percentile",
        "quantile",
        "rot90",
        "slogdet",
        "solve",
        "sort",
        "trapezoid",
        "vstack",
    }
)
"""Functions with derivatives for values that a tape watches."""

WITHOUT_DERIVATIVE = frozenset(
    {
        "cholesky",
        "cholesky_inverse",
        "corrcoef",
        "correlate",
        "dstack",
        "eig",
        "eigh",
        "i0",
        "ldexp",
        "lstsq",
        "nancumprod",
        "nancumsum",
        "nanmedian",
        "nanpercentile",
        "nanprod",
        "nanquantile",
        "nanstd",
        "nanvar",
        "pinv",
        "qr",
        "solve_triangular",
        "svd",
        "vander",
    }
)
"""Functions that depend smoothly on their arguments, and whose derivatives Kurve
lacks."""


def _is_watched(leaf: Any) -> bool:
    if is_variable(leaf):
        return bool(active.tapes) and leaf.trainable
    return getattr(leaf, "key", None) is not None


def of_arrays(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def only_arrays(*args: Any, **kwargs: Any) -> Any:
        for leaf in leaves((args, kwargs)):
            if isinstance(leaf, (Tensor, KerasTensor)):
                raise NotImplementedError(
                    f"[{name}] a model cannot compute this function. Received: "
                    f"{leaf!r}. Try it on arrays, before or after the model."
                )
        differentiated = name in WATCHED or name in WITHOUT_DERIVATIVE
        if differentiated and any(map(_is_watched, leaves((args, kwargs)))):
            if name in WITHOUT_DERIVATIVE:
                raise NotImplementedError(
                    f"[{name}] Kurve has no derivative of this function. Received: "
                    "values that a tape watches. Try ops.stop_gradient on them, if "
                    "none is needed."
                )
            from kurve.formulas.differentiable import DIFFERENTIABLE

            return DIFFERENTIABLE[name](*args, **kwargs)
        plain = [as_array(a) if is_variable(a) else a for a in args]
        return call(*plain, **kwargs)

    only_arrays.__name__ = only_arrays.__qualname__ = name
    own = getattr(call, "__module__", None) or ""
    of_numpy = not own.startswith("kurve.") or not call.__doc__
    only_arrays.__doc__ = f"NumPy's `{name}`, on arrays." if of_numpy else call.__doc__
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


def _cholesky_inverse(x: Any, upper: bool = False) -> Any:
    """The inverse of L L^T, of which x is L (or L^T)."""
    half = np.linalg.inv(np.triu(x) if upper else np.tril(x))
    other = np.swapaxes(half, -1, -2)
    return half @ other if upper else other @ half


def _polar(abs_: Any, angle: Any) -> Any:
    return np.asarray(abs_) * np.exp(1j * np.asarray(angle))


def _view_as_complex(x: Any) -> Any:
    x = np.asarray(x)
    return x[..., 0] + 1j * x[..., 1]


def _view_as_real(x: Any) -> Any:
    return np.stack([np.real(x), np.imag(x)], -1)


def _view(x: Any, dtype: Any = None) -> Any:
    return np.asarray(x).view(dtype)


def _lu_factor(x: Any) -> tuple[np.ndarray, np.ndarray]:
    """Gauss's elimination with the largest pivot of each column."""
    lu = np.array(x, np.result_type(x, np.float32))
    size = lu.shape[-1]
    pivots = np.zeros((*lu.shape[:-2], size), np.int32)
    for place in np.ndindex(lu.shape[:-2]):
        a = lu[place]
        for k in range(size):
            p = k + int(np.argmax(np.abs(a[k:, k])))
            pivots[(*place, k)] = p
            a[[k, p]] = a[[p, k]]
            if a[k, k] != 0:
                a[k + 1 :, k] /= a[k, k]
                a[k + 1 :, k + 1 :] -= np.outer(a[k + 1 :, k], a[k, k + 1 :])
    return lu, pivots


def _vectorize(
    pyfunc: Callable[..., Any], *, excluded: Any = None, signature: str | None = None
) -> Any:
    return np.vectorize(pyfunc, excluded=excluded, signature=signature)


def _sequences(x: Any, sequence_length: int, sequence_stride: int) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(x, sequence_length, -1)
    return np.array(windows[..., ::sequence_stride, :])


_OWN: dict[str, Callable[..., Any]] = {
    "cholesky_inverse": _cholesky_inverse,
    "extract_sequences": _sequences,
    "logdet": _logdet,
    "lu_factor": _lu_factor,
    "polar": _polar,
    "scatter": _scatter,
    "scatter_update": _scatter_update,
    "solve_triangular": _solve_triangular,
    "vectorize": _vectorize,
    "view": _view,
    "view_as_complex": _view_as_complex,
    "view_as_real": _view_as_real,
}

ONLY_ARRAYS = {
    name: of_arrays(name, call)
    for name, call in (
        *((name, getattr(np, name)) for name in ARRAYS if hasattr(np, name)),
        *((name, getattr(np.linalg, name)) for name in ALGEBRA),
        *_OWN.items(),
    )
}
"""The functions by name."""
