"""Lowering layers to a plan: positions of weights, and operations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from kurve.core.arrays import as_numbers
from kurve.core.inside import inner_network
from kurve.core.overrides import custom_members
from kurve.formulas.graph import Graph, Tensor
from kurve.layers.variable import Variable
from kurve.plan import Plan, Shape


def lower(
    layers: Sequence[Any], input_shape: Shape, trainable: bool = True
) -> tuple[Plan, list[Any], list[Any]]:
    """The plan of a stack of built layers, and the variables of its two flat vectors,
    in the order of `plan.params` and `plan.buffers`.

    Args:
        trainable: False freezes the weights of all layers.
    """

    def chain(tensors: list[Tensor]) -> list[Tensor]:
        for layer in layers:
            tensors = [called(layer)(*tensors)]
        return tensors

    graph = Graph([input_shape], streams=streams_of(layers))
    place_all(graph, layers, trainable)
    plan = graph.finish(chain(graph.inputs))
    return plan, graph.params, graph.buffers


def called(layer: Any) -> Any:
    """The function that appends a layer to a plan: `run`, or the user's `__call__`
    around it."""
    wraps = any("__call__" in members for members in custom_members(layer))
    return layer if wraps else layer.run


def all_layers(layers: Iterable[Any]) -> list[Any]:
    """The layers, with nested models replaced by their layers; each once."""
    found: dict[int, Any] = {}
    for layer in layers:
        inner = inner_network(layer)
        for part in [layer] if inner is None else all_layers(inner.layers):
            found.setdefault(id(part), part)
    return list(found.values())


def streams_of(layers: Sequence[Any]) -> dict[int, int]:
    """The index of each layer, by id: the key of its random streams."""
    return {id(layer): i for i, layer in enumerate(all_layers(layers))}


def place_all(graph: Graph, layers: Iterable[Any], trainable: bool) -> None:
    """Assign positions in the flat vectors to all variables, layer by layer."""
    for variable, flag in placements(layers, trainable):
        graph.place(variable, flag)


def placements(
    layers: Iterable[Any], trainable: bool
) -> Iterator[tuple[Variable, bool]]:
    """The variables of layers, models and sublayers, and whether they are trainable."""
    for layer in layers:
        inner = inner_network(layer)
        if inner is not None:
            yield from placements(inner.layers, trainable and inner.trainable)
            continue
        flag = trainable and layer.trainable
        for variable in layer.own_variables:
            yield variable, flag and not getattr(variable, "frozen", False)
        yield from placements(layer.parts, flag)


def flags_of(layers: Iterable[Any]) -> list[bool]:
    """The `trainable` flags of layers, models and sublayers."""
    flags: list[bool] = []
    for layer in layers:
        inner = inner_network(layer)
        if inner is not None:
            flags += [inner.trainable, *flags_of(inner.layers)]
        else:
            flags += [layer.trainable, *flags_of(layer.parts)]
    return flags


class TrainableFlags:
    """The `trainable` flags of layers and models, to be compared before each step.

    Layers that are added or removed are detected by the number of attributes, or of
    items in lists and dictionaries of layers.
    """

    def __init__(self, layers: Iterable[Any]) -> None:
        self._flags: list[tuple[Any, bool]] = []
        self._sizes: list[tuple[Any, int]] = []
        self._add(layers)

    def _add(self, layers: Iterable[Any]) -> None:
        for layer in layers:
            inner = inner_network(layer)
            owner = layer if inner is None else inner
            self._flags.append((owner, owner.trainable))
            self._sizes.append((vars(layer), len(vars(layer))))
            parts = [v for v in vars(owner).values() if _holds_parts(v)]
            self._sizes += [(v, len(v)) for v in parts]
            self._add(layer.parts if inner is None else inner.layers)

    def holds(self) -> bool:
        """Whether all are as they were."""
        for owner, flag in self._flags:
            if owner.trainable is not flag:
                return False
        return all(len(container) == size for container, size in self._sizes)


def _holds_parts(value: Any) -> bool:
    if type(value) not in (list, dict):
        return False
    items = value.values() if type(value) is dict else value
    return any(hasattr(item, "trainable") for item in items)


def assign_all(
    where: str, variables: Sequence[Variable], values: Sequence[Any]
) -> None:
    """Check all values, then assign each to its variable."""
    if not isinstance(values, Iterable):
        raise TypeError(
            f"[set_weights] weights must be a list of arrays. Received: {values!r}. "
            "Try a list like that of get_weights()."
        )
    arrays = [
        as_numbers("set_weights", f"weights[{i}]", value, np.float32)
        for i, value in enumerate(values)
    ]
    if len(arrays) != len(variables):
        raise ValueError(
            f"[set_weights] {where} has {len(variables)} weights: "
            f"{', '.join(f'{v.name} {v.shape}' for v in variables)}. "
            f"Received: {len(arrays)} arrays. Try a list like that of get_weights()."
        )
    for variable, array in zip(variables, arrays, strict=True):
        if array.shape != variable.shape:
            raise ValueError(
                f"[set_weights] {variable.name} has shape {variable.shape}. "
                f"Received: shape {array.shape}. "
                "Try a list like that of get_weights()."
            )
        if not np.isfinite(array).all():
            raise ValueError(
                f"[set_weights] weights must be finite. Received: NaN or infinity for "
                f"{variable.name}. Try weights from before training diverged."
            )
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
