"""The stub that type checkers read names what the compiled module has."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

from kurve import _core

STUB = Path(__file__).parents[2] / "src/kurve/_core.pyi"


def test_the_stub_names_what_the_module_has():
    tree = ast.parse(STUB.read_text())
    listed: dict[str, list[str]] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            listed[node.name] = [a.arg for a in node.args.args]
        elif isinstance(node, ast.ClassDef):
            methods = [m.name for m in node.body if isinstance(m, ast.FunctionDef)]
            listed[node.name] = sorted(m for m in methods if m != "__init__")
    present = {name: value for name, value in vars(_core).items() if name[0] != "_"}
    assert sorted(listed) == sorted(present)
    for name, value in present.items():
        if inspect.isclass(value):
            assert listed[name] == sorted(m for m in vars(value) if m[0] != "_")
