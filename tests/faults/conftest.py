"""Tests of what `docs/reliability.md` promises, in two tiers.

`make test` runs each with few repetitions. `make soak` runs them all with the full
number and writes the page: every figure on it is what a test of that run measured.

    def test_kill(soak: bool, promise: Promise) -> None:
        tries = 500 if soak else 50
        ...
        promise("kill", f"{resumed} of {tries} resumed, same bits")
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.page import PROMISES, Figure, written

Promise = Callable[[str, str], None]
"""Called with the name of a promise in `page.PROMISES` and the figure measured."""

FIGURES: pytest.StashKey[list[Figure]] = pytest.StashKey()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FIGURES] = []


@pytest.fixture(scope="session")
def soak(pytestconfig: pytest.Config) -> bool:
    """Whether to repeat as often as the promise says, however long that takes."""
    return bool(pytestconfig.getoption("--soak"))


@pytest.fixture
def promise(request: pytest.FixtureRequest) -> Promise:
    """Notes what a test has measured for the page."""
    start = time.perf_counter()

    def note(name: str, figure: str) -> None:
        assert name in PROMISES, f"{name} is no promise of tests/faults/page.py"
        seconds = time.perf_counter() - start
        request.config.stash[FIGURES].append(Figure(name, figure, seconds))
        print(f"{name}: {figure} ({seconds:.1f} s)")

    return note


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Write the page, if asked for, after a run in which nothing failed."""
    path = session.config.getoption("--reliability")
    if path and exitstatus == 0:
        soak = bool(session.config.getoption("--soak"))
        Path(path).write_text(written(session.config.stash[FIGURES], soak), "utf-8")
