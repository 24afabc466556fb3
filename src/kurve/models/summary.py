"""The table that `model.summary()` prints and the one that notebooks show, both laid
out like Keras 3's."""

from __future__ import annotations

import html
import math
import shutil
import sys
import textwrap
from itertools import zip_longest
from typing import Any

from kurve.core.arguments import is_count, is_integer
from kurve.core.progress import can_encode

HEADER = ("Layer (type)", "Output Shape", "Param #")
DEFAULT_LENGTH = 88
FLOAT32 = 4  # bytes

# the parts of the table: left, line, joint, right of each kind of rule; two borders
_BOX = ("┏━┳┓", "┡━╇┩", "├─┼┤", "└─┴┘", "┃", "│", "…")
_ASCII = ("+-++", "+=++", "+-++", "+-++", "|", "|", "~")


def summary_text(
    model: Any, line_length: int | None = None, encoding: str | None = None
) -> str:
    """The summary of a model as text, without a newline at its end.

    Args:
        model: has `name`, `count_optimizer_params()` and `layers`, each of which has
            `name`, `output_shape` (None while unbuilt), `count_params()` and lists of
            weights.
        line_length: width of the table; by default that of the terminal, at most 88.
        encoding: of the stream that will show the text; standard output's by default.
            Without box-drawing characters the table is drawn in ASCII.

    Raises:
        ValueError: `line_length` is too small.
    """
    if line_length is None:
        columns = shutil.get_terminal_size().columns
        line_length = max(min(DEFAULT_LENGTH, columns - 4), 40)
    if not is_count(line_length, 40):
        raise (ValueError if is_integer(line_length) else TypeError)(
            "[summary] line_length must be at least 40, so that each column has room. "
            f"Received: {line_length!r}. Try line_length=76."
        )
    first, second = int(0.45 * line_length), int(0.8 * line_length)
    widths = (first - 1, second - first - 2, line_length - second - 1)
    if encoding is None:
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    box = _BOX if can_encode(encoding, "".join(_BOX)) else _ASCII
    top, below_header, between, bottom, header_bar, bar, more = box

    lines = [f'Model: "{model.name}"', _rule(top, widths)]
    lines += _row(HEADER, widths, header_bar, more)
    lines.append(_rule(below_header, widths))
    for number, fields in enumerate(_rows(model)):
        if number:
            lines.append(_rule(between, widths))
        lines += _row(fields, widths, bar, more)
    lines.append(_rule(bottom, widths))
    lines += [f" {name}: {count}" for name, count in _totals(model)]
    return "\n".join(lines)


def summary_html(model: Any) -> str:
    """The summary of a model as an HTML table that needs no style sheet. It takes its
    colours from the page, so that it is readable on dark ones too."""
    cell = "padding:.2em .8em;border-bottom:1px solid rgba(128,128,128,.4)"
    left, right = f"{cell};text-align:left", f"{cell};text-align:right"
    styles = (left, left, right)

    def row(tag: str, fields: tuple[str, str, str]) -> str:
        cells = (
            f'<{tag} style="{style}">{html.escape(field)}</{tag}>'
            for style, field in zip(styles, fields, strict=True)
        )
        return f"<tr>{''.join(cells)}</tr>"

    body = "".join(row("td", fields) for fields in _rows(model))
    totals = "<br>".join(
        f"{html.escape(name)}: {html.escape(count)}" for name, count in _totals(model)
    )
    return (
        '<div class="kurve-summary">'
        f"<b>Model: {html.escape(model.name)}</b>"
        '<table style="border-collapse:collapse;margin:.4em 0">'
        f"<thead>{row('th', HEADER)}</thead><tbody>{body}</tbody></table>"
        f"{totals}</div>"
    )


def format_bytes(size: float) -> str:
    """Size in memory with two decimals: "512.00 B", "1.51 MB"."""
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1024:
            return f"{size:.2f} {unit}"
        size /= 1024
    return f"{size:.2f} TB"


def _rows(model: Any) -> list[tuple[str, str, str]]:
    rows, shape = [], getattr(model, "input_shape", None)
    for layer in model.layers:
        # A layer without weights may be in several models, with other shapes in each.
        if shape is not None:
            shape = layer.compute_output_shape(shape)
        rows.append(_fields(layer, layer.output_shape if shape is None else shape))
    return rows


def _fields(layer: Any, shape: Any) -> tuple[str, str, str]:
    name = f"{layer.name} ({type(layer).__name__})"
    if shape is None:
        return name, "?", "0 (unbuilt)"
    inner = ", ".join(str(size) for size in shape)
    return name, f"({inner})", f"{layer.count_params():,}"


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


def _rule(parts: str, widths: tuple[int, ...]) -> str:
    left, line, joint, right = tuple(parts)
    return left + joint.join(line * width for width in widths) + right


def _row(
    fields: tuple[str, str, str], widths: tuple[int, ...], bar: str, more: str
) -> list[str]:
    """The lines of a row. Fields wrap at spaces; a word that is too long is
    truncated."""
    room = [width - 2 for width in widths]
    columns = [_wrap(*pair, more) for pair in zip(fields, room, strict=True)]
    lines = []
    for name, shape, count in zip_longest(*columns, fillvalue=""):
        cells = (f"{name:<{room[0]}}", f"{shape:<{room[1]}}", f"{count:>{room[2]}}")
        lines.append(f"{bar} " + f" {bar} ".join(cells) + f" {bar}")
    return lines


def _wrap(text: str, width: int, more: str) -> list[str]:
    lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
    return [line if len(line) <= width else line[: width - 1] + more for line in lines]
