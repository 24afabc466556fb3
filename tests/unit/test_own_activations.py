"""Functions of the user's as activations."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import layers, ops
from kurve.saving import ModelFileError

X = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
Y = X.sum(axis=1)


def soft(x: Any) -> Any:
    return x * ops.sigmoid(x)


def shares(x: Any) -> Any:
    """No function of single elements."""
    e = ops.exp(x - ops.max(x, axis=-1, keepdims=True))
    return e / ops.sum(e, axis=-1, keepdims=True)


def model(activation: Any) -> Any:
    kurve.utils.set_random_seed(1)
    made = kurve.Sequential(
        [kurve.Input((4,)), layers.Dense(5, activation), layers.Dense(1)]
    )
    made.compile("adam", "mse")
    return made


@pytest.mark.parametrize(("own", "name"), [(soft, "silu"), (shares, "softmax")])
def test_trains_like_the_named_one(own: Any, name: str) -> None:
    one, two = model(own), model(name)
    for each in (one, two):
        each.fit(X, Y, epochs=3, shuffle=False, verbose=0)
    np.testing.assert_allclose(
        one.history.history["loss"], two.history.history["loss"], rtol=1e-5
    )
    np.testing.assert_allclose(one.predict(X), two.predict(X), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "layer",
    [
        layers.Dense(2, activation=lambda t: 2.0 * t),
        layers.Activation(lambda t: 2.0 * t),
        layers.EinsumDense("ab,bc->ac", 3, activation=lambda t: 2.0 * t),
    ],
)
def test_layers_call_it(layer: Any) -> None:
    y = layer(X)
    plain = type(layer).from_config({**layer.get_config(), "activation": "linear"})
    if layer.weights:
        plain.build((None, 4))
        plain.set_weights(layer.get_weights())
    np.testing.assert_allclose(y, 2.0 * plain(X), rtol=1e-6)


def test_convolutions_call_it() -> None:
    images = np.random.default_rng(0).normal(size=(2, 5, 5, 1)).astype(np.float32)
    one = layers.Conv2D(2, 3, activation=lambda t: ops.maximum(t, 0.0))
    two = layers.Conv2D(2, 3, activation="relu")
    one(images), two(images)
    two.set_weights(one.get_weights())
    np.testing.assert_allclose(one(images), two(images), rtol=1e-6)


def test_files_and_copies(tmp_path: Path) -> None:
    one = model(soft)
    expected = one.predict(X, verbose=0)
    assert one.layers[0].get_config()["activation"] == "custom>soft"
    for twin in (copy.deepcopy(one), kurve.models.clone_model(one)):
        twin.set_weights(one.get_weights())
        assert (twin.predict(X, verbose=0) == expected).all()
    one.save(tmp_path / "m.kurve")
    again = kurve.models.load_model(tmp_path / "m.kurve", {"soft": soft})
    assert (again.predict(X, verbose=0) == expected).all()
    with pytest.raises(ModelFileError, match="soft"):
        kurve.models.load_model(tmp_path / "m.kurve")
    one.save(tmp_path / "m.keras")
    again = kurve.models.load_model(tmp_path / "m.keras", {"soft": soft})
    np.testing.assert_allclose(again.predict(X, verbose=0), expected, 1e-6)
    with pytest.raises(ModelFileError, match="soft"):
        kurve.models.load_model(tmp_path / "m.keras")


def test_what_is_no_activation() -> None:
    for given in (3, layers.Dense, ["relu"]):
        with pytest.raises(TypeError, match="a function of one tensor"):
            layers.Dense(1, activation=given)
