"""Statistics of the columns of data that comes in batches: what `Columns.learn` and
`Scaler.learn` compute for a table in memory."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from kurve.estimators.columns import Columns, check_levels, refuse_bad_values
from kurve.estimators.frames import Table
from kurve.estimators.reservoir import Batch
from kurve.estimators.scaling import Moments, Scaler


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

    @property
    def rows(self) -> int:
        """Number of rows."""
        return sum(self.sizes)

    def add(self, batch: Batch) -> None:
        """Add a batch."""
        table, _, weights = batch
        if self.first is None:
            self.first = table
            self.counts = {c: Counter() for c in table.texts}
            self.moments = [Moments() for _ in table.numeric]
        elif (table.names, table.width, table.numeric) != (
            self.first.names,
            self.first.width,
            self.first.numeric,
        ):
            raise ValueError(
                "[fit] every batch must have the columns of the first one, with the "
                f"same types. Received: {table.width} columns, numbers in "
                f"{table.numeric}, names {table.names}; at first {self.first.width}, "
                f"numbers in {self.first.numeric}, names {self.first.names}. Try the "
                "same columns."
            )
        refuse_bad_values("fit", table, self.impute)
        self.sizes.append(table.rows)
        self.total_weight += table.rows if weights is None else float(weights.sum())
        for position, column in enumerate(table.numeric):
            values = table.numbers[:, position]
            known = ~np.isnan(values)
            if not known.all():
                self.missing[column] += int((~known).sum())
            if known.any():
                counted = None if weights is None else weights[known]
                self.moments[position].add(values[known, None], counted)
        for column, texts in table.texts.items():
            self.counts[column].update(v for v in texts if v is not None)
            check_levels(
                "fit", table, column, self.counts[column], self.rows, more=True
            )
            missing = sum(v is None for v in texts)
            if missing:
                self.missing[column] += missing

    def columns(self, sample: Table) -> Columns:
        """The columns; medians are those of a sample of the rows."""
        table = self.first
        assert table is not None
        for column, counts in self.counts.items():
            check_levels("fit", table, column, counts, self.rows)
        medians = np.zeros(len(table.numeric))
        for position in range(len(medians) if self.impute else 0):
            values = sample.numbers[:, position]
            known = values[~np.isnan(values)]
            medians[position] = np.median(known) if len(known) else 0.0
        levels = {
            c: sorted(counts, key=lambda v: (str(type(v)), v))
            for c, counts in self.counts.items()
        }
        common = {
            c: min(counts, key=lambda v: (-counts[v], str(v)))
            for c, counts in self.counts.items()
        }
        return Columns(
            table.names,
            table.width,
            list(table.numeric),
            medians,
            sorted(self.missing),
            levels,
            common,
            self.impute,
        )

    def scaler(self, columns: Columns, scale: bool) -> Scaler:
        """The scaler of the encoded matrix of all rows."""
        numbers = [moments.scaler(scale) for moments in self.moments]
        means = [self.missing[c] / self.rows for c in columns.with_missing]
        for c, levels in columns.levels.items():
            means += [self.counts[c][level] / self.rows for level in levels]
        parts = [[s.mean[0], s.deviation[0], s.low[0], s.high[0]] for s in numbers]
        if scale:
            parts += [[p, np.sqrt(p * (1.0 - p)), 0.0, 1.0] for p in means]
        else:
            parts += [[0.0, 1.0, 0.0, 1.0] for _ in means]
        scaler = Scaler(*np.array(parts, np.float64).T)
        if scale:
            scaler.soften(len(numbers))
        return scaler
