"""Inputs of texts, which layers turn into numbers before the engine computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import Input, Model, Sequential, layers
from kurve.models import load_model

RNG = np.random.default_rng(7)
KINDS = np.array(["x", "y", "unknown", "z"] * 8)[:, None]
NUMBERS = RNG.normal(size=(32, 2)).astype("float32")
Y = RNG.normal(size=(32, 1)).astype("float32")
TEXTS = np.array(["a b", "c d e", "b", ""] * 8)


def table() -> Model:
    """Categories by an embedding and one-hot, beside numbers."""
    kind, numbers = Input((1,), dtype="string", name="kind"), Input((2,), name="n")
    index = layers.StringLookup(vocabulary=["x", "y", "z"], name="index")(kind)
    hot = layers.StringLookup(vocabulary=["x", "y"], output_mode="one_hot")(kind)
    crossed = layers.HashedCrossing(5, output_mode="one_hot")([kind, kind])
    embedded = layers.Flatten()(layers.Embedding(4, 3)(index))
    joined = layers.Concatenate()([embedded, hot, crossed, numbers])
    return Model({"kind": kind, "n": numbers}, layers.Dense(1)(joined))


def vectorization(length: int | None) -> layers.TextVectorization:
    layer = layers.TextVectorization(output_sequence_length=length)
    layer.adapt(["a b c d", "b c d"])
    return layer


def test_as_with_numbers_from_the_layers() -> None:
    """And training gives the same bits."""
    model = table()
    kind, numbers = (model.get_layer(name).output for name in ("index", "n"))
    rest = [
        layer(KINDS) for layer in model.layers if isinstance(layer, layers.StringLookup)
    ]
    assert model.predict({"kind": KINDS, "n": NUMBERS}, verbose=0).shape == (32, 1)
    assert kind.shape == (None, 1) and numbers.shape == (None, 2)
    assert [part.shape for part in rest] == [(32, 1), (32, 3)]

    def trained(x: Any, first: Any, shape: Any, dtype: str) -> np.ndarray:
        kurve.utils.set_random_seed(1)
        given = Input(shape, dtype=dtype)
        y = layers.Dense(1)(layers.Flatten()(layers.Embedding(4, 3)(first(given))))
        made = Model(given, y)
        made.compile("adam", "mse", metrics=["mae"])
        made.fit(x, Y, epochs=3, batch_size=5, validation_split=0.25, verbose=0)
        return np.asarray(made.predict(x, verbose=0))

    lookup = layers.StringLookup(vocabulary=["x", "y", "z"])
    before = trained(lookup(KINDS), lambda x: x, (1,), "int32")
    assert (trained(KINDS, lookup, (1,), "string") == before).all()


@pytest.mark.parametrize("kind", ["kurve", "keras"])
def test_files(kind: str, tmp_path: Path) -> None:
    path = str(tmp_path / f"model.{kind}")
    if kind == "keras":
        pytest.importorskip("h5py")
    model, x = table(), {"kind": KINDS, "n": NUMBERS}
    model.compile("adam", "mse")
    model.fit(x, Y, verbose=0)
    model.save(path)
    loaded = load_model(path)
    assert (loaded.predict(x, verbose=0) == model.predict(x, verbose=0)).all()
    assert loaded.evaluate(x, Y, verbose=0) == model.evaluate(x, Y, verbose=0)


@pytest.mark.parametrize("given", [None, (), (1,)])
@pytest.mark.parametrize("length", [None, 6])
def test_a_stack(given: Any, length: int | None, tmp_path: Path) -> None:
    first = [] if given is None else [Input(given, dtype="string")]
    rest = [layers.Embedding(6, 4, mask_zero=True), layers.GRU(3), layers.Dense(1)]
    model = Sequential([*first, vectorization(length), *rest])
    model.compile("adam", "mse")
    model.fit(TEXTS, Y, epochs=2, validation_split=0.25, verbose=0)
    y = model.predict(TEXTS, verbose=0)
    assert y.shape == (32, 1)
    numbers = vectorization(length)(TEXTS)
    inside = Sequential([Input((None,)), *rest])
    np.testing.assert_array_equal(inside.predict(numbers, verbose=0), y)
    assert model.predict(np.array(["a b c d e f g h"]), verbose=0).shape == (1, 1)
    model.save(tmp_path / "stack.kurve")
    again = load_model(tmp_path / "stack.kurve")
    assert (again.predict(TEXTS, verbose=0) == y).all()
    outer = Input((1,), dtype="string")
    assert (Model(outer, model(outer)).predict(TEXTS, verbose=0) == y).all()


def test_a_model_that_only_encodes() -> None:
    x = Input((1,), dtype="string")
    layer = vectorization(3)
    found = Model(x, layer(x)).predict(TEXTS, verbose=0)
    assert (found == layer(TEXTS)).all()
    assert (Sequential([layer]).predict(TEXTS, verbose=0) == found).all()


def test_refused() -> None:
    x = Input((1,), dtype="string", name="text")
    with pytest.raises(TypeError, match="the input 'text' of dtype='string'"):
        Model(x, layers.Dense(1)(x))
    numbers = Input((1,))
    with pytest.raises(ValueError, match="inside a model"):
        Model(numbers, layers.Hashing(3)(layers.Dense(1)(numbers)))
    with pytest.raises(ValueError, match="layers that read strings cannot be exported"):
        table().export("model.onnx")
    with pytest.raises(ValueError, match="kind"):
        table().predict({"n": NUMBERS}, verbose=0)
