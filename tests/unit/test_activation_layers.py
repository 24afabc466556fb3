"""Activations as layers: values, shapes, errors, and as parts of other layers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kurve import Input, Sequential, layers, models
from kurve.activations import Activation

X = np.array([[-3.0, -0.5, 0.0, 0.5, 2.0, 9.0]])
VALUES: dict[str, tuple[layers.Layer, list[float]]] = {
    "ReLU": (layers.ReLU(), [0, 0, 0, 0.5, 2, 9]),
    "ReLU 6": (layers.ReLU(6), [0, 0, 0, 0.5, 2, 6]),
    "ReLU threshold": (layers.ReLU(threshold=1.0), [0, 0, 0, 0, 2, 9]),
    "ReLU all": (layers.ReLU(6.0, 0.5, 1.0), [-2, -0.75, -0.5, -0.25, 2, 6]),
    "LeakyReLU": (layers.LeakyReLU(), [-0.9, -0.15, 0, 0.5, 2, 9]),
    "LeakyReLU alpha": (layers.LeakyReLU(alpha=0.5), [-1.5, -0.25, 0, 0.5, 2, 9]),
    "PReLU": (layers.PReLU("ones"), [-3, -0.5, 0, 0.5, 2, 9]),
    "PReLU of 0": (layers.PReLU(), [0, 0, 0, 0.5, 2, 9]),
    "Identity": (layers.Identity(), [-3, -0.5, 0, 0.5, 2, 9]),
    "ELU": (layers.ELU(2.0), [2 * np.expm1(-3), 2 * np.expm1(-0.5), 0, 0.5, 2, 9]),
}


@pytest.mark.parametrize("name", VALUES)
def test_values(name: str, engine: str, tmp_path: Path) -> None:
    """By hand, in a model, and in one that comes from a file."""
    layer, expected = VALUES[name]
    np.testing.assert_allclose(layer(X)[0], expected, rtol=1e-6)
    copy = type(layer).from_config(layer.get_config())
    model = Sequential([Input((6,)), copy])
    found = model.predict(X, verbose=0)
    np.testing.assert_allclose(found[0], expected, rtol=1e-6)
    for file in ("m.kurve", "m.keras"):
        model.save(tmp_path / file)
        again = models.load_model(tmp_path / file)
        assert type(again.layers[0]) is type(layer)
        assert again.layers[0].get_config() == copy.get_config()
        assert (again.predict(X, verbose=0) == found).all()


def test_slopes_are_learned(engine: str) -> None:
    """To 0.25 and 3 below 0, from targets that have these slopes."""
    x = np.random.default_rng(1).normal(size=(64, 5, 2)).astype(np.float32)
    y = np.where(x > 0, x, np.array([0.25, 3.0], np.float32) * x)
    model = Sequential([Input((5, 2)), layers.PReLU(shared_axes=[1])])
    model.compile("sgd", "mse", engine=engine)
    model.optimizer.learning_rate = 1.0
    model.fit(x, y, batch_size=64, epochs=200, verbose=0)
    (alpha,) = model.get_weights()
    np.testing.assert_allclose(alpha, [[0.25, 3.0]], rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("Dense", {"units": 3}),
        ("Conv1D", {"filters": 3, "kernel_size": 2}),
        ("Conv2D", {"filters": 3, "kernel_size": 2}),
        ("Conv1DTranspose", {"filters": 3, "kernel_size": 2}),
        ("Conv2DTranspose", {"filters": 3, "kernel_size": 2}),
        ("DepthwiseConv1D", {"kernel_size": 2}),
        ("DepthwiseConv2D", {"kernel_size": 2}),
        ("SeparableConv1D", {"filters": 3, "kernel_size": 2}),
        ("SeparableConv2D", {"filters": 3, "kernel_size": 2}),
    ],
)
def test_formulas_at_the_end_of_layers(
    name: str, given: dict[str, Any], engine: str
) -> None:
    """As the same activation in a layer of its own, in predictions and training."""
    shape = (5, 2) if "1D" in name else (5, 6, 2)
    cls = getattr(layers, name)
    x = np.random.default_rng(1).normal(size=(4, *shape)).astype(np.float32)
    runs = []
    for stack in (
        [cls(**given, activation="mish")],
        [cls(**given), layers.Activation("mish")],
    ):
        model = Sequential([Input(shape), *stack, layers.Flatten(), layers.Dense(1)])
        draws = np.random.default_rng(2)
        model.set_weights([draws.normal(size=w.shape) for w in model.get_weights()])
        model.compile("sgd", "mse", engine=engine)
        losses = [model.train_on_batch(x, np.ones((4, 1))) for _ in range(3)]
        runs.append((losses, model.predict(x, verbose=0), *model.get_weights()))
    for ours, theirs in zip(*runs, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_layer_as_the_activation_of_another() -> None:
    dense = layers.Dense(2, activation=layers.ReLU(max_value=6.0))
    assert dense.activation == Activation("relu", max_value=6.0)
    assert layers.Dense(2, layers.LeakyReLU(0.1)).activation.alpha == 0.1
    with pytest.raises(TypeError, match="must be a name, an object"):
        layers.Dense(2, activation=layers.Dense(2, "relu"))


def test_softmax() -> None:
    y = layers.Softmax()(np.ones((2, 3, 4)))
    assert (y == 0.25).all()
    assert layers.Softmax(axis=[-1]).axis == (-1,)
    assert (layers.Softmax(axis=2)(np.ones((2, 3, 4))) == 0.25).all()


ERRORS: dict[str, tuple[Callable[[], Any], str]] = {
    "value": (
        lambda: layers.ReLU(max_value=-1.0),
        "[ReLU] max_value must be finite and at least 0",
    ),
    "slope": (lambda: layers.ReLU(negative_slope=None), "[ReLU] negative_slope must"),
    "threshold": (lambda: layers.ReLU(threshold="x"), "[ReLU] threshold must"),
    "leaky": (lambda: layers.LeakyReLU(-0.1), "[LeakyReLU] negative_slope must"),
    "elu": (lambda: layers.ELU(np.nan), "[elu] alpha must be a finite number"),
    "axis": (lambda: layers.Softmax(3)(np.ones((2, 3, 4))), "axis must be in [-3, 3)"),
    "batch": (
        lambda: layers.PReLU(shared_axes=[0])(X),
        "[PReLU] shared_axes must be from 1 to 1 for samples of shape (6,). "
        "Received: shared_axes=(0,). Try shared_axes=None.",
    ),
    "what": (lambda: layers.PReLU(shared_axes="x"), "[PReLU] shared_axes must be None"),
    "other": (lambda: other_length(), "has slopes of shape (1, 2), which samples must"),
}


def other_length() -> None:
    layer = layers.PReLU(shared_axes=1)
    layer(np.ones((3, 4, 2)))
    layer(np.ones((3, 9, 2)))  # fits
    layer(np.ones((3, 4, 5)))


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name: str) -> None:
    make, text = ERRORS[name]
    with pytest.raises(ValueError) as error:
        make()
    assert text in str(error.value)
