"""Two inputs and two outputs: losses, metrics, weights and logs against Keras."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_fit import RTOL, assert_equal_histories
from twins import keras

from tests.two_heads import TwoHeads, data

X, Y = data(40)
W = np.linspace(0.1, 2.0, 40, dtype=np.float32)


def twins(dictionary: bool = False) -> tuple[TwoHeads, Any]:
    """The same model and weights in both libraries; with a dictionary of outputs, or a
    list."""
    outputs: Any = {"second": "z", "third": "y"} if dictionary else ("z", "y")
    ours = TwoHeads(outputs=outputs)
    a, b = keras.Input((3,), name="a"), keras.Input((2,), name="b")
    joined = keras.layers.Concatenate()([a, b])
    hidden = keras.layers.Dense(4, "tanh")(joined)
    z = keras.layers.Dense(1, name="z")(hidden)
    y = keras.layers.Dense(2, name="y")(hidden)
    theirs = keras.Model([a, b], {"second": z, "third": y} if dictionary else [z, y])
    views = ours._network.weights()
    for layer, pair in zip(
        theirs.layers[-3:], (views[:2], views[2:4], views[4:]), strict=True
    ):
        assert [w.shape for w in pair] == [tuple(w.shape) for w in layer.weights]
        layer.set_weights(pair)
    return ours, theirs


COMPILES: dict[str, dict[str, Any]] = {
    "one loss": {"loss": "mse"},
    "a list": {"loss": ["mse", "mae"]},
    "by name": {"loss": {"y": "mae", "z": "mse"}},
    "weighted": {"loss": "mse", "loss_weights": {"z": 0.5, "y": 2.0}},
    "weighted list": {"loss": ["mse", "mae"], "loss_weights": [0.5, 2.0]},
    "one without": {"loss": ["mse", None]},
    "metrics": {"loss": "mse", "metrics": [["mae"], ["mse", "mae"]]},
    "single metrics": {"loss": "mse", "metrics": ["mae", "mse"]},
    "metrics by name": {"loss": "mse", "metrics": {"y": ["mae"], "z": "mse"}},
    "metrics of one": {"loss": "mse", "metrics": {"y": ["mae"]}},
    "both": {
        "loss": "mse",
        "metrics": [["mae"], ["mae"]],
        "weighted_metrics": [["mae", "mse"], ["mae"]],
    },
}


def compiled(models: tuple[Any, Any], given: Any, engine: str) -> None:
    if "loss_weights" in given and isinstance(given["loss_weights"], dict):
        given = {**given, "loss": dict.fromkeys(given["loss_weights"], given["loss"])}
    models[0].compile("sgd", engine=engine, **given)
    models[1].compile("sgd", **given)


def check(models: tuple[Any, Any], y: Any, weights: Any) -> None:
    given: dict[str, Any] = {"batch_size": 16, "verbose": 0, "sample_weight": weights}
    histories = [
        m.fit(X, y, epochs=3, shuffle=False, validation_data=(X, y), **given)
        for m in models
    ]
    assert_equal_histories(*histories)
    mine, other = (model.evaluate(X, y, **given) for model in models)
    np.testing.assert_allclose(mine, other, RTOL, 1e-6)
    mine, other = (m.evaluate(X, y, return_dict=True, **given) for m in models)
    assert list(mine) == sorted(other)
    assert mine == pytest.approx(other, RTOL)
    mine, other = (model.predict(X, verbose=0) for model in models)
    assert type(mine) is type(other) and len(mine) == len(other)
    pairs = (
        [(mine[k], other[k]) for k in other]
        if isinstance(other, dict)
        else zip(mine, other, strict=True)
    )
    for one, two in pairs:
        np.testing.assert_allclose(one, two, RTOL, 1e-5)


@pytest.mark.parametrize("weighted", ["", "one", "each"])
@pytest.mark.parametrize("name", COMPILES)
def test_a_list_of_outputs(name: str, weighted: str, engine: str) -> None:
    models = twins()
    compiled(models, COMPILES[name], engine)
    weights = {"": None, "one": W, "each": [W, W[::-1].copy()]}[weighted]
    check(models, [Y["z"], Y["y"]], weights)


NAMED: dict[str, dict[str, Any]] = {
    "one loss": {"loss": "mse"},
    "by name": {"loss": {"second": "mse", "third": "mae"}},
    "metrics": {
        "loss": {"second": "mse", "third": "mae"},
        "metrics": {"third": ["mae"], "second": ["mse"]},
    },
}


@pytest.mark.parametrize("name", NAMED)
def test_a_dictionary_of_outputs(name: str, engine: str) -> None:
    models = twins(dictionary=True)
    compiled(models, NAMED[name], engine)
    check(models, {"second": Y["z"], "third": Y["y"]}, None)


def test_batches_of_lists(engine: str) -> None:
    models = twins()
    compiled(models, {"loss": "mse", "metrics": [["mae"], []]}, engine)

    def batches() -> Any:
        for cut in (slice(0, 16), slice(16, 32), slice(32, 40)):
            x, y = (tuple(part[cut] for part in both.values()) for both in (X, Y))
            yield x, y

    histories = [model.fit(batches(), verbose=0) for model in models]
    assert_equal_histories(*histories)
    for method in ("train_on_batch", "test_on_batch"):
        models[1].reset_metrics()
        mine, other = (
            getattr(model, method)(list(X.values()), list(Y.values()))
            for model in models
        )
        np.testing.assert_allclose(mine, other, RTOL, 1e-6)
