"""Against torch alone: gradients by autograd, and torch's own optimizers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tables import ACTIVATION_NAMES, LOSSES, dense, network
from torch_twin import LOSSES as TORCH_LOSSES
from torch_twin import loss_of, train_torch, variables_of
from twins import (
    BATCH,
    TOLERANCES,
    Case,
    assert_equal_runs,
    call,
    data_of,
    plan_and_state,
    torch,
    train_float64,
    twin_models,
)

from kurve.engines import Batches, get_engine
from kurve.engines.reference import losses as reference_losses
from kurve.optimizers.schedules import OneCycle


@pytest.mark.parametrize(
    "activation",
    [n for n in ACTIVATION_NAMES if n != "exponential"],  # four of them overflow
)
@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_of_a_deep_network(loss: str, activation: str) -> None:
    """The backward pass equals autograd's, through four hidden layers."""
    assert set(LOSSES) == set(TORCH_LOSSES)
    hidden = [dense(units, activation) for units in (7, 6, 6, 5)]
    case = replace(LOSSES[loss], layers=[*hidden, LOSSES[loss].layers[-1]])
    x, y, _ = (array[:BATCH] for array in data_of(case))

    variables = variables_of(case)
    theirs = loss_of(case, loss, variables, x, y)
    theirs.backward()

    model, _ = twin_models(case)
    plan, state, _ = plan_and_state(case, model)
    program = get_engine("reference").compile(plan)
    batches = Batches(x, y, None, None, np.array([0, BATCH]))
    value, gradient = program.gradient(state, batches, 0)

    tolerance = TOLERANCES["gradient float64"]
    assert value == pytest.approx(theirs.item(), rel=tolerance)
    for slot, variable in zip(plan.params, variables, strict=True):
        expected = variable.grad.numpy()
        mine = gradient[slot.offset : slot.end].reshape(slot.shape)
        assert np.abs(mine - expected).max() <= tolerance * np.abs(expected).max()


# Where torch and Keras put epsilon in different places, epsilon is 0 and both agree.
OPTIMIZERS: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
    "SGD": (torch.optim.SGD, {"lr": 0.02}, {"learning_rate": 0.02}),
    "SGD momentum": (
        torch.optim.SGD,
        {"lr": 0.01, "momentum": 0.8},
        {"learning_rate": 0.01, "momentum": 0.8},
    ),
    "SGD nesterov": (
        torch.optim.SGD,
        {"lr": 0.01, "momentum": 0.8, "nesterov": True},
        {"learning_rate": 0.01, "momentum": 0.8, "nesterov": True},
    ),
    "RMSprop": (
        torch.optim.RMSprop,
        {"lr": 0.001, "alpha": 0.9, "eps": 0.0},
        {"epsilon": 0.0},
    ),
    "Adagrad": (
        torch.optim.Adagrad,
        {"lr": 0.01, "initial_accumulator_value": 0.1, "eps": 0.0},
        {"learning_rate": 0.01, "epsilon": 0.0},
    ),
    "Adam": (torch.optim.Adam, {"lr": 0.001, "eps": 0.0}, {"epsilon": 0.0}),
    "AdamW": (
        torch.optim.AdamW,
        {"lr": 0.001, "weight_decay": 0.004, "eps": 0.0},
        {"epsilon": 0.0},
    ),
    "Nadam": (
        torch.optim.NAdam,
        {"lr": 0.001, "momentum_decay": 1.0, "eps": 0.0},
        {"epsilon": 0.0},
    ),
    "Adamax": (torch.optim.Adamax, {"lr": 0.001, "eps": 0.0}, {"epsilon": 0.0}),
}


@pytest.mark.parametrize("decay", ["cosine", "linear"])
@pytest.mark.parametrize("total", [1, 2, 7, 100])
@pytest.mark.parametrize("warmup", [0.0, 0.13, 0.3, 0.75, 0.99])
def test_one_cycle(warmup: float, total: int, decay: str) -> None:
    """Every step of torch's schedule, which is undefined after the last one."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=0.4,
        total_steps=total,
        pct_start=warmup,
        anneal_strategy={"cosine": "cos"}.get(decay, decay),
        div_factor=20.0,
        final_div_factor=500.0,
        cycle_momentum=False,
    )
    ours = OneCycle(0.4, total, warmup, 20.0, 500.0, decay)(np.arange(total))
    for step in range(total):
        expected = theirs.get_last_lr()[0]
        assert ours[step] == pytest.approx(expected, rel=1e-12), step
        if step + 1 < total:
            optimizer.step()
            theirs.step()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer(name: str) -> None:
    """A hundred steps in float64."""
    theirs, given_torch, given_kurve = OPTIMIZERS[name]
    kind = f"optimizers.{name.split()[0]}"
    case = Case(network(), optimizer=call(kind, **given_kurve))
    run = train_torch(case, "mse", lambda v: theirs(v, **given_torch))
    assert_equal_runs(train_float64(case), run, TOLERANCES["float64"])


def test_gaussian_nll() -> None:
    """Value and gradient against torch's loss of the same name."""
    random = np.random.default_rng(0)
    y, p = random.normal(size=(7, 3)), random.normal(size=(7, 6))
    variable = torch.tensor(p, requires_grad=True)
    variance = torch.nn.functional.softplus(variable[:, 3:]) + 1e-6
    theirs = torch.nn.functional.gaussian_nll_loss(
        variable[:, :3], torch.tensor(y), variance, full=True
    )
    theirs.backward()
    values, slope = reference_losses.gaussian_nll(y, p, {"beta": 0.0})
    assert values.mean() == pytest.approx(theirs.item(), rel=1e-12)
    np.testing.assert_allclose(slope / len(y), variable.grad.numpy(), rtol=1e-10)
