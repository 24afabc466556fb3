"""docs/keras-coverage.md: what of Keras's public names there is, from both libraries.

KERAS_BACKEND=torch python tests/e2e/coverage.py        writes the page anew
"""

from __future__ import annotations

import importlib
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "keras-coverage.md"
VERSION = "3.15.1"
NAMESPACES = (
    "activations",
    "applications",
    "callbacks",
    "constraints",
    "datasets",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "models",
    "ops",
    "optimizers",
    "optimizers.schedules",
    "random",
    "regularizers",
    "saving",
    "utils",
)
REFUSED = re.compile(
    r"there is no \w+(?::|, because) (.*?)\. (?:Received|Try)", re.DOTALL
)

HEAD = f"""# Keras coverage

Every public name of Keras {VERSION} in these modules, and whether Kurve has it under
the same name. [From Keras to Kurve](from-keras.md) lists what behaves differently.

This page is generated from both libraries:
`KERAS_BACKEND=torch python tests/e2e/coverage.py`.

"""


def public(module: object) -> list[str]:
    """The public names of a module."""
    return sorted(n for n in dir(module) if not n.startswith("_"))


def status(home: object, name: str) -> str:
    """ "yes", why it is refused, or "" if it is not there yet."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            getattr(home, name)
        except AttributeError as error:
            found = REFUSED.search(str(error))
            return "" if found is None else " ".join(found[1].split())
    return "yes"


def sections() -> Iterator[tuple[str, dict[str, str]]]:
    """The names of each module, and what there is of them."""
    for namespace in NAMESPACES:
        theirs = importlib.import_module(f"keras.{namespace}")
        own = importlib.import_module(f"kurve.{namespace}")
        yield namespace, {name: status(own, name) for name in public(theirs)}


def generated() -> str:
    """The page as both libraries have it."""
    rows, pieces = [], []
    for namespace, names in sections():
        there = [name for name, what in names.items() if what == "yes"]
        waiting = [name for name, what in names.items() if not what]
        refused = {n: what for n, what in names.items() if what not in ("", "yes")}
        rows.append(
            f"| [`keras.{namespace}`](#keras{namespace.replace('.', '')}) | "
            f"{len(names)} | {len(there)} | {len(refused)} | {len(waiting)} |\n"
        )
        piece = f"\n## keras.{namespace}\n\nYes: {listed(there)}\n"
        if refused:
            piece += "\n| refused | why |\n|---|---|\n"
            piece += "".join(f"| `{n}` | {what} |\n" for n, what in refused.items())
        if waiting:
            piece += f"\nNot yet: {listed(waiting)}\n"
        pieces.append(piece)
    table = "| module | names | yes | refused | not yet |\n|---|---:|---:|---:|---:|\n"
    return HEAD + table + "".join(rows) + "".join(pieces)


def listed(names: list[str]) -> str:
    """Names in lines of 88 columns."""
    text, column = "", len("Not yet: ")
    for i, name in enumerate(names):
        word = f"`{name}`" + ("." if i == len(names) - 1 else ",")
        if column + len(word) + 1 > 88:
            text, column = text.rstrip() + "\n", 0
        text, column = text + word + " ", column + len(word) + 1
    return text.rstrip()


if __name__ == "__main__":
    PAGE.write_text(generated())
