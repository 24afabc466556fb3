"""Values of a file's description, each with its path for error messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from kurve.core.container.errors import ModelFileError, damaged
from kurve.core.registry import CUSTOM_PREFIX

T = TypeVar("T")


@dataclass(frozen=True)
class Field:
    """One value: the file, the path inside it ("model.layers[2]"), and the value."""

    path: str
    name: str
    value: Any

    def error(self, what: str) -> ModelFileError:
        """An error for this value."""
        return damaged(self.path, self.name or "kurve", what)

    def table(self, *keys: str, optional: tuple[str, ...] = ()) -> dict[str, Field]:
        """The values of an object with exactly these keys."""
        if not isinstance(self.value, dict):
            raise self.error("it must be an object")
        for key in keys:
            if key not in self.value:
                raise self.inner(key, None).error("it is missing")
        for key in self.value:
            if key not in keys and key not in optional:
                raise self.inner(key[:80], None).error("it is unknown")
        return {key: self.inner(key, value) for key, value in self.value.items()}

    def inner(self, key: str, value: Any) -> Field:
        """A value of this object."""
        return Field(self.path, f"{self.name}.{key}" if self.name else key, value)

    def items(self) -> Iterator[Field]:
        """The values of a list."""
        if not isinstance(self.value, (list, tuple)):
            raise self.error("it must be a list")
        for i, value in enumerate(self.value):
            yield Field(self.path, f"{self.name}[{i}]", value)

    def integer(self, low: int = 0, below: int = 2**53) -> int:
        """An integer, low <= value < below."""
        value = self.value
        if type(value) is not int or not low <= value < below:
            raise self.error(f"it must be an integer from {low}. Received: {value!r}")
        return value

    def number(self) -> float:
        """A number."""
        if type(self.value) not in (int, float):
            raise self.error(f"it must be a number. Received: {self.value!r}")
        return float(self.value)

    def text(self) -> str:
        """A string."""
        if not isinstance(self.value, str):
            raise self.error(f"it must be a string. Received: {self.value!r}")
        return self.value

    def texts(self) -> list[str] | None:
        """A list of strings, or None."""
        return None if self.value is None else [item.text() for item in self.items()]

    def boolean(self) -> bool:
        """True or False."""
        if not isinstance(self.value, bool):
            raise self.error(f"it must be true or false. Received: {self.value!r}")
        return self.value

    def convert(self, function: Callable[[Any], T]) -> T:
        """Apply `function` to the value; errors name this field."""
        try:
            return function(self.value)
        except (ModelFileError, MemoryError):
            raise
        except Exception as error:  # from constructors, even custom ones
            raise self.error(f"{type(error).__name__}: {error}") from error

    def object(
        self,
        deserialize: Callable[[Mapping[str, Any]], T],
        serialize: Callable[[T], Mapping[str, Any]],
    ) -> T:
        """Create the object described by class and configuration. It is serialized
        again and compared with the entry, so that no argument is silently ignored or
        changed."""
        entry = self.table("class_name", "config")
        entry["class_name"].text()
        if not isinstance(entry["config"].value, dict):
            raise entry["config"].error("it must be an object")
        value = self.convert(deserialize)
        path = self.convert(lambda _: difference(self.value, serialize(value)))
        if path is not None:
            raise damaged(self.path, f"{self.name}{path}", "it is not a valid argument")
        return value


def difference(entry: Any, serialized: Any) -> str | None:
    """Path to the first difference between an entry and its re-serialized object; None
    if there is none. Missing values count as defaults. Custom classes are not
    checked."""
    if isinstance(entry, dict):
        name = entry.get("class_name")
        if isinstance(name, str) and name.startswith(CUSTOM_PREFIX):
            return None
        if "own" in entry:  # a subclassed model, whose class can be passed
            return None
        if not isinstance(serialized, Mapping):
            return ""
        for key, value in entry.items():
            if key not in serialized:
                return f".{key[:80]}"
            if (path := difference(value, serialized[key])) is not None:
                return f".{key}{path}"
        return None
    if isinstance(entry, list):
        if not isinstance(serialized, (list, tuple)) or len(serialized) != len(entry):
            return ""
        for i, (a, b) in enumerate(zip(entry, serialized, strict=True)):
            if (path := difference(a, b)) is not None:
                return f"[{i}]{path}"
        return None
    same = entry == serialized and isinstance(entry, bool) == isinstance(
        serialized, bool
    )
    return None if same else ""
