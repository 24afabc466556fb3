"""Gradients against central differences, in float64 on the reference engine.

A gradient g is right if, for any direction d, the loss changes by h (g . d) over a
small step h d: one number checks all elements, and a random d misses no wrong one.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kurve import Sequential, losses, regularizers
from kurve.engines import Batches, State
from kurve.layers import (
    Activation,
    Dense,
    Dropout,
    FourierFeatures,
    Layer,
    Normalization,
)
from tests.engines.cases import (
    ACTIVATIONS,
    LOSSES,
    compiled,
    in_float64,
    name_of,
    one_batch,
    targets,
)
from tests.engines.tolerances import JUMP, STEP, TOLERANCES, excess

ROWS, OUTPUTS, DIRECTIONS = 5, 3, 3
LossCase = tuple[losses.Loss, str]


def middle(kind: str, activation: object) -> list[Layer]:
    """Layers of one kind, to put between two others."""
    return {
        "dense": [Dense(4, activation)],
        "dense, no bias": [Dense(4, activation, use_bias=False)],
        "activation": [Activation(activation)],
        "dropout": [Dense(6, activation), Dropout(0.4)],
        "fourier": [FourierFeatures(3, trainable=True), Activation(activation)],
        "fourier, fixed": [FourierFeatures(3, scale=0.5), Dense(4, activation)],
        "normalization": [
            Normalization(mean=[0.1, -0.2, 0.3, 0.0], variance=[0.5, 1.5, 1.0, 2.0]),
            Activation(activation),
            Normalization(mean=0.2, variance=0.3, axis=None, invert=True),
        ],
    }[kind]


KINDS = [
    "dense",
    "dense, no bias",
    "activation",
    "dropout",
    "normalization",
    "fourier",
    "fourier, fixed",
]


def along(
    model: Sequential, state: State, batches: Batches, direction: np.ndarray
) -> tuple[float, float, bool]:
    """The derivative of the loss along `direction` by the gradient and by a central
    difference, and whether the point is at a kink, where the derivative jumps."""
    program = model._network.program()

    def at(distance: float) -> tuple[float, float]:
        moved = replace(state, params=state.params + distance * direction)
        loss, gradient = program.gradient(moved, batches, 0)
        return loss, float(gradient @ direction)

    (low, before), (_, slope), (high, after) = at(-STEP), at(0.0), at(STEP)
    kink = abs(after - before) > JUMP * (abs(before) + abs(after) + 1e-3)
    return slope, (high - low) / (2.0 * STEP), kink


def check(
    model: Sequential,
    x: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray | None = None,
) -> None:
    """Compare along random directions of the trainable variables."""
    state = in_float64(model._network.training_state())
    state.step = 7  # the dropout mask of a step in the middle of training
    random = np.random.default_rng(0)
    plan = model._network.program().plan
    free = np.zeros(plan.params_size)
    for slot in plan.params:
        if slot.trainable:
            free[slot.offset : slot.end] = 1.0
    # Not at biases of 0, where penalties have a kink and activations are special.
    state.params += 0.1 * free * random.normal(size=free.shape)
    batches = one_batch(x, y, weights)
    checked = 0
    for _ in range(DIRECTIONS):
        direction = random.normal(size=free.shape) * free
        slope, difference, kink = along(model, state, batches, direction)
        if not kink:
            size = np.linalg.norm(direction)
            too_much = excess(
                TOLERANCES["slope"], np.array([slope / size]), [difference / size]
            )
            assert too_much <= 0.0, (slope, difference)
            checked += 1
    assert checked, "every point stands at a kink"
    _, gradient = model._network.program().gradient(state, batches, 0)
    assert not gradient[free == 0.0].any(), "padding or a frozen variable moves"


@pytest.mark.parametrize("loss", LOSSES, ids=name_of)
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=name_of)
@pytest.mark.parametrize("kind", KINDS)
def test_layer_activation_loss(kind: str, activation: object, loss: LossCase) -> None:
    """Every kind of layer with every activation under every loss, between two dense
    layers: the first one's gradient is the chain rule through all others."""
    function, output = loss
    layers = [
        Dense(4, "tanh"),
        *middle(kind, activation),
        Dense(OUTPUTS * function.outputs_per_target, output),
    ]
    model = compiled("reference", layers, (3,), function)
    x = np.random.default_rng(1).normal(size=(ROWS, 3))
    check(model, x, targets(function, (ROWS, OUTPUTS * function.outputs_per_target), 2))


@pytest.mark.parametrize("loss", LOSSES, ids=name_of)
@pytest.mark.parametrize("shape", [(1,), (7,), (2, 3), (2, 1, 4)], ids=str)
def test_inputs_of_any_rank(shape: tuple[int, ...], loss: LossCase) -> None:
    """Dense, softmax and losses work on the last axis, whatever the axes before it."""
    function, output = loss
    layers = [Dense(4, "gelu"), Dense(OUTPUTS * function.outputs_per_target, output)]
    model = compiled("reference", layers, shape, function)
    x = np.random.default_rng(1).normal(size=(ROWS, *shape))
    weights = np.random.default_rng(3).uniform(0.0, 2.0, ROWS)
    y = targets(function, (ROWS, *shape[:-1], OUTPUTS * function.outputs_per_target), 2)
    check(model, x, y, weights=weights)


@pytest.mark.parametrize("loss", LOSSES, ids=name_of)
def test_sample_weights_of_zero_and_more(loss: LossCase) -> None:
    function, output = loss
    layers = [Dense(4, "silu"), Dense(OUTPUTS * function.outputs_per_target, output)]
    model = compiled("reference", layers, (2,), function)
    x = np.random.default_rng(1).normal(size=(ROWS, 2))
    weights = np.array([0.0, 1.0, 3.0, 0.5, 0.0])
    check(
        model,
        x,
        targets(function, (ROWS, OUTPUTS * function.outputs_per_target), 2),
        weights=weights,
    )


@pytest.mark.parametrize(
    "penalty",
    [regularizers.L1(0.03), regularizers.L2(0.02), regularizers.L1L2(0.01, 0.02)],
    ids=lambda penalty: type(penalty).__name__,
)
@pytest.mark.parametrize("frozen", [False, True])
def test_penalties_and_frozen_layers(penalty: object, frozen: bool) -> None:
    """Penalties count in loss and gradient but, as in Keras, not those of frozen
    layers."""
    regularized = {"kernel_regularizer": penalty, "bias_regularizer": penalty}
    first = Dense(4, "tanh", trainable=not frozen, **regularized)
    layers = [first, Dense(3, "sigmoid", **regularized), Dense(2)]
    model = compiled("reference", layers, (3,))
    x = np.random.default_rng(1).normal(size=(ROWS, 3))
    y = np.random.default_rng(2).normal(size=(ROWS, 2))
    check(model, x, y)
    plain_layers = [Dense(4, "tanh"), Dense(3, "sigmoid"), Dense(2)]
    bare = compiled("reference", plain_layers, (3,))
    bare.set_weights(model.get_weights())
    batches = one_batch(x, y, None)
    loss, _ = model._network.program().gradient(model._network.state, batches, 0)
    plain, _ = bare._network.program().gradient(bare._network.state, batches, 0)
    counted = layers[1:2] if frozen else layers[:2]
    wanted = sum(penalty(w) for layer in counted for w in layer.get_weights())
    assert loss - plain == pytest.approx(wanted, rel=1e-5)


def test_a_wrong_gradient_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check itself is checked: a factor that is 1 % off must not pass."""
    from kurve.engines.reference import activations

    right, slope = activations.ACTIVATIONS["tanh"]
    wrong = (right, lambda z, alpha: 1.01 * slope(z, alpha))
    monkeypatch.setitem(activations.ACTIVATIONS, "tanh", wrong)
    model = compiled("reference", [Dense(4, "tanh"), Dense(2)], (3,))
    x = np.random.default_rng(1).normal(size=(ROWS, 3))
    with pytest.raises(AssertionError):
        check(model, x, np.zeros((ROWS, 2)))


def test_kinks_are_found() -> None:
    """A unit whose input is 0 for every row has a derivative that jumps."""
    model = compiled("reference", [Dense(1, "relu", kernel_initializer="zeros")], (1,))
    state = in_float64(model._network.training_state())
    batches = one_batch(np.ones((2, 1)), -np.ones((2, 1)), None)
    _, _, kink = along(model, state, batches, np.ones_like(state.params))
    assert kink
