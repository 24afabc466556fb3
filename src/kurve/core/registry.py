"""Look up classes named in configurations: fixed tables plus `custom_objects`.
Names are never imported.

A class outside the tables is written as "custom>Name".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

from kurve.errors import lookup

CUSTOM_PREFIX = "custom>"

REGISTERED: dict[str, Any] = {}
"""The objects that the program has registered, by "Package>Name" or another name."""

_NONE: Mapping[str, type] = MappingProxyType({})
_given: ContextVar[Mapping[str, type]] = ContextVar("custom_objects", default=_NONE)
_collected: ContextVar[dict[str, type] | None] = ContextVar("collected", default=None)


@contextmanager
def custom_objects(given: Mapping[str, type] | None) -> Iterator[None]:
    """Make these classes, and functions standing for one, known to `find`.

    Raises:
        TypeError: not a mapping from names to classes or functions.
    """
    are_classes = given is None or (
        isinstance(given, Mapping)
        and all(isinstance(k, str) and callable(v) for k, v in given.items())
    )
    if not are_classes:
        raise TypeError(
            "[custom_objects] classes must be a dict by name. "
            f"Received: {given!r}. Try custom_objects={{'MyLayer': MyLayer}}."
        )
    token = _given.set({**_given.get(), **(given or {})})
    try:
        yield
    finally:
        _given.reset(token)


@contextmanager
def collect_custom() -> Iterator[dict[str, type]]:
    """A context manager that collects the custom classes passed to `entry`."""
    collected: dict[str, type] = {}
    token = _collected.set(collected)
    try:
        yield collected
    finally:
        _collected.reset(token)


def entry(value: Any, table: Mapping[str, type]) -> Any:
    """Class and configuration of an object; None for None, as in Keras.

    Raises:
        ValueError: two custom classes have the same name.
    """
    if value is None:
        return None
    cls = type(value)
    name = cls.__name__
    if table.get(name) is not cls:
        name = note(name, cls)
    return {"class_name": name, "config": value.get_config()}


def entry_of_function(function: Any, config: dict[str, Any]) -> dict[str, Any]:
    """Entry for a function that stands for a class, with the object's configuration."""
    name = str(getattr(function, "__name__", type(function).__name__))
    return {"class_name": note(name, function), "config": config}


def class_of_function(function: Callable[[Any], Any], base: type) -> type:
    """The subclass that a user's function stands for: calling its objects calls the
    function, their `given_function`."""
    known = _of_functions.get((function, base))
    if known is None:
        name = getattr(function, "__name__", type(function).__name__)
        known = _of_functions[function, base] = type(
            name if name.isidentifier() else base.__name__.lower(),
            (base,),
            {
                "__call__": lambda self, w: function(w),
                "given_function": staticmethod(function),
            },
        )
    return known


_of_functions: dict[tuple[Any, type], type] = {}


def note(name: str, value: Any) -> str:
    """The file name of a user's class or function, which is collected too.

    Raises:
        ValueError: another object has the same name.
    """
    collected = _collected.get()
    if collected is not None and collected.setdefault(name, value) is not value:
        raise ValueError(
            "[get_config] custom classes and functions must have different names. "
            f"Received: two named {name!r}. Try renaming one."
        )
    return CUSTOM_PREFIX + name


def given() -> Mapping[str, Any]:
    """The caller's `custom_objects`, excluding registered ones."""
    return _given.get()


def known(name: str) -> Any:
    """The object of that name in the caller's `custom_objects` or the registry; None if
    there is none."""
    return _all().get(name.removeprefix(CUSTOM_PREFIX))


def _all() -> Mapping[str, Any]:
    every = {**REGISTERED, **_given.get()}
    classes = {getattr(v, "__name__", name): v for name, v in every.items()}
    short = {name.rpartition(">")[2]: v for name, v in every.items()}
    return {**classes, **short, **every}


def find(
    where: str,
    what: str,
    name: Any,
    table: Mapping[str, Any],
    base: type,
    of_function: Callable[[Any], Any] | None = None,
) -> Any:
    """The class with that name.

    Args:
        where, what: used in messages.
        table: the classes of Kurve.
        base: the class that a custom class must derive from.
        of_function: returns the class that a custom function stands for; None if only
            classes are allowed.

    Raises:
        TypeError: `name` is not a string, or the custom class is not a subclass of
        `base`. ValueError: an unknown name.
    """
    if not isinstance(name, str):
        raise TypeError(f"[{where}] class_name must be a string. Received: {name!r}.")
    is_custom, given = name.startswith(CUSTOM_PREFIX), _all()
    if not is_custom and (name in table or name not in given):
        return lookup(where, what, name, table)
    name = name.removeprefix(CUSTOM_PREFIX)
    if name not in given:
        raise ValueError(
            f"[{where}] the {what} {name!r} is a custom class, so it must be passed in "
            "custom_objects. Received: no such class. "
            f"Try custom_objects={{{name!r}: {name}}}."
        )
    found = given[name]
    if isinstance(found, type) and issubclass(found, base):
        return found
    if not isinstance(found, type) and of_function is not None:
        return of_function(found)
    raise TypeError(
        f"[{where}] the {what} {name!r} must be a subclass of {base.__name__}. "
        f"Received: {found!r} in custom_objects."
    )
