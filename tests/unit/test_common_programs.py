"""Spellings that many programs of Keras have, of which each once was refused."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import layers, ops

X = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
Y = X.sum(axis=1, keepdims=True)


def always(make: Any, sample: tuple[int, ...] = (3, 400)) -> Any:
    """A model whose only layer acts as in training, always."""
    x = kurve.Input(sample)
    return kurve.Model(x, make(x, training=True))


@pytest.mark.parametrize("seed", [None, 4])
def test_dropout_in_prediction(seed: int | None, engine: str, tmp_path: Path) -> None:
    """Monte Carlo dropout: other elements in each call, in files too."""
    model = always(layers.Dropout(0.25, seed=seed))
    model.compile("sgd", "mse")
    ones = np.ones((5, 3, 400), np.float32)
    model.save(tmp_path / "m.kurve")
    model.save(tmp_path / "m.keras")
    first = model.predict(ones, verbose=0)
    assert {*np.unique(first)} == {0.0, np.float32(1 / 0.75)}
    assert abs(first.mean() - 1.0) < 0.05
    assert (first != first[:1]).any() and (first != first[:, :1]).any()
    assert (first != model.predict(ones, verbose=0)).any()
    assert (model(ones) != model(ones)).any()
    model.evaluate(ones, ones, verbose=0)
    for name in ("m.kurve", "m.keras"):
        again = kurve.models.load_model(tmp_path / name)
        np.testing.assert_array_equal(again.predict(ones, verbose=0), first)


@pytest.mark.parametrize(
    ("make", "mean", "deviation"),
    [
        (layers.SpatialDropout1D(0.5), 1.0, 1.0),
        (layers.GaussianNoise(0.3), 1.0, 0.3),
        (layers.GaussianDropout(0.5), 1.0, 1.0),
        (layers.Dropout(0.5, noise_shape=(None, 3, 1)), 1.0, 1.0),
    ],
    ids=["spatial", "noise", "gaussian", "shared"],
)
def test_other_noise_in_prediction(
    make: Any, mean: float, deviation: float, engine: str
) -> None:
    model = always(make, (3, 4))
    y = model.predict(np.ones((2000, 3, 4), np.float32), verbose=0)[:, 0, 0]
    assert abs(y.mean() - mean) < 0.1 and abs(y.std() - deviation) < 0.1


def test_the_same_noise_along_an_axis() -> None:
    y = always(layers.SpatialDropout1D(0.5)).predict(np.ones((9, 3, 400)), verbose=0)
    assert (y == y[:, :1]).all() and (y != y[:, :, :1]).any()


def test_alpha_dropout_keeps_mean_and_variance() -> None:
    x = np.random.default_rng(1).normal(size=(50, 3, 400))
    y = always(layers.AlphaDropout(0.3)).predict(x, verbose=0)
    assert abs(y.mean()) < 0.02 and abs(y.std() - 1.0) < 0.02


def test_what_mixes_samples_is_refused_in_prediction() -> None:
    class Always(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.scale = layers.BatchNormalization()

        def call(self, x: Any) -> Any:
            return self.scale(x, training=True)

    with pytest.raises(NotImplementedError, match="runs in training mode only"):
        Always()(kurve.Input((4,)))


@pytest.mark.parametrize("name", ["relu", "gelu", "softmax", "exponential", "mish"])
def test_activations_of_tensors(name: str, engine: str) -> None:
    """In layers of one's own, on symbolic tensors and under a tape."""
    activation = kurve.activations.get(name)

    class Mine(layers.Layer):
        def call(self, x: Any) -> Any:
            return activation(x)

    x = kurve.Input((4,))
    expected = activation(X)
    for model in (kurve.Model(x, Mine()(x)), kurve.Model(x, activation(x))):
        np.testing.assert_allclose(model.predict(X, verbose=0), expected, rtol=1e-5)
    v = kurve.Variable(np.linspace(-1.0, 1.0, 4)[None])
    with kurve.GradientTape() as tape:
        y = ops.sum(activation(v) * np.arange(4.0))
    assert tape.gradient(y, v).shape == (1, 4)


def test_arguments_of_activations_of_tensors() -> None:
    x = kurve.Input((4,))
    y = kurve.activations.relu(x, max_value=0.5, negative_slope=0.1)
    expected = kurve.activations.relu(X, max_value=0.5, negative_slope=0.1)
    np.testing.assert_allclose(
        kurve.Model(x, y).predict(X, verbose=0), expected, rtol=1e-6
    )


def test_own_penalties_and_constraints_in_functions_of_ops(engine: str) -> None:

    class Near(kurve.regularizers.Regularizer):
        def __call__(self, w: Any) -> Any:
            gram = ops.matmul(ops.transpose(w), w)
            return 0.1 * ops.sum(ops.square(w - 1.0)) + ops.mean(ops.abs(gram))

    class Clipped(kurve.constraints.Constraint):
        def __call__(self, w: Any) -> Any:
            return ops.clip(w, -0.2, 0.2) * ops.cast(ops.greater(w, -0.1), "float32")

    dense = layers.Dense(3, kernel_regularizer=Near(), kernel_constraint=Clipped())
    model = kurve.Sequential([kurve.Input((4,)), dense])
    model.compile("sgd", "mse")
    model.fit(X, np.zeros((40, 3)), verbose=0)
    kernel = model.get_weights()[0]
    assert kernel.min() >= -0.1 and kernel.max() <= np.float32(0.2)
    gram = kernel.T @ kernel
    penalty = 0.1 * ((kernel - 1.0) ** 2).sum() + np.abs(gram).mean()
    loss = model.evaluate(X, model.predict(X, verbose=0), verbose=0)
    np.testing.assert_allclose(loss, penalty, rtol=1e-5)


def test_a_length_of_keras_2_builds_a_stack() -> None:
    model = kurve.Sequential(
        [layers.Embedding(10, 4, input_length=5), layers.Flatten(), layers.Dense(1)]
    )
    assert model.output_shape == (None, 1)
    assert model.layers[0].get_weights()[0].shape == (10, 4)


class Penalized(layers.Layer):
    def call(self, x: Any) -> Any:
        self.add_loss(ops.mean(ops.square(x)))
        return x


def test_layers_give_the_loss(engine: str, tmp_path: Path) -> None:
    model = kurve.Sequential([kurve.Input((4,)), layers.Dense(2), Penalized()])
    model.compile("adam")
    losses = model.fit(X, epochs=3, verbose=0).history["loss"]
    assert losses == sorted(losses, reverse=True)
    model.save(tmp_path / "m.kurve")
    again = kurve.models.load_model(tmp_path / "m.kurve")
    for one in (model, again):  # targets may be there, or not
        one.fit(X, Y, verbose=0)
    np.testing.assert_array_equal(again.get_weights()[0], model.get_weights()[0])
    expected = np.mean(model.predict(X, verbose=0) ** 2)
    np.testing.assert_allclose(model.evaluate(X, verbose=0), expected, rtol=1e-5)


def test_nothing_to_minimize_is_refused() -> None:
    model = kurve.Sequential([kurve.Input((4,)), layers.Dense(2)])
    model.compile("adam")
    for call in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match="a loss is needed, for an output or by"):
            call(X, X[:, :2], verbose=0)


@pytest.mark.parametrize("every", [{"period": 2}, {"save_freq": "2 epochs"}])
def test_models_saved_every_few_epochs(every: dict[str, Any], tmp_path: Path) -> None:
    model = kurve.Sequential([kurve.Input((4,)), layers.Dense(1)])
    model.compile("adam", "mse")
    path = str(tmp_path / "m{epoch}.kurve")
    if "period" in every:
        with pytest.warns(FutureWarning, match="save_freq='2 epochs'"):
            callback = kurve.callbacks.ModelCheckpoint(path, **every)
    else:
        callback = kurve.callbacks.ModelCheckpoint(path, **every)
    model.fit(X, Y, epochs=5, verbose=0, callbacks=[callback])
    found = sorted(Path(name).name for name in glob.glob(str(tmp_path / "m*")))
    assert found == ["m2.kurve", "m4.kurve"]


def test_a_call_with_other_weights() -> None:
    x = kurve.Input((4,))
    model = kurve.Model(x, layers.BatchNormalization()(layers.Dense(2)(x)))
    before = model.get_weights()
    other = [v.numpy() + 1.0 for v in model.trainable_variables]
    still = [v.numpy() for v in model.non_trainable_variables]
    y, after = model.stateless_call(other, still, X, training=True)
    twin = kurve.models.clone_model(model)
    twin.set_weights([*other, *still])
    np.testing.assert_array_equal(y, twin(X, training=True))
    for a, b in zip(after, twin.non_trainable_variables, strict=True):
        np.testing.assert_array_equal(a, b.numpy())
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(model.stateless_call(other, still, X, return_losses=True)) == 3
    with pytest.raises(ValueError, match="one value per variable"):
        model.stateless_call(other[:1], still, X)
