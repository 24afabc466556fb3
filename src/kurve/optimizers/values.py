"""Values of `optimizer.learning_rate`, `.iterations` and `.variables`: Python numbers
that also act as Keras variables."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.core.arrays import as_numbers

if TYPE_CHECKING:
    from kurve.optimizers.base import Optimizer


class _Live:
    """A live number of an optimizer, which always has the current value.

    It is also a Python number, for JSON, formatting and C code, with the value at the
    time of access.
    """

    name: str
    dtype: str
    shape = ()
    _optimizer: Optimizer

    def numpy(self) -> Any:
        """The current value as a NumPy scalar."""
        return np.dtype(self.dtype).type(self._now())

    @property
    def value(self) -> Any:
        """Same as `numpy`."""
        return self.numpy()

    def assign(self, value: Any) -> None:
        """Set the value.

        Raises:
            TypeError, ValueError: not a number, or an invalid one.
        """
        raise NotImplementedError

    def _now(self) -> Any:
        raise NotImplementedError

    def __reduce__(self) -> Any:
        now = self._now()
        return type(now), (now,)


def _live(cls: type) -> type:
    """Make the operators of a number use the current value."""

    def of(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda self, *more: function(self._now(), *more)

    def reflected(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda self, other: function(other, self._now())

    unary = (operator.neg, operator.pos, operator.abs, float, int, bool, hash)
    for function in (*unary, repr, str, format, round):
        setattr(cls, f"__{function.__name__}__", of(function))
    for name in ("lt", "le", "gt", "ge", "eq", "ne"):
        setattr(cls, f"__{name}__", of(getattr(operator, name)))
    for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow"):
        setattr(cls, f"__{name}__", of(getattr(operator, name)))
        setattr(cls, f"__r{name}__", reflected(getattr(operator, name)))
    return cls


@_live
class LearningRate(_Live, float):
    """The learning rate of an optimizer.

    Example:
        >>> optimizer = kurve.optimizers.Adam(0.5)
        >>> optimizer.learning_rate.assign(optimizer.learning_rate / 2)
        >>> optimizer.learning_rate
        0.25
    """

    name, dtype = "learning_rate", "float32"

    def __new__(cls, optimizer: Optimizer, value: float) -> LearningRate:
        rate = float.__new__(cls, value)
        rate._optimizer = optimizer
        return rate

    def _now(self) -> float:
        now = self._optimizer._learning_rate
        return now if type(now) is float else float.__float__(self)

    def assign(self, value: Any) -> None:
        self._optimizer.learning_rate = float(as_numbers("assign", "value", value))


class ScheduledRate(LearningRate):
    """The learning rate of the next update, from a schedule, which it also calls: as a
    number, Keras 3 has it; as the schedule, Keras 2.

    Example:
        >>> from kurve.optimizers import SGD, schedules
        >>> optimizer = SGD(schedules.PolynomialDecay(0.5, 4, 0.0))
        >>> optimizer.learning_rate, optimizer.learning_rate(2)
        (0.5, 0.25)
    """

    def __call__(self, step: Any) -> Any:
        return self._optimizer._learning_rate(step)


@_live
class Iterations(_Live, int):
    """The number of updates applied by an optimizer."""

    name, dtype = "iteration", "int64"

    def __new__(cls, optimizer: Optimizer, every: int) -> Iterations:
        state = optimizer._state()
        count = int.__new__(cls, 0 if state is None else state.step // every)
        count._optimizer, count._every = optimizer, every
        return count

    _every: int  # steps per update

    def _now(self) -> int:
        state = self._optimizer._state()
        return 0 if state is None else int(state.step) // self._every

    def assign(self, value: Any) -> None:
        state = self._optimizer._state()
        count = int(as_numbers("assign", "value", value))
        if state is None and count == 0:
            return
        if state is None or count < 0:
            raise ValueError(
                "[optimizer] iterations can be set to a non-negative number once the "
                f"model is built. Received: {value!r}. Try model.build first."
            )
        state.step = count * self._every
        network = self._optimizer._owner()
        if network is not None and network.state is not None:
            network.state.step = state.step


class SlotVariable:
    """One of the optimizer's slots for one variable of the model.

    Args:
        name: such as "dense_kernel_momentum".
        view: the array itself, which training updates.
    """

    dtype, trainable = "float32", False

    def __init__(self, name: str, view: np.ndarray) -> None:
        self.name, self.value = name, view

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    def numpy(self) -> np.ndarray:
        """A copy of the value."""
        return self.value.copy()

    def assign(self, value: Any) -> None:
        """Replace the value with one of the same shape.

        Raises:
            ValueError: another shape, or a value that is not finite.
        """
        array = as_numbers(self.name, "the new value", value, np.float32)
        if array.shape != self.shape or not np.isfinite(array).all():
            raise ValueError(
                f"[{self.name}] the new value must be finite and have shape "
                f"{self.shape}. Received: shape {array.shape}. Try numpy()."
            )
        self.value[...] = array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.value, dtype=dtype)

    def __repr__(self) -> str:
        return f"<SlotVariable {self.name}, shape={self.shape}>"


def slot_views(
    optimizer: Optimizer, params: Sequence[Any], slots: np.ndarray
) -> list[tuple[str, np.ndarray]]:
    """Name and view of each slot variable, in Keras's order."""
    names = optimizer.slot_names
    found = []
    for k, spec, shape in optimizer.places([p for p in params if p.trainable]):
        size = int(np.prod(shape))
        name = f"{spec.name.replace('/', '_')}_{names[k]}"
        found.append((name, slots[k, spec.offset : spec.offset + size].reshape(shape)))
    return found
