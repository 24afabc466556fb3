"""Reading tables: arrays, lists and data frames to numbers and strings."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from kurve.core.arrays import (
    as_array,
    as_numbers,
    is_frame,
    is_missing,
    is_series,
    is_sparse,
    refuse_equal_names,
    scalar,
)
from kurve.tables.dates import DAY, EPOCH


@dataclass
class Table:
    """A table as read by `read_table`.

    names:   column names, or None
    width:   number of columns
    numeric: positions of the numeric columns
    numbers: (n, len(numeric)) float64, NaN where missing
    texts:   by position, the values of text and categories; None where missing
    dates:   by position, seconds since 1970 by the local clock, NaN where missing
    declared: positions of the columns whose type says that they are categories
    """

    names: list[str] | None
    width: int
    numeric: list[int]
    numbers: np.ndarray
    texts: dict[int, np.ndarray] = field(default_factory=dict)
    dates: dict[int, np.ndarray] = field(default_factory=dict)
    declared: frozenset[int] = frozenset()

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
        TypeError: sparse or complex columns, objects that are not values.
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
    if is_sparse(data):
        raise TypeError(
            f"[{where}] X must be dense: sparse data was passed. Received: "
            f"{type(data).__name__}. Try the table itself, whose text columns are "
            "encoded here, OneHotEncoder(sparse_output=False), "
            "ColumnTransformer(..., sparse_threshold=0) or X.toarray()."
        )
    if isinstance(data, Mapping):
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
    if array.dtype.kind in "mM":
        parts = [_moments(array[:, c]) for c in range(array.shape[1])]
        return _assemble(None, parts, len(array))
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
    parts: list[np.ndarray | _Seconds] = []
    declared = set()
    for position, name in enumerate(frame.columns):
        column = frame.get_column(name)
        dtype = column.dtype
        label = f"X[{name!r}]"
        if dtype.is_numeric() or dtype == nw.Boolean:
            native = column.to_native()
            parts.append(as_numbers(where, label, native, np.float64, missing=True))
        elif dtype.is_temporal():
            parts.append(_temporal(nw, column))
        elif dtype in (nw.String, nw.Categorical, nw.Enum):
            parts.append(levels_of(column.to_list()))
            if dtype != nw.String:
                declared.add(position)
        else:
            values = np.empty(len(column), object)
            values[:] = column.to_list()
            parts.append(_objects(where, values, label))
    return _assemble(names, parts, len(frame), frozenset(declared))


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


def _objects(where: str, values: np.ndarray, label: str) -> np.ndarray | _Seconds:
    """A column of Python objects: float64 if all are numbers, dates, else levels."""
    missing = [is_missing(v) for v in values]
    if _are_dates(values, missing):
        return _moments_of_objects(list(values))
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


class _Seconds(NamedTuple):
    """A column of dates: seconds since 1970, NaN where missing."""

    values: np.ndarray


def _temporal(nw: Any, column: Any) -> np.ndarray | _Seconds:
    """A column of dates, times of the day, or durations, which are numbers of days."""
    dtype = column.dtype
    if dtype == nw.Time:
        return _moments_of_objects(column.to_list())
    if dtype == nw.Duration:
        return _moments(_as_moments(column.to_numpy(), "m"))
    if dtype == nw.Datetime and dtype.time_zone is not None:
        column = column.dt.replace_time_zone(None)
    return _moments(_as_moments(column.to_numpy(), "M"))


def _as_moments(values: np.ndarray, kind: str) -> np.ndarray:
    if values.dtype.kind == kind:
        return values
    unit = "datetime64[us]" if kind == "M" else "timedelta64[us]"
    return np.array([None if is_missing(v) else v for v in values], unit)


def _moments(values: np.ndarray) -> np.ndarray | _Seconds:
    """datetime64 as seconds since 1970, timedelta64 as days: float64."""
    missing = np.isnat(values)
    known = np.where(missing, np.zeros(1, values.dtype), values)
    if np.datetime_data(values.dtype)[0] in "YMWD":  # no fractions, far from overflow
        seconds = known.astype(f"{values.dtype.kind}8[s]").astype(np.float64)
    else:
        whole = known.astype(f"{values.dtype.kind}8[s]")
        rest = (known - whole).astype("m8[ns]").astype(np.float64) / 1e9
        seconds = whole.astype(np.float64) + rest
    seconds[missing] = np.nan
    return _Seconds(seconds) if values.dtype.kind == "M" else seconds / DAY


def _moments_of_objects(values: Sequence[Any]) -> np.ndarray | _Seconds:
    """Dates, times or durations as Python's objects."""
    known = [v for v in values if not is_missing(v)]
    if known and isinstance(known[0], (datetime.timedelta, np.timedelta64)):
        return _moments(
            np.array([None if is_missing(v) else v for v in values], "m8[us]")
        )
    return _Seconds(
        np.array([np.nan if is_missing(v) else _seconds(v) for v in values])
    )


def _seconds(value: Any) -> float:
    """Seconds since 1970, or since midnight, in local time."""
    if isinstance(value, datetime.time):
        clock = value.hour * 3600.0 + value.minute * 60.0 + value.second
        return clock + value.microsecond / 1e6
    if isinstance(value, np.datetime64):
        return float(value.astype("M8[us]").astype(np.int64)) / 1e6
    if hasattr(value, "to_timestamp"):  # a period of pandas
        value = value.to_timestamp()
    if not isinstance(value, datetime.datetime):
        value = datetime.datetime.combine(value, datetime.time())
    return float((value.replace(tzinfo=None) - EPOCH).total_seconds())


def _are_dates(values: np.ndarray, missing: Sequence[bool]) -> bool:
    """Whether all objects are dates, times or durations, of one of these kinds."""
    kinds = {
        "duration"
        if isinstance(v, (datetime.timedelta, np.timedelta64))
        else "date"
        if isinstance(v, (datetime.date, np.datetime64)) or hasattr(v, "to_timestamp")
        else "time"
        if isinstance(v, datetime.time)
        else "other"
        for v, gap in zip(values, missing, strict=True)
        if not gap
    }
    return len(kinds) == 1 and kinds != {"other"}


def _assemble(
    names: list[str] | None,
    parts: Sequence[np.ndarray | _Seconds],
    rows: int,
    declared: frozenset[int] = frozenset(),
) -> Table:
    dates = {c: p.values for c, p in enumerate(parts) if isinstance(p, _Seconds)}
    arrays = {c: p for c, p in enumerate(parts) if not isinstance(p, _Seconds)}
    numeric = [c for c, part in arrays.items() if part.dtype.kind == "f"]
    numbers = np.empty((rows, len(numeric)), np.float64)
    for position, column in enumerate(numeric):
        numbers[:, position] = arrays[column]
    texts = {c: part for c, part in arrays.items() if part.dtype.kind == "O"}
    return Table(names, len(parts), numeric, numbers, texts, dates, declared)


def names_of_targets(data: Any) -> list[str] | None:
    """The names of the targets, if they are frame columns or a named series."""
    if is_frame(data):
        names = getattr(data, "column_names", None) or list(data.columns)
        return [str(name) for name in names]
    if is_series(data):
        name = getattr(data, "name", None)
        return [name] if isinstance(name, str) and name else None
    return None
