"""The README as package indexes show it, without links that lead nowhere."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def shown() -> str:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    readme = settings["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    (fragment,) = readme["fragments"]
    text = (ROOT / fragment["path"]).read_text()
    for step in readme["substitutions"]:
        text = re.sub(step["pattern"], step["replacement"], text)
    return text


def test_no_link_is_relative() -> None:
    text = (ROOT / "README.md").read_text()
    assert re.search(r"\]\(docs/images/", text), "the pictures of the README"
    for target in re.findall(r"\]\(([^)]*)\)", shown()):
        assert target.startswith(("https://", "#")), target


def test_code_stays_as_it_is() -> None:
    blocks = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
    assert blocks.findall(shown()) == blocks.findall((ROOT / "README.md").read_text())
