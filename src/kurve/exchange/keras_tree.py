"""The layers of a model and their weights, in the order in which Keras's files have
them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kurve.core.inside import inner_network, is_model, network_of
from kurve.formulas.tensor import FunctionCall
from kurve.layers.base import Layer, Variable


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
