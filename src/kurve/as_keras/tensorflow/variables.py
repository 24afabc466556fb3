"""`tf.Variable`: a custom weight, outside layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from kurve import initializers
from kurve.as_keras.shapes import TensorShape
from kurve.as_keras.tensorflow.values import kind, tensor
from kurve.core.naming import unique_name
from kurve.core.results import Values
from kurve.formulas.graph import is_variable
from kurve.layers.variable import Variable as _Weight

__all__ = ["Variable", "VariableAggregation", "VariableSynchronization", "is_variable"]


class Variable(_Weight):
    """A tensor whose value changes by `assign`, `assign_add` and `assign_sub`.
    Floats are float32; integers and booleans keep their type and are not trained.

    Args:
        initial_value: numbers, or a function that returns them.
        trainable: whether gradient tapes watch it.
        name: generated if None.
        dtype: dtype of the numbers.
    """

    def __init__(
        self,
        initial_value: Any,
        trainable: Any = None,
        validate_shape: Any = True,
        caching_device: Any = None,
        name: str | None = None,
        variable_def: Any = None,
        dtype: Any = None,
        import_scope: Any = None,
        constraint: Any = None,
        synchronization: Any = None,
        aggregation: Any = None,
        shape: Any = None,
    ) -> None:
        value = initial_value() if callable(initial_value) else initial_value
        array = np.array(tensor(value, dtype))
        if array.dtype.kind == "f":
            array = array.astype(np.float32)
        learned = array.dtype.kind == "f" and trainable is not False
        super().__init__(
            name or unique_name("Variable"),
            array.shape,
            initializers.Zeros(),
            "param" if learned else "buffer",
            constraint=constraint,
        )
        self._views.append((None, array))

    @property
    def is_free(self) -> bool:  # type: ignore[override]
        """Layers have those of numbers as weights."""
        return self.value.dtype.kind == "f"

    @property
    def dtype(self) -> str:
        return self.value.dtype.name

    def __getitem__(self, key: Any) -> Any:
        """Part of the value; its `assign` changes that part of the variable."""
        part: Any = super().__getitem__(key)
        if isinstance(part, Values):

            def assign(value: Any, *_: Any, **__: Any) -> Any:
                whole = self.value.copy()
                whole[tuple(key) if isinstance(key, list) else key] = np.asarray(value)
                return self.assign(whole)

            part.assign = assign  # type: ignore[attr-defined]
        return part

    def get_shape(self) -> TensorShape:
        return TensorShape(self.shape)

    def numpy(self) -> Any:
        """A copy of the value."""
        return self.value.copy()[()]

    def read_value(self) -> Any:
        """The value as a tensor."""
        return tensor(self.value.copy())

    def assign(self, value: Any, *_: Any, **__: Any) -> Any:
        """Set a new value of the same shape."""
        if self.value.dtype.kind == "f":
            super().assign(np.broadcast_to(np.asarray(value), self.shape))
        else:
            self.value[...] = np.asarray(value).astype(self.value.dtype)
        return self

    def assign_add(self, value: Any, *_: Any, **__: Any) -> Any:
        """Add to the value."""
        return self.assign(self.value + np.asarray(value))

    def assign_sub(self, value: Any, *_: Any, **__: Any) -> Any:
        """Subtract from the value."""
        return self.assign(self.value - np.asarray(value))

    def __int__(self) -> int:
        return int(self.value)

    def __float__(self) -> float:
        return float(self.value)

    def __index__(self) -> int:
        return int(self.value)

    def __bool__(self) -> bool:
        return bool(self.value)

    def __repr__(self) -> str:
        what = f"shape={tuple(self.shape)}, dtype={kind(self.dtype)}"
        return f"<tf.Variable {self.name!r} {what}, numpy={self.value!r}>"


class VariableAggregation:
    """Names without effect: there is one copy of each variable."""

    NONE, SUM, MEAN, ONLY_FIRST_REPLICA = "none", "sum", "mean", "first"


class VariableSynchronization:
    """Names without effect: there is one copy of each variable."""

    AUTO, NONE, ON_READ, ON_WRITE = "auto", "none", "read", "write"
