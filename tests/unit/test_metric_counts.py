"""Metrics of counts, and of one's own: numbers worked out by hand, wrong arguments, and
metrics of several numbers in models."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kurve import Input, Sequential, callbacks, layers, losses, metrics, models
from kurve.plots import plot_history

Y = np.array([[0.0], [0.0], [1.0], [1.0]])
P = np.array([[0.1], [0.6], [0.4], [0.9]])
W = np.array([1.0, 2.0, 3.0, 4.0])
# Above 0.5: rows 2 (wrong, weight 2) and 4 (right, weight 4).
ROC_BY_HAND = 0.75  # of the 4 pairs of a 0 and a 1, 3 are in the right order
ONE_HOT = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 0]], float)
LIKELY = np.array([[0.6, 0.3, 0.1], [0.2, 0.3, 0.5], [0.1, 0.3, 0.6], [0.1, 0.8, 0.1]])
# Predicted 0, 2, 2, 1: the matrix is [[1, 0, 0], [0, 1, 1], [0, 0, 1]].

CASES: dict[str, tuple[Any, Any, Any, float, float]] = {
    # name: metric, y, p, without weights, with W
    "tp": (metrics.TruePositives(), Y, P, 1.0, 4.0),
    "fp": (metrics.FalsePositives(), Y, P, 1.0, 2.0),
    "tn": (metrics.TrueNegatives(), Y, P, 1.0, 1.0),
    "fn": (metrics.FalseNegatives(), Y, P, 1.0, 3.0),
    "precision": (metrics.Precision(), Y, P, 0.5, 4 / 6),
    "recall": (metrics.Recall(), Y, P, 0.5, 4 / 7),
    "recall, low": (metrics.Recall(0.3), Y, P, 1.0, 1.0),
    "precision, top": (metrics.Precision(top_k=1), ONE_HOT, LIKELY, 0.75, 0.8),
    "recall, top 2": (metrics.Recall(top_k=2), ONE_HOT, LIKELY, 1.0, 1.0),
    "precision, class": (metrics.Precision(0.4, class_id=2), ONE_HOT, LIKELY, 0.5, 0.6),
    # At thresholds 0.5 and above the specificity is at least 1/2.
    "sensitivity": (metrics.SensitivityAtSpecificity(0.5, 11), Y, P, 1.0, 4 / 7),
    "specificity": (metrics.SpecificityAtSensitivity(0.5, 11), Y, P, 1.0, 1.0),
    "precision at": (metrics.PrecisionAtRecall(1.0, 11), Y, P, 2 / 3, 7 / 9),
    "recall at": (metrics.RecallAtPrecision(0.9, 11), Y, P, 0.5, 4 / 7),
    "auc": (metrics.AUC(1001), Y, P, ROC_BY_HAND, (3 * 1 + 4 * 3) / 21),
    # Weights of (tp, fp, fn) are (1, 0, 0), (4, 0, 2) and (3, 2, 0).
    "f1": (metrics.F1Score("macro"), ONE_HOT, LIKELY, 7 / 9, (1 + 0.8 + 0.75) / 3),
    "f1, micro": (metrics.F1Score("micro"), ONE_HOT, LIKELY, 0.75, 0.8),
    "iou": (metrics.OneHotIoU(3, [1, 2]), ONE_HOT, LIKELY, 0.5, (4 / 6 + 3 / 5) / 2),
    "mean iou": (
        metrics.OneHotMeanIoU(3, ignore_class=0),
        ONE_HOT,
        LIKELY,
        0.5,
        (4 / 6 + 3 / 5) / 2,
    ),
    "binary iou": (metrics.BinaryIoU([1], 0.5), Y, P, 1 / 3, 4 / 9),
    "mape": (metrics.MeanAbsolutePercentageError(), Y + 1, P + 1, 26.25, 24.0),
    "hinge": (metrics.Hinge(), Y, P, (1.1 + 1.6 + 0.6 + 0.1) / 4, 0.65),
    "cosine": (metrics.CosineSimilarity(), Y - 0.5, P - 0.5, 0.0, -0.0),
    "poisson": (
        metrics.Poisson(),
        Y,
        P,
        (2.0 - math.log(0.4) - math.log(0.9)) / 4,
        (0.1 + 1.2 + 1.2 + 3.6 - 3 * math.log(0.4) - 4 * math.log(0.9)) / 10,
    ),
}


def identity(shape: tuple[int, ...], **compiled: Any) -> Sequential:
    model = Sequential([Input(shape), layers.Activation("linear")])
    model.compile(**{"optimizer": "sgd", "loss": "mse"} | compiled)
    return model


@pytest.mark.parametrize("name", CASES)
def test_by_hand_and_in_models(name: str, engine: str) -> None:
    metric, y, p, plain, weighted = CASES[name]
    metric.reset_state()
    assert metric(y, p) == pytest.approx(plain, abs=2e-6)
    metric.reset_state()
    for i in range(4):
        metric.update_state(y[i : i + 1], p[i : i + 1], W[i : i + 1])
    assert metric.result() == pytest.approx(weighted, abs=2e-6)
    model = identity(
        p.shape[1:], metrics=[metric], weighted_metrics=[metric], engine=engine
    )
    for size in (1, 3, 4):
        _, *got = model.evaluate(p, y, size, verbose=0, sample_weight=W)
        assert got == pytest.approx([plain, weighted], abs=2e-6)


def test_areas_by_hand() -> None:
    """Four points in the corners of a square of thresholds 0, 1/2, 1."""
    for curve, method, area in [
        ("ROC", "interpolation", 0.75),
        ("ROC", "minoring", 0.5),
        ("ROC", "majoring", 1.0),
        ("PR", "minoring", 0.25),
        ("PR", "majoring", 1.0),
    ]:
        auc = metrics.AUC(3, curve, method)
        # recall 1, 1/2, 0 and false positive rate 1, 0, 0; precision 1/2, 1, 0.
        assert auc([0, 0, 1, 1], [0.0, 0.5, 0.3, 0.9]) == pytest.approx(area)
    labels = metrics.AUC(multi_label=True, label_weights=[3.0, 1.0])
    # The first label is ordered perfectly, the second the wrong way round.
    assert labels([[0, 1], [1, 0]], [[0.2, 0.3], [0.8, 0.6]]) == pytest.approx(0.75)


def test_counts_of_one_batch() -> None:
    auc = metrics.AUC(thresholds=[0.5])
    auc.update_state(Y, P, W)
    np.testing.assert_allclose(auc.true_positives, [7, 4, 0])
    np.testing.assert_allclose(auc.false_positives, [3, 2, 0])
    np.testing.assert_allclose(auc.true_negatives, [0, 1, 3])
    np.testing.assert_allclose(auc.false_negatives, [0, 3, 7])
    unsorted = metrics.TruePositives([0.95, 0.2, 0.5])
    np.testing.assert_allclose(unsorted(Y, P, W), [0, 7, 4])


def test_nan_is_not_positive(engine: str) -> None:
    for metric in (metrics.AUC(), metrics.Recall([0.2, 0.6])):
        metric.update_state([1.0, 1.0], [np.nan, 0.7])
        np.testing.assert_array_equal(metric.true_positives[:2].max(), 1.0)


WRONG: dict[str, tuple[Any, str]] = {
    "threshold": (lambda: metrics.Precision(1.5), "thresholds must be numbers in"),
    "no threshold": (lambda: metrics.TruePositives([]), "at least one"),
    "text": (lambda: metrics.Recall(["x"]), "thresholds must be numbers"),
    "top_k": (lambda: metrics.Precision(top_k=0), "top_k must be an integer"),
    "class_id": (lambda: metrics.Recall(class_id=-1), "class_id must be an integer"),
    "class": (lambda: metrics.Recall(class_id=3)(ONE_HOT, LIKELY), "must be below"),
    "top": (lambda: metrics.Recall(top_k=4)(ONE_HOT, LIKELY), "top_k must be at most"),
    "specificity": (lambda: metrics.SensitivityAtSpecificity(2), "must be in"),
    "count": (lambda: metrics.PrecisionAtRecall(0.5, 0), "num_thresholds must be"),
    "curve": (lambda: metrics.AUC(curve="RCO"), "unknown curve"),
    "method": (lambda: metrics.AUC(summation_method="mid"), "unknown summation_me"),
    "few": (lambda: metrics.AUC(1), "num_thresholds must be an integer of at least 2"),
    "labels": (lambda: metrics.AUC(num_labels=3), "only with multi_label=True"),
    "other labels": (
        lambda: metrics.AUC(multi_label=True, num_labels=2)(ONE_HOT, LIKELY),
        "num_labels must be the number of outputs, 3",
    ),
    "label weights": (
        lambda: metrics.AUC(label_weights=[1.0])(ONE_HOT, LIKELY),
        "label_weights must have one entry per output, 3",
    ),
    "negative": (
        lambda: metrics.AUC(label_weights=[-1.0]),
        "non-negative number per output",
    ),
    "rank": (
        lambda: metrics.AUC(multi_label=True)(np.ones((2, 3, 4)), np.ones((2, 3, 4))),
        r"outputs must have shape \(n, labels\)",
    ),
    "average": (lambda: metrics.F1Score("mean"), "average must be None, 'micro'"),
    "beta": (lambda: metrics.FBetaScore(beta=0.0), "beta must be a float above 0"),
    "f threshold": (lambda: metrics.F1Score(threshold=1.5), "threshold must be a fl"),
    "f rank": (lambda: metrics.F1Score()([1, 0], [1, 0]), r"shape \(n, classes\)"),
    "num_classes": (lambda: metrics.MeanIoU(0), "num_classes must be an integer"),
    "ids": (lambda: metrics.IoU(2, [2]), "target_class_ids must be a list of"),
    "ignored": (lambda: metrics.MeanIoU(2, ignore_class="x"), "ignore_class must be"),
    "aggregation": (lambda: metrics.R2Score("mean"), "class_aggregation must be"),
    "regressors": (lambda: metrics.R2Score(num_regressors=-1), "num_regressors must"),
    "axis": (lambda: metrics.CosineSimilarity(axis=3)(ONE_HOT, LIKELY), "axis must be"),
    "class number": (
        lambda: metrics.SparseCategoricalCrossentropy()([0, 3], LIKELY[:2]),
        "needs class numbers 0 to 2",
    ),
    "shapes": (lambda: metrics.AUC()(ONE_HOT, LIKELY[:3]), "y_true must have shape"),
    "dtype": (
        lambda: metrics.AUC(dtype="number"),
        "dtype must be the name of a numeric type",
    ),
    "sum": (lambda: metrics.Sum()([1.0, 2.0], [1.0, 2.0, 3.0]), "sample_weight must"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments(name: str) -> None:
    use, text = WRONG[name]
    with pytest.raises(ValueError, match=rf"(?s)^\[\w+\] .*{text}.*Received: "):
        use()


def test_what_does_not_fit_a_model() -> None:
    x = LIKELY.astype(np.float32)
    for metric, text in [
        (metrics.Precision(class_id=3), r"^\[Precision\] class_id must be below"),
        (metrics.CosineSimilarity(axis=0), "output axis must be the last one"),
        (metrics.OneHotIoU(3, [0], sparse_y_pred=True), "one-hot targets do not fit"),
        (metrics.MeanIoU(3, sparse_y_pred=False), "needs class numbers as targets"),
    ]:
        model = identity((3,), metrics=[metric])
        with pytest.raises(ValueError, match=text):
            model.evaluate(x, ONE_HOT, verbose=0)
        with pytest.raises(ValueError, match=text):
            model.fit(x, ONE_HOT, verbose=0)
    model = identity((3,), metrics=[metrics.CosineSimilarity(axis=1)])
    assert 0.0 < model.evaluate(x, ONE_HOT, verbose=0)[1] < 1.0


class Positives(metrics.Metric):
    """Counts predictions above a limit; and their mean, in a metric inside."""

    def __init__(self, limit: float = 0.5, **common: Any) -> None:
        super().__init__(**common)
        self.limit = limit
        self.count = self.add_weight(name="count", initializer="zeros")
        self.each = self.add_variable((2,), "ones", name="each")
        self.mean = metrics.Mean()

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        above = np.asarray(y_pred) > self.limit
        self.count.assign(self.count + above.sum())
        self.each.assign_add([1.0, 2.0])
        self.mean.update_state(y_pred)

    def result(self) -> Any:
        return self.count

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "limit": self.limit}


def test_a_metric_of_ones_own() -> None:
    metric = Positives(0.3, name="mine", dtype="float64")
    assert float(metric(Y, P)) == 3.0
    assert float(metric(Y, P)) == 6.0
    assert metric.mean.result() == pytest.approx(0.5)
    assert metric.count * 2 == 12.0 and metric.count > 5.0
    assert [v.name for v in metric.variables] == ["count", "each", "total", "count"]
    np.testing.assert_array_equal(metric.each, [3.0, 5.0])
    np.testing.assert_array_equal(metric.each.numpy() - metric.each, 0.0)
    assert metric.each.shape == (2,) and metric.each.dtype == metric.dtype == "float64"
    metric.each.assign_sub(1.0)
    assert metric.each[1] == 4.0 and len(metric.each) == 2
    with pytest.raises(ValueError, match=r"must have shape \(2,\)"):
        metric.each.assign([1.0, 2.0, 3.0])
    metric.reset_state()
    assert not any(np.any(variable) for variable in metric.variables)
    config = metric.get_config()
    assert config == {"name": "mine", "dtype": "float64", "limit": 0.3}
    assert Positives.from_config(config).get_config() == config
    assert [Positives().name, Positives().name] == ["positives", "positives_1"]


def test_variables_need_the_constructor_of_the_base() -> None:
    class Forgetful(metrics.Metric):
        def __init__(self) -> None:
            self.count = self.add_weight()

    with pytest.raises(
        RuntimeError, match=r"^\[Forgetful\] variables must be added after"
    ):
        Forgetful()


def test_variables_of_a_mean_are_its_accumulators() -> None:
    metric = metrics.MeanAbsoluteError()
    total, count = metric.variables
    metric.update_state(Y, P)
    assert (float(total), float(count)) == (pytest.approx(1.4), 4.0)
    count.assign(7.0)
    assert metric.result() == pytest.approx(0.2)
    auc = metrics.AUC(num_thresholds=3)
    assert [sums.numpy().sum() for sums in auc.variables] == [0.0]
    auc.update_state(Y, P)
    (sums,) = auc.variables
    assert sums.numpy().sum() == 4.0
    assert metrics.F1Score().variables == []  # their size depends on the outputs


SEVERAL = [metrics.F1Score(name="f1"), metrics.Precision([0.3, 0.6], name="precision")]


def test_metrics_of_several_numbers(
    engine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x = LIKELY.astype(np.float32)
    model = identity((3,), metrics=SEVERAL, engine=engine)
    log, folder = callbacks.CSVLogger(tmp_path / "log.csv"), tmp_path / "checkpoints"
    history = model.fit(
        x,
        ONE_HOT,
        epochs=3,
        validation_data=(x, ONE_HOT),
        verbose=2,
        callbacks=[log, callbacks.BackupAndRestore(str(folder))],
    )
    first = history.history["val_f1"][0]
    np.testing.assert_allclose(first, [1.0, 2 / 3, 2 / 3], 1e-6)
    assert " - f1: 0.7778" in capsys.readouterr().out, "their mean, as in Keras"
    assert "f1=0.7778" in repr(history)
    assert "[" in (tmp_path / "log.csv").read_text()
    logs = model.evaluate(x, ONE_HOT, verbose=0, return_dict=True)
    assert logs["precision"].shape == (2,)
    for monitor in (
        callbacks.EarlyStopping("f1", mode="max"),
        callbacks.ModelCheckpoint(tmp_path / "best.kurve", "f1", save_best_only=True),
    ):
        with pytest.raises(ValueError, match="monitored value must be one number"):
            model.fit(x, ONE_HOT, callbacks=[monitor], verbose=0)


@pytest.mark.parametrize("suffix", ["kurve", "keras"])
def test_files(tmp_path: Path, suffix: str) -> None:
    given = [
        *SEVERAL,
        metrics.AUC(50, "PR", thresholds=[0.2, 0.4], label_weights=[1.0, 2.0, 0.5]),
        metrics.OneHotIoU(3, [0, 2], ignore_class=1),
        metrics.SensitivityAtSpecificity(0.3, class_id=1),
        metrics.CategoricalCrossentropy(label_smoothing=0.1),
        metrics.R2Score(None, num_regressors=1),
        metrics.get(losses.Huber(0.5)),
        "mape",
        "hinge",
        "accuracy",
    ]
    model = identity((3,), metrics=given, weighted_metrics=["auc"])
    model.save(tmp_path / f"m.{suffix}")
    again = models.load_model(tmp_path / f"m.{suffix}")
    x = LIKELY.astype(np.float32)
    right, got = (m.evaluate(x, ONE_HOT, verbose=0) for m in (model, again))
    assert len(got) == len(right) == 13
    for a, b in zip(got, right, strict=True):
        np.testing.assert_array_equal(a, b)
    assert again.metrics_names[1:3] == ["f1", "precision"]


def test_plots_say_what_they_need() -> None:
    plt = pytest.importorskip("matplotlib.pyplot")
    x = LIKELY.astype(np.float32)
    model = identity((3,), metrics=[metrics.F1Score("macro")])
    plot_history(model.fit(x, ONE_HOT, epochs=2, verbose=0))
    plt.close("all")
