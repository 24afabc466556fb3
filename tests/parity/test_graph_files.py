"""Models that are graphs in Keras's files: both read what the other wrote."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import kurve
from kurve import models
from kurve.engines import get_engine
from kurve.exchange import keras_graphs
from kurve.exchange.keras_functions import CALLED, NO_OPERATIONS, class_of
from kurve.formulas import functions
from kurve.formulas.operators import FUNCTIONS

RNG = np.random.default_rng(3)
A = RNG.normal(size=(7, 4)).astype(np.float32)
B = RNG.normal(size=(7, 3)).astype(np.float32)

Made = tuple[Any, tuple[np.ndarray, ...]]


class Ours:
    """The names that a model needs, of Kurve."""

    Input, Model, Sequential = kurve.Input, kurve.Model, kurve.Sequential
    layers, ops = kurve.layers, functions


class Theirs:
    """The same, of Keras."""

    Input, Model, Sequential = keras.Input, keras.Model, keras.Sequential
    layers, ops = keras.layers, keras.ops


def residual(k: Any) -> Made:
    x = k.Input((4,), name="x")
    h = k.layers.Dense(4, "tanh", name="a")(x)
    h = k.layers.Add(name="sum")([x, h])
    h = k.layers.BatchNormalization(name="norm")(h)
    return k.Model(x, k.layers.Dense(2, name="y")(h), name="residual"), (A,)


def shared(k: Any) -> Made:
    """Siamese: one layer called twice, in a model that is called twice."""
    x = k.Input((3,), name="x")
    twice = k.layers.Dense(3, "relu", name="twice")
    tower = k.Model(x, twice(twice(x)), name="tower")
    a, b = k.Input((3,), name="left"), k.Input((3,), name="right")
    h = k.layers.Concatenate(name="both")([tower(a), tower(b)])
    return k.Model([a, b], k.layers.Dense(1, name="y")(h), name="siamese"), (B, B[::-1])


def several(k: Any) -> Made:
    a, b = k.Input((4,), name="a"), k.Input((3,), name="b")
    stack = k.Sequential(
        [k.Input((4,)), k.layers.Dense(3, "relu", name="d"), k.layers.Dropout(0.2)],
        name="stack",
    )
    h = k.layers.Multiply(name="product")([stack(a), b])
    y = k.layers.Dense(1, name="y")(h)
    z = k.layers.Dense(2, "softmax", name="z")(k.layers.Average(name="mean")([h, b]))
    return k.Model({"a": a, "b": b}, {"y": y, "z": z}, name="several"), (A, B)


def nested(k: Any) -> Made:
    """A graph in a stack in a graph, with weights that are frozen."""
    x = k.Input((3,), name="x")
    inner = k.Model(
        x, k.layers.Maximum(name="most")([x, k.layers.Dense(3, name="i")(x)]), name="in"
    )
    middle = k.Sequential(
        [k.Input((3,)), inner, k.layers.BatchNormalization(name="n")], name="mid"
    )
    frozen = k.layers.Dense(3, name="frozen", trainable=False)
    stack = k.Sequential(
        [k.Input((4,)), frozen, middle, k.layers.Dense(2, name="last")], name="outer"
    )
    y = k.Input((4,), name="y")
    return k.Model(y, [stack(y), middle(frozen(y))][0], name="nested"), (A,)


def stack_of_models(k: Any) -> Made:
    x = k.Input((4,), name="x")
    h = k.layers.Dense(4, name="h")(x)
    inner = k.Model(x, k.layers.Subtract(name="minus")([x, h]), name="inner")
    model = k.Sequential(
        [k.Input((4,)), inner, k.layers.Dense(1, name="y")], name="stack_of_models"
    )
    return model, (A,)


def formulas(k: Any) -> Made:
    ops = k.ops
    x = k.Input((4,), name="x")
    h = k.layers.Dense(6, name="h")(x)
    h = ops.tanh(h) * 2.0 + 1.0 / (1.0 + ops.exp(-h))
    h = ops.where(h > 0.5, h, ops.square(h))
    h = ops.reshape(h, (-1, 2, 3))
    h = ops.transpose(h, (0, 2, 1))[:, :2]
    s = ops.sum(h, axis=(1, 2))
    h = ops.concatenate([ops.reshape(h, (-1, 4)), ops.expand_dims(s, 1)], axis=-1)
    h = ops.clip(h, -3.0, 3.0) - ops.mean(h, axis=-1, keepdims=True)
    return k.Model(x, k.layers.Dense(1, name="y")(h), name="formulas"), (A,)


MADE: list[Callable[[Any], Made]] = [
    residual,
    shared,
    several,
    nested,
    stack_of_models,
    formulas,
]


def filled(model: Any) -> Any:
    rng = np.random.default_rng(5)
    model.set_weights(
        [rng.uniform(0.1, 0.6, np.shape(w)).astype(np.float32) for w in model.weights]
    )
    return model


def of_kurve(model: Any, given: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    network = model._network
    program = get_engine("reference").compile(network.plan)
    x = tuple(np.ascontiguousarray(g) for g in given)
    y = program.predict(network.state, x if len(x) > 1 else x[0])
    return list(y) if isinstance(y, tuple) else [y]


def of_keras(model: Any, given: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    x: Any = list(given) if len(given) > 1 else given[0]
    if isinstance(getattr(model, "input", None), dict):
        x = dict(zip(model.input, given, strict=True))
    y = model.predict(x, verbose=0)
    if isinstance(y, dict):
        return list(y.values())
    return list(y) if isinstance(y, list) else [y]


def close(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("ending", [".keras", ".h5"])
@pytest.mark.parametrize("make", MADE, ids=lambda make: make.__name__)
def test_kurve_reads_keras(
    make: Callable[[Any], Made], ending: str, tmp_path: Path
) -> None:
    model, given = make(Theirs)
    filled(model)
    expected = of_keras(model, given)
    model.save(tmp_path / f"m{ending}")
    again = models.load_model(tmp_path / f"m{ending}")
    close(of_kurve(again, given), expected)
    for own, other in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(own, other)
    ours, _ = make(Ours)
    ours.load_weights(tmp_path / f"m{ending}")
    close(of_kurve(ours, given), expected)
    model.save_weights(tmp_path / "m.weights.h5")
    other, _ = make(Ours)
    other.load_weights(tmp_path / "m.weights.h5")
    close(of_kurve(other, given), expected)


@pytest.mark.parametrize("ending", [".keras", ".h5"])
@pytest.mark.parametrize("make", MADE, ids=lambda make: make.__name__)
def test_keras_reads_kurve(
    make: Callable[[Any], Made], ending: str, tmp_path: Path
) -> None:
    model, given = make(Ours)
    filled(model)
    expected = of_kurve(model, given)
    if make is formulas and ending == ".h5":
        with pytest.raises(ValueError, match=r"a function, which \.h5 files"):
            model.save(tmp_path / "m.h5")
        return
    model.save(tmp_path / f"m{ending}")
    again = keras.saving.load_model(tmp_path / f"m{ending}")
    close(of_keras(again, given), expected)
    for own, other in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(own, other)
    back = models.load_model(tmp_path / f"m{ending}")
    close(of_kurve(back, given), expected)
    theirs, _ = make(Theirs)
    model.save_weights(tmp_path / "m.weights.h5")
    theirs.load_weights(tmp_path / "m.weights.h5")
    close(of_keras(theirs, given), expected)
    if ending == ".keras":
        editor = keras.saving.KerasFileEditor(str(tmp_path / "m.keras"))
        assert editor.weights_dict


def test_arrays_in_formulas(tmp_path: Path) -> None:
    x = keras.Input((4,))
    bounds = np.linspace(-1.0, 1.0, 4).astype(np.float32)
    model = keras.Model(x, keras.ops.maximum(x, bounds) * 2.0)
    model.save(tmp_path / "m.keras")
    models.load_model(tmp_path / "m.keras").save(tmp_path / "again.keras")
    again = keras.saving.load_model(tmp_path / "again.keras")
    close(of_keras(again, (A,)), of_keras(model, (A,)))


def test_training_goes_on(tmp_path: Path) -> None:
    """Loss, metrics and the optimizer's vectors of a graph with a single output."""
    theirs, _ = residual(Theirs)
    filled(theirs)
    theirs.compile(keras.optimizers.Adam(0.01), "mse", metrics=["mae"])
    options: dict[str, Any] = {"batch_size": 7, "shuffle": False, "verbose": 0}
    y = A[:, :2]
    theirs.fit(A, y, epochs=3, **options)
    theirs.save(tmp_path / "m.keras")
    ours = models.load_model(tmp_path / "m.keras")
    ours.save(tmp_path / "ours.keras")
    again = keras.saving.load_model(tmp_path / "ours.keras")
    histories = [
        model.fit(A, y, epochs=4, **options).history["loss"]
        for model in (theirs, ours, again)
    ]
    np.testing.assert_allclose(histories[1], histories[0], rtol=1e-5)
    np.testing.assert_allclose(histories[2], histories[0], rtol=1e-5)


IN_KERAS = sorted(name for name in FUNCTIONS if hasattr(keras.ops, name))
NO_OPERATION = {"shape", "size", "ndim", *NO_OPERATIONS}


@pytest.mark.parametrize("name", IN_KERAS)
def test_functions_are_operations_of_keras(name: str) -> None:
    """Their classes, and which arguments belong into the configuration."""
    if name in NO_OPERATION:
        return
    module, cls = class_of(name)
    operation = getattr(import_module(module), cls)
    assert operation.__module__ == module
    configured = {*inspect.signature(operation.__init__).parameters} - {"self", "name"}
    own = inspect.signature(FUNCTIONS[name]).parameters
    assert set(own) - CALLED <= configured


def test_what_keras_does_not_have_is_refused(tmp_path: Path) -> None:
    x = kurve.Input((3,))
    y = kurve.layers.FourierFeatures(2)(x)
    model = kurve.Model(x, kurve.layers.Concatenate()([x, y]))
    with pytest.raises(ValueError, match="is a FourierFeatures, which Keras does not"):
        model.save(tmp_path / "m.keras")
    assert not (tmp_path / "m.keras").exists()


def test_operations_that_kurve_does_not_have(tmp_path: Path) -> None:
    x = keras.Input((4,))
    model = keras.Model(x, keras.ops.angle(x))
    model.save(tmp_path / "m.keras")
    with pytest.raises(kurve.saving.ModelFileError, match="operation Angle, which"):
        models.load_model(tmp_path / "m.keras")


def test_depth() -> None:
    config: Any = {"class_name": "InputLayer", "config": {}}
    for _ in range(40):
        config = {
            "class_name": "Sequential",
            "config": {"name": "m", "layers": [config]},
        }
    with pytest.raises(ValueError, match="nested deeper than 32"):
        keras_graphs.model_of(config)


@pytest.mark.parametrize("line_length", [90, 108, 140])
@pytest.mark.parametrize("make", MADE, ids=lambda make: make.__name__)
def test_summaries(
    make: Callable[[Any], Made], line_length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if make is formulas and line_length < 140:
        return  # the numbers in its long names would be cut off differently
    monkeypatch.setenv("COLUMNS", "200")
    shown = []
    for library in (Ours, Theirs):
        lines: list[str] = []
        make(library)[0].summary(
            line_length, print_fn=lines.append, expand_nested=True, show_trainable=True
        )
        # Names that were made differ in their numbers.
        text = re.sub(r"_\d+", "", "\n".join(lines))
        shown.append([" ".join(x.split()) for x in text.split("\n") if x.strip()])
    assert shown[0] == shown[1]
