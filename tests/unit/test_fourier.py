"""Fourier features and the search for frequencies: what repeats must extrapolate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import kurve
from kurve import Sequential, models, optimizers, utils
from kurve.layers import Dense, FourierFeatures, Normalization, frequencies
from kurve.layers.frequencies import find_frequencies

X = np.arange(0, 20, 0.1)
BEYOND = np.linspace(20, 40, 401)
RANDOM = np.random.default_rng(1)
SCATTERED = RANDOM.uniform(0, 20, 300)


def two_sines(x: np.ndarray) -> np.ndarray:
    """Two frequencies without a common period."""
    return np.sin(x) + 0.5 * np.sin(3 * np.sqrt(2) * x + 0.4)


def found(x: np.ndarray, y: np.ndarray, count: int = 8) -> np.ndarray:
    """The frequencies of one target, each with its first part positive, sorted."""
    waves = find_frequencies(x.reshape(len(x), -1), y.reshape(len(y), -1), count)
    waves = waves * np.where(waves[0] < 0, -1, 1)
    return waves[:, np.argsort(waves[0])]


def error_beyond(model: Sequential, truth: np.ndarray) -> float:
    return float(np.mean((model.predict(BEYOND, verbose=0)[:, 0] - truth) ** 2))


# --- the layer


def test_it_is_sines_and_cosines(engine: str) -> None:
    x = RANDOM.normal(size=(7, 3)).astype(np.float32)
    utils.set_random_seed(2)
    layer = FourierFeatures(5, scale=2.0)
    model = Sequential([layer])
    model.build((None, 3))
    waves = layer.frequencies
    assert waves.shape == (3, 5)
    expected = np.hstack([np.sin(x @ waves), np.cos(x @ waves)])
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=2e-6)
    np.testing.assert_allclose(layer(x), expected, atol=2e-6)
    deep = x.reshape(1, 7, 3)
    np.testing.assert_allclose(layer(deep)[0], expected, atol=2e-6)


def test_random_frequencies() -> None:
    """Normal, of the given deviation, and others in every model."""
    layer, other = FourierFeatures(4000, scale=3.0), FourierFeatures(4000, scale=3.0)
    layer.build((None, 2))
    other.build((None, 2))
    assert layer.frequencies.std() == pytest.approx(3.0, rel=0.03)
    assert abs(layer.frequencies.mean()) < 0.15
    assert (layer.frequencies != other.frequencies).any()


def test_frequencies_are_fixed_unless_asked(engine: str) -> None:
    for trainable in (False, True):
        layer = FourierFeatures([1.0, 2.0], trainable=trainable)
        model = Sequential([layer, Dense(1)])
        model.compile("adam", "mse")
        model.fit(X, np.sin(1.1 * X), epochs=1, verbose=0)
        assert len(layer.trainable_weights) == 2 * trainable
        moved = (layer.frequencies != [[1.0, 2.0]]).any()
        assert moved == trainable
        assert model.count_params() == 4 + 4 + 5


def test_adapted_frequencies_go_wherever_the_model_goes(tmp_path: Path) -> None:
    """Into its configuration, its file, and the members of an ensemble."""
    layer = FourierFeatures(3)
    layer.adapt(SCATTERED, two_sines(SCATTERED))
    model = Sequential([layer, Dense(1)])
    model.compile("adam", "mse")
    model.fit(SCATTERED, two_sines(SCATTERED), epochs=1, verbose=0)
    assert layer.frequencies[0].tolist() == pytest.approx([1.0, 3 * 2**0.5, 0.0])
    model.save(tmp_path / "m.kurve")
    again = models.load_model(tmp_path / "m.kurve")
    committee = kurve.ensemble(model, members=2)
    for twin in (again, *committee.members, Sequential.from_config(model.get_config())):
        copied = twin.layers[0]
        assert isinstance(copied, FourierFeatures)
        np.testing.assert_array_equal(copied.frequencies, layer.frequencies)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert "fourier_features" in "".join(_summary(model))


def _summary(model: Sequential) -> list[str]:
    lines: list[str] = []
    model.summary(print_fn=lines.append)
    return lines


def test_adapt_after_the_model_is_built() -> None:
    layer = FourierFeatures(1, input_shape=(1,))
    model = Sequential([layer, Dense(1)])
    layer.adapt(X, np.cos(2.5 * X))
    assert model.get_weights()[0].ravel().tolist() == [2.5, 2.5]
    layer.adapt(X, np.cos(1.5 * X))
    assert layer.get_config()["frequencies"] == [[pytest.approx(1.5)]]
    layer.adapt(X, np.cos(1.5 * X))
    assert model.get_weights()[0].ravel().tolist() == [1.5, 1.5]


def test_frequencies_before_the_layer_is_built() -> None:
    with pytest.raises(RuntimeError, match=r"^\[FourierFeatures\] .* not built.*Try"):
        _ = FourierFeatures(3).frequencies


@pytest.mark.parametrize(
    ("x", "y", "text"),
    [
        (X, np.ones_like(X), "at least one full period.*200 rows.*Try more rows"),
        (SCATTERED, RANDOM.normal(size=300), "at least one full period"),
        (X, 2 * X + 1, "at least one full period"),
        (np.ones(50), RANDOM.normal(size=50), "at least one full period"),
        (X + 1e7, np.sin(X), "x must be small .*radians.*Try x - x.min"),
        (X, np.sin(X[:-1]), "same number of rows"),
        (np.append(X[:-1], np.nan), np.sin(X), r"x\[199, 0\] = nan"),
        (X, np.append(np.sin(X[:-1]), np.inf), r"y\[199, 0\] = inf"),
        (X.reshape(10, 10, 2), np.sin(X[:10]), r"x must be \(n, features\)"),
        (X.reshape(100, 2), np.sin(X[:100]), "expected the last axis .* to be 1"),
    ],
)
def test_adapt_refuses(x: np.ndarray, y: np.ndarray, text: str) -> None:
    layer = FourierFeatures(3, input_shape=(1,))
    layer.build((None, 1))
    before = layer.get_weights()
    with pytest.raises(ValueError, match=rf"^\[(adapt|FourierFeatures)\] .*{text}"):
        layer.adapt(x, y)
    np.testing.assert_array_equal(layer.get_weights()[0], before[0])
    assert layer.get_config()["frequencies"] == 3


# --- the search


def test_one_sine_exactly() -> None:
    for x in (X, SCATTERED, X - 1000.0):
        np.testing.assert_allclose(found(x, np.sin(x)), [[1.0]], rtol=1e-7)


@pytest.mark.parametrize("frequency", [0.25, 0.38, 1.7, 9.1, 30.0])
def test_from_less_than_one_cycle_to_the_sampling_limit(frequency: float) -> None:
    y = 3.0 + 2.0 * np.cos(frequency * X + 1.0)
    np.testing.assert_allclose(found(X, y), [[frequency]], rtol=1e-6)


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.3])
def test_two_sines_and_noise(noise: float) -> None:
    """To within a few of the standard errors that theory gives: sqrt(24 / n) noise /
    (amplitude times span), and no third."""
    y = two_sines(SCATTERED) + noise * np.random.default_rng(3).normal(size=300)
    waves = found(SCATTERED, y)[0]
    assert len(waves) == 2
    expected = np.array([1.0, 3 * np.sqrt(2)])
    errors = np.sqrt(24 / 300) * noise / (np.array([1.0, 0.5]) * 20.0)
    assert (np.abs(waves - expected) <= 4.0 * errors + 1e-7).all()


def test_a_trend_is_no_long_period() -> None:
    noise = 0.1 * np.random.default_rng(3).normal(size=300)
    waves = found(SCATTERED, 3 * SCATTERED + np.sin(2 * SCATTERED) + noise)
    np.testing.assert_allclose(waves, [[2.0]], atol=5e-3)


def test_noise_has_no_frequency() -> None:
    random = np.random.default_rng(4)
    for _ in range(20):
        assert not found(SCATTERED, random.normal(size=300)).size


def test_harmonics_of_a_square_wave() -> None:
    waves = found(X, np.sign(np.sin(2 * X + 0.1)), 4)[0]
    np.testing.assert_allclose(waves, [2.0, 6.0, 10.0, 14.0], atol=0.02)


def test_harmonics_say_together_how_long_the_period_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Sharp pulses in noise: tied to the first, the harmonics make it more exact; two
    waves that only nearly are harmonics stay as they are."""

    def pulses(x: np.ndarray) -> np.ndarray:
        return 0.2 / (1.1 - np.cos(x))

    def error() -> float:
        """Of the first frequency, over ten sets of data."""
        errors = []
        for seed in range(10):
            random = np.random.default_rng(seed)
            x = random.uniform(0, 20, 300)
            waves = found(x, pulses(x) + 0.05 * random.normal(size=300))[0]
            errors.append(np.abs(waves - 1.0).min())
        return float(np.mean(errors))

    y = pulses(SCATTERED) + 0.05 * np.random.default_rng(3).normal(size=300)
    waves = found(SCATTERED, y)[0]
    assert len(waves) >= 4
    np.testing.assert_allclose(waves / waves[0], np.rint(waves / waves[0]), rtol=1e-9)
    two = np.sin(SCATTERED) + np.sin(2.03 * SCATTERED)
    noise = 0.05 * np.random.default_rng(3).normal(size=300)
    np.testing.assert_allclose(found(SCATTERED, two + noise), [[1, 2.03]], atol=2e-3)
    tied = error()
    monkeypatch.setattr(frequencies, "_tied", lambda u, v, waves: waves)
    assert tied < 0.7 * error()


def test_what_else_is_in_the_data_does_not_pull() -> None:
    """One frequency is wanted of a wave with many harmonics."""
    waves = found(X, np.exp(2.0 * np.sin(X)), 1)
    np.testing.assert_allclose(waves, [[1.0]], rtol=2e-5)


def test_targets_share_the_frequencies() -> None:
    noise = 0.1 * np.random.default_rng(3).normal(size=300)
    y = np.column_stack([np.sin(SCATTERED), 1e6 * (np.cos(4 * SCATTERED) + noise)])
    waves = find_frequencies(SCATTERED[:, None], y, 8)
    np.testing.assert_allclose(np.sort(waves), [[1.0, 4.0]], atol=5e-3)


def test_waves_along_several_features() -> None:
    """sin a sin b is two waves askew: (cos(a - b) - cos(a + b)) / 2."""
    random = np.random.default_rng(5)
    x = random.uniform(-3, 3, (800, 5))
    x[:, 4] = 7.0  # a feature that does not move
    y = np.sin(2 * x[:, 0]) * np.sin(5 * x[:, 2]) + np.sin(3 * x[:, 3])
    waves = find_frequencies(x, (y + 0.1 * random.normal(size=800))[:, None], 6)
    waves = waves * np.where(waves[0] + waves[3] < -0.1, -1, 1)
    waves = waves[:, np.lexsort(waves[::-1].round(1))]
    expected = [[0, 0, 0, 3, 0], [2, 0, -5, 0, 0], [2, 0, 5, 0, 0]]
    np.testing.assert_allclose(waves.T, expected, atol=0.02)


def test_of_many_rows_some_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frequencies, "ROWS", 500)
    x = np.random.default_rng(6).uniform(0, 100, 5000)
    np.testing.assert_allclose(found(x, np.sin(2 * x)), [[2.0]], rtol=1e-7)


# --- extrapolation


def adapted(x: np.ndarray, y: np.ndarray, count: int = 4) -> FourierFeatures:
    layer = FourierFeatures(count)
    layer.adapt(x, y)
    return layer


def test_the_sine_of_the_article_beyond_its_data(engine: str) -> None:
    """Learnt on [0, 20], right on [20, 40]."""
    utils.set_random_seed(1)
    y = np.sin(X)
    model = Sequential([adapted(X, y), Dense(1)])
    model.compile(optimizers.Adam(0.05), "mse")
    model.fit(X, y, epochs=60, verbose=0)
    assert error_beyond(model, np.sin(BEYOND)) < 1e-3


def test_a_small_network_behind_the_features(engine: str) -> None:
    """It bends the waves: a function that is periodic but no sum of a few sines."""

    def pulses(x: np.ndarray) -> np.ndarray:
        return np.exp(2.0 * np.sin(x)) / 4.0

    utils.set_random_seed(1)
    for truth in (np.sin, pulses):
        model = Sequential([adapted(X, truth(X), 2), Dense(32, "tanh"), Dense(1)])
        rate = optimizers.schedules.OneCycle(0.02, total_steps=1400)
        model.compile(optimizers.Adam(rate), "mse")
        model.fit(X, truth(X), epochs=200, verbose=0)
        assert error_beyond(model, truth(BEYOND)) < 1e-3


def test_two_sines_with_noise_beyond_the_data(engine: str) -> None:
    utils.set_random_seed(1)
    y = two_sines(SCATTERED) + 0.1 * np.random.default_rng(7).normal(size=300)
    model = Sequential([adapted(SCATTERED, y, 2), Dense(1)])
    model.compile(optimizers.Adam(0.05), "mse")
    model.fit(SCATTERED, y, epochs=60, verbose=0)
    assert error_beyond(model, two_sines(BEYOND)) < 5e-3


def test_behind_another_layer() -> None:
    """The frequencies are those of the layer's own input."""
    scaling = Normalization()
    scaling.adapt(X)
    layer = adapted(scaling(X[:, None]), np.sin(X), 1)
    assert layer.frequencies[0, 0] == pytest.approx(X.std(), rel=1e-5)


def test_without_the_features_it_does_not_extrapolate() -> None:
    """What the tests above would measure without the layer."""
    utils.set_random_seed(1)
    scaling = Normalization()
    scaling.adapt(X)
    model = Sequential([scaling, Dense(32, "tanh"), Dense(1)])
    model.compile(optimizers.Adam(0.02), "mse")
    model.fit(X, np.sin(X), epochs=60, verbose=0)
    assert error_beyond(model, np.sin(BEYOND)) > 0.1
