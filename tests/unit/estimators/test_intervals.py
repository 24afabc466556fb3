"""Intervals hold what they promise, on laws of several kinds and on real data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import Regressor
from kurve.estimators import bags, intervals
from kurve.estimators.calibration import averaging, measured_std_scale
from kurve.estimators.fitted import RegressionHead
from kurve.estimators.fitting import Sample
from kurve.estimators.intervals import Conformal, CrossValidation
from kurve.estimators.scaling import Scaler

KINDS = ["auto", "gaussian", "quantile", "conformal", "cv+"]
UCI = Path(__file__).parents[4] / "shared" / "data" / "uci"


def law(name: str, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of a law: equal noise, noise that grows, or skewed noise."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, size=(n, 2))
    base = np.sin(3 * x[:, 0]) + x[:, 1]
    noise = rng.normal(size=n)
    if name == "heteroscedastic":
        noise *= 0.1 + np.abs(x[:, 0])
    elif name == "skewed":
        noise = rng.gamma(1.0, size=n) * (0.5 + 0.5 * x[:, 1])
    return x, base + 0.3 * noise


def coverage(model: Regressor, x: np.ndarray, y: np.ndarray, wanted: float) -> float:
    low, high = np.moveaxis(model.predict_interval(x, wanted), -1, 0)
    return float(np.mean((low <= y) & (y <= high)))


@pytest.mark.parametrize("name", ["equal", "heteroscedastic", "skewed"])
@pytest.mark.parametrize(
    "interval", ["auto", "gaussian", "quantile", "conformal", "cv+"]
)
def test_coverage(name: str, interval: str, native: str) -> None:
    """Of 4,000 new rows; the mean over two training sets."""
    kurve.set_engine(native)
    found = []
    for seed in range(2):
        x, y = law(name, 800, seed)
        model = Regressor((32,), solver="adam", interval=interval, random_state=seed)
        found.append(coverage(model.fit(x, y), *law(name, 4000, 99), 0.9))
    # "auto" has but 80 rows to learn from, and those chose when to stop.
    exact = interval in ("conformal", "cv+")
    low, high = (0.86, 0.94) if exact else (0.83, 0.96)
    assert low < np.mean(found) < high


def test_intervals_follow_the_noise(native: str) -> None:
    kurve.set_engine(native)
    x, y = law("heteroscedastic", 1000, 0)
    model = Regressor((32,), solver="adam", random_state=0).fit(x, y)
    _, deviation = model.predict(np.array([[0.0, 0.0], [0.9, 0.0]]), return_std=True)
    assert abs(deviation[1] - 0.3) < 0.15 and deviation[1] > 2.0 * deviation[0]
    wide = model.predict_interval([[0.9, 0.0]], 0.9) - model.predict([[0.9, 0.0]])
    wider = model.predict_interval([[0.9, 0.0]], 0.95) - model.predict([[0.9, 0.0]])
    assert wider[0, 0] < wide[0, 0] < 0 < wide[0, 1] < wider[0, 1]


@pytest.mark.skipif(not UCI.exists(), reason=f"{UCI} is not there")
@pytest.mark.parametrize("name", ["concrete", "energy", "yacht"])
def test_coverage_on_uci(name: str, native: str) -> None:
    """The first splits of the usual protocol, with the default settings."""
    kurve.set_engine(native)
    table = np.loadtxt(UCI / name / "data.txt")
    features = np.loadtxt(UCI / name / "index_features.txt").astype(int)
    target = int(np.loadtxt(UCI / name / "index_target.txt"))
    state, n, inside = np.random.RandomState(1), len(table), []
    for _ in range(3):
        order = state.choice(range(n), n, replace=False)
        train, test = order[: round(0.9 * n)], order[round(0.9 * n) :]
        model = Regressor(solver="adam", random_state=0)
        model.fit(table[np.ix_(train, features)], table[train, target])
        x, y = table[np.ix_(test, features)], table[test, target]
        inside.append(coverage(model, x, y, 0.9))
    assert 0.8 <= np.mean(inside) <= 0.98


def test_conformal_takes_the_finite_sample_quantile() -> None:
    y = np.arange(1.0, 20.0)[:, None]  # 19 scores 1..19
    held = Conformal.learn(y, np.zeros((19, 1)), np.ones((19, 1)), None)
    middle, one = np.zeros((1, 1)), np.ones((1, 1))
    np.testing.assert_array_equal(held.interval(middle, one, 0.9), [[[-18.0, 18.0]]])
    np.testing.assert_array_equal(held.interval(middle, one, 0.95), [[[-19.0, 19.0]]])
    np.testing.assert_array_equal(
        held.interval(middle, 2 * one, 0.5), [[[-20.0, 20.0]]]
    )
    text = r"needs at least 24 held-out rows.*Received: 19 held-out.*allow.*0.95"
    with pytest.raises(ValueError, match=text):
        held.interval(middle, one, 0.96)


def test_conformal_counts_weights() -> None:
    y = np.array([[1.0], [2.0], [3.0], [4.0]])
    weights = np.array([1.0, 1.0, 1.0, 5.0])
    held = Conformal.learn(y, np.zeros((4, 1)), np.ones((4, 1)), weights)
    assert held.interval(np.zeros((1, 1)), np.ones((1, 1)), 0.4)[0, 0, 1] == 4.0
    held = Conformal.learn(y, np.zeros((4, 1)), np.ones((4, 1)), None)
    assert held.interval(np.zeros((1, 1)), np.ones((1, 1)), 0.4)[0, 0, 1] == 2.0


def test_cv_plus_is_barber_s_formula() -> None:
    rng = np.random.default_rng(0)
    m, n, folds = 49, 7, 5
    fold_of = rng.integers(0, folds, m)
    scores, means = rng.uniform(size=(m, 1)), rng.normal(size=(folds, n, 1))
    deviations = rng.uniform(0.5, 2, size=(folds, n, 1))
    found = CrossValidation(scores, fold_of).interval(means, deviations, 0.9)
    for row in range(n):
        middle, reach = means[fold_of, row, 0], deviations[fold_of, row, 0]
        low = np.sort(middle - scores[:, 0] * reach)
        high = np.sort(middle + scores[:, 0] * reach)
        # the floor(0.1 * 50)-th smallest and the ceil(0.9 * 50)-th smallest
        np.testing.assert_allclose(found[row, 0], [low[5 - 1], high[45 - 1]])
    with pytest.raises(ValueError, match=r"needs at least 99 rows. Received: 49"):
        CrossValidation(scores, fold_of).interval(means, deviations, 0.99)


def test_quantiles_are_interpolated_exactly_for_a_normal_law() -> None:
    normal = intervals.NormalDist()
    levels = np.array([0.01, 0.05, 0.1, 0.5, 0.9, 0.95, 0.99])
    values = 3.0 + 2.0 * np.array([normal.inv_cdf(q) for q in levels])
    for wanted in (0.3, 0.8, 0.9, 0.97):
        found = intervals.between_quantiles(values[None, None], levels, wanted)[0, 0]
        reach = 2.0 * normal.inv_cdf(0.5 + wanted / 2)
        np.testing.assert_allclose(found, [3.0 - reach, 3.0 + reach], rtol=1e-12)
    with pytest.raises(ValueError, match=r"coverage must be at most 0.98"):
        intervals.between_quantiles(values[None, None], levels, 0.99)


def test_what_must_be_chosen_before_fit() -> None:
    x, y = law("equal", 80, 0)
    model = Regressor((4,), solver="adam", max_epochs=2, random_state=0).fit(x, y)
    for interval in ("conformal", "cv+", "quantile"):
        model.set_params(interval=interval)
        if interval == "conformal":  # only 8 rows were held out
            with pytest.raises(ValueError, match="must be chosen before fit"):
                model.predict_interval(x)
        else:
            with pytest.raises(ValueError, match="must be chosen before fit"):
                model.predict_interval(x)
    with pytest.raises(ValueError, match=r"coverage must be a number between 0 and 1"):
        model.set_params(interval="gaussian").predict_interval(x, 90)
    with pytest.raises(ValueError, match=r"Received: 0.9999999999999999"):
        model.predict_interval(x, 1 - 2**-53)


def test_too_few_rows_are_said() -> None:
    x, y = law("equal", 30, 0)
    settings: dict[str, Any] = {"solver": "adam", "max_epochs": 2, "random_state": 0}
    model = Regressor((4,), interval="conformal", **settings).fit(x, y)
    with pytest.raises(ValueError, match=r"at least 9 held-out.*Received: 6 held-out"):
        model.predict_interval(x)
    assert model.predict_interval(x, 0.8).shape == (30, 2)


def test_deviations_are_corrected_by_held_out_errors() -> None:
    x, y = law("equal", 100, 0)
    held = law("heteroscedastic", 50, 1)  # errors that training could not know
    model = Regressor((8,), solver="adam", max_epochs=5, random_state=0)
    model.fit(x, y, validation_data=held)
    mean, deviation = model.predict(held[0], return_std=True)
    ratio = np.mean(
        (held[1] - mean) ** 2 / (deviation / model.fitted_.head.std_scale[0]) ** 2
    )
    np.testing.assert_allclose(
        model.fitted_.head.std_scale[0] ** 2, (50 * ratio + 10) / 60
    )
    unchecked = Regressor((8,), solver="adam", max_epochs=5, early_stopping=False)
    assert unchecked.fit(x, y).fitted_.head.std_scale == [1.0]


def test_stds_of_a_bag_are_those_of_the_average_of_its_networks() -> None:
    """Four copies of two kinds, each with an error of its own beside the noise."""
    rng = np.random.default_rng(5)
    rows, own, noise = 20_000, 0.8, 1.0
    truth = rng.normal(size=rows)
    y = truth + noise * rng.normal(size=rows)
    means = truth + own * rng.normal(size=(2, 4, rows))
    raw = np.full_like(means, np.log(np.expm1(1.0)))
    outputs = np.stack([means, raw], axis=-1)
    one = np.ones(1)
    scaler = Scaler(np.zeros(1), one, -one, one)
    head = RegressionHead(
        scaler, "gaussian", one, one, True, weights=np.array([0.5, 0.5])
    )
    sample = Sample(np.zeros((rows, 1)), y[:, None], None)
    held = bags.Held(sample, outputs[:, 0], outputs)
    mean, std = head.moments(held.outputs)
    factor = measured_std_scale(mean, std, sample) * averaging(head, held, mean)
    few = replace(held, sample=sample.take(np.arange(25)))
    assert averaging(head, held, mean)[0] < averaging(head, few, mean[:25])[0] < 1.0
    whole = replace(head, weights=np.full(8, 1 / 8))
    mean, std = whole.moments(outputs.reshape(8, rows, 2))
    ratios = (y[:, None] - mean) / (std * factor)
    assert np.sqrt((ratios**2).mean()) == pytest.approx(1.0, abs=0.03)
