"""Packages whose names are imported when they are first used."""

from __future__ import annotations

import ast
import importlib
import inspect
from typing import Any

import pytest

from kurve.core.later import Later

PACKAGES = [
    f"kurve.{name}" for name in ("layers", "losses", "metrics", "models", "optimizers")
]


def told(package: Any) -> dict[str, str]:
    """Module of each name that type checkers are told of."""
    found = {}
    for block in ast.parse(inspect.getsource(package)).body:
        if isinstance(block, ast.If) and ast.unparse(block.test).endswith(
            "TYPE_CHECKING"
        ):
            for line in block.body:
                if isinstance(line, ast.ImportFrom):
                    for name in line.names:
                        found[name.name] = str(line.module)
    return found


@pytest.mark.parametrize("name", PACKAGES)
def test_checkers_are_told_what_is_there(name: str) -> None:
    """But for the functions of losses, which are made in a loop."""
    package = importlib.import_module(name)
    later: Later = package.__getattr__
    here = {
        own: f"{name}.{module}"
        for shown, (module, own) in later.homes.items()
        if shown == own
    }
    missing = set(here) - set(told(package))
    assert all(n.islower() for n in missing)
    assert not missing or name == "kurve.losses"
    assert told(package) == {n: home for n, home in here.items() if n not in missing}


@pytest.mark.parametrize("name", PACKAGES)
def test_every_name_is_there(name: str) -> None:
    package = importlib.import_module(name)
    for shown, (_, own) in package.__getattr__.homes.items():
        assert getattr(package, shown) is getattr(package, own)
    assert {*package.__getattr__.homes} <= {*dir(package)}


def test_all_layers_by_a_star() -> None:
    space: dict[str, Any] = {}
    exec("from kurve.layers import *", space)
    assert {"Dense", "MaxPool2D", "concatenate", "Layer", "StringLookup"} <= set(space)


@pytest.mark.parametrize("name", PACKAGES)
def test_unknown_names(name: str) -> None:
    package = importlib.import_module(name)
    with pytest.raises(AttributeError, match="Received: 'Adan'"):
        _ = package.Adan
    assert not hasattr(package, "_anything")
