"""Shapes with the methods of TensorFlow's, which programs ask tensors for."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from kurve.core.results import Values


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


def install() -> None:
    """Give values of Kurve such shapes."""

    def shape(values: Any) -> TensorShape:
        return TensorShape(np.ndarray.shape.__get__(values))

    def set_shape(values: Any, shape: Any) -> None:
        np.ndarray.shape.__set__(values, shape)  # type: ignore[attr-defined]

    manners: Any = Values
    manners.shape = property(shape, set_shape)
    manners.get_shape = shape
