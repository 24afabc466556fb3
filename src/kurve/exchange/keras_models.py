"""Kurve's layers from Keras's configuration of a model; `kurve.exchange.keras_entries`
writes them.

A layer's class and arguments have the same names in both, so one rule is enough:
arguments of Kurve's class are passed on (activations, initializers and regularizers are
converted), all others must have a value without effect. The exceptions are in
`kurve.exchange.keras_names`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kurve import layers as kurve_layers
from kurve.core.arguments import is_count
from kurve.exchange import keras_parts as parts
from kurve.exchange.keras_names import (
    IGNORED_OF_LAYER,
    IGNORED_OF_LAYERS,
    INNER_LAYERS,
    KURVE_LAYERS,
    LAYER_DEFAULTS,
)
from kurve.exchange.keras_own import made
from kurve.layers import Layer

MAX_LAYERS = 10_000

SampleShape = tuple[int | None, ...]


@dataclass(frozen=True)
class Described:
    """A model as described in a file.

    input_shape: shape of one sample, if the file has it; unknown sizes are None.
    layers: the unbuilt layers, each with its Keras class.
    """

    name: str
    input_shape: SampleShape | None
    layers: list[Layer]
    classes: list[str]


# -------------------------------------------------------------------- reading


def model_from(value: Any) -> Described:
    """The layers in a model's configuration.

    Raises:
        ValueError, TypeError, KeyError: it is corrupt, or not a stack of layers
            available in Kurve; the message names the layer.
    """
    config, entries = _entries(value)
    shape = sample_shape(config.get("build_input_shape"))
    rows: int | None = None
    layers: list[Layer] = []
    classes: list[str] = []
    for i, entry in enumerate(entries):
        name = entry["config"].get("name") if _has_config(entry) else None
        what = f"layers[{i}] ({_class_of(entry)} {name!r})"
        cls, arguments = parts.opened(entry, what)
        classes.append(cls)
        found = parts.own(entry)
        if cls == "InputLayer" and found is None and i == 0:
            shape = merged(shape_of_input(arguments, what), shape)
            rows = rows_of(arguments)
            continue
        if not layers:
            shape = merged(shape_of_first(entry, arguments), shape)
            rows = rows or rows_of(arguments)
        layers.append(
            with_rows(
                layer_from(cls, arguments, what, found, entry.get("build_config")), rows
            )
        )
    name = config.get("name", "sequential")
    if not isinstance(name, str):
        raise ValueError("the model's name is not text")
    return Described(name, shape, layers, classes)


def _entries(value: Any) -> tuple[dict[str, Any], list[Any]]:
    """The configuration of a model and those of its layers, in order."""
    kind, config = parts.opened(value, "the model")
    if kind == "Sequential":
        entries = _list(config.get("layers"), "layers")
    elif kind in ("Functional", "Model"):
        entries = stack_of(config)
    else:
        raise ValueError(
            f"the model is a {kind}; only a Sequential or layers in one stack can be "
            "read"
        )
    if len(entries) > MAX_LAYERS:
        raise ValueError(f"the model has more than {MAX_LAYERS} layers")
    return config, entries


def merged(a: SampleShape | None, b: SampleShape | None) -> SampleShape | None:
    """A shape merged from two sources; the first takes precedence."""
    if a is None or b is None or len(a) != len(b):
        return b if a is None else a
    return tuple(y if x is None else x for x, y in zip(a, b, strict=True))


def rows_of(arguments: Mapping[str, Any]) -> int | None:
    """The batch size according to an input or the first layer; None for any."""
    for key in ("batch_shape", "batch_input_shape"):
        shape = arguments.get(key)
        if isinstance(shape, list) and shape and is_count(shape[0]):
            return int(shape[0])
    return None


def with_rows(layer: Layer, rows: int | None) -> Layer:
    """The layer, with a fixed batch size if it is stateful."""
    if rows is not None and getattr(layer, "stateful", False):
        for part in (layer, *layer.parts):
            part.given_batch_size = rows
    return layer


def layer_from(
    cls: str,
    arguments: dict[str, Any],
    what: str,
    found: Any = None,
    built: Any = None,
) -> Layer:
    """One layer. Changes `arguments`.

    Args:
        found: its entry in `custom_objects`.
        built: how it was built, for a class that reads it.
    """
    _check_dtype(arguments.pop("dtype", None), what)
    if found is not None:
        mine: Layer = made(found, {"config": arguments}, what, Layer)
        reads = type(mine).build_from_config is not Layer.build_from_config
        if reads and built is not None:
            mine.build_from_config(built)
        return mine
    common = {
        "name": arguments.pop("name", None),
        "trainable": arguments.pop("trainable", True),
    }
    if not isinstance(common["name"], str | None):
        raise ValueError(f"the name of {what} is not text")
    if not isinstance(common["trainable"], bool):
        raise ValueError(f"{what} has trainable={common['trainable']!r}")
    for key in (*IGNORED_OF_LAYERS, *IGNORED_OF_LAYER.get(cls, ())):
        arguments.pop(key, None)
    if arguments.get("vocabulary") is not None:
        arguments.pop("vocabulary_size", None)  # how many words it has
    if arguments.get("bin_boundaries") is not None:
        arguments.pop("num_bins", None)  # for those that were learnt
    if cls in KURVE_LAYERS or cls not in kurve_layers.CLASSES:
        raise ValueError(f"{what}: Kurve does not have this class of layer")
    layer_class = kurve_layers.CLASSES[cls]
    known = parts.arguments_of(layer_class) | {*layer_class.constrained.values()}
    if type(arguments.get("seed")) is not int:  # such as a Keras 3 object
        arguments.pop("seed", None)
    parts.drop_defaults(arguments, what, LAYER_DEFAULTS, known)
    for key, value in arguments.items():
        arguments[key] = _argument_from(key, value, f"{what}: {key}")
    try:
        return layer_class(**arguments, **common)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise ValueError(f"{what}: {error}") from error


def _argument_from(key: str, value: Any, what: str) -> Any:
    converter = parts.converter_of(key)
    if converter is not None:
        return converter.read(value, what)
    if key in INNER_LAYERS and value is not None:
        if isinstance(value, list):
            return [inner_layer(part, what) for part in value]
        return inner_layer(value, what)
    value = parts.unwrapped(value)
    if isinstance(value, Mapping):
        raise ValueError(f"{what} is an object, not a number or text")
    if key == "axis" and isinstance(value, list) and len(value) == 1:
        return value[0]
    return _tuples(value)


def inner_layer(value: Any, what: str) -> Any:
    """The layer or model wrapped by a layer."""
    from kurve.exchange.keras_graphs import MODELS, model_of

    cls, arguments = parts.opened(value, what)
    found = parts.own(value)
    if cls in MODELS and found is None:
        return model_of(value)[0]
    return layer_from(cls, arguments, what, found, value.get("build_config"))


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _check_dtype(value: Any, what: str) -> None:
    """Reject a layer that does not compute in float32."""
    if isinstance(value, Mapping):
        value = value.get("config")
        value = value.get("name") if isinstance(value, Mapping) else value
    if value not in (None, "float32"):
        raise ValueError(f"{what} computes in {value!r}; Kurve in float32")


def stack_of(config: Mapping[str, Any]) -> list[Any]:
    """The layers of a functional model in which each takes the output of the previous
    one.

    Raises:
        ValueError: it has branches, several inputs or outputs, or shared layers.
    """
    entries = _list(config.get("layers"), "layers")
    after: dict[str, Any] = {}
    first = None
    for entry in entries:
        name = entry.get("name") if isinstance(entry, Mapping) else None
        nodes = _list(entry.get("inbound_nodes"), "inbound_nodes") if name else []
        if not isinstance(name, str):
            raise ValueError("a layer of the functional model has no name")
        if not nodes and first is None:
            first = entry
            continue
        source = _source(nodes[0]) if len(nodes) == 1 else None
        if source is None or source in after:
            raise ValueError(
                f"the layer {name!r} of the functional model does not follow one other "
                "layer; only layers in one stack can be read"
            )
        after[source] = entry
    stack: list[Any] = []
    here = first
    while here is not None and len(stack) <= len(entries):
        stack.append(here)
        here = after.get(here["name"])
    outputs = config.get("output_layers")
    while isinstance(outputs, list) and len(outputs) == 1:
        outputs = outputs[0]
    ends = isinstance(outputs, list) and stack and outputs[:1] == [stack[-1]["name"]]
    if len(stack) != len(entries) or not ends:
        raise ValueError("the functional model is not one stack of layers")
    return stack


def _source(node: Any) -> str | None:
    """Name of the layer that provides a layer's only input; None otherwise."""
    if isinstance(node, Mapping):
        args, options = node.get("args"), node.get("kwargs") or {}
        if not isinstance(args, list) or len(args) != 1:
            return None
        if not isinstance(args[0], Mapping) or not isinstance(options, Mapping):
            return None
        if any(value is not None for value in options.values()):
            return None
        config = args[0].get("config")
        place = config.get("keras_history") if isinstance(config, Mapping) else None
    else:
        place = node[0] if isinstance(node, list) and len(node) == 1 else None
        if isinstance(place, list) and len(place) == 4 and not place[3]:
            place = place[:3]
    if not isinstance(place, list) or len(place) != 3 or place[1:] != [0, 0]:
        return None
    return place[0] if isinstance(place[0], str) else None


def shape_of_first(entry: Any, arguments: Mapping[str, Any]) -> SampleShape | None:
    """Shape of one sample according to the first layer."""
    built = entry.get("build_config")
    value = built.get("input_shape") if isinstance(built, Mapping) else None
    shape = sample_shape(value)
    for key in ("batch_input_shape", "batch_shape"):
        shape = merged(sample_shape(arguments.get(key)), shape)
    return shape


INPUT_DTYPES = ("float32", "uint8", "float64", "int32", "int64", "string")


def shape_of_input(
    arguments: Mapping[str, Any], what: str, scalars: bool = False
) -> SampleShape:
    """The sample shape of an InputLayer.

    Args:
        scalars: whether a sample can be a scalar.
    """
    if scalars and arguments.get("batch_shape") == [None]:
        return ()
    dtype = arguments.get("dtype")
    if dtype not in (None, *INPUT_DTYPES):
        raise ValueError(f"{what} takes {dtype!r}; Kurve takes numbers or texts")
    if arguments.get("ragged"):
        raise ValueError(f"{what} has ragged=True, which Kurve does not have")
    shape = shape_of_first({}, arguments)
    if shape is None:
        raise ValueError(f"{what} does not have the shape of a sample")
    return shape


def sample_shape(value: Any) -> SampleShape | None:
    """The shape without its first axis; None for unknown sizes."""
    if value is None:
        return None
    if not isinstance(value, list) or not value:
        raise ValueError(f"the input's shape is {value!r}")
    for size in value[1:]:
        if size is not None and (type(size) is not int or not 0 < size < 2**40):
            raise ValueError(f"the input's shape is {value!r}")
    return tuple(value[1:])


def layers_of(config: Mapping[str, Any]) -> list[Any]:
    """The configurations of a model's layers."""
    entries = _list(config.get("layers"), "layers")
    if len(entries) > MAX_LAYERS:
        raise ValueError(f"the model has more than {MAX_LAYERS} layers")
    return entries


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{what} is not a list")
    return value


def _has_config(entry: Any) -> bool:
    return isinstance(entry, Mapping) and isinstance(entry.get("config"), Mapping)


def _class_of(entry: Any) -> Any:
    return entry.get("class_name") if isinstance(entry, Mapping) else "?"
