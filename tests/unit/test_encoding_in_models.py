"""Encoding layers with a formula, in a model: what they give for arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from kurve.layers import CategoryEncoding, Discretization, IntegerLookup

NUMBERS = np.array([[0, 3, 3], [1, 1, 1], [2, 0, 3], [7, -4, 12]])
CLASSES = NUMBERS[:3]
REAL = np.array([[-2.0, 0.0, 0.5], [1.0, 3.5, -0.1]])


def lookup(**given: Any) -> IntegerLookup:
    return IntegerLookup(vocabulary=[3, -4, 1], **given)


CASES = [
    *((CategoryEncoding(4, mode), CLASSES) for mode in ("multi_hot", "count")),
    (CategoryEncoding(5, "one_hot"), CLASSES),
    (CategoryEncoding(4, "one_hot"), CLASSES[:, :1]),
    *(
        (Discretization([-1.0, 0.0, 1.0], output_mode=mode), REAL)
        for mode in ("int", "one_hot", "multi_hot", "count")
    ),
    *(
        (lookup(output_mode=mode), NUMBERS)
        for mode in ("int", "one_hot", "multi_hot", "count")
    ),
    (lookup(mask_token=0), NUMBERS),
    (lookup(mask_token=0, output_mode="count"), NUMBERS),
    (lookup(num_oov_indices=3), NUMBERS),
    (lookup(max_tokens=9, pad_to_max_tokens=True, output_mode="one_hot"), NUMBERS),
    (lookup(output_mode="tf_idf", idf_weights=[0.5, 1.5, 2.0]), NUMBERS),
]


@pytest.mark.parametrize(("layer", "x"), CASES, ids=lambda v: type(v).__name__)
@pytest.mark.parametrize("engine", ["native", "reference"])
def test_gives_what_it_gives_for_arrays(
    layer: Any, x: np.ndarray, engine: str, tmp_path: Path
) -> None:
    given = kurve.Input(x.shape[1:])
    model = kurve.Model(given, layer(given))
    expected = layer(x)
    assert model.output_shape[1:] == expected.shape[1:]
    model.compile(loss="mse", engine=engine)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-6)
    model.save(tmp_path / "m.kurve")
    again = kurve.models.load_model(tmp_path / "m.kurve")
    np.testing.assert_allclose(again.predict(x, verbose=0), expected, rtol=1e-6)


def test_learns_with_it_inside() -> None:
    x = np.random.default_rng(0).integers(0, 5, (200, 1))
    y = np.array([3.0, -1.0, 0.0, 2.0, 7.0])[x[:, 0]]
    layer = IntegerLookup(output_mode="one_hot")
    layer.adapt(x)
    stack = kurve.Sequential([kurve.Input((1,)), layer, kurve.layers.Dense(1)])
    stack.compile(kurve.optimizers.Adam(0.1), "mse")
    stack.fit(x, y, epochs=60, verbose=0)
    assert stack.evaluate(x, y, verbose=0) < 1e-2


def test_weights_of_a_count() -> None:
    x, w = kurve.Input((3,)), kurve.Input((3,))
    layer = CategoryEncoding(4, "count")
    model = kurve.Model([x, w], layer(x, count_weights=w))
    weights = np.array([[0.5, 1.0, 2.0]] * 3)
    found = model.predict([CLASSES, weights], verbose=0)
    np.testing.assert_allclose(found, layer(CLASSES, count_weights=weights))


@pytest.mark.parametrize(
    ("layer", "rule"),
    [
        (Discretization(num_bins=3), "no bins yet"),
        (IntegerLookup(), "no vocabulary yet"),
        (lookup(invert=True), "cannot invert"),
        (lookup(num_oov_indices=2, oov_method="farmhash"), "cannot hash"),
        (IntegerLookup(vocabulary=[2**24]), "float32"),
    ],
)
def test_what_cannot_be_in_a_model(layer: Any, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        layer(kurve.Input((3,)))
