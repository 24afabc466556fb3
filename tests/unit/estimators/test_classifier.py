"""Classifier: labels of every kind, probabilities, weights of classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kurve import Classifier

RNG = np.random.default_rng(4)
X = RNG.normal(size=(240, 2))
CODES = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)
FAST: dict[str, Any] = {
    "hidden_layer_sizes": (16,),
    "max_epochs": 60,
    "random_state": 0,
}


def fast(**given: Any) -> Classifier:
    return Classifier(**{**FAST, **given})


@pytest.mark.parametrize(
    "labels",
    [["a", "b", "c"], [10, -3, 7], [0.0, 1.0, 5.0], np.array(["x", "yy", "z"], object)],
    ids=["texts", "integers", "whole floats", "objects"],
)
def test_labels_of_every_kind(labels: Any) -> None:
    y = np.array(labels)[CODES]
    model = fast().fit(X, y)
    assert model.score(X, y) > 0.9
    np.testing.assert_array_equal(model.classes_, np.unique(y))
    assert model.predict(X).dtype == y.dtype
    proba = model.predict_proba(X)
    assert proba.shape == (240, 3)
    np.testing.assert_allclose(proba.sum(axis=1), 1.0, rtol=1e-12)
    np.testing.assert_array_equal(
        model.classes_[proba.argmax(axis=1)], model.predict(X)
    )


def test_two_classes_have_one_sigmoid() -> None:
    y = CODES > 0
    model = fast(members=2).fit(X, y)
    assert model.models_[0].output_shape == (None, 1)
    assert model.predict(X).dtype == bool and model.score(X, y) > 0.9
    logits = np.stack(
        [m.predict(model.fitted_.inputs.forward(X)) for m in model.models_]
    )
    expected = (1.0 / (1.0 + np.exp(-logits.astype(float)))).mean(axis=0)[:, 0]
    np.testing.assert_allclose(model.predict_proba(X)[:, 1], expected, rtol=1e-9)


def test_probabilities_are_honest() -> None:
    x = RNG.uniform(-2, 2, size=(3000, 1))
    truth = 1 / (1 + np.exp(-2 * x[:, 0]))
    y = RNG.uniform(size=3000) < truth
    model = fast(max_epochs=15).fit(x, y)
    assert np.abs(model.predict_proba(x)[:, 1] - truth).mean() < 0.05


def test_class_weight_shifts_the_border() -> None:
    x = RNG.normal(size=(400, 1))
    y = np.where(x[:, 0] + RNG.normal(size=400) > 1.5, "rare", "common")
    plain = fast().fit(x, y)
    balanced = fast(class_weight="balanced").fit(x, y)
    given = fast(class_weight={"rare": 50.0}).fit(x, y)
    counts = [np.mean(m.predict(x) == "rare") for m in (plain, balanced, given)]
    assert counts[0] < counts[1] < counts[2]
    with pytest.raises(
        ValueError, match="class_weight must use classes that occur in y"
    ):
        fast(class_weight={"rar": 2.0}).fit(x, y)
    with pytest.raises(ValueError, match="finite weight of at least 0"):
        fast(class_weight={"rare": -1.0}).fit(x, y)


def test_validation_rows_keep_every_class_in_training() -> None:
    y = np.array(["a"] * 238 + ["b", "c"])
    model = fast(max_epochs=3, validation_fraction=0.4).fit(X, y)
    assert model.classes_.tolist() == ["a", "b", "c"]
    assert "val_loss" in model.history_


def test_partial_fit_needs_all_classes_at_first() -> None:
    model = fast(learning_rate=0.01)
    model.partial_fit(X[:50], CODES[:50], classes=[0, 1, 2])
    model.partial_fit(X[:3], np.zeros(3, int))
    assert model.classes_.tolist() == [0, 1, 2]
    for _ in range(30):
        model.partial_fit(X, CODES)
    assert model.score(X, CODES) > 0.8
    with pytest.raises(ValueError, match="classes must be those of the first call"):
        model.partial_fit(X, CODES, classes=[0, 1])
    with pytest.raises(ValueError, match=r"Received: y\[0\] = 9. Known: \[0, 1, 2\]"):
        model.partial_fit(X[:1], [9])


@pytest.mark.parametrize(
    ("y", "text"),
    [
        (X[:, 0], "Unknown label type: continuous"),
        (np.zeros(240, int), "at least 2 classes. Received: 1 class"),
        (np.where(CODES > 1, np.nan, CODES), "Input y contains NaN"),
        (np.where(CODES > 1, None, "a"), "Input y contains NaN"),
        (np.stack([CODES, CODES], axis=1), "one label per row"),
    ],
)
def test_bad_labels_are_refused(y: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        fast().fit(X, y)


def test_solver_lm_is_for_numbers() -> None:
    with pytest.raises(ValueError, match="minimises squared errors"):
        fast(solver="lm").fit(X, CODES)
