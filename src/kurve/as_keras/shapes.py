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

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        return TensorShape(found) if isinstance(key, slice) else found

    def is_compatible_with(self, other: Any) -> bool:
        """Whether a tensor can have both shapes."""
        sizes = tuple(other) if isinstance(other, (tuple, list)) else (other,)
        return len(sizes) == len(self) and all(
            a is None or b is None or a == b for a, b in zip(self, sizes, strict=True)
        )

    def as_list(self) -> list[Any]:
        return list(self)

    def num_elements(self) -> int | None:
        return None if None in self else math.prod(self)

    def is_fully_defined(self) -> bool:
        return None not in self
