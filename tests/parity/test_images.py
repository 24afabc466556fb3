"""Image layers against Keras: outputs, gradients, and twenty steps of training."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from image_cases import CASES, ImageCase, layer
from twins import TOLERANCES, call, keras, make, precision, torch

import kurve
from kurve.core import naming
from kurve.engines import Batches, State
from kurve.engines.reference import images, pooling
from kurve.layers import base

STEPS, BATCH = 20, 8
TOLERANCE = TOLERANCES["float32"]


def build(library: Any, case: ImageCase) -> Any:
    channels = case.input_shape[-1]
    first = f"Conv{len(case.input_shape) - 1}D"
    layers = [
        call("Input", shape=case.input_shape),
        layer(first, filters=channels, kernel_size=1, activation="tanh"),
        *case.layers,
        layer("Flatten"),
        layer("Dense", units=2),
    ]
    return make(library, call("Sequential", layers=layers))


def twin_models(name: str) -> tuple[Any, Any]:
    """Either library's model with the same random weights."""
    ours, theirs = build(kurve, CASES[name]), build(keras, CASES[name])
    random = np.random.default_rng(3)
    values = []
    for weight in ours.weights:
        fan = max(int(np.prod(weight.shape[:-1])), 1)
        value = random.normal(0.0, 1.0 / np.sqrt(fan), weight.shape)
        if weight.name.endswith("variance"):
            value = 0.5 + value**2
        values.append(value.astype(np.float32))
    ours.set_weights(values)
    theirs.set_weights(values)
    return ours, theirs


def data_of(name: str) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(7)
    x = random.normal(size=(STEPS * BATCH // 2, *CASES[name].input_shape))
    y = random.normal(size=(len(x), 2))
    return x.astype(np.float32), y.astype(np.float32)


def compiled(name: str, engine: str) -> Any:
    model, _ = twin_models(name)
    model.compile(kurve.optimizers.SGD(0.001, momentum=0.5), "mse", engine=engine)
    return model


def gradient_of(theirs: Any, x: np.ndarray, y: np.ndarray) -> tuple[float, list[Any]]:
    """Keras's loss and gradients of all trainable weights, by torch's autograd."""
    weights = theirs.trainable_weights
    predicted = theirs(torch.as_tensor(x), training=True)
    loss = ((predicted - torch.as_tensor(y)) ** 2).mean() + sum(theirs.losses)
    found = torch.autograd.grad(loss, [w.value for w in weights], allow_unused=True)
    return float(loss.detach()), [g.detach().numpy() for g in found]


def assert_near(mine: np.ndarray, other: np.ndarray, tolerance: float) -> None:
    assert mine.shape == other.shape
    assert np.abs(mine - other).max() <= tolerance * max(np.abs(other).max(), 1e-30)


@functools.cache
def keras_training(name: str) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """Losses of the steps, weights and predictions after them."""
    _, theirs = twin_models(name)
    theirs.compile(keras.optimizers.SGD(0.001, momentum=0.5), "mse")
    x, y = data_of(name)
    losses = []
    for step in range(STEPS):
        rows = slice(step * BATCH % len(x), step * BATCH % len(x) + BATCH)
        theirs.reset_metrics()
        losses.append(float(theirs.train_on_batch(x[rows], y[rows])))
    return np.array(losses), theirs.get_weights(), theirs.predict(x[:9], verbose=0)


@pytest.mark.parametrize("name", CASES)
def test_structure(name: str) -> None:
    """Names, shapes, weights in order, and the configuration's arguments."""
    keras.utils.clear_session()
    naming._names_given.clear()
    ours, theirs = twin_models(name)
    for mine, other in zip(ours.layers, theirs.layers, strict=True):
        assert mine.name == other.name
        assert type(mine).__name__ == type(other).__name__
        assert mine.output_shape == tuple(other.output.shape)
        assert mine.compute_output_shape(mine.input_shape) == mine.output_shape
        assert [(w.name.rpartition("/")[2], w.shape) for w in mine.weights] == [
            (w.name, tuple(w.shape)) for w in other.weights
        ]
        assert len(mine.trainable_weights) == len(other.trainable_weights)
        twin = type(mine).from_config(mine.get_config())
        assert twin.get_config() == mine.get_config()
        other_config = other.get_config()
        for key, value in mine.get_config().items():
            if key == "axis":  # Keras makes a list of one
                assert np.array_equal(np.ravel(value), np.ravel(other_config[key]))
            elif isinstance(value, (int, float, str)):
                assert other_config[key] == value, key
            elif isinstance(value, list):
                flat = np.ravel(np.asarray(other_config[key], float))
                assert np.array_equal(np.ravel(value), flat), key


@pytest.mark.parametrize("name", CASES)
def test_outputs(name: str, engine: str) -> None:
    ours = compiled(name, engine)
    _, theirs = twin_models(name)
    x, _ = data_of(name)
    expected = theirs.predict(x[:9], verbose=0)
    assert_near(ours.predict(x[:9], verbose=0), expected, TOLERANCE)


@pytest.mark.parametrize("name", CASES)
def test_gradient(name: str, engine: str) -> None:
    model = compiled(name, engine)
    _, theirs = twin_models(name)
    x, y = data_of(name)
    loss, expected = gradient_of(theirs, x[:BATCH], y[:BATCH])
    check_gradient(
        model, model._network.training_state(), x, y, loss, expected, TOLERANCE
    )


@pytest.mark.parametrize("name", CASES)
def test_gradient_in_float64(name: str) -> None:
    """In float64, where rounding cannot hide an error."""
    model = compiled(name, "reference")
    state = model._network.training_state()
    state = replace(
        state,
        params=state.params.astype(np.float64),
        buffers=state.buffers.astype(np.float64),
    )
    x, y = (array.astype(np.float64) for array in data_of(name))
    with precision("float64"):
        _, theirs = twin_models(name)
        loss, expected = gradient_of(theirs, x[:BATCH], y[:BATCH])
    tolerance = TOLERANCES["gradient float64"]
    check_gradient(model, state, x, y, loss, expected, tolerance)


def check_gradient(
    model: Any,
    state: State,
    x: np.ndarray,
    y: np.ndarray,
    loss: float,
    expected: list[np.ndarray],
    tolerance: float,
) -> None:
    batches = Batches(x, y, None, None, np.array([0, BATCH]))
    value, gradient = model._network.program().gradient(state, batches, 0)
    assert value == pytest.approx(loss, rel=tolerance)
    slots = [slot for slot in model._network.plan.params if slot.trainable]
    largest = max(np.abs(other).max() for other in expected)
    for slot, other in zip(slots, expected, strict=True):
        mine = gradient[slot.offset : slot.end].reshape(slot.shape)
        assert np.abs(mine - other).max() <= tolerance * largest, slot.name


@pytest.mark.parametrize("name", CASES)
def test_twenty_steps(name: str, engine: str) -> None:
    """Losses, weights (moving averages among them) and then predictions."""
    model = compiled(name, engine)
    x, y = data_of(name)
    losses = []
    for step in range(STEPS):
        rows = slice(step * BATCH % len(x), step * BATCH % len(x) + BATCH)
        losses.append(model.train_on_batch(x[rows], y[rows]))
    their_losses, their_weights, their_outputs = keras_training(name)
    assert np.allclose(losses, their_losses, rtol=TOLERANCE, atol=0.0)
    for mine, other in zip(model.get_weights(), their_weights, strict=True):
        assert_near(mine, other, TOLERANCE)
    assert_near(model.predict(x[:9], verbose=0), their_outputs, TOLERANCE)


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize("mode", ["reflect", "wrap", "constant", "nearest"])
@pytest.mark.parametrize("what", ["RandomTranslation", "RandomRotation"])
def test_moved_pictures(what: str, mode: str, interpolation: str) -> None:
    """By the same shifts and angles; Keras computes places in float32."""
    factors = {"RandomTranslation": (0.6, 0.4), "RandomRotation": (0.3,)}[what]
    given = {"fill_mode": mode, "interpolation": interpolation, "fill_value": 0.5}
    mine = getattr(kurve.layers, what)(*factors, **given)
    theirs = getattr(keras.layers, what)(*factors, **given)
    x = np.random.default_rng(1).normal(size=(20, 9, 8, 2)).astype(np.float32)
    mine.build((None, 9, 8, 2))
    op = base.lower([mine], (9, 8, 2))[0].ops[0]
    none = np.zeros(0, np.float32)
    state = State(none, none, none.reshape(0, 0), np.zeros(0), 3, 5)
    u, v = images.drawn(op, state, 20).T
    if what == "RandomTranslation":
        moves = np.stack([8 * 0.4 * (2 * v - 1), 9 * 0.6 * (2 * u - 1)], axis=1)
        drawn = {"translations": torch.as_tensor(moves.astype(np.float32))}
    else:
        angle = torch.as_tensor((360 * 0.3 * (2 * u - 1)).astype(np.float32))
        none_, one = torch.zeros(20), torch.ones(20)
        matrix = theirs._compute_affine_matrix(
            0.5, 0.5, angle, none_, none_, one, none_, none_, 9, 8
        )
        drawn = {"rotation_matrix": matrix}
    expected = theirs.transform_images(torch.as_tensor(x), drawn).numpy()
    got, _ = images.forward(op, x, state, True)
    np.testing.assert_allclose(got, expected, atol=2e-5)


def test_ties_of_max_pooling_go_to_the_first() -> None:
    """Integers, many of them equal: the gradient of the input shows which one wins."""
    x = np.random.default_rng(4).integers(0, 3, (6, 6, 6, 2)).astype(np.float32)
    for arguments in ({"pool_size": 2}, {"pool_size": 3, "strides": 1}):
        made = kurve.layers.MaxPooling2D(**arguments)
        made.build((None, 6, 6, 2))
        op = base.lower([made], (6, 6, 2))[0].ops[0]
        y, memory = pooling.forward(op, x, None, True)
        dy = np.random.default_rng(5).normal(size=y.shape).astype(np.float32)
        dx, _ = pooling.backward(op, dy, memory, None)
        there = torch.tensor(x, requires_grad=True)
        out = keras.layers.MaxPooling2D(**arguments)(there)
        out.backward(torch.as_tensor(dy))
        np.testing.assert_allclose(dx, there.grad.numpy(), atol=1e-6)
