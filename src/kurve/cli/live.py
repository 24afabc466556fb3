"""`kurve live`: writes the live page with a table in it, and opens it."""

from __future__ import annotations

import os
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.cli import console

if TYPE_CHECKING:
    import pyarrow


def write_page(
    data: str | None,
    target: str | None,
    features: tuple[str, ...] | None,
    out: str | None,
    show: bool,
) -> None:
    """Write the page.

    Args:
        data: file with a table; None for the sine.
        target, features: names of columns; None for the last one, and for all other
            columns of numbers.
        out: the page's file.
        show: whether to open it.
    """
    from kurve.plots.page import MAX_ROWS, LivePage, live, with_table

    page = live()
    if data is None and (target or features):
        raise ValueError(
            "[live] --target and --features name columns of a table. "
            "Received: no table. Try kurve live data.csv --target y."
        )
    if data is not None:
        from kurve import tables

        table = tables.read(data)
        names = _chosen(table, target, features)
        if len(table) > MAX_ROWS:
            console.say(f"rows: {MAX_ROWS:,} of {len(table):,}, evenly spread")
            table = table.take(np.arange(MAX_ROWS) * len(table) // MAX_ROWS)
        columns = [table[name].to_pylist() for name in names]
        page = LivePage(with_table(page.html, columns, names))
    if out is None:
        out = f"{Path(data).stem}.html" if data not in (None, "-") else "live.html"
    page.save(out)
    console.say(f"page: {out}")
    if show and not webbrowser.open(Path(os.path.abspath(out)).as_uri()):
        console.say("Open it in a browser.")


def _chosen(
    table: pyarrow.Table, target: str | None, features: tuple[str, ...] | None
) -> list[str]:
    """The features, then the target."""
    known: list[str] = table.column_names
    target = known[-1] if target is None else target
    for name in (*(features or ()), target):
        if name not in known:
            raise ValueError(
                f"[live] there is no such column. Received: {name!r}. "
                f"Known: {', '.join(known[:20])}."
            )
    if features is None:
        features = tuple(
            name for name in known if name != target and _is_number(table[name].type)
        )
    if not features or target in features:
        raise ValueError(
            "[live] there must be a numeric column besides the target. "
            f"Received: {', '.join(features) or 'none'}. Try --features and --target."
        )
    return [*features, target]


def _is_number(kind: Any) -> bool:
    import pyarrow

    types = pyarrow.types
    return bool(types.is_integer(kind) or types.is_floating(kind))
