"""Custom classes and functions that files may refer to: those that the program has
registered, permanently or within a scope. Files cannot add to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self, TypeVar

from kurve.core import registry
from kurve.core.entries import entry

T = TypeVar("T")

_names: dict[int, str] = {}
"""Registered names by object id; the registry keeps the objects alive."""


class CustomObjectScope:
    """A context manager that makes custom classes and functions known by name.

    Args:
        custom_objects: {"MyLayer": MyLayer}.

    Raises:
        TypeError: not a dictionary of classes and functions.

    Example:
        >>> class Twice(kurve.layers.Layer):
        ...     def call(self, x):
        ...         return 2.0 * x
        >>> model = kurve.Sequential([kurve.Input((1,)), Twice()])
        >>> with kurve.utils.custom_object_scope({"Twice": Twice}):
        ...     copy = kurve.models.model_from_json(model.to_json())
    """

    def __init__(self, custom_objects: Mapping[str, Any] | None) -> None:
        self.custom_objects = custom_objects or {}
        self._contexts: list[Any] = []

    def __enter__(self) -> Self:
        context = registry.custom_objects(self.custom_objects)
        context.__enter__()
        self._contexts.append(context)
        return self

    def __exit__(self, *error: Any) -> None:
        self._contexts.pop().__exit__(*error)


custom_object_scope = CustomObjectScope


def get_custom_objects() -> dict[str, Any]:
    """The registered classes and functions by name; writing to the dictionary registers
    objects.

    Example:
        >>> kurve.utils.get_custom_objects()["twice"] = lambda x: 2.0 * x
        >>> layer = kurve.layers.Dense(1, activation="twice")
        >>> del kurve.utils.get_custom_objects()["twice"]
    """
    return registry.REGISTERED


def register_keras_serializable(
    package: str = "Custom", name: str | None = None
) -> Callable[[T], T]:
    """Decorator that lets files refer to a class or function by name.

    Args:
        package: first part of the registered name.
        name: second part of the name; by default that of the class or function.

    Raises:
        ValueError: a class without get_config.

    Example:
        >>> @kurve.utils.register_keras_serializable("mine")
        ... class Twice(kurve.layers.Layer):
        ...     def call(self, x):
        ...         return 2.0 * x
        >>> kurve.utils.get_registered_name(Twice)
        'mine>Twice'
    """

    def register(target: T) -> T:
        if isinstance(target, type) and not hasattr(target, "get_config"):
            raise ValueError(
                "[register_keras_serializable] a class needs get_config(), which "
                f"returns its arguments. Received: {target.__name__}. Try a class "
                "that has it."
            )
        whole = f"{package}>{name or getattr(target, '__name__', '')}"
        registry.REGISTERED[whole] = target
        _names[id(target)] = whole
        return target

    return register


def get_registered_name(obj: Any) -> str:
    """The name of a registered class or function, else its own name.

    Args:
        obj: the class or function.

    Raises:
        AttributeError: it has no name.

    Example:
        >>> kurve.utils.get_registered_name(kurve.layers.Dense)
        'Dense'
    """
    return _names.get(id(obj)) or str(obj.__name__)


def get_registered_object(
    name: str,
    custom_objects: Mapping[str, Any] | None = None,
    module_objects: Mapping[str, Any] | None = None,
) -> Any:
    """The class or function registered under a name; None if there is none.

    Args:
        name: such as "Custom>MyLayer".
        custom_objects, module_objects: additional places to look.

    Raises:
        TypeError: name is not a string.

    Example:
        >>> kurve.utils.get_registered_object("no>such") is None
        True
    """
    for table in (
        registry.given(),
        registry.REGISTERED,
        custom_objects,
        module_objects,
    ):
        if table and name in table:
            return table[name]
    return None


@entry
def serialize_keras_object(obj: Any) -> Any:
    """Convert an object to plain data, for `get_config`: a layer, model, loss, metric,
    optimizer, schedule, initializer, regularizer, constraint, activation or function;
    lists, tuples and dictionaries of them; numbers, strings and arrays.

    Args:
        obj: the object.

    Raises:
        TypeError: unsupported object.

    Example:
        >>> config = kurve.saving.serialize_keras_object(kurve.layers.Dense(2))
        >>> kurve.saving.deserialize_keras_object(config).units
        2
    """
    from kurve.exchange.keras_objects import serialized

    return serialized(obj)


@entry
def deserialize_keras_object(
    config: Any,
    custom_objects: Mapping[str, Any] | None = None,
    safe_mode: bool = True,
) -> Any:
    """Restore an object from the output of Kurve's or Keras's `serialize_keras_object`.

    Args:
        config: the plain data.
        custom_objects: custom classes and functions by name, in addition to registered
            ones.
        safe_mode: True or False; code in a configuration is never run either way.

    Raises:
        ValueError: not such a configuration, or an unknown class in it.

    Example:
        >>> config = {"module": "keras.initializers", "class_name": "Zeros",
        ...           "config": {}, "registered_name": None}
        >>> kurve.saving.deserialize_keras_object(config)((2,))
        array([0., 0.], dtype=float32)
    """
    from kurve.exchange.keras_objects import deserialized

    with registry.custom_objects(custom_objects):
        return deserialized(config)


def restored(
    where: str,
    what: str,
    config: Mapping[str, Any],
    table: Mapping[str, Any],
    base: Any,
    get: Callable[[Any], Any],
    of_function: Callable[[Any], Any] | None = None,
) -> Any:
    """The object from a result of `registry.entry`, or from a configuration as Keras
    writes it.

    Args:
        where, what, table, base, of_function: see `registry.find`.
        get: makes sure that an object of Keras's configuration is of the right kind.

    Raises:
        TypeError, ValueError: see `registry.find`.
    """
    if "module" in config:
        return get(deserialize_keras_object(config))
    cls = registry.find(where, what, config["class_name"], table, base, of_function)
    return cls.from_config(config.get("config") or {})
