"""scikit-learn's own tests of an estimator, counted."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from kurve import Classifier, Regressor
from tests.conftest import NO_NATIVE
from tests.faults.conftest import Promise

pytest.importorskip("sklearn")

from sklearn.utils.estimator_checks import check_estimator


@pytest.mark.parametrize("kind", [Regressor, Classifier])
def test_check_estimator(kind: Any, promise: Promise) -> None:
    """Every check that scikit-learn makes, with the default parameters."""
    # Without the compiled engine the defaults would train for thousands of steps.
    options: Any = {"hidden_layer_sizes": (16,), "max_epochs": 40} if NO_NATIVE else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of what it skips
        results = check_estimator(kind(**options), on_fail=None, on_skip=None)
    counts = {
        status: sum(r["status"] == status for r in results)
        for status in ("passed", "skipped")
    }
    failed = [r["check_name"] for r in results if r["status"] in ("failed", "xfail")]
    assert not failed
    assert counts["passed"] > 50
    promise(
        "estimators",
        f"{kind.__name__}: {counts['passed']} checks, 0 expected failures "
        f"({counts['skipped']} skip themselves)",
    )
