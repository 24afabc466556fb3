"""The engine that the tests run: the one that `make wasm` has built, else the one in
the package's page."""

from __future__ import annotations

import base64
import gzip
import re
import shutil
import tempfile
from pathlib import Path

import pytest

import kurve.plots.page

ROOT = Path(__file__).parents[2]


def _engine(name: str) -> Path:
    """The engine of a name: "engine", or "threads" for the one that has threads."""
    folder = {"engine": "wasm", "threads": "wasm-threads"}[name]
    built = ROOT / "build" / folder / "kurve.wasm"
    if built.exists():
        return built
    page = kurve.plots.page.live().html
    packed = re.search(rf'id="{name}">([A-Za-z0-9+/=]+)<', page)
    assert packed is not None
    file = Path(tempfile.mkdtemp()) / "kurve.wasm"
    file.write_bytes(gzip.decompress(base64.b64decode(packed[1])))
    return file


WASM, WASM_THREADS = _engine("engine"), _engine("threads")
needs_wasm = pytest.mark.skipif(shutil.which("node") is None, reason="no node here")
