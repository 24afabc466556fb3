"""Encoding of table columns as a float64 matrix.

    table = read_table("fit", X)                  numbers and texts, separately
    columns = Columns.learn("fit", table, impute) levels, medians, missing values
    matrix, unseen = columns.encode("predict", table)

The matrix holds the numeric columns (booleans are 0 and 1), then for each column with
missing values an indicator that is 1 where the value was missing, then for each text or
categorical column one column per level (one-hot).
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
"""Maximum levels of a category: a column with more is considered a row identifier. And
the number of levels up to which a column is always a category, however few rows there
are."""

Level = str | int | float | bool


@dataclass
class Columns:
    """What was learned about the columns of a table.

    names, width, numeric: as in `Table`
    medians: (len(numeric),) of each numeric column, to replace missing values
    with_missing: positions of the columns that had missing values
    levels:  by position, the levels of each text or categorical column, in order
    common:  by position, the most frequent level
    impute:  whether to impute or refuse missing values
    """

    names: list[str] | None
    width: int
    numeric: list[int]
    medians: np.ndarray
    with_missing: list[int]
    levels: dict[int, list[Level]]
    common: dict[int, Level]
    impute: bool

    @classmethod
    def learn(
        cls, where: str, table: Table, impute: bool, more: bool = False
    ) -> Columns:
        """Learn the columns of training data.

        Args:
            more: whether more rows will follow.

        Raises:
            ValueError: missing values without imputation, infinite values, a
                column without any value, or a text column with nearly as many levels
                as rows.
        """
        refuse_bad_values(where, table, impute)
        missing = np.isnan(table.numbers)
        incomplete = missing.any(axis=0)
        medians = np.zeros(len(table.numeric))
        for position, column in enumerate(table.numeric):
            if missing[:, position].all():
                raise _no_value(where, table, column)
            if incomplete[position]:
                medians[position] = np.nanmedian(table.numbers[:, position])
            elif impute:
                medians[position] = np.median(table.numbers[:, position])
        with_missing = {c for p, c in enumerate(table.numeric) if incomplete[p]}
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
                with_missing.add(column)
        return cls(
            table.names,
            table.width,
            list(table.numeric),
            medians,
            sorted(with_missing),
            levels,
            common,
            impute,
        )

    @property
    def matrix_width(self) -> int:
        """Number of the matrix's columns."""
        return self._first_level + sum(map(len, self.levels.values()))

    @property
    def _first_level(self) -> int:
        """The matrix's column where the levels start."""
        return len(self.numeric) + len(self.with_missing)

    def encode(
        self, where: str, table: Table, strict: bool = True
    ) -> tuple[np.ndarray, np.ndarray]:
        """The matrix (n, matrix_width), and which rows have a level that was not in the
        training data, bool (n,). Such a level has 0 in all its one-hot columns.

        Args:
            strict: refuse unseen levels.

        Raises:
            TypeError: a numeric column now holds text, or vice versa.
            ValueError: missing or infinite values, unseen levels.
        """
        self._check_kinds(where, table)
        refuse_bad_values(where, table, self.impute)
        unseen = np.zeros(table.rows, bool)
        missing = np.isnan(table.numbers)
        if not self.levels and not self.with_missing and not missing.any():
            return table.numbers, unseen
        matrix = np.zeros((table.rows, self.matrix_width), np.float64)
        matrix[:, : len(self.numeric)] = np.where(missing, self.medians, table.numbers)
        index = {column: position for position, column in enumerate(self.numeric)}
        for position, column in enumerate(self.with_missing, len(self.numeric)):
            matrix[:, position] = (
                missing[:, index[column]]
                if column in index
                else [v is None for v in table.texts[column]]
            )
        start = self._first_level
        for column, levels in self.levels.items():
            number = {level: i for i, level in enumerate(levels)}
            common = number[self.common[column]]
            values = table.texts[column]
            codes = np.array(
                [common if v is None else number.get(v, -1) for v in values], np.int64
            )
            new = codes < 0
            if strict and new.any():
                row = int(np.argmax(new))
                raise ValueError(
                    f"[{where}] {table.label(column)} must hold levels that were in "
                    f"the training data. Received: {values[row]!r} at row {row} "
                    f"({int(new.sum())} such rows in total). Known: "
                    f"{', '.join(map(repr, levels[:12]))}"
                    f"{', ...' if len(levels) > 12 else ''}. Try dropping such rows "
                    "(extrapolates(X) finds them), or training with them."
                )
            unseen |= new
            seen = np.flatnonzero(~new)
            matrix[seen, start + codes[seen]] = 1.0
            start += len(levels)
        return matrix, unseen

    def names_out(self) -> list[str]:
        """The meaning of each column of the matrix: "age", "age missing", "city =
        Rome"."""
        label = [
            f"x{c}" if self.names is None else self.names[c] for c in range(self.width)
        ]
        return [
            *(label[c] for c in self.numeric),
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

    def _check_kinds(self, where: str, table: Table) -> None:
        for column in range(self.width):
            was, now = column in self.levels, column in table.texts
            if was == now:
                continue
            if was and np.isnan(table.numbers[:, table.numeric.index(column)]).all():
                # The type of a column without any values is unknown.
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
    """Whether a numeric column could be treated as categorical, because training had
    numbers as levels."""
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
    """Whether a column has too many levels to be a category.

    Args:
        rows: in the table, if known.
    """
    repeated = rows is None or levels <= max(FEW_LEVELS, rows / 2)
    return levels > MAX_LEVELS or not repeated


def check_levels(
    where: str,
    table: Table,
    column: int,
    counts: Counter[Any],
    rows: int,
    more: bool = False,
) -> None:
    """Refuse levels that are neither strings nor numbers, and columns with so many
    levels that they must be row identifiers.

    Args:
        more: whether more rows will follow.
    """
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
    if too_many_levels(len(counts), None if more else rows):
        raise ValueError(
            f"[{where}] {table.label(column)} must have at most {MAX_LEVELS} levels, "
            f"because each becomes a column, and if it has more than {FEW_LEVELS}, two "
            f"rows per level on average. Received: at least {len(counts)} levels in "
            f"{rows} rows, such as {next(iter(counts))!r}. Try dropping the column "
            "if it identifies the rows, or astype(float) if it holds numbers as text."
        )
    for level in counts:
        if isinstance(level, str) and has_lone_surrogate(level):
            raise ValueError(
                f"[{where}] the levels of {table.label(column)} must not contain "
                "lone surrogates, which UTF-8 cannot encode. "
                f"Received: {level!r}. Try replacing it with text that has none."
            )


def refuse_bad_values(where: str, table: Table, impute: bool) -> None:
    """Refuse infinite numbers and, unless they are imputed, missing values."""
    _refuse_infinite(where, table)
    if not impute:
        _refuse_missing(where, table)


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


def _refuse_missing(where: str, table: Table) -> None:
    missing = np.isnan(table.numbers)
    count = int(missing.sum()) + sum(
        sum(v is None for v in values) for values in table.texts.values()
    )
    if not count:
        return
    if missing.any():
        row, position = (int(i) for i in np.argwhere(missing)[0])
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
        f"{table.place(row, column)} = NaN ({count} such values in total). "
        'Try missing="impute", or dropping these rows.'
    )


def _no_value(where: str, table: Table, column: int) -> ValueError:
    return ValueError(
        f"[{where}] every column must have at least one value. Received: "
        f"{table.label(column)}, missing in all {table.rows} rows. "
        "Try dropping the column."
    )
