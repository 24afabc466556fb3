"""Methods of one's own that nobody would call.

The engines compute a model from the arguments of its parts. A subclass that overrides
what Keras would call is therefore refused by name where it is used, rather than taken
for its base class.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def refuse_overrides(where: str, thing: Any) -> None:
    """Refuse a part of a model with a method that would never be called.

    `ignored` of its class names such methods, and `instead` what to do. Other methods
    may be overridden: they are called.

    Raises:
        NotImplementedError: it has one, or it has no formula that engines know.
    """
    name = type(thing).__name__
    for members in _own_members(thing):
        for method in thing.ignored:
            if method in members:
                raise NotImplementedError(
                    f"[{where}] {name}.{method} would never be called, because engines "
                    f"compute with formulas of Kurve's own; others are not there yet. "
                    f"Received: a {name} with its own {method}. Try {thing.instead}."
                )
    if getattr(thing, "kind", None) == "":
        raise NotImplementedError(
            f"[{where}] {name} has no formula that engines know, and formulas of one's "
            f"own are not there yet. Received: {thing!r}. Try {thing.instead}."
        )


def is_own(cls: type) -> bool:
    """Whether a class is not Kurve's."""
    return cls.__module__.partition(".")[0] != "kurve"


def _own_members(thing: Any) -> Iterator[Any]:
    """Names that its user has defined: of the object, and of classes not Kurve's."""
    yield vars(thing)
    for cls in type(thing).__mro__:
        if not is_own(cls):
            return
        yield vars(cls)
