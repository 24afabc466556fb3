"""Every layer comes back from a file as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kurve import Input, Model, Sequential, layers, models

NEEDED: dict[str, dict[str, Any]] = {
    "Activation": {"activation": "gelu"},
    "Dense": {"units": 2},
    "Dropout": {"rate": 0.5},
    "FourierFeatures": {"frequencies": 2},
    "GaussianNoise": {"stddev": 0.1},
    "Rescaling": {"scale": 0.5},
    "Reshape": {"target_shape": (-1, 2)},
    "SpatialDropout1D": {"rate": 0.5},
    "SpatialDropout2D": {"rate": 0.5},
    "RandomFlip": {},
    "RandomRotation": {"factor": 0.1},
    "Dot": {"axes": 1},
    "RandomTranslation": {"height_factor": 0.1, "width_factor": 0.1},
}


def arguments(name: str) -> dict[str, Any]:
    """What its constructor cannot do without."""
    if name in NEEDED:
        return NEEDED[name]
    if "Depthwise" in name:
        return {"kernel_size": 3}
    return {"filters": 2, "kernel_size": 3} if "Conv" in name else {}


@pytest.mark.parametrize(
    "name", [n for n, cls in layers.CLASSES.items() if not cls.takes_several]
)
def test_layers(name: str, tmp_path: Path) -> None:
    shape = (6, 2) if "1D" in name else (6, 6, 2)
    layer: Any = layers.CLASSES[name](**arguments(name))
    model = Sequential([Input(shape), layer, layers.Flatten(), layers.Dense(1)])
    model.compile("adam", "mse", engine="reference")
    x = np.random.default_rng(1).normal(size=(4, *shape))
    model.fit(x, np.zeros(4), verbose=0)
    model.save(tmp_path / "m.kurve")
    again = models.load_model(tmp_path / "m.kurve")
    assert again.get_config() == model.get_config()
    for one in (model, again):
        one.fit(x, np.ones(4), verbose=0)
    np.testing.assert_array_equal(again.predict(x), model.predict(x))


@pytest.mark.parametrize(
    "name", [n for n, cls in layers.CLASSES.items() if cls.takes_several]
)
def test_layers_of_several_inputs(name: str, tmp_path: Path) -> None:
    a, b = Input((3,)), Input((3,))
    merged = layers.CLASSES[name](**arguments(name))([layers.Dense(3)(a), b])
    model = Model([a, b], layers.Dense(1)(merged))
    model.save(tmp_path / "m.kurve")
    again = models.load_model(tmp_path / "m.kurve")
    assert again.get_config() == model.get_config()
    assert again._network.plan == model._network.plan
    for one, other in zip(again.weights, model.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
