"""What was compiled for each output of a model, in files and in pickles."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kurve import Input, Model, losses, metrics, models, optimizers
from kurve.layers import Concatenate, Dense
from kurve.optimizers.schedules import ExponentialDecay

HOWS = ("m.kurve", "m.keras", "m.h5", "pickle")
ROWS = 30
RNG = np.random.default_rng(4)
X = [RNG.normal(size=(ROWS, n)).astype(np.float32) for n in (3, 2)]
NUMBERS = RNG.integers(0, 3, ROWS)
CLASSES = np.eye(3, dtype=np.float32)[NUMBERS]
LABELS = RNG.integers(0, 2, (ROWS, 3)).astype(np.float32)


def two_by_two(named: bool = False) -> Model:
    left, right = Input((3,), name="left"), Input((2,), name="right")
    h = Concatenate(name="c")([Dense(4, name="d")(left), right])
    first = Dense(3, "softmax", name="first")(h)
    second = Dense(3, "sigmoid", name="second")(h)
    outputs = {"z": first, "y": second} if named else [first, second]
    return Model([left, right], outputs, name="two")


def again(model: Model, how: str, folder: Path) -> Any:
    if how == "pickle":
        return pickle.loads(pickle.dumps(model))
    model.save(folder / how)
    return models.load_model(folder / how)


def compiled(model: Any) -> list[Any]:
    """What the model is trained for."""
    network = model._network
    return [
        network.outputs.labels,
        *(
            (
                goal.loss and (type(goal.loss), goal.loss.get_config()),
                goal.weight,
                [(type(m), m.get_config(), weighted) for m, weighted in goal.metrics],
            )
            for goal in network.goals
        ),
        model.optimizer.get_config(),
    ]


def check_the_same(
    model: Model, how: str, folder: Path, y: Any, calls: Any = ("evaluate", "fit")
) -> None:
    """Compilation, values and further training, after some steps."""
    model.fit(X, y, epochs=1, verbose=0)
    other = again(model, how, folder)
    assert compiled(other) == compiled(model)
    for name in calls:
        values = [
            getattr(one, name)(X, y, verbose=0, batch_size=8)
            if name == "fit"
            else one.evaluate(X, y, verbose=0, return_dict=True)
            for one in (model, other)
        ]
        first, second = [getattr(value, "history", value) for value in values]
        assert list(first) == list(second)
        np.testing.assert_equal(second, first)


GIVEN: dict[str, Callable[[], dict[str, Any]]] = {
    "losses": lambda: {"loss": ["categorical_crossentropy", "mse"]},
    "one loss for all": lambda: {"loss": "mae", "metrics": [["mse"], ["acc"]]},
    "an output without": lambda: {
        "loss": {"first": "mse", "second": None},
        "metrics": {"first": ["mae"]},
        "weighted_metrics": {"second": ["mae"]},
    },
    "weights": lambda: {
        "loss": {"first": "mae", "second": "bce"},
        "loss_weights": {"first": 0.25, "second": 3.0},
        "metrics": {"second": ["accuracy", metrics.AUC(name="area")]},
        "weighted_metrics": {"first": ["mae"], "second": ["bce"]},
    },
    "a weight of zero": lambda: {"loss": ["mse", "mse"], "loss_weights": [0.0, 1.0]},
    "objects": lambda: {
        "optimizer": optimizers.SGD(ExponentialDecay(0.1, 10, 0.9), momentum=0.9),
        "loss": [losses.Huber(0.5), losses.BinaryFocalCrossentropy(gamma=3.0)],
        "metrics": [
            [metrics.MeanSquaredError("far"), metrics.TopKCategoricalAccuracy(2)],
            [metrics.Precision(0.3), metrics.Recall([0.2, 0.6], class_id=1)],
        ],
    },
}


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("name", GIVEN)
def test_each_output(name: str, how: str, tmp_path: Path) -> None:
    model = two_by_two()
    model.compile(**{"optimizer": "adam", **GIVEN[name]()})
    check_the_same(model, how, tmp_path, [CLASSES, LABELS])


@pytest.mark.parametrize("how", HOWS)
def test_a_dictionary_of_outputs(how: str, tmp_path: Path) -> None:
    model = two_by_two(named=True)
    y = {"z": CLASSES, "y": LABELS}
    model.compile("adam", {"z": "mse", "y": "bce"}, metrics={"y": ["acc"]})
    check_the_same(model, how, tmp_path, y)
    model.compile("adam", {"y": "mae"}, metrics={"z": ["mae"]})
    check_the_same(model, how, tmp_path, y)


@pytest.mark.parametrize("how", HOWS)
def test_not_compiled(how: str, tmp_path: Path) -> None:
    model = two_by_two()
    other = again(model, how, tmp_path)
    assert not other.compiled and other.input_names == ["left", "right"]
    for one, two in zip(model.predict(X), other.predict(X), strict=True):
        np.testing.assert_array_equal(two, one)


KURVES = ("GaussianNLL", "Pinball")
ACROSS_ROWS = ("Circle",)
"""Files do not hold the optimizer's memory of steps that are Python."""
OF_SEQUENCES = ("CTC",)
GIVEN_TO_LOSSES: dict[str, dict[str, Any]] = {
    "BinaryCrossentropy": {"label_smoothing": 0.1},
    "BinaryFocalCrossentropy": {"gamma": 3.0, "alpha": 0.4},
    "CategoricalCrossentropy": {"label_smoothing": 0.1},
    "CategoricalFocalCrossentropy": {"gamma": 3.0, "alpha": 0.4},
    "CategoricalGeneralizedCrossEntropy": {"q": 0.6},
    "Dice": {"axis": -1},
    "Huber": {"delta": 0.7},
    "SparseCategoricalCrossentropy": {"from_logits": True},
    "Tversky": {"alpha": 0.4, "beta": 0.6, "axis": (0, 1)},
}
GIVEN_TO_METRICS: dict[str, dict[str, Any]] = {
    "AUC": {"num_thresholds": 50, "curve": "PR", "summation_method": "minoring"},
    "BinaryAccuracy": {"threshold": 0.4},
    "BinaryCrossentropy": {"label_smoothing": 0.1},
    "BinaryIoU": {"target_class_ids": (0,), "threshold": 0.4},
    "CategoricalCrossentropy": {"label_smoothing": 0.1},
    "F1Score": {"average": "macro", "threshold": 0.4},
    "FBetaScore": {"average": "micro", "beta": 0.5},
    "IoU": {"num_classes": 3, "target_class_ids": (0, 1), "sparse_y_pred": False},
    "MeanIoU": {"num_classes": 3, "ignore_class": 1, "sparse_y_pred": False},
    "OneHotIoU": {"num_classes": 3, "target_class_ids": (0, 1)},
    "OneHotMeanIoU": {"num_classes": 3},
    "Precision": {"thresholds": [0.2, 0.7], "class_id": 1},
    "PrecisionAtRecall": {"recall": 0.6, "num_thresholds": 50},
    "R2Score": {"class_aggregation": "variance_weighted_average"},
    "Recall": {"top_k": 2},
    "RecallAtPrecision": {"precision": 0.6, "class_id": 1},
    "SensitivityAtSpecificity": {"specificity": 0.6},
    "SparseCategoricalCrossentropy": {"from_logits": True, "ignore_class": 2},
    "SparseTopKCategoricalAccuracy": {"k": 2},
    "SpecificityAtSensitivity": {"sensitivity": 0.6},
    "TopKCategoricalAccuracy": {"k": 2},
    "TruePositives": {"thresholds": [0.2, 0.7]},
}
BY_HAND = ("Mean", "MeanMetricWrapper", "Sum")
"""Metrics that no model computes."""


def targets(rule: Any) -> list[Any]:
    numbered = rule.sparse or type(rule).__name__ in ("IoU", "MeanIoU")
    return [NUMBERS if numbered else CLASSES, LABELS]


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize(
    "name", [n for n in losses.CLASSES if n not in KURVES + OF_SEQUENCES]
)
def test_losses(name: str, how: str, tmp_path: Path) -> None:
    model = two_by_two()
    loss = losses.CLASSES[name](**GIVEN_TO_LOSSES.get(name, {}))
    model.compile("adam", [loss, "mse"], loss_weights=[0.5, 1.0])
    calls = ("evaluate",) if name in ACROSS_ROWS else ("evaluate", "fit")
    check_the_same(model, how, tmp_path, targets(loss), calls)


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("name", [n for n in metrics.CLASSES if n not in BY_HAND])
def test_metrics(name: str, how: str, tmp_path: Path) -> None:
    metric: Any = metrics.CLASSES[name](name="own", **GIVEN_TO_METRICS.get(name, {}))
    y = targets(metric)
    loss = "sparse_categorical_crossentropy" if y[0] is NUMBERS else "mse"
    model = two_by_two()
    model.compile("adam", [loss, "mse"], metrics=[[metric], []])
    check_the_same(model, how, tmp_path, y)


@pytest.mark.parametrize("how", ["m.keras", "m.h5"])
def test_the_compilation_can_be_left_out(how: str, tmp_path: Path) -> None:
    model = two_by_two()
    model.compile("adam", ["mse", "mse"])
    model.save(tmp_path / how)
    assert not models.load_model(tmp_path / how, compile=False).compiled
