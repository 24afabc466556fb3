"""Packages that import their modules lazily, when a name is first used, so that `import
kurve` stays fast."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from kurve.errors import no_attribute

C = TypeVar("C")


class Later:
    """A package's lazy `__getattr__`.

    Args:
        package: its name.
        modules: for each module, a space-separated string of the names it defines;
            "Other=Name" is an alias.
        missing: called for an unknown name; must raise AttributeError.

    Raises:
        AttributeError: unknown name.
    """

    def __init__(
        self,
        package: str,
        modules: Mapping[str, str],
        missing: Callable[[str], Any] | None = None,
    ) -> None:
        self.package, self._missing = package, missing
        self.homes: dict[str, tuple[str, str]] = {}
        for module, names in modules.items():
            for name in names.split():
                shown, _, own = name.partition("=")
                self.homes[shown] = module, own or shown

    def __call__(self, name: str) -> Any:
        if name not in self.homes:
            try:
                return old_name(self.package, name)
            except LookupError:
                pass
            if self._missing is not None:
                self._missing(name)
            raise no_attribute(self.package, name, self.homes)
        module, own = self.homes[name]
        found = getattr(importlib.import_module(f"{self.package}.{module}"), own)
        return vars(sys.modules[self.package]).setdefault(name, found)

    def dir(self) -> list[str]:
        """The public names of the package."""
        there = (n for n in vars(sys.modules[self.package]) if n[0] != "_")
        return sorted({*there, *self.homes})

    def classes(self, without: Iterable[str] = ()) -> list[str]:
        """The names of the classes, without aliases."""
        left_out = set(without)
        return [
            name
            for name, (_, own) in self.homes.items()
            if name == own and name[0].isupper() and name not in left_out
        ]


def old_name(module: str, name: str) -> Any:
    """The current equivalent of a name from Keras 1 or 2, with a warning.

    Raises:
        LookupError: not such a name.
        AttributeError: it has no current equivalent.
    """
    if name.startswith("_"):
        raise LookupError(name)
    from kurve.legacy.names import of_module

    return of_module(module, name)


def absent(module: str) -> Callable[[str], Any]:
    """A module's `__getattr__` for outdated names: return what replaces a name, or
    raise an error that suggests the closest matches."""

    def attribute(name: str) -> Any:
        try:
            return old_name(module, name)
        except LookupError:
            raise no_attribute(module, name) from None

    return attribute


class Classes(Mapping[str, type[C]], Generic[C]):
    """Classes of a package by name, imported on first access."""

    def __init__(self, package: str, names: Iterable[str]) -> None:
        self._package, self._names = package, tuple(names)
        self._known = frozenset(self._names)

    def __getitem__(self, name: str) -> type[C]:
        if name not in self._known:
            raise KeyError(name)
        found: type[C] = getattr(sys.modules[self._package], name)
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._known

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
