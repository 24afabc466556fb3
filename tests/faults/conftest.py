"""Tests of what `docs/reliability.md` promises, in two tiers.

`make test` runs each with few repetitions. `make soak` runs them all with the full
number and writes the page: every figure on it is what a test of that run measured.

    def test_kill(soak: bool, promise: Promise) -> None:
        tries = 500 if soak else 50
        ...
        promise("kill", f"{resumed} of {tries} resumed, same bits")
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.page import PROMISES, Figure, written

Promise = Callable[[str, str], None]
"""Called with the name of a promise in `page.PROMISES` and the figure measured."""

UnderShim = Callable[..., Any]
"""Called with the name of a module here, a folder to watch and options."""

HERE = Path(__file__).parent
FIGURES: pytest.StashKey[list[Figure]] = pytest.StashKey()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FIGURES] = []


@pytest.fixture(scope="session")
def soak(pytestconfig: pytest.Config) -> bool:
    """Whether to repeat as often as the promise says, however long that takes."""
    return bool(pytestconfig.getoption("--soak"))


@pytest.fixture(scope="session")
def under_shim(tmp_path_factory: pytest.TempPathFactory) -> UnderShim:
    """Runs a module while the shim watches its calls to the system, and gives back what
    it prints as JSON."""
    if sys.platform != "linux" or shutil.which("cc") is None:
        pytest.skip("the shim needs Linux and a C compiler")
    shim = tmp_path_factory.mktemp("shim") / "shim.so"
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Werror"]
    subprocess.run(["cc", *flags, "-o", shim, HERE / "io_shim.c", "-ldl"], check=True)

    def run(module: str, folder: Path, *options: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", f"tests.faults.{module}", folder, *options],
            cwd=HERE.parents[1],
            env={
                **os.environ,
                "LD_PRELOAD": os.fspath(shim),
                "KURVE_SHIM_FOLDER": os.fspath(folder),
            },
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout)

    return run


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
