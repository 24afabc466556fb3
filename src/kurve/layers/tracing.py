"""Formulas of custom layers, for files; `kurve.layers.traced` describes and reads
them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from kurve import constraints, regularizers
from kurve.core.inside import is_model, network_of
from kurve.formulas.graph import Graph, Tensor
from kurve.formulas.tensor import KerasTensor, leaves, replaced
from kurve.layers.base import Layer, Variable, place_all
from kurve.layers.traced import MAX_CONSTANTS
from kurve.plan import Op

MAX_PARTS = 60_000
"""Maximum number of numbers, strings and names in all formulas of a file."""


def formula_of(layer: Any, args: Any, kwargs: Any) -> dict[str, Any] | None:
    """The formula of a layer for a call with these symbolic tensors.

    Returns:
        None if a file cannot hold it: unknown sizes, custom regularizers or
        constraints, or too many constants.
    """
    tensors = [t for t in leaves((args, kwargs)) if isinstance(t, KerasTensor)]
    samples = [t.sample for t in tensors]
    if any(None in s for s in samples) or len({id(t) for t in tensors}) < len(tensors):
        return None
    graph = Graph(samples)  # type: ignore[arg-type]
    place_all(graph, [layer], True)
    inputs = iter(graph.inputs)

    def swap(leaf: Any) -> Any:
        return next(inputs) if isinstance(leaf, KerasTensor) else leaf

    out = layer.run(*replaced(args, swap), **replaced(kwargs, swap))
    flat = list(leaves(out))
    if not all(isinstance(tensor, Tensor) for tensor in flat):
        return None
    # As for a metric, a loss is allowed to depend on the whole batch.
    plan = graph.finish(flat, metrics=[list(graph.losses)])
    variables = layer.variables
    frozen: set[int] = set()
    if len({spec.trainable for spec in plan.params}) > 1:
        pairs = zip(plan.params, graph.params, strict=True)
        frozen = {id(variable) for spec, variable in pairs if not spec.trainable}
    rules = [_rules_of(v, id(v) in frozen) for v in variables]
    if None in rules:
        return None
    if sum(np.size(array) for _, array in graph.constants) > MAX_CONSTANTS:
        return None
    numbers = {id(variable): i for i, variable in enumerate(variables)}
    held = [id(spec) for spec, _ in graph.constants]
    places: dict[bool, dict[int, int]] = {True: {}, False: {}}
    for is_param, specs, own in (
        (True, plan.params, graph.params),
        (False, plan.buffers, graph.buffers),
    ):
        for spec, variable in zip(specs, own, strict=True):
            if id(variable) in numbers:
                places[is_param][spec.offset] = numbers[id(variable)]
            elif id(spec) in held:
                places[is_param][spec.offset] = -1 - held.index(id(spec))
            else:
                return None
    found = iter([head.value for head in plan.heads])
    return {
        "inputs": [list(s) for s in samples],
        "weights": [
            [v.name, list(v.shape), v.role, *([own] if own else [])]
            for v, own in zip(variables, rules, strict=True)
        ],
        "constants": [
            [list(array.shape), np.ravel(array).tolist()]
            for _, array in graph.constants
        ],
        "operations": [
            _entry(op, plan.reads(i), places) for i, op in enumerate(plan.ops)
        ],
        "outputs": replaced(out, lambda _: next(found)),
        "losses": [metric.rows for metric in plan.heads[0].metrics],
    }


def _entry(
    op: Op, reads: Sequence[int], places: Mapping[bool, Mapping[int, int]]
) -> dict[str, Any]:
    """An operation of a plan, as stored in a file.

    Args:
        places: numbers of parameters, and of buffers, by their offsets.
    """
    entry = {
        "kind": op.kind,
        "reads": list(reads),
        "shape": list(op.out_shape),
        "params": {k: places[True][v.offset] for k, v in op.params.items()},
        "buffers": {k: places[False][v.offset] for k, v in op.buffers.items()},
        "attrs": {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in op.attrs.items()
        },
        "tape": None
        if op.tape is None
        else [
            op.tape.inputs,
            [[s.name, list(s.arguments), s.value] for s in op.tape.code],
            list(op.tape.outputs),
        ],
    }
    if op.body is not None:
        entry["body"] = {
            "inputs": [list(shape) for shape in op.body.inputs],
            "operations": [_entry(one, one.inputs, places) for one in op.body.ops],
            "outputs": list(op.body.outputs),
        }
    return entry


def _rules_of(variable: Variable, frozen: bool) -> dict[str, Any] | None:
    """See `_rules`; None if one has a custom class."""
    rules: dict[str, Any] = {"frozen": True} if frozen else {}
    for key, kind in (("regularizer", regularizers), ("constraint", constraints)):
        value = getattr(variable, key)
        if value is not None and kind.CLASSES.get(type(value).__name__) is type(value):
            rules[key] = kind.serialize(value)
        elif value is not None:
            return None
    return rules


def formulas_of(network: Any) -> dict[str, dict[str, Any]]:
    """The formulas of a network's custom layers that a file can hold, by class, then by
    name."""
    found: dict[str, dict[str, Any]] = {}
    for layer, args, kwargs in own_layers(network):
        name = type(getattr(layer, "_model", None) or layer).__name__
        if layer.name in found.get(name, ()):
            continue
        try:
            formula = formula_of(layer, args, kwargs)
        except Exception:  # user code failed; its class is then needed
            formula = None
        if formula is not None:
            found.setdefault(name, {})[layer.name] = formula
    text = json.dumps(found)
    return found if text.count(",") + text.count(":") < MAX_PARTS else {}


def own_layers(network: Any) -> Iterator[tuple[Any, Any, Any]]:
    """The custom layers of a network and its nested models, with the arguments of their
    first calls."""
    from kurve.layers import CLASSES

    def is_own(layer: Any) -> bool:
        return CLASSES.get(type(layer).__name__) is not type(layer)

    if network.structure is None:
        shape: Any = (None, *network.samples()[0])
        for layer in network.layers:
            if is_model(layer):
                yield from own_layers(network_of(layer))
            elif is_own(layer):
                yield layer, (KerasTensor(shape),), {}
            shape = layer.compute_output_shape(shape)
            if not all(size is None or isinstance(size, int) for size in shape):
                return  # several outputs
        return
    for node in network.structure.nodes:
        layer = node.operation
        if is_model(layer):
            yield from own_layers(network_of(layer))
        elif isinstance(layer, Layer) and not node.is_input and is_own(layer):
            yield layer, node.args, node.kwargs
