"""Weighed bags: when there is one, what it is made of, and odd tables."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import Classifier, Regressor
from kurve.estimators import bags, defaults

RNG = np.random.default_rng(8)
X = RNG.normal(size=(90, 5))
Y = np.where(X[:, 0] > 0.2, 1.0, -1.0) + 0.3 * X[:, 1]
SHORT: dict[str, Any] = {"max_epochs": 2, "random_state": 0}


def encoded(model: Any) -> list[bool]:
    return [
        type(m.layers[0]) is kurve.layers.PiecewiseLinear for m in model.fitted_.members
    ]


def test_default_is_a_bag() -> None:
    model = Regressor(**SHORT).fit(X, Y)
    weights = model.fitted_.head.weights
    assert weights is not None and len(weights) == len(model.models_)
    assert len(weights) in (4, 8, 12) and weights.sum() == pytest.approx(1.0)
    steps = weights * defaults.GREEDY_STEPS * 4
    np.testing.assert_allclose(steps, steps.round(), atol=1e-9)
    assert model.fitted_.head.conformal is not None


@pytest.mark.parametrize(
    ("given", "networks"),
    [
        ({"effort": "fast"}, 1),
        ({"members": 2}, 2),
        ({"members": 1}, 1),
        ({"hidden_layer_sizes": (8,)}, 1),
        ({"solver": "adam"}, 1),
        ({"activation": "tanh"}, 1),
        ({"dropout": 0.1}, 1),
        ({"alpha": 0.1}, 1),
        ({"warm_start": True}, 1),
        ({"likelihood": "gaussian"}, 1),
        ({"interval": "conformal"}, 1),
    ],
)
def test_what_is_chosen_is_no_bag(given: dict[str, Any], networks: int) -> None:
    model = Regressor(**{**SHORT, **given}).fit(X, Y)
    assert len(model.models_) == networks and model.fitted_.head.weights is None


def test_size_depends_on_rows_and_effort() -> None:
    def size(rows: int, **given: Any) -> Any:
        model = Regressor(**given)
        setup: Any = type("Setup", (), {})()
        setup.hyperparameters = defaults.choose(rows, 9, 1)
        return bags.size_of(model, setup, rows)

    assert size(39) is None
    assert size(40) == bags.Size(4, 4)
    assert size(4000) == bags.Size(8, 4)
    assert size(4000, effort="best") == bags.Size(8, 8)
    assert size(4000, effort="fast") is None
    assert size(10**6) == bags.Size(10, 2)
    with pytest.raises(ValueError, match="unknown effort"):
        Regressor(effort="high").fit(X, Y)


def test_small_tables_of_few_columns_keep_levenberg_marquardt() -> None:
    model = Regressor(random_state=0).fit(X[:, :2], X[:, 0])
    assert len(model.models_) == 1


def test_greedy_selection() -> None:
    """The best mixture of two predictions whose errors cancel each other."""
    truth = RNG.normal(size=200)
    noise = RNG.normal(size=200)
    points = [truth + noise, truth - 3.0 * noise, truth + 50.0]
    shares = bags.greedy(points, lambda p: float(((p - truth) ** 2).mean()))
    np.testing.assert_allclose(shares, [0.75, 0.25, 0.0])
    alone = bags.greedy([truth, truth + 1.0], lambda p: float(abs(p - truth).mean()))
    np.testing.assert_array_equal(alone, [1.0, 0.0])


def test_steps_are_found_by_encoded_networks() -> None:
    """And smooth products of columns by plain ones."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(600, 5))
    stairs = np.floor(3.0 * x[:, 0]) % 2 + (x[:, 1] > 1.0)
    smooth = x[:, 0] * x[:, 1] + x[:, 2] * x[:, 3]
    shares = []
    for y in (stairs, smooth):
        model = Regressor(max_epochs=30, random_state=0).fit(x, y)
        head = model.fitted_.head
        shares.append(float(head.weights[np.array(encoded(model))].sum()))
    assert shares[0] > 0.5 > shares[1]


def test_same_bits_whatever_the_threads_and_where_it_is_trained() -> None:
    predictions = []
    for threads in (1, 2):
        before = kurve.get_threads()
        kurve.set_threads(threads)
        try:
            predictions.append(Regressor(**SHORT).fit(X, Y).predict(X))
        finally:
            kurve.set_threads(before)
    with ThreadPoolExecutor(2) as executor:
        model = Regressor(**SHORT).fit(X, Y, executor=executor)
        predictions.append(model.predict(X))
    order = RNG.permutation(len(X))
    predictions.append(Regressor(**SHORT).fit(X[order], Y[order]).predict(X))
    for other in predictions[1:]:
        np.testing.assert_array_equal(predictions[0], other)
    third = Regressor(**{**SHORT, "random_state": 1}).fit(X, Y)
    assert (third.predict(X) != predictions[0]).any()


def test_interrupted_fit_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Regressor(**SHORT).fit(X, Y)
    before, record = model.predict(X), model.fitted_

    class Stop(kurve.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr(
        "kurve.estimators.training.TrainingSetup.callbacks",
        lambda self, stops, executor: [Stop()],
    )
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, -Y)
    assert model.fitted_ is record
    np.testing.assert_array_equal(model.predict(X), before)


@pytest.mark.parametrize("kind", ["flat", "two", "constant", "huge"])
def test_targets(kind: str) -> None:
    y = {
        "flat": Y,
        "two": np.stack([Y, 100.0 - Y], axis=1),
        "constant": np.full(90, 3.0),
        "huge": Y * 1e300,
    }[kind]
    model = Regressor(**SHORT).fit(X, y)
    mean, std = model.predict(X, return_std=True)
    assert mean.shape == y.shape and np.isfinite(mean).all()
    assert np.isfinite(std).all() and model.predict_interval(X).shape == (*y.shape, 2)


def test_odd_columns() -> None:
    table = np.empty((90, 4), object)
    table[:, 0], table[:, 1] = 7.0, X[:, 0] > 0.0
    table[:, 2], table[:, 3] = X[:, 1], np.where(X[:, 2] > 0.0, "a", "b")
    model = Regressor(missing="impute", **SHORT).fit(table, Y)
    assert np.isfinite(model.predict(table)).all()
    texts = table[:, 3:]
    model = Classifier(**SHORT).fit(np.hstack([texts] * 5), X[:, 0] > 0.0)
    assert not any(encoded(model))


def test_rare_classes(tmp_path: Path) -> None:
    """One row of a class is always trained on; two are in different folds."""
    labels = np.where(X[:, 0] > 0.0, "often", "also")
    labels[0], labels[1], labels[2] = "once", "twice", "twice"
    model = Classifier(**SHORT).fit(X, labels)
    probabilities = model.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    assert set(model.classes_) == {"often", "also", "once", "twice"}
    model.save(tmp_path / "m.kurve")
    again = kurve.estimators.load(tmp_path / "m.kurve")
    assert isinstance(again, Classifier)
    np.testing.assert_array_equal(again.predict_proba(X), probabilities)


def test_validation_data_take_the_place_of_folds() -> None:
    model = Regressor(**SHORT).fit(X[:60], Y[:60], validation_data=(X[60:], Y[60:]))
    conformal = model.fitted_.head.conformal
    assert conformal is not None and len(conformal.scores) == 30
    model = Regressor(**SHORT, early_stopping=False).fit(X, Y)
    assert "val_loss" not in model.history_ and model.fitted_.head.conformal is not None


def test_weights_are_repetitions() -> None:
    counts = np.random.default_rng(0).integers(0, 3, len(X))
    weighted = Regressor(**SHORT).fit(X, Y, sample_weight=counts)
    repeated = Regressor(**SHORT).fit(np.repeat(X, counts, 0), np.repeat(Y, counts))
    np.testing.assert_array_equal(weighted.predict(X), repeated.predict(X))


def test_files_pickles_and_more_rows(tmp_path: Path) -> None:
    model = Regressor(effort="best", **SHORT).fit(X, Y)
    model.save(tmp_path / "m.kurve")
    again = kurve.estimators.load(tmp_path / "m.kurve")
    assert repr(again) == repr(model)
    for twin in (again, pickle.loads(pickle.dumps(model))):
        assert isinstance(twin, Regressor)
        np.testing.assert_array_equal(
            twin.predict_interval(X), model.predict_interval(X)
        )
    weights = model.fitted_.head.weights
    model.partial_fit(X, Y)
    np.testing.assert_array_equal(model.fitted_.head.weights, weights)
    assert len(model.models_) == len(weights)
    model.save(tmp_path / "n.kurve")
    kurve.estimators.load(tmp_path / "n.kurve").partial_fit(X, Y)


def test_deviations_grow_where_few_rows_stop_the_networks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = Regressor(**SHORT).fit(X, Y)
    held = len(model.fitted_.head.conformal.scores)
    factor = 1.0 + defaults.STOPPING_ROWS / held
    monkeypatch.setattr(defaults, "STOPPING_ROWS", 0)
    without = Regressor(**SHORT).fit(X, Y)
    np.testing.assert_array_equal(model.predict(X), without.predict(X))
    np.testing.assert_allclose(
        model.fitted_.head.std_scale, without.fitted_.head.std_scale * factor
    )
    np.testing.assert_allclose(
        np.diff(model.predict_interval(X)),
        np.diff(without.predict_interval(X)) * factor,
        rtol=1e-6,
    )
