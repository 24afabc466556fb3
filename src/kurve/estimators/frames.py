"""Reading tables: arrays, lists and data frames to numbers and strings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kurve.core.arrays import (
    as_array,
    as_numbers,
    is_frame,
    is_missing,
    is_series,
    refuse_equal_names,
    scalar,
)


@dataclass
class Table:
    """A table as read by `read_table`.

    names:   column names, or None
    width:   number of columns
    numeric: positions of the numeric columns
    numbers: (n, len(numeric)) float64, NaN where missing
    texts:   by position, the values of other columns; None where missing
    """

    names: list[str] | None
    width: int
    numeric: list[int]
    numbers: np.ndarray
    texts: dict[int, np.ndarray] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return len(self.numbers)

    def label(self, column: int) -> str:
        """The name of a column in messages."""
        return f"column {column if self.names is None else repr(self.names[column])}"

    def place(self, row: int, column: int) -> str:
        """The name of a cell in messages."""
        if self.names is None:
            return f"X[{row}, {column}]"
        return f"X[{self.names[column]!r}] at row {row}"


def read_table(where: str, data: Any) -> Table:
    """Read a user's table.

    Args:
        where: the method, for messages.
        data: (n, columns): array, list of rows, or anything that narwhals reads.

    Raises:
        TypeError: sparse, complex or date columns, objects that are not values.
        ValueError: not two-dimensional, no rows or no columns.
    """
    table = _from_frame(where, data) if is_frame(data) else _from_array(where, data)
    if table.width == 0:
        raise ValueError(
            f"[{where}] X must have columns. Received: 0 feature(s) "
            f"(shape=({table.rows}, 0)) while a minimum of 1 is required."
        )
    if table.rows == 0:
        raise ValueError(
            f"[{where}] X must have rows. Received: 0 sample(s) "
            f"(shape=(0, {table.width})) while a minimum of 1 is required."
        )
    return table


def _from_array(where: str, data: Any) -> Table:
    if data is None:
        raise TypeError(
            f"[{where}] X is missing. Received: None. Try an array (rows, columns)."
        )
    if isinstance(data, Mapping) and not hasattr(data, "tocsr"):  # SciPy's dok_array
        raise TypeError(
            f"[{where}] X must be an array or a data frame. Received: a "
            f"{type(data).__name__}. Try pandas.DataFrame(X) or polars.DataFrame(X)."
        )
    array = as_array(where, "X", data, missing=True)
    if array.ndim != 2:
        raise ValueError(
            f"[{where}] Expected 2D array (rows, columns), got {array.ndim}D array "
            f"instead. Received: shape {array.shape}. Reshape your data: try "
            "X.reshape(-1, 1) for a single feature or X.reshape(1, -1) for a single "
            "sample."
        )
    if array.dtype.kind not in "OUST":
        numbers = as_numbers(where, "X", array, np.float64)
        numbers = np.ascontiguousarray(numbers)
        return Table(None, array.shape[1], list(range(array.shape[1])), numbers)
    parts = [_objects(where, array[:, c], f"X[:, {c}]") for c in range(array.shape[1])]
    return _assemble(None, parts, len(array))


def _from_frame(where: str, data: Any) -> Table:
    nw = _narwhals(where, data)
    if not hasattr(type(data), "collect_schema"):
        refuse_equal_names(where, "X", data)
    frame = nw.from_native(data)
    if isinstance(frame, nw.LazyFrame):
        frame = frame.collect()
    names = _names(where, list(frame.columns))
    parts = []
    for name in frame.columns:
        column = frame.get_column(name)
        dtype = column.dtype
        label = f"X[{name!r}]"
        if dtype.is_numeric() or dtype == nw.Boolean:
            native = column.to_native()
            parts.append(as_numbers(where, label, native, np.float64, missing=True))
        elif dtype.is_temporal():
            raise _date_error(where, label, dtype)
        elif dtype in (nw.String, nw.Categorical, nw.Enum):
            parts.append(levels_of(column.to_list()))
        else:
            values = np.empty(len(column), object)
            values[:] = column.to_list()
            parts.append(_objects(where, values, label))
    return _assemble(names, parts, len(frame))


def _narwhals(where: str, data: Any) -> Any:
    try:
        import narwhals.stable.v1 as nw
    except ImportError:
        raise ImportError(
            f"[{where}] reading data frames needs narwhals. Received: a "
            f"{type(data).__module__.partition('.')[0]} {type(data).__name__}. "
            'Try pip install "kurve[data]", or X.to_numpy().'
        ) from None
    return nw


def _names(where: str, names: list[Any]) -> list[str] | None:
    """The names of the columns; None if they are numbers."""
    texts = [isinstance(name, str) for name in names]
    if any(texts) and not all(texts):
        raise TypeError(
            f"[{where}] Feature names are only supported if all input features have "
            f"string names. Received: {names[:8]!r}. "
            "Try X.columns = X.columns.astype(str)."
        )
    return list(names) if names and all(texts) else None


def levels_of(values: list[Any]) -> np.ndarray:
    """Levels as an array of Python objects, None where missing."""
    levels = np.empty(len(values), object)
    levels[:] = [None if is_missing(v) else scalar(v) for v in values]
    return levels


def _objects(where: str, values: np.ndarray, label: str) -> np.ndarray:
    """A column of Python objects: float64 if all are numbers, else levels."""
    missing = [is_missing(v) for v in values]
    texts = [isinstance(v, (str, bytes)) for v in values]
    for row, value in enumerate(values):
        if missing[row] or texts[row]:
            continue
        known = ("__float__", "__complex__", "isoformat", "to_timestamp")
        if np.ndim(value) or not any(hasattr(value, name) for name in known):
            raise TypeError(
                f"[{where}] every argument must be a string or a real number. "
                f"Received: {label} row {row} = {value!r} of type "
                f"{type(value).__name__}. Try one column for each of its parts."
            )
    if not any(texts):
        return as_numbers(where, label, values, np.float64, missing=True)
    numbers = [not (m or t) for m, t in zip(missing, texts, strict=True)]
    if any(numbers):
        number, text = numbers.index(True), texts.index(True)
        raise TypeError(
            f"[{where}] a column must hold either strings or numbers. Received: "
            f"{label} row {number} = {values[number]!r} and row {text} = "
            f"{values[text]!r}. Try astype(float) or astype(str) on it."
        )
    return levels_of([v.decode() if isinstance(v, bytes) else v for v in values])


def _date_error(where: str, label: str, dtype: Any) -> TypeError:
    return TypeError(
        f"[{where}] dates cannot be used directly, because a network needs numbers. "
        f"Received: {label} of type {dtype}. Try the days since the first date, and "
        "the sine and cosine of the time of year."
    )


def _assemble(names: list[str] | None, parts: Sequence[np.ndarray], rows: int) -> Table:
    numeric = [c for c, part in enumerate(parts) if part.dtype.kind == "f"]
    numbers = np.empty((rows, len(numeric)), np.float64)
    for position, column in enumerate(numeric):
        numbers[:, position] = parts[column]
    texts = {c: part for c, part in enumerate(parts) if part.dtype.kind == "O"}
    return Table(names, len(parts), numeric, numbers, texts)


def names_of_targets(data: Any) -> list[str] | None:
    """The names of the targets, if they are frame columns or a named series."""
    if is_frame(data):
        names = getattr(data, "column_names", None) or list(data.columns)
        return [str(name) for name in names]
    if is_series(data):
        name = getattr(data, "name", None)
        return [name] if isinstance(name, str) and name else None
    return None
