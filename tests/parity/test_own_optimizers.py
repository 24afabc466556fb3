"""Optimizers of one's own: `fit` has Keras's numbers, and files hold their variables in
both directions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import kurve

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 3)).astype(np.float32)
Y = (X @ RNG.normal(size=(3, 1)) + 0.5).astype(np.float32)


def optimizers(library: Any) -> dict[str, type]:
    """The same classes, of either library."""
    ops, base = library.ops, library.optimizers

    class Rooted(base.Optimizer):  # type: ignore[misc, name-defined]
        """Momentum, over the root of the step; all of it from scratch."""

        def __init__(
            self, learning_rate: Any = 0.01, momentum: float = 0.9, **common: Any
        ) -> None:
            super().__init__(learning_rate=learning_rate, **common)
            self.momentum = momentum

        def build(self, variables: Any) -> None:
            if self.built:
                return
            super().build(variables)
            self.moments = [
                self.add_variable_from_reference(v, name="moment") for v in variables
            ]
            self.scale = self.add_variable((), "ones", name="scale")

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            rate = ops.cast(learning_rate, variable.dtype)
            step = ops.cast(self.iterations + 1, variable.dtype)
            moment = self.moments[self._get_variable_index(variable)]
            new = ops.subtract(moment * self.momentum, gradient * rate * self.scale)
            self.assign(moment, new)
            self.assign_add(variable, moment / ops.sqrt(step))
            self.assign(self.scale, self.scale * 0.99)

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "momentum": self.momentum}

    class Central(base.Adam):  # type: ignore[misc, name-defined]
        """Adam, of gradients without their mean."""

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            if len(gradient.shape) > 1:
                gradient = gradient - ops.mean(gradient, axis=0, keepdims=True)
            super().update_step(gradient, variable, learning_rate)

    class Doubled(base.Nadam):  # type: ignore[misc, name-defined]
        """An optimizer that also has a number."""

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            super().update_step(2.0 * gradient, variable, learning_rate)

    class Halved(base.RMSprop):  # type: ignore[misc, name-defined]
        """It changes what all variables have."""

        def apply(self, grads: Any, trainable_variables: Any = None) -> None:
            super().apply([0.5 * g for g in grads], trainable_variables)

    return {cls.__name__: cls for cls in (Rooted, Central, Doubled, Halved)}


THEIRS, OURS = optimizers(keras), optimizers(kurve)


def model(library: Any, optimizer: Any) -> Any:
    small = library.constraints.MaxNorm(1.0)
    made = library.Sequential(
        [
            library.Input((3,)),
            library.layers.Dense(4, activation="tanh", kernel_constraint=small),
            library.layers.Dense(1),
        ]
    )
    made.compile(optimizer=optimizer, loss="mse")
    return made


def fitted(made: Any, epochs: int = 3) -> Any:
    fit = made.fit(X, Y, epochs=epochs, batch_size=10, shuffle=False, verbose=0)
    return fit.history["loss"]


def same(ours: Any, theirs: Any, atol: float = 2e-5) -> None:
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), 1e-5, atol)


ARGUMENTS: list[dict[str, Any]] = [
    {},
    {"weight_decay": 0.01, "clipnorm": 0.1},
    {"global_clipnorm": 0.1, "gradient_accumulation_steps": 3},
    {
        "clipvalue": 0.05,
        "use_ema": True,
        "ema_momentum": 0.8,
        "ema_overwrite_frequency": 4,
    },
]


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("arguments", ARGUMENTS, ids=range(4))
def test_numbers(name: str, arguments: dict[str, Any]) -> None:
    theirs = model(keras, THEIRS[name](0.05, **arguments))
    ours = model(kurve, OURS[name](0.05, **arguments))
    ours.set_weights(theirs.get_weights())
    np.testing.assert_allclose(fitted(ours), fitted(theirs), 1e-4)
    same(ours.get_weights(), theirs.get_weights())
    known = [variable.shape for variable in theirs.optimizer.variables]
    assert [variable.shape for variable in ours.optimizer.variables] == known
    assert ours.optimizer.iterations == int(theirs.optimizer.iterations)


@pytest.mark.parametrize("name", OURS)
def test_files_in_both_directions(name: str, tmp_path: Path) -> None:
    rate = keras.optimizers.schedules.ExponentialDecay(0.05, 10, 0.9)
    theirs = model(keras, THEIRS[name](rate))
    fitted(theirs)
    theirs.save(tmp_path / "a.keras")
    ours = kurve.models.load_model(tmp_path / "a.keras", {name: OURS[name]})
    ours.save(tmp_path / "b.keras")
    again = keras.models.load_model(tmp_path / "b.keras", {name: THEIRS[name]})
    for loaded in (ours, again):
        same(loaded.optimizer.variables, theirs.optimizer.variables, 0.0)
    np.testing.assert_allclose(fitted(ours), fitted(theirs), 1e-4)
    np.testing.assert_allclose(fitted(again), ours.history.history["loss"], 1e-4)
    same(ours.get_weights(), theirs.get_weights())
    same(again.get_weights(), theirs.get_weights())
