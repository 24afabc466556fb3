"""Pictures of models: boxes of layers in ranks, joined by their calls, as SVG, or as
PNG with matplotlib. Graphviz is not needed."""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from kurve.core.arguments import check_flag, is_number
from kurve.core.files import replacing
from kurve.errors import path_name
from kurve.formulas.tensor import FunctionCall, leaves, replaced
from kurve.layers.core import InputLayer

CHARACTER, LINE, MARGIN = 7.2, 18.0, 10.0
"""Width of a character, height of a line and space around the text of a box."""

ACROSS, ALONG = 26.0, 44.0
"""Space between the boxes of a rank, and between ranks."""

DIRECTIONS = ("TB", "BT", "LR", "RL")


@dataclass(frozen=True)
class Shown:
    """What the boxes say, as the arguments of `plot_model`."""

    show_shapes: bool = False
    show_dtype: bool = False
    show_layer_names: bool = False
    expand_nested: bool = False
    show_layer_activations: bool = False
    show_trainable: bool = False


@dataclass
class Box:
    """A layer, or a bend of a line that passes its rank (without text).

    frames: the models that it is in, the outermost first
    room:   of its rank, in the direction of the ranks
    """

    lines: list[str]
    kind: str = "layer"
    rank: int = 0
    frames: tuple[int, ...] = ()
    room: float = 0.0
    x: float = 0.0
    y: float = 0.0

    @property
    def width(self) -> float:
        longest = max((len(line) for line in self.lines), default=0)
        return longest * CHARACTER + 2 * MARGIN if self.lines else 4.0

    @property
    def height(self) -> float:
        return len(self.lines) * LINE + MARGIN if self.lines else 4.0


@dataclass
class Picture:
    """Boxes with places, lines through points, and frames of models inside.

    In a notebook it shows itself.
    """

    boxes: list[Box]
    lines: list[list[tuple[float, float]]]
    frames: list[tuple[str, float, float, float, float]]
    size: tuple[float, float]

    def _repr_svg_(self) -> str:
        return svg(self)


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
    if not is_number(dpi) or not 10 <= dpi <= 2000:
        raise ValueError(
            "[plot_model] dpi must be a number from 10 to 2000. "
            f"Received: dpi={dpi!r}. Try dpi=200."
        )
    if not hasattr(model, "_network"):
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


@dataclass
class Drawing:
    """The boxes of a model, before they have places."""

    boxes: list[Box] = field(default_factory=list)
    edges: dict[tuple[int, int], None] = field(default_factory=dict)
    frames: list[str] = field(default_factory=list)


def drawn(model: Any, shown: Shown) -> Drawing:
    """Boxes and edges of a model, each box in a rank behind those it depends on."""
    drawing = Drawing()
    _draw(model, shown, drawing, 0, ())
    _ranked(drawing)
    return drawing


def _ranked(drawing: Drawing) -> None:
    """Give each box the first rank behind all those that it depends on. Where layers
    call each other in turn, the calls that lead back do not count."""
    after: dict[int, list[int]] = {i: [] for i in range(len(drawing.boxes))}
    for source, target in drawing.edges:
        after[source].append(target)
    state = dict.fromkeys(after, 0)  # 0 new, 1 on the way, 2 done
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
    """Add a model; the boxes of its inputs and of its outputs.

    Args:
        first: the rank of its inputs.
    """
    structure = model._network.structure
    if structure is None:
        return _draw_stack(model, shown, drawing, first, frames)
    ends: dict[int, tuple[list[int], list[int]]] = {}  # of each operation
    for tensor in structure.flat_inputs:
        operation = tensor._keras_history.operation
        box = Box(_text(operation, shown, None, tensor), "input", first, frames)
        ends[id(tensor)] = ([_added(drawing, box)],) * 2
    for node in structure.nodes:
        tensors = list(leaves(node.outputs))
        if all(id(tensor) in ends for tensor in tensors):
            continue
        sources = [
            box
            for tensor in node.input_tensors
            for box in ends.get(
                id(tensor), ends.get(id(tensor._keras_history.operation))
            )[1]  # type: ignore[index]
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
        key = id(tensor._keras_history.operation)
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
    """Add a layer, or what is inside a model."""
    if shown.expand_nested and hasattr(operation, "_network"):
        drawing.frames.append(operation.name)
        inner = (*frames, len(drawing.frames) - 1)
        return _draw(operation, shown, drawing, rank, inner)
    kind = "function" if isinstance(operation, FunctionCall) else "layer"
    if hasattr(operation, "_network"):
        kind = "model"
    box = Box(_lines(operation, shown, given, shapes), kind, rank, frames)
    return ([_added(drawing, box)],) * 2


def _added(drawing: Drawing, box: Box) -> int:
    drawing.boxes.append(box)
    return len(drawing.boxes) - 1


def _text(operation: Any, shown: Shown, given: Any, tensor: Any) -> list[str]:
    return _lines(operation, shown, given, tensor.shape)


def _lines(operation: Any, shown: Shown, given: Any, shapes: Any) -> list[str]:
    """What a box says."""
    cls = type(operation).__name__
    if isinstance(operation, FunctionCall):
        cls = operation.function.__name__
    elif hasattr(operation, "_network") and cls == "Model":
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
    """A shape, or several."""
    if isinstance(shapes, dict):
        return ", ".join(_shape(part) for part in shapes.values())
    if isinstance(shapes, list) or (
        isinstance(shapes, tuple) and any(isinstance(p, tuple) for p in shapes)
    ):
        return ", ".join(_shape(part) for part in shapes if part is not None)
    return str(tuple(shapes))


# ---------------------------------------------------------------- places


def placed(drawing: Drawing, rankdir: str) -> Picture:
    """The picture: ranks one after the other; within a rank, each box near those that
    it is joined to. Lines over several ranks get a place of their own in each."""
    boxes = list(drawing.boxes)
    routes: list[list[int]] = []
    for source, target in drawing.edges:
        route = [source]
        for rank in range(boxes[source].rank + 1, boxes[target].rank):
            frames = _common(boxes[source].frames, boxes[target].frames)
            boxes.append(Box([], "bend", rank, frames))
            route.append(len(boxes) - 1)
        routes.append([*route, target])
    ranks: list[list[int]] = [[] for _ in range(1 + max(b.rank for b in boxes))]
    for i, box in enumerate(boxes):
        ranks[box.rank].append(i)
    above: dict[int, list[int]] = {i: [] for i in range(len(boxes))}
    below: dict[int, list[int]] = {i: [] for i in range(len(boxes))}
    for route in routes:
        for one, other in pairwise(route):
            if boxes[one].rank < boxes[other].rank:
                above[other].append(one)
                below[one].append(other)
    flat = rankdir in ("LR", "RL")

    def across(box: Box) -> float:
        return box.height if flat else box.width

    def along(box: Box) -> float:
        return box.width if flat else box.height

    centre = dict.fromkeys(range(len(boxes)), 0.0)
    for turn in range(6):
        down = turn % 2 == 0
        for members in ranks if down else reversed(ranks):
            near = above if down else below
            wish = {
                i: sum(centre[j] for j in near[i]) / len(near[i])
                if near[i]
                else centre[i]
                for i in members
            }
            members.sort(key=lambda i, wish=wish: (wish[i], boxes[i].frames))  # type: ignore[misc]
            _spread(members, wish, centre, [across(boxes[i]) for i in members])
    depth, start = {}, 0.0
    for number, members in enumerate(ranks):
        thick = max((along(boxes[i]) for i in members), default=0.0)
        depth[number] = start + thick / 2
        for i in members:
            boxes[i].room = thick
        start += thick + ALONG
    low = min(centre[i] - across(b) / 2 for i, b in enumerate(boxes))
    high = max(centre[i] + across(b) / 2 for i, b in enumerate(boxes))
    back = any(boxes[s].rank >= boxes[t].rank for s, t in drawing.edges)
    border = 24.0 + 8.0 * max((len(box.frames) for box in boxes), default=0)
    extent = (high - low + 2 * border + 30.0 * back, start - ALONG + 2 * border)
    for i, box in enumerate(boxes):
        u, v = centre[i] - low + border, depth[box.rank] + border
        if rankdir in ("BT", "RL"):
            v = extent[1] - v
        box.x, box.y = (v, u) if flat else (u, v)
    lines = [_line([boxes[i] for i in route], rankdir) for route in routes]
    size = (extent[1], extent[0]) if flat else extent
    visible = [box for box in boxes if box.lines]
    return Picture(visible, lines, _frames(drawing, visible), size)


def _common(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(a for a, b in zip(one, other, strict=False) if a == b)


def _spread(
    rank: Sequence[int],
    wish: dict[int, float],
    centre: dict[int, float],
    sizes: Sequence[float],
) -> None:
    """Put the boxes of a rank near where they want to be, without overlap: neighbours
    that would overlap move apart around the mean of their wishes."""
    groups: list[tuple[list[int], float, float]] = []  # boxes, middle, size
    for i, size in zip(rank, sizes, strict=True):
        groups.append(([i], wish[i], size + ACROSS))
        while len(groups) > 1:
            (a, x, w), (b, y, v) = groups[-2:]
            if x + w / 2 <= y - v / 2 + 1e-9:
                break
            # The middle that is nearest to what all boxes want.
            middle = ((x - v / 2) * len(a) + (y + w / 2) * len(b)) / (len(a) + len(b))
            groups[-2:] = [(a + b, middle, w + v)]
    by_box = dict(zip(rank, sizes, strict=True))
    for members, middle, size in groups:
        start = middle - size / 2
        for i in members:
            centre[i] = start + (by_box[i] + ACROSS) / 2
            start += by_box[i] + ACROSS


def _line(route: list[Box], rankdir: str) -> list[tuple[float, float]]:
    """The points of a line from the edge of a box to that of another."""
    first, last = route[0], route[-1]
    flat = rankdir in ("LR", "RL")
    sign = -1.0 if rankdir in ("BT", "RL") else 1.0
    if first.rank >= last.rank:  # a layer that is called again: around the side
        if flat:
            side = max(first.y + first.height / 2, last.y + last.height / 2) + 22
            return [
                (first.x, first.y + first.height / 2),
                (first.x, side),
                (last.x - 8, side),
                (last.x - 8, last.y + last.height / 2),
            ]
        side = max(first.x + first.width / 2, last.x + last.width / 2) + 22
        return [
            (first.x + first.width / 2, first.y + 5),
            (side, first.y + 5),
            (side, last.y - 5),
            (last.x + last.width / 2, last.y - 5),
        ]
    bends = []
    for box in route[1:-1]:  # straight through the rank
        for half in (-sign * box.room / 2, sign * box.room / 2):
            bends.append((box.x + half, box.y) if flat else (box.x, box.y + half))
    if flat:
        start = (first.x + sign * first.width / 2, first.y)
        return [start, *bends, (last.x - sign * last.width / 2, last.y)]
    start = (first.x, first.y + sign * first.height / 2)
    return [start, *bends, (last.x, last.y - sign * last.height / 2)]


def _frames(
    drawing: Drawing, boxes: Sequence[Box]
) -> list[tuple[str, float, float, float, float]]:
    frames = []
    for number, name in enumerate(drawing.frames):
        inside = [box for box in boxes if number in box.frames]
        if not inside:
            continue
        deeper = max(len(b.frames) - b.frames.index(number) for b in inside)
        room = 4.0 + 7.0 * deeper
        left = min(b.x - b.width / 2 for b in inside) - room
        top = min(b.y - b.height / 2 for b in inside) - room - 6
        right = max(b.x + b.width / 2 for b in inside) + room
        bottom = max(b.y + b.height / 2 for b in inside) + room
        frames.append((name, left, top, right - left, bottom - top))
    return frames


# ---------------------------------------------------------------- drawing

FILLS = {
    "input": "#e8f0e4",
    "layer": "#e6eef8",
    "model": "#f3e9f7",
    "function": "#f7f3e3",
}
INK, LINES, FRAME = "#1f2937", "#64748b", "#94a3b8"


def svg(picture: Picture) -> str:
    """The picture as SVG."""
    width, height = picture.size
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" '
        f'height="{height:.0f}" viewBox="0 0 {width:.1f} {height:.1f}" '
        'font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="12">',
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        f'markerHeight="7" orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="{LINES}"/>'
        "</marker></defs>",
        f'<rect width="{width:.1f}" height="{height:.1f}" fill="white"/>',
    ]
    for name, x, y, w, h in picture.frames:
        parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" rx="6" '
            f'fill="none" stroke="{FRAME}" stroke-dasharray="4 3"/>'
            f'<text x="{x + 5:.1f}" y="{y + 9:.1f}" font-size="9" fill="{LINES}">'
            f"{html.escape(name)}</text>"
        )
    for points in picture.lines:
        path = " L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        parts.append(
            f'<path d="M{path}" fill="none" stroke="{LINES}" marker-end="url(#head)"/>'
        )
    for box in picture.boxes:
        left, top = box.x - box.width / 2, box.y - box.height / 2
        parts.append(
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{box.width:.1f}" '
            f'height="{box.height:.1f}" rx="4" fill="{FILLS[box.kind]}" '
            f'stroke="{INK}"/>'
        )
        for i, line in enumerate(box.lines):
            bold = ' font-weight="bold"' if i == 0 else ""
            y = top + MARGIN / 2 + (i + 0.72) * LINE
            parts.append(
                f'<text x="{box.x:.1f}" y="{y:.1f}" text-anchor="middle" '
                f'fill="{INK}"{bold}>{html.escape(line)}</text>'
            )
    return "\n".join([*parts, "</svg>\n"])


def png(picture: Picture, dpi: float) -> bytes:
    """The picture as PNG, drawn by matplotlib."""
    import io

    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.patches import FancyBboxPatch
    except ImportError as error:
        raise ImportError(
            "[plot_model] a .png file is drawn by matplotlib, which is not installed. "
            "Try to_file='model.svg', or pip install 'kurve[plot]'."
        ) from error
    width, height = picture.size
    figure = Figure(figsize=(width / 96, height / 96))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_axis_off()
    rounded = "round,pad=0,rounding_size=4"
    for name, x, y, w, h in picture.frames:
        axes.add_patch(
            FancyBboxPatch(
                (x, y),
                w,
                h,
                rounded,
                fill=False,
                edgecolor=FRAME,
                linestyle="--",
                linewidth=0.75,
            )
        )
        axes.text(x + 5, y + 9, name, fontsize=6.5, color=LINES, family="monospace")
    for points in picture.lines:
        *_, before, end = points
        axes.plot(*zip(*points, strict=True), color=LINES, linewidth=0.8)
        axes.annotate(
            "",
            end,
            before,
            arrowprops={
                "arrowstyle": "-|>",
                "color": LINES,
                "lw": 0.8,
                "shrinkA": 0,
                "shrinkB": 0,
            },
        )
    for box in picture.boxes:
        left, top = box.x - box.width / 2, box.y - box.height / 2
        axes.add_patch(
            FancyBboxPatch(
                (left, top),
                box.width,
                box.height,
                rounded,
                facecolor=FILLS[box.kind],
                edgecolor=INK,
                linewidth=0.75,
                zorder=3,
            )
        )
        for i, line in enumerate(box.lines):
            axes.text(
                box.x,
                top + MARGIN / 2 + (i + 0.5) * LINE,
                line,
                ha="center",
                va="center",
                fontsize=8.6,
                color=INK,
                family="monospace",
                zorder=4,
                weight="bold" if i == 0 else "normal",
            )
    memory = io.BytesIO()
    figure.savefig(memory, format="png", dpi=dpi)
    return memory.getvalue()
