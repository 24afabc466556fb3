"""Configurations of layers and models as Keras writes them; `keras_models` and
`keras_graphs` of this package read them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kurve import layers as kurve_layers
from kurve.core.arguments import has_lone_surrogate
from kurve.core.inside import is_model, network_of
from kurve.exchange import keras_parts as parts
from kurve.exchange.keras_functions import BY_NAME, CALLED, NO_OPERATIONS, class_of
from kurve.exchange.keras_names import (
    INNER_LAYERS,
    KURVE_LAYERS,
    NOT_WRITTEN,
    OTHER_ATTRIBUTES,
)
from kurve.exchange.keras_own import class_entry, to_keras
from kurve.exchange.keras_tree import is_own_model
from kurve.formulas.tensor import FunctionCall, leaves, replaced
from kurve.layers import Layer
from kurve.layers.core import InputLayer
from kurve.models import Model, configs

MAX_NAME = 512
"""Maximum bytes of a model or layer name when writing."""


def layer_entry(layer: Layer, shape: Sequence[Any]) -> dict[str, Any]:
    """The Keras configuration of a built layer; `shape` is its input shape, or a list
    of several.

    Raises:
        ValueError: Keras does not have it or a layer it contains.
    """
    cls, what = type(layer).__name__, f"the layer {layer.name!r}"
    check_name("the layer", layer.name)
    if cls in KURVE_LAYERS and kurve_layers.CLASSES.get(cls) is type(layer):
        raise not_in_keras(f"{what} is a {cls}")
    if kurve_layers.CLASSES.get(cls) is not type(layer):
        return _own_layer_entry(layer, what)
    left_out = ("input_shape", "batch_size", *NOT_WRITTEN.get(cls, ()))
    dtype = {} if "dtype" in left_out else {"dtype": "float32"}
    config = {k: v for k, v in layer.get_config().items() if k not in left_out}
    if cls == "UpSampling1D":  # a number in Keras, a one-element list here
        config["size"] = config["size"][0]
    try:
        for key in config:
            value = getattr(layer, OTHER_ATTRIBUTES.get((cls, key), key), None)
            config[key] = _argument_entry(key, value, config, what)
    except ValueError as error:
        raise not_in_keras(str(error)) from error
    return {
        **parts.entry("keras.layers", cls, {**config, **dtype}),
        "build_config": {"input_shape": list(shape)},
    }


def _own_layer_entry(layer: Layer, what: str) -> dict[str, Any]:
    """A custom layer. Calling it builds it, so the shape is not needed."""
    config = {k: v for k, v in layer.get_config().items() if k != "input_shape"}
    try:
        entry = class_entry(type(layer), type(layer).__name__, config)
        if type(layer).get_build_config is not Layer.get_build_config:
            entry["build_config"] = to_keras(layer.get_build_config())
        return entry
    except ValueError as error:
        raise not_in_keras(f"{what} has a configuration in which {error}") from error


def check_name(what: str, name: str) -> None:
    """Reject a name that is invalid for an HDF5 group."""
    fine = name not in ("", ".") and not any(c in "/\0" for c in name)
    if not fine or has_lone_surrogate(name) or len(name.encode()) > MAX_NAME:
        shown = repr(name if len(name) <= 60 else f"{name[:57]}...")
        raise not_in_keras(
            f"{what} is called {shown}: empty, a single dot, or with a slash, a zero "
            f"character, a lone surrogate or more than {MAX_NAME} bytes"
        )


def _argument_entry(key: str, value: Any, config: Mapping[str, Any], what: str) -> Any:
    converter = parts.converter_of(key)
    if converter is not None:
        return converter.write(value, what)
    if key in INNER_LAYERS and config[key] is not None:
        if isinstance(config[key], list):
            return [inner_entry(part) for part in value]
        return inner_entry(value)
    return config[key]


def inner_entry(layer: Any) -> dict[str, Any]:
    """The configuration of a layer or model wrapped by a layer."""
    if is_model(layer):
        return model_entry(layer)
    entry = layer_entry(layer, ())
    entry.pop("build_config", None)
    return entry


def not_in_keras(what: str) -> ValueError:
    """The error for anything that Keras's files cannot store."""
    return ValueError(
        f"[save] {what}, which Keras does not have. Try model.save('m.kurve')."
    )


def model_entry(model: Any) -> dict[str, Any]:
    """The Keras configuration of a built model.

    Raises:
        ValueError: something Keras does not have; the message names it.
    """
    check_name("the model", model.name)
    if is_own_model(model):
        return _own_model_entry(model)
    if network_of(model).structure is not None:
        return _graph_entry(model)
    shape = [network_of(model).rows, *model.input_shape[1:]]
    taken = {layer.name for layer in model.layers}
    name, number = "input_layer", 0
    while name in taken:
        name, number = f"input_{number}", number + 1
    batch = {"batch_shape": shape, "dtype": "float32", "sparse": False, "name": name}
    if network_of(model).encodes:
        batch["dtype"] = "string"
    entries = [parts.entry("keras.layers", "InputLayer", batch)]
    input_shape = tuple(shape)
    for layer in model.layers:
        if is_model(layer):
            entries.append(model_entry(layer))
        else:
            entries.append(layer_entry(layer, input_shape))
        input_shape = layer.compute_output_shape(input_shape)
    config = {
        "name": model.name,
        "trainable": model.trainable,
        "dtype": "float32",
        "layers": entries,
        "build_input_shape": shape,
    }
    return {
        **parts.entry("keras", "Sequential", config),
        "build_config": {"input_shape": shape},
    }


def _own_model_entry(model: Any) -> dict[str, Any]:
    """A subclassed model: its class and its input shapes."""
    config = dict(model.get_config())
    if type(model).get_config is Model.get_config:
        config.pop("trainable")
    try:
        entry = class_entry(type(model), type(model).__name__, config)
    except ValueError as error:
        raise not_in_keras(f"the model has a configuration in which {error}") from error
    structure = network_of(model).structure
    if structure is None:
        return entry
    shapes = replaced(structure.inputs, lambda tensor: tensor.shape)
    return {**entry, "build_config": {"input_shape": parts.to_json(shapes)}}


ATTENTION = ("MultiHeadAttention", "GroupQueryAttention")
"""Layers that Keras builds from the shapes of several arguments."""


def _shapes_of(node: Any, shape_of: Callable[[Any], Any]) -> dict[str, Any]:
    """Keras's names and the shapes of all tensors of a call."""
    call = inspect.signature(node.operation.call)
    given = call.bind_partial(*node.args, **node.kwargs).arguments
    return {
        f"{name}_shape": list(shape_of(given[name]))
        for name in ("query", "value", "key")
        if given.get(name) is not None
    }


def _graph_entry(model: Any) -> dict[str, Any]:
    structure = network_of(model).structure
    assert structure is not None
    own = configs.functional_config(model)
    _, calls = configs.calls_of(structure)
    rows = network_of(model).rows

    def shape_of(tensor: Any) -> Any:
        shape = getattr(tensor, "shape", None)
        return shape if shape is None or rows is None else (rows, *shape[1:])

    entries = []
    for operation, described in zip(structure.operations, own["layers"], strict=True):
        nodes = [node for node in calls.get(id(operation), []) if not node.is_input]
        inbound = [
            {"args": _plain(n["args"]), "kwargs": _plain(n["kwargs"])}
            for n in described["inbound_nodes"]
        ]
        if isinstance(operation, FunctionCall):
            entry = _function_entry(operation, described, inbound)
        elif isinstance(operation, InputLayer):
            check_name("the input", operation.name)
            shape = list(shape_of(operation.output))
            batch = {"batch_shape": shape, "sparse": False}
            batch |= {"dtype": operation.output.dtype, "name": operation.name}
            entry = parts.entry("keras.layers", "InputLayer", batch)
        elif is_model(operation):
            entry = model_entry(operation)
        else:
            (args, *_) = nodes[0].args
            entry = layer_entry(operation, replaced(args, shape_of))
            if entry["class_name"] in ATTENTION:
                entry["build_config"] = {"shapes_dict": _shapes_of(nodes[0], shape_of)}
        entries.append({**entry, "name": operation.name, "inbound_nodes": inbound})
    config = {
        "name": model.name,
        "trainable": model.trainable,
        "layers": entries,
        "input_layers": own["input_layers"],
        "output_layers": own["output_layers"],
    }
    return {
        **parts.entry("keras.src.models.functional", "Functional", config),
        "registered_name": "Functional",
        "build_config": {"input_shape": None},
    }


def _function_entry(
    operation: FunctionCall, described: Mapping[str, Any], inbound: list[Any]
) -> dict[str, Any]:
    """The operation of a function. Moves arguments that belong in its configuration
    there."""
    function = operation.function.__name__
    check_name("the function", operation.name)
    if function == "mask_of":
        raise not_in_keras(
            "the model has a mask that was taken from a tensor, by _keras_mask, in the "
            "place of layer.compute_mask(x)"
        )
    if function in NO_OPERATIONS:
        raise not_in_keras(f"{function} is no operation in a graph of Keras's")
    module, cls = class_of(function)
    config: dict[str, Any] = {"name": operation.name}
    signature = inspect.signature(operation.function)
    for call in inbound:
        given = signature.bind(*call["args"], **call["kwargs"]).arguments
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for name, value in given.items():
            if name not in CALLED:
                if _has_tensor(value):
                    raise not_in_keras(
                        f"the function {operation.name!r} has a tensor as {name}"
                    )
                config[name] = value
            elif signature.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL:
                args += value
            elif name in BY_NAME:
                kwargs[name] = value
            else:
                args.append(value)
        call["args"], call["kwargs"] = args, kwargs
    entry = parts.entry(module, cls, config)
    return {**entry, "registered_name": cls}


def _has_tensor(value: Any) -> bool:
    return any(leaf == configs.TENSOR for leaf in leaves(value))


def _plain(value: Any) -> Any:
    """A call argument as Keras writes it."""
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if not isinstance(value, Mapping):
        return value
    name = value.get("class_name")
    if name == configs.TUPLE:
        return _plain(value["items"])
    if name == "__array__":
        array = np.asarray(value["config"]["value"], np.float32)
        config = {"value": array.tolist(), "dtype": "float32"}
        return {"class_name": "__numpy__", "config": config}
    return {key: _plain(part) for key, part in value.items()}
