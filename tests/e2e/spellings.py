"""docs/old-spellings.md: its tables come from those of `kurve.legacy`.

A table stands between two comments, of which the first says which:

    <!-- table of: arguments -->
    <!-- end -->

    python tests/e2e/spellings.py             writes the tables anew
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from kurve.legacy import arguments, backend, calls, logs, names

PAGE = Path(__file__).parents[2] / "docs" / "old-spellings.md"
TABLE = re.compile(r"<!-- table of: (\w+) -->\n(.*?)<!-- end -->\n", re.DOTALL)


def of_arguments() -> Iterator[tuple[str, str]]:
    """Each argument once, with all that have it."""
    rows: dict[tuple[str, str], list[str]] = {}
    for scope, table in arguments.ARGUMENTS.items():
        for name, old in table.items():
            rows.setdefault((name, old.text), []).append(scope)
    for (name, text), scopes in sorted(rows.items(), key=lambda r: r[0][0].lower()):
        shown = {"Layer": "layers", "Optimizer": "optimizers"}
        where = ", ".join(shown.get(scope, f"`{scope}`") for scope in scopes)
        yield f"`{name}=` of {where}", f"`{text}=`" if text.isidentifier() else text


def of_names() -> Iterator[tuple[str, str]]:
    for module, table in names.NAMES.items():
        for name, home in table.items():
            path, _, own = home.partition(":")
            today = f"`kurve.{path}.{own}`" if own else f"`kurve.{path}`"
            if path == "legacy.calls":
                doc = str(getattr(calls, own).__doc__).partition("\n")[0]
                today = f"`{doc.partition(': today ')[2].rstrip('.') or own}`"
            yield f"`{module}.{name}`", today


def of_modules() -> Iterator[tuple[str, str]]:
    homes: dict[str, list[str]] = {}
    for old, new in names.MODULES.items():
        homes.setdefault(new, []).append(f"`{old}`")
    for new, olds in homes.items():
        shown = {
            "legacy.engine": "Layer`, `Model`, `Input",
            "legacy.merging": "layers",
            "legacy.scikit_learn": "Classifier`, `kurve.Regressor",
        }.get(new, new)
        yield ", ".join(olds), f"`kurve.{shown}`"


def of_attributes() -> Iterator[tuple[str, str]]:
    for cls, table in names.ATTRIBUTES.items():
        for name, today in table.items():
            yield f"`{name}` of a {cls.lower()}", f"`{today or calls.WHY[name]}`"


def of_logs() -> Iterator[tuple[str, str]]:
    for old, today in logs.PARTS.items():
        yield f'`"{old}"`, `"val_{old}"`', f'`"{today}"`, `"val_{today}"`'


def of_backend() -> Iterator[tuple[str, str]]:
    for name in backend.names():
        yield f"`K.{name}`", f"`{backend.today(name)}`"


def of_refused() -> Iterator[tuple[str, str]]:
    for name, why in names.REFUSED.items():
        yield f"`{name}`", f"{why}."


TABLES = {
    "arguments": of_arguments,
    "attributes": of_attributes,
    "backend": of_backend,
    "logs": of_logs,
    "modules": of_modules,
    "names": of_names,
    "refused": of_refused,
}


def generated(page: str) -> str:
    """The page with new tables."""

    def table(found: re.Match[str]) -> str:
        rows = "".join(f"| {old} | {today} |\n" for old, today in TABLES[found[1]]())
        head = f"<!-- table of: {found[1]} -->\n| old | today |\n|---|---|\n"
        return f"{head}{rows}<!-- end -->\n"

    return TABLE.sub(table, page)


if __name__ == "__main__":
    PAGE.write_text(generated(PAGE.read_text()))
