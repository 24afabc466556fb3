"""Random functional models beside Keras: predictions, training, weights by order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import kurve
from kurve import models

MERGES = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")
WIDTH = 6


def random_model(library: Any, seed: int) -> Any:
    """A model of 1 to 3 inputs, 3 to 12 layers, shared and nested ones, 1 to 3 heads:
    the same for both libraries."""
    draw = np.random.default_rng(seed)
    layers = library.layers
    inputs = [
        library.Input((int(draw.integers(2, 5)),), name=f"in_{i}")
        for i in range(draw.integers(1, 4))
    ]
    values = [layers.Dense(WIDTH, name=f"first_{i}")(x) for i, x in enumerate(inputs)]
    shared = [layers.Dense(WIDTH, "tanh", name=f"shared_{i}") for i in range(2)]
    inner = nested(library, draw)

    def pick() -> Any:
        return values[int(draw.integers(len(values)))]

    def merged(i: int) -> Any:
        name = MERGES[int(draw.integers(len(MERGES)))]
        a, b = pick(), pick()
        return getattr(layers, name)(name=f"{name}_{i}".lower())([a, b])

    makers: list[Callable[[int], Any]] = [
        lambda i: layers.Dense(WIDTH, "relu", name=f"dense_{i}")(pick()),
        lambda i: layers.Activation("sigmoid", name=f"act_{i}")(pick()),
        lambda i: layers.LayerNormalization(name=f"norm_{i}")(pick()),
        lambda i: shared[int(draw.integers(2))](pick()),
        lambda i: inner(pick()),
        merged,
        merged,
        lambda i: layers.Dense(WIDTH, name=f"joined_{i}")(
            layers.Concatenate(name=f"concatenate_{i}")([pick(), pick()])
        ),
    ]
    for i in range(draw.integers(3, 13)):
        values.append(makers[int(draw.integers(len(makers)))](i))
    heads = [
        layers.Dense(int(draw.integers(1, 4)), name=f"out_{i}")(values[-1 - i])
        for i in range(draw.integers(1, 4))
    ]
    return library.Model(inputs, heads if len(heads) > 1 else heads[0])


def nested(library: Any, draw: np.random.Generator) -> Any:
    """A model that is called like a layer."""
    layers = library.layers
    if draw.integers(2):
        return library.Sequential(
            [
                library.Input((WIDTH,)),
                layers.Dense(4, "relu", name="inner_a"),
                layers.Dense(WIDTH, name="inner_b"),
            ],
            name="inner",
        )
    x = library.Input((WIDTH,), name="inner_in")
    h = layers.Dense(WIDTH, "tanh", name="inner_a")(x)
    return library.Model(x, layers.Add(name="inner_add")([x, h]), name="inner")


def pair(seed: int) -> tuple[Any, Any]:
    """Keras's model and Kurve's, with the same weights in the same order."""
    keras.utils.set_random_seed(seed)  # some initial weights diverge
    theirs, ours = random_model(keras, seed), random_model(kurve, seed)
    assert [w.shape for w in theirs.weights] == [w.shape for w in ours.weights]
    assert [layer.name for layer in theirs.layers] == [
        layer.name for layer in ours.layers
    ]
    ours.set_weights(theirs.get_weights())
    return theirs, ours


def data_for(model: Any, rows: int, seed: int) -> tuple[Any, Any]:
    """Inputs and targets."""
    draw = np.random.default_rng(seed)

    def arrays(shapes: Any) -> Any:
        if isinstance(shapes, tuple):
            return draw.normal(size=(rows, *shapes[1:])).astype(np.float32)
        return [arrays(shape) for shape in shapes]

    return arrays([t.shape for t in model.inputs]), arrays(
        [t.shape for t in model.outputs]
    )


def listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


@pytest.mark.parametrize("seed", range(24))
def test_random_graphs(seed: int, engine: str) -> None:
    kurve.set_engine(engine)
    theirs, ours = pair(seed)
    x, y = data_for(theirs, 40, seed)
    for a, b in zip(
        listed(theirs.predict(x, verbose=0)),
        listed(ours.predict(x, verbose=0)),
        strict=True,
    ):
        np.testing.assert_allclose(b, a, atol=1e-6 * max(1.0, np.abs(a).max()))
    weights = [0.5, 2.0, 1.0][: len(y)] if len(y) > 1 else None
    losses = ["mse", "mae", "mse"][: len(y)] if len(y) > 1 else "mse"
    histories = []
    for model, optimizer in ((theirs, keras.optimizers), (ours, kurve.optimizers)):
        model.compile(optimizer.SGD(0.01), losses, loss_weights=weights)
        fitted = model.fit(x, y, batch_size=10, epochs=5, shuffle=False, verbose=0)
        histories.append(fitted.history)
    assert set(histories[0]) == set(histories[1])
    for name in histories[0]:
        np.testing.assert_allclose(
            histories[1][name], histories[0][name], rtol=1e-4, err_msg=name
        )
    for a, b in zip(theirs.get_weights(), ours.get_weights(), strict=True):
        np.testing.assert_allclose(b, a, atol=1e-4)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("library", [kurve, keras])
def test_random_graphs_by_both_libraries(
    library: Any, seed: int, tmp_path: Path
) -> None:
    """Saved by one library and loaded by both, before and after training: predictions,
    values of losses and metrics, and further training are the same."""
    model = random_model(library, seed)
    x, y = data_for(model, 40, seed)
    several = len(model.outputs) > 1
    named = {f"out_{i}": ["mae", "mse", "mae"][i] for i in range(len(model.outputs))}
    metrics = {name: ["mse", "mae"] for name in named}
    weights = dict(zip(named, [0.5, 2.0, 1.0], strict=False))
    optimizer = library.optimizers.SGD(0.001, momentum=0.5)
    for compiled in (False, True):
        if compiled:
            model.compile(
                optimizer,
                named if several else "mae",
                metrics=metrics if several else ["mse", "mae"],
                loss_weights=weights if several else None,
            )
            model.fit(x, y, batch_size=10, epochs=1, shuffle=False, verbose=0)
        path = tmp_path / f"m{compiled}.keras"
        model.save(path)
        theirs, ours = keras.models.load_model(path), models.load_model(path)
        assert ours.compiled == theirs.compiled == compiled
        for loaded in (theirs, ours):
            assert [layer.name for layer in loaded.layers] == [
                layer.name for layer in model.layers
            ]
            for a, b in zip(
                listed(model.predict(x, verbose=0)),
                listed(loaded.predict(x, verbose=0)),
                strict=True,
            ):
                np.testing.assert_allclose(b, a, atol=1e-6 * max(1.0, np.abs(a).max()))
    logs = [
        one.evaluate(x, y, verbose=0, return_dict=True) for one in (model, theirs, ours)
    ]
    for one in (theirs, ours):
        fitted = one.fit(x, y, batch_size=10, epochs=3, shuffle=False, verbose=0)
        logs.append(fitted.history)
    for first, *others in (logs[:3], logs[3:]):
        for other in others:
            assert set(other) == set(first)
            for name, value in first.items():
                np.testing.assert_allclose(
                    other[name], value, rtol=1e-4, err_msg=f"{name} of {path}"
                )


@pytest.mark.parametrize("optimizer", ["SGD", "Lamb", "Adafactor"])
def test_constraints_and_penalties(optimizer: str, engine: str) -> None:
    """Of a layer that is called twice, with a moving average of all weights."""
    kurve.set_engine(engine)
    pairs = []
    for library in (keras, kurve):
        layers = library.layers
        shared = layers.Dense(
            4,
            "tanh",
            kernel_constraint=library.constraints.MaxNorm(0.8),
            kernel_regularizer=library.regularizers.OrthogonalRegularizer(0.1),
            bias_constraint="non_neg",
        )
        a, b = library.Input((3,)), library.Input((3,))
        joined = layers.Concatenate()([shared(a), shared(b)])
        y = layers.EinsumDense("ab,bc->ac", 2, kernel_constraint="unit_norm")(joined)
        pairs.append(library.Model([a, b], y))
    theirs, ours = pairs
    ours.set_weights(theirs.get_weights())
    x, y = data_for(theirs, 40, 3)
    fitted = []
    for model, library in ((theirs, keras), (ours, kurve)):
        made = getattr(library.optimizers, optimizer)(
            0.02, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=6
        )
        model.compile(made, "mse")
        history = model.fit(x, y, batch_size=10, epochs=5, shuffle=False, verbose=0)
        fitted.append(history.history["loss"])
    np.testing.assert_allclose(fitted[1], fitted[0], rtol=1e-4)
    for one, other in zip(theirs.get_weights(), ours.get_weights(), strict=True):
        np.testing.assert_allclose(other, one, atol=1e-4)


def assert_same_predictions(a: Any, b: Any, x: Any) -> None:
    """Of both models, to 1e-6 of the largest."""
    for one, other in zip(
        listed(a.predict(x, verbose=0)), listed(b.predict(x, verbose=0)), strict=True
    ):
        scale = max(1.0, float(np.abs(one).max()))
        np.testing.assert_allclose(other, one, rtol=0, atol=1e-6 * scale)


def compiled(model: Any, library: Any, heads: int) -> Any:
    """A model with Adam, and of several heads a loss, weight and metric for each."""
    optimizer = library.optimizers.Adam(0.01)
    if heads == 1:
        model.compile(optimizer, "mse", metrics=["mae"])
    else:
        losses = ["mse", "mae", "huber"][:heads]
        metrics = [["mae"], [], ["mse"]][:heads]
        weights = [0.5, 2.0, 1.0][:heads]
        model.compile(optimizer, losses, loss_weights=weights, metrics=metrics)
    return model


@pytest.mark.parametrize("ending", [".keras", ".h5"])
@pytest.mark.parametrize("seed", range(24))
def test_random_graphs_in_files(seed: int, ending: str, tmp_path: Path) -> None:
    """Saved by one library and loaded by the other, trained before and after: five
    steps more are those of the model that was saved."""
    theirs, ours = pair(seed)
    x, y = data_for(theirs, 30, seed)
    heads = len(theirs.outputs)
    options = {"batch_size": 6, "shuffle": False, "verbose": 0}
    path = tmp_path / f"m{ending}"
    for model, library, load in (
        (theirs, keras, kurve.models.load_model),
        (ours, kurve, keras.saving.load_model),
    ):
        compiled(model, library, heads).fit(x, y, **options)
        model.save(path)
        again = load(path)
        assert_same_predictions(model, again, x)
        for one, other in zip(model.get_weights(), again.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
        if load is keras.saving.load_model and ending == ".h5":
            # Keras builds the optimizer of a graph in an .h5 file for no weights, and
            # so trains none of them, its own neither.
            for one in (model, again):
                compiled(one, kurve if one is model else keras, heads)
        before = model.fit(x, y, **options).history
        after = again.fit(x, y, **options).history
        assert set(before) == set(after)
        for name in before:
            np.testing.assert_allclose(after[name], before[name], rtol=1e-4)
        for one, other in zip(model.get_weights(), again.get_weights(), strict=True):
            np.testing.assert_allclose(other, one, atol=1e-4)
