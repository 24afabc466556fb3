"""Learning rates over the steps, by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kurve import Sequential, layers, optimizers, saving, utils
from kurve.optimizers.schedules import (
    CosineDecay,
    ExponentialDecay,
    InverseTimeDecay,
    LearningRateSchedule,
    OneCycle,
    PiecewiseConstantDecay,
)

# schedule, steps, learning rates there
CASES: list[tuple[LearningRateSchedule, list[int], list[float]]] = [
    (
        ExponentialDecay(0.1, 10, 0.5),
        [0, 5, 10, 20],
        [0.1, 0.1 * 0.5**0.5, 0.05, 0.025],
    ),
    (ExponentialDecay(0.1, 10, 0.5, True), [0, 9, 10, 19], [0.1, 0.1, 0.05, 0.05]),
    (InverseTimeDecay(0.1, 10, 2.0), [0, 5, 10, 30], [0.1, 0.05, 0.1 / 3, 0.1 / 7]),
    (InverseTimeDecay(0.1, 10, 2.0, True), [0, 9, 10], [0.1, 0.1, 0.1 / 3]),
    (
        PiecewiseConstantDecay([3, 6], [1.0, 0.5, 0.1]),
        [0, 3, 4, 6, 7, 100],
        [1.0, 1.0, 0.5, 0.5, 0.1, 0.1],
    ),
    (CosineDecay(0.2, 100), [0, 50, 100, 500], [0.2, 0.1, 0.0, 0.0]),
    (CosineDecay(0.2, 100, alpha=0.1), [0, 50, 100], [0.2, 0.11, 0.02]),
    (
        CosineDecay(0.0, 100, warmup_target=0.2, warmup_steps=10),
        [0, 5, 10, 60, 110, 111],
        [0.0, 0.1, 0.2, 0.1, 0.0, 0.0],
    ),
    (
        CosineDecay(0.1, 10, 0.5, warmup_target=0.3, warmup_steps=4),
        [0, 2, 4, 9, 14],
        [0.1, 0.2, 0.3, 0.3 * (0.5 * 0.5 + 0.5), 0.3 * 0.5],
    ),
    (  # up in steps 0 to 4, down in 4 to 20, both by halves of a cosine
        OneCycle(1.0, 21, warmup=5 / 21, divisor=10, final_divisor=100),
        [0, 1, 2, 4, 8, 12, 20, 500],
        [
            0.1,
            0.1 + 0.9 * (1 - 0.5**0.5) / 2,
            0.55,
            1.0,
            0.001 + 0.999 * (1 + 0.5**0.5) / 2,
            0.5005,
            0.001,
            0.001,
        ],
    ),
    (
        OneCycle(1.0, 21, warmup=5 / 21, divisor=10, final_divisor=100, decay="linear"),
        [0, 1, 2, 4, 8, 12, 20, 500],
        [0.1, 0.325, 0.55, 1.0, 0.75025, 0.5005, 0.001, 0.001],
    ),
    # the way up ends between two steps: 0.3 * 10 - 1 = 2, 0.25 * 10 - 1 = 1.5
    (
        OneCycle(0.2, 10, decay="linear"),
        [0, 1, 2, 9],
        [0.008, 0.104, 0.2, 0.2 / 25e4],
    ),
    (
        OneCycle(0.3, 10, 0.25, divisor=3, final_divisor=1, decay="linear"),
        [0, 1, 2, 9],
        [0.1, 0.1 + 0.2 / 1.5, 0.3 - 0.2 * 0.5 / 7.5, 0.1],
    ),
    (OneCycle(0.3, 4, 0.0, 3, 10, "linear"), [0, 3], [0.3 - 0.29 / 4, 0.01]),
    (OneCycle(0.3, 4, 0.25, 3, 10, "linear"), [0, 3], [0.3, 0.01]),
    (OneCycle(0.3, 4, 1.0, 3, 10, "linear"), [0, 3, 4], [0.1, 0.3, 0.01]),
    (OneCycle(0.3, 1), [0, 1], [0.3 / 25e4, 0.3 / 25e4]),
]


@pytest.mark.parametrize(("schedule", "steps", "rates"), CASES)
def test_values(
    schedule: LearningRateSchedule, steps: list[int], rates: list[float]
) -> None:
    """An array of steps gives the same numbers as one step after the other."""
    np.testing.assert_allclose(schedule(np.array(steps)), rates, atol=1e-15)
    for step, rate in zip(steps, rates, strict=True):
        assert float(schedule(step)) == pytest.approx(rate, abs=1e-15)


@pytest.mark.parametrize(("schedule", "steps", "_"), CASES)
def test_config_round_trip(
    schedule: LearningRateSchedule, steps: list[int], _: list[float]
) -> None:
    again = type(schedule)(**schedule.get_config())
    np.testing.assert_array_equal(again(np.array(steps)), schedule(np.array(steps)))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: ExponentialDecay(-1.0, 10, 0.5), "initial_learning_rate must .*-1.0"),
        (lambda: ExponentialDecay(0.1, 0, 0.5), "decay_steps must .*Received: 0"),
        (lambda: InverseTimeDecay(0.1, 10, float("nan")), "decay_rate must .*nan"),
        (lambda: CosineDecay(0.1, -5), "decay_steps must .*Received: -5"),
        (lambda: OneCycle(0.0, 10), "max_learning_rate must .*Received: 0.0"),
        (lambda: OneCycle(0.1, 0), "total_steps must .*Received: 0"),
        (lambda: OneCycle(0.1, 10, 1.5), "warmup must .*Received: .*1.5.*Try warmup"),
        (lambda: OneCycle(0.1, 10, divisor=0.5), "divisor must .*Received: .*0.5.*Try"),
        (
            lambda: OneCycle(0.1, 9, final_divisor=0),
            "final_divisor must .*Received: final_divisor=0",
        ),
        (lambda: OneCycle(0.1, 9, decay="cos"), "unknown decay.*mean 'cosine'"),
        (lambda: PiecewiseConstantDecay([1], [0.1]), "one value more .*Received: 1"),
        (lambda: PiecewiseConstantDecay([5, 2], [1, 2, 3]), r"increase.*\[5, 2\]"),
        (lambda: PiecewiseConstantDecay([1], [1, -2]), r"values\[1\] must .*-2"),
    ],
)
def test_wrong_arguments(make: Callable[[], Any], text: str) -> None:
    with pytest.raises(ValueError, match=rf"^\[\w+\] .*{text}"):
        make()


def test_one_cycle_in_a_fit(engine: str) -> None:
    """It survives the optimizer's configuration, and trains."""
    utils.set_random_seed(1)
    x = np.linspace(-1, 1, 64)
    model = Sequential([layers.Dense(16, "tanh"), layers.Dense(1)])
    rate = OneCycle(0.1, total_steps=400)
    model.compile(optimizers.Adam(rate), "mse")
    again = optimizers.Adam.from_config(model.optimizer.get_config())
    np.testing.assert_array_equal(
        again.learning_rates(0, 400), model.optimizer.learning_rates(0, 400)
    )
    history = model.fit(x, np.sin(3 * x), epochs=200, verbose=0).history
    assert history["loss"][-1] < 1e-2 < history["loss"][0]


class Broken(LearningRateSchedule):
    def __call__(self, step: Any) -> np.ndarray:
        return np.where(np.asarray(step) < 3, 0.1, np.nan)


def test_a_schedule_that_gives_no_number() -> None:
    made = optimizers.SGD(Broken())
    assert made.learning_rates(0, 3).tolist() == pytest.approx([0.1] * 3)
    with pytest.raises(
        ValueError, match=r"^\[SGD\] the schedule must .*nan from Broken"
    ):
        made.learning_rates(0, 5)


def test_names_of_schedules_of_keras_objects() -> None:
    made = optimizers.schedules.CosineDecay(0.1, 10, name="mine")
    again = saving.deserialize_keras_object(saving.serialize_keras_object(made))
    assert again.name == "mine"
