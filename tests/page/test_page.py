"""The live page in Chromium: every button, tables with hostile names, no network, the
keyboard alone, narrow screens, light and dark (check.mjs)."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
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
def failed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the checks that failed say."""

    class Table:
        columns = ("a", HOSTILE)

        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
            return np.arange(50.0).reshape(25, 2)

    folder = tmp_path_factory.mktemp("page")
    kurve.live().save(folder / "page.html")
    kurve.live(Table(), np.arange(25.0)).save(folder / "data.html")
    script = Path(__file__).with_name("check.mjs")
    files = [folder / "page.html", folder / "data.html"]
    pictures = os.environ.get("KURVE_SCREENSHOTS", "")
    command = ["node", script, MODULES, CHROMIUM, *files, pictures]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["checks"] == NAMES
    return found["failed"]


@pytest.mark.parametrize("name", NAMES)
def test_in_chromium(failed: dict[str, str], name: str) -> None:
    assert name not in failed, failed[name]
