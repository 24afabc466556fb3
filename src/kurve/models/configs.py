"""Configurations of models: layers and their calls, in Keras's structure.

Sequential:  {"name", "input_shape", "layers": [{"class_name", "config"}, ...]}
Functional:  {"name", "layers": [{"class_name", "config", "name", "inbound_nodes"},
    ...],
           "input_layers": [name, node, tensor] in the structure of the inputs,
           "output_layers": the same for the outputs}

and "trainable": false if so. An inbound node is a call, {"args": [...], "kwargs":
{...}}, in which a symbolic tensor is written as {"class_name": "__keras_tensor__",
"config": {"shape", "dtype", "keras_history": [name, node, tensor]}}, and a tuple as
{"class_name": "__tuple__", "items": [...]}. Nodes of a layer are numbered within the
model. A nested model is a layer of class "Functional" or "Sequential", a function of
`kurve.ops` a layer of class "Function".

`kurve.models.config_reader` makes models from them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from kurve import layers as layer_classes
from kurve.core import registry
from kurve.formulas.tensor import FunctionCall, KerasTensor, replaced
from kurve.layers.core import InputLayer
from kurve.models.body import Body
from kurve.training.structure import Structure

if TYPE_CHECKING:
    from kurve.models.model import Model

TENSOR = "__keras_tensor__"
TUPLE = "__tuple__"


def functional_config(model: Model) -> dict[str, Any]:
    """The configuration of a functional model."""
    structure = model._network.structure
    assert structure is not None
    numbers, calls = calls_of(structure)

    def history(tensor: KerasTensor) -> list[Any]:
        made = tensor.history
        return [made.operation.name, numbers[id(made.node)], made.tensor_index]

    def written(leaf: Any) -> Any:
        if not isinstance(leaf, KerasTensor):
            return written_argument(leaf)
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
                        "args": [_written(arg, written) for arg in node.args],
                        "kwargs": _written(node.kwargs, written),
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


def _written(part: Any, leaf: Callable[[Any], Any]) -> Any:
    """Arguments of a call as JSON types."""
    if isinstance(part, Mapping):
        return {key: _written(inner, leaf) for key, inner in part.items()}
    if not isinstance(part, (list, tuple)):
        return leaf(part)
    items = [_written(inner, leaf) for inner in part]
    return {"class_name": TUPLE, "items": items} if isinstance(part, tuple) else items


def calls_of(structure: Structure) -> tuple[dict[int, int], dict[int, list[Any]]]:
    """The index of each node among those of its operation, by id; and the nodes of each
    operation, by the operation's id."""
    numbers: dict[int, int] = {}
    calls: dict[int, list[Any]] = {}
    for node in structure.nodes:
        own = calls.setdefault(id(node.operation), [])
        numbers[id(node)] = len(own)
        own.append(node)
    for tensor in structure.flat_inputs:  # include unused inputs
        numbers.setdefault(id(tensor.history.node), 0)
    return numbers, calls


def written_argument(value: Any) -> Any:
    """An argument of a call as JSON types."""
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
        if operation.batch_size is not None:
            config["batch_size"] = operation.batch_size
        return {"class_name": "InputLayer", "config": config}
    if isinstance(operation, Body):
        own = type(operation._model)
        name = registry.note(own.__name__, own)
        return {"class_name": name, "config": {"name": operation.name}}
    network = getattr(operation, "_network", None)
    if network is None:
        return layer_classes.serialize(operation)
    name = "Sequential" if network.structure is None else "Functional"
    if network.build_for is not None and network.structure is not None:
        config = functional_config(operation)
        return {"class_name": name, "config": config, "own": operation._own_entry()}
    return {"class_name": name, "config": operation.get_config()}
