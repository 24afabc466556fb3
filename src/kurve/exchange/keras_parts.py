"""The small parts of Keras's configurations: activations, initializers, regularizers.

An object of Keras's is written {"module": ..., "class_name": ..., "config": {...},
"registered_name": ...}; in files of Keras 2 without module and registered name.
Every name is looked up in a table; nothing is imported by name.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Container, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from kurve import activations, initializers, regularizers

_KURVE_ACTIVATIONS = ("sin", "snake")
_KURVE_INITIALIZERS = ("SineUniform",)
_UNUSED = {"dtype": ("float32",)}
"""Arguments of Keras's initializers that Kurve's do not have, with the values that
change nothing."""


def entry(module: str, class_name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """An object as Keras writes it."""
    return {
        "module": module,
        "class_name": class_name,
        "config": plain(config),
        "registered_name": None,
    }


def plain(value: Any) -> Any:
    """A configuration whose numbers and arrays are Python's."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, list | tuple) else value


def opened(given: Any, what: str) -> tuple[str, dict[str, Any]]:
    """Class name and configuration of an object of Keras's own.

    Raises:
        ValueError: it is damaged, or of a class that is not Keras's.
    """
    if not isinstance(given, Mapping):
        raise ValueError(f"{what} is {_shown(given)}, not an object of Keras")
    name, config = given.get("class_name"), given.get("config")
    if name in ("Lambda", "__lambda__") or "value" in given:
        raise ValueError(f"{what} is a Lambda: code in a file is never run")
    if not isinstance(name, str) or not isinstance(config, Mapping):
        raise ValueError(f"{what} has no class name and configuration")
    module, registered = given.get("module"), given.get("registered_name")
    if not isinstance(module, str | None) or (
        module is not None and module.split(".")[0] not in ("keras", "tf_keras")
    ):
        raise ValueError(f"{what} is {name} of {_shown(module)}, a class of one's own")
    if registered not in (None, name):
        raise ValueError(f"{what} is {_shown(registered)}, a class of one's own")
    return name, dict(config)


def function_name(given: Any) -> str | None:
    """The name of a function of Keras's, if that is what is given."""
    if isinstance(given, str):
        return given
    if isinstance(given, Mapping) and given.get("class_name") == "function":
        name = given.get("config")
        if isinstance(name, str) and given.get("registered_name") in (
            None,
            "function",
            name,
        ):
            return name
    return None


def drop(
    config: dict[str, Any],
    what: str,
    fixed: Mapping[str, tuple[Any, ...]],
    known: Container[str],
) -> None:
    """Take arguments that Kurve does not have out of a configuration.

    Args:
        fixed: for each, the values with which it changes nothing; None never does.
        known: the arguments that Kurve has.

    Raises:
        ValueError: another argument or value.
    """
    for key in [key for key in config if key not in known]:
        value = unwrapped(config.pop(key))
        if value is not None and not any(
            type(value) is type(v) and value == v for v in fixed.get(key, ())
        ):
            raise ValueError(
                f"{what} has {key}={_shown(value)}, which Kurve does not have"
            )


def arguments_of(cls: type) -> set[str]:
    """The names of all arguments that the class or a base of it takes."""
    return {
        name
        for base in cls.__mro__[:-1]
        for name, parameter in inspect.signature(base.__init__).parameters.items()  # type: ignore[misc]
        if parameter.kind is not parameter.VAR_KEYWORD and name != "self"
    }


def number(config: Mapping[str, Any], key: str, default: float, what: str) -> float:
    """A finite number of a configuration."""
    return float(finite(config.get(key, default), f"{what} has {key}"))


def finite(value: Any, what: str) -> int | float:
    """The number that a value of a configuration is; whole ones stay whole."""
    value = unwrapped(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{what}={_shown(value)}, which is no number")
    if not math.isfinite(value):
        raise ValueError(f"{what}={value}, which is not finite")
    return value


def unwrapped(value: Any) -> Any:
    """The number or list in what Keras writes for one of NumPy's."""
    if isinstance(value, Mapping) and value.get("class_name") == "__numpy__":
        config = value.get("config")
        return config.get("value") if isinstance(config, Mapping) else None
    return value


# -------------------------------------------------------------------- activations


def activation_from(given: Any, what: str) -> activations.Activation:
    """Kurve's activation for what Keras writes: a name, or a layer as activation."""
    if given is None:
        return activations.linear
    name = function_name(given)
    if name is None:
        name, config = opened(given, what)
        if name not in ACTIVATION_LAYERS:
            raise ValueError(f"{what} is {name}, which Kurve does not have")
        for key in ("name", "trainable", "dtype"):
            config.pop(key, None)
        return activation_of_layer(name, config, what)
    if name in _KURVE_ACTIVATIONS:
        raise ValueError(f"{what} is {name!r}, which Keras does not have")
    return activations.get(name)


ACTIVATION_LAYERS: dict[str, tuple[str, ...]] = {
    "ReLU": ("negative_slope",),
    "LeakyReLU": ("alpha", "negative_slope"),
    "ELU": ("alpha",),
    "Softmax": (),
}
"""Layers of Keras's that are `Activation` here, with their arguments."""

_ACTIVATION_FIXED = {"axis": (-1, [-1]), "threshold": (0, 0.0)}


def activation_of_layer(
    name: str, config: dict[str, Any], what: str
) -> activations.Activation:
    """The activation that such a layer is."""
    drop(config, what, _ACTIVATION_FIXED, ACTIVATION_LAYERS[name])
    if name == "Softmax":
        return activations.softmax
    if name == "ELU":
        return replace(activations.elu, alpha=number(config, "alpha", 1.0, what))
    if name == "ReLU":
        slope = number(config, "negative_slope", 0.0, what)
        if slope == 0.0:
            return activations.relu
    else:
        slope = number({"alpha": 0.3, **config}, "alpha", 0.3, what)
        slope = number(config, "negative_slope", slope, what)
    return replace(activations.leaky_relu, alpha=slope)


def activation_entry(activation: activations.Activation, what: str) -> Any:
    """What Keras reads as this activation."""
    if activation.name in _KURVE_ACTIVATIONS:
        raise ValueError(f"{what} has the activation {activation.name!r}")
    if activation == activations.get(activation.name):
        return activation.name
    argument = {"leaky_relu": "negative_slope", "elu": "alpha"}[activation.name]
    layer = {"leaky_relu": "LeakyReLU", "elu": "ELU"}[activation.name]
    return entry("keras.layers", layer, {argument: activation.alpha})


# -------------------------------------------------------------------- initializers


def initializer_from(given: Any, what: str) -> initializers.Initializer:
    """Kurve's initializer for a name or an object of Keras."""
    name = function_name(given)
    if name is not None:
        return initializers.of_weight(name)
    if given is None:
        return initializers.of_weight(None)
    name, config = opened(given, what)
    if name in _KURVE_INITIALIZERS or name not in initializers.CLASSES:
        raise ValueError(f"{what} is {name}, which Kurve does not have")
    drop(config, what, _UNUSED, arguments_of(initializers.CLASSES[name]))
    seed = config.get("seed")
    if type(seed) is not int or not 0 <= seed < 2**63:  # an object of Keras 3, say
        config.pop("seed", None)
    if config.get("distribution") == "normal":  # of Keras before 2.4: truncated too
        config["distribution"] = "truncated_normal"
    made: initializers.Initializer = initializers.CLASSES[name](**config)
    return made


def initializer_entry(given: initializers.Initializer, what: str) -> dict[str, Any]:
    """What Keras reads as this initializer."""
    name = type(given).__name__
    if initializers.CLASSES.get(name) is not type(given) or (
        name in _KURVE_INITIALIZERS
    ):
        raise ValueError(f"{what} has the initializer {name}")
    return entry("keras.initializers", name, given.get_config())


# -------------------------------------------------------------------- regularizers


def regularizer_from(given: Any, what: str) -> regularizers.L1L2 | None:
    """Kurve's regularizer for a name or an object of Keras."""
    if given is None or isinstance(given, str):
        return regularizers.get(given)
    name, config = opened(given, what)
    if name not in regularizers.CLASSES:
        raise ValueError(f"{what} is {name}, which Kurve does not have")
    return regularizers.CLASSES[name](
        **{key: number(config, key, 0.0, what) for key in config}
    )


def regularizer_entry(given: regularizers.L1L2 | None) -> dict[str, Any] | None:
    """What Keras reads as this regularizer."""
    if given is None:
        return None
    return entry("keras.regularizers", type(given).__name__, given.get_config())


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
