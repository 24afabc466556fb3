"""Python operators for symbolic tensors and variables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from kurve.core.entries import user_line
from kurve.formulas.needs import NeedsValues

FUNCTIONS: dict[str, Callable[..., Any]] = {}
"""The functions of `kurve.ops` by name, which files may refer to; the modules that
define them fill it in."""


def _function(name: str, swapped: bool = False) -> Callable[..., Any]:
    """An operator that calls a function of `kurve.formulas.functions`."""

    def operate(self: Any, *others: Any) -> Any:
        from kurve.formulas import functions

        arguments = (*others, self) if swapped else (self, *others)
        return getattr(functions, name)(*arguments)

    return operate


class Operators:
    """Arithmetic, comparison and indexing, elementwise as in NumPy."""

    __array_priority__ = 1000
    """Makes NumPy defer to this object in operators with arrays."""

    __add__ = _function("add")
    __radd__ = _function("add", swapped=True)
    __sub__ = _function("subtract")
    __rsub__ = _function("subtract", swapped=True)
    __mul__ = _function("multiply")
    __rmul__ = _function("multiply", swapped=True)
    __truediv__ = _function("true_divide")
    __rtruediv__ = _function("true_divide", swapped=True)
    __floordiv__ = _function("floor_divide")
    __rfloordiv__ = _function("floor_divide", swapped=True)
    __mod__ = _function("mod")
    __rmod__ = _function("mod", swapped=True)
    __pow__ = _function("power")
    __rpow__ = _function("power", swapped=True)
    __matmul__ = _function("matmul")
    __rmatmul__ = _function("matmul", swapped=True)
    __neg__ = _function("negative")
    __abs__ = _function("absolute")
    __lt__ = _function("less")
    __le__ = _function("less_equal")
    __gt__ = _function("greater")
    __ge__ = _function("greater_equal")
    __and__ = _function("logical_and")
    __or__ = _function("logical_or")
    __invert__ = _function("logical_not")
    __getitem__ = _function("get_item")


class Symbolic(Operators):
    """A tensor without values; NumPy functions on it dispatch to `kurve.ops`."""

    def __array_ufunc__(
        self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any
    ) -> Any:
        return self._through(
            ufunc.__name__, inputs, kwargs if method == "__call__" else None
        )

    def __array_function__(
        self, function: Any, types: Any, args: Any, kwargs: Any
    ) -> Any:
        return self._through(function.__name__, args, kwargs)

    def _through(self, name: str, args: Any, kwargs: Any) -> Any:
        if name not in FUNCTIONS or kwargs is None:
            raise TypeError(
                f"[numpy] numpy.{name} needs values, but a symbolic tensor has none. "
                f"Received: {self!r} in {user_line()}. Try functions of kurve.ops."
            )
        return FUNCTIONS[name](*args, **kwargs)

    def __bool__(self) -> bool:
        raise self._no_values("a condition")

    def __float__(self) -> float:
        raise self._no_values("float()")

    def __int__(self) -> int:
        raise self._no_values("int()")

    def __index__(self) -> int:
        raise self._no_values("an index")

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        # Arrays have no gradient, and nobody would notice that in a formula.
        raise TypeError(*self._no_values("a NumPy array").args)

    def __len__(self) -> int:
        raise self._no_values("len()")

    def __iter__(self) -> Iterator[Any]:
        raise self._no_values("iteration")

    def __contains__(self, value: Any) -> bool:
        raise self._no_values("the operator 'in'")

    def __setitem__(self, key: Any, value: Any) -> None:
        raise self._no_values("an assignment to a part")

    def __getattr__(self, name: str) -> Any:
        if name in ("item", "numpy", "tolist", "eval", "detach", "cpu"):
            # An AttributeError for hasattr, with a message that explains what to do.
            raise AttributeError(
                str(self._no_values(f".{name}()")), name=name, obj=self
            )
        raise AttributeError(
            f"{type(self).__name__!r} object has no attribute {name!r}",
            name=name,
            obj=self,
        )

    @property
    def _where(self) -> str:
        return type(self).__name__

    _remedy = ", or Model(inputs, outputs).predict(x)"
    """What else helps who asks for values."""

    _error: type[TypeError] = TypeError
    """Of who asks for values."""

    def _no_values(self, what: str) -> TypeError:
        return self._error(
            f"[{self._where}] {what} needs values, but a symbolic tensor has "
            f"none before the model runs. Received: {self!r} in {user_line()}. "
            f"Try functions of kurve.ops (such as ops.where for a condition)"
            f"{self._remedy}."
        )


def asks_for_values(error: Exception) -> bool:
    """Whether a formula has asked a tensor for the values that it does not have."""
    of_tensor = isinstance(getattr(error, "obj", None), Symbolic)
    return isinstance(error, NeedsValues) or (
        isinstance(error, AttributeError) and of_tensor
    )
