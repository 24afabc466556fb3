"""A file of Keras whose optimizer scales the loss continues with the inner one."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

import kurve

X = np.linspace(0, 1, 24).reshape(8, 3).astype("float32")
Y = X.sum(1, keepdims=True)


def test_the_inner_optimizer_continues(tmp_path: Path) -> None:
    theirs = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(1)])
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.05))
    theirs.compile(scaled, "mse")
    theirs.fit(X, Y, epochs=3, batch_size=4, shuffle=False, verbose=0)
    theirs.save(tmp_path / "scaled.keras")
    ours = kurve.models.load_model(tmp_path / "scaled.keras")
    assert type(ours.optimizer) is kurve.optimizers.Adam
    assert int(ours.optimizer.iterations) == 6
    expected = theirs.fit(X, Y, epochs=3, batch_size=4, shuffle=False, verbose=0)
    found = ours.fit(X, Y, epochs=3, batch_size=4, shuffle=False, verbose=0)
    assert found.history["loss"] == pytest.approx(expected.history["loss"], rel=1e-4)
