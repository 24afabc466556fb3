"""Tensor shapes with TensorFlow's methods."""

from __future__ import annotations

import math
from typing import Any


class TensorShape(tuple[Any, ...]):
    """A tensor's shape, with None for unknown sizes: a tuple with the methods of
    TensorFlow's shapes."""

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
