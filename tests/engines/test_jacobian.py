"""The derivative of every output with respect to every variable, for both engines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import Sequential
from kurve.engines import State
from kurve.layers import Activation, Dense, Dropout, Layer, Normalization
from tests.engines.cases import ACTIVATIONS, compiled, in_float64, name_of
from tests.engines.tolerances import STEP, TOLERANCES, excess

Result = tuple[np.ndarray, np.ndarray]

STACKS: dict[str, list[Layer]] = {
    "dense": [Dense(5, "tanh"), Dense(3)],
    "no bias": [Dense(4, "sigmoid", use_bias=False), Dense(2, "softplus")],
    "dropout": [Dense(6, "tanh"), Dropout(0.5), Dense(2), Dropout(0.2)],
    "normalization": [
        Normalization(mean=0.5, variance=4.0, axis=None),
        Dense(4, "sin"),
        Normalization(mean=[0.1, 0.2, 0.3, 0.4], variance=0.25, invert=True),
        Activation("silu"),
        Dense(2),
    ],
    "softmax": [Dense(4, "softmax"), Dense(3, "tanh"), Activation("softmax")],
    "frozen": [Dense(4, "tanh"), Dense(3, "tanh", trainable=False), Dense(2)],
    "frozen first": [Dense(4, "tanh", trainable=False), Dense(2)],
    "all frozen": [Dense(4, "tanh", trainable=False)],
}
SHAPES = [(3,), (2, 3), (2, 2, 3)]


def model_of(stack: str, engine: str, shape: tuple[int, ...] = (3,)) -> Sequential:
    made = [type(layer).from_config(layer.get_config()) for layer in STACKS[stack]]
    model = compiled(engine, made, shape)
    assert model._network.state is not None
    random = np.random.default_rng(1)  # biases that are not 0
    for variable in model.trainable_weights:
        variable.assign(random.normal(size=variable.shape))
    return model


def samples(rows: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(2).normal(size=(rows, *shape)).astype(np.float32)


def jacobian(model: Sequential, x: np.ndarray, state: State | None = None) -> Result:
    assert model._network.state is not None
    return model._network.program().jacobian(state or model._network.state, x)


@pytest.fixture
def threads() -> Iterator[None]:
    before = kurve.get_threads()
    yield
    kurve.set_threads(before)


def check_along_a_direction(model: Sequential, x: np.ndarray) -> None:
    """J d against the change of the outputs along d, in float64."""
    plan, state = model._network.require_built("test")
    state = in_float64(state)
    direction = np.zeros(plan.params_size)
    random = np.random.default_rng(3)
    for slot in plan.params:
        if slot.trainable:
            direction[slot.offset : slot.end] = random.normal(size=slot.size)
    y, derivatives = jacobian(model, x, state)
    ends = []
    for distance in (-STEP, STEP):
        moved = in_float64(state)
        moved.params += distance * direction
        ends.append(model._network.program().predict(moved, x))
    slope = (ends[1] - ends[0]).ravel() / (2.0 * STEP)
    assert derivatives.shape == (y.size, plan.params_size)
    assert TOLERANCES["slope"].allows(derivatives @ direction, slope)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("stack", STACKS)
def test_against_finite_differences(stack: str, shape: tuple[int, ...]) -> None:
    check_along_a_direction(model_of(stack, "reference", shape), samples(4, shape))


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=name_of)
def test_every_activation_against_finite_differences(activation: Any) -> None:
    model = compiled("reference", [Dense(5, activation), Dense(2, activation)], (3,))
    check_along_a_direction(model, samples(4, (3,)))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("stack", STACKS)
def test_engines_agree(fast: str, stack: str, shape: tuple[int, ...]) -> None:
    reference = model_of(stack, "reference", shape)
    model, x = model_of(stack, fast, shape), samples(70, shape)
    assert reference._network.state is not None
    exact = jacobian(reference, x, in_float64(reference._network.state))
    own, given = jacobian(reference, x), jacobian(model, x)
    for name, *three in zip(
        ("predictions", "gradient"), given, exact, own, strict=True
    ):
        assert excess(TOLERANCES[name], *three) <= 0.0, name


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=name_of)
def test_engines_agree_for_every_activation(fast: str, activation: Any) -> None:
    x, made = samples(33, (3,)), {}
    for engine in ("reference", fast):
        layers = [Dense(17, activation), Dense(4, activation)]
        made[engine] = compiled(engine, layers, (3,))
    assert made["reference"]._network.state is not None
    exact = jacobian(made["reference"], x, in_float64(made["reference"]._network.state))
    own, given = jacobian(made["reference"], x), jacobian(made[fast], x)
    for name, *three in zip(
        ("predictions", "gradient"), given, exact, own, strict=True
    ):
        assert excess(TOLERANCES[name], *three) <= 0.0, name


def test_outputs_are_those_of_predict(engine: str) -> None:
    """Bit for bit, so with dropout off; zeros for frozen variables and padding."""
    for stack in ("dropout", "frozen"):
        model, x = (
            model_of(stack, engine),
            samples(1500 if engine == "native" else 9, (3,)),
        )
        y, derivatives = jacobian(model, x)
        assert y.tobytes() == model.predict(x, verbose=0).tobytes()
        plan, _ = model._network.require_built("test")
        trained = np.zeros(plan.params_size, bool)
        for slot in plan.params:
            trained[slot.offset : slot.end] = slot.trainable
        assert not derivatives[:, ~trained].any()
        assert derivatives[:, trained].any(axis=0).all()


@pytest.mark.parametrize("rows", [1, 63, 64, 65, 2049])
@pytest.mark.usefixtures("native", "threads")
def test_same_bits_for_any_number_of_threads(rows: int) -> None:
    model = compiled("native", [Dense(70, "gelu"), Dense(33, "tanh"), Dense(2)], (3,))
    x, seen = samples(rows, (3,)), set()
    for number in (1, 2, 4):
        kurve.set_threads(number)
        y, derivatives = jacobian(model, x)
        seen.add(y.tobytes() + derivatives.tobytes())
    assert len(seen) == 1


@pytest.mark.usefixtures("native")
def test_wrong_arrays_are_refused() -> None:
    from kurve import _core

    model = compiled("native")
    program, state = model._network.program(), model._network.state
    assert state is not None
    arrays = _core.State(state.params, state.buffers, state.slots, state.scalars)
    x, y = np.zeros((4, 3), np.float32), np.zeros((4, 2), np.float32)
    columns = program.plan.params_size
    for out, bad_x, bad_y in (
        (np.zeros((7, columns), np.float32), x, y),
        (np.zeros((8, columns - 1), np.float32), x, y),
        (np.zeros((8, columns), np.float32), x[:, :2].copy(), y),
        (np.zeros((8, columns), np.float32), x, y[:3].copy()),
    ):
        with pytest.raises(ValueError, match="must have"):
            program._core.jacobian(arrays, [bad_x], bad_y, out)
