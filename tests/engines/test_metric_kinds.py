"""Every kind of metric in plans: what the compiled engine accumulates is what the
reference engine does, for any shape, batch, weights and number of threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kurve
from kurve.engines import Batches, get_engine
from kurve.engines.reference.metrics import KINDS
from kurve.plan import MetricSpec, Spec
from tests.native.plans import Builder, mse, state_of

O = 6  # noqa: E741
EVEN = {"thresholds": 21, "even": True}
UNEVEN = {"thresholds": 3, "threshold_0": 0.0, "threshold_1": 0.3, "threshold_2": 0.7}
LABELS = {"label_weights": O, **{f"label_weight_{i}": i / 2 for i in range(O)}}
MATRIX = {"classes": 4, "largest_target": False, "largest_output": False}
LARGEST = {"classes": 4, "largest_target": True, "largest_output": True}
SPARSE = Spec("sparse_categorical_crossentropy", {"from_logits": True})

DENSE: list[tuple[str, dict[str, Any], int]] = [
    ("root_mean_squared_error", {}, 2),
    ("accuracy", {}, 2),
    ("binary_accuracy", {"threshold": 0.3}, 2),
    ("categorical_accuracy", {}, 2),
    ("top_k_categorical_accuracy", {"k": 3}, 2),
    ("mean_absolute_percentage_error", {}, 2),
    ("mean_squared_logarithmic_error", {}, 2),
    ("kl_divergence", {}, 2),
    ("hinge", {}, 2),
    ("squared_hinge", {}, 2),
    ("categorical_hinge", {}, 2),
    ("cosine_similarity", {}, 2),
    ("pearson_correlation", {}, 2),
    ("concordance_correlation", {}, 2),
    ("r2_score", {}, 1 + 3 * O),
    ("r2_score", {"counts_rows": True}, 2 + 3 * O),
    ("confusion", {**EVEN, "with_ends": False}, 44),
    ("confusion", {**EVEN, "with_ends": True, "from_logits": True}, 44),
    ("confusion", {**EVEN, "with_ends": True, "multi_label": True}, 44 * O),
    ("confusion", {**EVEN, "with_ends": False, **LABELS}, 44),
    ("confusion", UNEVEN, 8),
    ("confusion", {**UNEVEN, "top_k": 2}, 8),
    ("confusion", {**UNEVEN, "top_k": O, "class_id": 3}, 8),
    ("class_counts", {}, 3 * O),
    ("class_counts", {"threshold": 0.4}, 3 * O),
    ("confusion_matrix", MATRIX, 16),
    ("confusion_matrix", {**MATRIX, "threshold": 0.5, "ignore_class": 1}, 16),
    (
        "confusion_matrix",
        {**MATRIX, "largest_target": True, "largest_output": True},
        16,
    ),
]
OF_CLASSES: list[tuple[str, dict[str, Any], int]] = [
    ("sparse_categorical_accuracy", {}, 2),
    ("sparse_top_k_categorical_accuracy", {"k": 2}, 2),
    ("among_first", {"k": 3}, 2),
    ("sparse_categorical_crossentropy", {"from_logits": False}, 2),
    ("sparse_categorical_crossentropy", {"from_logits": True, "ignore_class": 2}, 2),
    ("confusion_matrix", {**MATRIX, "largest_output": True, "ignore_class": 0}, 16),
]


def test_all_kinds_are_here() -> None:
    """But for Poisson's, whose logarithm needs p above 0, and losses."""
    listed = {kind for kind, _, _ in DENSE + OF_CLASSES}
    assert listed | {"poisson"} >= KINDS - {*kurve.losses.NAMES}


def totals_of(
    engine: str, batches: Batches, axes: tuple[int, ...], sparse: bool
) -> Any:
    metrics = tuple(
        MetricSpec(kind, attrs, size, weighted)
        for kind, attrs, size in (OF_CLASSES if sparse else DENSE)
        for weighted in (False, True)
    )
    plan = Builder(*axes, O).activation("linear")
    plan = plan.plan(SPARSE if sparse else mse(), None, metrics)
    totals = np.zeros(plan.totals_size)
    get_engine(engine).compile(plan).test(state_of(plan), batches, totals)
    return totals


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("axes", [(), (3,), (2, 3)], ids=str)
def test_engines_agree(
    fast: str, axes: tuple[int, ...], sparse: bool, weighted: bool
) -> None:
    pytest.importorskip("kurve._core")
    rng = np.random.default_rng(8)
    n = 70
    p = rng.uniform(-0.2, 1.2, (n, *axes, O)).astype(np.float32)
    p[rng.random(p.shape) < 0.3] *= 3.0
    p[rng.random(p.shape) < 0.2] = 0.3
    if sparse:
        y = rng.integers(0, O, (n, *axes)).astype(np.float32)
        p[..., :2] = rng.integers(0, O, p[..., :2].shape)
    else:
        y = rng.integers(0, 3, p.shape).astype(np.float32)
        y[:20] = np.minimum(y[:20], 1.0)
    w = rng.integers(0, 3, n).astype(np.float32) / 2 if weighted else None
    order = rng.permutation(n)
    batches = Batches(p, y, w, order, np.array([0, 20, 21, n]))
    right = totals_of("reference", batches, axes, sparse)
    threads = kurve.get_threads()
    try:
        found = []
        for count in (1, 2, 3):
            kurve.set_threads(count)
            found.append(totals_of(fast, batches, axes, sparse))
    finally:
        kurve.set_threads(threads)
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)
    np.testing.assert_allclose(found[0], right, 1e-5, 1e-5)


@pytest.mark.parametrize(
    ("kind", "attrs", "size"),
    [
        ("confusion", {**UNEVEN, "top_k": O + 1}, 8),
        ("confusion", {**UNEVEN, "class_id": O}, 8),
        ("confusion", {**UNEVEN, "threshold_0": 0.5}, 8),
        ("confusion", {**UNEVEN, **LABELS, "label_weights": 2}, 8),
        ("confusion", {**UNEVEN, "class_id": 1, "multi_label": True}, 8 * O),
        ("confusion", UNEVEN, 9),
        ("confusion", {"thresholds": 2, "threshold_0": 0.5}, 6),
        ("class_counts", {}, 2),
        ("confusion_matrix", {**MATRIX, "classes": 0}, 0),
        ("confusion_matrix", {**MATRIX, "largest_target": True}, 16),
        ("among_first", {"k": 0}, 2),
    ],
)
def test_wrong_metrics_are_refused(kind: str, attrs: dict[str, Any], size: int) -> None:
    pytest.importorskip("kurve._core")
    plan = Builder(O).dense(O).plan(mse(), None, (MetricSpec(kind, attrs, size),))
    with pytest.raises((ValueError, KeyError, IndexError), match=r"\[native\]|plan"):
        get_engine("native").compile(plan)
