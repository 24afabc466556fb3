"""`kurve.function`: steps that are compiled as a whole, and those that cannot be."""

from __future__ import annotations

import collections
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import Input, Model, layers, losses, metrics, ops, optimizers, utils

RNG = np.random.default_rng(0)
X = RNG.normal(size=(32, 3)).astype("float32")
Y = np.sin(X.sum(axis=1, keepdims=True))
PICTURES = RNG.normal(size=(8, 6, 6, 2)).astype("float32")
LABELS = np.arange(8) % 3

Made = tuple[Callable[..., Any], list[Any], tuple[Any, ...]]
"""A step, the models whose weights are compared, and its arguments."""


def stack(*parts: Any, shape: tuple[int, ...] = (3,)) -> Any:
    return kurve.Sequential([kurve.Input(shape), *parts])


def plain_loop() -> Made:
    model = stack(layers.Dense(8, "tanh"), layers.Dense(1))
    optimizer, loss_fn = optimizers.Adam(0.01), losses.MeanSquaredError()

    def step(x: Any, y: Any) -> Any:
        with kurve.GradientTape() as tape:
            loss = loss_fn(y, model(x, training=True))
        weights = model.trainable_weights
        optimizer.apply(tape.gradient(loss, weights), weights)
        return loss

    return step, [model], (X, Y)


def penalties_and_pictures() -> Made:
    model = stack(
        layers.Conv2D(4, 3, activation="relu", kernel_regularizer="l2"),
        layers.BatchNormalization(),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.ActivityRegularization(l2=0.01),
        layers.Dense(3),
        shape=(6, 6, 2),
    )
    optimizer = optimizers.SGD(0.05, momentum=0.9, clipnorm=1.0)
    loss_fn = losses.SparseCategoricalCrossentropy(from_logits=True)
    accuracy, mean = metrics.SparseCategoricalAccuracy(), metrics.Mean()

    def step(x: Any, y: Any) -> Any:
        with kurve.GradientTape() as tape:
            logits = model(x, training=True)
            loss = loss_fn(y, logits) + sum(model.losses)
        gradients = tape.gradient(loss, model.trainable_weights)
        optimizer.apply_gradients(zip(gradients, model.trainable_weights, strict=True))
        accuracy.update_state(y, logits)
        mean.update_state(loss)
        return {"loss": mean.result(), "accuracy": accuracy.result()}

    return step, [model], (PICTURES, LABELS)


def gan() -> Made:
    """Both gradients are taken before either update."""
    generator = stack(layers.Dense(8, "relu"), layers.Dense(3))
    critic = stack(layers.Dense(8, "leaky_relu"), layers.Dense(1))
    first, second = optimizers.Adam(0.01), optimizers.RMSprop(0.01)
    bce = losses.BinaryCrossentropy(from_logits=True)

    def step(real: Any) -> Any:
        noise = kurve.random.normal((ops.shape(real)[0], 3))
        with kurve.GradientTape() as g_tape, kurve.GradientTape() as c_tape:
            fake = generator(noise, training=True)
            judged, of_fake = critic(real), critic(fake)
            g_loss = bce(ops.ones_like(of_fake), of_fake)
            c_loss = bce(np.ones((len(real), 1)), judged)
            c_loss = c_loss + bce(ops.zeros_like(of_fake), of_fake)
        g_weights, c_weights = generator.trainable_weights, critic.trainable_weights
        g_gradients = g_tape.gradient(g_loss, g_weights)
        c_gradients = c_tape.gradient(c_loss, c_weights)
        first.apply(g_gradients, g_weights)
        second.apply(c_gradients, c_weights)
        return g_loss, c_loss

    return step, [generator, critic], (X,)


def wasserstein() -> Made:
    """Slopes inside of the loss, and several updates of one network in a step."""
    generator = stack(layers.Dense(8, "relu"), layers.Dense(3))
    critic = stack(layers.Dense(8, "tanh"), layers.Dense(1))
    first, second = optimizers.Adam(0.01), optimizers.Adam(0.01)

    def step(real: Any) -> Any:
        noise = kurve.random.normal((len(real), 3))
        fake, weights = generator(noise), critic.trainable_weights
        for _ in range(2):
            with kurve.GradientTape() as tape:
                share = kurve.random.uniform((len(real), 1))
                mixed = real + share * (fake - real)
                with kurve.GradientTape() as inner:
                    inner.watch(mixed)
                    judged = critic(mixed)
                slope = inner.gradient(judged, mixed)
                norm = ops.sqrt(ops.sum(slope**2, axis=1))
                c_loss = ops.mean(critic(fake)) - ops.mean(critic(real))
                c_loss += 10.0 * ops.mean((norm - 1.0) ** 2)
            slopes = tape.gradient(c_loss, weights, unconnected_gradients="zero")
            second.apply(slopes, weights)
        with kurve.GradientTape() as tape:
            g_loss = -ops.mean(critic(generator(noise)))
        weights = generator.trainable_weights
        first.apply(tape.gradient(g_loss, weights), weights)
        return g_loss, c_loss

    return step, [generator, critic], (X,)


def vae() -> Made:
    x = kurve.Input((3,))
    h = layers.Dense(8, "relu")(x)
    encoder = kurve.Model(x, [layers.Dense(2)(h), layers.Dense(2)(h)])
    decoder = stack(layers.Dense(8, "relu"), layers.Dense(3), shape=(2,))
    optimizer, tracker = optimizers.Adam(0.01), metrics.Mean()

    def step(x: Any) -> Any:
        with kurve.GradientTape() as tape:
            mean, log_var = encoder(x)
            z = mean + ops.exp(0.5 * log_var) * kurve.random.normal(ops.shape(mean))
            error = ops.mean(ops.sum(ops.square(x - decoder(z)), axis=1))
            kl = 1 + log_var - ops.square(mean) - ops.exp(log_var)
            loss = error + ops.mean(ops.sum(-0.5 * kl, axis=1))
        weights = encoder.trainable_weights + decoder.trainable_weights
        optimizer.apply(tape.gradient(loss, weights), weights)
        tracker.update_state(loss)
        return {"loss": tracker.result(), "error": error}

    return step, [encoder, decoder], (X,)


def q_learning() -> Made:
    """The target is computed outside of the tape: no gradient goes through it."""
    model = stack(layers.Dense(8, "tanh"), layers.Dense(2))
    optimizer = optimizers.Adam(0.01)
    actions, rewards = np.arange(32) % 2, np.cos(np.arange(32)).astype("float32")

    def step(states: Any, actions: Any, rewards: Any, following: Any) -> Any:
        goal = rewards + 0.9 * ops.max(model(following), axis=1)
        with kurve.GradientTape() as tape:
            chosen = ops.sum(model(states) * ops.one_hot(actions, 2), axis=1)
            loss = ops.mean(ops.square(goal - chosen))
        weights = model.trainable_weights
        optimizer.apply(tape.gradient(loss, weights), weights)
        return loss, chosen

    return step, [model], (X, actions, rewards, X[::-1].copy())


def changed_gradients() -> Made:
    """Gradients that the step computes with, of weights of which one is frozen."""
    model = stack(layers.Dense(8, "tanh"), layers.Dense(4), layers.Dense(1))
    model.layers[1].trainable = False
    optimizer = optimizers.SGD(0.1)

    def step(x: Any, y: Any) -> Any:
        with kurve.GradientTape() as tape:
            loss = ops.mean(ops.abs(model(x) - y))
        weights = model.trainable_weights
        gradients = [ops.clip(g, -0.02, 0.02) for g in tape.gradient(loss, weights)]
        optimizer.apply(gradients, weights)
        return loss, ops.sum(ops.square(gradients[0]))

    return step, [model], (X, Y)


def without_update() -> Made:
    model = stack(layers.Dense(8, "tanh"), layers.Dropout(0.5), layers.Dense(2))
    error = metrics.MeanAbsoluteError()

    def step(x: Any, y: Any) -> Any:
        out = model(x)
        error.update_state(y, out[:, :1])
        return ops.softmax(out), ops.mean(out), out[:, 0] > 0, error.result()

    return step, [model], (X, Y)


STEPS = [
    plain_loop,
    penalties_and_pictures,
    gan,
    wasserstein,
    vae,
    q_learning,
    changed_gradients,
    without_update,
]


@pytest.mark.parametrize("engine", ["native", "reference"])
@pytest.mark.parametrize("make", STEPS)
def test_a_compiled_step_has_the_numbers_of_the_one_as_written(
    make: Callable[[], Made], engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    monkeypatch.setenv("KURVE_ENGINE", engine)
    monkeypatch.setattr("kurve.engines._default", [])
    for compiles in (True, False):
        utils.set_random_seed(3)
        step, models, given = make()
        if compiles:
            step = kurve.function(step)
        out: Any = [step(*given) for _ in range(4)]
        if compiles:
            assert step.why_not is None  # type: ignore[attr-defined]
        if isinstance(out[0], dict):
            assert next(iter(out[0])) == "loss"
            out = [list(one.values()) for one in out]
        found.append((out, [w.numpy() for m in models for w in m.weights]))
    (out, weights), (expected, others) = found
    for one, other in zip(out, expected, strict=True):
        pairs = [(one, other)]
        if isinstance(one, (list, tuple)):
            pairs = list(zip(one, other, strict=True))
        for a, b in pairs:
            assert np.asarray(a).dtype == np.asarray(b).dtype or np.ndim(a) == 0
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)
    for a, b in zip(weights, others, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("engine", ["native"])
def test_mean_squared_error_and_adam_have_the_numbers_of_fit(engine: str) -> None:
    utils.set_random_seed(3)
    step, (model,), given = plain_loop()
    compiled = kurve.function(step)
    for _ in range(5):
        compiled(*given)
    utils.set_random_seed(3)
    _, (fitted,), _ = plain_loop()
    fitted.compile(optimizers.Adam(0.01), "mse")
    fitted.fit(X, Y, batch_size=32, epochs=5, verbose=0, shuffle=False)
    for a, b in zip(model.weights, fitted.weights, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-7)


# ---------------------------------------------------------------- as it is written


def _asks(x: Any, y: Any, model: Any) -> Any:
    loss = ops.mean(ops.square(model(x) - y))
    if loss > 1000.0:
        raise AssertionError
    return loss


def _converts(x: Any, y: Any, model: Any) -> Any:
    return float(ops.mean(model(x) - y))


def _takes_item(x: Any, y: Any, model: Any) -> Any:
    return ops.mean(model(x) - y).item()


def _other_library(x: Any, y: Any, model: Any) -> Any:
    return math.exp(-ops.mean(ops.square(model(x))))


def _sorts(x: Any, y: Any, model: Any) -> Any:
    return ops.mean(np.sort(np.asarray(model(x)), axis=0)[:3])


def _draws(x: Any, y: Any, model: Any) -> Any:
    return ops.mean(model(x) * np.random.normal())  # noqa: NPY002


@pytest.mark.parametrize(
    ("step", "why"),
    [
        (_asks, "condition"),
        (_converts, r"float\(\)"),
        (_takes_item, "item"),
        (_other_library, "float"),
        (_sorts, "NumPy array"),
        (_draws, "numbers"),
    ],
)
def test_what_cannot_be_traced_runs_as_it_is_written(step: Any, why: str) -> None:
    model = stack(layers.Dense(1))
    compiled = kurve.function(step)
    np.random.seed(1)  # noqa: NPY002
    found = [float(compiled(X, Y, model)) for _ in range(4)]
    np.random.seed(1)  # noqa: NPY002
    written = [float(step(X, Y, model)) for _ in range(4)]
    assert found == pytest.approx(written, rel=1e-5)
    assert re.search(why, compiled.why_not)
    if step is not _draws:
        assert re.match(r"line \d+ of test_functions.py: ", compiled.why_not)


def test_numbers_of_python_are_seen() -> None:
    model, seen, scale = stack(layers.Dense(1)), [], 2.0

    @kurve.function
    def scaled(x: Any) -> Any:
        return ops.mean(scale * model(x))

    @kurve.function
    def counting(x: Any) -> Any:
        seen.append(len(seen))
        return ops.mean(model(x)) + float(len(seen))

    first = [float(scaled(X)) for _ in range(3)]
    assert scaled.why_not is None
    scale = 4.0
    assert float(scaled(X)) == pytest.approx(2.0 * first[0], rel=1e-6)
    values = [float(counting(X)) for _ in range(4)]
    np.testing.assert_allclose(np.diff(values), 1.0, rtol=1e-6)
    assert seen == [0, 1, 2, 3] and "lists" in (counting.why_not or "")


def test_methods_shapes_and_saved_state() -> None:
    class Trainer:
        def __init__(self) -> None:
            self.model = stack(layers.Dense(4, "tanh"), layers.Dense(1))
            self.optimizer, self.rate = optimizers.Adam(0.01), 1.0

        @kurve.function
        def step(self, x: Any, y: Any) -> Any:
            with kurve.GradientTape() as tape:
                loss = self.rate * ops.mean(ops.square(self.model(x) - y))
            weights = self.model.trainable_weights
            self.optimizer.apply(tape.gradient(loss, weights), weights)
            return loss

    trainer = Trainer()
    for rows in (32, 32, 20, 20, 32):
        trainer.step(X[:rows], Y[:rows])
    assert trainer.step.why_not is None
    assert trainer.optimizer.iterations == 5
    assert len(trainer.optimizer.variables) == 2 + 2 * 4
    with pytest.raises(kurve.errors.NonFiniteError):
        trainer.step(X * np.float32(np.nan), Y)
    assert trainer.optimizer.iterations == 5
    before = trainer.model.get_weights()
    trainer.rate = 0.0
    trainer.optimizer.learning_rate = 0.0
    trainer.step(X, Y)
    for a, b in zip(before, trainer.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("what", ["assign", "numpy", "set rate", "read rate", "count"])
def test_values_that_change_are_no_constants(what: str) -> None:
    model, optimizer = stack(layers.Dense(1)), optimizers.SGD(0.5)
    kernel = model.layers[0].kernel
    optimizer.build(model.trainable_weights)

    def step(x: Any) -> Any:
        if what == "assign":
            kernel.assign_add(np.ones((3, 1), "float32"))
        elif what == "set rate":
            optimizer.learning_rate = optimizer.learning_rate * 0.5
        elif what == "numpy":
            return ops.mean(model(x)) * kernel.numpy().sum()
        elif what == "read rate":
            return ops.mean(model(x)) * float(optimizer.learning_rate)
        else:
            return ops.mean(model(x)) * float(optimizer.iterations + 1)
        return ops.mean(model(x))

    compiled = kurve.function(step)
    before = kernel.numpy()
    for _ in range(4):
        compiled(X)
    assert "needs values" in (compiled.why_not or "")
    moved = 4.0 if what == "assign" else 0.0
    np.testing.assert_allclose(kernel.numpy() - before, moved, rtol=1e-5)
    halved = 0.5**5 if what == "set rate" else 0.5
    assert optimizer.learning_rate == halved


def test_function_takes_functions() -> None:
    assert kurve.function(jit_compile=True)(lambda x: 2.0 * x)(3.0) == 6.0
    with pytest.raises(TypeError, match="must decorate a function"):
        kurve.function(3)  # type: ignore[call-overload]


def test_frozen_weights_stay() -> None:
    step, (model,), given = plain_loop()
    compiled = kurve.function(step)
    for _ in range(3):
        compiled(*given)
    model.layers[0].trainable = False
    before = [w.numpy() for w in model.weights]
    compiled(*given)
    moved = [
        bool((a != b.numpy()).any()) for a, b in zip(before, model.weights, strict=True)
    ]
    assert compiled.why_not is None and moved == [False, False, True, True]


class Clock:
    """What changes where no one sees it: inside an object of another library."""

    def __init__(self) -> None:
        self.inner = collections.UserDict(time=0)

    def tick(self) -> float:
        self.inner["time"] += 1
        return float(self.inner["time"])


def clocked(clock: Any) -> Any:
    """A step whose loss is scaled by a count of calls, deep inside an object."""
    utils.set_random_seed(5)
    model = stack(layers.Dense(8, "tanh"), layers.Dense(1))
    optimizer = optimizers.SGD(0.01)
    hidden = [{"a": [clock]}]

    def step(x: Any, y: Any) -> Any:
        with kurve.GradientTape() as tape:
            scale = hidden[0]["a"][0].tick()
            loss = ops.mean(ops.square(model(x) - y)) * scale
        weights = model.trainable_weights
        optimizer.apply(tape.gradient(loss, weights), weights)
        return loss

    return step


def test_what_changes_unseen_is_found_by_the_next_traces() -> None:
    """And each call counts once."""
    found = []
    for compiles in (True, False):
        clock = Clock()
        step = clocked(clock)
        if compiles:
            step = kurve.function(step)
        found.append([float(step(X, Y)) for _ in range(9)])
        assert clock.inner["time"] == 9
        if compiles:
            assert "something different each time" in step.why_not
    assert found[0] == pytest.approx(found[1], rel=1e-5)


class Late(Clock):
    """It stands still for some calls."""

    def tick(self) -> float:
        return max(super().tick(), 4.0)


def test_a_step_that_changes_late_is_told() -> None:
    clock = Late()
    step: Any = kurve.function(clocked(clock))
    for _ in range(4):
        step(X, Y)
    assert step.why_not is None
    with pytest.warns(UserWarning, match="different in call 5"):
        step(X, Y)
    assert "something different each time" in step.why_not


def test_arguments_that_numpy_and_keras_have() -> None:
    assert ops.linspace(0, 1, 5, dtype="float64").dtype == np.float64
    numbers, step = ops.linspace(0.0, 1.0, 5, retstep=True)
    np.testing.assert_allclose(numbers, np.linspace(0, 1, 5))
    assert float(step) == 0.25
    ends = np.array([0.0, 1.0]), np.array([1.0, 3.0])
    np.testing.assert_allclose(
        ops.linspace(*ends, 3, axis=1), np.linspace(*ends, 3, axis=1)
    )
    np.testing.assert_array_equal(ops.logspace(0, 2, 3, dtype="int32"), [1, 10, 100])
    np.testing.assert_array_equal(ops.max(np.zeros((0, 2)), 0, initial=-1.0), [-1, -1])
    assert ops.cumsum(np.array([1, 2]), dtype="float32").dtype == np.float32
    assert ops.prod(np.array([2, 3]), dtype="float32").dtype == np.float32
    x = Input((3,))
    model = Model(x, [ops.max(x, -1, initial=0.0), ops.min(x, -1, initial=0.0)])
    rows = np.array([[-3.0, -1.0, -2.0], [1.0, 2.0, 3.0]])
    largest, smallest = model.predict(rows, verbose=0)
    np.testing.assert_array_equal(largest, [0.0, 3.0])
    np.testing.assert_array_equal(smallest, [-3.0, 0.0])
