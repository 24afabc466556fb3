"""Losses at the limits of float32: the same from every engine and by hand."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from kurve import Input, Sequential, layers, losses

TOP = float(np.finfo(np.float32).max)
ENDS = [0.0, 1e-45, 1e-30, 1e-7, 0.3, 1.0, 20.0, 90.0, 1e19, 1e20, 1e38, 3e38, TOP]
NUMBERS = [*ENDS, *(-v for v in ENDS)]
LOGITS = list(itertools.product([-TOP, -3e38, -90.0, 0.0, 0.5, 3e38], repeat=3))
PROBABILITIES = list(itertools.product([-1.0, 0.0, 1e-45, 0.5, 1.0, TOP], repeat=3))
ONE_HOT = np.eye(3)
SHARES = [*ONE_HOT, [0.5, 0.5, 0.0], [0.2, 0.3, 0.5]]
BINARY = list(itertools.product(NUMBERS, [0.0, 0.25, 1.0]))

Case = tuple[losses.Loss, list[Any], list[Any]]
CASES: dict[str, Case] = {}
for made in (
    losses.MeanSquaredError(),
    losses.MeanAbsoluteError(),
    losses.LogCosh(),
    losses.Huber(),
    losses.Huber(1e25),
    losses.Huber(1e-25),
    losses.Pinball([0.5]),
):
    pairs = list(itertools.product(NUMBERS, NUMBERS[::4]))
    name = f"{made.kind} {made.attrs()}"
    CASES[name] = made, [[p] for p, _ in pairs], [[y] for _, y in pairs]
for logits, smoothing in itertools.product([False, True], [0.0, 0.1]):
    made = losses.BinaryCrossentropy(logits, smoothing)
    name = f"{made.kind} {made.attrs()}"
    CASES[name] = made, [[p] for p, _ in BINARY], [[y] for _, y in BINARY]
    made = losses.CategoricalCrossentropy(logits, smoothing)
    name = f"{made.kind} {made.attrs()}"
    pairs = list(itertools.product(LOGITS if logits else PROBABILITIES, SHARES))
    CASES[name] = made, [p for p, _ in pairs], [y for _, y in pairs]
for logits in (False, True):
    made = losses.SparseCategoricalCrossentropy(logits)
    name = f"{made.kind} {made.attrs()}"
    pairs = list(itertools.product(LOGITS if logits else PROBABILITIES, range(3)))
    CASES[name] = made, [p for p, _ in pairs], [y for _, y in pairs]


def evaluated(loss: losses.Loss, p: list[Any], y: list[Any], engine: str) -> np.ndarray:
    """The loss of each row as a batch of one, as by `evaluate`."""
    model = Sequential([Input((len(p[0]),)), layers.Activation("linear")])
    model.compile("sgd", loss, engine=engine)
    x, targets = np.array(p, np.float32), np.array(y, np.float32)
    values = [
        model.evaluate(x[i : i + 1], targets[i : i + 1], verbose=0)
        for i in range(len(x))
    ]
    return np.array(values)


@pytest.mark.parametrize("name", CASES)
def test_engines_agree_at_the_ends(name: str, engine: str) -> None:
    loss, p, y = CASES[name]
    by_hand = np.array([loss([t], [q]) for t, q in zip(y, p, strict=True)])
    found = evaluated(loss, p, y, engine)
    np.testing.assert_array_equal(found, by_hand)
    reference = evaluated(loss, p, y, "reference")
    np.testing.assert_allclose(found, reference, rtol=2e-6, atol=2e-7)


@pytest.mark.parametrize(
    ("loss", "p", "y", "wanted"),
    [
        (losses.LogCosh(), [-3e38], [0.0], 3e38),
        (losses.LogCosh(), [3e38], [0.0], 3e38),
        (losses.MeanAbsoluteError(), [3e38, 3e38], [0.0, 0.0], 3e38),
        (losses.MeanSquaredError(), [1.8e19, 1.8e19], [0.0, 0.0], 3.24e38),
        (losses.MeanSquaredError(), [1e20], [0.0], math.inf),
        (losses.Huber(1e25), [1e30], [0.0], math.inf),
        (losses.Huber(2.0), [1e38], [0.0], 2e38),
        (losses.BinaryCrossentropy(), [1.0], [0.0], -math.log(2.0**-23)),
        (losses.BinaryCrossentropy(), [0.0], [1.0], -math.log(1e-7)),
        (losses.BinaryCrossentropy(True), [-3e38], [1.0], 3e38),
        (
            losses.SparseCategoricalCrossentropy(True),
            [3e38, -3e38, 0.0],
            0,
            0.0,
        ),
        (
            losses.SparseCategoricalCrossentropy(True),
            [3e38, -3e38, 0.0],
            2,
            3e38,
        ),
        (
            losses.CategoricalCrossentropy(),
            [-1.0, 0.5, 0.5],
            [0.0, 1.0, 0.0],
            -math.log1p(-(2.0**-23)),
        ),
    ],
)
def test_the_right_answer(
    engine: str, loss: losses.Loss, p: list[float], y: Any, wanted: float
) -> None:
    value = evaluated(loss, [p], [y], engine)[0]
    assert value == pytest.approx(wanted, rel=1e-5)
    assert loss([y], [p]) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_nan_is_nan(name: str, engine: str) -> None:
    """Clipping does not hide a prediction that is NaN."""
    loss, p, y = CASES[name]
    width = len(p[0])
    assert math.isnan(loss(y[:1], [[math.nan] * width]))
    model = Sequential([Input((2,)), layers.Dense(width)])
    model.compile("sgd", loss, engine=engine)
    model.set_weights([np.array([[3e38] * width, [-3e38] * width]), np.zeros(width)])
    # inf - inf; of two rows, since BLAS may give inf for the product of one.
    x = np.array([[3e38, 3e38]] * 2)
    assert math.isnan(model.evaluate(x, np.array([y[0]] * 2, np.float32), verbose=0))
