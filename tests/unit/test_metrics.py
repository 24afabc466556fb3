"""Metrics standalone and inside models, against NumPy."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from kurve import Input, Sequential, layers, losses, metrics, models
from kurve.layers import Activation, Dense

RANDOM = np.random.default_rng(5)
N, O = 40, 3  # noqa: E741
Y, P = RANDOM.normal(size=(N, O)), RANDOM.normal(size=(N, O))
BITS, SHARES = RANDOM.integers(0, 2, (N, O)), RANDOM.uniform(size=(N, O))
CLASSES = RANDOM.integers(0, O, N)
W = RANDOM.uniform(0.0, 2.0, N)


def r2(y: np.ndarray, p: np.ndarray, w: np.ndarray) -> float:
    mean = np.average(y, axis=0, weights=w)
    residual = (w[:, None] * (y - p) ** 2).sum(axis=0)
    spread = (w[:, None] * (y - mean) ** 2).sum(axis=0)
    return float((1.0 - residual / spread).mean())


def rows(values: np.ndarray, w: np.ndarray) -> float:
    """Weighted mean of a value that every row has."""
    return float(np.average(values, weights=w))


# metric, y, p, the formula as a function of the weights
CASES = {
    "mse": (
        metrics.MeanSquaredError,
        Y,
        P,
        lambda w: rows(((Y - P) ** 2).mean(axis=1), w),
    ),
    "mae": (
        metrics.MeanAbsoluteError,
        Y,
        P,
        lambda w: rows(np.abs(Y - P).mean(axis=1), w),
    ),
    "rmse": (
        metrics.RootMeanSquaredError,
        Y,
        P,
        lambda w: math.sqrt(rows(((Y - P) ** 2).mean(axis=1), w)),
    ),
    "r2": (metrics.R2Score, Y, P, lambda w: r2(Y, P, w)),
    "binary": (
        metrics.BinaryAccuracy,
        BITS,
        SHARES,
        lambda w: rows(((SHARES > 0.5) == BITS).mean(axis=1), w),
    ),
    "threshold": (
        lambda: metrics.BinaryAccuracy(threshold=0.8),
        BITS,
        SHARES,
        lambda w: rows(((SHARES > 0.8) == BITS).mean(axis=1), w),
    ),
    "categorical": (
        metrics.CategoricalAccuracy,
        np.eye(O)[CLASSES],
        P,
        lambda w: rows(P.argmax(axis=1) == CLASSES, w),
    ),
    "sparse": (
        metrics.SparseCategoricalAccuracy,
        CLASSES,
        P,
        lambda w: rows(P.argmax(axis=1) == CLASSES, w),
    ),
    "huber": (
        lambda: metrics.LossMetric(losses.Huber(0.5)),
        Y,
        P,
        lambda w: float((w * losses.huber(Y, P, delta=0.5)).sum() / w.sum()),
    ),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_value(name: str, weighted: bool) -> None:
    """In one batch or in several, the same number."""
    make, y, p, formula = CASES[name]
    metric, w = make(), W if weighted else np.ones(N)
    given = w if weighted else None
    assert metric(y, p, given) == pytest.approx(formula(w), rel=2e-6)
    metric.reset_state()
    for part in np.array_split(np.arange(N), 7):
        metric.update_state(y[part], p[part], w[part] if weighted else None)
    assert metric.result() == pytest.approx(formula(w), rel=2e-6)


def test_r2_extremes() -> None:
    y = np.array([[1.0], [2.0], [3.0]])
    assert metrics.R2Score()(y, y) == 1.0
    assert metrics.R2Score()(y, np.full_like(y, 2.0)) == 0.0
    assert metrics.R2Score()(np.ones((3, 1)), y) == 0.0, "a y that never changes"


def test_a_mean_of_nothing_is_zero() -> None:
    """As in Keras; an R2 of nothing is unknown."""
    assert metrics.MeanSquaredError().result() == 0.0
    assert metrics.MeanSquaredError()(Y, P, np.zeros(N)) == 0.0
    assert math.isnan(metrics.R2Score()(Y, P, np.zeros(N)))


@pytest.mark.parametrize("name", sorted(CASES.keys() - {"huber"}))  # saved as its loss
def test_config_round_trip(name: str) -> None:
    metric = CASES[name][0]()
    config = metric.get_config()
    again = type(metric)(**config)
    assert again.get_config() == config
    assert again.spec((O,)) == metric.spec((O,))


BY_HAND_ALONE = (metrics.Mean, metrics.Sum, metrics.MeanMetricWrapper)
WITH_ARGUMENTS = (
    metrics.IoU,
    metrics.MeanIoU,
    metrics.OneHotIoU,
    metrics.OneHotMeanIoU,
    metrics.PrecisionAtRecall,
    metrics.RecallAtPrecision,
    metrics.SensitivityAtSpecificity,
    metrics.SpecificityAtSensitivity,
)
NAMES = [
    name
    for name, title in metrics.NAMES.items()
    if metrics.CLASSES[title] not in (*BY_HAND_ALONE, *WITH_ARGUMENTS)
]


@pytest.mark.parametrize("name", [*NAMES, *losses.NAMES])
def test_names(name: str) -> None:
    """In `compile` a string stays the name under which the metric is logged; by itself
    it names the class, whose default name it has. Both as in Keras."""
    first, second = metrics.as_metric(name), metrics.as_metric(name)
    assert first.name == name
    assert first is not second
    found = metrics.get(name)
    assert found is not None
    if name in metrics.NAMES:
        assert type(found) is metrics.CLASSES[metrics.NAMES[name]]
    else:
        assert found.name == {"huber": "huber_loss"}.get(found.kind, found.kind)


def test_names_of_what_takes_no_part_in_models() -> None:
    for name in ("Mean", "sum", metrics.Mean()):
        with pytest.raises(NotImplementedError, match="engines have no formula"):
            metrics.as_metric(name)
    with pytest.raises(TypeError, match=r"^\[MeanIoU\] the arguments must be num_cl"):
        metrics.get("mean_io_u")


def test_an_object_is_copied() -> None:
    """Two models, or two places in one model, do not count into the same object."""
    metric = metrics.MeanAbsoluteError()
    assert metrics.as_metric(metric) is not metric
    assert metrics.get(metric) is metric
    assert metrics.get(None) is None


def test_wrong_shapes() -> None:
    with pytest.raises(ValueError, match=r"^\[MeanSquaredError\] y_true must have"):
        metrics.MeanSquaredError()(np.zeros((4, 1)), np.zeros((4, 3)))
    with pytest.raises(ValueError, match=r"^\[MeanSquaredError\] y_true must have"):
        metrics.MeanSquaredError()(np.zeros((3, 4)), np.zeros((4, 3)))
    with pytest.raises(NotImplementedError, match="depends on the model"):
        metrics.as_metric("accuracy")([1], [1])
    metric = metrics.R2Score()
    metric.update_state(np.zeros((4, 2)), np.zeros((4, 2)))
    with pytest.raises(
        ValueError, match=r"^\[R2Score\] all batches must have the same number"
    ):
        metric.update_state(np.zeros((4, 3)), np.zeros((4, 3)))


@pytest.mark.parametrize("shape", [(4, 3), (4, 5, 3), (4, 1), (4, 2, 5, 3)], ids=str)
def test_weights_by_hand(shape: tuple[int, ...]) -> None:
    """One weight for all, for each sample or for each row; others are refused."""
    y, p = RANDOM.normal(size=shape), RANDOM.normal(size=shape)
    values = ((y - p) ** 2).mean(axis=-1)
    loss, metric = losses.MeanSquaredError(), metrics.MeanSquaredError()
    rows = shape[:-1]
    good = [(), rows[:1], (*rows[:1], 1), rows, (*rows, 1)]
    for form in good:
        w = RANDOM.uniform(0.5, 2.0, form)
        each = np.broadcast_to(
            w.reshape(form[: len(rows)] + (1,) * (len(rows) - len(form))), rows
        )
        wanted = float((values * each).sum() / values.size)
        assert loss(y, p, sample_weight=w) == pytest.approx(wanted, rel=2e-6)
        metric.reset_state()
        wanted = float(np.average(values, weights=each))
        assert metric(y, p, sample_weight=w) == pytest.approx(wanted, rel=2e-6)
    metric.reset_state()
    for form in [(5,), (3, 4), (*rows, 7), (*rows, 1, 2), (0,)]:
        for call in (loss, metric.update_state):
            text = r"^\[MeanSquaredError\] sample_weight must have shape .*Received:"
            with pytest.raises(ValueError, match=text):
                call(y, p, sample_weight=np.ones(form))
    assert metric.result() == 0.0


def test_accuracy_counts_equal_numbers(engine: str) -> None:
    """The class is not the text "accuracy", as in Keras."""
    metric = metrics.Accuracy()
    assert metric([[1], [2]], [[1], [2]]) == 1.0
    assert metric([[1], [2]], [[1], [3]]) == 0.75
    metric.reset_state()
    metric.update_state([1, 2, 3, 4], [0, 2, 3, 4], sample_weight=[1, 1, 0, 0])
    assert metric.result() == 0.5
    y = np.array([[0.0], [1.0]])
    model = Sequential([Input((1,)), Dense(1, "sigmoid")])
    given = [metrics.Accuracy(), "Accuracy", metrics.Accuracy("same")]
    model.compile("sgd", "binary_crossentropy", metrics=given, engine=engine)
    model.set_weights([np.array([[10.0]]), np.array([-5.0])])
    logs = model.evaluate(y, y, verbose=0, return_dict=True)
    assert (logs["accuracy"], logs["Accuracy"], logs["same"]) == (0.0, 1.0, 0.0)
    pairs = Sequential([Input((2,)), layers.Activation("linear")])
    pairs.compile("sgd", "mse", metrics=[metrics.Accuracy()], engine=engine)
    x = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    off = x + np.array([[0.0, 1.0], [0.0, 0.0], [1.0, 1.0]])
    assert pairs.evaluate(x, off, verbose=0)[1] == 0.5
    with pytest.raises(ValueError, match=r"^\[evaluate\] the metric 'accuracy' needs"):
        model_of(3, "sparse_categorical_crossentropy", metrics=given[:1]).evaluate(
            X, CLASSES, verbose=0
        )


def test_accuracy_in_files(tmp_path: Path) -> None:
    """Files written before there was the class mean what "accuracy" means."""
    model = model_of(1, "binary_crossentropy", metrics=["acc", metrics.Accuracy("eq")])
    model.save(tmp_path / "m.kurve")
    again = models.load_model(tmp_path / "m.kurve")
    (goal,) = again._network.goals
    kinds = [type(metric).__name__ for metric, _ in goal.metrics]
    assert kinds == ["FittingAccuracy", "Accuracy"]
    old = {"class_name": "Accuracy", "config": {"name": "accuracy"}}
    assert type(metrics.deserialize(old)) is metrics.FittingAccuracy
    entry = metrics.serialize(metrics.as_metric("accuracy"))
    config = {"name": "accuracy", "dtype": "float32"}
    assert entry == {"class_name": "Accuracy", "config": config}
    x, y = X, BITS[:, :1]
    assert again.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)


def model_of(units: int, loss: str, **compiled: object) -> Sequential:
    model = Sequential([Input((2,)), Dense(units, "sigmoid")])
    model.compile("sgd", loss, **compiled)
    return model


X = RANDOM.normal(size=(N, 2))


@pytest.mark.parametrize(
    ("units", "loss", "y", "resolved"),
    [
        (1, "binary_crossentropy", BITS[:, :1], "binary_accuracy"),
        (1, "mse", BITS[:, 0], "binary_accuracy"),
        (3, "categorical_crossentropy", np.eye(O)[CLASSES], "categorical_accuracy"),
        (3, "sparse_categorical_crossentropy", CLASSES, "sparse_categorical_accuracy"),
        (1, "sparse_categorical_crossentropy", 0 * CLASSES, "sparse_categorical_accur"),
    ],
)
def test_accuracy_fits_loss_and_outputs(
    engine: str, units: int, loss: str, y: np.ndarray, resolved: str
) -> None:
    model = model_of(units, loss, metrics=["accuracy"])
    logs = model.evaluate(X, y, verbose=0, return_dict=True)
    assert model.metrics[0].kind.startswith(resolved)
    by_hand = metrics.as_metric(model.metrics[0])
    by_hand.reset_state()
    assert logs["accuracy"] == pytest.approx(by_hand(y, model.predict(X, verbose=0)))


def test_metrics_of_a_model_do_not_depend_on_batches(engine: str) -> None:
    names = ["mae", "rmse", "r2", "huber"]
    model = model_of(O, "mse", metrics=names, weighted_metrics=names)
    keys = ["loss", *names, *(f"weighted_{name}" for name in names)]
    assert model.metrics_names == keys
    results = [
        model.evaluate(X, Y, size, verbose=0, sample_weight=W) for size in (1, 7, 40)
    ]
    np.testing.assert_allclose(results[0], results[2], rtol=1e-5)
    np.testing.assert_allclose(results[1], results[2], rtol=1e-5)
    p = model.predict(X, verbose=0)
    for i, name in enumerate(names):
        plain, weighted = metrics.get(name), metrics.get(name)
        assert results[1][1 + i] == pytest.approx(plain(Y, p), rel=1e-5)
        assert results[1][5 + i] == pytest.approx(weighted(Y, p, W), rel=1e-5)


def test_r2_beside_a_large_mean(engine: str) -> None:
    """Any batches, weights of zero before the first row that counts included."""
    g = np.random.default_rng(0)
    y = 1e7 + g.integers(0, 3, 1000)
    p = (y + 0.5 * g.normal(size=1000)).astype(np.float32)
    w = np.where(g.uniform(size=1000) < 0.3, 0.0, g.uniform(0.5, 2, 1000))
    w[:40] = 0.0
    plain, weighted = (
        1 - (v * (y - p) ** 2).sum() / (v * (y - np.average(y, weights=v)) ** 2).sum()
        for v in (np.ones(1000), w)
    )
    model = Sequential([Input((1,)), Activation("linear")])
    model.compile("sgd", "mse", metrics=["r2"], weighted_metrics=["r2"], engine=engine)
    for size in (1, 7, 1000):
        _, first, second = model.evaluate(
            p, y, batch_size=size, sample_weight=w, verbose=0
        )
        assert first == pytest.approx(plain, abs=1e-7)
        assert second == pytest.approx(weighted, abs=1e-6)
    metric = metrics.R2Score()
    for i in range(0, 1000, 13):
        metric.update_state(y[i : i + 13], p[i : i + 13], w[i : i + 13])
    assert metric.result() == pytest.approx(weighted, abs=1e-8)


def test_r2_of_a_constant_is_zero(engine: str) -> None:
    model = Sequential([Input((1,)), Activation("linear")])
    model.compile("sgd", "mse", metrics=["r2"], engine=engine)
    y, p = np.full(1000, 0.1), np.full(1000, 1.1)
    assert model.evaluate(p, y, batch_size=7, verbose=0)[1] == 0.0
    w = np.random.default_rng(0).uniform(0.5, 2, 1000)
    metric = metrics.R2Score()
    for i in range(0, 1000, 13):
        metric.update_state(y[i : i + 13], p[i : i + 13], w[i : i + 13])
    assert metric.result() == 0.0
