"""Models that start inside another model's graph, beside Keras."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import kurve

X = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
Y = X[:, :1] - X[:, 1:2]


def whole(library: Any) -> dict[str, Any]:
    """The tensors of a model by name."""
    layers = library.layers
    x = library.Input((4,), name="x")
    a = layers.Dense(3, "tanh", name="a")(x)
    b = layers.Dense(2, name="b")(a)
    y = layers.Dense(1, name="y")(layers.Concatenate(name="both")([b, a]))
    model = library.Model(x, y)
    shapes = [w.shape for w in model.weights]
    values = [np.cos(np.arange(np.prod(s))).reshape(s) for s in shapes]
    model.set_weights(values)
    return {"x": x, "a": a, "b": b, "y": y, "model": model}


def kinds(model: Any) -> list[str]:
    return [type(layer).__name__ for layer in model.layers]


@pytest.mark.parametrize("library", [kurve, keras])
def test_layers(library: Any) -> None:
    t = whole(library)
    part = library.Model(t["a"], t["y"])
    assert kinds(part) == ["InputLayer", "Dense", "Concatenate", "Dense"]
    assert part.get_layer(index=1) is t["model"].get_layer("b")
    several = library.Model([t["a"], t["b"]], t["y"])
    assert kinds(several) == ["InputLayer", "InputLayer", "Concatenate", "Dense"]
    again = library.Model(t["model"].get_layer("b").input, t["model"].output)
    assert len(again.layers) == 4
    assert library.Model(t["x"], t["b"]).layers[0] is t["model"].layers[0]


def test_trains_as_in_keras() -> None:
    found = []
    for library in (kurve, keras):
        t = whole(library)
        part = library.Model(t["a"], t["y"])
        part.compile("sgd", "mse")
        history = part.fit(X, Y, epochs=3, batch_size=4, shuffle=False, verbose=0)
        x = np.ones((2, 4), np.float32)  # the layers are those of the whole model
        found.append([*history.history["loss"], *t["model"].predict(x, verbose=0)])
    np.testing.assert_allclose(
        np.hstack(found[0]), np.hstack(found[1]), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("name", ["m.keras", "m.kurve"])
def test_files(name: str, tmp_path: Path) -> None:
    t = whole(kurve)
    part = kurve.Model([t["b"], t["a"]], {"y": t["y"]})
    expected = part.predict([X[:, :2], X], verbose=0)["y"]
    part.save(tmp_path / name)
    libraries: list[Any] = [kurve, keras] if name == "m.keras" else [kurve]
    for library in libraries:
        loaded = library.models.load_model(tmp_path / name)
        found = loaded.predict([X[:, :2], X], verbose=0)["y"]
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    again = kurve.Model.from_config(part.get_config())
    assert kinds(again) == kinds(part) == kinds(kurve.models.clone_model(part))


@pytest.mark.parametrize("of_the_whole", [False, True])
def test_losses(of_the_whole: bool) -> None:
    """Terms may be written with the model's own tensors or with those of the graph."""
    t = whole(kurve)
    part = kurve.Model(t["a"], t["y"])
    y = t["y"] if of_the_whole else part.output
    part.add_loss(kurve.ops.mean(y**2))
    part.compile("sgd", "mse")
    p = part.predict(X, verbose=0)
    expected = np.mean((p - Y) ** 2) + np.mean(p**2)
    assert part.evaluate(X, Y, verbose=0) == pytest.approx(expected, rel=1e-5)


def test_masks_inside() -> None:
    """A model that starts after an Embedding takes the mask that it is given."""
    found = []
    for library in (kurve, keras):
        x = library.Input((4,))
        h = library.layers.Embedding(
            5, 2, mask_zero=True, embeddings_initializer="ones"
        )(x)
        y = library.layers.GlobalAveragePooling1D()(h * np.float32(2.0))
        part = library.Model(h, y)
        found.append(part.predict(np.ones((2, 4, 2), np.float32), verbose=0))
    np.testing.assert_allclose(found[0], found[1])
