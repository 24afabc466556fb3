"""The code in README and docs runs, and what they name exists."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import kurve

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\[([^\]]+)\]\((?!https?:)([^)#\s]+)\)")

pytest.importorskip("matplotlib", reason="the pages draw with matplotlib")


def python_blocks(page: Path) -> str:
    """The page's Python code, at the lines where it stands in the page."""
    lines, inside = [], False
    for line in page.read_text().splitlines():
        fence = line.startswith("```")
        lines.append(line if inside and not fence else "")
        inside = line == "```python" if fence else inside
    return "\n".join(lines)


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if python_blocks(page).strip()],
    ids=lambda page: page.stem,
)
def test_code_runs(page: Path, tmp_path: Path) -> None:
    script = tmp_path / f"{page.stem}.py"
    script.write_text(python_blocks(page))
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
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or callable(value))
        and getattr(value, "__module__", "").startswith("kurve")
    }


@pytest.mark.parametrize(
    "module",
    [
        "assessment", "callbacks", "diagnosis", "estimators", "inspection", "layers",
        "losses", "metrics", "optimizers", "plots", "report", "solvers",
        "tables",
    ],
)  # fmt: skip
def test_reference_lists_every_class(module: str) -> None:
    page = (ROOT / "docs" / "reference.md").read_text()
    _, _, section = page.partition(f"\n## kurve.{module}\n")
    listed = set(re.findall(r"`(\w+)", section.partition("\n## ")[0]))
    names = {name for name in public_names(f"kurve.{module}") if name[0].isupper()}
    internal = {
        "Activation", "Attr", "CallbackList", "Entrance", "Estimator", "InputLayer",
        "L1L2", "Layer", "LearningRateSchedule", "Loss", "LossMetric", "Metric",
        "MetricSpec", "Op", "Optimizer", "Slot", "Spec", "Variable",
    }  # fmt: skip
    assert names - internal <= listed


def test_reference_lists_nothing_that_is_not_there() -> None:
    page = (ROOT / "docs" / "reference.md").read_text()
    for section in page.split("\n## kurve")[1:]:
        title, _, text = section.partition("\n## ")[0].partition("\n")
        owner: object = kurve
        for part in filter(None, title.split(".")):
            if not hasattr(owner, part):  # a module that waits until it is needed
                importlib.import_module(f"{owner.__name__}.{part}")  # type: ignore[attr-defined]
            owner = getattr(owner, part)
        owners = [
            owner,
            kurve,
            kurve.utils,
            kurve.callbacks,
            kurve.optimizers.schedules,
        ]
        names = re.findall(r"`(?:\w+\.)?([A-Z]\w*[a-z]\w*|\w+(?=\())[(`]", text)
        for name in names:
            assert any(hasattr(owner, name) for owner in owners), f"{title}: {name}"
