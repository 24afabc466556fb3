"""Statistics of the columns of data that comes in batches: what `learn_columns` and
`Scaler.learn` compute for a table in memory."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np

from kurve.estimators.column_learning import check_levels, learn_columns
from kurve.estimators.columns import Columns
from kurve.estimators.frames import Table
from kurve.estimators.reservoir import Batch
from kurve.estimators.scaling import Moments, Scaler

MOST_TEXTS = 20_000
"""Different texts of a column to count. With more, what is learned of the column is
that of the sample: they would take as much memory as the column itself."""


class ColumnStatistics:
    """What is known about the columns after some batches.

    Args:
        impute: whether missing values are allowed.
    """

    def __init__(self, impute: bool) -> None:
        self.impute = impute
        self.first: Table | None = None
        self.sizes: list[int] = []
        self.total_weight = 0.0
        self.counts: dict[int, Counter[Any]] = {}
        self.missing: Counter[int] = Counter()
        self.moments: list[Moments] = []
        self.ends: dict[int, tuple[float, float]] = {}

    @property
    def rows(self) -> int:
        """Number of rows."""
        return sum(self.sizes)

    def add(self, batch: Batch) -> None:
        """Add a batch.

        The first batch says which columns hold numbers and dates; see `columns` for
        what later ones may change.
        """
        table, _, weights = batch
        if self.first is None:
            self.first = table
            self.counts = {c: Counter() for c in table.texts}
            self.ends = dict.fromkeys(table.dates, (np.inf, -np.inf))
            self.moments = [Moments() for _ in table.numeric]
        elif _outline(table) != _outline(self.first):
            raise ValueError(
                "[fit] every batch must have the columns of the first one, with the "
                f"same types. Received: {_outline(table)}; at first "
                f"{_outline(self.first)}. Try the same columns."
            )
        self.sizes.append(table.rows)
        self.total_weight += table.rows if weights is None else float(weights.sum())
        for position, column in enumerate(table.numeric):
            values = table.numbers[:, position]
            known = ~np.isnan(values)
            if not known.all():
                self._add_missing(table, column, ~known)
            if known.any():
                counted = None if weights is None else weights[known]
                self.moments[position].add(values[known, None], counted)
        for column, texts in table.texts.items():
            self._count(table, column, Counter(v for v in texts if v is not None))
            missing = np.array([v is None for v in texts], bool)
            if missing.any():
                self._add_missing(table, column, missing)
        for column, seconds in table.dates.items():
            missing = np.isnan(seconds)
            if missing.any():
                self._add_missing(table, column, missing)
            if not missing.all():
                low, high = self.ends[column]
                self.ends[column] = (
                    min(low, float(np.nanmin(seconds))),
                    max(high, float(np.nanmax(seconds))),
                )

    def _count(self, table: Table, column: int, found: Counter[Any]) -> None:
        check_levels("fit", table, column, found)
        if column in self.counts:
            self.counts[column].update(found)
            if len(self.counts[column]) > MOST_TEXTS:
                del self.counts[column]

    def _add_missing(self, table: Table, column: int, missing: np.ndarray) -> None:
        if not self.impute:
            raise ValueError(
                "[fit] X must not have missing values. Received: "
                f"{table.place(int(np.argmax(missing)), column)} = NaN. "
                'Try missing="impute", or dropping these rows.'
            )
        self.missing[column] += int(missing.sum())

    def columns(self, sample: Table) -> Columns:
        """The columns. Their kinds, medians and words are those of a sample of the
        rows, their levels and the span of dates those of all rows; the levels are those
        of the sample, too, where there are very many texts."""
        table = self.first
        assert table is not None
        columns = learn_columns("fit", sample, self.impute, counts=self.counts)
        columns.with_missing = sorted(
            c for c in self.missing if c not in columns.left_out
        )
        for column, (first, last) in self.ends.items():
            if column in columns.dates:
                dates = columns.dates[column]
                columns.dates[column] = replace(dates, first=first, last=last)
        return columns

    def scaler(self, columns: Columns, sample: Table, scale: bool) -> Scaler:
        """The scaler of the encoded matrix of all rows.

        Args:
            sample: of the rows, for columns that are not in the table as they are.
        """
        matrix, _ = columns.encode("fit", sample)
        scaler = Scaler.learn(matrix, None, scale)
        place = {} if self.first is None else _places(self.first.numeric)
        for position, column in enumerate(columns.numeric):
            if column in place:
                self._take(scaler, position, self.moments[place[column]].scaler(scale))
        shares = [self.missing[c] / self.rows for c in columns.with_missing]
        for levels in columns.shares.values():
            shares += levels.tolist()
        for position, share in enumerate(shares, columns.matrix_width - len(shares)):
            one = np.array([share])
            deviation = np.sqrt(one * (1.0 - one))
            known = Scaler(one, deviation, one * 0, one * 0 + 1)
            if not scale:
                known = Scaler(one * 0, one * 0 + 1, one * 0, one * 0 + 1)
            self._take(scaler, position, known)
        if scale:
            scaler.soften(columns.continuous)
        return scaler.without_zeros() if scale else scaler

    @staticmethod
    def _take(scaler: Scaler, position: int, column: Scaler) -> None:
        """Put the scaler of one column in the place of another."""
        scaler.mean[position] = column.mean[0]
        scaler.deviation[position] = column.deviation[0]
        scaler.low[position] = column.low[0]
        scaler.high[position] = column.high[0]


def _places(columns: list[int]) -> dict[int, int]:
    return {column: position for position, column in enumerate(columns)}


def _outline(table: Table) -> str:
    """Number, names and types of a table's columns."""
    return (
        f"{table.width} columns, numbers in {table.numeric}, dates in "
        f"{sorted(table.dates)}, names {table.names}"
    )
