"""The command for tests: in this process, and as a separate process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve

random = np.random.default_rng(0)
N = 150
A, B = random.uniform(0, 10, N), random.normal(size=N)
CITY = np.array(["Rome", "Bern", "Oslo"], object)[np.arange(N) % 3]
Y = np.sin(A) + B + (CITY == "Bern")
FAST = ["--epochs", "4", "--hidden", "8", "--solver", "adam"]


class Done:
    """The result of a command: exit code and output."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def run(capsysbinary: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the command in this process, in a folder with data.csv."""
    monkeypatch.chdir(tmp_path)
    from kurve.cli import main

    kurve.set_engine("native" if _has_native() else "reference")
    rows = zip(A, B, CITY, Y, strict=True)
    text = "a,b,city,y\n" + "".join(f"{a},{b},{c},{y}\n" for a, b, c, y in rows)
    (tmp_path / "data.csv").write_text(text)

    def call(*words: str) -> Done:
        with pytest.raises(SystemExit) as caught:
            main(words)
        captured = capsysbinary.readouterr()
        return Done(int(caught.value.code or 0), *(s.decode() for s in captured))

    return call


def _has_native() -> bool:
    try:
        import kurve._core  # noqa: F401
    except ImportError:
        return False
    return True


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fitted(run: Any, *words: str) -> Done:
    done: Done = run("fit", "data.csv", "--target", "y", *FAST, *words)
    assert done.code == 0, done.err
    return done


def process(*words: str, **options: Any) -> subprocess.Popen[bytes]:
    root = os.path.dirname(os.path.dirname(kurve.__file__))
    environment = {**os.environ, "PYTHONPATH": root}
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "kurve", *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )
