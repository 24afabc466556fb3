"""Classes by name in configurations: closed tables, and beside them what the caller
passes as `custom_objects`. No name is ever imported.

A class that is in no table is written as "custom>Name".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

from kurve.errors import lookup

CUSTOM_PREFIX = "custom>"

_NONE: Mapping[str, type] = MappingProxyType({})
_given: ContextVar[Mapping[str, type]] = ContextVar("custom_objects", default=_NONE)
_collected: ContextVar[dict[str, type] | None] = ContextVar("noted", default=None)


@contextmanager
def custom_objects(given: Mapping[str, type] | None) -> Iterator[None]:
    """Let `find` know these classes by name too; None adds none.

    Raises:
        TypeError: something else than classes by name.
    """
    whole = given is None or (
        isinstance(given, Mapping)
        and all(isinstance(k, str) and isinstance(v, type) for k, v in given.items())
    )
    if not whole:
        raise TypeError(
            "[custom_objects] classes must be given by name. "
            f"Received: {given!r}. Try custom_objects={{'MyLayer': MyLayer}}."
        )
    token = _given.set({**_given.get(), **(given or {})})
    try:
        yield
    finally:
        _given.reset(token)


@contextmanager
def collect_custom() -> Iterator[dict[str, type]]:
    """Collects the classes in no table whose names `entry` gives meanwhile."""
    collected: dict[str, type] = {}
    token = _collected.set(collected)
    try:
        yield collected
    finally:
        _collected.reset(token)


def entry(thing: Any, table: Mapping[str, type]) -> dict[str, Any]:
    """Class and configuration of an object.

    Raises:
        ValueError: two classes of one name, of which a file could not tell which.
    """
    cls = type(thing)
    name = cls.__name__
    if table.get(name) is not cls:
        collected = _collected.get()
        if collected is not None and collected.setdefault(name, cls) is not cls:
            raise ValueError(
                "[get_config] classes of one's own must have different names. "
                f"Received: two that are called {name!r}. Try another name for one."
            )
        name = CUSTOM_PREFIX + name
    return {"class_name": name, "config": thing.get_config()}


def find(where: str, what: str, name: Any, table: Mapping[str, Any], base: type) -> Any:
    """The class of that name.

    Raises:
        TypeError: no name, or the caller's class is of another kind than `base`.
        ValueError: a name that is not known.
    """
    if not isinstance(name, str):
        raise TypeError(f"[{where}] a class_name must be text. Received: {name!r}.")
    own, given = name.removeprefix(CUSTOM_PREFIX), _given.get()
    if own == name and (name in table or name not in given):
        return lookup(where, what, name, table)
    if own not in given:
        raise ValueError(
            f"[{where}] the {what} {own!r} is a class of one's own, which files do not "
            f"hold. Received: no such class. Try custom_objects={{{own!r}: {own}}}."
        )
    if not issubclass(given[own], base):
        raise TypeError(
            f"[{where}] the {what} {own!r} must be a subclass of {base.__name__}. "
            f"Received: {given[own]!r} in custom_objects."
        )
    return given[own]
