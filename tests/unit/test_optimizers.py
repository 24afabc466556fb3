"""Optimizers: first steps by hand, then downhill on a parabola and on Rosenbrock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kurve import Input, Sequential, optimizers, utils
from kurve.core import naming
from kurve.engines.reference.optimizers import OPTIMIZERS, apply_rule, clip
from kurve.layers import Dense
from kurve.optimizers import Optimizer, schedules
from kurve.plan import OptimizerSpec, VariableSpec

Gradient = Callable[[np.ndarray], np.ndarray]


def descend(
    optimizer: Optimizer, gradient: Gradient, start: list[float], steps: int
) -> np.ndarray:
    """Run an optimizer on a function, without a model."""
    w = np.array(start, np.float64)
    slots = np.tile(np.array(optimizer.slot_starts)[:, None], (1, len(w)))
    scalars = np.array(optimizer.scalar_starts)
    spec = optimizer.spec_for([VariableSpec("w", (len(w),), 0)])
    rule = spec.updates[0].rule if isinstance(spec, OptimizerSpec) else None
    for step in range(steps):
        rate = optimizer.current_learning_rate(step)
        g = gradient(w)
        if rule is not None:
            apply_rule(rule, w, g, slots, rate, step + 1)
        else:
            OPTIMIZERS[spec.kind](w, g, slots, scalars, rate, step + 1, spec.attrs)
    return w


def parabola(w: np.ndarray) -> np.ndarray:
    """Slope of (w_0 - 3)^2 + 10 (w_1 + 2)^2."""
    return np.array([2.0, 20.0]) * (w - np.array([3.0, -2.0]))


def rosenbrock(w: np.ndarray) -> np.ndarray:
    """Slope of (1 - a)^2 + 100 (b - a^2)^2, a curved valley with its floor at 1, 1."""
    a, b = w
    return np.array([-2.0 * (1.0 - a) - 400.0 * a * (b - a * a), 200.0 * (b - a * a)])


# optimizer, rate for the parabola, rate for Rosenbrock
CASES: list[tuple[type[Optimizer], dict[str, Any], float, float]] = [
    (optimizers.SGD, {}, 0.05, 1e-3),
    (optimizers.SGD, {"momentum": 0.9}, 0.01, 3e-4),
    (optimizers.SGD, {"momentum": 0.9, "nesterov": True}, 0.01, 3e-4),
    (optimizers.RMSprop, {}, 0.01, 1e-3),
    (optimizers.RMSprop, {"momentum": 0.5}, 0.01, 1e-3),
    (optimizers.RMSprop, {"centered": True}, 0.01, 1e-3),
    (optimizers.Adagrad, {}, 1.0, 0.5),
    (optimizers.Adam, {}, 0.05, 0.01),
    (optimizers.Adam, {"amsgrad": True}, 0.05, 0.01),
    (optimizers.AdamW, {"weight_decay": 0.0}, 0.05, 0.01),
    (optimizers.Nadam, {}, 0.05, 0.01),
    (optimizers.Adamax, {}, 0.1, 0.02),
    (optimizers.Adadelta, {}, 100.0, 1.0),
    (optimizers.Lion, {}, 0.01, 1e-3),
    (optimizers.Lamb, {}, 0.05, 0.01),
    (optimizers.Adafactor, {}, 0.1, 0.02),
    (optimizers.ScheduleFreeAdamW, {}, 0.2, 0.02),
]
IDS = [f"{case[0].__name__} {case[1]}" for case in CASES]


@pytest.mark.parametrize(("cls", "arguments", "rate", "_"), CASES, ids=IDS)
def test_parabola(
    cls: type[Optimizer], arguments: dict[str, Any], rate: float, _: float
) -> None:
    falling = schedules.CosineDecay(rate, 2000)
    w = descend(cls(falling, **arguments), parabola, [0.0, 0.0], 2000)
    np.testing.assert_allclose(w, [3.0, -2.0], atol=1e-3)


@pytest.mark.parametrize(("cls", "arguments", "_", "rate"), CASES, ids=IDS)
def test_rosenbrock(
    cls: type[Optimizer], arguments: dict[str, Any], _: float, rate: float
) -> None:
    falling = schedules.CosineDecay(rate, 16000, alpha=0.01)
    w = descend(cls(falling, **arguments), rosenbrock, [-1.0, 1.0], 16000)
    np.testing.assert_allclose(w, [1.0, 1.0], atol=0.05)


def test_ftrl() -> None:
    """Its weights are a function of the rate, which therefore stays the same."""
    w = descend(optimizers.Ftrl(1.0), parabola, [0.0, 0.0], 2000)
    np.testing.assert_allclose(w, [3.0, -2.0], atol=1e-3)
    sparse = optimizers.Ftrl(1.0, l1_regularization_strength=1000.0)
    assert not descend(sparse, parabola, [0.0, 0.0], 10).any()


U1, U2 = 0.9 * (1 - 0.5 * 0.96), 0.9 * (1 - 0.5 * 0.96**2)
FIRST_STEPS = [
    (optimizers.SGD, {}, 0.2),
    (optimizers.SGD, {"momentum": 0.9}, 0.2),
    (optimizers.SGD, {"momentum": 0.9, "nesterov": True}, 0.9 * 0.2 + 0.2),
    (optimizers.RMSprop, {}, 0.1 * 2 / np.sqrt(0.1 * 4)),
    (optimizers.RMSprop, {"centered": True}, 0.1 * 2 / np.sqrt(0.1 * 4 - 0.2**2)),
    (optimizers.Adagrad, {}, 0.1 * 2 / np.sqrt(0.1 + 4)),
    (optimizers.Adam, {}, 0.1),
    (optimizers.Adam, {"amsgrad": True}, 0.1),
    (
        optimizers.Adam,
        {"epsilon": 1.0},
        0.1 * np.sqrt(1e-3) * 2 / (2e-3**0.5 * 2**0.5 + 1),
    ),
    (optimizers.Adamax, {}, 0.1),
    (optimizers.Nadam, {}, 0.05 * (0.2 * U2 / (1 - U1 * U2) + 2)),
    (optimizers.Adadelta, {}, 0.1 * 2 * np.sqrt(1e-7 / (0.2 + 1e-7))),
    (optimizers.Ftrl, {}, 1 - (4.1**0.5 - 0.1**0.5 - 0.2) / 4.1**0.5),
    (optimizers.Lion, {}, 0.1),
    (optimizers.Lamb, {}, 0.1),
    (optimizers.Adafactor, {}, 0.1),
    (optimizers.ScheduleFreeAdamW, {}, 0.1),
]


@pytest.mark.parametrize(("cls", "arguments", "fall"), FIRST_STEPS)
def test_first_step(
    cls: type[Optimizer], arguments: dict[str, Any], fall: float
) -> None:
    """From w = 1 with gradient 2 and learning rate 0.1."""
    w = descend(cls(0.1, **arguments), lambda w: np.array([2.0]), [1.0], 1)
    assert w[0] == pytest.approx(1.0 - fall, rel=1e-6)


def test_momentum_adds_up() -> None:
    """Steps under a constant slope grow as 1, 1.9, 2.71, ..."""
    made = optimizers.SGD(0.1, momentum=0.9)
    w = descend(made, lambda w: np.array([1.0]), [0.0], 3)
    assert w[0] == pytest.approx(-0.1 * (1.0 + 1.9 + 2.71))


@pytest.mark.parametrize(
    ("rule", "gradients", "clipped"),
    [
        ({}, [[3.0, 4.0], [0.0, 12.0]], [[3.0, 4.0], [0.0, 12.0]]),
        ({"clipvalue": 3.5}, [[3.0, -4.0], [0.0, 12.0]], [[3.0, -3.5], [0.0, 3.5]]),
        ({"clipnorm": 2.5}, [[3.0, 4.0], [0.0, 1.0]], [[1.5, 2.0], [0.0, 1.0]]),
        ({"global_clipnorm": 6.5}, [[3.0, 4.0], [0.0, 12.0]], [[1.5, 2.0], [0.0, 6.0]]),
        (
            {"global_clipnorm": 13.0},
            [[3.0, 4.0], [0.0, 12.0]],
            [[3.0, 4.0], [0.0, 12.0]],
        ),
    ],
)
def test_clipping(rule: dict[str, float], gradients: Any, clipped: Any) -> None:
    arrays = [np.array(g) for g in gradients]
    clip(arrays, optimizers.SGD(**rule).spec.attrs)
    np.testing.assert_allclose(arrays, clipped)


def test_weight_decay_is_decoupled(engine: str) -> None:
    """Taken off the weights, not added to the gradient: a zero gradient still decays
    by learning rate x decay, whatever the optimizer remembers."""
    model = Sequential([Input((1,)), Dense(1, kernel_initializer="ones")])
    model.compile(optimizers.AdamW(0.1, weight_decay=0.5), "mse")
    model.fit([0.0], [0.0], epochs=2, verbose=0)
    assert model.get_weights()[0][0, 0] == pytest.approx(0.95**2, rel=1e-6)


RATES = {"Adagrad": 2.0, "Adadelta": 50.0, "Ftrl": 2.0, "ScheduleFreeAdamW": 1.0}


@pytest.mark.parametrize("name", sorted(optimizers.CLASSES))
def test_every_optimizer_fits_a_line(engine: str, name: str) -> None:
    """Through the public API, with clipping and a schedule."""
    utils.set_random_seed(1)
    x = np.linspace(-1.0, 1.0, 32)
    # (Lamb's steps are fractions of a weight: it does not change its sign.)
    model = Sequential([Input((1,)), Dense(1, kernel_initializer="ones")])
    rate = RATES.get(name, 0.1)
    falling = rate if name == "Ftrl" else schedules.CosineDecay(rate, 400)
    decay = {"weight_decay": 0.0} if name in ("AdamW", "Muon") else {}
    decay |= {"adam_weight_decay": None} if name == "Muon" else {}
    made = optimizers.CLASSES[name](falling, global_clipnorm=1.0, **decay)
    model.compile(made, "mse")
    history = model.fit(x, 2.0 * x - 0.5, batch_size=8, epochs=100, verbose=0)
    assert history.history["loss"][-1] < 1e-4
    kernel, bias = model.get_weights()
    assert (kernel[0, 0], bias[0]) == pytest.approx((2.0, -0.5), abs=0.02)


@pytest.mark.parametrize("name", sorted(optimizers.CLASSES))
def test_config_round_trip(name: str) -> None:
    cls = optimizers.CLASSES[name]
    made = cls(
        learning_rate=schedules.ExponentialDecay(0.1, 10, 0.9),
        weight_decay=0.01,
        clipnorm=1.5,
        name="mine",
    )  # type: ignore[call-arg]
    again = cls.from_config(made.get_config())
    assert again.get_config() == made.get_config()
    assert again.spec == made.spec
    np.testing.assert_array_equal(again.learning_rates(3, 9), made.learning_rates(3, 9))
    assert type(optimizers.get(name)) is type(optimizers.get(name.lower())) is cls
    assert optimizers.get(made) is made


DEFAULTS = {
    "SGD": {"learning_rate": 0.01, "momentum": 0.0, "nesterov": False},
    "RMSprop": {"learning_rate": 0.001, "rho": 0.9, "momentum": 0.0, "epsilon": 1e-7},
    "Adagrad": {"learning_rate": 0.001, "initial_accumulator_value": 0.1},
    "Adam": {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7},
    "AdamW": {"learning_rate": 0.001, "weight_decay": 0.004},
    "Nadam": {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999},
    "Adamax": {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999},
}


@pytest.mark.parametrize("name", DEFAULTS)
def test_defaults_are_those_of_keras(name: str) -> None:
    config = optimizers.get(name).get_config()
    assert {key: config[key] for key in DEFAULTS[name]} == DEFAULTS[name]
    assert (
        config["clipnorm"] is config["clipvalue"] is config["global_clipnorm"] is None
    )


def test_learning_rate_can_be_set_at_any_time() -> None:
    made = optimizers.Adam()
    made.learning_rate = 0.5
    assert made.current_learning_rate(0) == 0.5
    with pytest.raises(ValueError, match="learning_rate must be at least 0"):
        made.learning_rate = -0.1
    assert made.learning_rate == 0.5
    made.learning_rate = 0
    assert made.learning_rate == 0.0


def test_names_are_counted_as_in_keras() -> None:
    naming._names_given.clear()
    made = [optimizers.Adam(), optimizers.get("adam"), optimizers.AdamW()]
    made += [optimizers.RMSprop(), optimizers.AdamW()]
    assert [m.name for m in made] == [
        "adam",
        "adam_1",
        "adam_w",
        "rm_sprop",
        "adam_w_1",
    ]


def test_adamw_needs_a_weight_decay() -> None:
    with pytest.raises(ValueError, match=r"\[AdamW\] weight_decay must be a number"):
        optimizers.AdamW(weight_decay=None)  # type: ignore[arg-type]
