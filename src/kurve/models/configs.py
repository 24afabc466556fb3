"""Configurations of functional models: layers and their calls, as Keras writes them.

    {"name": ..., "layers": [{"class_name", "config", "name", "inbound_nodes"}, ...],
     "input_layers": [name, node, tensor] in the structure of the inputs,
     "output_layers": the same of the outputs}

An inbound node is a call: {"args": [...], "kwargs": {...}}, in which a symbolic tensor
stands as {"class_name": "__keras_tensor__", "config": {"shape", "dtype",
"keras_history": [name, node, tensor]}}. Nodes of a layer are counted within the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kurve import layers as layer_classes
from kurve.formulas.calls import FUNCTIONS, recorded
from kurve.formulas.tensor import FunctionCall, KerasTensor, leaves, replaced
from kurve.layers.core import InputLayer
from kurve.training.structure import Structure

if TYPE_CHECKING:
    from kurve.models.model import Model

TENSOR = "__keras_tensor__"
MOST_DEPTH = 32
"""Of structures in a configuration, and of models in models."""


def functional_config(model: Model) -> dict[str, Any]:
    """The configuration of a model of inputs and outputs."""
    structure = model._network.structure
    assert structure is not None
    numbers: dict[int, int] = {}  # of each node, among those of its operation
    counts: dict[int, int] = {}
    calls: dict[int, list[Any]] = {}
    for node in structure.nodes:
        key = id(node.operation)
        numbers[id(node)] = counts.get(key, 0)
        counts[key] = numbers[id(node)] + 1
        calls.setdefault(key, []).append(node)
    for tensor in structure.flat_inputs:  # inputs that no output needs
        numbers.setdefault(id(tensor._keras_history.node), 0)

    def history(tensor: KerasTensor) -> list[Any]:
        made = tensor._keras_history
        return [made.operation.name, numbers[id(made.node)], made.tensor_index]

    def written(leaf: Any) -> Any:
        if not isinstance(leaf, KerasTensor):
            return _argument(leaf)
        config = {
            "shape": list(leaf.shape),
            "dtype": leaf.dtype,
            "keras_history": history(leaf),
        }
        return {"class_name": TENSOR, "config": config}

    entries = []
    for operation in structure.operations:
        nodes = calls.get(id(operation), [])
        entries.append(
            {
                **serialize_operation(operation),
                "name": operation.name,
                "inbound_nodes": [
                    {
                        "args": replaced(list(node.args), written),
                        "kwargs": replaced(node.kwargs, written),
                    }
                    for node in nodes
                    if not node.is_input
                ],
            }
        )
    return {
        **({} if model._network.trainable else {"trainable": False}),
        "name": model.name,
        "layers": entries,
        "input_layers": replaced(structure.inputs, history),
        "output_layers": replaced(structure.outputs, history),
    }


def _argument(value: Any) -> Any:
    """An argument of a call in the types of JSON."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, slice):
        return {
            "class_name": "__slice__",
            "config": {"start": value.start, "stop": value.stop, "step": value.step},
        }
    if value is Ellipsis:
        return {"class_name": "__ellipsis__", "config": {}}
    if hasattr(value, "tolist"):
        return {"class_name": "__array__", "config": {"value": value.tolist()}}
    raise ValueError(
        "[save] an argument of a call must be a number, a string, an array or a "
        f"tensor. Received: {value!r}. Try a layer with that argument."
    )


def serialize_operation(operation: Any) -> dict[str, Any]:
    """Class and configuration of a layer, a model or a function."""
    if isinstance(operation, FunctionCall):
        name = operation.function.__name__
        return {"class_name": "Function", "config": {"function": name}}
    if isinstance(operation, InputLayer):
        shape = operation.given_input_shape
        config = {
            "name": operation.name,
            "shape": None if shape is None else list(shape),
            "dtype": operation.output.dtype,
        }
        return {"class_name": "InputLayer", "config": config}
    if hasattr(operation, "_network"):
        return {
            "class_name": type(operation).__name__,
            "config": operation.get_config(),
        }
    return layer_classes.serialize(operation)


def deserialize_operation(entry: Mapping[str, Any], depth: int = 0) -> Any:
    """The layer, model or function of an entry."""
    if depth > MOST_DEPTH:
        raise ValueError(f"models are nested more than {MOST_DEPTH} deep")
    name, config = entry["class_name"], entry["config"]
    if name == "Function":
        function = config["function"]
        if function not in FUNCTIONS:
            raise ValueError(f"there is no function {function!r} in kurve.ops")
        return FunctionCall(FUNCTIONS[function], entry["name"])
    if name == "InputLayer":
        return InputLayer(config["shape"], name=config["name"])
    if name in ("Model", "Functional"):
        from kurve.models.model import Model

        structure = structure_from(config, depth + 1)
        return Model(
            structure.inputs,
            structure.outputs,
            trainable=config.get("trainable", True),
            name=config["name"],
        )
    if name == "Sequential":
        from kurve.models.sequential import Sequential

        return Sequential.from_config(config)
    return layer_classes.deserialize(entry)


def structure_from(config: Mapping[str, Any], depth: int = 0) -> Structure:
    """The calls of a configuration, made again with new layers.

    Raises:
        ValueError, TypeError, KeyError: it is no configuration of a model: a tensor
            that nobody makes, a cycle, shapes that do not fit.
    """
    operations: dict[str, Any] = {}
    waiting: list[tuple[Any, Mapping[str, Any], int]] = []
    for entry in config["layers"]:
        operation = deserialize_operation(entry, depth)
        if entry["name"] != operation.name or operation.name in operations:
            raise ValueError(f"the name {entry['name']!r} is not that of one layer")
        operations[operation.name] = operation
        for number, call in enumerate(entry["inbound_nodes"]):
            waiting.append((operation, call, number))
    made: dict[tuple[str, int, int], KerasTensor] = {}
    for name, operation in operations.items():
        if isinstance(operation, InputLayer):
            made[name, 0, 0] = operation.output
    done: dict[str, int] = dict.fromkeys(operations, 0)

    def key(place: Any) -> tuple[str, int, int]:
        name, node, tensor = place
        return str(name), int(node), int(tensor)

    # Calls are made as soon as their inputs are there and the calls before them of the
    # same layer: what is left in the end is a cycle, or lacks an input.
    by_input: dict[tuple[str, int, int], list[int]] = {}
    missing: list[int] = []
    ready: list[int] = []
    for index, (_, call, _) in enumerate(waiting):
        needs = {key(place) for place in _places(call)} - set(made)
        missing.append(len(needs))
        for need in needs:
            by_input.setdefault(need, []).append(index)
        if not needs:
            ready.append(index)
    postponed: dict[tuple[str, int], int] = {}
    finished = 0
    while ready:
        index = ready.pop(0)
        operation, call, number = waiting[index]
        if done[operation.name] != number:
            postponed[operation.name, number] = index
            continue
        args, kwargs = _read(call["args"], made, key), _read(call["kwargs"], made, key)
        if isinstance(operation, FunctionCall):
            out = recorded(operation, args, kwargs)
        else:
            out = operation(*args, **kwargs)
        finished += 1
        done[operation.name] = number + 1
        if (operation.name, number + 1) in postponed:
            ready.append(postponed.pop((operation.name, number + 1)))
        for position, tensor in enumerate(leaves(out)):
            place = (operation.name, number, position)
            made[place] = tensor
            for other in by_input.get(place, ()):
                missing[other] -= 1
                if not missing[other]:
                    ready.append(other)
    if finished < len(waiting):
        raise ValueError(
            f"{len(waiting) - finished} calls of layers need a tensor that nobody makes"
        )

    def found(structure: Any) -> Any:
        if isinstance(structure, Mapping):
            return {name: found(part) for name, part in structure.items()}
        if len(structure) == 3 and isinstance(structure[0], str):
            return made[key(structure)]
        return [found(part) for part in structure]

    return Structure(found(config["input_layers"]), found(config["output_layers"]))


def _places(part: Any) -> Any:
    """The histories of all tensors in the arguments of a call."""
    if isinstance(part, Mapping):
        if part.get("class_name") == TENSOR:
            yield part["config"]["keras_history"]
            return
        for inner in part.values():
            yield from _places(inner)
    elif isinstance(part, (list, tuple)):
        for inner in part:
            yield from _places(inner)


def _read(part: Any, made: Mapping[Any, Any], key: Any) -> Any:
    """The arguments of a call, with tensors in their places."""
    if isinstance(part, Mapping):
        name = part.get("class_name")
        if name == TENSOR:
            return made[key(part["config"]["keras_history"])]
        if name == "__slice__":
            config = part["config"]
            return slice(config["start"], config["stop"], config["step"])
        if name == "__ellipsis__":
            return Ellipsis
        if name == "__array__":
            import numpy as np

            return np.asarray(part["config"]["value"], np.float32)
        return {str(k): _read(inner, made, key) for k, inner in part.items()}
    if isinstance(part, (list, tuple)):
        parts = [_read(inner, made, key) for inner in part]
        return tuple(parts) if isinstance(part, tuple) else parts
    return part
