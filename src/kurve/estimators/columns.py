"""Encoding of table columns as a float64 matrix.

    table = read_table("fit", X)                  numbers, texts and dates, separately
    columns = Columns.learn("fit", table, impute) what each column is, levels, medians
    matrix, unseen = columns.encode("predict", table)

The matrix holds the numeric columns (booleans are 0 and 1), then the features of dates
and the words of texts (see `kurve.estimators.kinds`), then for each column with
missing values an indicator that is 1 where the value was missing, then for each text or
categorical column one column per level (one-hot). A level that is not among them counts
as an average one: in its place stands each level's share of the training rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from kurve.core.arguments import has_lone_surrogate
from kurve.core.entries import warn
from kurve.estimators.frames import Table, levels_of
from kurve.estimators.kinds import (
    Dates,
    Level,
    Words,
    frequent_levels,
    is_identifier,
    learn_words,
    recognise,
    too_many_levels,
)
from kurve.tables.dates import DateText, learn_dates, seconds_of_digits
from kurve.tables.numerals import Numerals, is_gap


class Note(NamedTuple):
    """What a fit did with a column.

    about: "gaps" that were filled in, a "loss" of values, or "use" for how a column is
        learned
    """

    text: str
    about: str


listener: ContextVar[Callable[[Note], None] | None] = ContextVar(
    "listener", default=None
)
"""Receives the notes of every `fit` in this context, in place of warnings."""


def tell(where: str, columns: Columns, missing: str) -> None:
    """Tell the user what was done with the columns of training data. What loses values
    is a warning, except for what the user asked for.

    Args:
        missing: the estimator's argument.
    """
    listening = listener.get()
    if listening is not None:
        for note in columns.notes:
            listening(note)
        return
    wanted = ("loss",) if missing == "impute" else ("loss", "gaps")
    texts = [note.text for note in columns.notes if note.about in wanted]
    if texts:
        warn(f"[{where}] {'; '.join(texts)}.", UserWarning)


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
    shares:  by position, each level's share of the training rows
    pooled:  positions of the columns of which only the frequent levels are kept
    readers: by position, how a numeric column writes its numbers, or its durations,
        as text
    dates, words: by position, columns of dates and of texts
    left_out: by position, why a column is not used
    notes:   what `learn` did, for the user
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

    @classmethod
    def learn(
        cls,
        where: str,
        table: Table,
        impute: bool,
        more: bool = False,
        counts: Mapping[int, Counter[Any]] | None = None,
    ) -> Columns:
        """Learn the columns of training data.

        Args:
            more: whether more rows will follow.
            counts: by position, how often each text occurs, if the table is only a
                sample of the rows.

        Raises:
            ValueError: missing values without imputation, infinite values, or no column
                that could be learned from.
        """
        _refuse_infinite(where, table)
        columns = cls(table.names, table.width, [], np.zeros(0), [], {}, {}, impute)
        columns._recognise(where, table, more, counts or {})
        found = columns.prepared(where, table)
        if not impute:
            columns._refuse_missing(where, found)
        missing = np.isnan(found.numbers)
        columns.medians = np.zeros(len(columns.numeric))
        for position, column in enumerate(columns.numeric):
            if missing[:, position].all():
                raise _no_value(where, table, column)
            if missing[:, position].any():
                columns.medians[position] = np.nanmedian(found.numbers[:, position])
            elif impute:
                columns.medians[position] = np.median(found.numbers[:, position])
        flags = columns._missing(found)
        columns.with_missing = [c for c, flag in sorted(flags.items()) if flag.any()]
        columns._note_gaps(table, flags)
        if not (columns.numeric or columns.levels or columns.dates or columns.words):
            reasons = "; ".join(
                f"{table.label(c)} {why}" for c, why in columns.left_out.items()
            )
            raise ValueError(
                f"[{where}] there must be a column to learn from. Received: {reasons}. "
                "Try other columns, or astype('category') for one of these."
            )
        return columns

    def _recognise(
        self,
        where: str,
        table: Table,
        more: bool,
        counts: Mapping[int, Counter[Any]],
    ) -> None:
        """Find out what each column is."""
        for column in range(table.width):
            if column in table.texts:
                values = table.texts[column]
                count = counts.get(column)
                if count is None:
                    count = Counter(v for v in values if v is not None)
                self._recognise_text(where, table, column, count, more)
            elif column in table.dates:
                if np.isnan(table.dates[column]).all():
                    self._leave_out(table, column, "has no value", more, where)
                else:
                    self._add_dates(table, column, Dates.learn(table.dates[column]))
            else:
                self._recognise_numbers(where, table, column, more)

    def _recognise_numbers(
        self, where: str, table: Table, column: int, more: bool
    ) -> None:
        values = table.numbers[:, table.numeric.index(column)]
        name = "" if table.names is None else table.names[column]
        if np.isnan(values).all():
            self._leave_out(table, column, "has no value", more, where)
        elif is_identifier(name, values) and not more:
            self._leave_out(table, column, "identifies the rows", more, where)
        elif (seconds := seconds_of_digits(values)) is not None:
            self._add_dates(table, column, Dates.learn(seconds, digits=True))
        else:
            self.numeric.append(column)

    def _recognise_text(
        self, where: str, table: Table, column: int, counts: Counter[Any], more: bool
    ) -> None:
        if not counts:
            self._leave_out(table, column, "has no value", more, where)
            return
        declared = column in table.declared
        found = None if declared else recognise(counts)
        if found is not None and found.numerals is not None:
            self.numeric.append(column)
            self.readers[column] = found.numerals
            mark = found.numerals.decimal
            self._note(
                f"{table.label(column)} holds numbers with decimal mark {mark!r}"
            )
            if found.strange is not None:
                self._note(
                    f"{table.label(column)}: cells such as {found.strange!r} are no "
                    "numbers and count as missing",
                    "loss",
                )
            return
        if found is not None and found.dates is not None:
            text = found.dates
            seconds = text.seconds(table.texts[column])
            if text.order == "duration":
                self.numeric.append(column)
                self.readers[column] = text
                return
            self._add_dates(table, column, Dates.learn(seconds, text))
            if found.unsure:
                order = "day first" if text.order == "dmy" else "month first"
                self._note(f"{table.label(column)}: dates are read {order}", "loss")
            return
        check_levels(where, table, column, counts)
        rows = sum(counts.values())
        if too_many_levels(len(counts), None if more else rows):
            words = None if declared else learn_words(counts)
            if words is not None:
                self.words[column] = words
                self._note(
                    f"{table.label(column)} holds texts, learned by "
                    f"{len(words.words)} frequent words"
                )
                return
            kept = frequent_levels(counts, declared)
            if not kept:
                why = f"has {len(counts):,} different texts in {rows:,} rows"
                self._leave_out(table, column, why, False, where)
                return
            self.pooled.append(column)
            self._note(
                f"{table.label(column)} has {len(counts):,} levels: the "
                f"{len(kept)} most frequent are learned, the others as one",
                "loss",
            )
            counts = Counter({level: counts[level] for level in kept})
        self.add_levels(column, counts, rows)

    def add_levels(self, column: int, counts: Counter[Any], rows: int) -> None:
        """Learn the levels of a category.

        Args:
            counts: by level, the number of rows.
            rows: with a level.
        """
        levels = sorted(counts, key=lambda v: (str(type(v)), v))
        self.levels[column] = levels
        self.common[column] = min(counts, key=lambda v: (-counts[v], str(v)))
        self.shares[column] = np.array([counts[v] for v in levels], np.float64) / rows

    def _add_dates(self, table: Table, column: int, dates: Dates) -> None:
        self.dates[column] = dates
        self._note(
            f"{table.label(column)} holds dates, {dates}; predictions for other dates "
            "continue the trend"
        )

    def _leave_out(
        self, table: Table, column: int, why: str, more: bool, where: str
    ) -> None:
        if more:
            raise _no_value(where, table, column)
        self.left_out[column] = why
        self._note(f"{table.label(column)} {why} and is left out", "loss")

    def _note_gaps(self, table: Table, flags: Mapping[int, np.ndarray]) -> None:
        gaps = {c: int(flags[c].sum()) for c in self.with_missing}
        if gaps:
            listed = ", ".join(f"{table.label(c)} ({n})" for c, n in gaps.items())
            self._note(f"missing values are filled in and marked: {listed}", "gaps")

    def _note(self, text: str, about: str = "use") -> None:
        self.notes.append(Note(text, about))

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
            flags = self._missing(table)
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
        """The number of each value's level, -1 for one that is not known."""
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
        """By position, the values that are no known level of the column."""
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
        """The table with each column as what it was in training: numbers and dates in
        texts are read, columns that are left out are empty.

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

    def _missing(self, table: Table) -> dict[int, np.ndarray]:
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
        _refuse_infinite(where, table)
        if not self.impute:
            self._refuse_missing(where, table)

    def _refuse_missing(self, where: str, table: Table) -> None:
        flags = self._missing(table)
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


def check_levels(where: str, table: Table, column: int, counts: Counter[Any]) -> None:
    """Refuse levels that are neither strings nor numbers."""
    invalid = [v for v in counts if not isinstance(v, (str, int, float))]
    if invalid:
        raise TypeError(
            f"[{where}] the levels of {table.label(column)} must be strings or "
            f"numbers. Received: {invalid[0]!r} of type {type(invalid[0]).__name__}. "
            "Try astype(str) on it."
        )
    invalid = [v for v in counts if not isinstance(v, str) and not abs(v) < 1e19]
    if invalid:
        raise ValueError(
            f"[{where}] the levels of {table.label(column)} must be finite and below "
            f"1e19 if they are numbers. Received: {invalid[0]!r}. "
            "Try astype(str) on it."
        )
    for level in counts:
        if isinstance(level, str) and has_lone_surrogate(level):
            raise ValueError(
                f"[{where}] the levels of {table.label(column)} must not contain "
                "lone surrogates, which UTF-8 cannot encode. "
                f"Received: {level!r}. Try replacing it with text that has none."
            )


def _refuse_infinite(where: str, table: Table) -> None:
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
    """Whether a cell of dates has none."""
    return cell is None or (isinstance(cell, str) and is_gap(cell))


def _no_value(where: str, table: Table, column: int) -> ValueError:
    return ValueError(
        f"[{where}] every column must have at least one value. Received: "
        f"{table.label(column)}, missing in all {table.rows} rows. "
        "Try dropping the column."
    )
