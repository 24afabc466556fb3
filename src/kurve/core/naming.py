"""Default names of objects, from their classes."""

from __future__ import annotations

import re

_names_given: dict[str, int] = {}


def auto_name(cls: type) -> str:
    """Keras's default name: dense, dense_1, ..., max_pooling2d, ..., adam, ..."""
    base = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", cls.__name__)
    return unique_name(re.sub("([a-z])([A-Z])", r"\1_\2", base).lower())


def unique_name(base: str) -> str:
    """`base`, or with a number if it has been given before."""
    count = _names_given.get(base, 0)
    _names_given[base] = count + 1
    return f"{base}_{count}" if count else base
