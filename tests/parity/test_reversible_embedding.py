"""ReversibleEmbedding beside Keras's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import kurve


def trained(of: Any, tied: bool, cap: float | None) -> tuple[Any, list[float]]:
    x = of.Input((6,))
    both = of.layers.ReversibleEmbedding(
        11, 4, tie_weights=tied, logit_soft_cap=cap, mask_zero=True
    )
    h = of.layers.LSTM(4, return_sequences=True)(both(x))
    model = of.Model(x, both(h, reverse=True))
    random = np.random.default_rng(0)
    model.set_weights([random.normal(size=w.shape) for w in model.get_weights()])
    loss = of.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss)
    ids = random.integers(0, 11, (8, 6))
    options: dict[str, Any] = {"batch_size": 4, "shuffle": False, "verbose": 0}
    return model, model.fit(ids, ids, epochs=3, **options).history["loss"]


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("cap", [None, 2.0])
def test_both_ways(tied: bool, cap: float | None, tmp_path: Path) -> None:
    theirs, their_losses = trained(keras, tied, cap)
    ours, our_losses = trained(kurve, tied, cap)
    np.testing.assert_allclose(our_losses, their_losses, rtol=1e-5)
    assert ours.output_shape == theirs.output_shape
    ids = np.arange(12).reshape(2, 6) % 11
    expected = theirs.predict(ids, verbose=0)
    np.testing.assert_allclose(ours.predict(ids, verbose=0), expected, atol=1e-5)
    ours.save(tmp_path / "ours.keras")
    loaded = keras.models.load_model(tmp_path / "ours.keras")
    np.testing.assert_allclose(loaded.predict(ids, verbose=0), expected, atol=1e-5)
