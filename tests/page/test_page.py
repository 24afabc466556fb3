"""The live page in Chromium: every button, tables with hostile names, no network, the
keyboard alone, narrow screens, light and dark (check.mjs)."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve

ROOT = Path(__file__).parents[2]
MODULES = Path(os.environ.get("KURVE_NODE_MODULES", ROOT / "page/node_modules"))
CHROMIUM = shutil.which("chromium")
HOSTILE = '</script><img src=x onerror="window.hacked=1">'
NAMES = re.findall(
    r"^  async (\w+)\(\) \{", Path(__file__).with_name("check.mjs").read_text(), re.M
)

pytestmark = [
    pytest.mark.skipif(shutil.which("node") is None, reason="no node here"),
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here"),
    pytest.mark.skipif(
        not (MODULES / "playwright-core").exists(),
        reason="playwright-core is not installed; make page-test installs it",
    ),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tables lie that the page takes, and then its models of them."""
    folder = tmp_path_factory.mktemp("page")
    random = np.random.default_rng(0)
    a, b = random.uniform(-2, 2, 150), random.uniform(10, 90, 150)
    y = a**2 + b / 30
    kinds = {
        "numbers": y,
        "labels": np.where(y > 3.5, "red", np.where(y > 2.5, "green", "blue")),
        "codes": (y > 3.0).astype(int),
    }
    for name, target in kinds.items():
        rows = [f"{p:.6g},{q:.6g},{t}" for p, q, t in zip(a, b, target, strict=True)]
        text = "\n".join(["a,b (cm),y", *rows])
        (folder / f"{name}.csv").write_text(text + "\n")
    return folder


@pytest.fixture(scope="module")
def failed(folder: Path) -> dict[str, str]:
    """What the checks that failed say."""

    class Table:
        columns = ("a", HOSTILE)

        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
            return np.arange(50.0).reshape(25, 2)

    kurve.live().save(folder / "page.html")
    kurve.live(Table(), np.arange(25.0)).save(folder / "data.html")
    script = Path(__file__).with_name("check.mjs")
    files = [folder / "page.html", folder / "data.html"]
    pictures = os.environ.get("KURVE_SCREENSHOTS", "")
    command = ["node", script, MODULES, CHROMIUM, *files, folder, pictures]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["checks"] == NAMES
    return found["failed"]


@pytest.mark.parametrize("name", NAMES)
def test_in_chromium(failed: dict[str, str], name: str) -> None:
    assert name not in failed, failed[name]


@pytest.mark.parametrize(
    ("name", "score", "least"),
    [("numbers", "R²", 0.9), ("labels", "accuracy", 0.85), ("codes", "accuracy", 0.9)],
)
def test_commands_take_the_model_of_the_page(
    failed: dict[str, str], folder: Path, name: str, score: str, least: float
) -> None:
    """Downloaded from the page, then `kurve evaluate` and `kurve predict`."""
    assert "models_of_tables" not in failed, failed["models_of_tables"]
    model, table = folder / f"{name}.kurve", folder / f"{name}.csv"

    def run(*arguments: Any) -> str:
        command = [sys.executable, "-m", "kurve", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    scores = json.loads(run("evaluate", model, table, "--json"))["y"]["model"]
    assert scores[score]["value"] > least, scores
    predicted = [row["prediction"] for row in _rows(run("predict", model, table))]
    given = [row["y"] for row in _rows(table.read_text())]
    if score == "accuracy":
        right = np.mean([p == y for p, y in zip(predicted, given, strict=True)])
        assert right == pytest.approx(scores["accuracy"]["value"])
    else:
        np.testing.assert_allclose(
            [float(p) for p in predicted], [float(y) for y in given], atol=0.5
        )
    assert "target     y" in run("inspect", model)


def _rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))
