"""Graphs in which masks branch, and of unknown lengths: the order of their weights, and
files both ways, as in Keras."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from twins import keras

import kurve

RNG = np.random.default_rng(3)
WORDS = RNG.integers(0, 5, (3, 4))
NUMBERS = RNG.normal(size=(3, 4, 3)).astype(np.float32)
NUMBERS[0, 2:] = 0.0


def branches(lib: Any, last: Callable[[Any, Any, Any], Any], turned: bool) -> Any:
    """Layers of one class and one shape behind a mask and behind none."""
    k = lib.layers
    a, b = k.Input((4,), dtype="int32"), k.Input((4, 3))
    words = k.Embedding(5, 3, mask_zero=True)(a)
    pair = [
        k.LSTM(3, return_sequences=True)(words),
        k.LSTM(3, return_sequences=True)(k.Dense(3)(b)),
    ]
    y = last(k, *(pair[::-1] if turned else pair))
    return lib.Model([a, b], k.LSTM(2)(y))


def shared(lib: Any) -> Any:
    k = lib.layers
    a, b = k.Input((4,), dtype="int32"), k.Input((4, 3))
    both = k.SimpleRNN(3, return_sequences=True)
    x = k.Concatenate()([both(k.Masking()(b)), both(k.Dense(3)(b))])
    y = k.Add()([k.SimpleRNN(6, return_sequences=True)(x), x])
    words = k.Embedding(5, 6, mask_zero=True)(a)
    return lib.Model([a, b], k.GRU(2)(k.AdditiveAttention()([words, y])))


ENDS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "Concatenate": lambda k, a, b: k.Concatenate()([a, b]),
    "Add": lambda k, a, b: k.Add()([a, b]),
    "Maximum": lambda k, a, b: k.Maximum()([a, b]),
    "Attention": lambda k, a, b: k.Attention()([a, b]),
    "attention and itself": lambda k, a, b: k.Add()([a, k.Attention()([a, b])]),
    "heads": lambda k, a, b: k.MultiHeadAttention(2, 2)(a, b),
    "groups": lambda k, a, b: k.GroupQueryAttention(2, 2, 1, use_gate=True)(a, b),
    "gated heads": lambda k, a, b: k.MultiHeadAttention(2, 2, use_gate=True)(a, b),
}
MODELS: dict[str, Callable[[Any], Any]] = {
    f"{name}{' turned' if turned else ''}": (
        lambda lib, last=last, turned=turned: branches(lib, last, turned)
    )
    for name, last in ENDS.items()
    for turned in (False, True)
}
MODELS["shared"] = shared


@pytest.mark.parametrize("name", MODELS)
def test_order_and_files(name: str, tmp_path: Path) -> None:
    """Weights in Keras's order, in lists and in files: a wrong order of equal shapes
    would be a wrong model without an error."""
    theirs, ours = MODELS[name](keras), MODELS[name](kurve)
    x = [WORDS, NUMBERS]
    theirs.set_weights([RNG.normal(size=w.shape) for w in theirs.get_weights()])
    expected = theirs.predict(x, verbose=0)
    ours.set_weights(theirs.get_weights())
    np.testing.assert_allclose(ours.predict(x, verbose=0), expected, 1e-5, 1e-5)
    theirs.save(tmp_path / "theirs.keras")
    read = kurve.models.load_model(tmp_path / "theirs.keras")
    np.testing.assert_allclose(read.predict(x, verbose=0), expected, 1e-5, 1e-5)
    ours.save(tmp_path / "ours.keras")
    read = keras.models.load_model(tmp_path / "ours.keras")
    np.testing.assert_allclose(read.predict(x, verbose=0), expected, 1e-5, 1e-5)
    theirs.save_weights(tmp_path / "w.weights.h5")
    ours = MODELS[name](kurve)
    ours.load_weights(tmp_path / "w.weights.h5")
    np.testing.assert_allclose(ours.predict(x, verbose=0), expected, 1e-5, 1e-5)


LENGTHS: dict[str, Callable[[Any], list[Any]]] = {
    "last": lambda k: [k.Input((None, 3)), k.LSTM(4), k.Dense(1)],
    "each step": lambda k: [
        k.Input((None, 3)),
        k.Masking(),
        k.Bidirectional(k.GRU(2, return_sequences=True)),
        k.TimeDistributed(k.Dense(2)),
    ],
    "convolution": lambda k: [
        k.Input((None, 3)),
        k.Conv1D(4, 3, padding="same"),
        k.GlobalMaxPooling1D(),
    ],
    "words": lambda k: [k.Input((None,)), k.Embedding(5, 3, mask_zero=True), k.GRU(4)],
    "images": lambda k: [
        k.Input((None, None, 3)),
        k.Conv2D(2, 3),
        k.GlobalAveragePooling2D(),
    ],
}


@pytest.mark.parametrize("ending", [".keras", ".h5"])
@pytest.mark.parametrize("name", LENGTHS)
def test_stacks_of_unknown_length(name: str, ending: str, tmp_path: Path) -> None:
    """Predictions for several lengths, from files both ways, and of a training that
    goes on."""
    stack = keras.Sequential(LENGTHS[name](keras.layers))
    stack.compile(keras.optimizers.Adam(0.01), "mse")

    def rows(length: int) -> np.ndarray:
        if name == "words":
            return RNG.integers(0, 5, (4, length))
        shape = (4, length, length, 3) if name == "images" else (4, length, 3)
        return RNG.normal(size=shape).astype(np.float32)

    x = rows(6)
    y = RNG.normal(size=stack.predict(x, verbose=0).shape).astype(np.float32)
    stack.train_on_batch(x, y)
    stack.save(tmp_path / f"theirs{ending}")
    ours = kurve.models.load_model(tmp_path / f"theirs{ending}")
    assert ours.input_shape == stack.input_shape
    for length in (6, 3, 11):
        x = rows(length)
        wanted = stack.predict(x, verbose=0)
        np.testing.assert_allclose(ours.predict(x, verbose=0), wanted, 1e-5, 1e-5)
    ours.save(tmp_path / f"ours{ending}")
    again = kurve.models.load_model(tmp_path / f"ours{ending}")
    np.testing.assert_array_equal(
        again.predict(x, verbose=0), ours.predict(x, verbose=0)
    )
    theirs = keras.models.load_model(tmp_path / f"ours{ending}")
    np.testing.assert_allclose(theirs.predict(x, verbose=0), wanted, 1e-5, 1e-5)
    if ending == ".keras":
        x = rows(6)
        wanted = np.ravel(stack.train_on_batch(x, y))[0]
        np.testing.assert_allclose(again.train_on_batch(x, y), wanted, 1e-5)
        wanted = stack.predict(x, verbose=0)
        np.testing.assert_allclose(again.predict(x, verbose=0), wanted, 1e-4, 1e-5)
