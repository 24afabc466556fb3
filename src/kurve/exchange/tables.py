"""Tables with columns other than numbers, for exported models: the form in which each
column is passed, and test rows.

Numbers, and categories that are numbers, are given as float64, NaN where missing. Other
categories and texts are given as text, empty where missing. Dates and numbers in local
notation are text in C, which parses them like Kurve; ONNX has no operations for that,
so it takes seconds since 1970, and numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kurve.estimators.columns import Columns
from kurve.estimators.frames import Table
from kurve.tables.dates import DateText, text_of
from kurve.tables.numerals import Numerals

STYLES = {
    "ymd": "{y:04}-{m:02}-{d:02} {H:02}:{M:02}",
    "dmy": "{d:02}.{m:02}.{y:04} {H:02}:{M:02}",
    "mdy": "{m}/{d}/{y:04} {H:02}:{M:02}",
    "my": "{m:02}/{y:04}",
    "clock": "{H:02}:{M:02}",
}
"""How dates of each order are written in tests."""


@dataclass(frozen=True)
class TableInputs:
    """The columns of a table that an exported model reads.

    columns: as the estimator has learned them
    low, high: (numeric columns,) range of the training data
    """

    columns: Columns
    low: np.ndarray
    high: np.ndarray

    @property
    def used(self) -> list[int]:
        """Positions of the columns that the model reads, in order."""
        left_out = self.columns.left_out
        return [c for c in range(self.columns.width) if c not in left_out]

    def name(self, column: int) -> str:
        """The name of a column; x0, x1, ... if it has none."""
        names = self.columns.names
        return f"x{column}" if names is None else str(names[column])

    def is_text(self, column: int) -> bool:
        """Whether a column is a category of texts, or holds texts."""
        levels = self.columns.levels
        return column in self.columns.words or (
            column in levels and isinstance(levels[column][0], str)
        )

    def is_number(self, column: int) -> bool:
        """Whether C takes a column as a number."""
        read = column in self.columns.readers or column in self.columns.dates
        return not (read or self.is_text(column))

    @property
    def numbers(self) -> list[int]:
        """Positions of the columns that C takes as numbers."""
        return [c for c in self.used if self.is_number(c)]

    @property
    def texts(self) -> list[int]:
        """Positions of the columns that C takes as text."""
        return [c for c in self.used if not self.is_number(c)]

    def meaning(self, column: int) -> str:
        """What a column holds, in words."""
        columns = self.columns
        if column in columns.levels:
            return "category"
        if column in columns.words:
            return "text"
        if column in columns.dates:
            return "date"
        return "duration" if self._is_duration(column) else "number"

    def _is_duration(self, column: int) -> bool:
        return isinstance(self.columns.readers.get(column), DateText)

    def sample(self, rows: int = 6) -> Table:
        """Rows within the range of the training data, with an unknown level and, where
        the model fills them in, missing values; dates and numbers in local notation are
        text, as C takes them."""
        columns, random = self.columns, np.random.default_rng(20)
        numeric: list[int] = []
        numbers: list[np.ndarray] = []
        texts: dict[int, np.ndarray] = {}

        def add_text(column: int, values: Sequence[str | None]) -> None:
            cells: list[str | None] = list(values)
            if column in imputed:
                cells[1] = None
            texts[column] = np.array(cells, object)

        imputed = set(columns.with_missing) if columns.impute else set()
        for column in self.used:
            is_imputed = column in imputed
            if column in columns.levels:
                levels = columns.levels[column]
                chosen = [levels[i % len(levels)] for i in range(rows)]
                if self.is_text(column):
                    chosen[rows - 1] = "\N{SNOWMAN} unknown"
                    add_text(column, list(map(str, chosen)))
                else:
                    values = np.array([*chosen[:-1], 1e9], np.float64)
                    values[1] = np.nan if is_imputed else values[1]
                    numeric.append(column)
                    numbers.append(values)
            elif column in columns.words:
                words = columns.words[column].words
                own = [f"{words[i % len(words)].upper()}, x" for i in range(rows)]
                add_text(column, own)
            elif column in columns.dates:
                dates = columns.dates[column]
                moments = random.uniform(dates.first, dates.last, rows)
                order = "ymd" if dates.text is None else dates.text.order
                own = [date_text(m, order) for m in moments.tolist()]
                add_text(column, own)
            else:
                place = columns.numeric.index(column)
                values = random.uniform(self.low[place], self.high[place], rows)
                if is_imputed:
                    values[1] = np.nan
                if column in columns.readers:
                    add_text(column, [self._written(column, v) for v in values])
                else:
                    numeric.append(column)
                    numbers.append(values)
        matrix = np.stack(numbers, axis=1) if numbers else np.zeros((rows, 0))
        return Table(columns.names, columns.width, numeric, matrix, texts)

    def _written(self, column: int, value: float) -> str | None:
        """A number as its column writes it."""
        if value != value:
            return None
        reader = self.columns.readers[column]
        if isinstance(reader, Numerals):
            text = f"{value:,.6f}"
            swap = str.maketrans(",.", ".,")
            text = text if reader.decimal == "." else text.translate(swap)
            return f"{text} {reader.unit}" if reader.unit else text
        seconds = round(abs(value) * 86400)
        sign = "-" if value < 0 else ""
        return f"{sign}{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def date_text(seconds: float, order: str) -> str:
    """A date in the format of a column of that order, to the minute."""
    text = text_of(seconds - seconds % 60)
    day, _, clock = text.partition(" ")
    year, month, number = map(int, day.split("-"))
    hour, minute = map(int, (clock or "0:0").split(":")[:2])
    return STYLES[order].format(y=year, m=month, d=number, H=hour, M=minute)
