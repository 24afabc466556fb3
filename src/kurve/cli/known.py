"""What a model knows of its columns: a file for it is read by that, not by what the
file looks like, so that "007" stays a category and 7 a number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from kurve.cli.words import plural
from kurve.errors import TableError
from kurve.tables import roles

if TYPE_CHECKING:
    import pyarrow

    from kurve.tables import TableFile

LEARNT = "it did in the training data"


class Known:
    """The columns of a file that a model reads.

    features: their names, in the model's order
    texts:    those of them that are text
    levels:   by name, the levels of each that is a category
    """

    def __init__(self, estimator: Any, file: TableFile) -> None:
        import pyarrow

        self.file, self.estimator = file, estimator
        columns = estimator.fitted_.columns
        names = columns.names
        if names is None:
            names = list(file.names)
            if len(names) != columns.width:
                raise click.UsageError(
                    f"the model was trained on {columns.width} columns without names. "
                    f"Received: {file.path} with {len(names)} columns."
                )
        self.features = file.choose(list(map(str, names)), "feature")
        self.levels: dict[str, Any] = {}
        self.common: dict[str, Any] = {}
        for column, levels in columns.levels.items():
            name = self.features[column]
            # A file's text is text; numbers are levels where all of them are.
            values: list[Any] = [v for v in levels if isinstance(v, str)]
            values = values or [float(level) for level in levels]
            common = columns.common[column]
            self.levels[name] = pyarrow.array(values)
            self.common[name] = common if common in values else values[0]
        self.texts = [n for n, v in self.levels.items() if roles.is_text(v.type)]

    def features_of(self, table: pyarrow.Table, first: int = 0) -> pyarrow.Table:
        """The features in a table that was read, as the model takes them.

        Args:
            first: number of the table's first row in the file.

        Raises:
            TableError: text where the model has numbers, infinite numbers and, unless
                the model fills them in, missing ones.
        """
        import pyarrow

        rows = np.arange(first, first + len(table))
        columns = {}
        for name in self.features:
            values = table[name]
            if name not in self.texts:
                values = self.file.numbers(name, values, LEARNT)
            columns[name] = values
        x = pyarrow.table(columns)
        if self.estimator.missing == "error":
            roles.refuse_missing(self.file, x, "feature", first)
        roles.refuse_infinite(self.file, x, rows)
        return roles.as_features(x, self.features)

    def unknown(self, x: pyarrow.Table) -> np.ndarray:
        """bool (n,): rows with a level that was not in the training data."""
        return roles.unknown_levels(x, self.levels)

    def filled(self, x: pyarrow.Table) -> pyarrow.Table:
        """The features with the most frequent level in place of those that the model
        does not know."""
        import pyarrow
        from pyarrow import compute

        for name, values in self.levels.items():
            unknown = roles.unknown_cells(x[name], values)
            if unknown.any():
                common = pyarrow.scalar(self.common[name], values.type)
                known = compute.if_else(pyarrow.array(~unknown), x[name], common)
                x = x.set_column(x.column_names.index(name), name, known)
        return x


def unknown_error(
    file: TableFile, x: pyarrow.Table, levels: Mapping[str, Any], rows: Any
) -> TableError:
    """The error for the first level in a table that is none of those known.

    Args:
        rows: of the file, from 0, that the table's are.
    """
    where, column, value, count = first_unknown(file, x, levels, rows)
    known = sorted(levels[column].to_pylist())
    shown = ", ".join(map(repr, known[:12])) + (", ..." if len(known) > 12 else "")
    return TableError(
        f"[read] {where}: column {column!r} must hold levels that were in the training "
        f"data. Received: {value!r} ({plural(count, 'such row')} in all). "
        f"Known: {shown}. Try leaving such rows out, or training with them."
    )


def first_unknown(
    file: TableFile, x: pyarrow.Table, levels: Mapping[str, Any], rows: Any
) -> tuple[str, str, Any, int]:
    """Where the first row with an unknown level is, its column and value, and how many
    such rows there are."""
    unknown = roles.unknown_levels(x, levels)
    row = int(np.argmax(unknown))
    one = x.slice(row, 1)
    name = next(n for n in levels if roles.unknown_cells(one[n], levels[n])[0])
    where = f"{file.path}, {file.place(int(rows[row]))}"
    return where, name, one[name][0].as_py(), int(unknown.sum())
