"""Recurrent layers whose states stay from one batch to the next, against Keras: over
several calls of `fit`, `evaluate`, `predict` and the model, on both engines, with
masks, and in files."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from twins import keras

import kurve
from kurve import layers

ROWS, STEPS, FEATURES = 3, 4, 2
K = keras.layers if keras is not None else None

STACKS: dict[str, Callable[[Any], list[Any]]] = {
    "LSTM": lambda lib: [lib.LSTM(4, stateful=True)],
    "GRU": lambda lib: [lib.GRU(4, stateful=True, reset_after=False)],
    "SimpleRNN": lambda lib: [lib.SimpleRNN(4, stateful=True, go_backwards=True)],
    "several": lambda lib: [
        lib.GRU(4, stateful=True, return_sequences=True),
        lib.LSTM(3, stateful=True),
    ],
    "both ways": lambda lib: [
        lib.Bidirectional(lib.LSTM(3, stateful=True, return_sequences=True)),
        lib.GlobalAveragePooling1D(),
    ],
    "masks": lambda lib: [lib.Masking(), lib.LSTM(4, stateful=True)],
    "cells": lambda lib: [
        lib.RNN([lib.LSTMCell(3), lib.GRUCell(4)], stateful=True),
    ],
}


@pytest.fixture(autouse=True)
def first_states_are_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras on torch writes new states into memory that its gradient still needs."""
    call = K.RNN.call

    @functools.wraps(call)
    def copied(
        self: Any,
        sequences: Any,
        initial_state: Any = None,
        mask: Any = None,
        training: bool = False,
    ) -> Any:
        if initial_state is None and self.stateful:
            initial_state = keras.tree.map_structure(
                lambda state: state.value.detach().clone(), self.states
            )
        return call(self, sequences, initial_state, mask, training)

    monkeypatch.setattr(K.RNN, "call", copied)


def data(batches: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batches * ROWS, STEPS, FEATURES)).astype(np.float32)
    x[::5, 1:3] = 0.0  # what Masking leaves out
    x[2] = 0.0
    return x, rng.normal(size=(len(x), 2)).astype(np.float32)


def model(lib: Any, package: Any, name: str, kind: str = "Sequential") -> Any:
    stack = [*STACKS[name](lib), lib.Dense(2)]
    x = package.Input(batch_shape=(ROWS, STEPS, FEATURES))
    if kind == "Sequential":
        return package.Sequential([x, *stack])
    y = x
    for layer in stack:
        y = layer(y)
    return package.Model(x, y)


def states_of(made: Any) -> list[np.ndarray]:
    """The states that stay, layer after layer."""
    found = []
    for layer in made.layers:
        parts = [layer]
        if hasattr(layer, "backward_layer"):
            parts = [layer.forward_layer, layer.backward_layer]
        for part in parts:
            for state in getattr(part, "states", None) or []:
                for one in state if isinstance(state, list) else [state]:
                    found.append(np.array(one.numpy()))
    return found


def reset(made: Any) -> None:
    """Begin with zeros again. Keras cannot where states are lists in lists."""
    for layer in made.layers:
        nested = isinstance(getattr(layer, "states", None), list) and isinstance(
            layer.states[0], list
        )
        if nested and isinstance(layer, K.RNN):
            for state in keras.tree.flatten(layer.states):
                state.assign(np.zeros(state.shape))
        elif getattr(layer, "stateful", False):
            layer.reset_states()


def agree(ours: Any, theirs: Any, tolerance: float) -> None:
    for one, other in zip(states_of(ours), states_of(theirs), strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("engine", ["native", "reference"])
@pytest.mark.parametrize("name", STACKS)
def test_over_batches(name: str, engine: str) -> None:
    theirs, ours = model(K, keras, name), model(layers, kurve, name)
    ours.set_weights(theirs.get_weights())
    assert len(ours.get_weights()) == len(theirs.get_weights())
    theirs.compile(keras.optimizers.SGD(0.1), "mse")
    ours.compile(kurve.optimizers.SGD(0.1), "mse", engine=engine)
    x, y = data()
    first = x[:ROWS]
    for _ in range(2):
        found = ours.predict(x, batch_size=ROWS, verbose=0)
        wanted = theirs.predict(x, batch_size=ROWS, verbose=0)
        np.testing.assert_allclose(found, wanted, 1e-5, 1e-5)
        np.testing.assert_allclose(ours(first), theirs(first).detach(), 1e-5, 1e-5)
        agree(ours, theirs, 1e-5)
    for _ in range(2):
        arguments = {"batch_size": ROWS, "shuffle": False, "verbose": 0}
        held = {"validation_data": (x[:ROWS], y[:ROWS]), "validation_batch_size": ROWS}
        one = ours.fit(x, y, epochs=2, **arguments, **held).history
        other = theirs.fit(x, y, epochs=2, **arguments, **held).history
        np.testing.assert_allclose(one["loss"], other["loss"], 1e-4)
        np.testing.assert_allclose(one["val_loss"], other["val_loss"], 1e-4)
        agree(ours, theirs, 1e-4)
        one = ours.train_on_batch(first, y[:ROWS])
        assert one == pytest.approx(float(theirs.train_on_batch(first, y[:ROWS])), 1e-4)
        one = ours.evaluate(x, y, batch_size=ROWS, verbose=0)
        other = theirs.evaluate(x, y, batch_size=ROWS, verbose=0)
        assert one == pytest.approx(other, 1e-4)
        agree(ours, theirs, 1e-4)
        reset(ours)
        reset(theirs)
    assert not any(state.any() for state in states_of(ours))
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["Sequential", "Model"])
@pytest.mark.parametrize("name", STACKS)
def test_files(name: str, kind: str, tmp_path: Path) -> None:
    """Models in files keep their batch size, and their states begin with zeros."""
    x, _ = data(1)
    theirs, ours = model(K, keras, name, kind), model(layers, kurve, name, kind)
    for made, ending, packages in (
        (theirs, ".keras", [kurve]),
        (ours, ".keras", [keras, kurve]),
        (ours, ".kurve", [kurve]),
    ):
        reset(made)
        path = tmp_path / f"model{ending}"
        made.save(path)
        first = np.array(made.predict(x, verbose=0))
        second = np.array(made.predict(x, verbose=0))
        assert np.abs(first - second).max() > 1e-4
        for package in packages:
            again = package.models.load_model(path)
            for wanted in (first, second):
                found = again.predict(x, verbose=0)
                np.testing.assert_allclose(found, wanted, 1e-5, 1e-5)
    copy = kurve.models.clone_model(ours)
    copy.set_weights(ours.get_weights())
    np.testing.assert_allclose(copy.predict(x, verbose=0), first, 1e-5, 1e-5)
    np.testing.assert_allclose(copy.predict(x, verbose=0), second, 1e-5, 1e-5)


def test_a_call_by_hand() -> None:
    """Of a layer alone, with and without first states, and the last states."""
    theirs = K.LSTM(4, stateful=True, return_state=True)
    ours = layers.LSTM(4, stateful=True, return_state=True)
    x, _ = data(2)
    first = x[:ROWS]
    theirs(first)
    ours(first)
    ours.set_weights(theirs.get_weights())
    theirs.reset_state()
    ours.reset_state()
    given = [np.full((ROWS, 4), 0.5, np.float32)] * 2
    for arguments in ({}, {}, {"initial_state": given}, {}):
        found, wanted = ours(x[ROWS:], **arguments), theirs(x[ROWS:], **arguments)
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(one, other.detach().numpy(), 1e-5, 1e-5)
