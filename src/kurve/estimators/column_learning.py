"""The columns of training data: their kinds, levels and medians.

columns = learn_columns("fit", table, impute)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from kurve.core.arguments import has_lone_surrogate
from kurve.estimators.columns import Columns, refuse_infinite
from kurve.estimators.frames import Table
from kurve.estimators.kinds import (
    Dates,
    frequent_levels,
    is_identifier,
    learn_words,
    recognise,
    too_many_levels,
)
from kurve.estimators.notes import Note
from kurve.tables.dates import DateText, seconds_of_digits
from kurve.tables.numerals import Numerals


def learn_columns(
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
    refuse_infinite(where, table)
    recognition = _Recognition(where, table, impute, more)
    for column in range(table.width):
        recognition.add(column, (counts or {}).get(column))
    columns = recognition.columns
    prepared = columns.prepared(where, table)
    if not impute:
        columns.refuse_missing(where, prepared)
    flags = columns.missing(prepared)
    columns.medians = np.zeros(len(columns.numeric))
    for position, column in enumerate(columns.numeric):
        values = prepared.numbers[:, position]
        if flags[column].all():
            raise _no_value(where, table, column)
        if flags[column].any():
            columns.medians[position] = np.nanmedian(values)
        elif impute:
            columns.medians[position] = np.median(values)
    columns.with_missing = [c for c, flag in sorted(flags.items()) if flag.any()]
    if columns.with_missing:
        shown = (f"{table.label(c)} ({flags[c].sum()})" for c in columns.with_missing)
        text = f"missing values are filled in and marked: {', '.join(shown)}"
        columns.notes.append(Note(text, "missing"))
    if not (columns.numeric or columns.levels or columns.dates or columns.words):
        reasons = "; ".join(
            f"{table.label(c)} {why}" for c, why in columns.left_out.items()
        )
        raise ValueError(
            f"[{where}] there must be a column to learn from. Received: {reasons}. "
            "Try other columns, or astype('category') for one of these."
        )
    return columns


class _Recognition:
    """Determines the kind of each column.

    Args:
        more: whether more rows will follow.
    """

    def __init__(self, where: str, table: Table, impute: bool, more: bool) -> None:
        self.where, self.table, self.more = where, table, more
        self.columns = Columns(
            table.names, table.width, [], np.zeros(0), [], {}, {}, impute
        )

    def add(self, column: int, counts: Counter[Any] | None) -> None:
        """Add a column.

        Args:
            counts: how often each text occurs, if known.
        """
        table = self.table
        if column in table.texts:
            if counts is None:
                counts = Counter(v for v in table.texts[column] if v is not None)
            self._add_texts(column, counts)
        elif column in table.dates:
            if np.isnan(table.dates[column]).all():
                self._no_values(column)
            else:
                self._add_dates(column, Dates.learn(table.dates[column]))
        else:
            self._add_numbers(column)

    def _add_numbers(self, column: int) -> None:
        table = self.table
        values = table.numbers[:, table.numeric.index(column)]
        name = "" if table.names is None else table.names[column]
        if np.isnan(values).all():
            self._no_values(column)
        elif is_identifier(name, values) and not self.more:
            self._leave_out(column, "identifies the rows")
        elif (seconds := seconds_of_digits(values)) is not None:
            self._add_dates(column, Dates.learn(seconds, digits=True))
        else:
            self.columns.numeric.append(column)

    def _add_texts(self, column: int, counts: Counter[Any]) -> None:
        declared = column in self.table.declared
        found = None if declared or not counts else recognise(counts)
        if not counts:
            self._no_values(column)
        elif found is not None and found.numerals is not None:
            self._add_numerals(column, found.numerals, found.strange)
        elif found is not None and found.dates is not None:
            self._add_date_texts(column, found.dates, found.unsure)
        else:
            self._add_categories(column, counts, declared)

    def _add_numerals(
        self, column: int, numerals: Numerals, strange: str | None
    ) -> None:
        self.columns.numeric.append(column)
        self.columns.readers[column] = numerals
        unit = f" of the unit {numerals.unit!r}" if numerals.unit else ""
        mark = numerals.decimal
        self._note(column, f" holds numbers{unit} with decimal mark {mark!r}")
        if strange is not None:
            self._note(
                column,
                f": cells such as {strange!r} are not numbers and count as missing",
                "loss",
            )

    def _add_date_texts(self, column: int, text: DateText, unsure: bool) -> None:
        if text.order == "duration":
            self.columns.numeric.append(column)
            self.columns.readers[column] = text
            return
        seconds = text.seconds(self.table.texts[column])
        self._add_dates(column, Dates.learn(seconds, text))
        if unsure:
            order = "day first" if text.order == "dmy" else "month first"
            self._note(column, f": dates are read {order}", "loss")

    def _add_categories(
        self, column: int, counts: Counter[Any], declared: bool
    ) -> None:
        check_levels(self.where, self.table, column, counts)
        rows = sum(counts.values())
        if too_many_levels(len(counts), None if self.more else rows):
            words = None if declared else learn_words(counts)
            if words is not None:
                self.columns.words[column] = words
                count = len(words.words)
                plural = "" if count == 1 else "s"
                text = f" holds texts, learned by {count} frequent word{plural}"
                self._note(column, text)
                return
            kept = frequent_levels(counts, declared)
            if not kept:
                why = f"has {len(counts):,} different texts in {rows:,} rows"
                self._leave_out(column, why)
                return
            self.columns.pooled.append(column)
            self._note(
                column,
                f" has {len(counts):,} levels: the {len(kept)} most frequent are "
                "learned, the others as one",
                "loss",
            )
            counts = Counter({level: counts[level] for level in kept})
        self._add_levels(column, counts, rows)

    def _add_levels(self, column: int, counts: Counter[Any], rows: int) -> None:
        """
        Args:
            counts: by level, the number of rows.
            rows: number of rows with a level, whether kept or not.
        """
        levels = sorted(counts, key=lambda v: (str(type(v)), v))
        shares = np.array([counts[v] for v in levels], np.float64) / rows
        self.columns.levels[column] = levels
        self.columns.common[column] = min(counts, key=lambda v: (-counts[v], str(v)))
        self.columns.shares[column] = shares

    def _add_dates(self, column: int, dates: Dates) -> None:
        self.columns.dates[column] = dates
        self._note(
            column,
            f" holds dates, {dates}; predictions for other dates continue the trend",
        )

    def _leave_out(self, column: int, why: str) -> None:
        self.columns.left_out[column] = why
        self._note(column, f" {why} and is left out", "loss")

    def _no_values(self, column: int) -> None:
        """Leave out a column without values, unless later rows may contain some."""
        if self.more:
            raise _no_value(self.where, self.table, column)
        self._leave_out(column, "has no value")

    def _note(self, column: int, text: str, about: str = "use") -> None:
        self.columns.notes.append(Note(self.table.label(column) + text, about))


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


def _no_value(where: str, table: Table, column: int) -> ValueError:
    return ValueError(
        f"[{where}] every column must have at least one value. Received: "
        f"{table.label(column)}, missing in all {table.rows} rows. "
        "Try dropping the column."
    )
