"""The stub that type checkers read is what the build generates from the module."""

from __future__ import annotations

from pathlib import Path

import pytest

from kurve import _core

STUB = Path(__file__).parents[2] / "src/kurve/_core.pyi"


def test_the_stub_is_that_of_the_module() -> None:
    stubgen = pytest.importorskip("nanobind.stubgen", reason="a tool of the build")
    generator = stubgen.StubGen(_core)
    generator.put(_core)
    assert STUB.read_text("utf-8") == generator.get()
