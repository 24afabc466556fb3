"""The page that says what of Keras there is agrees with both libraries."""

from __future__ import annotations

import pytest
from twins import keras

from tests.e2e import coverage


def test_page_is_current() -> None:
    """`KERAS_BACKEND=torch python tests/e2e/coverage.py` writes it anew."""
    if keras.__version__ != coverage.VERSION:
        pytest.skip(f"the page is about Keras {coverage.VERSION}")
    assert coverage.PAGE.read_text() == coverage.generated()
