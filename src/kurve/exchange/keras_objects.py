"""Any Keras object to plain data in Keras's format, and back.

    {"module": "keras.layers", "class_name": "Dense", "config": {...},
     "registered_name": None}

Objects that only Kurve has get a Kurve module. Nothing is imported by name: classes
come from fixed tables, the registry and `custom_objects`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from kurve import (
    activations,
    constraints,
    initializers,
    layers,
    losses,
    metrics,
    optimizers,
    regularizers,
)
from kurve.constraints import Constraint
from kurve.core import registry
from kurve.exchange import keras_parts as parts
from kurve.exchange import keras_training as training
from kurve.exchange.keras_entries import inner_entry, model_entry
from kurve.exchange.keras_graphs import MODELS, model_of
from kurve.exchange.keras_models import inner_layer
from kurve.exchange.keras_own import PLAIN, function_entry, own_entry
from kurve.formulas.limits import is_limited
from kurve.initializers import Initializer
from kurve.layers.base import Layer
from kurve.losses import Loss
from kurve.metrics import Metric
from kurve.models import config_reader, configs
from kurve.optimizers import Optimizer, schedules
from kurve.regularizers import Regularizer

Reader = Callable[[Any, str], Any]


def serialized(obj: Any) -> Any:
    """See `serialize_keras_object`."""
    if isinstance(obj, PLAIN):
        return obj
    if isinstance(obj, (list, tuple)):
        return type(obj)([serialized(part) for part in obj])
    if isinstance(obj, Mapping):
        return {key: serialized(part) for key, part in obj.items()}
    if isinstance(obj, np.generic) or (isinstance(obj, np.ndarray) and not obj.ndim):
        return obj.item()
    if isinstance(obj, np.ndarray):
        config = {"value": obj.tolist(), "dtype": str(obj.dtype)}
        return {"class_name": "__numpy__", "config": config}
    if isinstance(obj, slice) or obj is Ellipsis:
        return configs.written_argument(obj)
    for base, (write, own_form, home) in _writers().items():
        if isinstance(obj, base):
            try:
                return write(obj)
            except ValueError:  # Keras does not have it
                return {"module": home, **own_form(obj), "registered_name": None}
    if callable(obj) and hasattr(obj, "__name__"):
        return function_entry(obj)
    raise TypeError(
        "[serialize_keras_object] it must be an object of Kurve, a class with "
        f"get_config() or a function. Received: {obj!r}. Try its get_config()."
    )


def _writers() -> dict[type, tuple[Any, Any, str]]:
    """How objects of each base class are written: in Keras's format, in Kurve's, and
    the module that goes with the latter."""
    return {
        activations.Activation: (_activation, _own_activation, "kurve.activations"),
        Layer: (_layer, layers.serialize, "kurve.layers"),
        Initializer: (
            lambda obj: parts.initializer_entry(obj, "it"),
            initializers.serialize,
            "kurve.initializers",
        ),
        Regularizer: (
            lambda obj: parts.regularizer_entry(obj, "it"),
            regularizers.serialize,
            "kurve.regularizers",
        ),
        Constraint: (
            lambda obj: parts.constraint_entry(obj, "it"),
            constraints.serialize,
            "kurve.constraints",
        ),
        Loss: (training.loss_entry, losses.serialize, "kurve.losses"),
        Metric: (_metric, metrics.serialize, "kurve.metrics"),
        Optimizer: (
            training.optimizer_entry,
            optimizers.serialize,
            "kurve.optimizers",
        ),
        schedules.LearningRateSchedule: (
            _schedule,
            schedules.serialize,
            "kurve.optimizers.schedules",
        ),
    }


def _activation(value: activations.Activation) -> Any:
    if isinstance(value, activations.FunctionActivation):
        return function_entry(value.function)
    written = parts.activation_entry(value, "it")
    return function_entry(written) if isinstance(written, str) else written


def _own_activation(value: activations.Activation) -> dict[str, Any]:
    return {"class_name": "function", "config": activations.to_config(value)}


def _layer(layer: Any) -> dict[str, Any]:
    return model_entry(layer) if hasattr(layer, "_network") else inner_entry(layer)


def _metric(metric: Metric) -> Any:
    written = training.metric_entry(metric, None, (1,))
    return function_entry(written) if isinstance(written, str) else written


def _schedule(schedule: schedules.LearningRateSchedule) -> dict[str, Any]:
    name = type(schedule).__name__
    if schedules.CLASSES.get(name) is not type(schedule):
        return own_entry(schedule)
    return parts.entry("keras.optimizers.schedules", name, schedule.get_config())


# -------------------------------------------------------------------- reading

_READERS: dict[str, Reader] = {
    "keras.layers": inner_layer,
    "keras.initializers": parts.initializer_from,
    "keras.regularizers": parts.regularizer_from,
    "keras.constraints": parts.constraint_from,
    "keras.losses": training.loss_from,
    "keras.metrics": training.metric_from,
    "keras.optimizers": lambda value, _: training.optimizer_from(value),
    "keras.optimizers.schedules": training.schedule_from,
    "kurve.activations": lambda value, _: activations.get(value["config"]),
    "kurve.layers": lambda value, _: layers.deserialize(value),
    "kurve.initializers": lambda value, _: initializers.deserialize(value),
    "kurve.regularizers": lambda value, _: regularizers.deserialize(value),
    "kurve.constraints": lambda value, _: constraints.deserialize(value),
    "kurve.losses": lambda value, _: losses.deserialize(value),
    "kurve.metrics": lambda value, _: metrics.deserialize(value),
    "kurve.optimizers": lambda value, _: optimizers.deserialize(value),
    "kurve.optimizers.schedules": lambda value, _: schedules.deserialize(value),
}

_TABLES: list[tuple[Any, str]] = [
    (layers.CLASSES, "kurve.layers"),
    (initializers.CLASSES, "kurve.initializers"),
    (regularizers.CLASSES, "kurve.regularizers"),
    (constraints.CLASSES, "kurve.constraints"),
    (losses.CLASSES, "kurve.losses"),
    (metrics.CLASSES, "kurve.metrics"),
    (optimizers.CLASSES, "kurve.optimizers"),
    (schedules.CLASSES, "kurve.optimizers.schedules"),
]
"""Where a class without a module is looked up, as in the output of these modules'
`serialize`."""


def deserialized(value: Any) -> Any:
    """See `deserialize_keras_object`."""
    if isinstance(value, str):
        found = registry.known(value)
        return value if found is None else found
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, (list, tuple)):
        return [deserialized(part) for part in value]
    if not isinstance(value, Mapping):
        raise ValueError(
            "[deserialize_keras_object] it must be what serialize_keras_object gives. "
            f"Received: {value!r}. Try that."
        )
    name = value.get("class_name")
    if not isinstance(name, str) or "config" not in value:
        return {key: deserialized(part) for key, part in value.items()}
    if name.startswith("__"):
        return _special(name, value["config"])
    try:
        return _object(name, parts.to_json(value))  # with lists instead of tuples
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(
            "[deserialize_keras_object] config must be that of a known object. "
            f"Received: {name[:80]!r}, but {str(error).rstrip('.')}. "
            "Try custom_objects."
        ) from error


def _object(name: str, value: Mapping[str, Any]) -> Any:
    module = value.get("module")
    if name.startswith(registry.CUSTOM_PREFIX):
        name = name.removeprefix(registry.CUSTOM_PREFIX)
        value = {**value, "class_name": name, "registered_name": name}
    if name == "function" and not str(module).startswith("kurve"):
        return _function(value)
    found = parts.own(value)
    if found is not None:
        if not isinstance(found, type):
            return found
        if issubclass(found, Layer):
            return inner_layer(value, "the layer")
        return found.from_config(dict(value["config"]))  # type: ignore[attr-defined]
    if name in MODELS and (module is None or str(module).startswith("keras")):
        model = model_of(value)[0]
        return model if is_limited() else config_reader.built(model)
    home = next((home for table, home in _TABLES if name in table), None)
    if module is None:
        module = home
    elif isinstance(module, str) and module.startswith("keras.src.") and home:
        module = home.replace("kurve", "keras")
    reader = _READERS.get(module) if isinstance(module, str) else None
    if reader is None:
        raise ValueError(f"there is no class {name[:80]!r} in {module!r}")
    return reader(value, name)


def _function(value: Mapping[str, Any]) -> Any:
    """A user's function, or an activation, loss or metric by name."""
    found = parts.own(value)
    if found is not None:
        return found
    name = value["config"]
    if name in activations.NAMES:
        return activations.get(name)
    if name in losses.NAMES:
        return getattr(losses, name, None) or losses.as_loss(name)
    return metrics.as_metric(name)


def _special(name: str, config: Any) -> Any:
    """An array, a slice or similar."""
    if name in ("__numpy__", "__tensor__"):
        return np.asarray(config["value"], config["dtype"])
    if name == "__ellipsis__":
        return Ellipsis
    if name == "__slice__":
        return slice(config["start"], config["stop"], config["step"])
    raise ValueError(
        "[deserialize_keras_object] code in a configuration is never run. "
        f"Received: a {name}. Try a function of a name, and custom_objects."
    )
