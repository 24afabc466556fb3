"""Default names of objects, derived from their classes."""

from __future__ import annotations

import re

_names_given: dict[str, int] = {}


def snake_case(name: str) -> str:
    """A class name in Keras's snake case: dense, max_pooling2d, f1_score, ..."""
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def auto_name(cls: type) -> str:
    """Keras's default name: dense, dense_1, ..., max_pooling2d, ..., adam, ..."""
    return unique_name(snake_case(cls.__name__))


def unique_name(base: str) -> str:
    """`base`, with a number appended if it was used before."""
    count = number_of(base)
    return f"{base}_{count}" if count else base


def number_of(name: str) -> int:
    """How often the name was requested before."""
    count = _names_given.get(name, 0)
    _names_given[name] = count + 1
    return count


def forget_names() -> None:
    """Reset the counters."""
    _names_given.clear()
