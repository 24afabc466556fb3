"""The live page: one HTML file in which the engine, as WebAssembly, trains on your data
while the fit is drawn. It makes no requests to any server.

    page = kurve.live(x, y)      # shows in a notebook
    page.save("live.html")

Its sources are in the folder page/ of the project; `make page` writes live.html.
"""

from __future__ import annotations

import html
import json
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kurve.core.entries import entry
from kurve.core.files import write_text

MAX_ROWS, MAX_COLUMNS = 20_000, 200
_FILE = Path(__file__).with_name("live.html")
_THREADS = re.compile(r'(id="threads">)[^<]*')
_NO_DATA = '<script type="application/json" id="given">null</script>'


class LivePage:
    """The text of a live page; a notebook shows it inside the cell.

    Args:
        html: the page.
        height: of the frame in a notebook, in pixels.

    Example:
        >>> page = kurve.live([0.0, 1.0, 2.0], [0.0, 1.0, 4.0])
        >>> page.html.startswith("<!doctype html>")
        True
    """

    def __init__(self, html: str, height: int = 900) -> None:
        self.html, self.height = html, height

    def _repr_html_(self) -> str:
        # A frame of a notebook is never isolated, so threads cannot run there.
        text = _THREADS.sub(r"\1", self.html)
        # A separate origin: the page cannot read anything in the notebook.
        return (
            f'<iframe srcdoc="{html.escape(text)}" width="100%" '
            f'height="{self.height}" style="border: 0" '
            'sandbox="allow-scripts allow-downloads"></iframe>'
        )

    def __repr__(self) -> str:
        return f"<LivePage of {len(self.html) / 1e6:.1f} MB: page.save('live.html')>"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page to a file, atomically.

        Args:
            path: path of the file.

        Raises:
            OSError: the file cannot be written.

        Example:
            >>> kurve.live().save("live.html")
        """
        write_text(path, self.html)


@entry
def live(x: Any = None, y: Any = None, *, height: int = 900) -> LivePage:
    """Watch a network learn: a page in which data, layers, and the steps of training
    can be changed while the fit is updated.

    A network of one or two inputs is drawn as a curve or a map; with more, the
    predictions are plotted against the given values. The page shows the Python program
    that trains the same model with the same numbers.

    Args:
        x: numbers (n,) or (n, inputs), or a table with names of columns; without x and
            y, the page starts with the sine of the tutorial.
        y: numbers (n,), or up to ten labels, which are classes.
        height: of the frame in a notebook, in pixels.

    Returns:
        The page, which a notebook shows; `save(path)` writes it to a file.

    Raises:
        ValueError: shapes that do not fit, numbers that are not finite, more than
            20,000 rows.

    Example:
        >>> x = np.linspace(0.0, 6.0, 50)
        >>> page = kurve.live(x, np.sin(x))
        >>> page.save("sine.html")
    """
    if (x is None) != (y is None):
        raise ValueError(
            "[live] x and y must be passed together. Received: only one of them. "
            "Try kurve.live(x, y)."
        )
    text = _FILE.read_text(encoding="utf-8")
    if x is None:
        return LivePage(text, height)
    columns, names = _columns(x)
    target, target_name = _target(y)
    if len(target) != len(columns[0]):
        raise ValueError(
            "[live] x and y must have the same number of rows. Received: "
            f"{len(columns[0])} and {len(target)}. Try x[:{len(target)}]."
        )
    return LivePage(with_table(text, [*columns, target], [*names, target_name]), height)


def with_table(
    text: str, columns: Sequence[Sequence[Any]], names: Sequence[Any]
) -> str:
    """The page with a table whose last column is y."""
    if not 2 <= len(columns[0]) <= MAX_ROWS or len(columns) > MAX_COLUMNS:
        raise ValueError(
            f"[live] the page takes 2 to {MAX_ROWS} rows and up to {MAX_COLUMNS} "
            f"columns. Received: {len(columns[0])} rows, {len(columns)} columns. "
            f"Try a part of them, such as the first {MAX_ROWS} rows."
        )
    cells = [[_cell(value) for value in column] for column in columns]
    given = {
        "table": {
            "names": [str(name) for name in names],
            "rows": [list(row) for row in zip(*cells, strict=True)],
        },
        "x": list(range(len(columns) - 1)),
        "y": len(columns) - 1,
    }
    # In HTML, only "<" can end the script; the others are escaped as a precaution.
    data = json.dumps(given, ensure_ascii=True)
    for character in "<>&":
        data = data.replace(character, f"\\u{ord(character):04x}")
    assert _NO_DATA in text
    return text.replace(_NO_DATA, _NO_DATA.replace("null", data))


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return repr(float(value)) if isinstance(value, float) else str(value)


def _columns(x: Any) -> tuple[list[Sequence[Any]], list[str]]:
    names = getattr(x, "columns", None)
    values = _finite("x", np.asarray(x))
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or values.shape[1] == 0:
        raise ValueError(
            "[live] x must have the shape (n,) or (n, inputs). "
            f"Received: x.shape={values.shape}. Try x.reshape(len(x), -1)."
        )
    if names is None:
        count = values.shape[1]
        names = ["x"] if count == 1 else [f"x{i + 1}" for i in range(count)]
    return list(values.T.tolist()), [str(name) for name in names]


def _target(y: Any) -> tuple[list[Any], str]:
    name = getattr(y, "name", None)
    values = np.asarray(y)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise ValueError(
            "[live] y must have the shape (n,). "
            f"Received: y.shape={values.shape}. Try y[:, 0]."
        )
    if values.dtype.kind in "OUSb":
        return [str(value) for value in values.tolist()], str(name or "y")
    return _finite("y", values).tolist(), str(name or "y")


def _finite(name: str, values: np.ndarray) -> np.ndarray:
    try:
        numbers = values.astype(np.float64)
    except (TypeError, ValueError):
        raise ValueError(
            f"[live] {name} must be numbers. Received: {values.dtype}. "
            "Try the columns of numbers only."
        ) from None
    finite = np.isfinite(numbers)
    if not finite.all():
        place = tuple(int(i) for i in np.argwhere(~finite)[0])
        raise ValueError(
            f"[live] {name} must be finite. Received: {name}{list(place)} = "
            f"{numbers[place]}. Try the rows without it."
        )
    return numbers
