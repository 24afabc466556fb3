"""Keras's functional graphs: configurations of models with layers called in any order,
and where their weights are stored.

A graph's configuration in Keras is the same as Kurve's (see `kurve.models.configs`)
except for the classes: each function of `keras.ops` is an operation with its own class,
`expand_dims(x, 1)` is
{"module": "keras.src.ops.numpy", "class_name": "ExpandDims", "config": {"axis": 1}}
with x as the argument of its call. Keras 2 writes a call as [[layer, node, tensor,
options], ...].
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from kurve import layers as kurve_layers
from kurve.core import registry
from kurve.core.container.errors import ModelFileError
from kurve.core.inside import inner_network, is_model, network_of
from kurve.exchange import keras_parts as parts
from kurve.exchange.keras_models import (
    check_name,
    layer_entry,
    layer_from,
    layers_of,
    merged,
    not_in_keras,
    rows_of,
    sample_shape,
    shape_of_first,
    shape_of_input,
    stack_of,
    with_rows,
)
from kurve.exchange.keras_own import class_entry, made
from kurve.formulas.public import FUNCTIONS
from kurve.formulas.tensor import FunctionCall, KerasTensor, leaves, replaced
from kurve.layers.base import Layer, Variable
from kurve.layers.core import InputLayer
from kurve.models import Model, configs
from kurve.models.fields import Field

MODELS = ("Sequential", "Functional", "Model")
MOST_DEPTH = 32

MODULES = {
    "core": "cast saturate_cast scatter scatter_update slice slice_update "
    "stop_gradient unstack",
    "math": "erf erfc erfinv in_top_k logdet logsumexp rsqrt segment_max segment_min "
    "segment_prod segment_sum top_k fft fft2 ifft2 irfft rfft stft",
    "linalg": "cholesky det inv norm pinv solve solve_triangular",
    "image": "crop_images extract_patches pad_images resize",
    "nn": "adaptive_average_pool adaptive_max_pool depth_to_space fold psnr "
    "space_to_depth unfold average_pool binary_crossentropy "
    "categorical_crossentropy celu conv "
    "conv_transpose depthwise_conv dot_product_attention elu gelu glu hard_shrink "
    "hard_sigmoid hard_silu hard_tanh leaky_relu log_sigmoid log_softmax max_pool "
    "moments multi_hot normalize one_hot polar relu relu6 selu separable_conv sigmoid "
    "silu soft_shrink softmax softplus softsign sparse_categorical_crossentropy "
    "sparse_plus sparse_sigmoid sparsemax squareplus tanh_shrink threshold ctc_loss",
}
"""Keras's modules of functions outside keras.src.ops.numpy."""

CALLED = frozenset(
    {
        "x",
        "x1",
        "x2",
        "xs",
        "condition",
        "indices",
        "key",
        "operands",
        "constant_values",
        "fill_value",
        "target",
        "output",
        "inputs",
        "variable",
        "weights",
        "kernel",
        "depthwise_kernel",
        "pointwise_kernel",
        "a",
        "images",
        "query",
        "value",
        "bias",
        "mask",
        "scale",
        "targets",
        "predictions",
        "rtol",
        "atol",
        "condlist",
        "choicelist",
        "default",
        "start_indices",
        "updates",
        "data",
        "segment_ids",
        "target_length",
        "output_length",
    }
)
"""Parameters of functions that are call arguments in Keras; the others are in the
operation's configuration."""


BY_NAME = frozenset(
    {"constant_values", "weights", "bias", "mask", "scale", "rtol", "atol", "default"}
)
"""Those of them that follow optional ones."""

NO_OPERATIONS = frozenset(
    {
        "batch_normalization",
        "layer_normalization",
        "rms_normalization",
        "categorical",
        "cdist",
        "dropout",
        "shuffle",
        "mask_of",
        "rearrange",
        "rgb_to_grayscale",
    }
)
"""Functions without a Keras operation that takes the same arguments."""


INITIALS = ("fft", "fft2", "ifft2", "irfft", "psnr", "rfft", "stft")
"""Functions whose class has their name in capitals."""


@functools.cache
def class_of(function: str) -> tuple[str, str]:
    """Keras's module and class of a function."""
    module = next((m for m, names in MODULES.items() if function in names.split()), "")
    name = "".join(part.capitalize() for part in function.split("_"))
    name = function.upper() if function in INITIALS else name.replace("Ctc", "CTC")
    return f"keras.src.ops.{module or 'numpy'}", name


@dataclass
class Part:
    """A layer in a model's file.

    cls:    the Keras class
    inside: the layers of a model
    layer:  the layer itself, once it exists
    whole:  whether it is the model itself, and a subclassed one
    """

    cls: str
    name: str
    inside: list[Part] | None = None
    layer: Any = None
    whole: bool = False

    def variables(self) -> list[Variable]:
        """The weights of a plain layer: trainable ones, then the others."""
        return keras_order(self.layer)


def keras_order(layer: Layer) -> list[Variable]:
    """A layer's weights in Keras's order: trainable ones, then the others."""
    return sorted(layer.weights, key=lambda variable: variable.role != "param")


def is_own_model(layer: Any) -> bool:
    """Whether it is a subclassed model."""
    return is_model(layer) and network_of(layer).build_for is not None


def old_order(part: Part) -> list[Variable]:
    """The weights of a layer or model in the order of .h5 files: trainable ones
    first."""
    trained: dict[int, Variable] = {}
    others: dict[int, Variable] = {}

    def visit(part: Part, trainable: bool) -> None:
        trainable = trainable and part.layer.trainable
        for inner in part.inside or ():
            visit(inner, trainable)
        if part.inside is None:
            for variable in part.variables():
                learns = trainable and variable.role == "param"
                (trained if learns else others).setdefault(id(variable), variable)

    if part.inside is None:
        return part.variables()
    visit(part, True)
    return [*trained.values(), *others.values()]


def tree_of(model: Any) -> list[Part]:
    """The layers of a model, in Keras's order."""
    network = network_of(model)
    if is_own_model(model):
        return [Part(type(model).__name__, model.name, None, model, whole=True)]
    operations = network.layers
    if network.structure is not None:
        operations = network.structure.operations
    tree = []
    for operation in operations:
        if isinstance(operation, FunctionCall):
            continue
        cls, inside = type(operation).__name__, None
        inner = inner_network(operation)
        if inner is not None and not is_own_model(operation):
            cls = "Sequential" if inner.structure is None else "Functional"
            inside = tree_of(operation)
        tree.append(Part(cls, operation.name, inside, operation))
    return tree


def attach(tree: list[Part], model: Any) -> list[Part]:
    """Find the layer of each part of a file in the model created from it."""
    by_name = {part.name: part for part in tree_of(model)}
    for part in tree:
        found = by_name.get(part.name)
        if found is None:
            raise ValueError(f"the layer {part.name!r} leads to no output")
        part.layer = found.layer
        if part.inside is not None:
            attach(part.inside, found.layer)
    return tree


# ---------------------------------------------------------------- reading


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
        model = configs.model_from(Field("", "", described))
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
    if depth > MOST_DEPTH:
        raise ValueError(f"models are nested deeper than {MOST_DEPTH}")
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
        described, part = _layer(cls, arguments, inner, depth, found, rows)
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
    rows: int | None = None,
) -> tuple[dict[str, Any], Part]:
    """Kurve's configuration of a layer or model, and the layer in the file."""
    if found is not None:
        mine = layer_from(cls, arguments, f"{what} ({cls})", found)
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
            described, part = _layer(cls, arguments, inner, depth, found, rows)
            tree.append(part)
            if found is not None:  # its configuration can lack a name
                described["config"].name = part.name = name
        old = old or any(not isinstance(node, Mapping) for node in nodes)
        calls = [_call(node, called, options, inner) for node in nodes]
        entries.append({**described, "name": name, "inbound_nodes": calls})
    ends = config.get("input_layers"), config.get("output_layers")
    if old:
        _count_from_zero(entries, ends)
        ends = _single(ends[0]), _single(ends[1])
    return {"layers": entries, "input_layers": ends[0], "output_layers": ends[1]}, tree


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
    if given.get("training") is False:  # the default, which the model's mode replaces
        del given["training"]
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


# ---------------------------------------------------------------- writing


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
    """Whether an entry of a graph is a function of `keras.ops`. In .h5 files no module
    tells; layers have more keys in their configuration."""
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
