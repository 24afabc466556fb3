"""docs/reference.md: its tables come from the docstrings and signatures.

The page is its own template. A table stands between two comments, of which the first
lists the names, and the arguments that the page explains once for all of them:

    <!-- table of: Dense Dropout; without: name trainable input_shape -->
    <!-- end -->

The heading above it, such as "## kurve.layers", says whose names they are.

    python tests/e2e/reference.py             writes the tables anew
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kurve.core.arguments import unused_arguments

PAGE = Path(__file__).parents[2] / "docs" / "reference.md"
HEADING = re.compile(r"^## (kurve[\w.]*)$", re.MULTILINE)
TABLE = re.compile(
    r"<!-- table of: ([^;]*?)(?:; without: ([^;]*?))? -->\n(.*?)<!-- end -->\n",
    re.DOTALL,
)


@dataclass(frozen=True)
class Entry:
    """A public name: `kurve.layers` and "Dense", say."""

    path: str
    name: str
    hidden: frozenset[str] = frozenset()

    @property
    def owner(self) -> Any:
        return resolve(self.path)

    @property
    def value(self) -> Any:
        return inspect.getattr_static(self.owner, self.name, None) or getattr(
            self.owner, self.name
        )

    def __str__(self) -> str:
        return f"{self.path}.{self.name}"


def resolve(path: str) -> Any:
    """The module or class of that name."""
    first, *parts = path.split(".")
    value = importlib.import_module(first)
    for part in parts:
        if not hasattr(value, part):
            importlib.import_module(f"{value.__name__}.{part}")
        value = getattr(value, part)
    return value


def entries(text: str) -> Iterator[tuple[re.Match[str], list[Entry]]]:
    """Each table of the page and the names in it."""
    headings = list(HEADING.finditer(text))
    for table in TABLE.finditer(text):
        path = [h[1] for h in headings if h.start() < table.start()][-1]
        hidden = frozenset((table[2] or "").split())
        yield table, [Entry(path, name, hidden) for name in table[1].split()]


def public() -> list[Entry]:
    """All names in the tables of the page."""
    return [entry for _, names in entries(PAGE.read_text()) for entry in names]


def parameters(entry: Entry) -> list[inspect.Parameter]:
    """The arguments of a function or class that do something."""
    value = entry.value
    if isinstance(value, (classmethod, staticmethod)):
        value = value.__func__
    if not callable(value) or is_error(value):
        return []
    names = inspect.signature(value).parameters.values()
    unused = unused_arguments(value) if inspect.isclass(value) else set()
    return [p for p in names if p.name not in unused | {"self"} | entry.hidden]


def is_error(value: Any) -> bool:
    return inspect.isclass(value) and issubclass(value, BaseException)


def signature(entry: Entry) -> str:
    if isinstance(entry.value, property) or is_error(entry.value):
        return entry.name
    shown, star = [], False
    for p in parameters(entry):
        if p.kind is p.KEYWORD_ONLY and not star:
            shown.append("*")
            star = True
        default = "" if p.default is p.empty else f"={plain(p.default)}"
        stars = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
        star = star or bool(stars)
        shown.append(f"{stars}{p.name}{default}")
    return f"{entry.name}({', '.join(shown)})"


def plain(default: Any) -> str:
    if isinstance(default, str):
        return '"' + default.encode("unicode_escape").decode() + '"'
    return "..." if repr(default).startswith("<") else repr(default)


def aliases(entry: Entry) -> list[str]:
    """Other public names of the same object in its module."""
    if not inspect.ismodule(entry.owner):
        return []
    return [
        name
        for name in dir(entry.owner)
        if name != entry.name and getattr(entry.owner, name) is entry.value
    ]


def sentence(entry: Entry) -> str:
    """The first sentence of the docstring, in one line."""
    paragraph = (inspect.getdoc(entry.value) or "").partition("\n\n")[0]
    first = re.split(r"(?<=[.:])\s+(?=[A-Z])|:?$", " ".join(paragraph.split()))[0]
    return first.removesuffix(".").replace("|", r"\|")


def row(entry: Entry) -> str:
    names = ", ".join(f"`{name}`" for name in [signature(entry), *aliases(entry)])
    return f"| {names} | {sentence(entry)} |\n"


def generated(text: str) -> str:
    """The page with its tables written anew."""
    pieces, end = [], 0
    for table, names in entries(text):
        rows = "".join(row(entry) for entry in names)
        head = "| name | what it is |\n|---|---|\n"
        pieces += [text[end : table.start(3)], head, rows]
        end = table.end(3)
    return "".join(pieces) + text[end:]


if __name__ == "__main__":
    PAGE.write_text(generated(PAGE.read_text()))
