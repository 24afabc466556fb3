"""Programs for Keras and TensorFlow, run in this process with Kurve in their place."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kurve.as_keras.importing import answering, uninstall

uninstall()  # the import has answered: other tests may want Keras itself

SOURCES = Path(__file__).parent / "sources"


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Imports are answered, and afterwards they are not."""
    monkeypatch.setenv("MPLBACKEND", "Agg")
    path = list(sys.path)
    with answering():
        yield
    sys.path[:] = path


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., str]:
    """Writes a program, and gives its path."""

    def write(text: str, name: str = "program.py") -> str:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return str(tmp_path / name)

    return write
