"""Values that a function reads and changes besides its arguments."""

from __future__ import annotations

import dis
import functools
import random
import types
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from kurve.core.overrides import is_own
from kurve.training.tracing.seen import KEPT, Seen, is_opaque


class State(NamedTuple):
    """What a trace can change."""

    owners: list[dict[str, Any]]
    values: list[Any]
    generators: list[Any]
    contents: list[tuple[Any, Any]]
    numpy: Any
    python: Any

    def differs(self, other: State) -> bool:
        """Whether something has changed."""
        names = [{n for n in owner if n not in KEPT} for owner in self.owners]
        others = [{n for n in owner if n not in KEPT} for owner in other.owners]
        return (
            names != others
            or self.values != other.values
            or repr(self.generators) != repr(other.generators)
            or (self.numpy[0], *self.numpy[2:]) != (other.numpy[0], *other.numpy[2:])
            or self.numpy[1].tobytes() != other.numpy[1].tobytes()
            or self.python != other.python
        )


class Outside:
    """The Python values that a function reads or changes besides its arguments: in the
    object it belongs to, in enclosing functions and in its module."""

    def __init__(self, func: Callable[..., Any]) -> None:
        self._places: list[tuple[dict[str, Any], str]] = []
        self._cells: list[Any] = []
        self._owners: list[dict[str, Any]] = []
        self.prints = False
        self._found: set[int] = set()
        self._seen = Seen()
        self._given: list[Any] = []  # values bound to arguments
        while isinstance(func, functools.partial):
            self._given += [*func.args, *func.keywords.values()]
            func = func.func
        owner = getattr(func, "__self__", None)
        if owner is not None and hasattr(owner, "__dict__"):
            self._owners.append(vars(owner))
            for cls in type(owner).__mro__:
                if is_own(cls):
                    for member in vars(cls).values():
                        self._look(member, 1)
        self._look(getattr(func, "__func__", func), 0)

    def _look(self, func: Any, depth: int) -> None:
        if not isinstance(func, types.FunctionType) or depth > 3:
            return
        module = func.__module__ or ""
        if id(func) in self._found or module.partition(".")[0] == "kurve":
            return
        self._found.add(id(func))
        self._given += func.__defaults__ or ()
        self._given += (func.__kwdefaults__ or {}).values()
        self._cells += func.__closure__ or ()
        for cell in func.__closure__ or ():
            self._object(_content(cell), depth)
        for name in set(_names(func.__code__)):
            self.prints |= name == "print"
            if name not in func.__globals__:
                continue
            self._places.append((func.__globals__, name))
            value = func.__globals__[name]
            self._object(value, depth)
            if isinstance(value, types.ModuleType) and not is_opaque(value.__name__):
                for attribute in set(_names(func.__code__, "LOAD_ATTR", "LOAD_METHOD")):
                    if attribute in vars(value):
                        self._places.append((vars(value), attribute))
                        self._object(vars(value)[attribute], depth)

    def _object(self, value: Any, depth: int) -> None:
        if isinstance(value, types.FunctionType):
            self._look(value, depth + 1)
            return
        known = type(value).__module__.partition(".")[0] in ("kurve", "builtins")
        if known or isinstance(value, (type, types.ModuleType, np.ndarray)):
            return
        own = getattr(value, "__dict__", None)
        if isinstance(own, dict):
            self._owners.append(own)

    def _values(self) -> Iterator[Any]:
        for owner in self._owners:
            for name, value in owner.items():
                if name not in KEPT and not name.startswith("_function_"):
                    yield value
        for place, name in self._places:
            yield place.get(name)
        for cell in self._cells:
            yield _content(cell)
        yield from self._given

    def seen(self, value: Any) -> Any:
        """What a trace sees of an argument."""
        return self._seen(value)

    def now(self) -> tuple[Any, ...]:
        """The values that a trace treats as constant."""
        return tuple(map(self._seen, self._values()))

    def state(self) -> Any:
        """Everything that a trace can change."""
        values = list(self._values())
        generators = [
            (v.bit_generator, v.bit_generator.state)
            for v in values
            if isinstance(v, np.random.Generator)
        ]
        return State(
            [dict(owner) for owner in self._owners],
            [self._seen(v) for v in values],
            generators,
            [(v, v.copy()) for v in values if type(v) in (list, dict, set)],
            np.random.get_state(),  # noqa: NPY002
            random.getstate(),
        )

    def restore(self, before: Any) -> None:
        """Undo the changes of a trace: attributes, contents of lists, dictionaries and
        sets, and random states."""
        np.random.set_state(before.numpy)  # noqa: NPY002
        random.setstate(before.python)
        for generator, known in before.generators:
            generator.state = known
        for owner, old in zip(self._owners, before.owners, strict=True):
            for name in list(owner):
                if name not in old:
                    del owner[name]
            owner.update(old)
        for value, old in before.contents:
            value.clear()
            value.extend(old) if type(value) is list else value.update(old)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _names(code: types.CodeType, *kinds: str) -> Iterator[str]:
    """The names of the module that a function reads; with kinds, those of these
    instructions."""
    for step in dis.get_instructions(code):
        if step.opname in (kinds or ("LOAD_GLOBAL", "LOAD_NAME")):
            yield step.argval
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield from _names(inner, *kinds)
