"""Columns in: from arrays, lists and data frames to numbers and texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class Table:
    """A table that was read.

    names:   of the columns, or None where there are none
    width:   number of columns
    numeric: positions of the numeric columns
    numbers: (n, len(numeric)) float64, NaN where missing
    texts:   by position, the values of each other column; None where missing
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
        """How messages call a column."""
        return f"column {column if self.names is None else repr(self.names[column])}"

    def place(self, row: int, column: int) -> str:
        """How messages call a cell."""
        if self.names is None:
            return f"X[{row}, {column}]"
        return f"X[{self.names[column]!r}] at row {row}"


def is_frame(data: Any) -> bool:
    """Whether `data` is a data frame or Arrow table. Imports nothing."""
    if isinstance(data, (np.ndarray, list, tuple, Mapping)):
        return False
    if hasattr(type(data), "collect_schema"):  # polars; a lazy frame has no shape
        return True
    shape = getattr(data, "shape", None)
    named = hasattr(data, "columns") or hasattr(data, "column_names")
    return named and isinstance(shape, tuple) and len(shape) == 2


def is_series(data: Any) -> bool:
    """Whether `data` is one column of a data frame. Imports nothing."""
    module = type(data).__module__.partition(".")[0]
    return module in ("pandas", "polars", "pyarrow", "modin", "cudf") and not is_frame(
        data
    )


def read_table(where: str, data: Any) -> Table:
    """A table from whatever the user has.

    Args:
        where: the method, for messages.
        data: (n, columns): array, list of rows, or anything that narwhals reads.

    Raises:
        TypeError: sparse, complex or date columns, objects that are no values.
        ValueError: not two-dimensional, no rows or no columns.
    """
    if hasattr(data, "tocsr") or hasattr(data, "todense"):
        raise TypeError(
            f"[{where}] X must be dense: sparse data was passed. "
            f"Received: {type(data).__name__}. Try X.toarray()."
        )
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
    if isinstance(data, Mapping):
        raise TypeError(
            f"[{where}] X must be an array or a data frame. Received: a "
            f"{type(data).__name__}. Try pandas.DataFrame(X) or polars.DataFrame(X)."
        )
    try:
        array = np.asarray(data)
        if array.dtype.kind in "US" and not isinstance(data, np.ndarray):
            array = np.asarray(data, dtype=object)  # [[1.0, "a"]]: numbers stay numbers
    except ValueError:
        raise ValueError(
            f"[{where}] X must be rectangular. Received: a {type(data).__name__} whose "
            "rows differ in length. Try rows of the same length."
        ) from None
    if array.dtype.kind == "c":
        raise ValueError(
            f"[{where}] Complex data not supported. Received: {array.dtype}. "
            "Try X.real and X.imag side by side."
        )
    if array.ndim != 2:
        raise ValueError(
            f"[{where}] Expected 2D array (rows, columns), got {array.ndim}D array "
            f"instead. Received: shape {array.shape}. Reshape your data: try "
            "X.reshape(-1, 1) for a single feature or X.reshape(1, -1) for a single "
            "sample."
        )
    if array.dtype.kind in "mM":
        raise _date_error(where, "X", array.dtype)
    if array.dtype.kind in "fiub":
        numbers = np.ascontiguousarray(array, dtype=np.float64)
        return Table(None, array.shape[1], list(range(array.shape[1])), numbers)
    parts = [_objects(where, array[:, c], f"X[:, {c}]") for c in range(array.shape[1])]
    return _assemble(None, parts, len(array))


def _from_frame(where: str, data: Any) -> Table:
    nw = _narwhals(where, data)
    frame = nw.from_native(data)
    if isinstance(frame, nw.LazyFrame):
        frame = frame.collect()
    names = _names(where, list(frame.columns))
    parts = []
    for name in frame.columns:
        column = frame.get_column(name)
        dtype = column.dtype
        label = f"X[{name!r}]"
        if dtype.is_numeric():
            # Frames mark what is missing in their own way; all become NaN.
            gaps = column.is_null().to_numpy()
            if gaps.any():
                column = column.cast(nw.Float64)
                values = _with_gaps(column.to_list())
            else:
                values = np.asarray(column.to_numpy(), np.float64)
            parts.append(values)
        elif dtype == nw.Boolean:
            parts.append(_with_gaps(column.to_list()))
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


def _names(where: str, given: list[Any]) -> list[str] | None:
    """Names of the columns; None where they are numbers."""
    texts = [isinstance(name, str) for name in given]
    if any(texts) and not all(texts):
        raise TypeError(
            f"[{where}] Feature names are only supported if all input features have "
            f"string names. Received: {given[:8]!r}. "
            "Try X.columns = X.columns.astype(str)."
        )
    twice = [name for name, count in Counter(given).items() if count > 1]
    if twice:
        raise ValueError(
            f"[{where}] columns must have different names. Received: {twice[0]!r} "
            f"{Counter(given)[twice[0]]} times. Try renaming them."
        )
    return list(given) if given and all(texts) else None


def levels_of(values: list[Any]) -> np.ndarray:
    levels = np.empty(len(values), object)
    levels[:] = [
        None if is_missing(v) else v.item() if isinstance(v, np.generic) else v
        for v in values
    ]
    return levels


def _with_gaps(values: list[Any]) -> np.ndarray:
    return np.array([np.nan if is_missing(v) else v for v in values], np.float64)


def is_missing(value: Any) -> bool:
    """None, NaN, NaT or pandas' NA."""
    if value is None:
        return True
    if isinstance(value, (str, bytes)):
        return False
    try:
        return bool(value != value)
    except TypeError:  # the truth value of pandas.NA is ambiguous
        return True
    except ValueError:
        return False


def _objects(where: str, values: np.ndarray, label: str) -> np.ndarray:
    """A column of Python objects: float64 if all are numbers, else levels."""
    gaps = np.array([is_missing(v) for v in values], bool)
    numbers = text = None
    for row, value in enumerate(values):
        if gaps[row]:
            continue
        if isinstance(value, (str, bytes, np.str_)):
            text = row if text is None else text
        elif isinstance(value, (complex, np.complexfloating)):
            raise ValueError(
                f"[{where}] Complex data not supported. "
                f"Received: {label} row {row} = {value!r}. Try its real part."
            )
        elif hasattr(value, "isoformat") or isinstance(
            value, (np.datetime64, np.timedelta64)
        ):
            raise _date_error(where, label, type(value).__name__)
        elif hasattr(value, "__float__") and np.ndim(value) == 0:
            numbers = row if numbers is None else numbers
        else:
            raise TypeError(
                f"[{where}] every argument must be a string or a real number. "
                f"Received: {label} row {row} = {value!r} of type "
                f"{type(value).__name__}. Try one column for each of its parts."
            )
    if text is None:
        return np.array(
            [np.nan if gap else float(v) for v, gap in zip(values, gaps, strict=True)],
            np.float64,
        )
    if numbers is not None:
        raise TypeError(
            f"[{where}] a column must hold texts or numbers, not both. Received: "
            f"{label} row {numbers} = {values[numbers]!r} and row {text} = "
            f"{values[text]!r}. Try astype(float) or astype(str) on it."
        )
    return levels_of([v.decode() if isinstance(v, bytes) else v for v in values])


def _date_error(where: str, label: str, dtype: Any) -> TypeError:
    return TypeError(
        f"[{where}] dates cannot be used as they are, because a network needs numbers. "
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


def column_of(where: str, argument: str, data: Any) -> np.ndarray:
    """Targets or weights as an array: a frame's columns, a series' values."""
    if is_frame(data):
        frame = _narwhals(where, data).from_native(data, eager_only=True)
        columns = [frame.get_column(name).to_numpy() for name in frame.columns]
        return np.stack(columns, axis=1) if columns else np.empty((len(frame), 0))
    if is_series(data) and hasattr(data, "to_numpy"):
        return np.asarray(data.to_numpy())
    try:
        array = np.asarray(data)
        mixed = array.dtype.kind in "US" and isinstance(data, (list, tuple))
        if mixed and any(not isinstance(v, str) for v in data):
            array = np.asarray(data, dtype=object)
    except ValueError:
        raise ValueError(
            f"[{where}] {argument} must be rectangular. Received: a "
            f"{type(data).__name__} whose rows differ in length. "
            "Try rows of the same length."
        ) from None
    return array


def names_of_targets(data: Any) -> list[str] | None:
    """Names of the targets, where they are columns of a frame or a named series."""
    if is_frame(data):
        given = getattr(data, "column_names", None) or list(data.columns)
        return [str(name) for name in given]
    if is_series(data):
        name = getattr(data, "name", None)
        return [name] if isinstance(name, str) and name else None
    return None
