"""A program that ends while its threads compute ends with its own status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.conftest import Promise
from tests.faults.ending import CALLS, ENDS

pytestmark = pytest.mark.skipif(
    not hasattr(os, "fork"), reason="no fork on this system"
)


@pytest.mark.parametrize("engine", ["native", "reference"])
def test_a_program_ends(engine: str, soak: bool, promise: Promise) -> None:
    tries, ended = (100 if soak else 20) if engine == "native" else 4, 0
    for name in CALLS:
        done = subprocess.run(
            [sys.executable, "-m", "tests.faults.ending", name, str(tries)],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "KURVE_ENGINE": engine},
            capture_output=True,
            text=True,
            timeout=600,
            check=True,
        )
        for how, status in json.loads(done.stdout):
            assert status == ENDS[how][1], (name, how, done.stderr[-2000:])
            ended += 1
    promise(
        "ending",
        f"{engine}: {ended} of {len(CALLS) * tries} programs with a thread in one of "
        f"{len(CALLS)} kinds of call ended by the end, an exit, an error or Ctrl-C",
    )
