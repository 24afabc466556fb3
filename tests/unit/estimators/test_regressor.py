"""Regressor: what it learns, from what, and what it refuses."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import Regressor, layers
from kurve.estimators import NotFittedError, defaults
from kurve.estimators.scaling import Moments, Scaler, merge_equal_rows

RNG = np.random.default_rng(3)
X = RNG.normal(size=(200, 3))
Y = np.tanh(X[:, 0]) + 0.5 * X[:, 1]
FAST: dict[str, Any] = {
    "hidden_layer_sizes": (16,),
    "solver": "adam",
    "max_epochs": 80,
    "random_state": 0,
    "likelihood": "none",
}


def fast(**given: Any) -> Regressor:
    return Regressor(**{**FAST, **given})


def test_learns_and_scores(engine: str) -> None:
    model = fast(max_epochs=200).fit(X[:150], Y[:150])
    assert model.score(X[150:], Y[150:]) > 0.9
    assert model.predict(X).shape == (200,) and model.predict(X).dtype == np.float64
    assert model.n_features_in_ == 3 and model.n_outputs_ == 1
    assert len(model.history_["loss"]) == len(model.history_["val_loss"])
    assert 1 <= model.n_iter_ <= 200


@pytest.mark.parametrize("curve", [True, False], ids=["(n,)", "(n, 1)"])
def test_the_sine(curve: bool, native: str) -> None:
    """With Levenberg-Marquardt."""
    kurve.set_engine(native)
    x = np.arange(0, 20, 0.1)
    model = Regressor(random_state=1).fit(x if curve else x[:, None], np.sin(x))
    between = np.linspace(0, 20, 777)
    error = model.predict(between if curve else between[:, None]) - np.sin(between)
    assert np.mean(error**2) < 1e-4


def test_one_dimensional_x_needs_real_targets() -> None:
    with pytest.raises(ValueError, match=r"Reshape your data: try X.reshape\(-1, 1\)"):
        fast().fit(X[:, 0], np.arange(200))


def test_outputs_keep_their_shape() -> None:
    both = np.stack([Y, -3 * Y + 100], axis=1)
    model = fast(members=2).fit(X, both)
    mean, deviation = model.predict(X, return_std=True)
    assert mean.shape == deviation.shape == (200, 2) and (deviation > 0).all()
    assert model.predict_interval(X).shape == (200, 2, 2)
    assert model.score(X, both) > 0.9
    assert fast().fit(X, both[:, :1]).predict(X).shape == (200, 1)


def test_gaussian_mixture_has_moments_of_the_mixture() -> None:
    model = fast(members=3, likelihood="gaussian").fit(X, Y)
    mean, deviation = model.predict(X, return_std=True)
    scaler = model.fitted_.head.outputs
    means, variances = [], []
    for member in model.models_:
        out = member.predict(model.fitted_.inputs.forward(X), verbose=0).astype(float)
        means.append(scaler.backward(out[:, :1])[:, 0])
        spread = np.log1p(np.exp(out[:, 1])) + 1e-6
        variances.append(spread * scaler.deviation[0] ** 2)
    deviation = (
        deviation / model.fitted_.head.std_scale[0]
    )  # corrected by held-out errors
    np.testing.assert_allclose(mean, np.mean(means, axis=0), rtol=1e-12)
    second = np.mean(np.array(variances) + np.array(means) ** 2, axis=0)
    np.testing.assert_allclose(deviation**2, second - mean**2, rtol=1e-6)


def test_weights_are_repetitions_and_order_does_not_matter() -> None:
    counts = RNG.integers(0, 4, 200)
    order = RNG.permutation(200)
    weighted = fast().fit(X[order], Y[order], sample_weight=counts[order])
    repeated = fast().fit(np.repeat(X, counts, axis=0), np.repeat(Y, counts))
    np.testing.assert_array_equal(weighted.predict(X), repeated.predict(X))


def test_weights_matter() -> None:
    twice = np.concatenate([X, X]), np.concatenate([Y, Y + 1.0])
    weights = np.concatenate([np.full(200, 9.0), np.ones(200)])
    model = fast(likelihood="none").fit(*twice, sample_weight=weights)
    assert abs(np.mean(model.predict(X) - Y) - 0.1) < 0.05


@pytest.mark.parametrize(
    ("shift", "size"), [(1e9, 1e-3), (-1e15, 10.0), (0.0, 1e200), (0.0, 1e-200)]
)
def test_any_offset_and_any_size(shift: float, size: float) -> None:
    """float32 could not hold these; the scales are taken off in float64."""
    odd = X * size + shift
    odd[:, 2] = shift  # constant
    model = fast(max_epochs=150).fit(odd, Y * size + shift)
    error = (model.predict(odd) - (Y * size + shift)) / size
    assert np.sqrt(np.mean(error**2)) < 0.25


@pytest.mark.parametrize("interval", ["auto", "conformal", "cv+", "quantile"])
@pytest.mark.parametrize("batches", [False, True])
def test_targets_as_large_as_float64(
    interval: str, batches: bool, tmp_path: Any
) -> None:
    """Differences of such numbers overflow; what is learnt of them must not."""
    if batches and interval == "cv+":
        pytest.skip("cv+ needs all rows at once")
    x = np.linspace(-1.0, 1.0, 120)[:, None]
    y = np.where(np.arange(120) < 12, -1.79e308, 1.79e308)
    model = Regressor(
        (8,), solver="adam", max_epochs=5, interval=interval, random_state=0
    )
    if batches:
        model.fit([(x[:60], y[:60]), (x[60:], y[60:])])
    else:
        model.fit(x, y)
    assert np.isfinite(model.predict(x)).all()
    assert np.isfinite(model.score(x, y))
    assert not np.isnan(model.predict_interval(x, coverage=0.8)).any()
    model.save(tmp_path / "m.kurve")
    np.testing.assert_array_equal(
        kurve.estimators.load(tmp_path / "m.kurve").predict(x), model.predict(x)
    )


def test_a_scaler_at_the_ends_of_float64() -> None:
    x = np.where(np.arange(10) < 1, -1.79e308, 1.79e308)[:, None]
    moments = Moments()
    for rows in (slice(0, 1), slice(1, 10)):
        moments.add(x[rows], None)
    for scaler in (Scaler.learn(x), moments.scaler(True)):
        np.testing.assert_allclose(scaler.mean, 0.8 * 1.79e308, rtol=1e-12)
        z = scaler.forward(x)
        np.testing.assert_allclose(z[:2, 0], [-3.0, 1 / 3], rtol=1e-6)
        np.testing.assert_allclose(scaler.backward(z), x, rtol=1e-6)
        largest = np.finfo(np.float64).max
        ends = scaler.backward(np.array([[9.0], [-9.0]]))
        np.testing.assert_array_equal(ends, [[largest], [-largest]])


def test_constant_targets_are_learnt() -> None:
    model = fast(max_epochs=10).fit(X, np.full(200, 7.5))
    assert abs(model.predict(X) - 7.5).max() < 0.5


def test_scale_false_leaves_numbers_alone() -> None:
    model = fast(scale=False).fit(X, Y)
    np.testing.assert_array_equal(model.fitted_.inputs.forward(X), X.astype(np.float32))


def test_scaler_by_batches_is_the_scaler_of_all() -> None:
    data = RNG.normal(1e6, 3.0, size=(100, 2))
    weights = RNG.uniform(0.5, 2.0, 100)
    moments = Moments()
    for rows in (slice(0, 10), slice(10, 70), slice(70, 100)):
        moments.add(data[rows], weights[rows])
    whole, parts = Scaler.learn(data, weights), moments.scaler(True)
    np.testing.assert_allclose(parts.mean, whole.mean, rtol=1e-12)
    np.testing.assert_allclose(parts.deviation, whole.deviation, rtol=1e-6)


def test_equal_rows_are_merged() -> None:
    values = np.array([[1.0, 2.0], [0.0, 5.0], [1.0, 2.0], [-0.0, 5.0], [3.0, 3.0]])
    rows, weights = merge_equal_rows(values, np.array([1.0, 1.0, 2.0, 4.0, 0.0]))
    assert weights is not None
    found = {tuple(values[r] + 0.0): w for r, w in zip(rows, weights, strict=True)}
    assert found == {(1.0, 2.0): 3.0, (0.0, 5.0): 5.0}
    rows, weights = merge_equal_rows(values[:2], None)
    assert sorted(rows) == [0, 1] and weights is None


@pytest.mark.parametrize("kind", ["int", "RandomState", "Generator", "None"])
def test_random_states(kind: str) -> None:
    def state() -> Any:
        if kind == "None":
            kurve.utils.set_random_seed(5)
            return None
        makers = {
            "int": int,
            "RandomState": np.random.RandomState,
            "Generator": np.random.default_rng,
        }
        return makers[kind](5)

    fits = [fast(random_state=state(), max_epochs=2).fit(X, Y) for _ in range(2)]
    np.testing.assert_array_equal(fits[0].predict(X), fits[1].predict(X))
    other = fast(random_state=6, max_epochs=2).fit(X, Y)
    assert (other.predict(X) != fits[0].predict(X)).any()


def test_early_stopping_restores_the_best_weights() -> None:
    x, y = X[:60], RNG.normal(size=60)  # nothing to learn
    held = X[60:], RNG.normal(size=140)
    model = fast(max_epochs=300, patience=5, learning_rate=0.02)
    model.fit(x, y, validation_data=held)
    history = model.history_["val_loss"]
    assert len(history) < 300
    best = int(np.argmin(history))
    assert best < len(history) - 1
    again = fast(max_epochs=best + 1, early_stopping=False, learning_rate=0.02)
    np.testing.assert_array_equal(again.fit(x, y).predict(X), model.predict(X))


def test_without_early_stopping_all_epochs_run() -> None:
    model = fast(early_stopping=False, max_epochs=7).fit(X, Y)
    assert model.n_iter_ == 7 and "val_loss" not in model.history_


def test_warm_start_goes_on() -> None:
    model = fast(warm_start=True, max_epochs=3, early_stopping=False).fit(X, Y)
    first, scales = model.score(X, Y), model.fitted_.inputs
    for _ in range(6):
        model.fit(X, Y)
    assert model.score(X, Y) > first and model.fitted_.inputs is scales
    with pytest.raises(ValueError, match="members"):
        model.set_params(members=2).fit(X, Y)
    assert len(model.models_) == 1


def test_partial_fit_goes_on() -> None:
    model = fast(learning_rate=0.01)
    for _ in range(20):
        for rows in (slice(0, 100), slice(100, 200)):
            model.partial_fit(X[rows], Y[rows])
    assert model.score(X, Y) > 0.8 and model.n_iter_ == 40
    assert model.models_[0].iterations > 40
    with pytest.raises(ValueError, match="is expecting 3 features"):
        model.partial_fit(X[:, :2], Y)


def test_members_train_side_by_side_with_bits_of_their_own() -> None:
    alone = fast(max_epochs=3, early_stopping=False).fit(X, Y)
    committee = fast(max_epochs=3, early_stopping=False, members=3).fit(X, Y)
    first = committee.models_[0].get_weights()
    for a, b in zip(first, alone.models_[0].get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (committee.models_[1].get_weights()[0] != first[0]).any()


def test_a_model_as_template_is_never_changed() -> None:
    hidden = kurve.Sequential(
        [layers.Dense(6, "relu", input_shape=(3,)), layers.Dropout(0.1)]
    )
    before = hidden.get_weights()
    model = fast(hidden_layer_sizes=hidden, max_epochs=3).fit(X, Y)
    names = [type(layer).__name__ for layer in model.models_[0].layers]
    assert names == ["Dense", "Dropout", "Dense"]
    for a, b in zip(before, hidden.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)

    other = kurve.Sequential([layers.Dense(6, input_shape=(5,))])
    with pytest.raises(ValueError, match="which has 3 columns when encoded"):
        fast(hidden_layer_sizes=other).fit(X, Y)


@pytest.mark.parametrize(
    ("given", "solver"),
    [
        ({}, "lm"),
        ({"hidden": (8,)}, "lm"),
        ({"hidden": (64, 64)}, None),
        ({"full_batch": False}, None),
        ({"rows": 5000}, None),
        ({"features": 12}, None),
        ({"classify": True}, None),
        ({"likelihood": "gaussian"}, None),
        ({"interval": "quantile"}, None),
        ({"solver": "lbfgs"}, "lbfgs"),
    ],
)
def test_auto_takes_the_solver_that_fits(
    given: dict[str, Any], solver: str | None
) -> None:
    size = {"rows": 200, "features": 2, "targets": 1}
    assert defaults.choose(**{**size, **given}).solver == solver


def test_fourier_features_learn_the_period_and_extrapolate() -> None:
    """The template is adapted in scaled units, on a copy."""
    x, far = np.arange(0, 20, 0.1), np.arange(20, 40, 0.1)
    for hidden in ([], [kurve.layers.Dense(8, "tanh")]):
        features = kurve.layers.FourierFeatures(4)
        template = kurve.Sequential([features, *hidden])
        model = Regressor(template, random_state=0).fit(x, np.sin(x))
        assert np.mean((model.predict(far) - np.sin(far)) ** 2) < 1e-4
        assert not features.built and features.given is None


def test_fourier_features_keep_random_frequencies_where_nothing_repeats() -> None:
    template = kurve.Sequential([kurve.layers.FourierFeatures(8)])
    model = Regressor(template, random_state=0, max_epochs=2).fit(X, X[:, 0])
    assert model.models_[0].layers[0].frequencies.all()


def test_normalization_of_a_template_is_adapted() -> None:
    template = kurve.Sequential([kurve.layers.Normalization(), kurve.layers.Dense(4)])
    model = Regressor(template, scale=False, max_epochs=1).fit(X + 5.0, Y)
    mean = model.models_[0].layers[0].mean.numpy()
    np.testing.assert_allclose(mean, 5.0, atol=0.5)
    assert not template.layers[0].built


def test_layers_follow_the_parameters() -> None:
    model = fast(
        hidden_layer_sizes=(5, 4),
        activation="tanh",
        dropout=0.2,
        alpha=0.01,
        max_epochs=2,
        solver="sgd",
        learning_rate=0.1,
    ).fit(X, Y)
    made = model.models_[0].layers
    assert [type(layer).__name__ for layer in made[:4]] == ["Dense", "Dropout"] * 2
    assert made[0].activation.name == "tanh"
    assert made[0].kernel_regularizer.l2 == 0.01
    assert type(model.models_[0].optimizer) is kurve.optimizers.SGD
    assert model.models_[0].optimizer.learning_rate == 0.1


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"hidden_layer_sizes": (0,)}, "hidden_layer_sizes must be a tuple of widths"),
        ({"solver": "adm"}, "unknown solver"),
        ({"likelihood": "normal"}, "unknown likelihood"),
        ({"interval": "jackknife"}, "unknown interval"),
        ({"missing": "drop"}, "unknown missing"),
        ({"members": 0}, "members must be at least 1"),
        ({"validation_fraction": 1.0}, r"validation_fraction must be in \(0"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\)"),
        ({"alpha": -1.0}, "alpha must be finite and at least 0"),
        ({"random_state": -1}, "random_state must be None, an integer"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"interval": "quantile"}, "needs likelihood='quantile'"),
        ({"solver": "lm", "likelihood": "gaussian"}, "only minimises squared errors"),
    ],
)
def test_parameters_are_checked_by_fit(given: dict[str, Any], text: str) -> None:
    model = fast(**given)  # the constructor takes anything
    with pytest.raises(ValueError, match=text):
        model.fit(X, Y)
    assert not hasattr(model, "models_")


@pytest.mark.parametrize(
    ("x", "y", "text"),
    [
        (X, Y[:-1], "must have the same number of rows"),
        (X, None, "requires y to be passed"),
        (X[:0], Y, r"0 sample\(s\)"),
        (X[:, :0], Y, r"0 feature\(s\)"),
        (np.where(X > 2, np.inf, X), Y, r"X must be finite. Received: X\[\d+, \d\]"),
        (X, np.where(Y > 1, np.nan, Y), r"Input y contains NaN. Received: y\[\d+\]"),
        (X, ["a"] * 200, "Try kurve.Classifier"),
        ([[1.0, 2.0], [3.0]], [1.0, 2.0], "X must be rectangular"),
        (X.astype(complex), Y, "Complex data not supported"),
    ],
)
def test_bad_data_is_refused(x: Any, y: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        fast().fit(x, y)


def test_a_failed_fit_keeps_what_there_was() -> None:
    model = fast(max_epochs=2).fit(X, Y)
    before = model.predict(X)
    with pytest.raises(ValueError, match="finite"):
        model.fit(X, np.full(200, np.nan))
    with pytest.raises(FloatingPointError, match="not finite"):
        model.set_params(solver="sgd", learning_rate=1e30).fit(X, Y)
    np.testing.assert_array_equal(model.predict(X), before)


def test_unfitted_is_said() -> None:
    for call in (Regressor().predict, Regressor().extrapolates):
        with pytest.raises(NotFittedError, match=r"is not fitted yet. Try fit"):
            call(X)


def test_set_params_and_repr() -> None:
    model = Regressor().set_params(members=3, hidden_layer_sizes=(5,))
    assert repr(model) == "Regressor(hidden_layer_sizes=(5,), members=3)"
    with pytest.raises(ValueError, match="Did you mean 'members'"):
        model.set_params(member=4)


def test_pickle_and_deepcopy_keep_bits(engine: str) -> None:
    model = fast(members=2, max_epochs=3).fit(X, Y)
    for again in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        np.testing.assert_array_equal(again.predict(X), model.predict(X))
        again.partial_fit(X, Y)
        model_again = copy.deepcopy(model).partial_fit(X, Y)
        assert again.models_[0].iterations == model_again.models_[0].iterations


@pytest.mark.parametrize("fitted", [False, True])
def test_models_are_pickled_as_they_are(fitted: bool, engine: str) -> None:
    norm = layers.Normalization()
    norm.adapt(X)
    net = kurve.Sequential([norm, layers.Dense(4, "tanh"), layers.Dense(1)])
    net.compile("adam", "mse", metrics=["mae"], engine=engine)
    if fitted:
        net.fit(X, Y, epochs=2, verbose=0)
    again = pickle.loads(pickle.dumps(net))
    assert again.built == net.built and again.iterations == net.iterations
    assert again.metrics_names == net.metrics_names
    assert again._network.chosen_engine() is net._network.chosen_engine()
    np.testing.assert_array_equal(again.layers[0].mean.value, norm.mean.value)
    if fitted:
        assert again.history.history == net.history.history
    a = net.fit(X, Y, epochs=2, verbose=0).history
    b = again.fit(X, Y, epochs=2, verbose=0).history
    if fitted:
        assert a == b
    else:
        assert a.keys() == b.keys()


def test_auto_counts_the_targets() -> None:
    """Levenberg-Marquardt is for small networks, and outputs make one large."""
    x = RNG.uniform(size=(60, 2))
    y = np.exp(-x[:, :1] * np.linspace(0, 5, 400))
    model = Regressor(max_epochs=2).fit(x, y)
    assert model.predict(x).shape == (60, 400)
    assert model.models_[0].layers[-2].units == 64


@pytest.mark.parametrize(
    ("parameter", "value", "text"),
    [
        ("members", 2**31, "members must be at most 10000"),
        ("batch_size", 10**23, "batch_size must be below 2**63. Received: an integer"),
        ("max_epochs", 10**400, "max_epochs must be below 2**63"),
        ("alpha", 10**400, "alpha must be finite"),
        ("random_state", 2**70, "at least 0 and below 2**64"),
        ("hidden_layer_sizes", (2**63,), "must be a tuple of widths"),
        ("missing", [], "unknown missing. Received: []"),
        ("likelihood", {}, "unknown likelihood. Received: {}"),
        ("activation", {"a": 1}, "an activation must be a name, an object of"),
        ("activation", np.arange(2), "an activation must be a name, an object of"),
        ("early_stopping", "yes", "early_stopping must be True or False"),
        ("scale", None, "scale must be True or False"),
        ("warm_start", 1, "warm_start must be True or False"),
        ("verbose", "loud", 'verbose must be "auto", 0, 1 or 2'),
        ("engine", 5, "engine must be a name"),
    ],
)
def test_odd_parameters_are_refused(parameter: str, value: Any, text: str) -> None:
    model = Regressor(**{parameter: value})
    with pytest.raises((TypeError, ValueError)) as error:
        model.fit(X, Y)
    assert text in str(error.value) and not hasattr(model, "models_")


def test_some_rows_stay_for_training() -> None:
    model = Regressor((4,), solver="adam", max_epochs=1, validation_fraction=0.999)
    assert np.isfinite(model.fit(X[:40], Y[:40]).predict(X)).all()


def test_targets_of_every_kind_go_by_one_rule() -> None:
    days = np.arange(len(Y)).astype("M8[D]")
    days[3] = "NaT"
    masked = np.ma.masked_array(Y.copy(), mask=np.arange(len(Y)) == 5)
    for y, text in (
        (days, r"y\[0\] = 1970-01-01 of type datetime64\[D\] \(1 missing: y\[3\]"),
        (days - days[0], r"Try y / np.timedelta64"),
        (masked, r"y must not have missing values. Received: y\[5\] = masked"),
        (Y.astype(str), "must hold real numbers.*Try kurve.Classifier"),
    ):
        with pytest.raises((TypeError, ValueError), match=text):
            Regressor(max_epochs=1).fit(X, y)
    with pytest.raises(ValueError, match=r"sample_weight\[?.*masked|masked"):
        Regressor(max_epochs=1).fit(X, Y, sample_weight=masked)
    with pytest.raises(ValueError, match="X must not have missing values"):
        Regressor(max_epochs=1, missing="error").fit(np.ma.masked_greater(X, 2.0), Y)
    filled = Regressor(max_epochs=1, missing="impute", random_state=0)
    filled.fit(np.ma.masked_greater(X, 2.0), Y)
    again = Regressor(max_epochs=1, missing="impute", random_state=0)
    again.fit(np.where(X > 2.0, np.nan, X), Y)
    np.testing.assert_array_equal(filled.predict(X), again.predict(X))


@pytest.mark.parametrize(
    "changed",
    [
        {"hidden_layer_sizes": (5,)},
        {"hidden_layer_sizes": (4, 4)},
        {"activation": "relu"},
        {"dropout": 0.5},
        {"alpha": 0.1},
    ],
    ids=str,
)
def test_another_network_is_no_warm_start(changed: dict[str, Any]) -> None:
    options: Any = {"max_epochs": 1, "solver": "adam", "random_state": 0}
    model = Regressor((4,), warm_start=True, **options).fit(X, Y)
    before = model.predict(X)
    model.set_params(**changed)
    with pytest.raises(
        ValueError, match=r"must not change. Received: .* weights, after one"
    ):
        model.fit(X, Y)
    with pytest.raises(ValueError, match="must not change"):
        model.partial_fit(X, Y)
    np.testing.assert_array_equal(model.predict(X), before)
    model.set_params(warm_start=False).fit(X, Y)
    model.set_params(hidden_layer_sizes="auto", warm_start=True).fit(X, Y)


def test_warm_start_of_what_auto_chose() -> None:
    model = Regressor(warm_start=True, max_epochs=2, random_state=0).fit(X[:50], Y[:50])
    model.fit(X, Y)  # more rows, for which "auto" may choose another network
    layer = kurve.layers.FourierFeatures(3)
    net = kurve.Sequential([layer, kurve.layers.Dense(4, "tanh")])
    model = Regressor(net, warm_start=True, max_epochs=2, random_state=0).fit(X, Y)
    model.fit(X, Y)
