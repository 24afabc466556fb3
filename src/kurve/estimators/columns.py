"""From the columns of a table to one matrix of float64.

    table = read_table("fit", X)            numbers and texts apart, names kept
    columns = Columns.learn(table, missing) levels, medians, what has gaps
    matrix, unseen = columns.encode("predict", table)

The matrix holds the numeric columns (booleans are 0 and 1), then for every column that
had gaps a column that is 1 where the value was missing, then for every text or
categorical column one column a level (one-hot).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from kurve.core.arguments import has_lone_surrogate
from kurve.core.entries import warn
from kurve.estimators.frames import Table, levels_of

MAX_LEVELS, FEW_LEVELS = 256, 50
"""Levels beyond which a column is taken for a name of the rows, not a category; and
levels up to which it is one however few rows there are."""

Level = str | int | float | bool


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
    def learn(
        cls, where: str, table: Table, impute: bool, more: bool = False
    ) -> Columns:
        """The columns of training data.

        Args:
            more: whether more rows are to come.

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
            check_levels(where, table, column, counts, table.rows, more)
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
    table.texts[column] = levels_of(
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


def too_many_levels(levels: int, rows: int | None) -> bool:
    """Whether a column of so many levels is no category; of the rows as well, if they
    are known."""
    repeat = rows is None or levels <= max(FEW_LEVELS, rows / 2)
    return levels > MAX_LEVELS or not repeat


def check_levels(
    where: str,
    table: Table,
    column: int,
    counts: Counter[Any],
    rows: int,
    more: bool = False,
) -> None:
    """Refuse levels that are no texts or numbers, and a column with so many of them
    that it must be a name of the rows.

    Args:
        more: whether more rows are to come.
    """
    odd = [v for v in counts if not isinstance(v, (str, int, float))]
    if odd:
        raise TypeError(
            f"[{where}] the levels of {table.label(column)} must be texts or numbers. "
            f"Received: {odd[0]!r} of type {type(odd[0]).__name__}. "
            "Try astype(str) on it."
        )
    odd = [v for v in counts if not isinstance(v, str) and not abs(v) < 1e19]
    if odd:
        raise ValueError(
            f"[{where}] the levels of {table.label(column)} must be finite and below "
            f"1e19 if they are numbers. Received: {odd[0]!r}. Try astype(str) on it."
        )
    if too_many_levels(len(counts), None if more else rows):
        raise ValueError(
            f"[{where}] {table.label(column)} must have at most {MAX_LEVELS} levels, "
            "because each becomes a column of its own, and of more than "
            f"{FEW_LEVELS} each twice on average. Received: at least {len(counts)} "
            f"levels in {rows} rows, such as {next(iter(counts))!r}. Try "
            "leaving it out if it names the rows, or astype(float) if it holds numbers "
            "as text."
        )
    for level in counts:
        if isinstance(level, str) and has_lone_surrogate(level):
            raise ValueError(
                f"[{where}] the levels of {table.label(column)} must be text without "
                "lone surrogates, which UTF-8 cannot write. "
                f"Received: {level!r}. Try replacing it by a text without them."
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
