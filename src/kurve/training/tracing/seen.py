"""What a trace sees of Python values: a key that changes whenever they do."""

from __future__ import annotations

import functools
import itertools
import sys
import types
import weakref
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from kurve.losses import Loss

SMALL = 4096
"""Arrays up to this many bytes are part of the key; larger ones are compared with a
copy."""

COMPARED = 1 << 20
"""Maximum bytes of an array that is compared as a whole; of larger ones, that many are
compared."""

DEPTH, ITEMS = 8, 4096
"""Limits of what is looked at: nesting, and values."""

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


_PLAIN = frozenset({bool, int, float, str, bytes, complex, type(None)})

_PACKAGES = ("site-packages", "dist-packages")


@functools.cache
def is_opaque(module: str) -> bool:
    """Whether a module belongs to Kurve, to Python or to an installed package, whose
    values are not looked into."""
    root = module.partition(".")[0]
    if root == "kurve" or (root in sys.stdlib_module_names and root != "__main__"):
        return True
    found = getattr(sys.modules.get(root), "__file__", None) or ""
    return any(name in found for name in _PACKAGES)


class Seen:
    """Function from values to keys: equal keys mean that nothing has changed.

    Objects of the user's classes are their attributes and those of their classes; a
    loss is its settings; other objects are only the same or another one.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._known: dict[int, tuple[Any, int]] = {}
        self._copies: dict[int, tuple[np.ndarray, int]] = {}
        self._left = 0
        self._inside: set[int] = set()

    def __call__(self, value: Any) -> Any:
        """The key of a value."""
        if type(value) in _PLAIN:
            return value
        self._left = ITEMS
        return self._key(value, DEPTH)

    def _key(self, value: Any, depth: int) -> Any:
        kind = type(value)
        known = _kinds.get(kind) or _kind_of(kind)
        if known.form == "whole":
            return self._identity(value)
        if known.form == "array":
            return self._array(value)
        self._left -= 1
        if depth <= 0 or self._left <= 0 or id(value) in self._inside:
            return self._identity(value)
        if known.form == "list":
            items = list(itertools.islice(value, self._left))
            return kind, len(value), self._inner(value, items, depth)
        if known.form == "dict":
            names = tuple(map(self._name, value))
            return kind, names, self._inner(value, value.values(), depth)
        if known.form == "method":
            return self._inner(value, (value.__func__, value.__self__), depth)
        if known.form == "class":
            if is_opaque(value.__module__):
                return self._identity(value)
            return self._identity(value), self._of_class(value, depth)
        own = vars(value) if known.has_dict else {}
        looked = {n: v for n, v in own.items() if _is_looked_at(n)}
        for name in known.slots:
            if hasattr(value, name):
                looked[name] = getattr(value, name)
        inner = self._inner(value, looked.values(), depth)
        classes = tuple(self._of_class(cls, depth) for cls in known.classes)
        return self._identity(value), classes, tuple(looked), inner

    def _of_class(self, cls: type, depth: int) -> Any:
        """The attributes of a class."""
        members = {n: v for n, v in vars(cls).items() if not n.startswith("__")}
        return tuple(members), self._inner(cls, members.values(), depth)

    def _inner(self, owner: Any, values: Iterable[Any], depth: int) -> tuple[Any, ...]:
        """The keys of the values in another one."""
        self._inside.add(id(owner))
        try:
            return tuple(
                [
                    v if type(v) in _PLAIN else self._key(v, depth - 1)
                    for v in tuple(values)
                ]
            )
        finally:
            self._inside.discard(id(owner))

    def _name(self, value: Any) -> Any:
        return value if type(value) in _PLAIN else self._identity(value)

    def _identity(self, value: Any) -> Any:
        """A number for an object; no other object gets it, even at the same address."""
        known = self._known.get(id(value))
        if known is not None and known[0]() is value:
            return known[1]
        number = next(self._numbers)
        place = id(value)
        try:
            reference = weakref.ref(value, lambda _: self._forget(place, number))
        except TypeError:
            return _kind_and_id(value)
        self._known[place] = reference, number
        return number

    def _forget(self, place: int, number: int) -> None:
        known = self._known.get(place)
        if known is not None and known[1] == number:
            del self._known[place]
        self._copies.pop(number, None)

    def _array(self, value: np.ndarray) -> Any:
        """Identity and content of an array."""
        if isinstance(value, np.generic):
            return type(value), value.tobytes()
        number = self._identity(value)
        if value.dtype == object:
            return number
        if value.nbytes <= SMALL:
            return number, value.tobytes()
        looked = value
        if value.nbytes > COMPARED:
            looked = value.reshape(-1) if value.flags.c_contiguous else value[:1]
            looked = looked.reshape(-1)[:: -(-value.nbytes // COMPARED)]
        known = self._copies.get(number)
        if known is None or not _equal(known[0], looked):
            version = 0 if known is None else known[1] + 1
            self._copies[number] = known = looked.copy(), version
        return number, known[1]


def _kind_and_id(value: Any) -> tuple[type, int]:
    """What is known of an object that cannot be followed."""
    return type(value), id(value)


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays have the same bytes; NaN is NaN."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if b.flags.c_contiguous and b.nbytes % 8 == 0:
        kind = np.uint64 if b.nbytes else b.dtype
        return bool((a.reshape(-1).view(kind) == b.reshape(-1).view(kind)).all())
    return a.tobytes() == b.tobytes()


def _is_looked_at(name: str) -> bool:
    return name not in KEPT and not name.startswith("_function_")


class _Kind(NamedTuple):
    """What is looked at in values of a type.

    form: "whole" (nothing but which object it is), "array", "list", "dict", "method",
          "class" or "object"
    classes, slots, has_dict: of an object: the user's classes among its bases, and
          where its attributes are
    """

    form: str
    classes: tuple[type, ...] = ()
    slots: tuple[str, ...] = ()
    has_dict: bool = False


_kinds: dict[type, _Kind] = {}


def _kind_of(kind: type) -> _Kind:
    """The same, which is then known."""
    _kinds[kind] = known = _new_kind(kind)
    return known


def _new_kind(kind: type) -> _Kind:
    if issubclass(kind, (np.ndarray, np.generic)):
        return _Kind("array")
    if issubclass(kind, (list, tuple, set, frozenset)):
        return _Kind("list")
    if issubclass(kind, (dict, types.MappingProxyType)):
        return _Kind("dict")
    if kind is types.MethodType:
        return _Kind("method")
    if issubclass(kind, type):
        return _Kind("class")
    known = issubclass(kind, (Loss, types.SimpleNamespace))
    if not known and is_opaque(kind.__module__):
        return _Kind("whole")
    own = [cls for cls in kind.__mro__ if not is_opaque(cls.__module__)]
    slots = [name for cls in own for name in getattr(cls, "__slots__", ())]
    has_dict = getattr(kind, "__dictoffset__", 0) != 0
    return _Kind("object", tuple(own), tuple(slots), has_dict)
