"""Images given one size, against Keras's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from twins import keras

from kurve import layers

RNG = np.random.default_rng(5)
SHAPES = [(2, 7, 9, 3), (7, 9, 1), (1, 4, 4, 2), (2, 16, 5, 3)]
SIZES = [(4, 4), (7, 9), (3, 11), (12, 6), (1, 1)]


def same(ours: Any, theirs: Any, x: np.ndarray) -> None:
    expected = np.asarray(keras.ops.convert_to_numpy(theirs(x)))
    found = ours(x)
    assert found.shape == expected.shape and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=5e-6)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize("fit", ["", "crop_to_aspect_ratio", "pad_to_aspect_ratio"])
def test_resizing(
    fit: str, interpolation: str, size: tuple[int, int], shape: tuple[int, ...]
) -> None:
    given: dict[str, Any] = {"interpolation": interpolation, "fill_value": 0.5}
    given |= {fit: True} if fit else {}
    both = (library.Resizing(*size, **given) for library in (layers, keras.layers))
    same(*both, RNG.normal(size=shape).astype(np.float32))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_center_crop(size: tuple[int, int], shape: tuple[int, ...]) -> None:
    both = (library.CenterCrop(*size) for library in (layers, keras.layers))
    same(*both, RNG.normal(size=shape).astype(np.float32))
