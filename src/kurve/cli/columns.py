"""The columns of a file that a model reads. The model determines their types, not their
contents, so "007" stays a category and 7 a number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from kurve.cli.console import plural
from kurve.errors import TableError
from kurve.tables import roles

if TYPE_CHECKING:
    import pyarrow

    from kurve.tables import TableFile

AS_IN_TRAINING = "it did in the training data"
"""Why a column must be numeric, for messages."""


class ModelColumns:
    """The columns that a model reads from a file.

    features: column names, in the model's order
    texts:    names of the string columns
    levels:   by name, the known levels of each category
    common:   by name, the most frequent level
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
            # In a file, levels are strings, or numbers if all of them are numeric.
            values: list[Any] = [v for v in levels if isinstance(v, str)]
            values = values or [float(level) for level in levels]
            common = columns.common[column]
            self.levels[name] = pyarrow.array(values)
            self.common[name] = common if common in values else values[0]
        self.texts = [n for n, v in self.levels.items() if roles.is_text(v.type)]

    def features_of(self, table: pyarrow.Table, first: int = 0) -> pyarrow.Table:
        """The features in a table of the file, as the model expects them.

        Args:
            first: index of the table's first row in the file.

        Raises:
            TableError: text where the model has numbers, infinite numbers and, unless
                the model imputes them, missing values.
        """
        import pyarrow

        rows = np.arange(first, first + len(table))
        columns = {}
        for name in self.features:
            values = table[name]
            if name not in self.texts:
                values = self.file.numbers(name, values, AS_IN_TRAINING)
            columns[name] = values
        x = pyarrow.table(columns)
        if self.estimator.missing == "error":
            roles.refuse_missing(self.file, x, "feature", first)
        roles.refuse_infinite(self.file, x, rows)
        return roles.as_features(x, self.features)

    def unknown(self, x: pyarrow.Table) -> np.ndarray:
        """bool (n,): rows with a level missing from the training data."""
        return roles.unknown_levels(x, self.levels)

    def without_unknown(self, x: pyarrow.Table) -> pyarrow.Table:
        """The features with unknown levels replaced by the most frequent level."""
        import pyarrow
        from pyarrow import compute

        for name, values in self.levels.items():
            unknown = roles.unknown_cells(x[name], values)
            if unknown.any():
                common = pyarrow.scalar(self.common[name], values.type)
                column = compute.if_else(pyarrow.array(~unknown), x[name], common)
                x = x.set_column(x.column_names.index(name), name, column)
        return x


def unknown_error(
    file: TableFile, x: pyarrow.Table, levels: Mapping[str, Any], rows: Any
) -> TableError:
    """The error for the first unknown level in a table.

    Args:
        rows: indices of the table's rows in the file, from 0.
    """
    where, column, value, count = first_unknown(file, x, levels, rows)
    known = sorted(levels[column].to_pylist())
    shown = ", ".join(map(repr, known[:12])) + (", ..." if len(known) > 12 else "")
    return TableError(
        f"[read] {where}: column {column!r} must hold levels that were in the training "
        f"data. Received: {value!r} ({plural(count, 'such row')} in total). "
        f"Known: {shown}. Try dropping such rows, or training with them."
    )


def first_unknown(
    file: TableFile, x: pyarrow.Table, levels: Mapping[str, Any], rows: Any
) -> tuple[str, str, Any, int]:
    """The location of the first row with an unknown level, its column and value, and
    the number of such rows."""
    unknown = roles.unknown_levels(x, levels)
    row = int(np.argmax(unknown))
    one = x.slice(row, 1)
    name = next(n for n in levels if roles.unknown_cells(one[n], levels[n])[0])
    where = f"{file.path}, {file.place(int(rows[row]))}"
    return where, name, one[name][0].as_py(), int(unknown.sum())
