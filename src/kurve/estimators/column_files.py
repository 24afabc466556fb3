"""Columns in files of estimators: a description of plain values, and arrays

columns/fills    the medians
columns/shares   the levels' shares of the training rows, of all columns in turn
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kurve.estimators.columns import Columns
from kurve.estimators.kinds import PARTS, Dates, Words
from kurve.models.fields import Field
from kurve.tables.dates import KINDS, DateText
from kurve.tables.numerals import UNIT, Numerals

LATER = ("shares", "pooled", "readers", "dates", "words", "left_out")
"""Fields that are only written if a table needs them, so that the format of older files
is unchanged."""


def described(columns: Columns) -> dict[str, Any]:
    """The description of columns."""
    kinds: dict[str, Any] = {
        "shares": bool(columns.shares),
        "pooled": columns.pooled,
        "readers": [[c, _style(r)] for c, r in columns.readers.items()],
        "dates": [
            [c, [_style(d.text), d.digits, list(d.parts), d.first, d.last]]
            for c, d in columns.dates.items()
        ],
        "words": [[c, list(w.words)] for c, w in columns.words.items()],
        "left_out": [[c, why] for c, why in columns.left_out.items()],
    }
    return {
        "names": columns.names,
        "width": columns.width,
        "numeric": columns.numeric,
        "gaps": columns.with_missing,
        "levels": [[c, levels] for c, levels in columns.levels.items()],
        "common": [[c, level] for c, level in columns.common.items()],
        "impute": columns.impute,
        **{name: value for name, value in kinds.items() if value},
    }


def tensors(columns: Columns) -> dict[str, np.ndarray]:
    """The arrays of columns."""
    found = {"columns/fills": columns.medians}
    if columns.shares:
        found["columns/shares"] = np.concatenate(list(columns.shares.values()))
    return found


def _style(reader: Numerals | DateText | None) -> str:
    """How texts are parsed, as one string: a decimal mark and a unit, or the order of
    the parts of a date."""
    if reader is None:
        return ""
    if isinstance(reader, Numerals):
        return reader.decimal + reader.unit
    return reader.order


def _reader(field: Field) -> Numerals | DateText | None:
    style = field.text()
    unit = style[1:]
    if style[:1] in (".", ",") and style and (not unit or UNIT.fullmatch(unit)):
        return Numerals(style[0], unit)
    if style not in ("", *KINDS):
        raise field.error("it is not a known format of numbers or dates")
    return DateText(style) if style else None


def read(field: Field, arrays: Any) -> Columns:
    """The columns that a file describes, checked."""
    fields = field.table(
        "names",
        "width",
        "numeric",
        "gaps",
        "levels",
        "common",
        "impute",
        optional=LATER,
    )
    width = fields["width"].integer(1, 2**31)

    def positions(name: str) -> list[int]:
        if name not in fields:
            return []
        found = [c.integer(0, width) for c in fields[name].items()]
        if len(set(found)) < len(found):
            raise fields[name].error("a column occurs twice")
        return found

    def by_column(name: str) -> dict[int, Field]:
        return pairs_of(fields[name], width) if name in fields else {}

    numeric = positions("numeric")
    levels = by_column("levels")
    common = {column: value.value for column, value in by_column("common").items()}
    listed = {column: [v.value for v in f.items()] for column, f in levels.items()}
    names = fields["names"].texts()
    if names is not None and len(names) != width:
        raise fields["names"].error(f"there must be {width}")
    for column, values in listed.items():
        if not all(isinstance(v, (str, int, float)) for v in values):
            raise levels[column].error("a level is neither a string nor a number")
        if common.get(column) not in values:
            raise fields["common"].error(f"it is not a level of column {column}")
    if set(common) != set(listed):
        raise fields["common"].error("it does not fit the levels")
    dates = {column: _dates(value) for column, value in by_column("dates").items()}
    words = {
        column: Words(tuple(word.text() for word in value.items()))
        for column, value in by_column("words").items()
    }
    left_out = {column: why.text() for column, why in by_column("left_out").items()}
    kinds = [*numeric, *levels, *dates, *words, *left_out]
    if sorted(kinds) != list(range(width)):
        raise fields["numeric"].error("each column must have exactly one kind")
    readers = {}
    for column, value in by_column("readers").items():
        reader = _reader(value)
        if reader is None or column not in numeric:
            raise value.error("it does not belong to a numeric column")
        readers[column] = reader
    shares: dict[int, np.ndarray] = {}
    if "shares" in fields and fields["shares"].boolean():
        total = arrays.take("columns/shares", sum(map(len, listed.values())))
        ends = np.cumsum([len(values) for values in listed.values()])[:-1]
        shares = dict(zip(listed, np.split(total, ends), strict=True))
    return Columns(
        names,
        width,
        numeric,
        arrays.take("columns/fills", len(numeric)),
        positions("gaps"),
        listed,
        common,
        fields["impute"].boolean(),
        shares,
        positions("pooled"),
        readers,
        dates,
        words,
        left_out,
    )


def _dates(field: Field) -> Dates:
    parts = list(field.items())
    if len(parts) != 5:
        raise field.error("it does not describe dates")
    reader = _reader(parts[0])
    if isinstance(reader, Numerals):
        raise parts[0].error("it is not a known date format")
    names = tuple(part.text() for part in parts[2].items())
    if not names or any(name not in PARTS for name in names):
        raise parts[2].error(f"it must name some of {', '.join(PARTS)}")
    first, last = parts[3].number(), parts[4].number()
    return Dates(reader, parts[1].boolean(), names, first, last)


def pairs_of(field: Field, width: int) -> dict[int, Field]:
    """[[column, value], ...], without duplicate columns."""
    pairs: dict[int, Field] = {}
    for item in field.items():
        pair = list(item.items())
        if len(pair) != 2 or pair[0].integer(0, width) in pairs:
            raise item.error("it is not a column and its value")
        pairs[pair[0].value] = pair[1]
    return pairs
