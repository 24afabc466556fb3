"""The numbers of parameters that Keras's documentation says of its networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kurve import applications, initializers

PARAMETERS = {
    "DenseNet121": 8_062_504,
    "EfficientNetB0": 5_330_571,
    "InceptionResNetV2": 55_873_736,
    "InceptionV3": 23_851_784,
    "MobileNet": 4_253_864,
    "MobileNetV2": 3_538_984,
    "ResNet50": 25_636_712,
    "Xception": 22_910_480,
}


def zeros(_: Any, shape: tuple[int, ...], *__: Any, **___: Any) -> np.ndarray:
    """Initial values at no cost."""
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_published_number(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(initializers, "draw", zeros)
    model = getattr(applications, name)(weights=None)
    assert model.count_params() == PARAMETERS[name]
    assert model.output_shape == (None, 1000)


def test_what_is_not_there() -> None:
    with pytest.raises(AttributeError, match="Try EfficientNetB0"):
        applications.NASNetMobile  # noqa: B018
    assert {"VGG16", "vgg16", "ResNet152V2"} <= set(dir(applications))
