"""Custom classes and functions in Keras configurations.

Keras writes them like its own, with their registered name:

    {"module": null, "class_name": "Scale", "config": ..., "registered_name": "m>Scale"}
    {"module": "builtins", "class_name": "function", "config": "steep", ...}

The `get_config` of such a class can contain configurations of other objects in the
format of Kurve's `serialize`; they are converted to Keras's. The other direction needs
no conversion: every `deserialize` and `get` of Kurve reads both formats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kurve import constraints, initializers, regularizers
from kurve.core import registry
from kurve.core.registration import get_registered_name
from kurve.exchange.keras_names import KURVE_INITIALIZERS, KURVE_LAYERS

PLAIN = (bool, int, float, str, type(None))


def own_entry(value: Any) -> dict[str, Any]:
    """A user's object or function, for Keras's `custom_objects` or registry.

    Raises:
        ValueError: its configuration contains something Keras does not have.
    """
    if not hasattr(value, "get_config"):
        return function_entry(value)
    cls = type(value)
    return class_entry(cls, cls.__name__, value.get_config())


def class_entry(cls: Any, name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """An instance of a user's class; `cls` can be None if only its name is known."""
    return {
        "module": None,
        "class_name": name,
        "config": to_keras(config),
        "registered_name": name if cls is None else get_registered_name(cls),
    }


def function_entry(function: Any) -> dict[str, Any]:
    """A user's function, or one given by name."""
    if isinstance(function, str):
        name = function
    elif hasattr(function, "__name__"):
        name = get_registered_name(function)
    else:
        name = type(function).__name__
    return {
        "module": "builtins",
        "class_name": "function",
        "config": name,
        "registered_name": "function",
    }


def to_keras(value: Any, key: str = "") -> Any:
    """Part of a configuration, for Keras.

    Args:
        key: the argument's name, which tells the kind of object.

    Raises:
        ValueError: something Keras does not have.
    """
    if isinstance(value, str) and value.startswith(registry.CUSTOM_PREFIX):
        short = value.removeprefix(registry.CUSTOM_PREFIX)
        return function_entry(registry.known(short) or short)
    if isinstance(value, Mapping):
        cls = value.get("class_name")
        if isinstance(cls, str) and "config" in value:
            return _object_entry(cls, value, key)
        if key.endswith("activation") and "name" in value:
            from kurve import activations
            from kurve.exchange.keras_parts import activation_entry

            return activation_entry(activations.get(value), f"{key!r}")
        return {k: to_keras(part, str(k)) for k, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_keras(part, key) for part in value]
    return value.tolist() if hasattr(value, "tolist") else value


def _object_entry(name: str, value: Mapping[str, Any], key: str) -> dict[str, Any]:
    """An object written by a `serialize` function."""
    module, config = value.get("module"), value["config"]
    if "module" in value:  # in Keras's format
        if isinstance(module, str) and module.startswith("kurve"):
            raise ValueError(f"{key or name} is a {name}")
        return {**value, "config": to_keras(config)}
    if name.startswith(registry.CUSTOM_PREFIX):
        name = name.removeprefix(registry.CUSTOM_PREFIX)
        return class_entry(registry.known(name), name, config)
    tables: dict[str, tuple[Mapping[str, Any], Sequence[str]]] = {
        "keras.initializers": (initializers.CLASSES, KURVE_INITIALIZERS),
        "keras.regularizers": (regularizers.CLASSES, ()),
        "keras.constraints": (constraints.CLASSES, ()),
    }
    from kurve import layers

    is_layer = name in layers.CLASSES and not key.endswith("_initializer")
    if is_layer and name not in KURVE_LAYERS:
        from kurve.exchange.keras_entries import inner_entry

        return inner_entry(layers.deserialize(value))
    for home, (table, lacking) in tables.items():
        if name in table and name not in lacking:
            return {
                "module": home,
                "class_name": name,
                "config": to_keras(config),
                "registered_name": None,
            }
    if name.startswith("__"):
        return dict(value)
    raise ValueError(f"{key or name} is a {name}")


def made(found: Any, value: Mapping[str, Any], what: str, *bases: type) -> Any:
    """An instance of a class in `custom_objects`.

    Raises:
        ValueError: the class is of the wrong kind, or rejects the configuration.
    """
    config = value.get("config")
    if not isinstance(found, type) or not issubclass(found, bases):
        kinds = " or ".join(base.__name__ for base in bases)
        raise ValueError(f"{what} must be a {kinds}, and custom_objects have {found!r}")
    if not isinstance(config, Mapping):
        raise ValueError(f"{what} has no configuration")
    try:
        return found.from_config(dict(config))  # type: ignore[attr-defined]
    except (TypeError, ValueError, NotImplementedError, LookupError) as error:
        raise ValueError(f"{what}: {error}") from error
