"""The small parts of Keras configurations: activations, initializers, regularizers.

Keras writes an object as {"module": ..., "class_name": ..., "config": {...},
"registered_name": ...}; Keras 2 without module and registered name. Every name is
looked up in a table; nothing is imported by name.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Container, Mapping
from typing import Any, NamedTuple

import numpy as np

from kurve import activations, constraints, initializers, layers, regularizers
from kurve.core import registry
from kurve.exchange.keras_names import (
    ACTIVATION_LAYERS,
    INITIALIZER_DEFAULTS,
    KURVE_ACTIVATIONS,
    KURVE_INITIALIZERS,
)
from kurve.exchange.keras_own import function_entry, made, own_entry


def entry(module: str, class_name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """An object as Keras writes it."""
    return {
        "module": module,
        "class_name": class_name,
        "config": to_json(config),
        "registered_name": None,
    }


def to_json(value: Any) -> Any:
    """A configuration with NumPy numbers and arrays converted to Python's."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return {k: to_json(v) for k, v in value.items()}
    return [to_json(v) for v in value] if isinstance(value, list | tuple) else value


def opened(value: Any, what: str) -> tuple[str, dict[str, Any]]:
    """Class name and configuration of a Keras object, or of a class in
    `custom_objects`.

    Raises:
        ValueError: it is corrupt or of an unknown class.
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"{what} is {_short(value)}, not an object of Keras")
    name, config = value.get("class_name"), value.get("config")
    if name in ("Lambda", "__lambda__") or "value" in value:
        raise ValueError(f"{what} is a Lambda: code in a file is never run")
    if not isinstance(name, str) or not isinstance(config, Mapping):
        raise ValueError(f"{what} has no class name and configuration")
    module, registered = value.get("module"), value.get("registered_name")
    is_custom = "module" in value and (
        not isinstance(module, str) or module.split(".")[0] not in ("keras", "tf_keras")
    )
    if (is_custom or registered not in (None, name)) and own(value) is None:
        shown = f"{name} of {_short(module)}" if is_custom else _short(registered)
        raise ValueError(
            f"{what} is {shown}, a custom class that custom_objects do not have. "
            f"Try custom_objects={{{name[:80]!r}: {name[:80]}}}"
        )
    return name, dict(config)


def function_name(value: Any) -> str | None:
    """The name of a Keras function, or None for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping) and value.get("class_name") == "function":
        name = value.get("config")
        if isinstance(name, str) and value.get("registered_name") in (
            None,
            "function",
            name,
        ):
            return name
    return None


def own(value: Any) -> Any:
    """The entry of the caller's `custom_objects` for a class or function outside Keras;
    None if there is none. Names are looked up, never imported."""
    names: list[Any] = [value]
    if isinstance(value, Mapping):
        name, registered = value.get("class_name"), value.get("registered_name")
        names = [value.get("config")] if name == "function" else [registered, name]
        module = value.get("module")
        if isinstance(module, str) and module.split(".")[0] in ("keras", "tf_keras"):
            return None
    for name in names:
        if isinstance(name, str):
            for key in (name, name.rpartition(">")[2]):
                found = registry.known(key)
                if found is not None:
                    return found
    return None


def refuse_unknown_function(value: Any, name: str, what: str) -> None:
    """Reject a function missing from `custom_objects`."""
    if isinstance(value, Mapping):
        name = name.rpartition(">")[2][:80]
        raise ValueError(
            f"{what} is the function {name!r}, which custom_objects do not have"
        )


def drop_defaults(
    config: dict[str, Any],
    what: str,
    defaults: Mapping[str, tuple[Any, ...]],
    known: Container[str],
) -> None:
    """Remove arguments unknown to Kurve from a configuration.

    Args:
        defaults: for each, the values without effect; None never has one.
        known: the arguments known to Kurve.

    Raises:
        ValueError: any other argument or value.
    """
    for key in [key for key in config if key not in known]:
        value = unwrapped(config.pop(key))
        if value is not None and not any(
            type(value) is type(v) and value == v for v in defaults.get(key, ())
        ):
            raise ValueError(
                f"{what} has {key}={_short(value)}, which Kurve does not have"
            )


def arguments_of(cls: Any) -> frozenset[str]:
    """The names of all arguments of the class and its bases."""
    return _arguments(cls)


@functools.lru_cache(maxsize=256)
def _arguments(cls: type) -> frozenset[str]:
    return frozenset(
        name
        for base in cls.__mro__[:-1]
        for name, parameter in inspect.signature(base.__init__).parameters.items()  # type: ignore[misc]
        if parameter.kind is not parameter.VAR_KEYWORD and name != "self"
    )


def number(config: Mapping[str, Any], key: str, default: float, what: str) -> float:
    """A finite number in a configuration."""
    return float(finite(config.get(key, default), f"{what} has {key}"))


def finite(value: Any, what: str) -> int | float:
    """A number in a configuration; integers stay integers."""
    value = unwrapped(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{what}={_short(value)}, which is not a number")
    if not math.isfinite(value):
        raise ValueError(f"{what}={value}, which is not finite")
    return value


def unwrapped(value: Any) -> Any:
    """The number or list inside Keras's entry for a NumPy object."""
    if isinstance(value, Mapping) and value.get("class_name") == "__numpy__":
        config = value.get("config")
        return config.get("value") if isinstance(config, Mapping) else None
    return value


# -------------------------------------------------------------------- activations


def activation_from(value: Any, what: str) -> activations.Activation:
    """Kurve's activation for Keras's entry: a name, or a layer used as an
    activation."""
    if value is None:
        return activations.linear
    name = function_name(value)
    if name is None:
        name, config = opened(value, what)
        if name not in ACTIVATION_LAYERS:
            raise ValueError(f"{what} is {name}, which Kurve does not have")
        for key in ("name", "trainable", "dtype"):
            config.pop(key, None)
        return activation_of_layer(name, config, what)
    if name in KURVE_ACTIVATIONS:
        raise ValueError(f"{what} is {name!r}, which Keras does not have")
    if name not in activations.NAMES:
        function = own(value)
        if callable(function):
            return activations.get(function)
        refuse_unknown_function(value, name, what)
    return activations.get(name)


def activation_of_layer(
    name: str, config: dict[str, Any], what: str
) -> activations.Activation:
    """The activation equivalent to such a layer."""
    drop_defaults(config, what, {}, ACTIVATION_LAYERS[name])
    arguments = {key: unwrapped(value) for key, value in config.items()}
    try:
        return activations.get(getattr(layers, name)(**arguments))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what}: {error}") from error


def activation_entry(activation: activations.Activation, what: str) -> Any:
    """The Keras configuration of an activation: a name or, with arguments, an
    equivalent layer."""
    if isinstance(activation, activations.FunctionActivation):
        return function_entry(activation.function)
    if activation.name in KURVE_ACTIVATIONS:
        raise ValueError(f"{what} has the activation {activation.name!r}")
    if not activation.arguments:
        return activation.name
    classes = {"leaky_relu": "LeakyReLU", "elu": "ELU", "relu": "ReLU"}
    if activation.name not in {**classes, "softmax": "Softmax"}:
        raise ValueError(f"{what} has {activation!r} as a part of it")
    cls = classes.get(activation.name, "Softmax")
    names = {"alpha": "negative_slope"} if cls == "LeakyReLU" else {}
    config = {names.get(k, k): value for k, value in activation.arguments}
    return entry("keras.layers", cls, config)


# -------------------------------------------------------------------- initializers


def initializer_from(value: Any, what: str) -> initializers.Initializer:
    """Kurve's initializer for a Keras name or object."""
    name = function_name(value)
    if name is not None:
        return initializers.of_weight(own(value) or name)
    if value is None:
        return initializers.of_weight(None)
    found = own(value)
    if found is not None:
        if not isinstance(found, type):
            return initializers.of_weight(found)
        mine: initializers.Initializer = made(
            found, value, what, initializers.Initializer
        )
        return mine
    name, config = opened(value, what)
    if name in KURVE_INITIALIZERS or name not in initializers.CLASSES:
        raise ValueError(f"{what} is {name}, which Kurve does not have")
    drop_defaults(
        config, what, INITIALIZER_DEFAULTS, arguments_of(initializers.CLASSES[name])
    )
    seed = config.get("seed")
    if type(seed) is not int or not 0 <= seed < 2**63:  # such as a Keras 3 object
        config.pop("seed", None)
    if config.get("distribution") == "normal":  # truncated too in Keras before 2.4
        config["distribution"] = "truncated_normal"
    initializer: initializers.Initializer = initializers.CLASSES[name](**config)
    return initializer


def initializer_entry(
    initializer: initializers.Initializer, what: str
) -> dict[str, Any]:
    """The Keras configuration of an initializer."""
    name = type(initializer).__name__
    if initializer.function is not None:
        return function_entry(initializer.function)
    if initializers.CLASSES.get(name) is not type(initializer):
        return own_entry(initializer)
    if name in KURVE_INITIALIZERS:
        raise ValueError(f"{what} has the initializer {name}")
    return entry("keras.initializers", name, initializer.get_config())


# -------------------------------------------------------------------- regularizers


def regularizer_from(value: Any, what: str) -> regularizers.Regularizer | None:
    """Kurve's regularizer for a Keras name or object."""

    def make(cls: Any, config: dict[str, Any]) -> Any:
        return cls(
            **{
                key: config[key] if key == "mode" else number(config, key, 0.0, what)
                for key in config
            }
        )

    found: regularizers.Regularizer | None = _part_from(
        value, what, regularizers, regularizers.Regularizer, make
    )
    return found


def regularizer_entry(
    regularizer: regularizers.Regularizer | None, what: str
) -> dict[str, Any] | None:
    """The Keras configuration of a regularizer."""
    return _part_entry(regularizer, regularizers)


# -------------------------------------------------------------------- constraints


def constraint_from(value: Any, what: str) -> constraints.Constraint | None:
    """Kurve's constraint for a Keras name or object."""

    def make(cls: Any, config: dict[str, Any]) -> Any:
        axis = unwrapped(config.pop("axis", 0))
        drop_defaults(config, what, {}, arguments_of(cls))
        numbers = {key: number(config, key, 0.0, what) for key in config}
        takes_axis = "axis" in arguments_of(cls)
        return cls(**numbers, **({"axis": axis} if takes_axis else {}))

    found: constraints.Constraint | None = _part_from(
        value, what, constraints, constraints.Constraint, make
    )
    return found


def constraint_entry(
    constraint: constraints.Constraint | None, what: str
) -> dict[str, Any] | None:
    """The Keras configuration of a constraint."""
    return _part_entry(constraint, constraints)


# -------------------------------------------------------------------- by argument


def _part_from(
    value: Any,
    what: str,
    module: Any,
    base: type,
    make: Callable[[Any, dict[str, Any]], Any],
) -> Any:
    """A regularizer or constraint for a Keras name or object.

    Args:
        module: that defines such parts.
        make: the part, from one of the module's classes and a configuration.
    """
    if value is None or isinstance(value, str):
        return module.get(value)
    found = own(value)
    if found is not None and not isinstance(found, type):
        return module.get(found)
    if found is not None:
        return made(found, value, what, base)
    name, config = opened(value, what)
    if name not in module.CLASSES:
        raise ValueError(f"{what} is {name}, which Kurve does not have")
    return make(module.CLASSES[name], config)


def _part_entry(part: Any, module: Any) -> dict[str, Any] | None:
    if part is None:
        return None
    name = type(part).__name__
    function = getattr(part, "given_function", None)
    if function is not None:
        return function_entry(function)
    if module.CLASSES.get(name) is not type(part):
        return own_entry(part)
    package = module.__name__.rpartition(".")[2]
    return entry(f"keras.{package}", name, part.get_config())


class Converter(NamedTuple):
    """Reads a part of a layer from a Keras configuration, and writes it."""

    read: Callable[[Any, str], Any]
    write: Callable[[Any, str], Any]


def converter_of(argument: str) -> Converter | None:
    """The converter of a layer's argument, by its name; None if there is none."""
    for ending, converter in _CONVERTERS.items():
        if argument.endswith(ending):
            return converter
    return None


_CONVERTERS = {
    "activation": Converter(activation_from, activation_entry),
    "_initializer": Converter(initializer_from, initializer_entry),
    "_regularizer": Converter(regularizer_from, regularizer_entry),
    "_constraint": Converter(constraint_from, constraint_entry),
}
"""By the end of an argument's name."""


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
