"""What an optimizer remembers of steps that are Python: files and copies have it, and
the engine goes on with it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import layers
from kurve.errors import NonFiniteError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 3)).astype(np.float32)
Y = (X @ RNG.normal(size=(3, 1)) + 0.5).astype(np.float32)
CLASSES = RNG.integers(0, 3, 50)


class Stepping(kurve.Model):
    def __init__(self, **common: Any) -> None:
        super().__init__(**common)
        self.first, self.last = layers.Dense(4, "tanh"), layers.Dense(1)
        self.dropout = layers.Dropout(0.2)

    def call(self, x: Any, training: Any = None) -> Any:
        return self.last(self.dropout(self.first(x), training=training))

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        with kurve.GradientTape() as tape:
            loss = self.compute_loss(x=x, y=y, y_pred=self(x, training=True))
        found = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply(found, self.trainable_weights)
        return {"loss": loss}


class Signs(kurve.optimizers.Optimizer):
    """Steps of one size, in the direction of a sum of gradients."""

    def build(self, variables: Any) -> None:
        super().build(variables)
        self.sums = self.add_optimizer_variables(variables, "sum")

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        total = self.sums[self._get_variable_index(variable)]
        self.assign_add(total, gradient)
        self.assign_sub(variable, learning_rate * np.sign(total))


class Noisy(kurve.optimizers.Adam):
    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        super().update_step(np.tanh(gradient), variable, learning_rate)


def stack() -> Any:
    return kurve.Sequential(
        [
            kurve.Input((3,)),
            layers.Dense(8, "tanh"),
            layers.Dropout(0.2),
            layers.Dense(1),
        ]
    )


def compiled() -> Any:
    model = Stepping()
    model.compile("adam", "mse")
    return model, Y


def eagerly() -> Any:
    model = Stepping()
    model.compile("nadam", "mse", run_eagerly=True)
    return model, Y


def circle() -> Any:
    model = kurve.Sequential([*stack().layers[:-1], layers.Dense(4)])
    model.add(layers.UnitNormalization())
    model.compile("rmsprop", kurve.losses.Circle())
    return model, CLASSES


def signs() -> Any:
    model = stack()
    model.compile(Signs(0.01, gradient_accumulation_steps=2), "mse")
    return model, Y


def noisy() -> Any:
    model = stack()
    model.compile(Noisy(0.01), "mse")
    return model, Y


MODELS = [compiled, eagerly, circle, signs, noisy]
OWN = {"Stepping": Stepping, "Signs": Signs, "Noisy": Noisy}


def fit(model: Any, y: Any) -> None:
    model.fit(X, y, epochs=2, batch_size=10, verbose=0)


def bits(model: Any) -> list[bytes]:
    arrays = [*model.get_weights(), *model.optimizer.variables]
    return [np.asarray(array).tobytes() for array in arrays]


@pytest.mark.parametrize("make", MODELS)
def test_files_and_copies_go_on_exactly(
    make: Callable[[], Any], tmp_path: Path
) -> None:
    kurve.utils.set_random_seed(3)
    model, y = make()
    fit(model, y)
    others = [copy.deepcopy(model)]
    for ending in (".kurve", ".keras"):
        model.save(tmp_path / f"m{ending}")
        others.append(kurve.models.load_model(tmp_path / f"m{ending}", OWN))
        others[-1].run_eagerly = others[0].run_eagerly = model.run_eagerly
    before = bits(model)
    assert all(bits(other) == before for other in others)
    fit(model, y)
    for other in others:
        fit(other, y)
        assert bits(other) == bits(model) != before


def test_the_engine_and_steps_of_ones_own_share_it() -> None:
    kurve.utils.set_random_seed(1)
    model = kurve.Sequential([kurve.Input((3,)), layers.Dense(4, "tanh")])
    model.add(layers.Dense(1))
    model.compile(kurve.optimizers.Adam(0.01), "mse")
    rest = {"epochs": 1, "batch_size": 10, "shuffle": False, "verbose": 0}
    model.fit(X, Y, **rest)
    by_engine = copy.deepcopy(model)
    for first in range(0, 50, 10):
        with kurve.GradientTape() as tape:
            difference = model(X[first : first + 10]) - Y[first : first + 10]
            loss = kurve.ops.mean(kurve.ops.square(difference))
        weights = model.trainable_weights
        model.optimizer.apply(tape.gradient(loss, weights), weights)
    assert model.optimizer.iterations == 10
    model.fit(X, Y, **rest)
    for _ in range(2):
        by_engine.fit(X, Y, **rest)
    assert model.optimizer.iterations == by_engine.optimizer.iterations == 15
    for one, other in zip(
        model.optimizer.variables, by_engine.optimizer.variables, strict=True
    ):
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), 1e-4, 1e-6)


def test_a_file_without_the_class_says_what_to_pass(tmp_path: Path) -> None:
    model, y = signs()
    fit(model, y)
    model.save(tmp_path / "m.kurve")
    with pytest.raises(ValueError, match=r"Signs.*custom_objects="):
        kurve.models.load_model(tmp_path / "m.kurve")
    loaded = kurve.models.load_model(tmp_path / "m.kurve", compile=False)
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), model.predict(X))


class Wide(Signs):
    """One more variable than the file has."""

    def build(self, variables: Any) -> None:
        super().build(variables)
        self.add_variable((2,), name="more")


Wide.__name__ = "Signs"


def test_a_file_of_another_optimizer(tmp_path: Path) -> None:
    model, y = signs()
    fit(model, y)
    for ending in (".kurve", ".keras"):
        model.save(tmp_path / f"m{ending}")
        with pytest.raises(ValueError, match=r"variables have shapes|arrays of it"):
            kurve.models.load_model(tmp_path / f"m{ending}", {"Signs": Wide})


def test_a_failed_update_changes_nothing() -> None:
    class Fails(Signs):
        def update_step(self, gradient: Any, variable: Any, rate: Any) -> None:
            super().update_step(gradient, variable, rate)
            if variable.shape == (1,) and self.iterations == 1:
                self.assign(variable, [np.inf])

    model = stack()
    model.compile(Fails(0.01), "mse")
    model.fit(X[:10], Y[:10], batch_size=10, verbose=0)
    before = bits(model)
    with pytest.raises((NonFiniteError, ValueError), match="finite"):
        model.fit(X[:10], Y[:10], batch_size=10, verbose=0)
    assert bits(model) == before


def test_what_the_engine_alone_can_do_is_refused() -> None:
    model, y = signs()
    with pytest.raises(NotImplementedError, match="a custom step, metric or optimizer"):
        kurve.lr_find(model, X, y)
