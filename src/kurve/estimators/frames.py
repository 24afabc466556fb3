"""Columns in: from arrays, lists and data frames to one matrix of float64.

    table = read_table("fit", X)            numbers and texts apart, names kept
    columns = Columns.learn(table, missing) levels, medians, what has gaps
    matrix, unseen = columns.encode("predict", table)

The matrix holds the numeric columns (booleans are 0 and 1), then for every column that
had gaps a column that is 1 where the value was missing, then for every text or
categorical column one column a level (one-hot).
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

MAX_LEVELS = 256
"""Levels of a column beyond which it is taken for a name of the rows, not a category."""

Level = str | int | float | bool


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


# ---------------------------------------------------------------- reading


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
                values = np.array(
                    [np.nan if v is None else v for v in column.to_list()], np.float64
                )
            else:
                values = np.asarray(column.to_numpy(), np.float64)
            parts.append(values)
        elif dtype == nw.Boolean:
            parts.append(
                np.array(
                    [np.nan if v is None else v for v in column.to_list()], np.float64
                )
            )
        elif dtype.is_temporal():
            raise _date_error(where, label, dtype)
        elif dtype in (nw.String, nw.Categorical, nw.Enum):
            parts.append(_levels_of(column.to_list()))
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


def _levels_of(values: list[Any]) -> np.ndarray:
    levels = np.empty(len(values), object)
    levels[:] = [None if is_missing(v) else v for v in values]
    return levels


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
    return _levels_of([v.decode() if isinstance(v, bytes) else v for v in values])


def _date_error(where: str, label: str, dtype: Any) -> TypeError:
    return TypeError(
        f"[{where}] dates cannot be used as they are, because a network needs numbers. "
        f"Received: {label} of type {dtype}. Try the days since the first date, and "
        "the sine and cosine of the time of year."
    )


def _assemble(
    names: list[str] | None, parts: Sequence[np.ndarray], rows: int
) -> Table:
    numeric = [c for c, part in enumerate(parts) if part.dtype.kind == "f"]
    numbers = np.empty((rows, len(numeric)), np.float64)
    for position, column in enumerate(numeric):
        numbers[:, position] = parts[column]
    texts = {c: part for c, part in enumerate(parts) if part.dtype.kind == "O"}
    return Table(names, len(parts), numeric, numbers, texts)


def column_of(where: str, argument: str, data: Any) -> np.ndarray:
    """Targets or weights as an array: of a frame its columns, of a series its values."""
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


# ---------------------------------------------------------------- encoding


@dataclass
class Columns:
    """What was learnt of a table's columns.

    names, width, numeric: as in `Table`
    fills:  (len(numeric),) the median of each numeric column
    gaps:   positions of the columns that had missing values
    levels: by position, the levels of each text or categorical column, in order
    common: by position, the most frequent level
    impute: whether missing values are filled in, or refused
    """

    names: list[str] | None
    width: int
    numeric: list[int]
    fills: np.ndarray
    gaps: list[int]
    levels: dict[int, list[Level]]
    common: dict[int, Level]
    impute: bool

    @classmethod
    def learn(cls, where: str, table: Table, impute: bool) -> Columns:
        """The columns of training data.

        Raises:
            ValueError: missing values that are not to be imputed, infinite ones, a
                column without any value, or a text column with nearly as many levels
                as rows.
        """
        refuse_bad_values(where, table, impute)
        empty = np.isnan(table.numbers)
        hole = empty.any(axis=0)
        fills = np.zeros(len(table.numeric))
        for position, column in enumerate(table.numeric):
            if empty[:, position].all():
                raise _no_value(where, table, column)
            if hole[position]:
                fills[position] = np.nanmedian(table.numbers[:, position])
            elif impute:
                fills[position] = np.median(table.numbers[:, position])
        gaps = {c for p, c in enumerate(table.numeric) if hole[p]}
        levels: dict[int, list[Level]] = {}
        common: dict[int, Level] = {}
        for column, values in table.texts.items():
            counts = Counter(v for v in values if v is not None)
            if not counts:
                raise _no_value(where, table, column)
            check_levels(where, table, column, counts, table.rows)
            levels[column] = sorted(counts, key=lambda v: (str(type(v)), v))
            common[column] = min(counts, key=lambda v: (-counts[v], str(v)))
            if sum(counts.values()) < table.rows:
                gaps.add(column)
        return cls(
            table.names, table.width, list(table.numeric), fills, sorted(gaps),
            levels, common, impute,
        )  # fmt: skip

    @property
    def outputs(self) -> int:
        """Width of the matrix."""
        return self.plain + sum(map(len, self.levels.values()))

    @property
    def plain(self) -> int:
        """How many of the matrix's columns are numbers and marks of gaps; the others
        are levels."""
        return len(self.numeric) + len(self.gaps)

    def encode(
        self, where: str, table: Table, strict: bool = True
    ) -> tuple[np.ndarray, np.ndarray]:
        """The matrix (n, outputs) and which rows hold a level that training has not
        seen, bool (n,). Such a level has 0 in all columns of its one-hot code.

        Args:
            strict: refuse unseen levels.

        Raises:
            TypeError: a numeric column holds text now, or the other way round.
            ValueError: missing or infinite values, unseen levels.
        """
        self._check_kinds(where, table)
        refuse_bad_values(where, table, self.impute)
        unseen = np.zeros(table.rows, bool)
        if not self.levels and not self.gaps and not np.isnan(table.numbers).any():
            return table.numbers, unseen
        matrix = np.zeros((table.rows, self.outputs), np.float64)
        empty = np.isnan(table.numbers)
        matrix[:, : len(self.numeric)] = np.where(empty, self.fills, table.numbers)
        place = {column: position for position, column in enumerate(self.numeric)}
        for position, column in enumerate(self.gaps, len(self.numeric)):
            matrix[:, position] = (
                empty[:, place[column]]
                if column in place
                else [v is None for v in table.texts[column]]
            )
        start = self.plain
        for column, levels in self.levels.items():
            number = {level: i for i, level in enumerate(levels)}
            most = number[self.common[column]]
            values = table.texts[column]
            codes = np.array(
                [most if v is None else number.get(v, -1) for v in values], np.int64
            )
            new = codes < 0
            if strict and new.any():
                row = int(np.argmax(new))
                raise ValueError(
                    f"[{where}] {table.label(column)} must hold levels that were in "
                    f"the training data. Received: {values[row]!r} at row {row} "
                    f"({int(new.sum())} such rows in all). Known: "
                    f"{', '.join(map(repr, levels[:12]))}"
                    f"{', ...' if len(levels) > 12 else ''}. Try leaving such rows out "
                    "(extrapolates(X) finds them), or training with them."
                )
            unseen |= new
            seen = np.flatnonzero(~new)
            matrix[seen, start + codes[seen]] = 1.0
            start += len(levels)
        return matrix, unseen

    def names_out(self) -> list[str]:
        """What each column of the matrix is: "age", "age missing", "city = Rome"."""
        label = [
            f"x{c}" if self.names is None else self.names[c] for c in range(self.width)
        ]
        return [
            *(label[c] for c in self.numeric),
            *(f"{label[c]} missing" for c in self.gaps),
            *(f"{label[c]} = {v}" for c, levels in self.levels.items() for v in levels),
        ]

    def check_names(self, where: str, table: Table, name: str) -> None:
        """Refuse a table with other columns than in training; scikit-learn's messages.

        Raises:
            ValueError: other names, another order or another number of columns.
        """
        if self.names is not None and table.names is None:
            warnings.warn(
                f"X does not have valid feature names, but {name} was fitted with "
                "feature names",
                UserWarning,
                stacklevel=4,
            )
        elif self.names is None and table.names is not None:
            warnings.warn(
                f"X has feature names, but {name} was fitted without feature names",
                UserWarning,
                stacklevel=4,
            )
        elif self.names is not None and self.names != table.names:
            assert table.names is not None
            raise ValueError(_names_message(self.names, table.names))
        if table.width != self.width:
            raise ValueError(
                f"[{where}] X has {table.width} features, but {name} is expecting "
                f"{self.width} features as input. Try the columns of the training data."
            )

    def _check_kinds(self, where: str, table: Table) -> None:
        for column in range(self.width):
            was, now = column in self.levels, column in table.texts
            if was == now:
                continue
            if was and np.isnan(table.numbers[:, table.numeric.index(column)]).all():
                # nothing but gaps: a frame cannot tell what kind of column that is
                position = table.numeric.index(column)
                table.numbers = np.delete(table.numbers, position, axis=1)
                table.numeric = [c for c in table.numeric if c != column]
                table.texts[column] = np.full(table.rows, None, object)
                continue
            if was and _are_levels(table, column, self.levels[column]):
                continue
            kinds = ("numbers", "texts") if now else ("texts", "numbers")
            raise TypeError(
                f"[{where}] {table.label(column)} must hold {kinds[0]}, because it did "
                f"in the training data. Received: {kinds[1]}. "
                f"Try astype({'float' if now else 'str'}) on it."
            )


def _are_levels(table: Table, column: int, levels: list[Level]) -> bool:
    """Make a numeric column categorical where training had numbers as levels."""
    if not all(isinstance(level, (int, float)) for level in levels):
        return False
    position = table.numeric.index(column)
    values = table.numbers[:, position]
    table.texts[column] = _levels_of(
        [int(v) if v == v and float(v).is_integer() else v for v in values]
    )
    table.numbers = np.delete(table.numbers, position, axis=1)
    table.numeric = [c for c in table.numeric if c != column]
    return True


def _names_message(known: list[str], given: list[str]) -> str:
    message = "The feature names should match those that were passed during fit.\n"
    unseen = sorted(set(given) - set(known))
    missing = sorted(set(known) - set(given))
    for names, what in (
        (unseen, "Feature names unseen at fit time"),
        (missing, "Feature names seen at fit time, yet now missing"),
    ):
        if names:
            message += f"{what}:\n" + "".join(f"- {name}\n" for name in names[:5])
            message += "- ...\n" if len(names) > 5 else ""
    if not unseen and not missing:
        message += "Feature names must be in the same order as they were in fit.\n"
    return message


def check_levels(
    where: str, table: Table, column: int, counts: Counter[Any], rows: int
) -> None:
    """Refuse levels that are no texts or numbers, and a column with so many of them
    that it must be a name of the rows."""
    odd = [v for v in counts if not isinstance(v, (str, int, float))]
    if odd:
        raise TypeError(
            f"[{where}] the levels of {table.label(column)} must be texts or numbers. "
            f"Received: {odd[0]!r} of type {type(odd[0]).__name__}. "
            "Try astype(str) on it."
        )
    if len(counts) > MAX_LEVELS:
        raise ValueError(
            f"[{where}] {table.label(column)} must have at most {MAX_LEVELS} levels, "
            "because each becomes a column of its own. Received: at least "
            f"{len(counts)} levels in {rows} rows, such as {next(iter(counts))!r}. Try "
            "leaving it out if it names the rows, or astype(float) if it holds numbers "
            "as text."
        )


def refuse_bad_values(where: str, table: Table, impute: bool) -> None:
    """Refuse infinite numbers and, unless they are imputed, missing values."""
    _refuse_infinite(where, table)
    if not impute:
        _refuse_missing(where, table)


def _refuse_infinite(where: str, table: Table) -> None:
    bad = np.isinf(table.numbers)
    if bad.any():
        row, position = (int(i) for i in np.argwhere(bad)[0])
        raise ValueError(
            f"[{where}] X must be finite. Received: "
            f"{table.place(row, table.numeric[position])} = "
            f"{table.numbers[row, position]} ({int(bad.sum())} such values in all). "
            "Try leaving these rows out."
        )


def _refuse_missing(where: str, table: Table) -> None:
    bad = np.isnan(table.numbers)
    count = int(bad.sum()) + sum(
        sum(v is None for v in values) for values in table.texts.values()
    )
    if not count:
        return
    if bad.any():
        row, position = (int(i) for i in np.argwhere(bad)[0])
        column = table.numeric[position]
    else:
        column, row = next(
            (c, row)
            for c, values in table.texts.items()
            for row, value in enumerate(values)
            if value is None
        )
    raise ValueError(
        f"[{where}] X must not have missing values. Received: "
        f"{table.place(row, column)} = NaN ({count} such values in all). "
        'Try missing="impute", or leaving these rows out.'
    )


def _no_value(where: str, table: Table, column: int) -> ValueError:
    return ValueError(
        f"[{where}] every column must have a value somewhere. Received: "
        f"{table.label(column)}, missing in all {table.rows} rows. "
        "Try leaving the column out."
    )
