"""The arguments of `compile` in a file, given to a model; classes of models can have
their own, in `get_compile_config` and `compile_from_config`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from kurve.core.entries import warn
from kurve.core.inside import network_of
from kurve.exchange.keras_objects import serialized
from kurve.exchange.keras_training import Compiled, compile_entry, compiled_from
from kurve.models.facade import Facade


def entry_of(model: Any) -> dict[str, Any] | None:
    """What a file holds of a model's `compile`; None if it is not compiled.

    Raises:
        ValueError: something Keras does not have; the message names it.
    """
    if type(model).get_compile_config is Facade.get_compile_config:
        return compile_entry(model)
    found: dict[str, Any] | None = serialized(model.get_compile_config())
    return found


def compiles_itself(model: Any) -> bool:
    """Whether its class reads the arguments of `compile`."""
    return type(model).compile_from_config is not Facade.compile_from_config


def compile_from(model: Any, config: Mapping[str, Any]) -> None:
    """Compile a model with the arguments in a file.

    Raises:
        ValueError, TypeError: something Kurve does not have; the message names it.
    """
    compiled = compiled_from(config, len(network_of(model).outputs.names))
    if compiled is not None:
        compile_with(model, compiled)


def compile_with(model: Any, compiled: Compiled) -> None:
    """Compile a model; as in Keras, one whose `compile` takes other arguments stays
    without, with a warning."""
    given = {
        "loss": compiled.loss,
        "loss_weights": compiled.loss_weights,
        "metrics": compiled.metrics,
        "weighted_metrics": compiled.weighted_metrics,
        "steps_per_execution": compiled.steps_per_execution,
    }
    try:
        inspect.signature(model.compile).bind(compiled.optimizer, **given)
    except TypeError:
        name = type(model).__name__
        warn(
            f"[load_model] the model is not compiled, because {name}.compile has "
            "arguments of its own. Try model.compile(...), or methods "
            "get_compile_config and compile_from_config."
        )
        return
    model.compile(compiled.optimizer, **given)
