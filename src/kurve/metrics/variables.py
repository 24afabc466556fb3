"""The accumulators of custom metrics."""

from __future__ import annotations

from typing import Any

import numpy as np

from kurve.formulas.recording import active, refuse_in_steps
from kurve.plan import Shape


class MetricVariable(np.lib.mixins.NDArrayOperatorsMixin):
    """An accumulator of a custom metric, see `Metric.add_variable`.

    Arithmetic on it returns arrays; `assign`, `assign_add` and `assign_sub` change it.

    Args:
        value: the initial value.
        name: name of the variable.
    """

    def __init__(self, value: np.ndarray, name: str = "variable") -> None:
        self.name = name
        self.value = value

    @property
    def shape(self) -> Shape:
        return tuple(self.value.shape)

    @property
    def dtype(self) -> str:
        return self.value.dtype.name

    def numpy(self) -> np.ndarray:
        """A copy of the value."""
        return self._read().copy()

    def _read(self) -> np.ndarray:
        """The value, which is not available in a traced step."""
        refuse_in_steps(f"the variable {self.name!r} of a metric")
        return self.value

    def assign(self, value: Any) -> np.ndarray:
        """Replace the value with one of the same shape, and return it.

        Raises:
            ValueError: wrong shape.
        """
        self._read()
        new = np.asarray(value, self.value.dtype)
        if new.shape not in (self.shape, ()):
            raise ValueError(
                f"[{self.name}] the value must have shape {self.shape}. "
                f"Received: shape {new.shape}. Try np.zeros({self.shape})."
            )
        self.value[...] = new
        return self.value

    def assign_add(self, value: Any) -> Any:
        """Add to the value."""
        if active.step is not None:
            return active.step.metric_added(self, value)
        return self.assign(self.value + np.asarray(value))

    def assign_sub(self, value: Any) -> Any:
        """Subtract from the value."""
        if active.step is not None:
            return active.step.metric_added(self, -value)
        return self.assign(self.value - np.asarray(value))

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.array(self._read(), dtype)

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, **given: Any
    ) -> Any:
        plain = [x._read() if isinstance(x, MetricVariable) else x for x in inputs]
        return getattr(ufunc, method)(*plain, **given)

    def __float__(self) -> float:
        return float(self._read())

    def __bool__(self) -> bool:
        return bool(self._read())

    def __getitem__(self, key: Any) -> Any:
        return self._read()[key]

    def __len__(self) -> int:
        return len(self.value)

    def __repr__(self) -> str:
        return f"MetricVariable({self.value!r}, name={self.name!r})"
