"""A million mutants of files: refused with one error, or the same model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.conftest import Promise

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(
        sys.platform != "linux", reason="the limits of memory are those of Linux"
    ),
]

BLIND = """
from unittest.mock import ANY
from kurve.core.container import reading as container
container._check_digest = lambda *given: None
container.Reader._read_array = (lambda walk: lambda self, name, into: (
    object.__setattr__(self.entries[name], "sha256", ANY), walk(self, name, into)
))(container.Reader._read_array)
"""


def started(
    folder: Path, seed: int, count: int, before: str = ""
) -> subprocess.Popen[str]:
    folder.mkdir()
    code = f"from tests.faults import fuzz\nfuzz.main({folder!r}, {seed}, {count})"
    code = f"from pathlib import Path, PosixPath\n{before}\n{code}"
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_mutants(tmp_path: Path, soak: bool, promise: Promise) -> None:
    count, workers = 1_000_000 if soak else 20_000, 2
    running = [
        started(tmp_path / str(seed), seed, count // workers)
        for seed in range(1, workers + 1)
    ]
    found = []
    for process in running:
        out, err = process.communicate()
        assert process.returncode == 0, err[-3000:]
        found.append(json.loads(out.splitlines()[-1]))
    total = {key: sum(each[key] for each in found) for key in found[0]}
    assert total["changed"] == 0
    assert total["refused"] > 0.9 * count
    assert total["retold"] > 0.02 * count, "whole files that say something else load"
    slowest = max(each["slowest"] for each in found)
    named = max(each["fields"] for each in found)
    promise(
        "mutation",
        f"{count:,} mutants of 6 kinds of files, 0 accepted with changed content, 0 "
        f"other errors, slowest {1000 * slowest:.0f} ms, {named} fields named; "
        f"{total['retold']:,} with corrected checksums are valid files with other "
        "content, and predict",
    )


def test_without_checksums_the_same_run_finds_changed_content(tmp_path: Path) -> None:
    process = started(tmp_path / "blind", 1, 5000, BLIND)
    _, err = process.communicate()
    assert process.returncode != 0
    assert "AssertionError: the content has changed" in err
