"""The loss "crossentropy", which the targets make binary, sparse or categorical."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import kurve

CASES: dict[str, tuple[tuple[int, ...], int, str, bool]] = {
    "binary, a vector": ((12,), 1, "sigmoid", False),
    "binary, a column": ((12, 1), 1, "sigmoid", False),
    "classes, a vector": ((12,), 3, "softmax", False),
    "classes, a column": ((12, 1), 3, "softmax", False),
    "one-hot": ((12,), 3, "softmax", True),
}


def losses_of(library: Any, case: str, name: str) -> tuple[list[float], list[float]]:
    shape, units, activation, one_hot = CASES[case]
    generator = np.random.default_rng(0)
    x = generator.normal(size=(12, 4)).astype(np.float32)
    y = generator.integers(0, max(units, 2), shape)
    y = np.eye(3)[y] if one_hot else y
    dense = library.layers.Dense(units, activation=activation)
    model = library.Sequential([library.Input((4,)), dense])
    kernel = generator.normal(size=(4, units))
    model.set_weights([kernel.astype(np.float32), np.zeros(units, np.float32)])
    model.compile("sgd", name, metrics=["accuracy"])
    history = model.fit(x, y, epochs=3, batch_size=4, shuffle=False, verbose=0)
    return history.history["loss"], model.evaluate(x, y, verbose=0)


@pytest.mark.parametrize("name", ["crossentropy", "ce"])
@pytest.mark.parametrize("case", CASES)
def test_the_targets_decide(case: str, name: str) -> None:
    ours, theirs = losses_of(kurve, case, name), losses_of(keras, case, name)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5)


def test_files(tmp_path: Path) -> None:
    x, y = np.ones((4, 2), np.float32), np.array([0, 1, 2, 1])
    model = kurve.Sequential([kurve.Input((2,)), kurve.layers.Dense(3, "softmax")])
    model.compile("sgd", "crossentropy")
    model.fit(x, y, verbose=0)
    expected = model.evaluate(x, y, verbose=0)
    for name in ("m.kurve", "m.keras"):
        model.save(tmp_path / name)
        loaded = kurve.models.load_model(tmp_path / name)
        assert loaded.evaluate(x, y, verbose=0) == expected
    theirs = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(theirs.evaluate(x, y, verbose=0), expected, rtol=1e-5)


@pytest.mark.parametrize("library", [kurve, keras])
def test_only_in_compile(library: Any) -> None:
    with pytest.raises(ValueError):
        library.losses.get("crossentropy")
