"""Elementwise operations of a graph: one tape for operands that broadcast."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.formulas.broadcasting import broadcast_shapes, in_one_stretch
from kurve.formulas.symbols import Tensor, is_variable
from kurve.ops.elementwise import RULES
from kurve.ops.tape import Builder
from kurve.plan import Shape, VariableSpec

if TYPE_CHECKING:
    from kurve.formulas.graph import Graph


def _of_batch(operands: Sequence[Any]) -> list[Any]:
    """The operands; those whose first axis is meant to be the batch axis of another
    operand (random numbers of old programs) are replaced by the result of their
    `of_batch()`."""
    ranks = [len(o.shape) for o in operands if isinstance(o, Tensor) and o.batched]
    return [
        operand.of_batch()
        if ranks
        and hasattr(operand, "of_batch")
        and len(operand.shape) == max(ranks)
        and operand.shape[0] != 1
        else operand
        for operand in operands
    ]


def mapped(
    graph: Graph,
    operands: Sequence[Any],
    write: Callable[[Builder, list[Any]], int],
    dtype: str = "float32",
    shape: Shape | None = None,
) -> Tensor:
    """See `Graph.map`."""
    operands = _of_batch(operands)
    places: list[Any] = []  # per operand: (group, position) or a number
    values: list[Tensor] = []
    params: list[VariableSpec] = []
    buffers: list[VariableSpec] = []
    shapes: list[Shape] = []
    for operand in operands:
        if not isinstance(operand, (Tensor, int, float)) and is_variable(operand):
            spec = graph.place(operand)
            group = params if operand.role == "param" else buffers
            shapes.append(operand.shape)
        elif isinstance(operand, Tensor):
            graph.check_own(operand)
            group, spec = values, operand  # type: ignore[assignment]
            shapes.append(operand.sample)
        else:
            array = np.asarray(operand)
            if array.size == 1:
                shapes.append((1,) * array.ndim)
                places.append(float(array.reshape(())))
                continue
            group, spec = buffers, graph.constant(array)
            shapes.append(array.shape)
        same = next((k for k, item in enumerate(group) if item is spec), None)
        if same is None:
            group.append(spec)
            same = len(group) - 1
        places.append((group, same))
    batched = any(tensor.batched for tensor in values)
    out = broadcast_shapes(operands, shapes, batched)
    if shape is not None:
        out = shape
    long = any(len(tensor.sample) > len(out) for tensor in values)
    if not values or long or not all(in_one_stretch(s, out) for s in shapes):
        return graph.map(
            [
                _readable(graph, operand, s, out, bool(values))
                for operand, s in zip(operands, shapes, strict=True)
            ],
            write,
            dtype,
            shape,
        )
    starts = {
        id(values): 0,
        id(params): len(values),
        id(buffers): len(values) + len(params),
    }
    count = len(values) + len(params) + len(buffers)
    build = Builder(RULES, count)
    registers = [
        place if isinstance(place, float) else starts[id(place[0])] + place[1]
        for place in places
    ]
    tape = build.finish([_register(build, write(build, registers))])
    return graph.op(
        "map",
        values,
        out,
        {f"input_{i}": spec for i, spec in enumerate(params)},
        {f"constant_{i}": spec for i, spec in enumerate(buffers)},
        tape=tape,
        batched=batched,
        dtype=dtype,
    )


def _readable(
    graph: Graph, operand: Any, shape: Shape, out: Shape, beside: bool
) -> Any:
    """Convert an operand to a form that engines can read: materialized if its own
    axes are not adjacent, and a tensor if there is no other. An axis of size 1 in
    the place of the batch axis is dropped."""
    if isinstance(operand, Tensor) and len(shape) > len(out):
        operand = graph.op("reshape", [operand], shape[1:], batched=False)
        shape = shape[1:]
    if not in_one_stretch(shape, out):
        return _spread(graph, graph.as_tensor(operand), out)
    return operand if beside else graph.as_tensor(operand)


def _spread(graph: Graph, x: Tensor, out: Shape) -> Tensor:
    """Broadcast x to a shape with repeated axes in between: repeat these axes last,
    then transpose."""
    sample = (1,) * (len(out) - len(x.sample)) + x.sample
    own = [i for i, (s, o) in enumerate(zip(sample, out, strict=True)) if s == o]
    other = [i for i in range(len(out)) if i not in own]
    order = own + other
    ones = tuple(out[i] for i in own) + (1,) * len(other)
    wide = tuple(out[i] for i in order)
    y = graph.op("reshape", [x], ones, batched=x.batched)
    y = graph.map([y], lambda build, registers: registers[0], shape=wide)
    axes = tuple(order.index(i) for i in range(len(out)))
    return graph.op("permute", [y], out, attrs={"axes": axes}, batched=x.batched)


def _register(build: Builder, result: Any) -> int:
    return build.constant(result) if isinstance(result, float) else result
