"""Image layers in the compiled engine: threads, derivatives, and refused steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from kurve import Sequential, _core
from kurve.engines import Job, run_job
from kurve.errors import NonFiniteError
from kurve.layers import (
    BatchNormalization,
    Conv2D,
    Dense,
    Flatten,
    Layer,
    MaxPooling2D,
)
from tests.engines.cases import compiled, in_float64, one_batch
from tests.engines.images import STACKS, model_of, samples
from tests.engines.tolerances import TOLERANCES


@pytest.fixture(autouse=True)
def _restore_threads() -> Iterator[None]:
    threads = _core.get_threads()
    yield
    _core.set_threads(threads)


def convnet(
    engine: str = "native", activation: str = "relu", shape: tuple[int, ...] = (13, 12)
) -> Sequential:
    """Blocks whose pooling is fused into the convolution, on odd sizes, with channels
    that fill more than one vector and leave a tail."""
    layers: list[Layer] = [
        Conv2D(33, 3, activation=activation),
        MaxPooling2D(2),
        Conv2D(70, 3, padding="same", activation=activation),
        MaxPooling2D((2, 3)),
        Flatten(),
        Dense(3, "softmax"),
    ]
    loss = "sparse_categorical_crossentropy"
    return compiled(engine, layers, (*shape, 2), loss, "adam")


def data(rows: int, shape: tuple[int, ...] = (13, 12)) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(4)
    x = random.normal(size=(rows, *shape, 2)).astype(np.float32)
    return x, random.integers(0, 3, rows).astype(np.float32)


def one_step(model: Sequential, x: np.ndarray, y: np.ndarray) -> None:
    """Call the engine directly: `fit` would refuse such data."""
    state, program = model._network.training_state(), model._network.program()
    batches = replace(
        one_batch(x, y, None), learning_rates=np.array([1e-3], np.float32)
    )
    totals = np.zeros(program.plan.totals_size)
    run_job(model._network.engine, Job(program, state, batches, 0, 1, totals))


def bits(model: Sequential) -> bytes:
    state = model._network.state
    assert state is not None
    arrays = (state.params, state.buffers, state.slots)
    return b"".join(array.tobytes() for array in arrays)


@pytest.mark.parametrize("name", STACKS)
def test_same_bits_for_any_number_of_threads(name: str) -> None:
    stack = STACKS[name]
    x = samples(stack, 70)
    y = np.random.default_rng(2).normal(size=(70, 2))
    found = []
    for threads in (1, 2, 3):
        _core.set_threads(threads)
        model = model_of(stack, "native")
        model.fit(x, y, batch_size=35, epochs=2, verbose=0)
        found.append((bits(model), model.predict(x, verbose=0).tobytes()))
    assert found[1] == found[0]
    assert found[2] == found[0]


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("rows", [1, 3, 40])
def test_convnet(rows: int, activation: str) -> None:
    """Compare with the reference; the bits are the same on any number of threads."""
    x, y = data(rows)
    batches = one_batch(x, y, None)
    results = []
    for engine, double in (("reference", 1), ("reference", 0), ("native", 0)):
        model = convnet(engine, activation)
        state = model._network.training_state()
        state = in_float64(state) if double else state
        program = model._network.program()
        for threads in (1, 2, 3) if engine == "native" else (1,):
            _core.set_threads(threads)
            loss, gradient = program.gradient(state, batches, 0)
            results.append((np.array(loss), gradient, program.predict(state, x)))
    for what, exact, reference, *native in zip(
        ("loss", "gradient", "predictions"), *results, strict=True
    ):
        assert TOLERANCES[what].allows(native[0], exact, reference), what
        assert native[0].tobytes() == native[1].tobytes() == native[2].tobytes()


def test_fused_pooling_equals_separate_pooling() -> None:
    """A layer between the two that does nothing prevents fusion."""
    x, y = data(9)
    together = convnet()
    layers = [Conv2D(33, 3, activation="relu"), MaxPooling2D(2), Flatten(), Dense(3)]
    gradients = []
    for between in ([], [MaxPooling2D(1)]):
        model = compiled(
            "native", [layers[0], *between, *layers[1:]], (13, 12, 2), "mse"
        )
        state = model._network.training_state()
        state.params[:] = np.random.default_rng(1).normal(0, 0.1, state.params.size)
        targets = np.eye(3)[y.astype(int)]
        loss, gradient = model._network.program().gradient(
            state, one_batch(x, targets, None), 0
        )
        gradients.append((loss, gradient))
        layers = [
            Conv2D(33, 3, activation="relu"),
            MaxPooling2D(2),
            Flatten(),
            Dense(3),
        ]
    assert gradients[0][0] == gradients[1][0]
    np.testing.assert_allclose(gradients[0][1], gradients[1][1], atol=1e-6)
    assert together.predict(x, verbose=0).shape == (9, 3)


@pytest.mark.parametrize("name", STACKS)
def test_jacobian(name: str) -> None:
    stack = STACKS[name]
    x = samples(stack, 3)
    results = []
    for engine, double in (("reference", 1), ("reference", 0), ("native", 0)):
        model = model_of(stack, engine)
        state = model._network.training_state()
        state = in_float64(state) if double else state
        results.append(model._network.program().jacobian(state, x))
    for exact, reference, native in zip(*results, strict=True):
        assert TOLERANCES["gradient"].allows(native, exact, reference)


def test_bytes_train_like_floats() -> None:
    random = np.random.default_rng(3)
    x, (_, y) = random.integers(0, 256, (50, 13, 12, 2), np.uint8), data(50)
    found = []
    for inputs in (x, x.astype(np.float32)):
        model = convnet()
        model.fit(inputs, y, batch_size=16, epochs=2, verbose=0)
        totals = model.evaluate(inputs, y, batch_size=13, verbose=0)
        predicted = model.predict(inputs, verbose=0).tobytes()
        found.append((bits(model), totals, predicted))
    assert found[0] == found[1]


@pytest.mark.parametrize("place", ["first", "last"])
def test_a_nonfinite_image_stops_the_step(place: str) -> None:
    """A NaN is the maximum, wherever it is in the window."""
    x, y = data(8)
    x[3, 4 if place == "first" else 5, 5] = np.nan
    model = convnet()
    before = model._network.training_state().params.copy()
    with pytest.raises(NonFiniteError, match="the loss"):
        one_step(model, x, y)
    assert np.array_equal(model._network.training_state().params, before)


def test_a_gradient_that_overflows_names_its_kernel() -> None:
    layers: list[Layer] = [Conv2D(2, 3), Flatten(), Dense(1)]
    model = compiled("native", layers, (5, 5, 1), "mse", "sgd")
    model.layers[0].set_weights([np.full((3, 3, 1, 2), 1e-20), np.zeros(2)])
    x, y = np.full((2, 5, 5, 1), 1e25, np.float32), np.full((2, 1), 1e18)
    with pytest.raises(NonFiniteError, match=r"the gradient of conv2d.*/kernel"):
        model.fit(x, y, verbose=0)


def test_a_refused_step_leaves_the_moving_statistics() -> None:
    layers: list[Layer] = [BatchNormalization(), Flatten(), Dense(1)]
    x, y = np.ones((4, 2, 2, 3), np.float32), np.zeros((4, 1))
    for value, what in (
        (np.nan, "the loss"),
        (1e25, r"the new value of batch_normalization.*/moving_variance"),
    ):
        model = compiled("native", layers, (2, 2, 3), "mse", "sgd")
        before = model._network.training_state().buffers.copy()
        x[0, 0, 0, 0] = value
        with pytest.raises(NonFiniteError, match=what):
            one_step(model, x, y)
        assert np.array_equal(model._network.training_state().buffers, before)
        layers = [BatchNormalization(), Flatten(), Dense(1)]
