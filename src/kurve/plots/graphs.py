"""Model diagrams: boxes of layers in ranks, connected by their calls, as SVG, or as PNG
with matplotlib. Graphviz is not needed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from kurve.core.arguments import check_flag, check_number
from kurve.core.files import replacing
from kurve.core.inside import is_model, network_of
from kurve.errors import path_name
from kurve.formulas.tensor import FunctionCall, leaves, replaced
from kurve.layers.core import InputLayer
from kurve.plots.pictures import Box, Drawing, Picture, png, svg
from kurve.plots.places import placed

DIRECTIONS = ("TB", "BT", "LR", "RL")


@dataclass(frozen=True)
class Shown:
    """What the boxes show; see the arguments of `plot_model`."""

    show_shapes: bool = False
    show_dtype: bool = False
    show_layer_names: bool = False
    expand_nested: bool = False
    show_layer_activations: bool = False
    show_trainable: bool = False


def plot_model(
    model: Any, to_file: Any, rankdir: str, dpi: float, shown: Shown
) -> Picture:
    """See `kurve.utils.plot_model`."""
    path = path_name("plot_model", "to_file", to_file, "model.svg")
    ending = os.path.splitext(path)[1]
    if ending not in (".svg", ".png"):
        raise ValueError(
            "[plot_model] to_file must end in .svg or .png. "
            f"Received: to_file={path!r}. Try to_file='model.svg'."
        )
    for name, value in vars(shown).items():
        check_flag("plot_model", name, value)
    if rankdir not in DIRECTIONS:
        raise ValueError(
            f"[plot_model] rankdir must be one of {', '.join(DIRECTIONS)}. "
            f"Received: rankdir={rankdir!r}. Try rankdir='TB'."
        )
    check_number("plot_model", "dpi", dpi, 200, 10, 2000)
    if not is_model(model):
        raise TypeError(
            f"[plot_model] model must be a model. Received: {model!r}. "
            "Try plot_model(Model(x, y))."
        )
    picture = placed(drawn(model, shown), rankdir)
    if ending == ".svg":
        raw = svg(picture).encode()
    else:
        raw = png(picture, dpi)
    with replacing(path) as target:
        target.write(raw)
    return picture


# ---------------------------------------------------------------- boxes


def drawn(model: Any, shown: Shown) -> Drawing:
    """Boxes and edges of a model, each box in a rank after those it depends on."""
    drawing = Drawing()
    _draw(model, shown, drawing, 0, ())
    _ranked(drawing)
    return drawing


def _ranked(drawing: Drawing) -> None:
    """Give each box the first rank after all boxes it depends on. In cycles of calls,
    back edges do not count."""
    after: dict[int, list[int]] = {i: [] for i in range(len(drawing.boxes))}
    for source, target in drawing.edges:
        after[source].append(target)
    state = dict.fromkeys(after, 0)  # 0 new, 1 in progress, 2 done
    order: list[int] = []
    for start in after:
        stack = [(start, False)]
        while stack:
            box, leaving = stack.pop()
            if leaving:
                state[box] = 2
                order.append(box)
            elif not state[box]:
                state[box] = 1
                stack.append((box, True))
                for target in after[box]:
                    if state[target] != 1:
                        stack.append((target, False))
    place = {box: i for i, box in enumerate(reversed(order))}
    forward = [(s, t) for s, t in drawing.edges if place[s] < place[t]]
    boxes = drawing.boxes
    for one in boxes:
        one.rank = 0
    for source, target in sorted(forward, key=lambda edge: place[edge[0]]):
        boxes[target].rank = max(boxes[target].rank, boxes[source].rank + 1)


def _draw(
    model: Any, shown: Shown, drawing: Drawing, first: int, frames: tuple[int, ...]
) -> tuple[list[int], list[int]]:
    """Add a model; return the boxes of its inputs and outputs.

    Args:
        first: rank of its inputs.
    """
    structure = network_of(model).structure
    if structure is None:
        return _draw_stack(model, shown, drawing, first, frames)
    # Of each operation: input boxes, output boxes.
    ends: dict[int, tuple[list[int], list[int]]] = {}
    for tensor in structure.flat_inputs:
        operation = tensor.history.operation
        box = Box(_text(operation, shown, None, tensor), "input", first, frames)
        ends[id(tensor)] = ([_added(drawing, box)],) * 2
    for node in structure.nodes:
        tensors = list(leaves(node.outputs))
        if all(id(tensor) in ends for tensor in tensors):
            continue
        sources = [
            box
            for tensor in node.input_tensors
            for box in ends.get(id(tensor), ends.get(id(tensor.history.operation)))[1]  # type: ignore[index]
        ]
        key = id(node.operation)
        if key not in ends:
            rank = 1 + max((drawing.boxes[s].rank for s in sources), default=first - 1)
            ends[key] = _operation(node, shown, drawing, rank, frames)
        for source in sources:
            for target in ends[key][0]:
                drawing.edges[source, target] = None
    outputs: list[int] = []
    for tensor in structure.flat_outputs:
        key = id(tensor.history.operation)
        outputs += ends.get(id(tensor), ends.get(key))[1]  # type: ignore[index]
    inputs = [ends[id(tensor)][0][0] for tensor in structure.flat_inputs]
    return inputs, outputs


def _draw_stack(
    model: Any, shown: Shown, drawing: Drawing, first: int, frames: tuple[int, ...]
) -> tuple[list[int], list[int]]:
    entrance: list[int] = []
    before: list[int] = []
    shape = getattr(model, "input_shape", None) if model.built else None
    for layer in model.layers:
        given = shape
        if shape is not None:
            shape = layer.compute_output_shape(shape)
        rank = 1 + max((drawing.boxes[b].rank for b in before), default=first - 1)
        ends = _placed_operation(layer, shown, drawing, rank, frames, given, shape)
        for source in before:
            for target in ends[0]:
                drawing.edges[source, target] = None
        entrance, before = entrance or ends[0], ends[1]
    return entrance, before


def _operation(
    node: Any, shown: Shown, drawing: Drawing, rank: int, frames: tuple[int, ...]
) -> tuple[list[int], list[int]]:
    given = [tensor.shape for tensor in node.input_tensors]
    shapes = replaced(node.outputs, lambda tensor: tensor.shape)
    return _placed_operation(
        node.operation, shown, drawing, rank, frames, given, shapes
    )


def _placed_operation(
    operation: Any,
    shown: Shown,
    drawing: Drawing,
    rank: int,
    frames: tuple[int, ...],
    given: Any,
    shapes: Any,
) -> tuple[list[int], list[int]]:
    """Add a layer, or the contents of a nested model."""
    if shown.expand_nested and is_model(operation):
        drawing.frames.append(operation.name)
        inner = (*frames, len(drawing.frames) - 1)
        return _draw(operation, shown, drawing, rank, inner)
    kind = "function" if isinstance(operation, FunctionCall) else "layer"
    if is_model(operation):
        kind = "model"
    box = Box(_lines(operation, shown, given, shapes), kind, rank, frames)
    return ([_added(drawing, box)],) * 2


def _added(drawing: Drawing, box: Box) -> int:
    drawing.boxes.append(box)
    return len(drawing.boxes) - 1


def _text(operation: Any, shown: Shown, given: Any, tensor: Any) -> list[str]:
    return _lines(operation, shown, given, tensor.shape)


def _lines(operation: Any, shown: Shown, given: Any, shapes: Any) -> list[str]:
    """The lines of a box."""
    cls = type(operation).__name__
    if isinstance(operation, FunctionCall):
        cls = operation.function.__name__
    elif is_model(operation) and cls == "Model":
        cls = "Functional"
    lines = [f"{operation.name} ({cls})" if shown.show_layer_names else cls]
    activation = getattr(operation, "activation", None)
    if shown.show_layer_activations and activation is not None:
        lines.append(f"activation: {activation.name}")
    if shown.show_shapes:
        if given is not None and not isinstance(operation, InputLayer):
            lines.append(f"input: {_shape(given)}")
        lines.append(f"output: {'?' if shapes is None else _shape(shapes)}")
    if shown.show_dtype:
        lines.append("float32")
    if shown.show_trainable and getattr(operation, "weights", None):
        lines.append("trainable" if operation.trainable else "not trainable")
    return lines


def _shape(shapes: Any) -> str:
    """One or several shapes."""
    if isinstance(shapes, dict):
        return ", ".join(_shape(part) for part in shapes.values())
    if isinstance(shapes, list) or (
        isinstance(shapes, tuple) and any(isinstance(p, tuple) for p in shapes)
    ):
        return ", ".join(_shape(part) for part in shapes if part is not None)
    return str(tuple(shapes))
