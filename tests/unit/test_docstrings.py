"""Every public name says what it does, with which arguments and errors, and shows an
example that runs. The names are those of docs/reference.md."""

from __future__ import annotations

import dataclasses
import doctest
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from tests.e2e import reference

plt = pytest.importorskip("matplotlib.pyplot", reason="examples draw")

ENTRIES = {str(entry): entry for entry in reference.public()}
WHOLE = {
    path: entry
    for path, entry in ENTRIES.items()
    if not inspect.isclass(entry.owner) and not reference.is_error(entry.value)
}
"""Functions and classes; the others are methods and errors."""

WITHOUT_ERRORS = {
    "kurve.assessment.as_dict",
    "kurve.assessment.as_text",
    "kurve.tables.roles.missing_rows",
    "kurve.utils.pack_x_y_sample_weight",
}
"""They take anything, or what Kurve itself has made."""

OTHER = re.compile(r"\b(?:see|as) `([\w.]+)`")


def docstring(entry: reference.Entry) -> str:
    return inspect.getdoc(entry.value) or ""


def texts(entry: reference.Entry) -> Iterator[str]:
    """The docstring, and those that it says to see."""
    waiting, seen = [docstring(entry)], set[str]()
    while waiting:
        text = waiting.pop()
        if text in seen:
            continue
        seen.add(text)
        yield text
        for name in OTHER.findall(text):
            waiting += [
                docstring(other)
                for path, other in ENTRIES.items()
                if f".{path}".endswith(f".{name}")
            ]


@pytest.mark.parametrize("path", ENTRIES)
def test_says_what_it_does_and_with_which_arguments(path: str) -> None:
    entry = ENTRIES[path]
    assert docstring(entry)
    described = "\n".join(texts(entry))
    arguments = [p.name for p in reference.parameters(entry)]
    missing = [name for name in arguments if not re.search(rf"\b{name}\b", described)]
    assert not missing


@pytest.mark.parametrize("path", WHOLE)
def test_says_its_errors_and_shows_an_example(path: str) -> None:
    entry = WHOLE[path]
    text = docstring(entry)
    assert ">>> " in text
    if reference.parameters(entry) and path not in WITHOUT_ERRORS:
        assert "Raises:" in text or dataclasses.is_dataclass(entry.value)


@pytest.fixture
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder to write to; settings as they were, and no figure left open."""
    monkeypatch.chdir(tmp_path)
    engine, threads = kurve.get_engine(), kurve.get_threads()
    kurve.utils.set_random_seed(0)
    yield
    kurve.set_engine(engine.name)
    kurve.set_threads(threads)
    plt.close("all")


@pytest.mark.usefixtures("surroundings")
@pytest.mark.parametrize(
    "path", [path for path, entry in ENTRIES.items() if ">>> " in docstring(entry)]
)
def test_examples_run(path: str) -> None:
    names: dict[str, Any] = {"kurve": kurve, "np": np}
    text = docstring(ENTRIES[path])
    example = doctest.DocTestParser().get_doctest(text, names, path, None, 0)
    failures: list[str] = []
    doctest.DocTestRunner().run(example, out=failures.append)
    assert not failures, "".join(failures)
