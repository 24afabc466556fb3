"""The columns of a table in ONNX: categories, texts, dates and missing values become
the matrix that `kurve.estimators.columns` describes."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from onnx import TensorProto

from kurve.estimators.kinds import YEAR, Dates
from kurve.exchange.onnx_graph import Graph
from kurve.exchange.tables import TableInputs
from kurve.tables.dates import DAY

TEXT_OPSET = 20
"""The opset that has RegexFullMatch, for columns of texts."""

ML_DOMAIN, ML_OPSET = "ai.onnx.ml", 3
APART = r"[^\pL\pN_]"
"""The separators of words, as in `kurve.estimators.kinds.words_of`."""

RESERVED = re.compile(r"[tc]\d+(_.*)?|labels?|prediction|deviation|quantiles|probab.*")


def input_names(table: TableInputs) -> dict[int, str]:
    """The graph's inputs by column: the columns' names, unless the graph uses them."""
    names: dict[int, str] = {}
    for column in table.used:
        name = table.name(column)
        if not name or RESERVED.fullmatch(name) or name in names.values():
            name = f"input_{column}_{name}"
        names[column] = name
    return names


def encoded(graph: Graph, table: TableInputs, source: dict[int, str]) -> str:
    """The matrix (N, matrix_width), float64, from inputs (N, 1). NaN where the
    estimator would refuse a row."""
    columns = table.columns
    writer = _Writer(graph, table, source)
    parts = [writer.numbers()] if columns.numeric else []
    parts += [writer.dates(column, dates) for column, dates in columns.dates.items()]
    for column, words in columns.words.items():
        parts += [writer.has_word(column, word) for word in words.words]
    parts += [writer.missing(column) for column in columns.with_missing]
    parts += [writer.levels(column) for column in columns.levels]
    return parts[0] if len(parts) == 1 else graph.node("Concat", *parts, axis=1)


class _Writer:
    """Adds the nodes of each kind of column."""

    def __init__(
        self, graph: Graph, table: TableInputs, source: dict[int, str]
    ) -> None:
        self.graph, self.columns, self.source = graph, table.columns, source
        self.table = table

    def number(self, value: Any) -> str:
        return self.graph.constant(value, np.float64)

    def numbers(self) -> str:
        graph, columns = self.graph, self.columns
        each = [self.source[column] for column in columns.numeric]
        x = each[0] if len(each) == 1 else graph.node("Concat", *each, axis=1)
        if not columns.impute:
            return x
        missing = graph.node("IsNaN", x)
        return graph.node("Where", missing, self.number(columns.medians), x)

    def dates(self, column: int, dates: Dates) -> str:
        """The formulas of `Dates.encode`."""
        graph, seconds = self.graph, self.source[column]
        missing = graph.node("IsNaN", seconds)
        known = graph.node("Where", missing, self.number(dates.first), seconds)
        days = graph.node("Div", known, self.number(DAY))
        parts = []
        for part in dates.parts:
            if part == "days":
                middle = (dates.first + dates.last) / (2 * DAY)
                parts.append(graph.node("Sub", days, self.number(middle)))
            elif part == "weekday":
                whole = graph.node("Cast", graph.node("Floor", days), to=_INT)
                shifted = graph.node("Add", whole, graph.constant(3, np.int64))
                weekday = graph.node("Mod", shifted, graph.constant(7, np.int64))
                parts.append(self._one_hot(weekday, 7))
            else:
                cycles = days
                if part == "season":
                    cycles = graph.node("Div", days, self.number(YEAR))
                angle = graph.node("Mul", cycles, self.number(2 * np.pi))
                quarter = graph.node("Add", angle, self.number(np.pi / 2))
                parts += [graph.node("Sin", angle), graph.node("Sin", quarter)]
        x = parts[0] if len(parts) == 1 else graph.node("Concat", *parts, axis=1)
        gap = 0.0 if self.columns.impute else np.nan
        return graph.node("Where", missing, self.number(gap), x)

    def has_word(self, column: int, word: str) -> str:
        pattern = rf"(?is)(?:.*{APART})?{re.escape(word)}(?:{APART}.*)?"
        found = self.graph.node("RegexFullMatch", self.source[column], pattern=pattern)
        return self.graph.node("Cast", found, to=TensorProto.DOUBLE)

    def missing(self, column: int) -> str:
        x = self.source[column]
        if self.table.is_text(column):
            found = self._label(x, [""], [1], 0)
        else:
            found = self.graph.node("IsNaN", x)
        return self.graph.node("Cast", found, to=TensorProto.DOUBLE)

    def levels(self, column: int) -> str:
        """The level as an indicator; for an unknown one, the frequencies of the
        levels."""
        graph, columns = self.graph, self.columns
        levels, count = columns.levels[column], len(columns.levels[column])
        common = levels.index(columns.common[column])
        refused = common if columns.impute else count + 1
        if self.table.is_text(column):
            keys = list(map(str, levels))
            codes = list(range(count))
            if "" not in keys:
                keys, codes = [*keys, ""], [*codes, refused]
            found = self._label(self.source[column], keys, codes, count)
        else:
            found = self._number_of(column, levels, refused)
        matrix = self._one_hot(found, count)
        shares = columns.shares.get(column)
        if shares is not None:
            new = graph.node("Equal", found, graph.constant(count, np.int64))
            new = graph.node("Cast", new, to=TensorProto.DOUBLE)
            new = graph.node("Mul", new, self.number(shares[None, :]))
            matrix = graph.node("Add", matrix, new)
        if columns.impute:
            return matrix
        bad = graph.node("Equal", found, graph.constant(count + 1, np.int64))
        return graph.node("Where", bad, self.number(np.nan), matrix)

    def _number_of(self, column: int, levels: list[Any], refused: int) -> str:
        """The place of a level that is a number."""
        graph, x = self.graph, self.source[column]
        count = len(levels)
        equal = graph.node("Equal", x, self.number(np.array(levels, float)[None, :]))
        equal = graph.node("Cast", equal, to=_INT)
        axis = graph.constant([1], np.int64)
        less = graph.constant(np.arange(count)[None, :] - count, np.int64)
        place = graph.node("ReduceSum", graph.node("Mul", equal, less), axis)
        place = graph.node("Add", place, graph.constant(count, np.int64))
        missing = graph.node("IsNaN", x)
        return graph.node("Where", missing, graph.constant(refused, np.int64), place)

    def _label(self, x: str, keys: list[str], codes: list[int], default: int) -> str:
        return self.graph.node(
            "LabelEncoder",
            x,
            domain=ML_DOMAIN,
            keys_strings=keys,
            values_int64s=codes,
            default_int64=default,
        )

    def _one_hot(self, numbers: str, count: int) -> str:
        """(N, 1) to (N, count); numbers beyond are zero in all."""
        graph = self.graph
        all_numbers = graph.constant(np.arange(count)[None, :], np.int64)
        equal = graph.node("Equal", numbers, all_numbers)
        return graph.node("Cast", equal, to=TensorProto.DOUBLE)


_INT = TensorProto.INT64
