"""Keras's helpers for data, against Keras's."""

from __future__ import annotations

import numpy as np
import pytest
from twins import keras

import kurve

SEQUENCES = [[1, 2, 3, 4], [5], [], [6, 7]]


@pytest.mark.parametrize("maxlen", [None, 3, 6])
@pytest.mark.parametrize("padding", ["pre", "post"])
@pytest.mark.parametrize("truncating", ["pre", "post"])
def test_pad_sequences(maxlen: int | None, padding: str, truncating: str) -> None:
    given = {"maxlen": maxlen, "padding": padding, "truncating": truncating}
    ours = kurve.utils.pad_sequences(SEQUENCES, **given, value=-1)
    theirs = keras.utils.pad_sequences(SEQUENCES, **given, value=-1)
    assert ours.dtype == theirs.dtype and (ours == theirs).all()


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("order", [1, 2, np.inf])
def test_normalize(axis: int, order: float) -> None:
    x = np.random.default_rng(1).normal(size=(3, 4))
    x[1] = 0
    if axis == 0:  # Keras takes axis 0 for -1 when it divides
        expected = keras.utils.normalize(x.T, -1, order).T
    else:
        expected = keras.utils.normalize(x, axis, order)
    np.testing.assert_allclose(kurve.utils.normalize(x, axis, order), expected)


def test_types() -> None:
    for name in (bool, int, float, str, None, "uint8", np.float16, np.dtype("int64")):
        both = (kurve.backend, keras.backend)
        ours, theirs = (library.standardize_dtype(name) for library in both)
        assert ours == theirs
        for check in ("is_float_dtype", "is_int_dtype"):
            found = [getattr(b, check)(ours) for b in (kurve.backend, keras.backend)]
            assert found[0] == found[1]


@pytest.mark.parametrize("name", ["identity", "Identity", "IdentityInitializer"])
def test_identity(name: str) -> None:
    ours, theirs = (b.initializers.get(name) for b in (kurve, keras))
    expected = keras.ops.convert_to_numpy(theirs((2, 3)))
    assert (ours((2, 3)) == expected).all()


def test_seeds_of_keras_generators() -> None:
    """Two layers with one generator get different seeds, the same in each run."""

    def seeds() -> list[int]:
        generator = keras.random.SeedGenerator(3)
        return [kurve.layers.Dropout(0.5, seed=generator).seed for _ in range(2)]

    first = seeds()
    assert first == seeds() and first[0] != first[1]
