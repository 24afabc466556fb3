"""Encoding of table columns as a float64 matrix.

    table = read_table("fit", X)                   numbers, texts and dates, separately
    columns = learn_columns("fit", table, impute)  see `estimators.column_learning`
    matrix, unseen = columns.encode("predict", table)

The matrix holds the numeric columns (booleans are 0 and 1), then the features of dates
and the words of texts (see `kurve.estimators.kinds`), then for each column with
missing values an indicator that is 1 where the value was missing, then for each text or
categorical column one column per level (one-hot). An unknown level is encoded as an
average one: by each level's fraction of the training rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from kurve.core.entries import warn
from kurve.estimators.frames import Table, levels_of
from kurve.estimators.kinds import Dates, Level, Words
from kurve.estimators.notes import Note, listener
from kurve.tables.dates import DateText, learn_dates
from kurve.tables.numerals import Numerals, is_gap


@dataclass
class Columns:
    """What was learned about the columns of a table.

    names, width, numeric: as in `Table`; every other column is in one of `levels`,
        `dates`, `words` and `left_out`
    medians: (len(numeric),) of each numeric column, to replace missing values
    with_missing: positions of the columns that had missing values
    levels:  by position, the levels of each text or categorical column, in order
    common:  by position, the most frequent level
    impute:  whether to impute or refuse missing values
    shares:  by position, each level's fraction of the training rows
    pooled:  positions of the columns that only keep their frequent levels
    readers: by position, how the numbers or durations of a numeric column are written
        as text
    dates, words: by position, columns of dates and of texts
    left_out: by position, why a column is not used
    notes:   what was done with them, for the user
    """

    names: list[str] | None
    width: int
    numeric: list[int]
    medians: np.ndarray
    with_missing: list[int]
    levels: dict[int, list[Level]]
    common: dict[int, Level]
    impute: bool
    shares: dict[int, np.ndarray] = field(default_factory=dict)
    pooled: list[int] = field(default_factory=list)
    readers: dict[int, Numerals | DateText] = field(default_factory=dict)
    dates: dict[int, Dates] = field(default_factory=dict)
    words: dict[int, Words] = field(default_factory=dict)
    left_out: dict[int, str] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)

    # ---------------------------------------------------------------- encoding

    @property
    def matrix_width(self) -> int:
        """Number of the matrix's columns."""
        return self._first_level + sum(map(len, self.levels.values()))

    @property
    def continuous(self) -> int:
        """Number of the matrix's first columns that are not 0 or 1."""
        return len(self.numeric) + sum(d.width for d in self.dates.values())

    @property
    def _first_flag(self) -> int:
        """The matrix's column where the indicators of missing values start."""
        return self.continuous + sum(len(w.words) for w in self.words.values())

    @property
    def _first_level(self) -> int:
        """The matrix's column where the levels start."""
        return self._first_flag + len(self.with_missing)

    def encode(
        self, where: str, table: Table, strict: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """The matrix (n, matrix_width), and which rows have a level that was not in the
        training data, bool (n,).

        Args:
            strict: refuse unseen levels.

        Raises:
            TypeError: a numeric column now holds text, or vice versa.
            ValueError: missing or infinite values, unseen levels if strict.
        """
        table = self.prepared(where, table)
        self._refuse_bad_values(where, table)
        unseen = np.zeros(table.rows, bool)
        missing = np.isnan(table.numbers)
        plain = not (self.levels or self.with_missing or self.dates or self.words)
        if plain and not missing.any():
            return table.numbers, unseen
        matrix = np.zeros((table.rows, self.matrix_width), np.float64)
        start = len(self.numeric)
        matrix[:, :start] = np.where(missing, self.medians, table.numbers)
        for column, dates in self.dates.items():
            matrix[:, start : start + dates.width] = dates.encode(table.dates[column])
            start += dates.width
        for column, words in self.words.items():
            stop = start + len(words.words)
            matrix[:, start:stop] = words.encode(table.texts[column].tolist())
            start = stop
        if self.with_missing:
            flags = self.missing(table)
            for column in self.with_missing:
                matrix[:, start] = flags[column]
                start += 1
        for column, levels in self.levels.items():
            values = table.texts[column]
            codes = self._codes(column, values)
            new = codes < 0
            if new.any() and column not in self.pooled:
                if strict:
                    raise self._unseen(where, table, column, np.flatnonzero(new))
                unseen |= new
            stop = start + len(levels)
            seen = np.flatnonzero(~new)
            matrix[seen, start + codes[seen]] = 1.0
            matrix[new, start:stop] = self.shares.get(column, 0.0)
            start = stop
        return matrix, unseen

    def _codes(self, column: int, values: np.ndarray) -> np.ndarray:
        """The index of each value's level, -1 if it is unknown."""
        number: dict[Any, int] = {
            level: i for i, level in enumerate(self.levels[column])
        }
        number[None] = number[self.common[column]]
        get = number.get
        return np.array([get(v, -1) for v in values], np.int64)

    def _unseen(
        self, where: str, table: Table, column: int, rows: np.ndarray
    ) -> ValueError:
        levels = self.levels[column]
        return ValueError(
            f"[{where}] {table.label(column)} must hold levels that were in "
            f"the training data. Received: {table.texts[column][rows[0]]!r} at row "
            f"{rows[0]} ({len(rows)} such rows in total). Known: "
            f"{', '.join(map(repr, levels[:12]))}"
            f"{', ...' if len(levels) > 12 else ''}. Try dropping such rows "
            "(extrapolates(X) finds them), or training with them."
        )

    def unseen_levels(self, where: str, table: Table) -> dict[int, list[Any]]:
        """By position, the values that are not known levels of the column."""
        table = self.prepared(where, table)
        found = {}
        for column in self.levels:
            if column not in self.pooled:
                values = table.texts[column]
                new = values[self._codes(column, values) < 0]
                if len(new):
                    found[column] = list(dict.fromkeys(new.tolist()))
        return found

    def warn_of_unseen(self, where: str, table: Table, rows: int) -> None:
        """Warn that rows have levels that were not in the training data."""
        if listener.get() is not None:
            return
        unseen = self.unseen_levels(where, table)
        column, values = next(iter(unseen.items()))
        warn(
            f"[{where}] {rows} rows have levels that were not in the training data, "
            f"such as {values[0]!r} in {table.label(column)}; they are predicted as "
            "average ones, and extrapolates(X) marks them.",
            UserWarning,
        )

    def prepared(self, where: str, table: Table) -> Table:
        """The table with each column converted to its kind in training: numbers and
        dates are parsed from text, and columns that are left out are empty.

        Raises:
            TypeError: a column holds something else than in training.
        """
        plain = not (self.readers or self.dates or self.words or self.left_out)
        if plain and table.numeric == self.numeric and not table.dates:
            return table
        place = {column: i for i, column in enumerate(table.numeric)}
        numbers = np.empty((table.rows, len(self.numeric)), np.float64)
        texts: dict[int, np.ndarray] = {}
        dates: dict[int, np.ndarray] = {}
        for position, column in enumerate(self.numeric):
            numbers[:, position] = self._numbers(where, table, column, place)
        for column in self.dates:
            dates[column] = self._seconds(where, table, column, place)
        for column in (*self.levels, *self.words):
            texts[column] = self._texts(where, table, column, place)
        return replace(
            table, numeric=list(self.numeric), numbers=numbers, texts=texts, dates=dates
        )

    def _numbers(
        self, where: str, table: Table, column: int, place: Mapping[int, int]
    ) -> np.ndarray:
        if column in place:
            return table.numbers[:, place[column]]
        if column in table.texts:
            values = table.texts[column]
            if column in self.readers:
                return self.readers[column].numbers(values)
            if all(value is None for value in values):
                return np.full(table.rows, np.nan)
        raise self._wrong_kind(where, table, column, "numbers")

    def _seconds(
        self, where: str, table: Table, column: int, place: Mapping[int, int]
    ) -> np.ndarray:
        dates = self.dates[column]
        if column in table.dates:
            return table.dates[column]
        if column in place:
            values = table.numbers[:, place[column]]
            if np.isnan(values).all():
                return values
            if dates.digits:
                cells = [None if v != v else str(int(v)) for v in values.tolist()]
                return DateText("ymd").seconds(cells)
        elif column in table.texts:
            texts = table.texts[column]
            reader = dates.text
            if reader is None:
                known = [v for v in dict.fromkeys(texts) if not _is_gap(v)]
                reader = learn_dates(known)[0] or DateText("ymd")
            found = reader.seconds(texts)
            wrong = np.isnan(found) & np.array([not _is_gap(v) for v in texts], bool)
            if not wrong.any():
                return found
            row = int(np.argmax(wrong))
            raise ValueError(
                f"[{where}] {table.label(column)} must hold dates, because it did in "
                f"the training data. Received: {texts[row]!r} at row {row} "
                f"({int(wrong.sum())} such rows in total). Try a date such as "
                "2000-01-31, or an empty cell."
            )
        raise self._wrong_kind(where, table, column, "dates")

    def _texts(
        self, where: str, table: Table, column: int, place: Mapping[int, int]
    ) -> np.ndarray:
        if column in table.texts:
            return table.texts[column]
        if column in place:
            values = table.numbers[:, place[column]]
            if np.isnan(values).all():  # the type of a column without values is unknown
                return np.full(table.rows, None, object)
            levels = self.levels.get(column, [""])
            if all(isinstance(level, (int, float)) for level in levels):
                return levels_of(
                    [int(v) if v == v and v.is_integer() else v for v in values]
                )
        raise self._wrong_kind(where, table, column, "texts")

    def _wrong_kind(self, where: str, table: Table, column: int, was: str) -> TypeError:
        now = "texts" if column in table.texts else "numbers"
        now = "dates" if column in table.dates else now
        fix = {"numbers": "astype(float)", "texts": "astype(str)"}
        return TypeError(
            f"[{where}] {table.label(column)} must hold {was}, because it did "
            f"in the training data. Received: {now}. "
            f"Try {fix.get(was, 'dates')} on it."
        )

    def missing(self, table: Table) -> dict[int, np.ndarray]:
        """By position, where each column of a prepared table has no value."""
        missing = np.isnan(table.numbers)
        found = {c: missing[:, i] for i, c in enumerate(self.numeric)}
        found |= {c: np.isnan(values) for c, values in table.dates.items()}
        for column, values in table.texts.items():
            found[column] = np.array([v is None for v in values], bool)
        return found

    def names_out(self) -> list[str]:
        """The meaning of each column of the matrix: "age", "age missing", "city =
        Rome"."""
        label = [
            f"x{c}" if self.names is None else self.names[c] for c in range(self.width)
        ]
        return [
            *(label[c] for c in self.numeric),
            *(name for c, d in self.dates.items() for name in d.names(label[c])),
            *(f"{label[c]} has {w!r}" for c, t in self.words.items() for w in t.words),
            *(f"{label[c]} missing" for c in self.with_missing),
            *(f"{label[c]} = {v}" for c, levels in self.levels.items() for v in levels),
        ]

    def check_names(self, where: str, table: Table, name: str) -> None:
        """Refuse a table whose columns differ from training, with scikit-learn's
        messages.

        Raises:
            ValueError: other names, another order or another number of columns.
        """
        if self.names is not None and table.names is None:
            warn(
                f"X does not have valid feature names, but {name} was fitted with "
                "feature names",
                UserWarning,
            )
        elif self.names is None and table.names is not None:
            warn(
                f"X has feature names, but {name} was fitted without feature names",
                UserWarning,
            )
        elif self.names is not None and self.names != table.names:
            assert table.names is not None
            raise ValueError(_names_message(self.names, table.names))
        if table.width != self.width:
            raise ValueError(
                f"[{where}] X has {table.width} features, but {name} is expecting "
                f"{self.width} features as input. Try the columns of the training data."
            )

    def _refuse_bad_values(self, where: str, table: Table) -> None:
        """Refuse infinite numbers and, unless they are imputed, missing values."""
        refuse_infinite(where, table)
        if not self.impute:
            self.refuse_missing(where, table)

    def refuse_missing(self, where: str, table: Table) -> None:
        flags = self.missing(table)
        count = sum(int(flag.sum()) for flag in flags.values())
        if not count:
            return
        order = [*self.numeric, *(c for c in sorted(flags) if c not in self.numeric)]
        column = next(c for c in order if flags[c].any())
        raise ValueError(
            f"[{where}] X must not have missing values. Received: "
            f"{table.place(int(np.argmax(flags[column])), column)} = NaN ({count} such "
            'values in total). Try missing="impute", or dropping these rows.'
        )


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


def refuse_infinite(where: str, table: Table) -> None:
    infinite = np.isinf(table.numbers)
    if infinite.any():
        row, position = (int(i) for i in np.argwhere(infinite)[0])
        raise ValueError(
            f"[{where}] X must be finite. Received: "
            f"{table.place(row, table.numeric[position])} = "
            f"{table.numbers[row, position]} ({int(infinite.sum())} such values in "
            "all). Try dropping these rows."
        )


def _is_gap(cell: Any) -> bool:
    """Whether a cell of a date column contains no date."""
    return cell is None or (isinstance(cell, str) and is_gap(cell))
