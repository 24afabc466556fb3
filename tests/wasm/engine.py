"""The engine that the tests run: the one that `make wasm` has built, else the one in
the package's page."""

from __future__ import annotations

import base64
import gzip
import os
import re
import shutil
import tempfile
from pathlib import Path

import pytest

import kurve.plots.page

ROOT = Path(__file__).parents[2]


def _engine() -> Path:
    if "KURVE_WASM" in os.environ:
        return Path(os.environ["KURVE_WASM"])
    built = ROOT / "build/wasm/kurve.wasm"
    if built.exists():
        return built
    page = kurve.plots.page.live().html
    packed = re.search(r'id="engine">([A-Za-z0-9+/=]+)<', page)
    assert packed is not None
    file = Path(tempfile.mkdtemp()) / "kurve.wasm"
    file.write_bytes(gzip.decompress(base64.b64decode(packed[1])))
    return file


WASM = _engine()
needs_wasm = pytest.mark.skipif(shutil.which("node") is None, reason="no node here")
