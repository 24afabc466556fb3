"""scikit-learn's own tests of an estimator, counted."""

from __future__ import annotations

import warnings

import pytest

from kurve import Classifier, Regressor
from tests.faults.conftest import Promise

pytest.importorskip("sklearn")

from sklearn.utils.estimator_checks import check_estimator


@pytest.mark.usefixtures("native")
def test_check_estimator(promise: Promise) -> None:
    results = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of what it skips
        for estimator in (Regressor(), Classifier()):
            results += check_estimator(estimator, on_fail=None, on_skip=None)
    counts = {
        status: sum(r["status"] == status for r in results)
        for status in ("passed", "skipped", "failed", "xfail")
    }
    assert counts["failed"] == counts["xfail"] == 0
    assert counts["passed"] > 100
    promise(
        "estimators",
        f"{counts['passed']} checks, 0 expected failures "
        f"({counts['skipped']} skip themselves)",
    )
