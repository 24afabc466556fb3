"""Layers whose channels come first, with the numbers of Keras."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from kurve import Input, Model, Sequential, layers

X2 = np.random.default_rng(0).normal(size=(3, 4, 7, 6)).astype("float32")
X1 = np.random.default_rng(1).normal(size=(3, 4, 9)).astype("float32")
FIRST: dict[str, Any] = {"data_format": "channels_first"}

CASES = {
    "conv": (X2, "Conv2D", (5, 3), {"strides": 2, "padding": "same"}),
    "conv of sequences": (X1, "Conv1D", (5, 3), {"padding": "valid"}),
    "groups": (X2, "Conv2D", (6, (2, 3)), {"groups": 2, "activation": "tanh"}),
    "depthwise": (X2, "DepthwiseConv2D", (3,), {"depth_multiplier": 2}),
    "separable": (X2, "SeparableConv2D", (5, 3), {}),
    "transposed": (X2, "Conv2DTranspose", (5, 3), {"strides": 2}),
    "pooling": (X2, "MaxPooling2D", (2,), {"padding": "same"}),
    "average": (X1, "AveragePooling1D", (2,), {}),
    "global": (X2, "GlobalAveragePooling2D", (), {}),
    "global of sequences": (X1, "GlobalMaxPooling1D", (), {"keepdims": True}),
    "zeros": (X2, "ZeroPadding2D", (((1, 2), (0, 3)),), {}),
    "cropped": (X2, "Cropping2D", (((1, 2), (0, 3)),), {}),
    "larger": (X2, "UpSampling2D", ((2, 3),), {}),
    "resized": (X2, "Resizing", (3, 8), {}),
    "flat": (X2, "Flatten", (), {}),
}


@pytest.mark.parametrize("name", CASES)
def test_channels_first(name: str) -> None:
    x, kind, args, kwargs = CASES[name]
    # Keras on torch computes "same" with strides by another rule for channels first.
    theirs = getattr(keras.layers, kind)(*args, **kwargs, **FIRST)
    ours = getattr(layers, kind)(*args, **kwargs, **FIRST)
    wanted = np.asarray(keras.ops.convert_to_numpy(theirs(x)))
    ours.build((None, *x.shape[1:]))
    if ours.weights:
        ours.set_weights(theirs.get_weights())
    np.testing.assert_allclose(np.asarray(ours(x)), wanted, 1e-4, 1e-5)
    assert ours.compute_output_shape((None, *x.shape[1:])) == (None, *wanted.shape[1:])


def test_a_model_trains_and_is_saved(tmp_path: Any) -> None:
    i = Input((4, 7, 6))
    h = layers.Conv2D(5, 3, activation="relu", **FIRST)(i)
    h = layers.GlobalAveragePooling2D(**FIRST)(layers.MaxPooling2D(2, **FIRST)(h))
    model = Model(i, layers.Dense(1)(h))
    model.compile("adam", "mse")
    y = X2.mean((1, 2, 3))
    losses = model.fit(X2, y, epochs=20, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    model.save(tmp_path / "m.keras")
    theirs = keras.models.load_model(tmp_path / "m.keras")
    found = theirs.predict(X2, verbose=0)
    np.testing.assert_allclose(model.predict(X2, verbose=0), found, 1e-4, 1e-5)


def test_masked_mean_of_sequences() -> None:
    x = X1.copy()
    mask = np.arange(9)[None] < np.array([3, 9, 5])[:, None]
    layer = layers.GlobalAveragePooling1D(**FIRST)
    wanted = [row[:, m].mean(1) for row, m in zip(x, mask, strict=True)]
    np.testing.assert_allclose(np.asarray(layer(x, mask=mask)), wanted, 1e-5, 1e-6)
    stack = Sequential([Input((4, 9)), layers.GlobalMaxPooling1D(**FIRST)])
    np.testing.assert_allclose(stack.predict(x, verbose=0), x.max(2), 1e-6)
