"""Reads programs: Python files, and notebooks, whose cells run in order."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

COMMAND = re.compile(r"\s*(%|!|\?)|.*[\w)\]]\?{1,2}\s*$")
"""A line for IPython or the shell."""

RUN_AS_PYTHON = re.compile(r"%%(time|timeit|capture|prun|script\s+python\S*)\b")
"""Cell magics whose cell is still Python."""


@dataclass
class Cell:
    """A separately executed part of a program.

    name:    for tracebacks: the path of the file, with the cell number in a notebook
    text:    the source to compile; lines keep their numbers
    skipped: number and text of lines that are not Python
    number:  cell number in a notebook, from 1; 0 in a Python file
    """

    name: str
    text: str
    number: int = 0
    skipped: list[tuple[int, str]] = field(default_factory=list)

    def place(self, line: int) -> str:
        """The location of a line, for messages."""
        return f"cell {self.number}, line {line}" if self.number else f"line {line}"


def read(path: str) -> list[Cell]:
    """The cells of a program.

    Raises:
        OSError: file not found.
        ValueError: it is not text, or not a notebook.
    """
    with open(path, "rb") as file:
        data = file.read()
    if path.endswith(".ipynb"):
        return list(_notebook(path, data))
    import io
    import tokenize

    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        text = io.TextIOWrapper(io.BytesIO(data), encoding).read()
    except (SyntaxError, UnicodeDecodeError, LookupError) as error:
        raise ValueError(
            f"[kurve run] a program must be text. Received: {path!r} ({error}). "
            "Try a file of Python, or a notebook whose name ends in .ipynb."
        ) from None
    return [Cell(path, text)]


def _notebook(path: str, data: bytes) -> Iterator[Cell]:
    try:
        book = json.loads(data)
        cells = book.get("cells")
        if cells is None:  # version 3 of the format
            cells = [cell for sheet in book["worksheets"] for cell in sheet["cells"]]
        sources = [
            cell.get("source", cell.get("input", ""))
            for cell in cells
            if cell["cell_type"] == "code"
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            "[kurve run] a notebook must be JSON with a list of cells. "
            f"Received: {path!r} ({type(error).__name__}: {error}). "
            "Try to save it with Jupyter."
        ) from None
    for number, source in enumerate(sources, 1):
        text = source if isinstance(source, str) else "".join(source)
        yield _plain(Cell(f"{path}, cell {number}", text, number))


def _plain(cell: Cell) -> Cell:
    """The cell without IPython and shell commands."""
    lines = cell.text.split("\n")
    first = next((line for line in lines if line.strip()), "")
    if first.startswith("%%") and not RUN_AS_PYTHON.match(first):
        cell.skipped.append((1, f"{first.strip()} and the rest of the cell"))
        cell.text = ""
        return cell
    if first[:1].isspace():  # as IPython does
        indent = first[: len(first) - len(first.lstrip())]
        lines = [line.removeprefix(indent) for line in lines]
    inside: str | None = None  # a multi-line string
    for number, line in enumerate(lines, 1):
        if inside is None and COMMAND.match(line) and not _is_python(lines, number):
            cell.skipped.append((number, line.strip()))
            indent = line[: len(line) - len(line.lstrip())]
            lines[number - 1] = f"{indent}pass"
            for after in range(number, len(lines)):  # a backslash continues it
                if not line.rstrip().endswith("\\"):
                    break
                line, lines[after] = lines[after], ""
            continue
        for quotes in re.findall(r'"""|\'\'\'', line):
            if inside is None:
                inside = quotes
            elif inside == quotes:
                inside = None
    cell.text = "\n".join(lines)
    return cell


def _is_python(lines: list[str], number: int) -> bool:
    """Whether a line that starts with % continues an expression of the previous line,
    such as string formatting."""
    if not lines[number - 1].lstrip().startswith("%") or number == 1:
        return False
    before = lines[number - 2].split("#")[0].rstrip()
    return before.endswith(("\\", "(", ",", '"', "'")) and not before.endswith(")")
