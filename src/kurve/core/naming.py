"""Default names of objects, from their classes."""

from __future__ import annotations

import re

_names_given: dict[str, int] = {}


def auto_name(cls: type) -> str:
    """Keras's default name: dense, dense_1, ..., max_pooling2d, ..., adam, ..."""
    base = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", cls.__name__)
    base = re.sub("([a-z])([A-Z])", r"\1_\2", base).lower()
    count = number_of(base)
    return f"{base}_{count}" if count else base


def number_of(name: str) -> int:
    """How often the name was asked for before."""
    count = _names_given.get(name, 0)
    _names_given[name] = count + 1
    return count


def forget_names() -> None:
    """Begin to count again."""
    _names_given.clear()
