"""The import hook: modules named `keras`, `tensorflow` and so on that expose the names
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

from kurve.as_keras import manners, paths
from kurve.as_keras.reasons import why
from kurve.core.entries import shown

VERSIONS = {"keras": "3.15.1", "tensorflow": "2.16.1"}
"""The values of `__version__`; names and results match these versions."""


class Answer(ModuleType):
    """A module of Keras or TensorFlow, backed by Kurve modules.

    Args:
        path: name of the module.
        homes: the Kurve modules that contain its names.
    """

    def __init__(self, path: str, homes: Sequence[str]) -> None:
        super().__init__(path, f"`{path}`, provided by Kurve.")
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
        """The error for a missing name."""
        said: AttributeError | None = None
        for home in self._homes:
            try:
                paths.held(home, name)
            except AttributeError as error:
                # The package's own message is about Kurve's names.
                if str(error) != name and home.partition(":")[0] != "kurve":
                    said = error
        return why(f"{self.__name__}.{name}", self, said)

    def __dir__(self) -> list[str]:
        own = [n for n in vars(self) if not n.startswith("_")]
        return sorted({*own, *(n for home in self._homes for n in paths.names(home))})

    def __repr__(self) -> str:
        return f"<module {self.__name__!r}, provided by Kurve>"


class Answers(MetaPathFinder, Loader):
    """Finds and creates such modules."""

    def find_spec(
        self, fullname: str, path: Any = None, target: Any = None
    ) -> ModuleSpec | None:
        """The spec of a module that Kurve provides.

        Raises:
            ImportError: a module of Keras or TensorFlow that Kurve lacks.
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
        """Nothing is executed: names are resolved lazily."""


def install() -> None:
    """Redirect imports of Keras and TensorFlow from now on.

    Raises:
        RuntimeError: one of them is already imported.
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
    manners.install()
    if not any(isinstance(finder, Answers) for finder in sys.meta_path):
        sys.meta_path.insert(0, Answers())


@contextmanager
def answering() -> Iterator[None]:
    """A context in which imports are redirected; restores the previous state."""
    before = any(isinstance(finder, Answers) for finder in sys.meta_path)
    install()
    try:
        yield
    finally:
        if not before:
            uninstall()


def uninstall() -> None:
    """Stop redirecting imports, and forget the created modules."""
    manners.uninstall()
    sys.meta_path[:] = [f for f in sys.meta_path if not isinstance(f, Answers)]
    for name, module in list(sys.modules.items()):
        if isinstance(module, Answer):
            del sys.modules[name]
