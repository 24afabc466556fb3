"""Unit tests that do not ask for an engine run on the readable one."""

from __future__ import annotations

import pytest

import kurve


@pytest.fixture(autouse=True)
def reference_unless_asked(clean_state: None, request: pytest.FixtureRequest) -> None:
    if "engine" not in request.fixturenames:
        kurve.set_engine("reference")
