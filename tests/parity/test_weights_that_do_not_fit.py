"""load_weights(skip_mismatch=True): layers that do not fit keep their weights."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import kurve

ENDINGS = [".weights.h5", ".keras", ".h5", ".weights.kurve"]


def model(library: Any, classes: int, seed: int) -> Any:
    layers = library.layers
    made = library.Sequential(
        [
            library.Input((3,)),
            layers.Dense(4, name="body"),
            layers.BatchNormalization(name="norm"),
            layers.Dense(classes, name="head"),
        ]
    )
    generator = np.random.default_rng(seed)
    made.set_weights([generator.uniform(1.0, 2.0, w.shape) for w in made.get_weights()])
    return made


def write(made: Any, path: Path) -> None:
    if ".weights" in path.name:
        made.save_weights(path)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the old format
            made.save(path)


@pytest.mark.parametrize("ending", ENDINGS)
def test_other_classes(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"m{ending}"
    source = model(kurve, 5, seed=0)
    write(source, path)
    ours = model(kurve, 2, seed=1)
    before = ours.get_weights()
    with pytest.raises(ValueError):
        ours.load_weights(path)
    for a, b in zip(ours.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.warns(UserWarning, match="head"):
        ours.load_weights(path, skip_mismatch=True)
    expected = [*source.get_weights()[:6], *before[6:]]
    for a, b in zip(ours.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(a, b.astype(np.float32))
    if ending == ".weights.kurve":
        return
    theirs = model(keras, 2, seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs.load_weights(path, skip_mismatch=True)
    # Of a layer that does not fit, Keras may have assigned the first weights.
    for a, b in zip(ours.get_weights()[:6], theirs.get_weights()[:6], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_what_fits_is_loaded_without_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "m.weights.h5"
    source = model(kurve, 5, seed=0)
    source.save_weights(path)
    ours = model(kurve, 5, seed=1)
    ours.load_weights(path, skip_mismatch=True)
    for a, b in zip(ours.get_weights(), source.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_other_layers(tmp_path: Path) -> None:
    """A file with a layer more, and a model with a layer more."""
    path = tmp_path / "m.weights.h5"
    source = model(kurve, 5, seed=0)
    source.save_weights(path)
    longer = kurve.Sequential(
        [kurve.Input((3,)), kurve.layers.Dense(4), kurve.layers.Dense(4, name="new")]
    )
    before = longer.get_weights()
    with pytest.warns(UserWarning, match="new"):
        longer.load_weights(path, skip_mismatch=True)
    np.testing.assert_array_equal(longer.get_weights()[0], source.get_weights()[0])
    np.testing.assert_array_equal(longer.get_weights()[2], before[2])
