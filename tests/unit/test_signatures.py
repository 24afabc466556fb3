"""What `help`, completion and type checkers are told of the arguments."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import kurve
from kurve import (
    callbacks,
    constraints,
    initializers,
    layers,
    losses,
    metrics,
    optimizers,
    regularizers,
)
from kurve.core.arguments import UNUSED, unpacked
from kurve.optimizers import schedules

MODULES = (
    callbacks,
    constraints,
    initializers,
    layers,
    losses,
    metrics,
    optimizers,
    regularizers,
    schedules,
)
BASES = {
    callbacks.LambdaCallback,
    layers.Layer,
    metrics.MeanMetricWrapper,
    optimizers.Optimizer,
}
"""They are handed what others do not know, and refuse it or give it to a function."""

CLASSES = sorted(
    {
        value
        for module in MODULES
        for name in dir(module)
        for value in [getattr(module, name)]
        if inspect.isclass(value)
        and not name.startswith("_")
        and value.__module__.startswith(module.__name__)
    }
    - BASES,
    key=lambda cls: cls.__qualname__,
)


def parameters(cls: Any) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(cls).parameters)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__qualname__)
def test_every_argument_has_its_name_in_the_signature(cls: Any) -> None:
    kinds = {parameter.kind for parameter in parameters(cls).values()}
    assert not kinds & {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}


def test_defaults_are_those_of_the_base_class() -> None:
    dense = parameters(layers.Dense)
    assert list(dense)[:2] == ["units", "activation"]
    assert dense["trainable"].default is True
    assert dense["name"].default is dense["input_shape"].default is None
    assert dense["name"].annotation == "str | None"
    assert dense["dtype"].default is None and dense["autocast"].default is True
    adamw = parameters(optimizers.AdamW)
    assert adamw["weight_decay"].default == 0.004
    assert adamw["clipnorm"].default is None


def test_unpacked_arguments_have_a_default() -> None:
    """Of a base class, or that of Keras's for what does nothing here."""
    for cls in CLASSES:
        for name in unpacked(cls.__init__):
            assert parameters(cls)[name].default is not inspect.Parameter.empty
    layer = parameters(layers.Layer)
    names = set(unpacked(layers.Dense.__init__))
    constraints = set(layers.Dense.constrained.values())
    assert names <= set(layer) | set(UNUSED) | constraints


def test_a_layer_that_is_called_has_the_signature_of_its_call() -> None:
    layer = kurve.layers.Dense(1)
    assert next(iter(inspect.signature(layer).parameters)) == "x"
