"""SpectralNormalization beside Keras: weights, losses and predictions."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import kurve

rng = np.random.default_rng(5)
CASES: dict[str, tuple[Any, tuple[int, ...]]] = {
    "dense": (lambda o: o.layers.Dense(8, activation="tanh"), (4,)),
    "conv": (lambda o: o.layers.Conv2D(3, 2, strides=2), (6, 6, 2)),
    "no bias": (lambda o: o.layers.Dense(5, use_bias=False), (4,)),
}


@pytest.mark.parametrize("iterations", [1, 3])
@pytest.mark.parametrize("name", CASES)
def test_equals_keras(name: str, iterations: int) -> None:
    make, shape = CASES[name]
    x = rng.normal(size=(24, *shape)).astype(np.float32)
    y = x.reshape(24, -1).sum(1, keepdims=True)
    found, weights = [], None
    for library in (keras, kurve):
        model = library.Sequential(
            [
                library.Input(shape),
                library.layers.SpectralNormalization(make(library), iterations),
                library.layers.Flatten(),
                library.layers.Dense(1),
            ]
        )
        if weights is None:
            weights = [rng.normal(size=w.shape) for w in model.get_weights()]
        model.set_weights(weights)
        model.compile("sgd", "mse")
        before = model.predict(x, verbose=0)
        history = model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0)
        after = model.predict(x, verbose=0)
        found.append((before, history.history["loss"], after, *model.get_weights()))
    for ours, theirs in zip(found[1], found[0], strict=True):
        np.testing.assert_allclose(ours, theirs, 1e-4, 1e-4)


def test_weights_of_0_keep_their_vector() -> None:
    """They are normalized as soon as they are no longer 0."""
    layer = kurve.layers.SpectralNormalization(
        kurve.layers.Dense(3, kernel_initializer="zeros"), 20
    )
    x = np.eye(4, dtype=np.float32)
    layer(x, training=True)
    np.testing.assert_array_equal(layer.kernel, 0.0)
    assert np.abs(layer.vector_u).sum() > 0
    layer.kernel.assign(rng.normal(size=(4, 3)))
    layer(x, training=True)
    assert np.linalg.norm(layer.kernel, 2) == pytest.approx(1.0, abs=1e-3)


def test_wrong_layers() -> None:
    with pytest.raises(ValueError, match="power_iterations must be"):
        kurve.layers.SpectralNormalization(kurve.layers.Dense(2), 0)
    layer = kurve.layers.SpectralNormalization(kurve.layers.ReLU())
    with pytest.raises(ValueError, match="must have a kernel or embeddings"):
        layer.build((None, 3))
