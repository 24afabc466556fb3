"""The tables shown by `model.summary()` and in notebooks, laid out like those of Keras
3."""

from __future__ import annotations

import html
import math
import re
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, zip_longest
from typing import Any

from kurve.core.arguments import is_count, is_integer
from kurve.core.progress import can_encode
from kurve.formulas.tensor import FunctionCall, leaves, replaced
from kurve.models.configs import calls_of

DEFAULT_LENGTH = 88
FLOAT32 = 4  # bytes

# table characters: left, line, joint, right of each kind of rule; two borders
_BOX = ("┏━┳┓", "┡━╇┩", "├─┼┤", "└─┴┘", "┃", "│", "…")
_ASCII = ("+-++", "+=++", "+-++", "+-++", "|", "|", "~")


@dataclass(frozen=True)
class Options:
    """What the table shows.

    expand_nested:  the layers of nested models
    show_trainable: a column that shows whether each layer is trainable
    layer_range:    names (or regular expressions) of the first and last layer
    """

    expand_nested: bool = False
    show_trainable: bool = False
    layer_range: Sequence[str] | None = None


@dataclass(frozen=True)
class Column:
    """A column: its title, where it ends in a line, and how it is aligned."""

    title: str
    position: float
    align: str = "<"


def summary_text(
    model: Any,
    line_length: int | None = None,
    encoding: str | None = None,
    positions: Sequence[float] | None = None,
    options: Options = Options(),
) -> str:
    """The summary of a model as text, without a trailing newline.

    Args:
        model: has `name`, `count_optimizer_params()` and `layers`, each of which has
            `name`, `output_shape` (None while unbuilt), `count_params()` and lists of
            weights.
        line_length: width of the table; by default that of the terminal, up to 88,
            and more for further columns.
        encoding: of the stream that will show the text; standard output's by default.
            Without box-drawing characters the table is drawn in ASCII.
        positions: where the columns end, as fractions of the line.

    Raises:
        ValueError: `line_length` is too small, or an unknown layer.
    """
    table = _columns(model, options)
    if line_length is None:
        columns = shutil.get_terminal_size().columns
        most = DEFAULT_LENGTH + 20 * (len(table) - options.show_trainable > 3)
        most += 12 * options.show_trainable
        line_length = max(min(most, columns - 4), 40)
    if not is_count(line_length, 40):
        raise (ValueError if is_integer(line_length) else TypeError)(
            "[summary] line_length must be at least 40 to fit all columns. "
            f"Received: {line_length!r}. Try line_length=76."
        )
    widths = _widths(positions or [c.position for c in table], table, line_length)
    if encoding is None:
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    box = _BOX if can_encode(encoding, "".join(_BOX)) else _ASCII
    top, below_header, between, bottom, header_bar, bar, more = box
    aligns = [column.align for column in table]
    titles = [column.title for column in table]

    lines = [f'Model: "{model.name}"', _rule(top, widths)]
    lines += _row(titles, aligns, widths, header_bar, more)
    lines.append(_rule(below_header, widths))
    for number, fields in enumerate(_rows(model, options)):
        if number:
            lines.append(_rule(between, widths))
        lines += _row(fields, aligns, widths, bar, more)
    lines.append(_rule(bottom, widths))
    lines += [f" {name}: {count}" for name, count in _totals(model)]
    return "\n".join(lines)


def summary_html(model: Any) -> str:
    """The summary of a model as an HTML table that needs no style sheet. It uses the
    colours of the page, so it is also readable on dark pages."""
    cell = "padding:.2em .8em;border-bottom:1px solid rgba(128,128,128,.4)"
    columns = _columns(model, Options())
    sides = {"<": "left", ">": "right", "^": "center"}
    styles = [f"{cell};text-align:{sides[column.align]}" for column in columns]

    def row(tag: str, fields: Sequence[str]) -> str:
        cells = (
            f'<{tag} style="{style}">{html.escape(field)}</{tag}>'
            for style, field in zip(styles, fields, strict=True)
        )
        return f"<tr>{''.join(cells)}</tr>"

    body = "".join(row("td", fields) for fields in _rows(model, Options()))
    titles = [column.title for column in columns]
    totals = "<br>".join(
        f"{html.escape(name)}: {html.escape(count)}" for name, count in _totals(model)
    )
    return (
        '<div class="kurve-summary">'
        f"<b>Model: {html.escape(model.name)}</b>"
        '<table style="border-collapse:collapse;margin:.4em 0">'
        f"<thead>{row('th', titles)}</thead><tbody>{body}</tbody></table>"
        f"{totals}</div>"
    )


def format_bytes(size: float) -> str:
    """Size in memory with two decimals: "512.00 B", "1.51 MB"."""
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1024:
            return f"{size:.2f} {unit}"
        size /= 1024
    return f"{size:.2f} TB"


def _columns(model: Any, options: Options) -> list[Column]:
    """Name, shape and number of weights of a layer; its connections, if the layers are
    not a simple stack; whether it is trainable, if requested."""
    columns = [
        Column("Layer (type)", 0.45),
        Column("Output Shape", 0.8),
        Column("Param #", 1.0, ">"),
    ]
    if _branches(_structure(model)):
        columns = [
            Column("Layer (type)", 0.3),
            Column("Output Shape", 0.56),
            Column("Param #", 0.74, ">"),
            Column("Connected to", 1.0),
        ]
    if options.show_trainable:
        columns = [replace(c, position=0.9 * c.position) for c in columns]
        columns.append(Column("Trainable", 1.0, "^"))
    return columns


def _widths(
    positions: Sequence[float], columns: Sequence[Column], line_length: int
) -> list[int]:
    """The width of each column between its borders."""
    if len(positions) != len(columns):
        raise ValueError(
            f"[summary] positions must have one entry per column, {len(columns)} in "
            f"total. Received: {positions!r}. Try positions=None."
        )
    ends = [0, *(int(position * line_length) for position in positions)]
    widths = [last - first + 2 for first, last in pairwise(ends)]
    # Subtract the borders from all columns.
    excess = sum(widths) + len(widths) + 1 - line_length
    for i in range(len(widths)):
        less = round(excess / (len(widths) - i))
        widths[i] -= less
        excess -= less
    if min(widths) < 4:
        raise ValueError(
            "[summary] each column must have some width. Received: line_length="
            f"{line_length}, positions={positions!r}. Try line_length=120."
        )
    return widths


def _structure(model: Any) -> Any:
    return getattr(getattr(model, "_network", None), "structure", None)


def _branches(structure: Any) -> bool:
    """Whether the graph is more than a chain of calls."""
    if structure is None:
        return False
    nodes = structure.nodes
    operations = {id(node.operation) for node in nodes}
    inputs = [parent for node in nodes for parent in node.parents]
    return (
        len(operations) < len(structure.operations)
        or len(operations) < len(nodes)
        or len({id(parent) for parent in inputs}) < len(inputs)
        or any(len(node.input_tensors) > 1 for node in nodes)
        or len(structure.flat_inputs) > 1
        or len(structure.flat_outputs) > 1
    )


def _rows(model: Any, options: Options) -> list[list[str]]:
    """The rows of all layers."""
    rows = _rows_of(model, options, len(_columns(model, options)), "")
    if options.layer_range is None:
        return [fields for layer in rows for fields in layer]
    names = [fields[0][0].rpartition(" (")[0] for fields in rows]
    first, last = _bounds(names, options.layer_range)
    return [fields for layer in rows[first : last + 1] for fields in layer]


def _bounds(names: list[str], layer_range: Any) -> tuple[int, int]:
    """The indices of the first layer matching one name and the last matching the
    other."""
    if not isinstance(layer_range, (list, tuple)) or len(layer_range) != 2:
        raise ValueError(
            "[summary] layer_range must be two names. "
            f"Received: {layer_range!r}. Try layer_range={(names[0], names[-1])!r}."
        )
    found = []
    for pattern in layer_range:
        places = [i for i, name in enumerate(names) if re.match(pattern, name)]
        if not places:
            raise ValueError(
                "[summary] layer_range must be names of layers. Received: "
                f"{pattern!r}. Try {', '.join(names[:5])}."
            )
        found.append(places)
    return min(found[0][0], found[1][-1]), max(found[0][0], found[1][-1])


def _shape_alone(layer: Any) -> Any:
    """The shape of a layer's output, or "?" if its inputs' shapes do not tell it: those
    of a `call` with several arguments are only known there."""
    try:
        return layer.output_shape if layer.built_shape is not None else "?"
    except Exception:  # from the user's call()
        return "?"


def _rows_of(
    model: Any, options: Options, count: int, prefix: str
) -> list[list[list[str]]]:
    """The rows of each layer: its own, and those of nested layers."""
    structure = _structure(model)
    connected = count - options.show_trainable > 3
    rows = []
    if structure is None:
        shape = getattr(model, "input_shape", None)
        layers = []
        for layer in model.layers:
            # A layer without weights can be in several models, with different shapes.
            if shape is not None:
                shape = layer.compute_output_shape(shape)
            shown = layer.output_shape if shape is None else shape
            layers.append((layer, shown, "-"))
    elif model._network.build_for is not None:  # call() defines the connections
        layers = [(layer, _shape_alone(layer), "-") for layer in model.layers]
    else:
        layers = _connected(structure)
    for layer, shape, connections in layers:
        fields = _fields(layer, shape, prefix)
        if connected:
            fields.append("-" if prefix else connections)
        if options.show_trainable:
            has_weights = bool(getattr(layer, "weights", ()))
            fields.append(("Y" if layer.trainable else "N") if has_weights else "-")
        own = [fields]
        if options.expand_nested and hasattr(layer, "_network"):
            deeper = "   " + (prefix or "\u2514 ")
            for inner in _rows_of(layer, options, count, deeper):
                own += inner
        rows.append(own)
    return rows


def _connected(structure: Any) -> list[tuple[Any, Any, str]]:
    """The operations of a graph, with the shape of the last output of each, and the
    inputs of its calls."""
    numbers, calls = calls_of(structure)
    layers = []
    given = {id(tensor) for tensor in structure.flat_inputs}
    for operation in structure.operations:
        nodes = calls.get(id(operation)) or [operation._inbound_nodes[0]]
        shapes = replaced(nodes[-1].outputs, lambda tensor: tensor.shape)
        made = [
            tensor.history
            for node in nodes
            if given.isdisjoint(map(id, leaves(node.outputs)))
            for tensor in node.input_tensors
        ]
        names = [
            f"{m.operation.name}[{numbers.get(id(m.node), 0)}][{m.tensor_index}]"
            for m in made
        ]
        layers.append((operation, shapes, ", ".join(names) or "-"))
    return layers


def _fields(layer: Any, shape: Any, prefix: str) -> list[str]:
    cls = type(layer).__name__
    if isinstance(layer, FunctionCall):
        words = layer.function.__name__.split("_")
        return [
            f"{prefix}{layer.name} ({''.join(word.capitalize() for word in words)})",
            _shape_text(shape),
            "0",
        ]
    inner = getattr(layer, "_network", None)
    if inner is not None and cls == "Model":
        cls = "Functional"
    name = f"{prefix}{layer.name} ({cls})"
    if shape is None:
        return [name, "?", "0 (unbuilt)"]
    return [name, _shape_text(shape), f"{layer.count_params():,}"]


def _shape_text(shape: Any) -> str:
    """A shape, or a list or dictionary of shapes."""
    if isinstance(shape, dict):
        inside = ", ".join(f"{k}: {_shape_text(part)}" for k, part in shape.items())
        return f"{{{inside}}}"
    if isinstance(shape, list) or (shape and isinstance(shape[0], tuple)):
        return f"[{', '.join(map(_shape_text, shape))}]"
    return f"({', '.join(str(size) for size in shape)})"


def _totals(model: Any) -> list[tuple[str, str]]:
    trainable, frozen = model.trainable_weights, model.non_trainable_weights
    kept = model.count_optimizer_params()
    groups = [
        ("Total params", _count(trainable + frozen) + kept),
        ("Trainable params", _count(trainable)),
        ("Non-trainable params", _count(frozen)),
    ]
    if kept:
        groups.append(("Optimizer params", kept))
    return [(name, f"{n:,} ({format_bytes(n * FLOAT32)})") for name, n in groups]


def _count(variables: list[Any]) -> int:
    return sum(math.prod(v.shape) for v in variables)


def _rule(parts: str, widths: Sequence[int]) -> str:
    left, line, joint, right = tuple(parts)
    return left + joint.join(line * width for width in widths) + right


def _row(
    fields: Sequence[str],
    aligns: Sequence[str],
    widths: Sequence[int],
    bar: str,
    more: str,
) -> list[str]:
    """The lines of a row. Fields wrap at spaces; words that are too long are
    truncated."""
    room = [width - 2 for width in widths]
    columns = [_wrap(*pair, more) for pair in zip(fields, room, strict=True)]
    lines = []
    for parts in zip_longest(*columns, fillvalue=""):
        cells = [
            f"{part:{align}{width}}"
            for part, align, width in zip(parts, aligns, room, strict=True)
        ]
        lines.append(f"{bar} " + f" {bar} ".join(cells) + f" {bar}")
    return lines


def _wrap(text: str, width: int, more: str) -> list[str]:
    indent = text[: len(text) - len(text.lstrip())]
    if more == "~":
        text = text.replace("\u2514", "-")
    lines = textwrap.wrap(
        text.strip(),
        width - len(indent),
        break_long_words=False,
        break_on_hyphens=False,
    )
    lines = [indent + line for line in lines]
    return [line if len(line) <= width else line[: width - 1] + more for line in lines]
