"""Values of a description from a file, each with its place, so that errors name it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from kurve.core.container.errors import ModelFileError, damaged
from kurve.core.registry import CUSTOM_PREFIX

T = TypeVar("T")


@dataclass(frozen=True)
class Field:
    """One value: the file, its place there ("model.layers[2]"), and what it is."""

    path: str
    name: str
    value: Any

    def wrong(self, what: str) -> ModelFileError:
        """The error for this value."""
        return damaged(self.path, self.name or "kurve", what)

    def table(self, *keys: str, optional: tuple[str, ...] = ()) -> dict[str, Field]:
        """The values of a table with exactly these keys."""
        if not isinstance(self.value, dict):
            raise self.wrong("it must be a table")
        for key in keys:
            if key not in self.value:
                raise self.inner(key, None).wrong("it is missing")
        for key in self.value:
            if key not in keys and key not in optional:
                raise self.inner(key[:80], None).wrong("there is no place for it")
        return {key: self.inner(key, value) for key, value in self.value.items()}

    def inner(self, key: str, value: Any) -> Field:
        """A value of this table."""
        return Field(self.path, f"{self.name}.{key}" if self.name else key, value)

    def items(self) -> Iterator[Field]:
        """The values of a list."""
        if not isinstance(self.value, list):
            raise self.wrong("it must be a list")
        for i, value in enumerate(self.value):
            yield Field(self.path, f"{self.name}[{i}]", value)

    def whole(self, low: int = 0, below: int = 2**53) -> int:
        """An integer, low <= value < below."""
        value = self.value
        if type(value) is not int or not low <= value < below:
            raise self.wrong(f"it must be an integer from {low}. Received: {value!r}")
        return value

    def number(self) -> float:
        """A number, whole or not."""
        if type(self.value) not in (int, float):
            raise self.wrong(f"it must be a number. Received: {self.value!r}")
        return float(self.value)

    def text(self) -> str:
        """A text."""
        if not isinstance(self.value, str):
            raise self.wrong(f"it must be text. Received: {self.value!r}")
        return self.value

    def flag(self) -> bool:
        """True or False."""
        if not isinstance(self.value, bool):
            raise self.wrong(f"it must be true or false. Received: {self.value!r}")
        return self.value

    def made(self, make: Callable[[Any], T]) -> T:
        """What `make` makes of the value; whatever it raises names this field."""
        try:
            return make(self.value)
        except (ModelFileError, MemoryError):
            raise
        except Exception as error:  # of constructors, the caller's too
            raise self.wrong(f"{type(error).__name__}: {error}") from error

    def thing(
        self,
        deserialize: Callable[[Mapping[str, Any]], T],
        serialize: Callable[[T], Mapping[str, Any]],
    ) -> T:
        """The object that an entry of class and configuration describes, proven to be
        what the entry says: no argument of it is unknown, or was taken for another."""
        entry = self.table("class_name", "config")
        entry["class_name"].text()
        if not isinstance(entry["config"].value, dict):
            raise entry["config"].wrong("it must be a table")
        thing = self.made(deserialize)
        found = self.made(lambda _: _difference(self.value, serialize(thing)))
        if found is not None:
            raise damaged(self.path, f"{self.name}{found}", "it has no such meaning")
        return thing


def _difference(given: Any, made: Any) -> str | None:
    """Where what is given differs from what was made of it; None: nowhere. What is not
    given is its default. The caller's own classes may say what they like."""
    if isinstance(given, dict):
        name = given.get("class_name")
        if isinstance(name, str) and name.startswith(CUSTOM_PREFIX):
            return None
        if not isinstance(made, Mapping):
            return ""
        for key, value in given.items():
            if key not in made:
                return f".{key[:80]}"
            if (found := _difference(value, made[key])) is not None:
                return f".{key}{found}"
        return None
    if isinstance(given, list):
        if not isinstance(made, (list, tuple)) or len(made) != len(given):
            return ""
        for i, (a, b) in enumerate(zip(given, made, strict=True)):
            if (found := _difference(a, b)) is not None:
                return f"[{i}]{found}"
        return None
    same = given == made and isinstance(given, bool) == isinstance(made, bool)
    return None if same else ""
