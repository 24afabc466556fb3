"""The parity suite: Kurve against Keras 3 on the torch backend, and against torch
itself.

It needs keras and torch (extra `parity`) and is skipped, with the reason, without them.
"""

import os
import sys
from pathlib import Path

import pytest

os.environ["KERAS_BACKEND"] = "torch"
sys.path.insert(0, str(Path(__file__).parent))  # for `twins` and `tables`


def pytest_configure(config: pytest.Config) -> None:
    """Warnings are errors, except those that Keras and torch raise internally."""
    for third_party in ("keras", "torch", "optree"):
        config.addinivalue_line("filterwarnings", rf"ignore:::{third_party}(\..*)?")
