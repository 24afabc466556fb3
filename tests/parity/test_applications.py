"""Networks of `keras.applications`: the same layers, weights and predictions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kurve import applications
from kurve.errors import MissingFileError

keras = pytest.importorskip("keras")

NETWORKS = {
    "MobileNet": (32, {"alpha": 0.25, "classes": 5}),
    "MobileNetV2": (33, {"alpha": 0.35, "classes": 5}),
}


def names(model: Any) -> list[str]:
    """The layers without the numbers of automatic names."""
    return [re.sub(r"_\d+$", "", layer.name) for layer in model.layers]


@pytest.mark.parametrize("name", NETWORKS)
def test_predicts_what_keras_predicts(name: str) -> None:
    side, options = NETWORKS[name]
    given: Any = {"input_shape": (side, side, 3), "weights": None, **options}
    model = getattr(applications, name)(**given)
    other = getattr(keras.applications, name)(**given)
    assert (model.name, names(model)) == (other.name, names(other))
    draw = np.random.default_rng(0)
    weights = []
    for variable in other.weights:
        value = draw.normal(0.0, 0.05, variable.shape)
        value += "gamma" in variable.path or "variance" in variable.path
        weights.append(np.abs(value) if "variance" in variable.path else value)
    model.set_weights(weights)
    other.set_weights(weights)
    x = draw.uniform(0, 1, (2, side, side, 3)).astype("float32")
    expected = other.predict(x, verbose=0)
    scale = np.abs(expected).max()
    found = model.predict(x, verbose=0)
    np.testing.assert_allclose(found, expected, atol=2e-5 * scale)


@pytest.mark.parametrize("top", [True, False])
def test_reads_the_file_that_keras_downloads(
    top: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from keras.src.legacy.saving import legacy_h5_format

    h5py = pytest.importorskip("h5py")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    given: Any = {"input_shape": (128, 128, 3), "alpha": 0.25, "include_top": top}
    with pytest.raises(MissingFileError, match="nothing is downloaded") as error:
        applications.MobileNet(**given)
    path = re.search(r"no file '(.*?)'", str(error.value))
    assert path is not None and f"2_5_128_tf{'' if top else '_no_top'}.h5" in path[1]
    other = keras.applications.MobileNet(**given, weights=None)
    Path(path[1]).parent.mkdir()
    with h5py.File(path[1], "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, other)
    model = applications.MobileNet(**given)
    for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("mode", ["tf", "torch", "caffe"])
def test_preprocesses_images_like_keras(mode: str) -> None:
    ours, theirs = (
        package.imagenet_utils.preprocess_input
        for package in (applications, keras.applications)
    )
    x = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3))
    expected = theirs(x.astype("float32"), mode=mode)
    for dtype in ("float32", "uint8"):
        np.testing.assert_allclose(ours(x.astype(dtype), mode=mode), expected, 1e-6)
    from kurve import Input, Model

    image = Input((4, 4, 3))
    model = Model(image, ours(image, mode=mode))
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, 1e-5, 1e-5)


def test_a_tensor_as_input_and_errors() -> None:
    from kurve import Input, layers

    x = Input((32, 32, 1))
    rgb = layers.Concatenate()([x, x, x])
    base = applications.MobileNet(
        weights=None, include_top=False, input_tensor=rgb, alpha=0.25
    )
    assert base.input is x and base.output_shape == (None, 1, 1, 256)
    for wrong in (
        {"weights": "imagenet", "classes": 3},
        {"weights": None, "input_shape": (8, 8, 3)},
        {"weights": None, "pooling": "mean", "include_top": False},
    ):
        with pytest.raises(ValueError, match=r"\[VGG16\]"):
            applications.VGG16(**wrong)
    with pytest.raises(MissingFileError, match="Try weights=None"):
        applications.VGG16(weights="nowhere.h5")
