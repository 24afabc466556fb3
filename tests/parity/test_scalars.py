"""Samples that are numbers, Input(()), beside Keras."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import kurve

X = np.array([1.0, -2.0, 3.0, 0.5], np.float32)

LAYERS: dict[str, Callable[[Any], Any]] = {
    "ReLU": lambda k: k.layers.ReLU(),
    "LeakyReLU": lambda k: k.layers.LeakyReLU(),
    "Activation": lambda k: k.layers.Activation("tanh"),
    "Rescaling": lambda k: k.layers.Rescaling(2.0, 1.0),
    "Normalization": lambda k: k.layers.Normalization(None, 1.0, 4.0),
    "Dropout": lambda k: k.layers.Dropout(0.5),
    "GaussianNoise": lambda k: k.layers.GaussianNoise(0.5),
    "Identity": lambda k: k.layers.Identity(),
    "Flatten": lambda k: k.layers.Flatten(),
    "Reshape": lambda k: k.layers.Reshape((1, 1)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_in_a_model_and_in_files(name: str, tmp_path: Path) -> None:
    found = []
    for library in (kurve, keras):
        x = library.Input(())
        layer = LAYERS[name](library)
        model = library.Model(x, layer(x))
        assert layer.compute_output_shape((None,)) == model.output_shape
        found.append(model.predict(X, verbose=0))
        if library is kurve:
            model.save(tmp_path / "m.keras")
            again = kurve.models.load_model(tmp_path / "m.keras")
            np.testing.assert_array_equal(again.predict(X, verbose=0), found[0])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-6)


def test_adapted_and_trained() -> None:
    layer = kurve.layers.Normalization(axis=None)
    layer.adapt(X)
    x = kurve.Input(())
    y = kurve.layers.Dense(1)(kurve.layers.Flatten()(layer(x)))
    model = kurve.Model(x, y)
    model.compile(kurve.optimizers.SGD(0.3), "mse")
    history = model.fit(X, 3.0 * X, epochs=30, verbose=0)
    assert history.history["loss"][-1] < 0.01 * history.history["loss"][0]


@pytest.mark.parametrize("library", [kurve, keras])
def test_no_features_to_normalize(library: Any) -> None:
    with pytest.raises(ValueError):
        library.layers.Normalization()(library.Input(()))


def test_flatten_makes_columns_of_vectors() -> None:
    ours, theirs = kurve.layers.Flatten()(X), keras.layers.Flatten()(X)
    np.testing.assert_array_equal(ours, keras.ops.convert_to_numpy(theirs))


MASKS = [[[True, False, True]], [True, False, True]]


@pytest.mark.parametrize("mask", MASKS)
def test_a_mask_for_all_samples(mask: Any) -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    given = np.array(mask)
    ours, theirs = (
        library.layers.Softmax()(x, mask=given) for library in (kurve, keras)
    )
    wanted = keras.ops.convert_to_numpy(theirs)
    np.testing.assert_allclose(ours, wanted, rtol=1e-6)
