"""Every layer comes back from a file as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kurve import Input, Sequential, layers, models

NEEDED: dict[str, dict[str, Any]] = {
    "Activation": {"activation": "gelu"},
    "Dense": {"units": 2},
    "Dropout": {"rate": 0.5},
    "FourierFeatures": {"frequencies": 2},
    "GaussianNoise": {"stddev": 0.1},
    "GaussianDropout": {"rate": 0.2, "seed": 3},
    "AlphaDropout": {"rate": 0.2},
    "Rescaling": {"scale": 0.5},
    "Reshape": {"target_shape": (-1, 2)},
    "SpatialDropout1D": {"rate": 0.5},
    "SpatialDropout2D": {"rate": 0.5},
    "RandomFlip": {},
    "RandomRotation": {"factor": 0.1},
    "RandomTranslation": {"height_factor": 0.1, "width_factor": 0.1},
    "RandomZoom": {"height_factor": 0.1},
}


def arguments(name: str) -> dict[str, Any]:
    """What its constructor cannot do without."""
    if name in NEEDED:
        return NEEDED[name]
    if "Depthwise" in name:
        return {"kernel_size": 3}
    return {"filters": 2, "kernel_size": 3} if "Conv" in name else {}


@pytest.mark.parametrize("name", layers.CLASSES)
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
