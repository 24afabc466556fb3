"""The arguments of an estimator's constructor as JSON, for files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from kurve import activations, optimizers
from kurve.core.arrays import scalar
from kurve.models import Sequential
from kurve.optimizers import Optimizer, schedules

REAL = ("alpha", "dropout", "learning_rate", "validation_fraction")
"""Parameters that are numbers or names."""


def plain(name: str, value: Any) -> Any:
    """A parameter as JSON."""
    if isinstance(value, Sequential):
        return {"sequential": value.get_config()}
    if isinstance(value, Optimizer):
        return optimizers.serialize(value)
    if isinstance(value, schedules.LearningRateSchedule):
        return schedules.serialize(value)
    if isinstance(value, activations.Activation):
        return activations.to_config(value)
    if name == "class_weight" and isinstance(value, Mapping):
        return {"pairs": [[scalar(k), float(w)] for k, w in value.items()]}
    if name == "monotone" and isinstance(value, Mapping):
        return {"pairs": [[scalar(k), int(v)] for k, v in value.items()]}
    if name == "random_state" and not isinstance(value, (int, np.integer)):
        return None
    if name == "engine" and value is not None and not isinstance(value, str):
        return value.name if type(value).__module__.startswith("kurve.") else None
    if name in REAL and not isinstance(value, str):
        return float(value)
    if isinstance(value, (tuple, list)):
        return [int(v) for v in value]
    return scalar(value)


def from_plain(name: str, value: Any) -> Any:
    """The inverse of `plain`."""
    if name == "hidden_layer_sizes" and isinstance(value, Mapping):
        return Sequential.from_config(value["sequential"])
    if name == "hidden_layer_sizes" and isinstance(value, list):
        return tuple(value)
    if name == "solver" and isinstance(value, Mapping):
        return optimizers.deserialize(value)
    if name == "learning_rate" and isinstance(value, Mapping):
        return schedules.deserialize(value)
    if name == "activation" and isinstance(value, Mapping):
        return activations.get(value)
    if name in ("class_weight", "monotone") and isinstance(value, Mapping):
        return dict(value["pairs"])
    return value
