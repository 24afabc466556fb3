"""Models and data that the tests of engines share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from kurve import Input, Sequential, activations, losses, optimizers, utils
from kurve.activations import FUSED
from kurve.engines import Batches, State
from kurve.layers import Dense, Layer
from kurve.ops.activations import FORMULAS

ACTIVATION_NAMES = [
    "linear",
    "relu",
    "leaky_relu",
    "elu",
    "selu",
    "gelu",
    "silu",
    "sigmoid",
    "tanh",
    "softplus",
    "softsign",
    "softmax",
    "sin",
    "snake",
]
"""All that engines have a kernel for; softmax is the only one that is not
elementwise."""

FORMULA_NAMES = [name for name in FORMULAS if name not in (*FUSED, "threshold")]
"""Those that are tapes, with their defaults."""

FORMULA_ACTIVATIONS = [
    *FORMULA_NAMES,
    activations.Activation("relu", max_value=0.7, negative_slope=0.2, threshold=0.1),
    activations.Activation("relu", max_value=0.7),
    activations.Activation("gelu", approximate=True),
    activations.Activation("celu", 0.4),
    activations.Activation("squareplus", b=0.3),
    activations.Activation("soft_shrink", threshold=0.2),
    activations.Activation("threshold", threshold=0.1, default_value=-0.3),
]

ACTIVATIONS = [
    *ACTIVATION_NAMES,
    *FORMULA_ACTIVATIONS,
    activations.Activation("leaky_relu", 0.05),
    activations.Activation("elu", 0.7),
    activations.Activation("snake", 2.5),
]

# Each loss, and an activation whose outputs it accepts.
LOSSES = [
    (losses.MeanSquaredError(), "linear"),
    (losses.MeanAbsoluteError(), "linear"),
    (losses.Huber(delta=0.3), "linear"),
    (losses.LogCosh(), "linear"),
    (losses.BinaryCrossentropy(label_smoothing=0.1), "sigmoid"),
    (losses.BinaryCrossentropy(from_logits=True), "linear"),
    (losses.CategoricalCrossentropy(label_smoothing=0.1), "softmax"),
    (losses.CategoricalCrossentropy(), "sigmoid"),  # rows that do not sum to 1
    (losses.CategoricalCrossentropy(from_logits=True), "linear"),
    (losses.SparseCategoricalCrossentropy(), "softmax"),
    (losses.SparseCategoricalCrossentropy(from_logits=True), "linear"),
    (losses.GaussianNLL(), "linear"),
    (losses.Pinball([0.1, 0.5, 0.9]), "linear"),
]


def name_of(case: object) -> str:
    """A test's name for an activation, a loss with its output, an optimizer."""
    if isinstance(case, tuple):
        loss, output = case
        return f"{loss.kind}-{output}"
    if isinstance(case, activations.Activation):
        return str(case)
    if isinstance(case, optimizers.Optimizer):
        return type(case).__name__
    return str(case)


def targets(loss: losses.Loss, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Targets that `loss` accepts for outputs of this shape, (n, ...,
    outputs_per_target O)."""
    random = np.random.default_rng(seed)
    shape = (*shape[:-1], shape[-1] // loss.outputs_per_target)
    classes = random.integers(0, shape[-1], shape[:-1])
    if loss.sparse:
        return classes
    if isinstance(loss, losses.CategoricalCrossentropy):
        return np.eye(shape[-1])[classes]
    if isinstance(loss, losses.BinaryCrossentropy):
        return random.integers(0, 2, shape).astype(float)
    y = random.normal(size=shape)
    if isinstance(loss, losses.MeanAbsoluteError | losses.Pinball):
        y += 4.0 * np.sign(y)  # no step crosses the kink, where rounding would decide
    return y


def compiled(
    engine: str,
    layers: Sequence[Layer] = (),
    shape: tuple[int, ...] = (3,),
    loss: str | losses.Loss = "mse",
    optimizer: str | optimizers.Optimizer = "sgd",
    seed: int = 1,
) -> Sequential:
    """A compiled and built model for samples of `shape`, with this seed, for one
    engine."""
    utils.set_random_seed(seed)
    model = Sequential([Input(shape), *(layers or [Dense(2)])])
    model.compile(optimizer, loss, engine=engine)
    return model


def in_float64(state: State) -> State:
    """The same state in float64."""
    return replace(
        state,
        params=state.params.astype(np.float64),
        buffers=state.buffers.astype(np.float64),
        slots=state.slots.astype(np.float64),
        scalars=state.scalars.copy(),
    )


def one_batch(x: np.ndarray, y: np.ndarray, weights: np.ndarray | None) -> Batches:
    """All rows as one step, as `fit` passes them to an engine."""

    def plain(a: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(a, np.float32)

    w = None if weights is None else plain(weights)
    bounds = np.array([0, len(x)], np.int64)
    return Batches(plain(x), plain(y), w, None, bounds)
