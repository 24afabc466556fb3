"""Overridden methods that would never be called.

The engines compute a model from the arguments of its parts. A subclass that overrides a
method that Keras would call is therefore refused by name where it is used, rather than
treated like its base class.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def refuse_overrides(where: str, part: Any) -> None:
    """Refuse a part of a model with an overridden method that would never be called.

    `ignored` of its class names such methods, and `instead` what to do. Other methods
    may be overridden: they are called.

    Raises:
        NotImplementedError: it has one, or it has no formula that engines know.
    """
    name = type(part).__name__
    for members in custom_members(part):
        for method in part.ignored:
            if method in members:
                raise NotImplementedError(
                    f"[{where}] {name}.{method} would never be called, because engines "
                    f"compute with Kurve's own formulas; custom ones are not supported "
                    f"yet. Received: a {name} with its own {method}. "
                    f"Try {part.instead}."
                )
    if getattr(part, "kind", None) == "" and not getattr(part, "by_ops", False):
        raise NotImplementedError(
            f"[{where}] {name} has no formula that engines know, and custom formulas "
            f"are not supported yet. Received: {part!r}. Try {part.instead}."
        )


def is_own(cls: type) -> bool:
    """Whether a class is defined outside Kurve."""
    # A class made in a namespace without __name__ has no module.
    return getattr(cls, "__module__", "").partition(".")[0] != "kurve"


def custom_members(part: Any) -> Iterator[Any]:
    """Attributes that the user has defined: of the object, and of custom classes."""
    yield vars(part)
    for cls in type(part).__mro__:
        if not is_own(cls):
            return
        yield vars(cls)
