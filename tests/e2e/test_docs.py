"""The code in README and docs runs, and what they name exists."""

from __future__ import annotations

import ast
import builtins
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import kurve
from tests.e2e import pages, reference
from tests.e2e.pages import PICTURE, differences, python_code

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\[([^\]]+)\]\((?!https?:)([^)#\s]+)\)")

pytest.importorskip("matplotlib", reason="the pages draw with matplotlib")


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if python_code(page).strip()],
    ids=lambda page: page.stem,
)
def test_code_runs(page: Path, tmp_path: Path) -> None:
    script = tmp_path / f"{page.stem}.py"
    script.write_text(python_code(page))
    environment = {**os.environ, "MPLBACKEND": "Agg", "MPLCONFIGDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-W", "error", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


def test_each_recipe_runs_on_its_own() -> None:
    """After the preamble, as the page says. How the recipes run together is tested
    above; here, each name that one uses comes from itself or the preamble."""
    preamble, *recipes = re.split(
        r"^(?=## )", (ROOT / "docs" / "how-to.md").read_text(), flags=re.M
    )
    block = re.compile(r"^```python\n(.*?)^```$", re.M | re.S)
    shared = _assigned(ast.parse("\n".join(block.findall(preamble))))
    for recipe in recipes:
        code = ast.parse("\n".join(block.findall(recipe)))
        known = shared | _assigned(code) | set(dir(builtins))
        used = {node.id for node in ast.walk(code) if isinstance(node, ast.Name)}
        assert used <= known, (recipe.splitlines()[0], used - known)


def _assigned(code: ast.Module) -> set[str]:
    """All names that some code gives a value."""
    found = set()
    for node in ast.walk(code):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.alias):
            found.add(node.asname or node.name.partition(".")[0])
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
    return found


@pytest.mark.parametrize(
    "name", ["tutorial", "tutorial-8-engine", "graphs", "own-loops", "derivatives"]
)
def test_pages_show_what_their_code_prints_and_draws(name: str, tmp_path: Path) -> None:
    page = ROOT / "docs" / f"{name}.md"
    done = subprocess.run(
        [sys.executable, "-W", "error", pages.__file__, "--check", page],
        cwd=tmp_path,
        env={**os.environ, "MPLBACKEND": "Agg", "MPLCONFIGDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert {path.name for path in tmp_path.glob("*.png")} == {
        picture
        for picture in PICTURE.findall(page.read_text())
        if picture.startswith(name)  # the others are of examples
    }


EXCERPT = re.compile(r"^```py\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    "page", sorted((ROOT / "docs").glob("tutorial-*.md")), ids=lambda page: page.stem
)
def test_the_tutorial_quotes_the_examples(page: Path) -> None:
    """Its excerpts, ```py, stand in an example that the page links; those run in
    test_examples.py."""
    text = page.read_text()
    names = re.findall(r"\]\(\.\./examples/(\w+\.py)\)", text)
    programs = [(ROOT / "examples" / name).read_text() for name in names]
    for excerpt in EXCERPT.findall(text):
        code = "".join(excerpt.split())  # the formatter breaks its lines in another way
        assert any(code in "".join(program.split()) for program in programs), excerpt


def table_rows(heading: str) -> list[list[list[str]]]:
    """The code in each cell of a table of the page on Keras, row by row."""
    text = (ROOT / "docs" / "from-keras.md").read_text()
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    assert lines
    return [
        [re.findall("`([^`]+)`", cell) for cell in line.split("|")[1:-1]]
        for line in lines
    ]


def is_whole(code: str) -> bool:
    """Whether it is more than a name that the page mentions."""
    return any(mark in code for mark in "(.=")


def run(code: str) -> None:
    """Run a line of the page, with the names that the page explains."""
    model = kurve.Sequential([kurve.Input((3,)), kurve.layers.Dense(1)])
    model.compile("adam", "mse")
    x = np.random.default_rng(0).normal(size=(32, 3))
    names = {name: getattr(kurve, name) for name in dir(kurve)}
    given = {"np": np, "model": model, "x": x, "y": x[:, 0]}
    if "model.keras" in code:
        model.save("model.keras")
    exec(code, {**names, **given, "kurve": kurve, "t": kurve.Input((3,))})


@pytest.mark.parametrize("heading", ["What runs", "What Kurve adds"])
def test_what_the_page_on_keras_says_runs(
    heading: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for *_, examples in table_rows(heading):
        for code in examples:
            run(code)


@pytest.mark.parametrize(
    "code", [c for row in table_rows("What is refused") for c in row[0] if is_whole(c)]
)
def test_what_the_page_on_keras_says_is_refused(code: str) -> None:
    with pytest.raises((AttributeError, NotImplementedError, TypeError, ValueError)):
        run(code)


def test_what_the_page_on_keras_says_to_use_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for row in table_rows("What is refused"):
        for code in filter(is_whole, row[2]):
            run(code)


def test_a_wrong_output_is_found() -> None:
    assert not differences("loss 0.47\n...\nend\n", "loss 0.5\nmore\nend\n")
    assert differences("loss 0.47\n", "loss 31.2\n")
    assert differences("3 serious\n", "2 serious\n")
    assert differences("nothing found\n", "something found\n")
    assert differences("a\nb\n", "a\n")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for text, target in LINK.findall(page.read_text()):
        path = page.parent / target
        assert path.exists(), target
        if path.suffix == ".py" and re.fullmatch(r"`\w+`", text):
            assert f"def {text.strip('`')}(" in path.read_text(), (text, target)


def test_readme_shows_a_real_error() -> None:
    x = np.arange(5.0)
    x[3] = np.nan
    model = kurve.Sequential([kurve.layers.Dense(1, input_shape=(1,))])
    model.compile(loss="mse", optimizer="adam", engine="reference")
    with pytest.raises(ValueError, match="must be finite") as caught:
        model.fit(x, x, verbose=0)
    assert str(caught.value) in (ROOT / "README.md").read_text()


def public_names(module_name: str) -> set[str]:
    """Classes and functions that a module defines for users."""
    module = importlib.import_module(module_name)
    return {
        name
        for name in dir(module)
        if not name.startswith("_")
        and callable(getattr(module, name))
        and getattr(getattr(module, name), "__module__", "").startswith("kurve")
    }


@pytest.mark.parametrize(
    "module",
    [
        "assessment",
        "callbacks",
        "diagnosis",
        "estimators",
        "inspection",
        "layers",
        "losses",
        "metrics",
        "optimizers",
        "plots",
        "report",
        "solvers",
        "tables",
    ],
)
def test_reference_lists_every_class(module: str) -> None:
    page = (ROOT / "docs" / "reference.md").read_text()
    _, _, section = page.partition(f"\n## kurve.{module}\n")
    listed = set(re.findall(r"`(\w+)", section.partition("\n## ")[0]))
    names = {name for name in public_names(f"kurve.{module}") if name[0].isupper()}
    internal = {
        "Activation",
        "Attr",
        "CallbackList",
        "Classes",
        "Entrance",
        "Estimator",
        "FittingAccuracy",
        "FittingCrossentropy",
        "InputLayer",
        "L1L2",
        "Later",
        "Layer",
        "LearningRateSchedule",
        "Loss",
        "LossMetric",
        "Metric",
        "MetricSpec",
        "Op",
        "Optimizer",
        "Plan",
        "Residuals",
        "RowMetric",
        "Rowwise",
        "Spec",
        "Variable",
        "VariableSpec",
    }
    assert names - internal <= listed


def test_reference_lists_nothing_that_is_not_there() -> None:
    """Outside the tables, which are made from what is there."""
    page = reference.TABLE.sub("", reference.PAGE.read_text())
    for section in page.split("\n## kurve")[1:]:
        title, _, text = section.partition("\n## ")[0].partition("\n")
        owner: object = kurve
        for part in filter(None, title.split(".")):
            if not hasattr(owner, part):  # a module that waits until it is needed
                importlib.import_module(f"{owner.__name__}.{part}")  # type: ignore[attr-defined]
            owner = getattr(owner, part)
        owners = [
            owner,
            builtins,
            kurve,
            kurve.datasets.digits,
            kurve.utils,
            kurve.metrics.Metric,
            kurve.callbacks,
            kurve.optimizers.schedules,
        ]
        names = re.findall(r"`(?:\w+\.)?([A-Z]\w*[a-z]\w*|\w+(?=\())[(`]", text)
        for name in names:
            assert any(hasattr(owner, name) for owner in owners), f"{title}: {name}"


def test_everything_public_is_reached_from_import_kurve() -> None:
    """Without another import, in a process that has none."""
    names = sorted({str(entry) for entry in reference.public()})
    code = (
        "import functools, inspect, sys, kurve\n"
        "for name in sys.stdin.read().split():\n"
        "    *path, last = name.split('.')[1:]\n"
        "    owner = functools.reduce(getattr, path, kurve)\n"
        "    inspect.getattr_static(owner, last, None) or getattr(owner, last)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        input="\n".join(names),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_the_tables_of_the_reference_are_those_of_the_docstrings() -> None:
    """`make reference` writes them anew."""
    page = reference.PAGE.read_text()
    assert reference.generated(page) == page
