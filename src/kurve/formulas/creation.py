"""Functions of `kurve.ops` that create and convert arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kurve.core.results import Values, result
from kurve.formulas.axes import dtype_name
from kurve.formulas.calls import as_array
from kurve.formulas.elements import cast, zeros_like
from kurve.formulas.graph import Graph, Tensor, is_variable
from kurve.formulas.sizes import check_constant
from kurve.formulas.tensor import KerasTensor


def convert_to_tensor(x: Any, dtype: Any = None) -> Any:
    """Convert x to an array; symbolic tensors are returned unchanged."""
    if isinstance(x, (Tensor, KerasTensor, Values)) or is_variable(x):
        return x if dtype is None else cast(x, dtype)
    return result(np.asarray(x, None if dtype is None else dtype_name(dtype)))


def convert_to_numpy(x: Any) -> np.ndarray:
    """x as a NumPy array."""
    return np.asarray(as_array(x))


def zeros(shape: Sequence[int | None], dtype: str = "float32") -> Any:
    """Zeros; in a layer or loss the first size can be None, for the batch."""
    return full(shape, 0, dtype)


def ones(shape: Sequence[int | None], dtype: str = "float32") -> Any:
    """Ones; in a layer or loss the first size can be None, for the batch."""
    return full(shape, 1, dtype)


def full(shape: Sequence[int | None], fill_value: float, dtype: str = "float32") -> Any:
    """An array filled with one value; in a layer or loss the first size can be None,
    for the batch."""
    graph = Graph.current
    axes = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    if graph is not None and axes and axes[0] is None:
        sample = tuple(size for size in axes if size is not None)
        return cast(graph.filled(sample, float(fill_value)), dtype)
    sizes: Any = axes
    check_constant("full", *axes)
    return result(np.full(sizes, fill_value, dtype_name(dtype)))


def arange(
    start: float, stop: float | None = None, step: float = 1, dtype: Any = None
) -> Any:
    """Numbers from start up to, but excluding, stop."""
    first, last = (0, start) if stop is None else (start, stop)
    if step:
        check_constant("arange", max(0.0, (last - first) / step))
    y = np.arange(first, last, step)
    kind = "int32" if y.dtype.kind == "i" else "float32"
    return result(y.astype(dtype_name(dtype) if dtype else kind))


def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
) -> Any:
    """Evenly spaced numbers; with `retstep`, also the distance between them."""
    y = result(_spaced(np.linspace, (start, stop), num, (endpoint,), dtype, axis))
    if not retstep:
        return y
    step = np.linspace(as_array(start), as_array(stop), num, endpoint, retstep=True)[1]
    return y, result(np.float32(step))


def _spaced(
    call: Callable[..., np.ndarray],
    ends: tuple[Any, Any],
    num: int,
    more: tuple[Any, ...],
    dtype: Any,
    axis: int,
) -> np.ndarray:
    """The result of a NumPy function between these ends."""
    check_constant(call.__name__, num)
    start, stop = map(as_array, ends)
    y = call(start, stop, num, *more, axis=axis)
    return y.astype(dtype_name(dtype or "float32"))


def eye(N: int, M: int | None = None, k: int = 0, dtype: str = "float32") -> Any:
    """1 on a diagonal, 0 elsewhere."""
    check_constant("eye", N, N if M is None else M)
    return result(np.eye(N, M, k, dtype_name(dtype)))


def is_tensor(x: Any) -> bool:
    """Whether x is an array or a symbolic tensor."""
    return isinstance(x, (Tensor, KerasTensor, np.ndarray)) or is_variable(x)


def dtype(x: Any) -> str:
    """The name of the dtype of x."""
    return str(x.dtype if hasattr(x, "dtype") else np.asarray(x).dtype)


def array(x: Any, dtype: Any = None) -> Any:
    """Convert x to an array; symbolic tensors are returned unchanged."""
    return convert_to_tensor(x, dtype)


def copy(x: Any) -> Any:
    """A copy of x."""
    return x if isinstance(x, (Tensor, KerasTensor)) else np.array(as_array(x))


def empty(shape: Sequence[int], dtype: str = "float32") -> np.ndarray:
    """An array of zeros."""
    return zeros(shape, dtype)


def empty_like(x: Any, dtype: str | None = None) -> Any:
    """Zeros with the shape of x."""
    return zeros_like(x, dtype)


def identity(n: int, dtype: str = "float32") -> np.ndarray:
    """The identity matrix."""
    return eye(n, dtype=dtype)


def tri(N: int, M: int | None = None, k: int = 0, dtype: str = "float32") -> np.ndarray:
    """1 on and below a diagonal, 0 above."""
    check_constant("tri", N, N if M is None else M)
    return np.tri(N, M, k, dtype_name(dtype))


def logspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    base: float = 10,
    dtype: Any = None,
    axis: int = 0,
) -> np.ndarray:
    """Powers of a base with evenly spaced exponents."""
    return _spaced(np.logspace, (start, stop), num, (endpoint, base), dtype, axis)


def geomspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    dtype: Any = None,
    axis: int = 0,
) -> np.ndarray:
    """Numbers spaced evenly on a log scale."""
    return _spaced(np.geomspace, (start, stop), num, (endpoint,), dtype, axis)


def meshgrid(*x: Any, indexing: str = "xy") -> list[np.ndarray]:
    """Coordinate arrays of a grid."""
    arrays: list[Any] = [np.asarray(as_array(a)) for a in x]
    check_constant("meshgrid", *(a.size for a in arrays))
    grids: Any = np.meshgrid(*arrays, indexing="ij" if indexing == "ij" else "xy")
    return list(grids)


OTHERS = (
    arange,
    array,
    convert_to_numpy,
    convert_to_tensor,
    copy,
    dtype,
    empty,
    empty_like,
    eye,
    full,
    geomspace,
    identity,
    is_tensor,
    linspace,
    logspace,
    meshgrid,
    ones,
    tri,
    zeros,
)
"""Functions that are not recorded as calls in a model."""
