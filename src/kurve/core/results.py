"""What calls of layers, models, losses and metrics give: NumPy arrays and floats that
also have the method `numpy` of Keras's tensors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


class TensorShape(tuple[Any, ...]):
    """The lengths of a tensor's axes, None for an unknown one: a tuple that also has
    the methods of TensorFlow's shapes."""

    __slots__ = ()

    @property
    def rank(self) -> int:
        return len(self)

    @property
    def ndims(self) -> int:
        return len(self)

    def as_list(self) -> list[Any]:
        return list(self)

    def num_elements(self) -> int | None:
        return None if None in self else math.prod(self)

    def is_fully_defined(self) -> bool:
        return None not in self


class Values(np.ndarray):
    """An array; `numpy()` gives it as a plain one, which shares its memory, or as a
    number of NumPy's if it has no axes.

    key: its number on the tapes that follow it, see `kurve.gradients`
    """

    key: int | None = None

    _keras_mask: Any = None
    """Which of its steps count, if a layer says so."""

    @property
    def shape(self) -> TensorShape:
        return TensorShape(np.ndarray.shape.__get__(self))

    @shape.setter
    def shape(self, shape: Any) -> None:
        np.ndarray.shape.__set__(self, shape)  # type: ignore[attr-defined]

    def get_shape(self) -> TensorShape:
        return self.shape

    def numpy(self) -> Any:
        return self.view(np.ndarray)[()]

    def __getitem__(self, key: Any) -> Any:
        return result(super().__getitem__(key))

    def __hash__(self) -> int:  # type: ignore[override]
        """Of a number that of the number, so that it may be in a set of classes."""
        return hash(self.item() if self.ndim == 0 else self.view(np.ndarray))

    def __repr__(self) -> str:
        return repr(self.view(np.ndarray))


class Number(float):
    """A float; `numpy()` gives it as NumPy's."""

    def numpy(self) -> np.float64:
        return np.float64(self)


def result(value: Any) -> Any:
    """An array or a number with the method `numpy`; anything else as it is."""
    if type(value) is np.ndarray:
        return value.view(Values)
    if isinstance(value, np.generic):
        return np.asarray(value).view(Values)
    return Number(value) if type(value) is float else value
