"""Image layers: gradients against finite differences, and engine against engine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kurve import Sequential
from tests.engines.cases import in_float64, one_batch
from tests.engines.images import STACKS, model_of, samples
from tests.engines.test_agreement import train, wrong
from tests.engines.test_gradients import check
from tests.engines.test_jacobian import check_along_a_direction
from tests.engines.tolerances import TOLERANCES

ROWS = 5


def targets(rows: int) -> np.ndarray:
    return np.random.default_rng(2).normal(size=(rows, 2))


@pytest.mark.parametrize("name", STACKS)
def test_gradient(name: str) -> None:
    """Of every variable, including those of the layer before the stack."""
    stack = STACKS[name]
    check(model_of(stack, "reference"), samples(stack, ROWS), targets(ROWS))


@pytest.mark.parametrize("name", STACKS)
def test_jacobian(name: str) -> None:
    stack = STACKS[name]
    check_along_a_direction(model_of(stack, "reference"), samples(stack, 3))


def exact_and_own(name: str, fast: str) -> tuple[Sequential, list[Sequential]]:
    stack = STACKS[name]
    return model_of(stack, fast), [model_of(stack, "reference") for _ in range(2)]


@pytest.mark.parametrize("name", STACKS)
def test_engines_agree_on_one_step(fast: str, name: str) -> None:
    """Loss, gradient and prediction, and no buffer changes."""
    own_model, (double, single) = exact_and_own(name, fast)
    batches = one_batch(samples(STACKS[name], 11), targets(11), np.linspace(0, 2, 11))
    results = []
    for model in (double, single, own_model):
        state = model._network.training_state()
        state = in_float64(state) if model is double else replace(state)
        before = state.buffers.copy()
        program = model._network.program()
        loss, gradient = program.gradient(state, batches, 0)
        prediction = program.predict(state, batches.x)
        assert np.array_equal(state.buffers, before)
        results.append((np.array(loss), gradient, prediction))
    for what, exact, own, given in zip(
        ("loss", "gradient", "predictions"), *results, strict=True
    ):
        assert TOLERANCES[what].allows(given, exact, own), what


@pytest.mark.parametrize("name", STACKS)
def test_engines_agree_on_twenty_steps(fast: str, name: str) -> None:
    own_model, (double, single) = exact_and_own(name, fast)
    double._network.training_state()
    assert double._network.state is not None
    double._network.state = in_float64(double._network.state)
    x, y = samples(STACKS[name], 20), targets(20)
    options = {"batch_size": 4, "epochs": 4}
    exact, own, run = (train(m, x, y, **options) for m in (double, single, own_model))
    assert not wrong(run, exact, own)


@pytest.mark.parametrize("name", STACKS)
def test_a_row_in_any_batch_of_a_prediction(engine: str, name: str) -> None:
    stack = STACKS[name]
    model, x = model_of(stack, engine), samples(stack, 13)
    whole = model.predict(x, verbose=0)
    parts = [model.predict_on_batch(x[i : i + 4]) for i in range(0, 13, 4)]
    assert np.concatenate(parts).tobytes() == whole.tobytes()
