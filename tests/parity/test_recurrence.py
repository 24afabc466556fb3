"""Recurrent ops against Keras's layers: outputs, and gradients of their variables, of x
and of first states."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from twins import keras

from kurve.engines.base import Engine
from kurve.engines.native import NativeEngine
from kurve.engines.reference import ReferenceEngine
from tests.engines.recurrence import MASKS, Recurrent, combinations, name_of

LAYERS = {"lstm": "LSTM", "gru": "GRU", "simple_rnn": "SimpleRNN"}
ACTIVATIONS = ["linear", "relu", "elu", "selu", "gelu", "silu", "softplus", "softsign"]
# Keras draws its own numbers for dropout, and returns the states of the last step only.
CASES = [
    case
    for case in combinations()
    if not case[1]["recurrent_dropout"]
    and not (case[1]["sequences"] and case[1].get("states"))
]


def theirs(made: Recurrent, rows: int, mask: str) -> tuple[Any, Any, dict[str, Any]]:
    """Keras's output, loss and gradients, in the places of our variables."""
    import torch

    values, (x, *rest) = made.state().params, made.xs(rows, mask)
    attrs = made.attrs
    options = {"activation": attrs["activation"]}
    if "recurrent_activation" in attrs:
        options["recurrent_activation"] = attrs["recurrent_activation"]
    if "reset_after" in attrs:
        options["reset_after"] = attrs["reset_after"]
    names = [v.name for v in made.params]
    layer = getattr(keras.layers, LAYERS[made.kind])(
        made.sizes[2],
        use_bias="bias" in names,
        go_backwards=bool(attrs.get("reverse")),
        return_sequences=bool(attrs.get("sequences")),
        return_state=bool(attrs.get("states")),
        **options,
    )
    layer.build(x.shape)
    parts = {v.name: values[v.offset : v.end].reshape(v.shape) for v in made.params}
    layer.set_weights(
        [parts[n] for n in ("kernel", "recurrent_kernel", "bias") if n in parts]
    )
    slopes = {
        name: torch.tensor(part, requires_grad=True)
        for name, part in parts.items()
        if name.startswith("slope")
    }

    def given(k: int, value: np.ndarray) -> Any:
        return torch.tanh(torch.tensor(value) * slopes[f"slope_{k}"])

    arguments: dict[str, Any] = {}
    if attrs.get("masked"):
        arguments["mask"] = torch.tensor(rest.pop(0) != 0)
    if attrs.get("initial"):
        first = 1 + bool(attrs.get("masked"))
        arguments["initial_state"] = [given(k, v) for k, v in enumerate(rest, first)]
    out = layer(given(0, x), **arguments)
    if attrs.get("states"):
        out = torch.cat(list(out[1:]), dim=-1)
    (y,) = made.batches(rows, mask).y
    loss = ((out - torch.tensor(y)) ** 2).mean()
    loss.backward()
    gradients = {name: slope.grad.numpy() for name, slope in slopes.items()}
    for variable in layer.trainable_variables:
        gradients[variable.name] = variable.value.grad.numpy()
    return out.detach().numpy(), float(loss.detach()), gradients


def check(engine: Engine, made: Recurrent, rows: int, mask: str) -> None:
    program, batches = engine.compile(made.plan), made.batches(rows, mask)
    out, loss, gradients = theirs(made, rows, mask)
    np.testing.assert_allclose(
        program.predict(made.state(), made.xs(rows, mask)), out, rtol=1e-5, atol=1e-5
    )
    found, gradient = program.gradient(made.state(), batches, 0)
    assert found == pytest.approx(loss, rel=1e-5)
    assert gradients.keys() == {v.name for v in made.params}
    for v in made.params:
        part = gradient[v.offset : v.end].reshape(v.shape)
        scale = np.abs(gradients[v.name]).max()
        error = np.abs(part - gradients[v.name]).max()
        assert error <= 1e-4 * scale + 1e-7, v.name


ENGINES = [ReferenceEngine(), NativeEngine()]
IDS = ["reference", "native"]


@pytest.mark.parametrize("engine", ENGINES, ids=IDS)
@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_every_combination(case: tuple[str, dict[str, bool]], engine: Any) -> None:
    kind, flags = case
    mask = "holes"
    if flags["initial"] and flags["sequences"]:
        # What masked steps before all others give is the first state here, as with
        # Keras on JAX; on torch it is zeros.
        mask = "left" if flags["reverse"] else "right"
    check(engine, Recurrent(kind, (4, 3, 5), **flags), 3, mask)


@pytest.mark.parametrize("engine", ENGINES, ids=IDS)
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("kind", LAYERS)
def test_masks(kind: str, mask: str, engine: Any) -> None:
    made = Recurrent(kind, (6, 2, 4), masked=True, sequences=True)
    check(engine, made, 6, mask)


@pytest.mark.parametrize("engine", ENGINES, ids=IDS)
@pytest.mark.parametrize("sizes", [(1, 1, 1), (1, 3, 2), (7, 5, 33), (5, 40, 17)])
@pytest.mark.parametrize("rows", [1, 9])
@pytest.mark.parametrize("kind", LAYERS)
def test_sizes(kind: str, rows: int, sizes: tuple[int, int, int], engine: Any) -> None:
    check(engine, Recurrent(kind, sizes, initial=True), rows, "none")


@pytest.mark.parametrize("engine", ENGINES, ids=IDS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("kind", LAYERS)
def test_activations(kind: str, activation: str, engine: Any) -> None:
    flags: dict[str, Any] = {"activation": activation}
    if activation == "elu":
        flags["alpha"] = 1.0
    check(engine, Recurrent(kind, (3, 2, 4), **flags), 3, "none")
    if kind != "simple_rnn":
        flags = {"recurrent_activation": activation, "activation": "tanh"}
        if activation == "elu":
            flags["recurrent_alpha"] = 1.0
        check(engine, Recurrent(kind, (3, 2, 4), **flags), 3, "none")
