"""Top-k accuracy, the confusion matrix and one-hot rows."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from kurve import Input, Sequential, losses, metrics
from kurve.layers import Dense
from kurve.utils import to_categorical

Y = [2, 0, 1, 2, 2, 0]
P = [2, 0, 2, 1, 2, 1]


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_top_k_in_an_engine(engine: str, sparse: bool, weighted: bool) -> None:
    """The engine counts what `update_state` counts, weights too."""
    kind = "SparseTopKCategoricalAccuracy" if sparse else "TopKCategoricalAccuracy"
    random = np.random.default_rng(1)
    x, classes = random.normal(size=(90, 4)), random.integers(0, 7, 90)
    y = classes if sparse else np.eye(7)[classes]
    loss = (
        losses.SparseCategoricalCrossentropy
        if sparse
        else losses.CategoricalCrossentropy
    )
    made = [metrics.CLASSES[kind](k=k, name=f"top{k}") for k in (1, 3, 7)]
    model = Sequential([Input((4,)), Dense(7, "softmax")])
    given = {"weighted_metrics" if weighted else "metrics": made}
    model.compile("sgd", loss(), engine=engine, **given)
    weights = random.uniform(0, 2, 90) if weighted else None
    _, *found = model.evaluate(x, y, sample_weight=weights, verbose=0)
    for metric, value in zip(made, found, strict=True):
        expected = metric(y, model.predict(x, verbose=0), weights)
        assert value == pytest.approx(expected, rel=1e-6)
    assert found[0] < found[1] < found[2] == pytest.approx(1.0)


def test_equals_at_the_border_count(engine: str) -> None:
    """As in Keras: of three equal outputs each is among the two largest."""
    model = Sequential([Input((1,)), Dense(3, kernel_initializer="zeros")])
    top = metrics.SparseTopKCategoricalAccuracy(k=2)
    loss = losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=[top], engine=engine)
    assert model.evaluate(np.zeros((3, 1)), [0, 1, 2], verbose=0)[1] == 1.0


def test_top_k_by_name() -> None:
    for name in ("top_k_categorical_accuracy", "sparse_top_k_categorical_accuracy"):
        made = metrics.get(name)
        assert made.name == name
        assert made.get_config().items() >= {"name": name, "k": 5}.items()


def test_k_is_at_least_1() -> None:
    text = (
        "[TopKCategoricalAccuracy] k must be an integer of at least 1. "
        "Received: k=0. Try k=5."
    )
    with pytest.raises(ValueError, match=re.escape(text)):
        metrics.TopKCategoricalAccuracy(k=0)


def test_confusion_matrix() -> None:
    expected = [[1, 1, 0], [0, 0, 1], [0, 1, 2]]
    matrix = metrics.confusion_matrix(Y, P)
    assert matrix.tolist() == expected
    assert matrix.dtype == np.int64
    names = np.array(["cat", "dog", "owl"])
    assert metrics.confusion_matrix(names[Y], names[P]).tolist() == expected


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"labels": [2, 0]},
        {"labels": [0, 1, 2, 5]},
        {"sample_weight": [1, 2, 0.5, 3, 0, 1]},
        {"normalize": "true"},
        {"normalize": "pred", "labels": [5, 2, 1]},
        {"normalize": "all", "sample_weight": [1, 2, 0.5, 3, 0, 1]},
    ],
    ids=str,
)
def test_confusion_matrix_is_that_of_scikit_learn(given: dict[str, Any]) -> None:
    theirs = pytest.importorskip("sklearn.metrics").confusion_matrix
    np.testing.assert_allclose(
        metrics.confusion_matrix(Y, P, **given), theirs(Y, P, **given)
    )


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "probabilities": (
        {"y_true": Y, "y_pred": np.zeros((6, 3))},
        "[confusion_matrix] y_true and y_pred must hold one class per row. "
        "Received: shapes (6,) and (6, 3). Try y_pred.argmax(axis=1) for "
        "probabilities.",
    ),
    "labels": (
        {"y_true": Y, "y_pred": P, "labels": [1, 1]},
        "[confusion_matrix] labels must be distinct classes, at least one. Received: "
        "labels=[1, 1] for 6 rows. Try labels=None.",
    ),
    "strange labels": (
        {"y_true": Y, "y_pred": P, "labels": [7]},
        "[confusion_matrix] at least one of the labels must be in y_true. Received: "
        "labels=[7]. Try labels=None.",
    ),
    "normalize": (
        {"y_true": Y, "y_pred": P, "normalize": "rows"},
        "[confusion_matrix] unknown normalize. Received: 'rows'. Try one of: all, "
        "pred, true.",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_confusion(name: str) -> None:
    given, text = WRONG[name]
    with pytest.raises(ValueError, match=re.escape(text)):
        metrics.confusion_matrix(**given)


def test_to_categorical() -> None:
    assert to_categorical([0, 2, 1]).tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 0]]
    assert to_categorical(np.array([[1], [0]]), 3).tolist() == [[0, 1, 0], [1, 0, 0]]
    assert to_categorical(np.zeros((2, 4), np.uint8), 2).shape == (2, 4, 2)


@pytest.mark.parametrize(
    ("x", "count", "text"),
    [
        ([0, 3], 3, "numbers from 0 to 2. Received: x[1] = 3. Try num_classes=4."),
        ([0, -1], None, "x[1] = -1. Try numpy.unique(x, return_inverse=True)[1]."),
        ([0.5], 2, "Received: x[0] = 0.5."),
        ([], None, "must hold class numbers. Received: an array of shape (0,)"),
        (["a"], None, "x must hold real numbers. Received: x[0] = 'a'"),
    ],
)
def test_wrong_categories(x: Any, count: int | None, text: str) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(text)):
        to_categorical(x, count)
