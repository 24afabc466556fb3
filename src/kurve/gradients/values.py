"""Values watched by tapes: arrays whose operators and functions are recorded."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from kurve.core.results import Values, result
from kurve.formulas.operators import FUNCTIONS, Operators
from kurve.formulas.recording import active

_keys = itertools.count()


class TracedValues(Operators, Values):
    """An array computed from values that a tape watches.

    NumPy functions on it dispatch to `kurve.ops` while a tape records; functions that
    `kurve.ops` lacks, and `numpy()`, return plain arrays, which gradients do not pass.

    Arrays that NumPy derives from it have no key and are constants.
    """

    def __array_ufunc__(
        self, ufunc: Any, method: str, *inputs: Any, **given: Any
    ) -> Any:
        name = ufunc.__name__
        if active.tapes and method == "__call__" and not given and name in FUNCTIONS:
            return FUNCTIONS[name](*inputs)
        if "out" in given:
            given["out"] = tuple(map(plain, given["out"]))
        return result(getattr(ufunc, method)(*map(plain, inputs), **given))

    def __array_function__(
        self, function: Any, types: Any, args: Any, kwargs: Any
    ) -> Any:
        name = function.__name__
        if active.tapes and name in FUNCTIONS and "out" not in kwargs:
            return FUNCTIONS[name](*args, **kwargs)
        kinds = [t for t in types if not issubclass(t, TracedValues)]
        return super().__array_function__(function, kinds, args, kwargs)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __setitem__(self, key: Any, value: Any) -> None:
        raise TypeError(
            "[tensor] values on a tape are immutable, because gradients need them. "
            f"Received: an assignment to {key!r}. Try ops.where, or x.numpy().copy()."
        )

    def __eq__(self, other: object) -> Any:
        return FUNCTIONS["equal"](self, other)

    def __ne__(self, other: object) -> Any:
        return FUNCTIONS["not_equal"](self, other)

    __hash__ = None  # type: ignore[assignment]
    __iadd__ = Operators.__add__
    __isub__ = Operators.__sub__
    __imul__ = Operators.__mul__
    __itruediv__ = Operators.__truediv__
    __ipow__ = Operators.__pow__
    __imatmul__ = Operators.__matmul__

    def reshape(self, *shape: Any, **given: Any) -> Any:
        axes = shape[0] if len(shape) == 1 else shape
        return FUNCTIONS["reshape"](self, axes)

    def transpose(self, *axes: Any) -> Any:
        order = axes[0] if len(axes) == 1 else axes
        return FUNCTIONS["transpose"](self, order or None)

    @property
    def T(self) -> Any:
        return FUNCTIONS["transpose"](self)

    def flatten(self, *order: Any) -> Any:
        return FUNCTIONS["reshape"](self, (-1,))

    ravel = flatten  # type: ignore[assignment]

    def astype(self, dtype: Any, **given: Any) -> Any:  # type: ignore[override]
        return FUNCTIONS["cast"](self, dtype)


def _method(name: str) -> Callable[..., Any]:
    """A method that calls a reduction of `kurve.ops`."""

    def reduce(
        self: TracedValues, axis: Any = None, keepdims: bool = False, **given: Any
    ) -> Any:
        return FUNCTIONS[name](self, axis, keepdims)

    return reduce


for _name in ("sum", "mean", "max", "min", "prod", "std", "var", "argmax", "argmin"):
    setattr(TracedValues, _name, _method(_name))


def plain(x: Any) -> Any:
    """Strip an array of its tape."""
    return x.view(np.ndarray) if isinstance(x, TracedValues) else x


def float_type(x: Any) -> Any:
    """What derivatives with respect to x are computed in."""
    return np.float64 if np.asarray(plain(x)).dtype == np.float64 else np.float32


def traced(array: np.ndarray) -> TracedValues:
    """Create a new value on tapes."""
    value = array.view(TracedValues)
    value.key = next(_keys)
    return value


def trace(value: Values) -> int:
    """Let tapes watch a value from now on; return its index."""
    if not isinstance(value, TracedValues):
        value.__class__ = TracedValues
    if value.key is None:
        value.key = next(_keys)
    return value.key


def is_float(dtype: Any) -> bool:
    return np.issubdtype(dtype, np.floating)
