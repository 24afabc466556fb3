"""Every metric by hand and in models, against Keras's, and against scikit-learn's where
that has the same number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from twins import Call, call, keras, make

import kurve

RNG = np.random.default_rng(17)
ROWS, OUTPUTS = 60, 4


@dataclass(frozen=True)
class Data:
    """Targets and predictions (rows, ...), and the loss of a model that has them."""

    y: np.ndarray
    p: np.ndarray
    loss: str = "mse"


def shares(*shape: int) -> np.ndarray:
    """Numbers in [0, 1], some of which are exactly on evenly spaced thresholds."""
    p = RNG.uniform(size=shape)
    on = RNG.integers(0, 21, shape) / 20
    return np.where(RNG.random(shape) < 0.3, on, p).astype(np.float32)


def bits(*shape: int) -> np.ndarray:
    return RNG.integers(0, 2, shape).astype(np.float32)


CLASSES = RNG.integers(0, OUTPUTS, ROWS)
ONE_HOT = np.eye(OUTPUTS, dtype=np.float32)[CLASSES]
SOFTMAX = np.exp(2.0 * RNG.normal(size=(ROWS, OUTPUTS)) + 1.5 * ONE_HOT)
SOFTMAX = (SOFTMAX / SOFTMAX.sum(axis=1, keepdims=True)).astype(np.float32)
NORMAL = RNG.normal(size=(2, ROWS, OUTPUTS)).astype(np.float32)
NUMBERS = Data(NORMAL[0], NORMAL[1])
POSITIVE = Data(np.exp(NORMAL[0]), np.exp(NORMAL[1]))
SIGNS = Data(np.sign(NORMAL[0]), NORMAL[1])
LABELS = Data(bits(ROWS, OUTPUTS), shares(ROWS, OUTPUTS))
LOGITS = Data(LABELS.y, 3.0 * NORMAL[1])
BINARY = Data(bits(ROWS, 1), shares(ROWS, 1))
CATEGORICAL = Data(ONE_HOT, SOFTMAX)
SPARSE = Data(CLASSES.astype(np.float32), SOFTMAX, "sparse_categorical_crossentropy")
NUMBERED = Data(
    RNG.integers(-1, 6, (ROWS, 3)).astype(np.float32),
    RNG.integers(-1, 6, (ROWS, 3)).astype(np.float32),
)
MAPS = Data(bits(ROWS, 3, 2), shares(ROWS, 3, 2))
MAP_CLASSES = Data(
    RNG.integers(0, 4, (ROWS, 3)).astype(np.float32),
    shares(ROWS, 3, 4),
    "sparse_categorical_crossentropy",
)

CASES: dict[str, tuple[str, dict[str, Any], Data]] = {
    "mse": ("MeanSquaredError", {}, NUMBERS),
    "mae": ("MeanAbsoluteError", {}, NUMBERS),
    "rmse": ("RootMeanSquaredError", {}, NUMBERS),
    "mape": ("MeanAbsolutePercentageError", {}, NUMBERS),
    "msle": ("MeanSquaredLogarithmicError", {}, POSITIVE),
    "msle below": ("MeanSquaredLogarithmicError", {}, NUMBERS),
    "cosine": ("CosineSimilarity", {}, NUMBERS),
    "cosine, axis": ("CosineSimilarity", {"axis": 1}, NUMBERS),
    "logcosh": ("LogCoshError", {}, NUMBERS),
    "pearson": ("PearsonCorrelation", {}, NUMBERS),
    "concordance": ("ConcordanceCorrelation", {}, NUMBERS),
    "r2": ("R2Score", {}, NUMBERS),
    "r2 each": ("R2Score", {"class_aggregation": None}, NUMBERS),
    "r2 variance": (
        "R2Score",
        {"class_aggregation": "variance_weighted_average"},
        NUMBERS,
    ),
    "r2 adjusted": ("R2Score", {"num_regressors": 3}, NUMBERS),
    "r2 each, adjusted": (
        "R2Score",
        {"class_aggregation": None, "num_regressors": 2},
        NUMBERS,
    ),
    "poisson": ("Poisson", {}, POSITIVE),
    "kl": ("KLDivergence", {}, CATEGORICAL),
    "hinge": ("Hinge", {}, SIGNS),
    "hinge, bits": ("Hinge", {}, LABELS),
    "squared hinge": ("SquaredHinge", {}, SIGNS),
    "squared hinge, bits": ("SquaredHinge", {}, LABELS),
    "categorical hinge": ("CategoricalHinge", {}, CATEGORICAL),
    "bce": ("BinaryCrossentropy", {}, LABELS),
    "bce, logits": ("BinaryCrossentropy", {"from_logits": True}, LOGITS),
    "bce, smooth": ("BinaryCrossentropy", {"label_smoothing": 0.2}, LABELS),
    "cce": ("CategoricalCrossentropy", {}, CATEGORICAL),
    "cce, logits": (
        "CategoricalCrossentropy",
        {"from_logits": True, "label_smoothing": 0.1},
        Data(ONE_HOT, NORMAL[1]),
    ),
    "sparse cce": ("SparseCategoricalCrossentropy", {}, SPARSE),
    "sparse cce, ignored": (
        "SparseCategoricalCrossentropy",
        {"ignore_class": 2},
        SPARSE,
    ),
    "sparse cce, maps": ("SparseCategoricalCrossentropy", {}, MAP_CLASSES),
    "accuracy": ("Accuracy", {}, NUMBERED),
    "binary": ("BinaryAccuracy", {"threshold": 0.3}, LABELS),
    "categorical": ("CategoricalAccuracy", {}, CATEGORICAL),
    "sparse": ("SparseCategoricalAccuracy", {}, SPARSE),
    "top 2": ("TopKCategoricalAccuracy", {"k": 2}, CATEGORICAL),
    "sparse top 2": ("SparseTopKCategoricalAccuracy", {"k": 2}, SPARSE),
    "sorted ids": (
        "SparseTopKCategoricalAccuracy",
        {"k": 2, "from_sorted_ids": True},
        Data(
            SPARSE.y,
            np.argsort(-SOFTMAX, axis=1).astype(np.float32),
            "sparse_categorical_crossentropy",
        ),
    ),
    "tp": ("TruePositives", {}, BINARY),
    "tn": ("TrueNegatives", {"thresholds": [0.2, 0.9, 0.5]}, LABELS),
    "fp": ("FalsePositives", {"thresholds": 0.25}, LABELS),
    "fn": ("FalseNegatives", {"thresholds": [0.0, 0.5, 1.0]}, MAPS),
    "precision": ("Precision", {}, BINARY),
    "precision, thresholds": ("Precision", {"thresholds": [0.3, 0.6, 0.95]}, LABELS),
    "precision, top k": ("Precision", {"top_k": 2}, CATEGORICAL),
    "precision, class": ("Precision", {"class_id": 1, "thresholds": 0.4}, CATEGORICAL),
    "precision, both": (
        "Precision",
        {"class_id": 2, "top_k": 2, "thresholds": [0.05, 0.4]},
        CATEGORICAL,
    ),
    "recall": ("Recall", {}, LABELS),
    "recall, even": ("Recall", {"thresholds": [0.0, 0.25, 0.5, 0.75, 1.0]}, LABELS),
    "recall, top k": ("Recall", {"top_k": 3}, CATEGORICAL),
    "sensitivity": ("SensitivityAtSpecificity", {"specificity": 0.6}, BINARY),
    "sensitivity, 1": (
        "SensitivityAtSpecificity",
        {"specificity": 0.3, "num_thresholds": 1},
        LABELS,
    ),
    "specificity": ("SpecificityAtSensitivity", {"sensitivity": 0.7}, LABELS),
    "precision at recall": (
        "PrecisionAtRecall",
        {"recall": 0.5, "num_thresholds": 21},
        LABELS,
    ),
    "recall at precision": (
        "RecallAtPrecision",
        {"precision": 0.5, "class_id": 1},
        CATEGORICAL,
    ),
    "recall at 1": ("RecallAtPrecision", {"precision": 1.0}, LABELS),
    "f1": ("F1Score", {}, CATEGORICAL),
    "f1, micro": ("F1Score", {"average": "micro", "threshold": 0.4}, LABELS),
    "f1, weighted": ("F1Score", {"average": "weighted"}, CATEGORICAL),
    "f2, macro": ("FBetaScore", {"average": "macro", "beta": 2.0}, CATEGORICAL),
    "f0.5": ("FBetaScore", {"beta": 0.5, "threshold": 0.3}, LABELS),
    "iou": ("IoU", {"num_classes": 5, "target_class_ids": [0, 3]}, NUMBERED),
    "iou, largest": (
        "IoU",
        {"num_classes": 4, "target_class_ids": (1,), "sparse_y_pred": False},
        SPARSE,
    ),
    "binary iou": ("BinaryIoU", {"threshold": 0.35}, MAPS),
    "mean iou": ("MeanIoU", {"num_classes": 6, "ignore_class": 2}, NUMBERED),
    "mean iou, maps": (
        "MeanIoU",
        {"num_classes": 4, "sparse_y_pred": False, "ignore_class": 0},
        MAP_CLASSES,
    ),
    "one-hot iou": ("OneHotIoU", {"num_classes": 4, "target_class_ids": [2]}, LABELS),
    "one-hot mean iou": ("OneHotMeanIoU", {"num_classes": 4}, CATEGORICAL),
}
for _curve in ("ROC", "PR", "PRGAIN"):
    for _method in ("interpolation", "minoring", "majoring"):
        CASES[f"auc, {_curve}, {_method}"] = (
            "AUC",
            {"curve": _curve, "summation_method": _method},
            LABELS,
        )
CASES |= {
    "auc, 21": ("AUC", {"num_thresholds": 21}, BINARY),
    "auc, 2": ("AUC", {"num_thresholds": 2}, BINARY),
    "auc, thresholds": ("AUC", {"thresholds": [0.1, 0.7, 0.3]}, LABELS),
    "auc, even thresholds": ("AUC", {"thresholds": [0.25, 0.5, 0.75]}, LABELS),
    "auc, logits": ("AUC", {"from_logits": True, "num_thresholds": 50}, LOGITS),
    "auc, maps": ("AUC", {}, MAPS),
    "auc, labels": ("AUC", {"multi_label": True, "curve": "PR"}, LABELS),
    "auc, labels, weights": (
        "AUC",
        {"multi_label": True, "num_labels": 4, "label_weights": [1.0, 2.0, 0.0, 0.5]},
        LABELS,
    ),
    "auc, weights": ("AUC", {"label_weights": [1.0, 2.0, 0.0, 0.5]}, LABELS),
}


def numbers(result: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(result), np.float64)


def pair(name: str) -> tuple[Any, Any, Data]:
    kind, arguments, data = CASES[name]
    described: Call = call(f"metrics.{kind}", **arguments, name="mine")
    theirs = dict(arguments)
    if kind.endswith("IoU"):
        theirs["dtype"] = "float32"  # else Keras cuts weights to integers
    return make(kurve, described), make(keras, call(f"metrics.{kind}", **theirs)), data


def weights_for(name: str, data: Data) -> np.ndarray:
    """One for each sample, in the form that Keras needs: of maps for each row, and for
    IoUs for each pair of classes."""
    w = RNG.integers(0, 4, len(data.p)).astype(np.float32) / 2
    each = data.p.shape[:-1]
    if "IoU" in CASES[name][0] and "OneHot" not in CASES[name][0]:
        each = data.y.shape
    return np.broadcast_to(w.reshape(-1, *[1] * (len(each) - 1)), each).copy()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_by_hand(name: str, weighted: bool) -> None:
    """After each of several batches, and after a reset."""
    ours, theirs, data = pair(name)
    w = weights_for(name, data)
    for again in range(2):
        for rows in (slice(0, 25), slice(25, 26), slice(26, ROWS)):
            given = w[rows] if weighted else None
            for metric in (ours, theirs):
                metric.update_state(data.y[rows], data.p[rows], sample_weight=given)
            np.testing.assert_allclose(
                ours.result(), numbers(theirs.result()), 2e-5, 2e-6
            )
        for metric in (ours, theirs):
            metric.reset_state()
        assert not again or isinstance(ours.result(), (float, np.ndarray))


@pytest.mark.parametrize("name", CASES)
def test_in_a_model(name: str) -> None:
    """evaluate on both engines, as metric and as weighted metric, and in a fit whose
    weights do not change."""
    _, _, data = pair(name)
    kind, arguments, _ = CASES[name]
    described = call(f"metrics.{kind}", **arguments, name="m")
    w: Any = RNG.integers(0, 4, ROWS).astype(np.float32) / 2
    if kind.endswith("IoU"):  # Keras has no samples' weights for these
        w = None
    theirs = keras.Sequential(
        [keras.Input(data.p.shape[1:]), keras.layers.Activation("linear")]
    )
    theirs.compile(
        keras.optimizers.SGD(0.0),
        data.loss,
        metrics=[make(keras, described)],
        weighted_metrics=[make(keras, described)],
    )
    spread = w
    if data.p.ndim > 2 and w is not None:  # Keras takes a weight of every row
        spread = np.broadcast_to(w[:, None], data.p.shape[:2]).copy()
    expected = theirs.evaluate(
        data.p, data.y, batch_size=13, sample_weight=spread, verbose=0, return_dict=True
    )
    for engine in ("native", "reference"):
        model = kurve.Sequential(
            [kurve.Input(data.p.shape[1:]), kurve.layers.Activation("linear")]
        )
        metric = make(kurve, described)
        model.compile(
            kurve.optimizers.SGD(1e-3),
            data.loss,
            metrics=[metric],
            weighted_metrics=[metric],
            engine=engine,
        )
        got = model.evaluate(
            data.p, data.y, batch_size=13, sample_weight=w, verbose=0, return_dict=True
        )
        logs = model.fit(
            data.p, data.y, batch_size=13, sample_weight=w, verbose=0, shuffle=False
        ).history
        for key in ("m", "weighted_m"):
            right = numbers(expected[key])
            np.testing.assert_allclose(got[key], right, 2e-5, 2e-6, err_msg=engine)
            np.testing.assert_allclose(logs[key][0], right, 2e-5, 2e-6, err_msg=engine)


@pytest.mark.parametrize(
    "name", ["iou", "iou, largest", "binary iou", "mean iou, maps"]
)
def test_weighted_ious_in_a_model(name: str, engine: str) -> None:
    """Each element has the weight of its sample, as by hand."""
    ours, theirs, data = pair(name)
    each = weights_for(name, data)
    theirs.update_state(data.y, data.p, each)
    model = kurve.Sequential(
        [kurve.Input(data.p.shape[1:]), kurve.layers.Activation("linear")]
    )
    model.compile("sgd", data.loss, weighted_metrics=[ours], engine=engine)
    w = each.reshape(ROWS, -1)[:, 0]
    _, got = model.evaluate(data.p, data.y, 13, verbose=0, sample_weight=w)
    assert got == pytest.approx(float(theirs.result()), rel=1e-5)


NEAR = LABELS.p[:, 0].round(2)  # on thresholds, so that no pair is between two
WEIGHTS = RNG.uniform(0.1, 2.0, ROWS)


def test_beside_scikit_learn() -> None:
    sk = pytest.importorskip("sklearn.metrics")
    y, w = LABELS.y[:, 0], WEIGHTS
    auc = kurve.metrics.AUC(10_001)
    auc.update_state(y, NEAR, w)
    exact = sk.roc_auc_score(y, NEAR, sample_weight=w)
    assert auc.result() == pytest.approx(exact, abs=1e-6)
    for average in ("micro", "macro", "weighted", None):
        score = kurve.metrics.FBetaScore(average, 2.0, 0.4)
        score.update_state(LABELS.y, LABELS.p, w)
        guess = LABELS.p > np.float32(0.4)
        exact = sk.fbeta_score(
            LABELS.y, guess, beta=2.0, average=average, sample_weight=w
        )
        np.testing.assert_allclose(score.result(), exact, 1e-5)
    iou = kurve.metrics.MeanIoU(4, sparse_y_pred=False)
    iou.update_state(CLASSES, SOFTMAX, w)
    exact = sk.jaccard_score(
        CLASSES, SOFTMAX.argmax(1), average="macro", sample_weight=w
    )
    assert iou.result() == pytest.approx(exact, rel=1e-6)
    for name in ("precision", "recall"):
        metric = getattr(kurve.metrics, name.capitalize())(thresholds=0.3)
        metric.update_state(y, NEAR, w)
        exact = getattr(sk, f"{name}_score")(y, np.float32(0.3) < NEAR, sample_weight=w)
        assert metric.result() == pytest.approx(exact, rel=1e-6)
    r2 = kurve.metrics.R2Score("variance_weighted_average")
    r2.update_state(NUMBERS.y, NUMBERS.p, w)
    exact = sk.r2_score(
        NUMBERS.y, NUMBERS.p, multioutput="variance_weighted", sample_weight=w
    )
    assert r2.result() == pytest.approx(exact, rel=1e-6)


VALUES = RNG.normal(size=(6, 3, 2)).astype(np.float32)


@pytest.mark.parametrize("kind", ["Mean", "Sum"])
@pytest.mark.parametrize(
    ("shape", "weights"),
    [
        ((), None),
        ((), ()),
        ((6,), None),
        ((6,), ()),
        ((6,), (6,)),
        ((6,), (6, 1)),
        ((6, 3), None),
        ((6, 3), (6,)),
        ((6, 3), (6, 3)),
        ((6, 3), (6, 1)),
        ((6, 3, 2), (6, 3)),
        ((6, 3, 2), (6, 3, 2)),
        ((6, 3, 2), (6,)),
        ((6, 3, 2), None),
    ],
)
def test_aggregations(kind: str, shape: tuple[int, ...], weights: Any) -> None:
    ours, theirs = (getattr(lib.metrics, kind)() for lib in (kurve, keras))
    values = VALUES.ravel()[: int(np.prod(shape))].reshape(shape)
    draw = np.random.default_rng(18)
    w = None if weights is None else draw.uniform(0.5, 2.0, weights).astype(np.float32)
    # Keras adds in float32: values of both signs leave an error that is small beside
    # their sizes, not beside their sum.
    sizes = getattr(kurve.metrics, kind)()
    for _ in range(2):
        for metric, given in ((ours, values), (theirs, values), (sizes, abs(values))):
            metric.update_state(given, sample_weight=w)
        error = 5e-7 * sizes.result()
        assert ours.result() == pytest.approx(float(theirs.result()), abs=error)
    assert ours.name == theirs.name
    assert [v.name for v in ours.variables] == [v.name for v in theirs.variables]


def test_a_function_by_hand() -> None:
    y, p, w = NUMBERS.y, NUMBERS.p, WEIGHTS.astype(np.float32)
    for weights in (None, w):
        ours, theirs = (
            lib.metrics.MeanMetricWrapper(
                lambda y, p, power: abs(y - p) ** power, name="own", power=3
            )
            for lib in (kurve, keras)
        )
        for metric in (ours, theirs):
            metric.update_state(y, p, sample_weight=weights)
        assert ours.result() == pytest.approx(float(theirs.result()), rel=1e-5)


FUNCTIONS = {
    "binary_accuracy": (LABELS, {"threshold": 0.3}),
    "categorical_accuracy": (CATEGORICAL, {}),
    "sparse_categorical_accuracy": (MAP_CLASSES, {}),
    "top_k_categorical_accuracy": (CATEGORICAL, {"k": 2}),
    "sparse_top_k_categorical_accuracy": (SPARSE, {"k": 3}),
    "pearson_correlation": (NUMBERS, {}),
    "concordance_correlation": (NUMBERS, {"axis": 0}),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    data, arguments = FUNCTIONS[name]
    ours = getattr(kurve.metrics, name)(data.y, data.p, **arguments)
    theirs = getattr(keras.metrics, name)(data.y, data.p, **arguments)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, numbers(theirs), 2e-5, 2e-6)


@pytest.mark.parametrize("name", CASES)
def test_configurations(name: str) -> None:
    """Keras takes Kurve's, and gives one that Kurve takes."""
    ours, _, _ = pair(name)
    kind = CASES[name][0]
    again = getattr(keras.metrics, kind).from_config(ours.get_config())
    back = getattr(kurve.metrics, kind).from_config(again.get_config())
    if kind != "CosineSimilarity":  # Keras's forgets its axis
        assert back.get_config().items() >= ours.get_config().items()
    mine = kurve.metrics.deserialize(kurve.metrics.serialize(back))
    if kind != "Accuracy":  # which is another class in files
        assert type(mine) is type(ours)
        assert mine.get_config() == back.get_config()


def test_one_dimension() -> None:
    """Where (n,) is a vector of outputs, and where it is n samples."""
    y, p = ONE_HOT[0], SOFTMAX[0]
    for kind in (
        "CosineSimilarity",
        "KLDivergence",
        "CategoricalHinge",
        "CategoricalCrossentropy",
        "PearsonCorrelation",
        "Hinge",
        "Poisson",
        "AUC",
    ):
        ours, theirs = (getattr(lib.metrics, kind)() for lib in (kurve, keras))
        assert ours(y, p) == pytest.approx(float(theirs(y, p)), rel=2e-5)
    ours, theirs = (lib.metrics.Precision(top_k=2) for lib in (kurve, keras))
    w = np.array([1.0, 2.0, 3.0, 4.0], np.float32)
    assert ours(y, p, w) == pytest.approx(float(theirs(y, p, w)), rel=2e-5)


@pytest.mark.parametrize("kind", ["AUC", "TruePositives", "BinaryAccuracy", "Recall"])
@pytest.mark.parametrize("shape", [(ROWS, OUTPUTS), (1, OUTPUTS)], ids=str)
def test_a_weight_for_each_output(kind: str, shape: tuple[int, ...]) -> None:
    w = RNG.integers(0, 3, shape).astype(np.float32)
    ours, theirs = (getattr(lib.metrics, kind)() for lib in (kurve, keras))
    for metric in (ours, theirs):
        metric.update_state(LABELS.y, LABELS.p, w)
    assert ours.result() == pytest.approx(float(theirs.result()), rel=2e-5)
