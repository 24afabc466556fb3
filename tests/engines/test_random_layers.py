"""Seeds of single layers, shapes of masks, and dropout that keeps mean and variance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kurve import Sequential, layers, random
from kurve.core import rng
from kurve.engines import State, get_engine
from kurve.layers import Dense, Input, Layer
from kurve.layers.base import lower

SHAPE = (4, 3, 5)
X = np.random.default_rng(1).normal(size=(6, *SHAPE)).astype(np.float32)
LOW = -1.6732632423543772 * 1.0507009873554805

LAYERS: dict[str, Layer] = {
    "seed": layers.Dropout(0.4, seed=3),
    "negative seed": layers.Dropout(0.4, seed=-(2**70)),
    "last axes": layers.Dropout(0.4, noise_shape=(None, 4, 1, 1)),
    "first axes": layers.Dropout(0.4, noise_shape=(6, 1, 1, None), seed=1),
    "middle axis": layers.Dropout(0.4, noise_shape=(None, None, 1, 5)),
    "all axes": layers.Dropout(0.4, noise_shape=(None, 1, 1, 1)),
    "spatial": layers.SpatialDropout2D(0.4, seed=9),
    "noise": layers.GaussianNoise(0.3, seed=5),
    "gaussian": layers.GaussianDropout(0.3),
    "gaussian seed": layers.GaussianDropout(0.3, seed=2),
    "alpha": layers.AlphaDropout(0.3),
    "alpha shape": layers.AlphaDropout(0.3, noise_shape=(None, 1, 1, None), seed=4),
    "alpha 0": layers.AlphaDropout(0.0),
    "zoom": layers.RandomZoom(0.4, seed=8),
    "zoom of both": layers.RandomZoom((-0.5, 0.1), (0.2, 0.6), "constant"),
    "flip": layers.RandomFlip(seed=8),
}


@pytest.mark.parametrize("name", LAYERS)
def test_engines_agree(fast: str, name: str) -> None:
    """The values in training, through what follows them, and the gradients."""
    found = {}
    for engine in ("reference", fast):
        config = LAYERS[name].get_config()
        first = Dense(5, "tanh", name="first")
        middle = type(LAYERS[name]).from_config(config)
        model = Sequential([Input(SHAPE), first, middle, layers.Flatten(), Dense(2)])
        rows = np.random.default_rng(2)
        model.set_weights([rows.normal(size=w.shape) / 3 for w in model.get_weights()])
        model._network.seed = 12
        model.compile("sgd", "mse", engine=engine)
        y = np.sin(X.sum(axis=(1, 2))[:, :2])
        losses = [model.train_on_batch(X, y) for _ in range(3)]
        found[engine] = losses, model.get_weights(), model.predict(X, verbose=0)
    for ours, theirs in zip(*found.values(), strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)


def mask(layer: Layer, x: np.ndarray, seed: int = 77, step: int = 4) -> np.ndarray:
    """What the layer makes of x in a step, by the reference engine."""
    from kurve.engines.reference.layers import OPS

    layer.build((None, *x.shape[1:]))
    (op,) = lower([layer], x.shape[1:])[0].ops
    none = np.zeros(0, np.float32)
    state = State(none, none, none.reshape(0, 0), np.zeros(0), step, seed)
    return OPS[op.kind][0](op, x, state, True)[0]


def test_a_seed_of_the_layer_replaces_that_of_the_model() -> None:
    ones = np.ones((50, 4), np.float32)
    seeded = [mask(layers.Dropout(0.5, seed=6), ones, seed) for seed in (1, 2)]
    assert (seeded[0] == seeded[1]).all()
    assert (seeded[0] != mask(layers.Dropout(0.5, seed=6), ones, step=5)).any()
    assert (seeded[0] != mask(layers.Dropout(0.5, seed=7), ones)).any()
    words = rng.philox(6, 0x10000, 4, 200).reshape(50, 4)
    assert (seeded[0] == np.where(words >= 2**31, 2.0, 0.0)).all()


def test_direct_calls_with_a_seed_draw_again_each_time() -> None:
    """As in Keras: a new layer repeats the first draws, a second call does not."""
    ones = np.ones((20, 4), np.float32)
    first, second = layers.Dropout(0.5, seed=3), layers.Dropout(0.5, seed=3)
    a, b = first(ones, training=True), first(ones, training=True)
    assert (a != b).any()
    assert (second(ones, training=True) == a).all()
    assert (second(ones) == ones).all()  # draws nothing
    assert (second(ones, training=True) == b).all()


def test_seed_generators() -> None:
    seeds = random.SeedGenerator(5)
    layer, other = layers.Dropout(0.5, seed=seeds), layers.Dropout(0.5, seed=seeds)
    again = layers.Dropout(0.5, seed=random.SeedGenerator(5))
    assert layer.seed == again.seed != other.seed
    assert isinstance(layer.get_config()["seed"], int)
    assert random.SeedGenerator(5).get_config() == {"seed": 5, "name": seeds_name(5)}


def seeds_name(seed: int) -> str:
    """The name that a further generator gets is one higher."""
    stem, _, number = random.SeedGenerator(seed).name.rpartition("_")
    return f"{stem}_{int(number) - 1}"


@pytest.mark.parametrize(
    ("noise_shape", "axes"),
    [((None, 4, 1, 1), (2, 3)), ((None, 1, 1, 5), (1, 2)), ((6, None, 1, None), (2,))],
)
def test_a_mask_is_shared_along_axes_of_1(noise_shape: Any, axes: Any) -> None:
    x = np.ones((6, *SHAPE), np.float32)
    y = mask(layers.Dropout(0.5, noise_shape=noise_shape), x)
    assert (y == y.max(axis=axes, keepdims=True)).all()
    assert 0.2 < (y == 0).mean() < 0.8
    drawn = y.max(axis=axes).ravel()
    words = rng.philox(77, 0x10000, 4, drawn.size)
    assert (drawn == np.where(words >= 2**31, 2.0, 0.0)).all()


def test_axes_of_one_element_may_stand_between() -> None:
    x = np.ones((9, 3, 1, 5), np.float32)
    y = mask(layers.Dropout(0.5, noise_shape=(None, 1, None, 1)), x)
    assert (y == y[:, :1, :, :1]).all()


@pytest.mark.parametrize(
    "noise_shape",
    [(1, 4, 3, 5), (None, 1, 3, 1), (None, 2, 1, 1), (None, 1, 1), ()],
)
def test_other_masks_are_refused(noise_shape: Any) -> None:
    with pytest.raises(ValueError, match=r"^\[Dropout\] noise_shape must have") as e:
        layers.Dropout(0.5, noise_shape=noise_shape)(X)
    assert f"Received: noise_shape={noise_shape}" in str(e.value)


def test_alpha_dropout_keeps_mean_and_variance() -> None:
    """And what is dropped has selu's lowest value, scaled and shifted."""
    x = np.random.default_rng(3).normal(size=(400, 1000)).astype(np.float32)
    y = mask(layers.AlphaDropout(0.2), x).astype(np.float64)
    assert y.mean() == pytest.approx(0.0, abs=0.01)
    assert y.var() == pytest.approx(1.0, abs=0.01)
    a = (0.8 * (1 + 0.2 * LOW**2)) ** -0.5
    dropped = np.isclose(y, a * LOW - a * LOW * 0.2, atol=1e-6)
    assert dropped.mean() == pytest.approx(0.2, abs=0.01)
    np.testing.assert_allclose(y[~dropped], a * x[~dropped] - a * LOW * 0.2, atol=2e-6)


def test_gaussian_dropout_multiplies() -> None:
    x = np.full((300, 1000), -2.0, np.float32)
    y = mask(layers.GaussianDropout(0.2), x) / x
    assert y.mean() == pytest.approx(1.0, abs=0.005)
    assert y.std() == pytest.approx(0.5, abs=0.005)


def test_zoom_keeps_the_proportions() -> None:
    """A plane of slope 1 in both directions is scaled about its centre alike."""
    ramp = np.arange(9.0) - 4
    image = np.stack(np.meshgrid(ramp, ramp, indexing="ij"), axis=-1)[None]
    image = np.repeat(image, 20, axis=0).astype(np.float32)
    words = rng.uniform(77, 0x10000, 4, 80).reshape(20, 4)[:, 0]
    zoomed = mask(layers.RandomZoom((-0.6, 0.0)), image)
    factor = 1 - 0.6 + 0.6 * words
    expected = image * factor[:, None, None, None]
    np.testing.assert_allclose(zoomed, expected, rtol=1e-5, atol=1e-5)


def test_wrong_rates_and_factors() -> None:
    for cls in (layers.AlphaDropout, layers.GaussianDropout):
        for rate in (1.0, -0.1, None):
            with pytest.raises(ValueError, match=r"rate must be in \[0, 1\)"):
                cls(rate)
    with pytest.raises(ValueError, match="must be above -1"):
        layers.RandomZoom(-1.0)
    with pytest.raises(TypeError, match="seed must be an integer"):
        layers.Dropout(0.5, seed=0.5)


def test_the_engine_refuses_alpha_dropout_of_everything() -> None:
    pytest.importorskip("kurve._core")
    layer = layers.AlphaDropout(0.5)
    layer.rate = 1.0
    plan, _, _ = lower([layer], (3,))
    with pytest.raises(ValueError, match="'rate' must be below 1"):
        get_engine("native").compile(plan)
