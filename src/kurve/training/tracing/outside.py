"""Values that a function reads and changes besides its arguments."""

from __future__ import annotations

import dis
import random
import types
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from kurve.core.overrides import is_own

SMALL = 4096
"""Maximum bytes of arrays compared before each call."""

KEPT = frozenset(
    {
        "drawn",
        "history",
        "name",
        "stop_training",
        "stop_evaluating",
        "trainable",
        "built_shape",
        "_losses",
        "_resolved",
        "_tracker",
        "_trackers",
        "_inbound_nodes",
        "_model_lock",
        "_warned_of_mask",
        "_compiled",
        "run_eagerly",
        "train_function",
        "test_function",
        "predict_function",
    }
)
"""Attributes of models that are not part of a user's formula."""


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
        self._cells += func.__closure__ or ()
        for cell in func.__closure__ or ():
            self._object(_content(cell), depth)
        for name in set(_names(func.__code__)):
            self.prints |= name == "print"
            if name in func.__globals__:
                self._places.append((func.__globals__, name))
                self._object(func.__globals__[name], depth)

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

    def now(self) -> tuple[Any, ...]:
        """The values that a trace treats as constant."""
        return tuple(map(_simple, self._values()))

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
            [_simple(v) for v in values],
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


_PLAIN = (bool, int, float, str, type(None))


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _names(code: types.CodeType) -> Iterator[str]:
    """The names of the module that a function reads."""
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield step.argval
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield from _names(inner)


def _simple(value: Any, depth: int = 0) -> Any:
    """What a trace sees of a value."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, np.ndarray):
        small = value.nbytes <= SMALL and value.dtype != object
        return id(value), value.tobytes() if small else b""
    if isinstance(value, (list, tuple)) and depth < 2:
        inside = tuple(_simple(v, depth + 1) for v in value[:64])
        return list if isinstance(value, list) else tuple, len(value), inside
    if isinstance(value, dict) and depth < 2:
        return dict, len(value), tuple(_simple(v, depth + 1) for v in value.values())
    return id(value)
