"""Copies of a model: exact ones, as made by `pickle` and `copy.deepcopy`, and clones,
which start from new initial weights."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.callbacks import History
from kurve.core import registry, rng
from kurve.core.arguments import check_flag
from kurve.core.entries import entry
from kurve.core.inside import is_model
from kurve.engines import aligned_zeros
from kurve.formulas.calls import recorded
from kurve.formulas.tensor import FunctionCall, KerasTensor, leaves, replaced
from kurve.layers.base import all_layers
from kurve.models.config_reader import construct, model_from
from kurve.training.compilation import Compilation
from kurve.training.network import Network

if TYPE_CHECKING:
    from kurve.models.model import Model


@entry
def clone_model(
    model: Model,
    input_tensors: Any = None,
    clone_function: Callable[[Any], Any] | None = None,
    call_function: Callable[..., Any] | None = None,
    recursive: bool = False,
) -> Any:
    """Create a copy with new layers and initial weights, compiled if the model is, with
    an optimizer that starts anew.

    Args:
        model: a functional model or a Sequential.
        input_tensors: symbolic tensors to build it on, in the structure of its inputs;
            new inputs by default.
        clone_function: returns the new layer for each layer or nested model; by default
            a copy from its configuration.
        call_function: returns the output of each new layer of a functional model,
            given the layer and the arguments of its call; by default the call's.
        recursive: whether the functions are also applied to the layers of nested
            models, instead of to the nested models themselves.

    Raises:
        TypeError: not a model, or clone_function does not return a layer.
        ValueError: wrong number of tensors for the model's inputs, or functions for a
            model that does not use them.

    Example:
        >>> x = kurve.Input((3,))
        >>> model = kurve.Model(x, kurve.layers.Dense(1)(x))
        >>> kurve.models.clone_model(model).output_shape
        (None, 1)
    """
    from kurve.models.model import Model

    if not isinstance(model, Model):
        raise TypeError(
            f"[clone_model] model must be a model. Received: {model!r}. "
            "Try clone_model(Model(x, y))."
        )
    check_flag("clone_model", "recursive", recursive)
    if model._network.build_for is not None:
        given_any = (input_tensors, clone_function, call_function)
        if any(argument is not None for argument in given_any):
            raise ValueError(
                "[clone_model] a subclassed model is created by its class. "
                f"Received: input_tensors={input_tensors!r}, clone_function="
                f"{clone_function!r}, call_function={call_function!r}. Try neither."
            )
        own = type(model).from_config(model.get_config())
        if model.built:
            own._build_like(_own_shapes(model))
        return _compiled_like(own, model)
    if model._network.structure is None and call_function is not None:
        raise ValueError(
            "[clone_model] a Sequential lists its layers and does not call them. "
            f"Received: call_function={call_function!r}. Try clone_function."
        )
    made = _Cloning(clone_function, call_function, recursive)
    return _compiled_like(made.model(model, input_tensors), model)


def _compiled_like(new: Any, model: Model) -> Any:
    """Compile a clone as its model is compiled, if it is."""
    compilation = model._network.compilation
    if compilation is not None:
        optimizer = type(compilation.optimizer).from_config(
            compilation.optimizer.get_config()
        )
        new._network.compile(replace(compilation, optimizer=optimizer))
    return new


class _Cloning:
    """Clones a model, and with `recursive` the models in it: a layer that occurs
    several times is cloned once."""

    def __init__(
        self,
        clone_function: Callable[[Any], Any] | None = None,
        call_function: Callable[..., Any] | None = None,
        recursive: bool = False,
    ) -> None:
        self.clone_function = clone_function or _copied
        self.call_function = call_function or operator.call
        self.recursive = recursive
        self.made: dict[int, Any] = {}

    def operation(self, operation: Any) -> Any:
        """The clone of a layer, a nested model or a function."""
        key = id(operation)
        if key not in self.made:
            self.made[key] = self._cloned(operation)
        return self.made[key]

    def _cloned(self, operation: Any) -> Any:
        from kurve.layers import Layer

        if isinstance(operation, FunctionCall):
            return FunctionCall(operation.function, operation.name)
        nested = self.recursive and is_model(operation)
        if nested and operation._network.build_for is None:
            return self.model(operation)
        copied = self.clone_function(operation)
        if not isinstance(copied, Layer):
            raise TypeError(
                "[clone_model] clone_function must return a layer. "
                f"Received: {copied!r}. Try lambda layer: layer."
            )
        return copied

    def model(self, model: Any, input_tensors: Any = None) -> Any:
        """The clone of a functional model or a Sequential."""
        given = None if input_tensors is None else list(leaves(input_tensors))
        structure = model._network.structure
        count = 1 if structure is None else len(structure.flat_inputs)
        if given is not None and (
            len(given) != count or not all(isinstance(t, KerasTensor) for t in given)
        ):
            raise ValueError(
                f"[clone_model] input_tensors must be {count} symbolic tensors. "
                f"Received: {input_tensors!r}. Try Input(shape=(1,))."
            )
        if structure is None:
            return self._stack(model, given)
        return self._graph(model, structure, given)

    def _stack(self, model: Any, given: list[Any] | None) -> Any:
        from kurve.layers import Input
        from kurve.models.sequential import Sequential

        stack = Sequential(name=model.name, trainable=model._network.trainable)
        shape: Any = model._network.input_shape
        rows = model._network.given_batch_size
        if given is not None:
            rows, *shape = given[0].shape
        if shape is not None:
            stack.add(Input(shape, rows))
        for layer in model.layers:
            stack.add(self.operation(layer))
        return stack

    def _graph(self, model: Any, structure: Any, given: list[Any] | None) -> Any:
        from kurve.layers import Input
        from kurve.models.model import Model

        if given is None:
            given = [
                Input(
                    tensor.sample,
                    tensor.shape[0],
                    dtype=tensor.dtype,
                    name=tensor.history.operation.name,
                )
                for tensor in structure.flat_inputs
            ]
        tensors = dict(zip(map(id, structure.flat_inputs), given, strict=True))

        def new(leaf: Any) -> Any:
            return tensors[id(leaf)] if isinstance(leaf, KerasTensor) else leaf

        for node in structure.nodes:
            if node.is_input:
                continue
            args, kwargs = replaced(node.args, new), replaced(node.kwargs, new)
            operation = self.operation(node.operation)
            if isinstance(operation, FunctionCall):
                out = recorded(operation, args, kwargs)
            else:
                out = self.call_function(operation, *args, **kwargs)
            for old, tensor in zip(leaves(node.outputs), leaves(out), strict=True):
                tensors.setdefault(id(old), tensor)
        return Model(
            replaced(structure.inputs, new),
            replaced(structure.outputs, new),
            trainable=model._network.trainable,
            name=model.name,
        )


def _copied(layer: Any) -> Any:
    """A layer or model with the same configuration, or function."""
    from kurve.layers import Lambda

    if type(layer) is Lambda:
        return layer.copied()
    parts = all_layers([layer])
    is_graph = is_model(layer) and layer._network.build_for is None
    if is_graph and any(type(part) is Lambda for part in parts):
        return _Cloning().model(layer)  # its formula is not part of a configuration
    with registry.collect_custom() as own:  # functions are named in configurations
        config = layer.get_config()
    with registry.custom_objects(own):
        return type(layer).from_config(config)


LayerState = tuple[Any, list[np.ndarray | None]]
"""The shape that a layer is built for and the values of its variables, None for those
set by initializers."""


def clone(model: Model, seed: int | None = None, keep_shapes: bool = True) -> Any:
    """A new model with the same layers and `compile`, if any. Its weights are newly
    initialized; values that training does not change (the mean and variance of
    `Normalization`) is copied.

    Args:
        seed: key of its random streams and initial weights; a new one by
            default.
        keep_shapes: False leaves the clone unbuilt and its input shape open.
    """
    network = model._network
    with registry.collect_custom() as custom:
        config = model.get_config()
    layers: list[LayerState] = []
    for layer in all_layers(network.layers):
        values = [v.numpy() if v.role == "buffer" else None for v in layer.variables]
        keep_shape = keep_shapes or any(value is not None for value in values)
        layers.append((layer.built_shape, values) if keep_shape else (None, []))
    if not keep_shapes and network.structure is None and "layers" in config:
        config["input_shape"] = None
        for entry in config["layers"]:
            entry["config"].pop("input_shape", None)
    compilation = network.compilation
    if compilation is not None:
        optimizer = copy.deepcopy(compilation.optimizer)
        compilation = replace(compilation, optimizer=optimizer)
    new = type(model).__new__(type(model))
    restore(
        new,
        {
            "config": config,
            "shapes": _own_shapes(model),
            "custom_objects": custom,
            "seed": rng.next_seed() if seed is None else seed,
            "layers": layers,
            "compiled": compilation,
            "drawn": 0,
            "training": None,
            "memory": [],
            "history": None,
        },
    )
    return new


def snapshot(model: Model) -> dict[str, Any]:
    """The complete state of a model, for `restore`."""
    network, state = model._network, model._network.state
    if state is not None:
        network.take_memory()
    with registry.collect_custom() as custom:
        config = model.get_config()
    history = model.history
    return {
        "config": config,
        "shapes": _own_shapes(model),
        "custom_objects": custom,
        "seed": network.seed,
        "drawn": model.drawn,
        "layers": [
            (layer.built_shape, [v.numpy() for v in layer.variables])
            for layer in all_layers(network.layers)
        ],
        "compiled": network.compilation,
        "training": None
        if state is None
        else (state.seed, state.step, state.slots.copy(), state.scalars.copy()),
        "memory": memory_of(network.compilation),
        "history": None
        if history is None
        else (list(history.epoch), dict(history.history)),
    }


def memory_of(compilation: Compilation | None) -> list[np.ndarray]:
    """The arrays of an optimizer with a custom `update_step`."""
    if compilation is None or not compilation.optimizer.is_written:
        return []
    applier = compilation.optimizer.applier
    return [] if applier is None else [array.copy() for array in applier.arrays]


def set_memory(model: Any, arrays: Sequence[np.ndarray]) -> None:
    """Set what `memory_of` gave."""
    if arrays:
        optimizer = model.optimizer
        optimizer.build(model.trainable_weights)
        for array, value in zip(optimizer.applier.arrays, arrays, strict=True):
            array[...] = value


def _own_shapes(model: Any) -> Any:
    """The input shapes of a subclassed model, in the same structure, None before it is
    built; () for other models."""
    if model._network.build_for is None:
        return ()
    structure = model._network.structure
    if structure is None:
        return None
    return replaced(structure.inputs, lambda tensor: _Held(tensor.shape))


class _Held:
    """A leaf of a structure."""

    def __init__(self, shape: Any) -> None:
        self.shape = shape


def _remade(model: Any, snapshot: Mapping[str, Any]) -> Any:
    """Recreate the layers of a functional model or a Sequential."""
    config, seed = snapshot["config"], snapshot["seed"]
    model._start(config["name"])
    with registry.custom_objects(snapshot["custom_objects"]):
        made = model_from(config, seed=seed)._network
    network = Network(seed, config.get("trainable", True), made.structure)
    model._network = network
    return made.layers if made.structure is None else network.layers


def _remade_own(model: Any, snapshot: Mapping[str, Any]) -> Any:
    """Recreate the layers of a subclassed model, called with the same shapes."""
    construct(model, snapshot["config"])
    model._network.seed = snapshot["seed"]
    if snapshot["shapes"] is not None:
        model._build_like(snapshot["shapes"])
    return model._network.layers


def restore(model: Any, snapshot: Mapping[str, Any]) -> None:
    """Restore a snapshot into an object whose `__init__` has not run."""
    config, is_own = snapshot["config"], snapshot["shapes"] != ()
    layers = (_remade_own if is_own else _remade)(model, snapshot)
    network = model._network
    model.drawn = snapshot["drawn"]
    states = snapshot["layers"]
    for layer, (shape, values) in zip(all_layers(layers), states, strict=True):
        if shape is not None and layer.built_shape is None:
            layer._build(shape)
        for part in (layer, *layer.parts):
            if hasattr(part, "keep_states") and part.given_batch_size is not None:
                part.keep_states(None)
        for variable, value in zip(layer.variables, values, strict=True):
            if value is not None:
                variable.assign(value)
    if not is_own and network.structure is None:
        model._put(config["input_shape"], layers)
    elif not is_own:
        network.lay_out()
    network.set_compilation(snapshot["compiled"])
    if snapshot["training"] is not None and network.state is not None:
        seed, step, slots, scalars = snapshot["training"]
        network.seed, network.state.step = seed, step
        network.state.slots = aligned_zeros(slots.shape)
        network.state.slots[...] = slots
        network.state.scalars = scalars.copy()
    set_memory(model, snapshot["memory"])
    if snapshot["history"] is not None:
        history = model.history = History()
        history.epoch, history.history = snapshot["history"]
        history.set_model(model)
