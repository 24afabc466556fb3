"""Compiled steps see whatever changes between their calls: as in loops as written."""

from __future__ import annotations

import dataclasses
import functools
import sys
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import kurve
from kurve import layers, losses, ops, optimizers, utils

RNG = np.random.default_rng(0)
X = RNG.normal(size=(16, 5)).astype("float32")
Y = np.sin(X.sum(axis=1, keepdims=True))


class Settings:
    scale = 1.0


class Slots:
    __slots__ = ("scale",)

    def __init__(self) -> None:
        self.scale = 1.0


class Hidden:
    def __init__(self) -> None:
        self._values = {"a": [{"scale": [1.0]}]}

    @property
    def scale(self) -> float:
        return self._values["a"][0]["scale"][0]


class Outer:
    def __init__(self) -> None:
        self.inner = Slots()

    def scaled(self, loss: Any) -> Any:
        return loss * self.inner.scale


@dataclasses.dataclass(frozen=True)
class Frozen:
    scale: float = 1.0


class Pair(NamedTuple):
    scale: float


class World:
    """What the steps read."""

    def __init__(self) -> None:
        utils.set_random_seed(5)
        self.model = kurve.Sequential(
            [kurve.Input((5,)), layers.Dense(8, "tanh"), layers.Dense(1)]
        )
        self.optimizer: Any = optimizers.Adam(0.01)
        self.loss: Any = losses.Huber()
        self.slots, self.hidden, self.outer = Slots(), Hidden(), Outer()
        self.frozen, self.pair, self.names = Frozen(), Pair(1.0), {"a": {"b": [1.0]}}
        self.space = types.SimpleNamespace(inner=types.SimpleNamespace(scale=1.0))
        self.small, self.large = np.ones(3), np.ones((5, 2000), np.float32)
        self.weights, self.number = np.ones(16, np.float32), np.float32(1.0)
        self.variable = kurve.Variable(1.0, trainable=False)
        Settings.scale = module.scale = 1.0


module: Any = types.ModuleType("settings_of_steps")
world = World()


def double(array: np.ndarray) -> None:
    array *= 2.0


def change_large(part: Any) -> Callable[[], None]:
    return lambda: double(world.large[part])


def put(name: str, value: Callable[[], Any]) -> Callable[[], None]:
    return lambda: setattr(world, name, value())


READ: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "class": (lambda: Settings.scale, lambda: setattr(Settings, "scale", 3.0)),
    "module": (lambda: module.scale, lambda: setattr(module, "scale", 3.0)),
    "slots": (lambda: world.slots.scale, lambda: setattr(world.slots, "scale", 3.0)),
    "property": (
        lambda: world.hidden.scale,
        lambda: world.hidden._values["a"][0]["scale"].append(
            world.hidden._values["a"][0]["scale"].pop() * 3.0
        ),
    ),
    "nested": (
        lambda: world.outer.scaled(1.0),
        lambda: setattr(world.outer.inner, "scale", 3.0),
    ),
    "frozen": (lambda: world.frozen.scale, put("frozen", lambda: Frozen(3.0))),
    "named tuple": (lambda: world.pair.scale, put("pair", lambda: Pair(3.0))),
    "dictionary": (
        lambda: world.names["a"]["b"][0],
        lambda: world.names["a"]["b"].insert(0, 3.0),
    ),
    "namespace": (
        lambda: world.space.inner.scale,
        lambda: setattr(world.space.inner, "scale", 3.0),
    ),
    "small array": (lambda: ops.sum(world.small), lambda: double(world.small)),
    "large array": (lambda: float(world.large.mean()), change_large(slice(None))),
    "number of it": (lambda: float(world.large[4, 1999]), change_large((4, [1999]))),
    "scalar": (lambda: world.number, put("number", lambda: np.float32(3.0))),
    "variable": (lambda: world.variable, lambda: world.variable.assign(3.0)),
    "delta": (lambda: 1.0, lambda: setattr(world.loss, "delta", 0.1)),
    "rate": (lambda: 1.0, lambda: setattr(world.optimizer, "learning_rate", 0.1)),
    "clipnorm": (lambda: 1.0, lambda: setattr(world.optimizer, "clipnorm", 0.01)),
    "weights": (
        lambda: 1.0,
        lambda: world.model.weights[0].assign(np.ones((5, 8))),
    ),
    "trainable": (
        lambda: 1.0,
        lambda: setattr(world.model.layers[0], "trainable", False),
    ),
    "activation": (
        lambda: 1.0,
        lambda: setattr(world.model.layers[0], "activation", "relu"),
    ),
    "optimizer": (lambda: 1.0, put("optimizer", lambda: optimizers.SGD(0.1))),
    "loss": (lambda: 1.0, put("loss", losses.MeanAbsoluteError)),
}


def trained(
    read: Callable[[], Any], change: Callable[[], Any], decorate: bool
) -> tuple[list[float], Any]:
    """The losses of a loop in which something changes before its eighth step."""
    global world
    world = World()

    def step(x: Any, y: Any) -> Any:
        with kurve.GradientTape() as tape:
            loss = world.loss(y, world.model(x)) * read()
        weights = world.model.trainable_weights
        world.optimizer.apply(tape.gradient(loss, weights), weights)
        return loss

    run: Any = kurve.function(step) if decorate else step
    found = []
    for i in range(12):
        if i == 7:
            change()
        found.append(float(run(X, Y)))
    return found, run


@pytest.mark.parametrize("name", READ)
def test_whatever_changes_between_calls_is_seen(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module.__name__, module)
    found, run = trained(*READ[name], decorate=True)
    written, _ = trained(*READ[name], decorate=False)
    np.testing.assert_allclose(found, written, rtol=2e-5, atol=1e-6)
    assert run.why_not is None


def test_a_method_that_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(self: Any, loss: Any) -> Any:
        return loss * 3.0

    found = []
    for decorate in (True, False):
        with monkeypatch.context() as patch:
            change = functools.partial(patch.setattr, Outer, "scaled", other)
            found.append(trained(lambda: world.outer.scaled(1.0), change, decorate)[0])
    np.testing.assert_allclose(found[0], found[1], rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["partial", "default", "object"])
def test_arguments_that_change(kind: str) -> None:
    def run(decorate: bool) -> list[float]:
        global world
        world = World()
        given = types.SimpleNamespace(scale=1.0)

        def step(x: Any, y: Any, settings: Any = given) -> Any:
            with kurve.GradientTape() as tape:
                loss = world.loss(y, world.model(x)) * settings.scale
            weights = world.model.trainable_weights
            world.optimizer.apply(tape.gradient(loss, weights), weights)
            return loss

        used: Any = step
        if kind == "partial":
            used = functools.partial(step, settings=given)
        compiled: Any = kurve.function(used) if decorate else used
        found = []
        for i in range(12):
            given.scale = 3.0 if i >= 7 else 1.0
            more = {"settings": given} if kind == "object" else {}
            found.append(float(compiled(X, Y, **more)))
        return found

    np.testing.assert_allclose(run(True), run(False), rtol=2e-5, atol=1e-6)


def test_an_object_at_the_same_address_is_another_one() -> None:
    """Even if its predecessor is gone."""
    utils.set_random_seed(1)
    model = kurve.Sequential([kurve.Input((5,)), layers.Dense(1)])
    current: Any = None

    @kurve.function
    def value(x: Any) -> Any:
        return current(model(x))

    def scaled(by: float) -> Any:
        return lambda y: ops.mean(y) * by

    found = []
    for i in range(10):
        current = None
        current = scaled(1.0 + i)
        found.append(float(value(X)))
    np.testing.assert_allclose(np.array(found) / found[0], np.arange(1.0, 11), 1e-5)


class Scaled(layers.Layer):
    def __init__(self, by: float) -> None:
        super().__init__()
        self.by, self.calls = by, 0

    def call(self, x: Any) -> Any:
        self.calls += 1  # no setting: it changes in each call
        return x * self.by


def test_arguments_of_built_layers_can_be_changed() -> None:
    utils.set_random_seed(1)
    own = Scaled(1.0)
    inner = kurve.Sequential([kurve.Input((5,)), own])
    model = kurve.Sequential(
        [kurve.Input((5,)), inner, layers.Dense(3, use_bias=False, activation="relu")]
    )
    model.compile("sgd", "mse")
    kernel = model.weights[0].numpy()

    def check(expected: np.ndarray) -> None:
        same = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
        same(model(X), expected)
        same(model.predict(X, verbose=0), expected)
        with kurve.GradientTape():
            same(model(X), expected)
        loss = model.evaluate(X, np.zeros((16, 3)), verbose=0)
        assert loss == pytest.approx(np.mean(expected**2), rel=1e-5)

    check(np.maximum(X @ kernel, 0.0))
    own.by = 3.0
    check(np.maximum(3.0 * X @ kernel, 0.0))
    model.layers[1].activation = None
    check(3.0 * X @ kernel)
    plan = model._network.plan
    own.by = 3.0
    model.layers[1].trainable = True
    assert model.predict(X, verbose=0).shape == (16, 3)
    assert model._network.plan is plan
    own.by = 2.0
    model.fit(X, np.zeros((16, 3)), verbose=0, batch_size=16)
    step = 0.01 * 2.0 / 48 * (2.0 * X).T @ (2.0 * X @ kernel)
    np.testing.assert_allclose(model.weights[0], kernel - step, rtol=1e-4, atol=1e-6)


def test_dropout_can_be_switched_off() -> None:
    layer = layers.Dropout(0.5)
    model = kurve.Sequential([kurve.Input((5,)), layer])
    assert np.any(np.asarray(model(X, training=True)) != X)
    layer.rate = 0.0
    np.testing.assert_array_equal(model(X, training=True), X)


class Own(kurve.Model):
    def __init__(self) -> None:
        super().__init__()
        self.last, self.scale, self.seen = layers.Dense(1), 1.0, 0

    def call(self, x: Any) -> Any:
        return self.last(x) * self.scale


def test_attributes_of_a_model_with_call_can_be_changed() -> None:
    model = Own()
    first = np.asarray(model(X))
    model.scale = 3.0
    np.testing.assert_allclose(model(X), 3.0 * first, rtol=1e-6)
    np.testing.assert_allclose(model.predict(X, verbose=0), 3.0 * first, rtol=1e-6)
    with kurve.GradientTape():
        np.testing.assert_allclose(model(X), 3.0 * first, rtol=1e-6)
