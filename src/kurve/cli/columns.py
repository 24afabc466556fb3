"""The columns of a file that a model reads. The model determines their types, not their
contents, so "007" stays a category and 7 a number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from kurve.cli.console import plural
from kurve.errors import TableError
from kurve.estimators.notes import listener
from kurve.tables import roles

if TYPE_CHECKING:
    import pyarrow

    from kurve.tables import TableFile

AS_IN_TRAINING = "it did in the training data"
"""Why a column must be numeric, for messages."""


@contextmanager
def telling(path: str, say: Callable[[str], None]) -> Iterator[None]:
    """Print what estimators do with the columns of a file, instead of warnings."""
    token = listener.set(lambda note: say(f"{path}: {note.text}"))
    try:
        yield
    finally:
        listener.reset(token)


class ModelColumns:
    """The columns that a model reads from a file.

    features: column names, in the model's order
    used:     those that it reads
    texts:    names of the string columns
    levels:   by name, the known levels of each category that allows no others
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
        self.features = list(map(str, names))
        self.used = [
            name for c, name in enumerate(self.features) if c not in columns.left_out
        ]
        file.choose(self.used, "feature")
        self.levels: dict[str, Any] = {}
        self.texts = [self.features[c] for c in columns.words]
        self.dates = [self.features[c] for c in columns.dates]
        self.texts += [
            self.features[c] for c, dates in columns.dates.items() if dates.text
        ]
        self.texts += [self.features[c] for c in columns.readers]
        for column, levels in columns.levels.items():
            name = self.features[column]
            # In a file, levels are strings, or numbers if all of them are numeric.
            values: list[Any] = [v for v in levels if isinstance(v, str)]
            values = values or [float(level) for level in levels]
            known = pyarrow.array(values)
            if column not in columns.pooled:
                self.levels[name] = known
            if roles.is_text(known.type):
                self.texts.append(name)

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
        for name in self.used:
            values = table[name]
            if name not in self.texts and name not in self.dates:
                values = self.file.numbers(name, values, AS_IN_TRAINING)
            columns[name] = values
        x = pyarrow.table(columns)
        if self.estimator.missing == "error":
            roles.refuse_missing(self.file, x, "feature", first)
        roles.refuse_infinite(self.file, x, rows)
        for position, name in enumerate(self.features):
            if name not in columns:
                empty = pyarrow.nulls(len(x), pyarrow.float64())
                x = x.add_column(position, name, empty)
        return roles.as_features(x, self.features)

    def unknown(self, x: pyarrow.Table) -> np.ndarray:
        """bool (n,): rows with a level missing from the training data."""
        return roles.unknown_levels(x, self.levels)


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
