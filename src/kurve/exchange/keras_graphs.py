"""Reading of Keras's functional graphs: configurations of models with layers called in
any order.

A graph's configuration in Keras is the same as Kurve's (see `kurve.models.configs`)
except for the classes: each function of `keras.ops` is an operation with its own class,
see `kurve.exchange.keras_functions`. Keras 2 writes a call as [[layer, node, tensor,
options], ...].
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from kurve import layers as kurve_layers
from kurve.core import registry
from kurve.core.container.errors import ModelFileError
from kurve.core.inside import network_of
from kurve.exchange import keras_parts as parts
from kurve.exchange.keras_functions import NO_OPERATIONS, class_of
from kurve.exchange.keras_models import (
    layer_from,
    layers_of,
    merged,
    rows_of,
    sample_shape,
    shape_of_first,
    shape_of_input,
    stack_of,
    with_rows,
)
from kurve.exchange.keras_own import made
from kurve.exchange.keras_tree import Part, attach, is_own_model, tree_of
from kurve.formulas.public import FUNCTIONS
from kurve.formulas.tensor import KerasTensor, leaves
from kurve.models import Model, config_reader, configs
from kurve.models.fields import Field

MODELS = ("Sequential", "Functional", "Model")
MAX_DEPTH = 32


def model_of(value: Any) -> tuple[Any, list[Part]]:
    """The model described by a Keras configuration, without allocated weights, and its
    layers as in the file.

    Raises:
        ValueError, TypeError, KeyError: it is corrupt, or contains something Kurve does
            not have; the message names it.
    """
    kind, config = parts.opened(value, "the model")
    found = parts.own(value)
    if found is not None:
        return _own_model(found, value)
    if kind not in MODELS:
        raise ValueError(f"the model is a {kind}, a class that Kurve does not have")
    described, tree = _model_config(kind, config, "the model", 0)
    try:
        model = config_reader.model_from(Field("", "", described))
    except ModelFileError as error:
        raise ValueError(f"{error.field}: {error.reason}") from error
    return model, attach(tree, model)


def _own_model(found: Any, value: Mapping[str, Any]) -> tuple[Any, list[Part]]:
    """A subclassed model, built for the input shapes in the file."""
    built = value.get("build_config")
    shapes = built.get("input_shape") if isinstance(built, Mapping) else None
    if shapes is None:
        raise ValueError(
            "the file does not have the shapes of the model's inputs. Try saving it "
            "after a call, or load_weights(path) on a model that was called"
        )
    config = {k: v for k, v in parts.opened(value, "it")[1].items() if k != "dtype"}
    model = made(found, {"config": config}, "the model", Model)
    if not is_own_model(model):
        return model, tree_of(model)
    build = network_of(model).build_for
    assert build is not None
    build(_shapes(shapes))
    return model, tree_of(model)


def _shapes(value: Any) -> Any:
    """Batch shapes as symbolic tensors, in the same structure."""
    if isinstance(value, Mapping):
        return {str(name): _shapes(shape) for name, shape in value.items()}
    if isinstance(value, list) and any(isinstance(v, (list, Mapping)) for v in value):
        return [_shapes(shape) for shape in value]
    return KerasTensor((None, *(sample_shape(value) or ())))


def _model_config(
    kind: str, config: dict[str, Any], what: str, depth: int
) -> tuple[dict[str, Any], list[Part]]:
    """Kurve's configuration of a model, and its layers."""
    if depth > MAX_DEPTH:
        raise ValueError(f"models are nested deeper than {MAX_DEPTH}")
    name, trainable = config.get("name"), config.get("trainable", True)
    if not isinstance(name, str) or not isinstance(trainable, bool):
        raise ValueError(f"{what} has no name, or trainable={trainable!r}")
    flags = {} if trainable else {"trainable": False}
    read = _stack if kind == "Sequential" else _graph
    described, tree = read(config, what, depth)
    return {**flags, "name": name, **described}, tree


def _stack(
    config: dict[str, Any], what: str, depth: int
) -> tuple[dict[str, Any], list[Part]]:
    shape = sample_shape(config.get("build_input_shape"))
    rows: int | None = None
    entries: list[Any] = []
    tree: list[Part] = []
    for i, entry in enumerate(layers_of(config)):
        inner = f"layers[{i}] of {what}"
        cls, arguments = parts.opened(entry, inner)
        found = parts.own(entry)
        if cls == "InputLayer" and found is None and i == 0:
            shape = merged(shape_of_input(arguments, inner, scalars=True), shape)
            rows = rows_of(arguments)
            continue
        if not entries:
            shape = merged(shape_of_first(entry, arguments), shape)
            rows = rows or rows_of(arguments)
        described, part = _layer(
            cls, arguments, inner, depth, found, rows, entry.get("build_config")
        )
        entries.append(described)
        tree.append(part)
    if shape is not None and None in shape:
        raise ValueError(f"{what} does not have the shape of a sample, but {shape}")
    given = None if shape is None else list(shape)
    return {"input_shape": given, "layers": entries}, tree


def _layer(
    cls: str,
    arguments: dict[str, Any],
    what: str,
    depth: int,
    found: Any,
    rows: int | None,
    built: Any,
) -> tuple[dict[str, Any], Part]:
    """Kurve's configuration of a layer or model, and the layer in the file."""
    if found is not None:
        mine = layer_from(cls, arguments, f"{what} ({cls})", found, built)
        described = {"class_name": registry.note(cls, found), "config": mine}
        return described, Part(cls, mine.name)
    if cls in MODELS:
        config, inside = _model_config(cls, arguments, what, depth + 1)
        kind = "Sequential" if cls == "Sequential" else "Functional"
        part = Part(kind, config["name"], inside)
        return {"class_name": kind, "config": config}, part
    layer = with_rows(layer_from(cls, arguments, what), rows)
    return kurve_layers.serialize(layer), Part(cls, layer.name)


def _graph(
    config: dict[str, Any], what: str, depth: int
) -> tuple[dict[str, Any], list[Part]]:
    entries: list[dict[str, Any]] = []
    tree: list[Part] = []
    old = False
    rows: int | None = None
    config = _without_copies(config)
    for i, entry in enumerate(layers_of(config)):
        inner = f"layers[{i}] of {what}"
        cls, arguments = parts.opened(entry, inner)
        found = parts.own(entry)
        name, nodes = entry.get("name"), entry.get("inbound_nodes")
        if not isinstance(name, str) or not isinstance(nodes, list):
            raise ValueError(f"{inner} has no name or no inbound_nodes")
        options: dict[str, Any] = {}
        called = ""
        if cls == "InputLayer" and found is None:
            texts = arguments.get("dtype") == "string"
            shape = shape_of_input(arguments, inner, scalars=True)
            rows = rows or rows_of(arguments)
            described: dict[str, Any] = {"name": name, "shape": list(shape)}
            dtype = "string" if texts else "float32"
            described = {"class_name": cls, "config": {**described, "dtype": dtype}}
            tree.append(Part(cls, name))
        elif found is None and is_function(entry):
            called, options = _function(cls, arguments, inner)
            described = {"class_name": "Function", "config": {"function": called}}
        else:
            described, part = _layer(
                cls, arguments, inner, depth, found, rows, entry.get("build_config")
            )
            tree.append(part)
            if found is not None:  # its configuration can lack a name
                described["config"].name = part.name = name
        old = old or any(not isinstance(node, Mapping) for node in nodes)
        calls = [_call(node, called, options, inner) for node in nodes]
        if cls not in OPEN_MODE:
            for call in calls:
                if call["kwargs"].get("training") is False:
                    del call["kwargs"]["training"]
        entries.append({**described, "name": name, "inbound_nodes": calls})
    ends = config.get("input_layers"), config.get("output_layers")
    if old:
        _count_from_zero(entries, ends)
        ends = _single(ends[0]), _single(ends[1])
    return {"layers": entries, "input_layers": ends[0], "output_layers": ends[1]}, tree


def _copies(entry: Any) -> bool:
    """Whether it is `ops.convert_to_tensor` without a type, which returns a tensor
    unchanged. Keras calls it on masks."""
    if not isinstance(entry, Mapping) or entry.get("class_name") != "ConvertToTensor":
        return False
    found = entry.get("config")
    return not isinstance(found, Mapping) or found.get("dtype") is None


def _without_copies(config: dict[str, Any]) -> dict[str, Any]:
    """The graph without these operations: others read what they would copy."""
    copies = {e.get("name"): e for e in layers_of(config) if _copies(e)}

    def source(place: Any) -> Any:
        for _ in copies:
            if place[0] not in copies:
                break
            calls = copies[place[0]].get("inbound_nodes")
            node = calls[place[1]] if isinstance(calls, list) else None
            (place,) = _histories(node["args"] if isinstance(node, Mapping) else node)
        return place

    def replaced(value: Any) -> Any:
        if isinstance(value, list):
            return [replaced(part) for part in value]
        if not isinstance(value, Mapping):
            return value
        if "keras_history" in value:
            return {**value, "keras_history": source(value["keras_history"])}
        return {key: replaced(part) for key, part in value.items()}

    def ended(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: ended(part) for key, part in value.items()}
        if not isinstance(value, list):
            return value
        if len(value) == 3 and isinstance(value[0], str):
            return source(value)
        return [ended(part) for part in value]

    if not copies:
        return config
    kept = [
        {**entry, "inbound_nodes": replaced(entry.get("inbound_nodes"))}
        for entry in layers_of(config)
        if entry.get("name") not in copies
    ]
    return {
        **config,
        "layers": kept,
        "output_layers": ended(config.get("output_layers")),
    }


OPEN_MODE = ("BatchNormalization", "Sequential", "Functional", "Model")
"""Classes for whose calls Keras writes training=False only if the user said so; for
others it is also the default, which the mode of the model replaces."""


def _function(
    cls: str, arguments: dict[str, Any], what: str
) -> tuple[str, dict[str, Any]]:
    """The name of an operation's function, and the arguments in its configuration."""
    names = {class_of(n)[1]: n for n in FUNCTIONS if n not in NO_OPERATIONS}
    if cls not in names:
        raise ValueError(f"{what} is the operation {cls}, which Kurve does not have")
    function = names[cls]
    arguments.pop("name", None)
    known = set(inspect.signature(FUNCTIONS[function]).parameters)
    parts.drop_defaults(arguments, what, {"sparse": (False,)}, known)
    options = {key: _value(value, what) for key, value in arguments.items()}
    return function, {k: v for k, v in options.items() if v is not None}


def _call(
    node: Any, function: str, options: Mapping[str, Any], what: str
) -> dict[str, Any]:
    """Kurve's configuration of a call."""
    if isinstance(node, list):
        return {"args": [_old_tensors(node, what)], "kwargs": dict(options)}
    if not isinstance(node, Mapping) or set(node) != {"args", "kwargs"}:
        raise ValueError(f"{what} has a call without args and kwargs")
    if not isinstance(node["args"], list) or not isinstance(node["kwargs"], Mapping):
        raise ValueError(f"{what} has a call whose arguments are no list")
    args = [_value(arg, what) for arg in node["args"]]
    if function == "get_item" and len(args) > 1 and isinstance(args[1], list):
        args[1] = {"class_name": configs.TUPLE, "items": args[1]}
    if function == "einsum":
        return {"args": [options["subscripts"], *args], "kwargs": {}}
    given = {k: _value(v, what) for k, v in node["kwargs"].items()}
    given = {k: v for k, v in given.items() if not _is_none(v)}
    return {"args": args, "kwargs": {**given, **options}}


def _is_none(value: Any) -> bool:
    """Whether it contains only None, such as a mask for each input."""
    return all(leaf is None for leaf in leaves(value))


def _value(value: Any, what: str) -> Any:
    """A call argument."""
    if isinstance(value, list):
        return [_value(part, what) for part in value]
    if not isinstance(value, Mapping):
        return value
    name, config = value.get("class_name"), value.get("config")
    if not isinstance(name, str):
        return {key: _value(part, what) for key, part in value.items()}
    if name == configs.TENSOR and isinstance(config, Mapping):
        keys = ("shape", "dtype", "keras_history")
        return {"class_name": name, "config": {key: config.get(key) for key in keys}}
    if name in ("__slice__", "__ellipsis__") and isinstance(config, Mapping):
        return {"class_name": name, "config": dict(config)}
    if name == "__tuple__" and isinstance(value.get("items"), list):
        return [_value(part, what) for part in value["items"]]
    if name == "__numpy__" and isinstance(config, Mapping):
        return {"class_name": "__array__", "config": {"value": config.get("value")}}
    raise ValueError(f"{what} is called with a {name[:80]}, which Kurve cannot read")


def _old_tensors(node: list[Any], what: str) -> Any:
    """The inputs of a call as written by Keras 2."""
    tensors = []
    for place in node:
        if not isinstance(place, list) or len(place) not in (3, 4):
            raise ValueError(f"{what} has a call that is no list of tensors")
        if len(place) == 4 and not _is_none(place[3]):
            raise ValueError(f"{what} is called with {str(place[3])[:80]}")
        config = {"shape": [], "dtype": "float32", "keras_history": place[:3]}
        tensors.append({"class_name": configs.TENSOR, "config": config})
    return tensors[0] if len(tensors) == 1 else tensors


def _count_from_zero(entries: list[dict[str, Any]], ends: Any) -> None:
    """Renumber calls, which Keras 2 counts from 1, because it calls a model once when
    it is created."""
    used: dict[str, list[list[Any]]] = {}
    for place in _histories([e["inbound_nodes"] for e in entries]):
        used.setdefault(str(place[0]), []).append(place)
    for place in _ends(ends):
        used.setdefault(str(place[0]), []).append(place)
    for entry in entries:
        places = used.get(entry["name"], [])
        if entry["class_name"] not in MODELS or not places:
            continue
        if not all(type(place[1]) is int for place in places):
            raise ValueError(f"{entry['name']!r} has calls that are no numbers")
        last = max(place[1] for place in places)
        if last == len(entry["inbound_nodes"]):
            for place in places:
                place[1] -= 1


def _histories(value: Any) -> Iterator[list[Any]]:
    if isinstance(value, Mapping):
        if "keras_history" in value:
            yield value["keras_history"]
        else:
            for part in value.values():
                yield from _histories(part)
    elif isinstance(value, list):
        for part in value:
            yield from _histories(part)


def _ends(value: Any) -> Iterator[list[Any]]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        if len(value) == 3 and isinstance(value[0], str):
            yield value  # type: ignore[misc]
        else:
            for part in value:
                yield from _ends(part)


def _single(value: Any) -> Any:
    """The element of a one-element list: Keras 2 always writes a list."""
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value


def needs_graph(value: Any) -> bool:
    """Whether a configuration is more than a single stack of plain layers."""
    kind, config = parts.opened(value, "the model")
    if parts.own(value) is not None:
        return True
    if kind not in MODELS:
        return False
    entries = layers_of(config)
    for entry in entries:
        if isinstance(entry, Mapping) and (
            entry.get("class_name") in MODELS
            or is_function(entry)
            or parts.own(entry) is not None
        ):
            return True
    return kind != "Sequential" and not is_stack(config)


def is_function(entry: Mapping[str, Any]) -> bool:
    """Whether an entry of a graph is a function of `keras.ops`. .h5 files have no
    module; there, the configuration of a layer has more keys."""
    if "module" in entry:
        return ".ops." in str(entry["module"])
    config = entry.get("config")
    has_more = not isinstance(config, Mapping) or "trainable" in config
    return not has_more and entry.get("class_name") in {
        class_of(f)[1] for f in FUNCTIONS
    }


def is_stack(config: Mapping[str, Any]) -> bool:
    """Whether a graph is a single stack of layers."""
    try:
        stack_of(config)
    except ValueError:
        return False
    return True
