"""The race of the default regressor: curves of any number of rows, small tables,
unequal noise, and what lies outside the data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import Regressor
from kurve.estimators import load, noise
from kurve.estimators.wave_fit import WaveFit
from kurve.estimators.waves import Search, Waves, solve, sums
from kurve.layers import FourierFeatures


@pytest.fixture(autouse=True)
def compiled(native: str, reference_unless_asked: None) -> None:
    """The race trains several networks: the reference engine is too slow for it."""
    kurve.set_engine(native)


def sine(periods: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: np.sin(2 * np.pi * periods * x)


def r2(predicted: np.ndarray, truth: np.ndarray) -> float:
    return float(1 - np.mean((predicted - truth) ** 2) / truth.var())


def curve(
    f: Callable[[np.ndarray], np.ndarray], n: int, size: float = 0.05, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.uniform(size=n)
    return x, f(x) + size * rng.normal(size=n)


def is_waves(model: Regressor) -> bool:
    return isinstance(model.models_[0].layers[0], FourierFeatures)


# ------------------------------------------------------------------- curves


@pytest.mark.parametrize(
    ("n", "periods"), [(500, 25), (1000, 12), (1001, 6), (1001, 25), (3000, 12)]
)
def test_periods_are_learned_whatever_the_number_of_rows(n: int, periods: int) -> None:
    f, grid = sine(periods), np.linspace(0, 1, 1001)
    model = Regressor(random_state=0).fit(*curve(f, n))
    assert r2(model.predict(grid), f(grid)) > 0.99
    low, high = model.predict_interval(grid).T
    new = f(grid) + 0.05 * np.random.default_rng(2).normal(size=len(grid))
    assert 0.83 < np.mean((low <= new) & (new <= high)) < 0.97


@pytest.mark.parametrize(
    ("f", "wanted"),
    [
        (lambda x: 5 * x + sine(8)(x), 0.999),
        (lambda x: sine(3)(x) + 0.5 * sine(17.3)(x), 0.995),
        (lambda x: sine(12)(x**2), 0.99),
        (lambda x: np.where(x > 0.4, 1.0, 0.0), 0.98),
        (lambda x: np.exp(-0.5 * ((x - 0.3) / 0.02) ** 2), 0.97),
        (lambda x: np.abs(x - 0.5), 0.98),
        (lambda x: np.exp(-4 * x) * sine(10)(x), 0.98),
    ],
)
def test_curves_of_many_kinds(
    f: Callable[[np.ndarray], np.ndarray], wanted: float
) -> None:
    """Rows are unevenly spaced, and x is far from 0."""
    grid = np.linspace(0.01, 0.99, 1001)
    x, y = curve(f, 1200)
    model = Regressor(random_state=0).fit(x + 50.0, y)
    assert r2(model.predict(grid + 50.0), f(grid)) > wanted


def test_a_surface() -> None:
    rng = np.random.default_rng(0)
    X, new = rng.uniform(size=(800, 2)), rng.uniform(size=(1000, 2))

    def f(x: np.ndarray) -> np.ndarray:
        return np.asarray(np.sin(9 * x[:, 0]) * np.cos(9 * x[:, 1]))

    model = Regressor(random_state=0).fit(X, f(X) + 0.05 * rng.normal(size=800))
    assert r2(model.predict(new), f(new)) > 0.99


def test_repeated_x_and_several_targets() -> None:
    x = np.repeat(np.linspace(0, 1, 60), 20)
    rng = np.random.default_rng(0)
    y = np.stack([sine(3)(x), sine(7)(x)], axis=1)
    model = Regressor(random_state=0).fit(x, y + 0.05 * rng.normal(size=y.shape))
    assert r2(model.predict(x), y) > 0.99
    assert model.predict_interval(x[:5]).shape == (5, 2, 2)


def test_the_ordinary_network_can_win() -> None:
    """Nothing is lost beside what "auto" is for larger tables."""
    rng = np.random.default_rng(0)
    X = rng.uniform(size=(3000, 5))
    y = np.where(X[:, 2] > 0.5, 1.0, 0.0) + np.where(X[:, 0] > 0.3, 1.0, 0.0)
    model = Regressor(random_state=0).fit(X, y)
    assert len(model.history_["val_loss"]) > 1


def test_what_the_user_chooses_is_not_raced() -> None:
    x, y = curve(sine(1), 100)
    for choice in ({"hidden_layer_sizes": (4,)}, {"solver": "lm"}, {"alpha": 0.1}):
        given: dict[str, Any] = choice
        model = Regressor(random_state=0, max_epochs=3, **given).fit(x, y)
        assert not is_waves(model)


# ------------------------------------------------------------------- the record


def test_rows_in_any_order_and_weights_as_repeats_give_the_same_bits() -> None:
    x, y = curve(sine(12), 200)
    first = Regressor(random_state=0).fit(x, y)
    assert is_waves(first)
    shuffled = np.random.default_rng(1).permutation(200)
    second = Regressor(random_state=0).fit(x[shuffled], y[shuffled])
    np.testing.assert_array_equal(first.predict(x), second.predict(x))
    weights = np.where(x > 0.5, 2.0, 1.0)
    twice = np.concatenate([np.arange(200), np.flatnonzero(x > 0.5)])
    weighted = Regressor(random_state=0).fit(x, y, sample_weight=weights)
    repeated = Regressor(random_state=0).fit(x[twice], y[twice])
    np.testing.assert_array_equal(weighted.predict(x), repeated.predict(x))


def test_the_number_of_threads_does_not_matter() -> None:
    x, y = curve(sine(6), 1200)
    found = []
    before = kurve.get_threads()
    try:
        for threads in (1, 3):
            kurve.set_threads(threads)
            model = Regressor(random_state=0).fit(x, y)
            found.append(model.predict_interval(x))
    finally:
        kurve.set_threads(before)
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("grows", [False, True])
@pytest.mark.parametrize("step", [False, True])
def test_files_and_continued_training(tmp_path: Path, grows: bool, step: bool) -> None:
    """Of waves and of Levenberg-Marquardt's network, with equal and unequal noise."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, 400)
    f = (lambda x: np.tanh(80 * (x - 0.4))) if step else sine(9)
    size = 0.02 + (0.1 if step else 0.4) * x if grows else 0.1
    model = Regressor(random_state=0, warm_start=True)
    model.fit(x, f(x) + size * rng.normal(size=400))
    assert is_waves(model) != step
    assert model.fitted_.head.likelihood == ("gaussian" if grows else "none")
    model.save(tmp_path / "m.kurve")
    read = load(tmp_path / "m.kurve")
    points = np.linspace(-0.5, 1.5, 50)
    np.testing.assert_array_equal(
        model.predict_interval(points), read.predict_interval(points)
    )
    model.export(tmp_path / "m.c")
    read.partial_fit(x[:50], f(x[:50]))
    model.fit(x, f(x) + size * rng.normal(size=400))
    assert r2(model.predict(x), f(x)) > 0.95
    assert r2(read.predict(x), f(x)) > 0.95


def test_members_differ_and_agree() -> None:
    x, y = curve(sine(3), 150, 0.2)
    model = Regressor(members=3, random_state=0).fit(x, y)
    each = [
        member.predict(model.fitted_.inputs.forward(x[:, None]), verbose=0)
        for member in model.models_
    ]
    assert (each[0] != each[1]).any()
    assert r2(model.predict(x), sine(3)(x)) > 0.97


# ------------------------------------------------------------------- small tables


@pytest.mark.parametrize(("n", "columns"), [(20, 1), (60, 5), (80, 8)])
def test_a_line_with_noise(n: int, columns: int) -> None:
    """The error is that of a straight line, and 90 % intervals hold."""
    inside, ratios = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        X, new = rng.normal(size=(n, columns)), rng.normal(size=(1000, columns))
        slopes = np.arange(1, columns + 1)
        y = X @ slopes + 2 * rng.normal(size=n)
        t = new @ slopes + 2 * rng.normal(size=1000)
        model = Regressor(random_state=0).fit(X, y)
        low, high = model.predict_interval(new).T
        inside.append(np.mean((low <= t) & (t <= high)))
        line = np.linalg.lstsq(np.c_[np.ones(n), X], y)[0]
        expected = np.mean((np.c_[np.ones(1000), new] @ line - t) ** 2)
        ratios.append(np.mean((model.predict(new) - t) ** 2) / expected)
    assert 0.85 < np.mean(inside) < 0.95
    assert np.mean(ratios) < 1.05


def test_one_row_says_nothing_about_the_noise() -> None:
    model = Regressor(random_state=0).fit([[1.0, 2.0]], [3.0])
    low, high = model.predict_interval([[1.0, 2.0]])[0]
    assert low < 2.0 and high > 4.0


# ------------------------------------------------------------------- noise


@pytest.mark.parametrize("f", [lambda x: 3 * x, sine(4)])
def test_noise_that_grows_is_found(f: Callable[[np.ndarray], np.ndarray]) -> None:
    found = []
    x_new = np.linspace(0.02, 0.98, 3000)
    for seed in range(4):
        rng = np.random.default_rng(seed)
        x = rng.uniform(size=300)
        model = Regressor(random_state=0).fit(x, f(x) + 0.5 * x * rng.normal(size=300))
        low, high = model.predict_interval(x_new).T
        y = f(x_new) + 0.5 * x_new * rng.normal(size=3000)
        found.append([part.mean() for part in np.split((low <= y) & (y <= high), 3)])
    thirds = np.mean(found, axis=0)
    assert (thirds > 0.84).all() and (thirds < 0.96).all()


def test_equal_noise_is_not_called_unequal() -> None:
    """Nor are outliers: the rate of false alarms is small."""
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(40):
        z = rng.normal(size=(200, 1)).astype(np.float32)
        errors = rng.standard_t(4, size=(200, 1))
        alarms += noise.learn(z, errors, None, noise.waving(1)) is not None
    assert alarms <= 4


# ------------------------------------------------------------------- outside


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"interval": "conformal"},
        {"interval": "cv+", "max_epochs": 20},
        {"likelihood": "gaussian", "max_epochs": 20},
        {"likelihood": "quantile", "max_epochs": 20},
        {"members": 2, "likelihood": "gaussian", "max_epochs": 20},
    ],
)
def test_intervals_grow_with_the_distance(arguments: dict[str, Any]) -> None:
    x, y = curve(sine(1), 150, 0.2)
    model = Regressor(random_state=0, **arguments).fit(x, y)
    for points in ([1.0, 1.2, 1.5, 2.0, 5.0, 50.0], [0.0, -0.2, -0.5, -1.0, -4.0]):
        low, high = model.predict_interval(np.array(points)).T
        assert (np.diff(high - low) > 0).all()


def test_the_interval_outside_holds_what_waves_do_there() -> None:
    x, y = curve(lambda x: np.sin(12 * x), 300, 0.1)
    far = np.linspace(1.0, 3.0, 200)
    low, high = Regressor(random_state=0).fit(x, y).predict_interval(far).T
    truth = np.sin(12 * far)
    assert np.mean((low <= truth) & (truth <= high)) > 0.8


# ------------------------------------------------------------------- waves


def test_waves_solve_a_gaussian_process() -> None:
    """The prediction is that of the process whose covariance the prior implies."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(40, 1)).astype(np.float32)
    y = np.sin(3 * z) + 0.1 * rng.normal(size=(40, 1))
    waves = Waves(z, 0)
    prior = Search(waves, z, y, None).best()
    rows, spread = waves.features(z, prior).astype(float), waves.spread(prior)
    solution = solve(sums(waves.features(z, prior), y, None), spread)
    assert solution is not None
    covariance = (rows * spread**2) @ rows.T
    expected = covariance @ np.linalg.solve(covariance + np.eye(40), y)
    np.testing.assert_allclose(rows @ solution.amplitudes, expected, atol=1e-5)


def test_leaving_a_row_out_is_what_training_without_it_is() -> None:
    x, y = curve(sine(2), 40, 0.1)
    z, t = x[:, None].astype(np.float32), y[:, None].astype(np.float32)
    fit = WaveFit((z, t, None), 0)
    left_out, freedom = fit.leave_one_out()
    np.testing.assert_allclose(
        left_out, fit.without_folds(np.arange(40), 40), rtol=1e-4, atol=1e-5
    )
    assert 20 < freedom < 38
