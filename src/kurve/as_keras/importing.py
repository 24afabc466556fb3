"""The import hook: modules named `keras`, `tensorflow` and so on whose names are those
of Kurve's modules."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from kurve.as_keras import paths, shapes
from kurve.as_keras.reasons import why
from kurve.core.entries import shown

VERSIONS = {"keras": "3.15.1", "tensorflow": "2.16.1"}
"""What programs read as `__version__`: names and numbers are those of these."""


class Answer(ModuleType):
    """A module of Keras or TensorFlow, answered by modules of Kurve.

    Args:
        path: its name.
        homes: the modules that hold its names.
    """

    def __init__(self, path: str, homes: Sequence[str]) -> None:
        super().__init__(path, f"`{path}`, answered by Kurve.")
        self.__path__: list[str] = []
        self.__file__ = None
        self._homes = tuple(homes)

    def __getattr__(self, name: str) -> Any:
        if name == "__all__":
            return [n for n in dir(self) if not n.startswith("_")]
        if name in ("__version__", "VERSION"):
            version = VERSIONS.get(paths.plain(self.__name__))
            if version is not None:
                return version
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        path = f"{self.__name__}.{name}"
        if path in sys.modules or paths.homes(path) is not None:
            return importlib.import_module(path)
        try:
            found = self._found(name)
        except AttributeError as error:
            raise shown(error)  # noqa: B904 - it is the same error
        setattr(self, name, found)
        return found

    def _found(self, name: str) -> Any:
        for home in self._homes:
            try:
                return paths.held(home, name)
            except AttributeError:
                continue
        raise self.missing(name)

    def missing(self, name: str) -> AttributeError:
        """The error for a name that it does not have."""
        said: AttributeError | None = None
        for home in self._homes:
            try:
                paths.held(home, name)
            except AttributeError as error:
                # What the package itself says is about Kurve's own names.
                if str(error) != name and home.partition(":")[0] != "kurve":
                    said = error
        return why(f"{self.__name__}.{name}", self, said)

    def __dir__(self) -> list[str]:
        own = [n for n in vars(self) if not n.startswith("_")]
        return sorted({*own, *(n for home in self._homes for n in paths.names(home))})

    def __repr__(self) -> str:
        return f"<module {self.__name__!r}, answered by Kurve>"


class Answers(MetaPathFinder, Loader):
    """Finds and makes such modules."""

    def find_spec(
        self, fullname: str, path: Any = None, target: Any = None
    ) -> ModuleSpec | None:
        """The specification of a module that Kurve answers for.

        Raises:
            ImportError: a module of Keras or TensorFlow that it has not.
        """
        root = fullname.partition(".")[0]
        if root not in paths.ROOTS:
            return None
        if paths.homes(fullname) is None:
            package, _, name = fullname.rpartition(".")
            parent = sys.modules.get(package)
            if isinstance(parent, Answer):
                error = parent.missing(name)
            else:
                error = why(fullname, None)
            raise ImportError(str(error), name=fullname)
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return Answer(spec.name, paths.homes(spec.name) or ())

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is executed: names come when they are asked for."""


def install() -> None:
    """Answer imports of Keras and TensorFlow from now on.

    Raises:
        RuntimeError: one of them is imported already.
    """
    for name in paths.ROOTS:
        module = sys.modules.get(name)
        if module is not None and not isinstance(module, Answer):
            raise RuntimeError(
                "[as_keras] it must be imported before Keras and TensorFlow. Received: "
                f"a process that has imported {name!r} from "
                f"{getattr(module, '__file__', None)!r}. "
                "Try import kurve.as_keras as the first line of the program."
            )
    shapes.install()
    if not any(isinstance(finder, Answers) for finder in sys.meta_path):
        sys.meta_path.insert(0, Answers())


@contextmanager
def answering() -> Iterator[None]:
    """A context in which imports are answered, as they may be before and after it."""
    before = any(isinstance(finder, Answers) for finder in sys.meta_path)
    install()
    try:
        yield
    finally:
        if not before:
            uninstall()


def uninstall() -> None:
    """Answer no imports any more, and forget the modules that were made."""
    sys.meta_path[:] = [f for f in sys.meta_path if not isinstance(f, Answers)]
    for name, module in list(sys.modules.items()):
        if isinstance(module, Answer):
            del sys.modules[name]
