"""The fast engines against the reference engine, on random models of the public API.

Both run in float32 and are compared with the reference engine in float64: an engine may
be a few times as wrong as NumPy in float32 is, where a model amplifies rounding, and
hardly at all where it does not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kurve import Sequential, losses, optimizers
from kurve.errors import NonFiniteError
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
from tests.engines.tolerances import TOLERANCES, excess

STEPS = 20
SCHEDULES = [
    optimizers.schedules.ExponentialDecay(0.01, 5, 0.8),
    optimizers.schedules.InverseTimeDecay(0.01, 5, 0.5, staircase=True),
    optimizers.schedules.PiecewiseConstantDecay([6, 13], [0.01, 0.003, 0.001]),
    optimizers.schedules.CosineDecay(
        0.001, 10, 0.1, warmup_target=0.01, warmup_steps=6
    ),
]
OPTIMIZERS = [
    (optimizers.SGD, {}),
    (optimizers.SGD, {"momentum": 0.9}),
    (optimizers.SGD, {"momentum": 0.8, "nesterov": True, "weight_decay": 0.01}),
    (optimizers.RMSprop, {}),
    (optimizers.RMSprop, {"momentum": 0.5, "centered": True, "epsilon": 1e-3}),
    (optimizers.Adagrad, {}),
    (optimizers.Adam, {}),
    (optimizers.Adam, {"amsgrad": True, "beta_2": 0.9}),
    (optimizers.AdamW, {"weight_decay": 0.1}),
    (optimizers.Nadam, {}),
    (optimizers.Adamax, {}),
]
FORMULAS = [
    (optimizers.Adadelta, {}),
    (optimizers.Ftrl, {"l1_regularization_strength": 0.01, "beta": 0.1}),
    (optimizers.Lamb, {"weight_decay": 0.1}),
    (optimizers.Adafactor, {}),
    (optimizers.Muon, {"ns_steps": 3}),
    (optimizers.ScheduleFreeAdamW, {"warmup_steps": 5}),
    (optimizers.Adam, {"use_ema": True, "ema_overwrite_frequency": 3}),
    (optimizers.Nadam, {"gradient_accumulation_steps": 3, "weight_decay": 0.1}),
]
CONSTANT_SLOPES = (losses.MeanAbsoluteError, losses.Huber, losses.Pinball)
BY_ROW = [(losses.GaussianNLL(beta=0.5), "linear")]
"""Losses whose gradient is not the derivative of their value, which differences cannot
check."""
CLIPS = [{}, {"clipvalue": 0.02}, {"clipnorm": 0.1}, {"global_clipnorm": 0.2}]
SIZES = st.sampled_from([1, 2, 3, 5, 8, 13, 16, 17, 31, 33])


@dataclass
class Run:
    """A model's numbers after training."""

    losses: list[float] = field(default_factory=list)
    metrics: list[float] = field(default_factory=list)
    weights: np.ndarray = field(default_factory=lambda: np.zeros(0))
    predictions: np.ndarray = field(default_factory=lambda: np.zeros(0))


def metrics_for(loss: losses.Loss) -> list[Any]:
    # No accuracy: rounding decides between equal outputs.
    if loss.sparse or loss.outputs_per_target > 1:
        return [loss]
    return ["mae", "rmse", "r2"]


def train(model: Sequential, x: np.ndarray, y: np.ndarray, **options: Any) -> Run:
    history = model.fit(x, y, verbose=0, **options).history
    assert model._network.state is not None
    return Run(
        history.pop("loss"),
        [value for values in history.values() for value in values],
        model._network.state.params.copy(),
        model.predict(x, verbose=0),
    )


def wrong(run: Run, exact: Run, in_float32: Run) -> dict[str, float]:
    """What differs too much, and by how much."""
    found = {}
    for name in ("losses", "metrics", "weights", "predictions"):
        right, own = getattr(exact, name), getattr(in_float32, name)
        if name == "metrics":  # an accuracy or r2 may be at a discontinuity
            right, own = np.asarray(right), np.asarray(own)
        tolerance = TOLERANCES[f"trained {name}"]
        too_much = excess(tolerance, getattr(run, name), right, own)
        if too_much > 0.0:
            found[name] = too_much
    return found


def compare(fast: str, make: Any, x: np.ndarray, y: np.ndarray, **options: Any) -> None:
    """Train the model of `make(engine)` by each engine, and in float64."""
    double = make("reference")
    double._network.training_state()
    double._network.state = in_float64(double._network.state)
    exact = train(double, x, y, **options)
    in_float32 = train(make("reference"), x, y, **options)
    run = train(make(fast), x, y, **options)
    assert not wrong(run, exact, in_float32)


@st.composite
def hidden_layers(draw: st.DrawFn) -> list[tuple[str, dict[str, Any]]]:
    """Up to three layers (a fourth is the output), as classes and arguments."""
    made: list[tuple[str, dict[str, Any]]] = []
    for _ in range(draw(st.integers(0, 3))):
        activation = draw(st.sampled_from(ACTIVATIONS))
        use_bias = draw(st.booleans())
        trainable = draw(st.sampled_from([True, True, True, False]))
        penalty = draw(st.sampled_from([None, None, "l1", "l2"]))
        made.append(
            (
                "Dense",
                {
                    "units": draw(SIZES),
                    "activation": activation,
                    "use_bias": use_bias,
                    "trainable": trainable,
                    "kernel_regularizer": penalty,
                },
            )
        )
        if draw(st.sampled_from([False, False, True])):
            made.append(("Dropout", {"rate": draw(st.sampled_from([0.1, 0.5]))}))
        if draw(st.sampled_from([False, False, False, True])):
            made.append(("Activation", {"activation": "softsign"}))
        if draw(st.sampled_from([False, False, False, True])):
            count, trainable = draw(st.sampled_from([1, 3, 16])), draw(st.booleans())
            waves = {"frequencies": count, "scale": 0.5, "trainable": trainable}
            made.append(("FourierFeatures", waves))
    return made


CLASSES: dict[str, type[Layer]] = {
    cls.__name__: cls
    for cls in (Dense, Dropout, Activation, Normalization, FourierFeatures)
}


@settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
@pytest.mark.filterwarnings("ignore:.* needs more than one class")
def test_training(fast: str, data: st.DataObject) -> None:
    """Losses, metrics, weights and predictions after 20 steps."""
    draw = data.draw
    described = draw(hidden_layers(), "layers")
    loss, output = draw(st.sampled_from(LOSSES + BY_ROW), "loss")
    optimizer, arguments = draw(st.sampled_from(OPTIMIZERS), "optimizer")
    clip = draw(st.sampled_from(CLIPS), "clip")
    if isinstance(loss, CONSTANT_SLOPES) and optimizer is not optimizers.SGD:
        # Equal gradients of rows may cancel to a rounding error, and an error relative
        # to itself is not small.
        arguments = {"epsilon": 1e-3} | arguments
    rate = draw(st.sampled_from([0.01, 0.001, *SCHEDULES]), "rate")
    inner = draw(st.sampled_from([(), (), (3,), (2, 3)]), "axes before the last")
    features, rows = draw(SIZES), draw(SIZES)
    outputs = draw(SIZES) * loss.outputs_per_target
    batch_size = draw(st.sampled_from([1, 2, 7, 32]), "batch_size")
    seed = draw(st.integers(0, 2**32 - 1), "seed")
    weighted, normalized = draw(st.booleans()), draw(st.booleans())

    random = np.random.default_rng(seed)
    shape = (*inner, features)
    x = random.normal(size=(rows, *shape)).astype(np.float32)
    y = targets(loss, (rows, *inner, outputs), seed)
    weights = random.uniform(0.0, 2.0, rows) if weighted else None

    def make(engine: str) -> Sequential:
        layers: list[Layer] = [CLASSES[name](**a) for name, a in described]
        if normalized:
            first = Normalization()
            first.adapt(x)
            layers.insert(0, first)
        layers.append(Dense(outputs, output))
        model = compiled(engine, layers, shape, loss, seed=seed)
        made = optimizer(rate, **arguments, **clip)
        model.compile(
            made,
            loss,
            metrics=metrics_for(loss),
            weighted_metrics=metrics_for(loss),
            engine=engine,
        )
        return model

    options: dict[str, Any] = {
        "sample_weight": weights,
        "batch_size": batch_size,
        "steps_per_epoch": 5,
        "epochs": 4,
        "validation_data": (x, y),
    }
    try:
        compare(fast, make, x, y, **options)
    except NonFiniteError:  # then it is for all engines
        with pytest.raises(NonFiniteError):
            train(make("reference"), x, y, **options)


@pytest.mark.parametrize("loss", LOSSES + BY_ROW, ids=name_of)
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=name_of)
def test_one_gradient(
    fast: str, activation: Any, loss: tuple[losses.Loss, str]
) -> None:
    """Loss, gradient and prediction of one batch, where no training can hide an
    error."""
    function, output = loss
    x = np.random.default_rng(1).normal(size=(11, 3))
    outputs = 5 * function.outputs_per_target
    y = targets(function, (11, outputs), 2)
    results = []
    for engine, double in (
        ("reference", True),
        ("reference", False),
        (fast, False),
    ):
        layers = [Dense(17, activation), Dropout(0.3), Dense(outputs, output)]
        model = compiled(engine, layers, (3,), function, seed=3)
        state = model._network.training_state()
        state = in_float64(state) if double else state
        program = model._network.program()
        batches = one_batch(x, y, np.linspace(0.0, 2.0, 11))
        loss_value, gradient = program.gradient(state, batches, 0)
        results.append(
            (np.array(loss_value), gradient, program.predict(state, batches.x))
        )
    for name, exact, own, given_ in zip(
        ("loss", "gradient", "predictions"), *results, strict=True
    ):
        assert TOLERANCES[name].allows(given_, exact, own), name


@pytest.mark.parametrize("clip", CLIPS, ids=str)
@pytest.mark.parametrize(("optimizer", "arguments"), OPTIMIZERS + FORMULAS, ids=str)
def test_every_optimizer_with_every_clip(
    fast: str,
    optimizer: type[optimizers.Optimizer],
    arguments: dict[str, Any],
    clip: dict[str, Any],
) -> None:
    """Also for gradients scaled by 1e-6, where the variants of Adam's epsilon
    differ."""
    x = np.random.default_rng(1).normal(size=(20, 3))
    for scale in (1.0, 1e-6):
        y = scale * np.random.default_rng(2).normal(size=(20, 2))
        compare(
            fast,
            lambda engine: compiled(
                engine,
                [Dense(9, "tanh"), Dense(2)],
                (3,),
                optimizer=optimizer(learning_rate=0.01, **arguments, **clip),
            ),
            x,
            y,
            sample_weight=np.full(20, scale),
            epochs=5,
            steps_per_epoch=4,
        )


@pytest.mark.parametrize(
    "metric", ["categorical_accuracy", "sparse_categorical_accuracy"]
)
def test_nan_is_the_largest_output(engine: str, metric: str) -> None:
    sparse = metric.startswith("sparse")
    loss = f"{'sparse_' if sparse else ''}categorical_crossentropy"
    model = compiled(engine, [Activation("linear")])
    model.compile("sgd", loss, metrics=[metric], engine=engine)
    program, state = model._network.program(), model._network.training_state()
    x = np.float32([[1, np.nan, 2], [1, np.nan, 2], [np.nan, np.nan, 2], [1, 2, 0]])
    classes = np.array([1, 2, 0, 1])
    y = classes if sparse else np.eye(3)[classes]
    totals = np.zeros(program.plan.totals_size)
    program.test(state, one_batch(x, y, None), totals)
    assert totals[2:].tolist() == [3.0, 4.0]


ENDS = [0.0, 1e-45, 1e-40, 1e-38, 1.0, 5.0, 20.0, 88.5, 89.0, 104.0, 1e5, 1e19, 3e38]


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=name_of)
def test_activations_at_the_ends_of_float32(fast: str, activation: Any) -> None:
    """Values, and derivatives at finite numbers; infinite and NaN in the same
    places."""
    x = np.float32([*ENDS, *(-v for v in ENDS), np.inf, -np.inf, np.nan])[:, None]
    found = []
    for engine in (fast, "reference"):
        layer = Dense(1, activation, kernel_initializer="ones")
        model = compiled(engine, [layer], (1,))
        program, state = model._network.program(), model._network.training_state()
        slopes = program.jacobian(state, x[:-3])[1][:, 16]  # with respect to the bias
        pairs = np.hstack([x, np.roll(x, 5)])
        model = compiled(engine, [Activation(activation)], (2,))
        program, state = model._network.program(), model._network.training_state()
        found.append((program.predict(state, pairs), slopes))
    for ours, exact in zip(*found, strict=True):
        np.testing.assert_allclose(ours, exact, rtol=1e-5, atol=1e-6)
