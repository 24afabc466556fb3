"""Recurrent layers against Keras: predictions and training of every layer with every
pattern of masks, and what each one is made of."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from twins import keras

import kurve
from kurve import layers
from kurve.formulas import functions
from kurve.formulas import recurrence as loops

RNG = np.random.default_rng(0)
K = keras.layers if keras is not None else None
ROWS, STEPS, FEATURES, UNITS = 6, 5, 3, 4

MASKS: dict[str, np.ndarray | None] = {
    "none": None,
    "right": np.arange(STEPS) < np.array([[5], [3], [1], [2], [4], [5]]),
    "left": np.arange(STEPS) >= np.array([[0], [3], [1], [2], [4], [0]]),
    "holes": np.array([[1, 0, 1, 0, 1], [0, 1, 0, 0, 1], [1, 1, 0, 1, 0]] * 2, bool),
    "wholly": np.array([[0] * 5, [1] * 5, [0, 0, 0, 0, 1]] * 2, bool),
}
"""True for steps that count."""

Made = Callable[..., Any]


def of_ones_own(lib: Any, **flags: Any) -> Any:
    """A cell with two states and layers in it, whose output is none of them."""
    ops = functions if lib is layers else keras.ops

    class Own(lib.Layer):  # type: ignore[misc]
        def __init__(self, units: int, **common: Any) -> None:
            super().__init__(**common)
            self.units = units
            self.state_size = [units, units]
            self.output_size = units
            self.dense = lib.Dense(units, activation="tanh")

        def build(self, input_shape: Any) -> None:
            self.u = self.add_weight(
                shape=(self.units, self.units), initializer="glorot_uniform", name="u"
            )
            self.dense.build(input_shape)
            self.built = True

        def call(self, inputs: Any, states: Any) -> Any:
            a, b = states
            a = self.dense(inputs) + ops.matmul(a, self.u)
            b = 0.5 * b + a
            return ops.tanh(b), [a, b]

    return lib.RNN(Own(UNITS), **flags)


LAYERS: dict[str, Made] = {
    "LSTM": lambda lib, **flags: lib.LSTM(UNITS, **flags),
    "GRU": lambda lib, **flags: lib.GRU(UNITS, **flags),
    "GRU reset before": lambda lib, **flags: lib.GRU(UNITS, reset_after=False, **flags),
    "SimpleRNN": lambda lib, **flags: lib.SimpleRNN(UNITS, **flags),
    "LSTM others": lambda lib, **flags: lib.LSTM(
        UNITS, "hard_tanh", "hard_sigmoid", use_bias=False, **flags
    ),
    "GRU others": lambda lib, **flags: lib.GRU(
        UNITS, "mish", "hard_sigmoid", use_bias=False, **flags
    ),
    "SimpleRNN others": lambda lib, **flags: lib.SimpleRNN(
        UNITS, "softsign", kernel_regularizer="l2", **flags
    ),
    "stack": lambda lib, **flags: lib.RNN(
        [lib.LSTMCell(3), lib.GRUCell(UNITS)], **flags
    ),
    "of one's own": of_ones_own,
}
FLAGS = [
    {"return_sequences": s, "return_state": r, "go_backwards": b}
    for s, r, b in itertools.product((False, True), repeat=3)
]


def network(lib: Any, made: list[Made], mask: bool) -> Any:
    """A model of x, and of a mask, with these layers side by side, in which gradients
    reach their input."""
    models = kurve if lib is layers else keras
    reshape = functions.reshape if lib is layers else keras.ops.reshape
    x = models.Input((STEPS, FEATURES))
    m = models.Input((STEPS,))
    h = lib.Dense(FEATURES)(x)
    given = {"mask": m > 0.5} if mask else {}
    flat = [  # by a function, which has no say in masks
        reshape(part, (-1, int(np.prod(part.shape[1:]))))
        for make in made
        for part in tensors(make(lib)(h, **given))
    ]
    return models.Model([x, m] if mask else x, lib.Concatenate()(flat))


def tensors(structure: Any) -> list[Any]:
    if isinstance(structure, (list, tuple)):
        return [leaf for part in structure for leaf in tensors(part)]
    return [structure]


def compare(made: list[Made], pattern: str, engine: str = "native") -> None:
    """Both from the same weights: predictions, losses and weights agree."""
    x = RNG.normal(size=(ROWS, STEPS, FEATURES)).astype(np.float32)
    mask = MASKS[pattern]
    data = x if mask is None else [x, mask.astype(np.float32)]
    theirs = network(K, made, mask is not None)
    ours = network(layers, made, mask is not None)
    assert [w.shape for w in ours.weights] == [tuple(w.shape) for w in theirs.weights]
    weights = [0.5 * RNG.normal(size=w.shape) for w in theirs.weights]
    theirs.set_weights(weights)
    ours.set_weights(weights)
    expected = theirs.predict(data, verbose=0)
    np.testing.assert_allclose(ours.predict(data, verbose=0), expected, 1e-5, 1e-5)
    y = RNG.normal(size=expected.shape).astype(np.float32)
    theirs.compile(keras.optimizers.SGD(0.5), "mse")
    ours.compile(kurve.optimizers.SGD(0.5), "mse", engine=engine)
    for _ in range(20):
        wanted = np.ravel(theirs.train_on_batch(data, y))[0]
        np.testing.assert_allclose(ours.train_on_batch(data, y), wanted, 1e-4)
    moved = 0.0
    for e, g, w, first in zip(
        theirs.get_weights(), ours.get_weights(), ours.weights, weights, strict=True
    ):
        np.testing.assert_allclose(g, e, 1e-4, 1e-4, err_msg=w.name)
        moved = max(moved, np.abs(g - first).max())
    assert moved > 0.01
    theirs.set_weights(ours.get_weights())
    np.testing.assert_allclose(
        ours.predict(data, verbose=0), theirs.predict(data, verbose=0), 1e-5, 1e-5
    )


@pytest.mark.parametrize("pattern", MASKS)
@pytest.mark.parametrize("name", LAYERS)
def test_masks_and_flags(name: str, pattern: str) -> None:
    """All flags side by side, twenty steps of training."""
    made = LAYERS[name]
    compare([lambda lib, f=flags: made(lib, **f) for flags in FLAGS], pattern)


@pytest.mark.parametrize("pattern", MASKS)
def test_bidirectional(pattern: str) -> None:
    """All ways to merge, and flags."""

    def made(lib: Any, mode: str | None, sequences: bool, state: bool) -> Any:
        flags = {"return_sequences": sequences, "return_state": state}
        if not state:
            return lib.Bidirectional(lib.LSTM(2, **flags), merge_mode=mode)
        back = lib.GRU(2, "relu", go_backwards=True, **flags)
        return lib.Bidirectional(lib.GRU(2, **flags), mode, backward_layer=back)

    every: list[tuple[str | None, bool, bool]] = [
        ("concat", False, False),
        ("concat", True, True),
        ("sum", True, False),
        ("mul", False, True),
        ("ave", True, True),
        (None, False, True),
        (None, True, False),
    ]
    compare([lambda lib, a=a: made(lib, *a) for a in every], pattern)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("pattern", ["none", "left", "wholly"])
def test_initial_states(name: str, pattern: str) -> None:
    """Before the first step that counts the outputs are 0, and the states stay."""
    count = {"LSTM": 2, "stac": 3, "of o": 2}.get(name[:4], 1)
    x = RNG.normal(size=(ROWS, STEPS, FEATURES)).astype(np.float32)
    widths = [3, 3, UNITS] if name == "stack" else [UNITS] * count
    states = [RNG.normal(size=(ROWS, w)).astype(np.float32) for w in widths]
    mask = MASKS[pattern]
    built: list[Any] = []
    for lib in (K, layers):
        layer = LAYERS[name](lib, return_sequences=True, return_state=True)
        given: Any = [states[:2], states[2:]] if name == "stack" else states
        if lib is K:
            given = keras.tree.map_structure(keras.ops.convert_to_tensor, given)
        named = {} if mask is None else {"mask": mask}
        if built:
            layer.build((None, STEPS, FEATURES))
            layer.set_weights(built[0].get_weights())
        built.append(layer)
        built.append(layer(x, initial_state=given, **named))
    _, expected, _, got = built
    for e, g in zip(tensors(expected), tensors(got), strict=True):
        wanted = keras.ops.convert_to_numpy(e)
        np.testing.assert_allclose(g, wanted, 1e-4, 1e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_configurations(name: str) -> None:
    """Arguments and values are Keras's, and each is made from it again."""
    if name == "of one's own":
        return
    for flags in FLAGS:
        theirs = LAYERS[name](K, **flags, name="one").get_config()
        ours = LAYERS[name](layers, **flags, name="one").get_config()
        theirs.pop("dtype")
        assert plain(ours) == plain(theirs)
        again = type(LAYERS[name](layers)).from_config(ours)
        assert again.get_config() == ours


def plain(value: Any) -> Any:
    """A configuration without what only Keras writes, and without made up names."""
    if isinstance(value, dict):
        if "class_name" in value:
            config = dict(value["config"])
            for key in ("dtype", "name", "seed", "input_axes", "output_axes"):
                config.pop(key, None)
            return value["class_name"], plain(config)
        return {k: plain(v) for k, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, (list, tuple)) else value


@pytest.mark.parametrize("cls", ["LSTMCell", "GRUCell", "SimpleRNNCell"])
def test_cells(cls: str) -> None:
    """Called by hand, and their configurations."""
    x = RNG.normal(size=(ROWS, FEATURES)).astype(np.float32)
    theirs, ours = getattr(K, cls)(UNITS), getattr(layers, cls)(UNITS)
    count = 2 if cls == "LSTMCell" else 1
    states = [RNG.normal(size=(ROWS, UNITS)).astype(np.float32) for _ in range(count)]
    tensor = keras.ops.convert_to_tensor
    expected = theirs(tensor(x), [tensor(s) for s in states])
    ours.build((None, FEATURES))
    ours.set_weights(theirs.get_weights())
    for e, g in zip(tensors(expected), tensors(ours(x, states)), strict=True):
        np.testing.assert_allclose(g, keras.ops.convert_to_numpy(e), 1e-4, 1e-5)
    config = theirs.get_config()
    config.pop("dtype")
    assert plain({**ours.get_config(), "name": ""}) == plain({**config, "name": ""})
    assert ours.state_size == theirs.state_size
    assert ours.output_size == theirs.output_size


@pytest.mark.parametrize("gates", [False, True])
@pytest.mark.parametrize("cls", ["LSTM", "GRU", "SimpleRNN"])
def test_what_is_dropped(cls: str, gates: bool) -> None:
    """Means over many rows: shares, the same elements in all steps, and with
    recurrent_dropout others for each gate."""
    rows, rate = 4000, 0.25
    x = np.ones((rows, 3, 2), np.float32)
    found = []
    for lib in (K, layers):
        layer = getattr(lib, cls)(
            1,
            "linear",
            *([] if cls == "SimpleRNN" else ["linear"]),
            dropout=rate,
            recurrent_dropout=rate if gates else 0.0,
            return_sequences=True,
            seed=3,
        )
        layer.build((None, 3, 2))
        weights = [np.full(w.shape, 0.4) for w in layer.get_weights()]
        layer.set_weights(weights)
        y = layer(x, training=True)
        found.append(np.asarray(y if lib is layers else keras.ops.convert_to_numpy(y)))
    theirs, ours = (y[..., 0] for y in found)
    for moment in (np.mean, np.std):
        np.testing.assert_allclose(moment(ours, 0), moment(theirs, 0), rtol=0.08)
    for one, other in ((ours, theirs), (theirs, ours)):
        near = np.abs(shares(one[:, 0], 0.03)[:, None] - shares(other[:, 0], 0.01))
        assert near.min(1).max() < 1e-3


def shares(values: np.ndarray, least: float) -> np.ndarray:
    """The values that at least this share of rows has."""
    found, counts = np.unique(values.round(4), return_counts=True)
    chosen: np.ndarray = found[counts > least * len(values)]
    return chosen


def test_variable_lengths() -> None:
    models = []
    for lib, package in ((K, keras), (layers, kurve)):
        x = package.Input((None, FEATURES))
        h = lib.Bidirectional(lib.LSTM(UNITS, return_sequences=True))(x)
        models.append(package.Model(x, lib.Dense(1)(lib.GRU(UNITS)(h))))
    theirs, ours = models
    assert ours.output_shape == theirs.output_shape
    ours.set_weights(theirs.get_weights())
    for length in (1, 4, 9):
        x = RNG.normal(size=(ROWS, length, FEATURES)).astype(np.float32)
        np.testing.assert_allclose(
            ours.predict(x, verbose=0), theirs.predict(x, verbose=0), 1e-4, 1e-5
        )


MODELS: dict[str, Callable[[Any], list[Any]]] = {
    "plain": lambda lib: [
        lib.LSTM(
            4, return_sequences=True, dropout=0.1, recurrent_constraint="max_norm"
        ),
        lib.GRU(3, reset_after=False, return_sequences=True, recurrent_dropout=0.1),
        lib.SimpleRNN(4, activation="relu", kernel_regularizer="l2"),
    ],
    "both ways": lambda lib: [
        lib.Bidirectional(lib.LSTM(4, return_sequences=True)),
        lib.Bidirectional(
            lib.GRU(3),
            merge_mode="sum",
            backward_layer=lib.GRU(3, go_backwards=True, activation="relu"),
        ),
    ],
    "cells": lambda lib: [
        lib.RNN(lib.LSTMCell(4, unit_forget_bias=False), return_sequences=True),
        lib.RNN([lib.GRUCell(4), lib.LSTMCell(2), lib.LSTMCell(3)]),
    ],
    "layers in layers": lambda lib: [lib.TimeDistributed(lib.Dense(4)), lib.LSTM(2)],
}


@pytest.mark.parametrize("ending", [".keras", ".h5"])
@pytest.mark.parametrize("kind", ["Model", "Sequential"])
@pytest.mark.parametrize("name", MODELS)
def test_files(name: str, kind: str, ending: str, tmp_path: Path) -> None:
    """Those of Keras load here, and ours there, trained on and with equal names."""
    built = []
    for lib, package in ((K, keras), (layers, kurve)):
        stack = MODELS[name](lib)
        if kind == "Sequential":
            model = package.Sequential([package.Input((STEPS, FEATURES)), *stack])
        else:
            x = y = package.Input((STEPS, FEATURES))
            for layer in stack:
                y = layer(y)
            model = package.Model(x, y)
        model.compile("adam", "mse")
        built.append(model)
    theirs, ours = built
    data = RNG.normal(size=(ROWS, STEPS, FEATURES)).astype(np.float32)
    target = np.ones((ROWS, *theirs.output_shape[1:]), np.float32)
    theirs.fit(data, target, verbose=0)
    ours.fit(data, target, verbose=0)
    theirs.save(tmp_path / f"theirs{ending}")
    ours.save(tmp_path / f"ours{ending}")
    pairs = (
        (theirs, kurve.models.load_model(tmp_path / f"theirs{ending}")),
        (ours, keras.models.load_model(tmp_path / f"ours{ending}")),
    )
    for one, again in pairs:
        np.testing.assert_allclose(
            again.predict(data, verbose=0), one.predict(data, verbose=0), 1e-5, 1e-6
        )
        assert again.count_params() == one.count_params()
    if kind == "Model":
        names = [w.path for w in theirs.weights]
        assert [w.name for w in pairs[0][1].weights] == names


def test_states_in_files(tmp_path: Path) -> None:
    """An encoder whose states start a decoder."""
    for lib, package, other in ((K, keras, kurve), (layers, kurve, keras)):
        x, z = package.Input((None, FEATURES)), package.Input((None, 2))
        _, *states = lib.LSTM(UNITS, return_state=True)(x)
        y = lib.LSTM(UNITS, return_sequences=True)(z, initial_state=states)
        model = package.Model([x, z], y)
        data = [RNG.normal(size=(ROWS, 4, n)).astype(np.float32) for n in (FEATURES, 2)]
        model.save(tmp_path / "m.keras")
        again = other.models.load_model(tmp_path / "m.keras")
        np.testing.assert_allclose(
            again.predict(data, verbose=0), model.predict(data, verbose=0), 1e-5, 1e-6
        )


def test_the_loop_is_one_operation() -> None:
    """Where engines have it; the comparisons above then speak of it."""
    for cls in ("LSTM", "GRU", "SimpleRNN"):
        if loops.is_operation(getattr(layers, f"{cls}Cell").kind):
            model = kurve.Sequential(
                [kurve.Input((STEPS, FEATURES)), getattr(layers, cls)(UNITS)]
            )
            assert len(model._network.plan.ops) == 1
