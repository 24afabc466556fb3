"""C code that turns the columns of a table into the matrix that
`kurve.estimators.columns` describes."""

from __future__ import annotations

import numpy as np

from kurve.estimators.frames import Table
from kurve.estimators.kinds import YEAR, Dates
from kurve.exchange import c_cells, c_dates
from kurve.exchange.c_text import literal, real, table
from kurve.exchange.tables import TableInputs
from kurve.tables.dates import DAY
from kurve.tables.numerals import Numerals


def encoding(name: str, inputs: TableInputs) -> list[str]:
    """The function from a row's cells to the matrix; cells that the estimator would
    refuse become NAN."""
    writer = _Writer(name, inputs)
    body = writer.body()
    return [
        *_helpers(name, inputs),
        *writer.tables,
        "",
        f"static void {name}_encode(const double *numbers, const char *const *texts,",
        "    double *z)",
        "{",
        *("    " + line for line in body),
        "}",
        "",
    ]


def _helpers(name: str, inputs: TableInputs) -> list[str]:
    """The functions that the columns need."""
    columns = inputs.columns
    readers = columns.readers.values()
    local = any(isinstance(reader, Numerals) for reader in readers)
    durations = any(not isinstance(reader, Numerals) for reader in readers)
    timed = bool(columns.dates or durations)
    texts = [c for c in columns.levels if inputs.is_text(c)]
    found: list[str] = []
    if inputs.texts:
        found += c_cells.gap(name)
    if texts:
        found += c_cells.helpers(name, c_cells.LEVEL)
    if len(texts) < len(columns.levels):
        found += c_cells.helpers(name, c_cells.NUMBER_LEVEL)
    if local or timed:
        found += c_cells.helpers(name, c_cells.DIGIT)
    if local:
        units = {r.unit for r in readers if isinstance(r, Numerals) and r.unit}
        found += c_cells.number(name, sorted(units | {f"{unit}s" for unit in units}))
    if timed:
        found += c_cells.helpers(name, c_dates.LETTER, c_dates.CLOCK)
    if columns.dates:
        found += c_dates.dates(name)
    if durations:
        found += c_cells.helpers(name, c_dates.DURATION)
    if columns.words:
        known = [word for words in columns.words.values() for word in words.words]
        found += c_cells.words(name, known)
    return found


class _Writer:
    """The body of the function, and the tables that it reads."""

    def __init__(self, name: str, inputs: TableInputs) -> None:
        self.name, self.inputs, self.columns = name, inputs, inputs.columns
        self.tables: list[str] = []
        self.number_at = {c: i for i, c in enumerate(inputs.numbers)}
        self.text_at = {c: i for i, c in enumerate(inputs.texts)}
        self.date_at = {c: i for i, c in enumerate(inputs.columns.dates)}

    def body(self) -> list[str]:
        columns = self.columns
        first = len(columns.numeric)
        body = self._numbers()
        for column, dates in columns.dates.items():
            body += self._dates(column, dates, first)
            first += dates.width
        for column, words in columns.words.items():
            body += self._words(column, words.words, first)
            first += len(words.words)
        for column in columns.with_missing:
            body.append(f"z[{first}] = {self._missing(column)} ? 1.0 : 0.0;")
            first += 1
        if columns.impute:
            body += self._imputed()
        for column in columns.levels:
            body += self._levels(column, first)
            first += len(columns.levels[column])
        used = "\n".join(body)
        declared = []
        if columns.dates:
            declared.append(f"double when[{len(columns.dates)}];")
        if "i++" in used:
            declared.append("int i;")
        if "level =" in used:
            declared.append("int level;")
        for argument in ("numbers", "texts"):
            if f"{argument}[" not in used:
                body.append(f"(void){argument};")
        return [*declared, *body]

    def _numbers(self) -> list[str]:
        columns, name = self.columns, self.name
        body, plain = [], True
        places = [self.number_at.get(c, -1) for c in columns.numeric]
        if any(place < 0 for place in places):
            plain = False
        if plain and places:
            self.tables += table("int", f"{name}_numbers", places)
            count = len(places)
            body.append(
                f"for (i = 0; i < {count}; i++) z[i] = numbers[{name}_numbers[i]];"
            )
            return body
        for i, column in enumerate(columns.numeric):
            if places[i] >= 0:
                body.append(f"z[{i}] = numbers[{places[i]}];")
                continue
            cell, reader = f"texts[{self.text_at[column]}]", columns.readers[column]
            if isinstance(reader, Numerals):
                body.append(f"z[{i}] = {name}_local({cell}, '{reader.decimal}');")
            else:
                body.append(
                    f"z[{i}] = {name}_gap({cell}) ? NAN : {name}_duration({cell});"
                )
        return body

    def _dates(self, column: int, dates: Dates, first: int) -> list[str]:
        """The formulas of `Dates.encode`."""
        name, k = self.name, self.date_at[column]
        cell, days = f"texts[{self.text_at[column]}]", f"(when[{k}] / {real(DAY)})"
        order = "z" if dates.text is None else dates.text.order
        order = {"mdy": "m", "clock": "c", "z": "z"}.get(order, "d")
        gap = "0.0" if self.columns.impute else "NAN"
        body = [
            f"when[{k}] = {name}_gap({cell}) ? NAN : {name}_date({cell}, '{order}');"
        ]
        values = []
        for part in dates.parts:
            if part == "days":
                middle = (dates.first + dates.last) / (2 * DAY)
                values.append(f"{days} - {real(middle)}")
            elif part == "weekday":
                weekday = f"fmod(floor({days}) + 3.0, 7.0)"
                positive = f"({weekday} < 0.0 ? {weekday} + 7.0 : {weekday})"
                values += [
                    f"{positive} == {number}.0 ? 1.0 : 0.0" for number in range(7)
                ]
            else:
                turn = f"{real(2 * np.pi)} * {days}"
                if part == "season":
                    turn = f"{real(2 * np.pi)} * ({days} / {real(YEAR)})"
                values += [f"sin({turn})", f"cos({turn})"]
        body.append(f"if ({name}_gap({cell})) {{")
        body += [f"    z[{first + i}] = {gap};" for i in range(len(values))]
        body.append(f"}} else if (isnan(when[{k}])) {{")
        body += [f"    z[{first + i}] = NAN;" for i in range(len(values))]
        body.append("} else {")
        body += [f"    z[{first + i}] = {value};" for i, value in enumerate(values)]
        return [*body, "}"]

    def _words(self, column: int, words: tuple[str, ...], first: int) -> list[str]:
        longest = max(map(len, words))
        rows = [[*map(ord, word), *[0] * (longest + 1 - len(word))] for word in words]
        table_name = f"{self.name}_words_{column}"
        self.tables += c_cells.longs(table_name, [code for row in rows for code in row])
        return [
            f"{self.name}_words(texts[{self.text_at[column]}], {table_name}, "
            f"{len(words)}, {longest}, z + {first});"
        ]

    def _missing(self, column: int) -> str:
        columns = self.columns
        if column in columns.numeric:
            return f"isnan(z[{columns.numeric.index(column)}])"
        if column in self.number_at:
            return f"isnan(numbers[{self.number_at[column]}])"
        return f"{self.name}_gap(texts[{self.text_at[column]}])"

    def _imputed(self) -> list[str]:
        count = len(self.columns.numeric)
        if not count:
            return []
        self.tables += table("double", f"{self.name}_fills", self.columns.medians)
        return [
            f"for (i = 0; i < {count}; i++)",
            f"    if (isnan(z[i])) z[i] = {self.name}_fills[i];",
        ]

    def _levels(self, column: int, first: int) -> list[str]:
        columns, name = self.columns, self.name
        levels, count = columns.levels[column], len(columns.levels[column])
        common = levels.index(columns.common[column])
        if self.inputs.is_text(column):
            self.tables += c_cells.strings(f"{name}_levels_{column}", map(str, levels))
            call, cell = "level", f"texts[{self.text_at[column]}]"
        else:
            known = np.array(levels, np.float64)
            self.tables += table("double", f"{name}_levels_{column}", known)
            call, cell = "number_level", f"numbers[{self.number_at[column]}]"
        shares = columns.shares.get(column, np.zeros(count))
        self.tables += table("double", f"{name}_level_shares_{column}", shares)
        body = [f"level = {name}_{call}({cell}, {name}_levels_{column}, {count});"]
        other = f"{name}_level_shares_{column}[i]"
        gap = ""
        if columns.impute:
            body.append(f"if (level < 0) level = {common};")
        else:
            gap = "level < 0 ? NAN : "
        body += [
            f"for (i = 0; i < {count}; i++)",
            f"    z[{first} + i] = {gap}level == {count} ? {other} : "
            "i == level ? 1.0 : 0.0;",
        ]
        return body


def cells(name: str, inputs: TableInputs, rows: Table) -> list[str]:
    """The constant arrays of a test's rows: numbers and texts."""
    text: list[str] = []
    numbers = [rows.numbers[:, rows.numeric.index(column)] for column in inputs.numbers]
    matrix = np.stack(numbers, axis=1) if numbers else np.zeros((1, 1))
    text += table("double", f"{name}_row_numbers", matrix)
    found = ["NULL"]
    if inputs.texts:
        found = [
            "NULL" if value is None else literal(str(value))
            for row in zip(*(rows.texts[c] for c in inputs.texts), strict=True)
            for value in row
        ]
    return [
        *text,
        f"static const char *const {name}_row_texts[{len(found)}] = {{",
        *(f"    {cell}," for cell in found),
        "};",
    ]
