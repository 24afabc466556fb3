"""Layers called by themselves: training, masks, other shapes, what they keep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kurve import Input, Sequential, layers
from kurve.layers import Dense, Layer, Normalization

RNG = np.random.default_rng(0)
X = RNG.normal(5.0, 3.0, size=(64, 3)).astype(np.float32)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: Dense(2)(x, x),
        lambda x: Dense(2)(x, None),
        lambda x: layers.Dropout(0.5)(x, True),
    ],
)
def test_only_x_by_position(call: Callable[[np.ndarray], Any]) -> None:
    """A mask in the place of `training` would be ignored."""
    with pytest.raises(TypeError, match=r"^\[\w+\] layers are called with x"):
        call(X)
    np.testing.assert_array_equal(layers.Flatten()(X, mask=None), X)


@pytest.mark.parametrize("training", ["yes", 2, [True], np.ones(3)])
def test_training_is_a_flag(training: Any) -> None:
    with pytest.raises(TypeError, match=r"^\[Dropout\] training must be True or False"):
        layers.Dropout(0.5)(X, training=training)


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.RandomTranslation((0.5, 0.5), 0.0, fill_mode="constant"),
        lambda: layers.RandomRotation((0.5, 0.5)),
        layers.RandomFlip,
    ],
)
def test_augmentation_moves_unless_told_not_to(make: Callable[[], Layer]) -> None:
    layer = make()
    x = np.arange(256, dtype=np.float32).reshape(16, 4, 4, 1)
    moved = layer(x)
    assert (moved != x).any()
    np.testing.assert_array_equal(layer(x, training=False), x)
    if isinstance(layer, layers.RandomTranslation):
        np.testing.assert_array_equal(moved[0, :, 0, 0], [0, 0, 0, 4])
        np.testing.assert_array_equal(layer(x, training=True), moved)
    model = Sequential([Input((4, 4, 1)), layer])
    np.testing.assert_array_equal(model.predict(x, verbose=0), x)


def test_other_layers_act_as_in_prediction() -> None:
    for layer in (layers.Dropout(0.9), layers.GaussianNoise(1.0)):
        np.testing.assert_array_equal(layer(X), X)
        assert (layer(X, training=True) != X).any()


def test_batch_normalization_moves_its_averages() -> None:
    layer = layers.BatchNormalization(momentum=0.75)
    y = layer(X, training=True)
    np.testing.assert_allclose(y.mean(axis=0), 0.0, atol=1e-5)
    mean, variance = X.mean(axis=0), X.var(axis=0)
    np.testing.assert_allclose(layer.moving_mean.numpy(), 0.25 * mean, rtol=1e-5)
    wanted = 0.75 + 0.25 * variance
    np.testing.assert_allclose(layer.moving_variance.numpy(), wanted, rtol=1e-5)
    before = layer.get_weights()
    layer(X)
    frozen = layers.BatchNormalization(trainable=False)
    frozen(X, training=True)
    np.testing.assert_array_equal(frozen.moving_mean.numpy(), 0.0)
    for now, then in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_batch_normalization_of_a_model_moves_in_its_memory() -> None:
    """As a step of training moves it, and for the model's predictions too."""
    twins = []
    for _ in range(2):
        layer = layers.BatchNormalization(momentum=0.5)
        model = Sequential([Input((3,)), layer])
        model.compile("sgd", "mse")
        model.optimizer.learning_rate = 1e-38
        twins.append((model, layer))
    (trained, its), (called, mine) = twins
    trained.train_on_batch(X, X)
    mine(X, training=True)
    np.testing.assert_allclose(mine.moving_mean.value, its.moving_mean.value, 1e-6)
    np.testing.assert_allclose(
        called.predict(X, verbose=0), trained.predict(X, verbose=0), 1e-5
    )


PICTURES = [(2, 4, 6, 2), (2, 5, 7, 3)]
VOLUMES = [(2, 3, 4, 6, 2), (2, 4, 3, 5, 1)]
SHAPES: dict[str, tuple[Callable[[], Layer], list[tuple[int, ...]]]] = {
    "Dropout": (lambda: layers.Dropout(0.5), [(2, 3), (2, 4), (2, 4, 5)]),
    "GaussianNoise": (lambda: layers.GaussianNoise(0.5), [(2, 3), (2, 4)]),
    "Activation": (lambda: layers.Activation("relu"), [(2, 3), (2, 4), (2, 3, 3)]),
    "Rescaling": (lambda: layers.Rescaling(0.5), [(2, 3), (2, 4), (2, 4, 5)]),
    "Rescaling by channel": (
        lambda: layers.Rescaling([1.0, 2.0, 3.0]),
        [(2, 3), (2, 5, 3)],
    ),
    "Flatten": (layers.Flatten, [(2, 3, 4), (2, 5), (2, 1, 1, 2)]),
    "Reshape": (lambda: layers.Reshape((-1,)), [(2, 3, 4), (2, 5)]),
    "SpatialDropout1D": (lambda: layers.SpatialDropout1D(0.5), [(2, 3, 1), (2, 4, 2)]),
    "MaxPooling1D": (layers.MaxPooling1D, [(2, 4, 1), (2, 6, 3)]),
    "MaxPooling2D": (layers.MaxPooling2D, PICTURES),
    "AveragePooling2D": (layers.AveragePooling2D, PICTURES),
    "GlobalMaxPooling2D": (layers.GlobalMaxPooling2D, PICTURES),
    "GlobalAveragePooling2D": (layers.GlobalAveragePooling2D, PICTURES),
    "ZeroPadding2D": (layers.ZeroPadding2D, PICTURES),
    "UpSampling2D": (layers.UpSampling2D, PICTURES),
    "Cropping3D": (layers.Cropping3D, VOLUMES),
    "UpSampling3D": (layers.UpSampling3D, VOLUMES),
    "MaxPooling3D": (layers.MaxPooling3D, VOLUMES),
    "GlobalMaxPooling3D": (layers.GlobalMaxPooling3D, VOLUMES),
    "RandomFlip": (layers.RandomFlip, PICTURES),
    "RandomRotation": (lambda: layers.RandomRotation(0.1), PICTURES),
    "LayerNormalization": (layers.LayerNormalization, [(2, 3, 4), (2, 5, 4), (2, 4)]),
    "Normalization": (Normalization, [(2, 3, 4), (2, 5, 4), (2, 4)]),
    "FourierFeatures": (lambda: layers.FourierFeatures(2), [(2, 3), (2, 5, 3)]),
    "Dense": (lambda: Dense(2), [(2, 3), (2, 5, 3)]),
}


@pytest.mark.parametrize("name", SHAPES)
def test_further_calls_take_other_shapes(name: str) -> None:
    """A layer takes what its variables fit: without any, what a new one would."""
    make, shapes = SHAPES[name]
    layer = make()
    for shape in (*shapes, shapes[0]):
        x = RNG.normal(size=shape).astype(np.float32)
        fresh = make()
        fresh.build((None, *shape[1:]))
        fresh.set_weights(layer.get_weights() or fresh.get_weights())
        if not layer.built:
            layer.build((None, *shape[1:]))
            fresh.set_weights(layer.get_weights())
        y = layer(x, training=False)
        assert y.shape == layer.compute_output_shape(shape)
        np.testing.assert_array_equal(y, fresh(x, training=False))


@pytest.mark.parametrize(
    ("make", "shape", "other"),
    [
        (lambda: Dense(2), (2, 3), (2, 4)),
        (lambda: layers.Conv1D(2, 2), (2, 5, 3), (2, 5, 4)),
        (layers.LayerNormalization, (2, 3), (2, 4)),
        (layers.BatchNormalization, (2, 3), (2, 4)),
        (Normalization, (2, 3), (2, 4)),
        (lambda: layers.Rescaling([1.0, 2.0]), (2, 2), (2, 3)),
        (lambda: layers.FourierFeatures(2), (2, 3), (2, 4)),
        (lambda: layers.MaxPooling2D(3), (2, 3, 3, 1), (2, 2, 2, 1)),
        (lambda: layers.Reshape((2, 2)), (2, 4), (2, 5)),
    ],
)
def test_what_does_not_fit_is_refused(
    make: Callable[[], Layer], shape: tuple[int, ...], other: tuple[int, ...]
) -> None:
    layer = make()
    layer(np.ones(shape), training=False)
    with pytest.raises(ValueError, match=r"^\[\w+\] .*Received: .*Try "):
        layer(np.ones(other), training=False)
    layer(np.ones(shape), training=False)


def test_one_layer_without_weights_in_two_models() -> None:
    """Each model shows and writes the shapes that it has itself."""
    flat = layers.Flatten()
    first = Sequential([Input((2, 3)), flat, Dense(1)])
    second = Sequential([Input((4, 5)), flat, Dense(1)])
    for model, size in ((first, 6), (second, 20)):
        lines: list[str] = []
        model.summary(print_fn=lines.append)
        assert f"(None, {size})" in lines[0]
        x = RNG.normal(size=(3, *model.input_shape[1:]))
        assert model.predict(x, verbose=0).shape == (3, 1)


def test_output_shapes_keep_the_batch_axis() -> None:
    assert Dense(8).compute_output_shape((1, 4)) == (1, 8)
    assert Dense(8).compute_output_shape((None, 4)) == (None, 8)
    assert layers.Flatten().compute_output_shape([7, 2, 3]) == (7, 6)
    for wrong in ((), 4, "x", (1.5, 4), (-1, 4), (2,)):
        with pytest.raises(ValueError, match=r"^\[Dense\] the shape of "):
            Dense(8).compute_output_shape(wrong)


def test_an_activation_can_be_set() -> None:
    layer = Dense(2, "relu")
    layer(X)
    layer.activation = None
    kernel, bias = layer.get_weights()
    np.testing.assert_allclose(layer(X), X @ kernel + bias, atol=1e-5)
    with pytest.raises(ValueError, match=r"^\[activations\] unknown activation"):
        layer.activation = "reluu"


def test_everything_dropped(engine: str) -> None:
    """rate 1, which Keras takes: no output and no gradient."""
    model = Sequential([Input((3,)), Dense(4), layers.Dropout(1.0), Dense(1)])
    model.compile("sgd", "mse", engine=engine)
    before = model.get_weights()
    model.train_on_batch(X, np.ones((64, 1)))
    after = model.get_weights()
    for i in (0, 1, 2):
        np.testing.assert_array_equal(after[i], before[i])
    assert (after[3] != before[3]).all()
    np.testing.assert_array_equal(layers.Dropout(1.0)(X, training=True), 0.0)


def test_adapt_to_batches() -> None:
    """A list of arrays is a list of batches; a list of numbers is data."""
    whole, parts = Normalization(), Normalization()
    whole.adapt(X)
    parts.adapt([X[:10], X[10:]])
    np.testing.assert_array_equal(parts.mean.value, whole.mean.value)
    np.testing.assert_array_equal(parts.variance.value, whole.variance.value)
    assert parts.mean.numpy().shape == (1, 3)
    rows = Normalization()
    rows.adapt([list(map(float, row)) for row in X])
    np.testing.assert_array_equal(rows.mean.value, whole.mean.value)
    with pytest.raises(ValueError, match=r"^\[adapt\] all batches must hold"):
        Normalization().adapt([X, X[:, :2]])


def test_adapt_refuses_what_float32_does_not_hold() -> None:
    layer = Normalization()
    with pytest.raises(ValueError, match=r"^\[adapt\] data must have a mean and a"):
        layer.adapt(np.array([[1e200], [-1e200]]))
    assert not layer.built
    with pytest.raises(AttributeError, match=r"^\[Normalization\] the layer is not b"):
        _ = layer.mean


class Times(layers.Layer):
    def call(self, x: Any, factor: float = 1.0) -> Any:
        return x * factor


def test_a_number_is_an_argument_of_a_layer() -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    for y in (Times()(x, 2.5), Times()(x, factor=2.5), Times()(x, factor=2) * 1.25):
        np.testing.assert_array_equal(y, 2.5 * x)
    with pytest.raises(ValueError, match="must have a batch axis"):
        Times()(2.5)


def test_calls_in_keras_forms() -> None:
    """An array with one axis, `inputs=`, a mask as second argument."""
    x = np.array([-1.0, 0.0, 2.0])
    np.testing.assert_array_equal(layers.ReLU()(x), [0.0, 0.0, 2.0])
    np.testing.assert_array_equal(layers.Rescaling(2.0)([1.0, 2.0]), [2.0, 4.0])
    whole = layers.Activation("softmax")(x)
    np.testing.assert_allclose(whole, np.exp(x) / np.exp(x).sum(), rtol=1e-6)
    dropped = layers.Dropout(0.5)(np.ones(100), training=True)
    assert dropped.shape == (100,) and set(dropped.tolist()) == {0.0, 2.0}
    rows = np.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_array_equal(layers.UpSampling1D(2)(inputs=rows)[:, ::2], rows)
    with pytest.raises(TypeError, match="unknown argument"):
        layers.Dense(2)(rows, inputs=rows)
    mask = np.array([[1, 1, 0], [0, 1, 0]])
    pool = layers.GlobalAveragePooling1D()
    np.testing.assert_array_equal(pool(rows, mask), pool(rows, mask=mask))
    with pytest.raises(TypeError, match="2 arguments"):
        layers.Dense(2)(rows, mask)


def test_a_layers_own_variables_are_saved_and_loaded() -> None:
    one, other = layers.Dense(2), layers.Dense(2)
    one.build((None, 3))
    other.build((None, 3))
    store: dict[str, Any] = {}
    one.save_own_variables(store)
    assert sorted(store) == ["0", "1"]
    other.load_own_variables(store)
    np.testing.assert_array_equal(one.get_weights()[0], other.get_weights()[0])
    with pytest.raises(ValueError, match="each of the layer's 2 variables"):
        other.load_own_variables({"0": store["0"]})
