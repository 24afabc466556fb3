"""Refuse overridden methods that would never be called.

The engines compute a model from the arguments of its layers. A subclass that overrides
a method Keras would call is therefore refused by name where it is used, instead of
being treated like its base class.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def refuse_overrides(where: str, part: Any) -> None:
    """Refuse a part of a model with an overridden method that would never be called.

    A class lists such methods in `ignored`, and what to do instead in `instead`. Other
    methods can be overridden: they are called.

    Raises:
        NotImplementedError: it overrides one, or the engines have no formula for it.
    """
    name = type(part).__name__
    for members in custom_members(part):
        for method in part.ignored:
            if method in members:
                raise NotImplementedError(
                    f"[{where}] {name}.{method} would never be called, because engines "
                    f"compute with built-in formulas; custom ones are not supported "
                    f"yet. Received: a {name} that overrides {method}. "
                    f"Try {part.instead}."
                )
    if getattr(part, "kind", None) == "" and not getattr(part, "by_ops", False):
        raise NotImplementedError(
            f"[{where}] the engines have no formula for {name}, and custom formulas "
            f"are not supported yet. Received: {part!r}. Try {part.instead}."
        )


def is_own(cls: type) -> bool:
    """Whether a class is defined outside Kurve."""
    # A class created in a namespace without __name__ has no module.
    return getattr(cls, "__module__", "").partition(".")[0] != "kurve"


def custom_members(part: Any) -> Iterator[Any]:
    """Attributes that the user defined, on the object and on custom classes."""
    yield vars(part)
    for cls in type(part).__mro__:
        if not is_own(cls):
            return
        yield vars(cls)
