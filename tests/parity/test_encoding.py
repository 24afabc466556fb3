"""Encoding layers called on arrays, against Keras's. Those that Keras computes with
TensorFlow are compared with its recorded numbers in tests/unit/test_encoding.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from twins import keras

from kurve import layers

RNG = np.random.default_rng(5)


def numbers(result: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(result))


@pytest.mark.parametrize("epsilon", [0.01, 0.05, 0.5])
@pytest.mark.parametrize("bins", [2, 4, 9])
@pytest.mark.parametrize("count", [3, 50, 1000])
def test_adapt_of_discretization(bins: int, epsilon: float, count: int) -> None:
    """Of one array and of batches."""
    batches = [RNG.normal(size=count).astype(np.float32) for _ in range(3)]
    for data in ([batches[0]], batches):
        ours = layers.Discretization(num_bins=bins, epsilon=epsilon)
        theirs = keras.layers.Discretization(num_bins=bins, epsilon=epsilon)
        ours.adapt(data if len(data) > 1 else data[0])
        for batch in data:
            theirs.update_state(batch)
        theirs.finalize_state()
        np.testing.assert_allclose(ours.bin_boundaries, theirs.bin_boundaries, 1e-6)
        config = {**theirs.get_config(), "name": "d", "dtype": None}
        again = layers.Discretization.from_config(config)
        assert again.bin_boundaries == tuple(theirs.bin_boundaries)


SHAPES = [(4,), (4, 1), (4, 3), (2, 3, 4)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("mode", ["int", "one_hot", "multi_hot", "count"])
def test_discretization(mode: str, shape: tuple[int, ...]) -> None:
    x = RNG.normal(size=shape).astype(np.float32)
    x.flat[0] = 0.5  # on a boundary
    given = {"bin_boundaries": [-1.0, 0.0, 0.5], "output_mode": mode}
    ours, theirs = layers.Discretization(**given), keras.layers.Discretization(**given)
    expected = numbers(theirs(x))
    found = ours(x)
    assert found.shape == expected.shape and found.dtype == expected.dtype
    assert (found == expected).all()


@pytest.mark.parametrize("shape", [(), *SHAPES], ids=str)
@pytest.mark.parametrize("mode", ["one_hot", "multi_hot", "count"])
def test_category_encoding(mode: str, shape: tuple[int, ...]) -> None:
    x = RNG.integers(0, 5, shape)
    ours = layers.CategoryEncoding(5, mode)
    theirs = keras.layers.CategoryEncoding(5, mode)
    expected, found = numbers(theirs(x)), ours(x)
    assert found.shape == expected.shape and found.dtype == expected.dtype
    assert (found == expected).all()


def test_weights_of_counts() -> None:
    x, weights = RNG.integers(0, 5, (4, 3)), RNG.uniform(size=(4, 3))
    ours, theirs = (lib.CategoryEncoding(5, "count") for lib in (layers, keras.layers))
    expected = numbers(theirs(x, count_weights=weights))
    np.testing.assert_allclose(ours(x, count_weights=weights), expected, 1e-6)
