"""Cells of text files: one definition of a number for Python and pyarrow, and the
column types that pyarrow infers from a whole file, for files read in chunks."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from kurve.tables.numerals import INFINITY, NUMBER, Numerals, learn_numerals
from kurve.tables.numerals import MISSING as MISSING
from kurve.tables.numerals import SPACES as SPACES

LEADING_ZERO = r"^[ \t]*[+-]?0[0-9]+[ \t]*$"
LONG = r"^[ \t]*[+-]?[0-9]{16,}[ \t]*$"
"""Digits that would change when read as a number and written again: all with a leading
zero, and long ones if read as float64."""

TIME_OF_DAY = "^([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?$"
TRUE, FALSE = ["true", "True", "TRUE"], ["false", "False", "FALSE"]

MAX_QUOTED = 40
"""Maximum characters of a cell shown in a message."""


def quoted(text: str) -> str:
    """A cell in quotes, cut off if it is long."""
    return repr(text if len(text) <= MAX_QUOTED else text[:MAX_QUOTED] + "…")


class CellParser:
    """Recognizes the types of text cells, for a decimal mark "." or ","."""

    def __init__(self, decimal: str) -> None:
        self.decimal = decimal
        self._numerals = Numerals(decimal)
        self._number = NUMBER.replace(r"\.", re.escape(decimal))

    def is_number(self, cell: str) -> bool:
        return bool(re.fullmatch(f"{self._number}|{INFINITY}", cell))

    def are_numbers(self, values: Any) -> Any:
        """Whether each cell is a number."""
        from pyarrow import compute

        return compute.match_substring_regex(values, f"^(?:{self._number}|{INFINITY})$")

    def kind(self, values: Any, exact: bool) -> tuple[str, int, int]:
        """The kind of the cells in a batch, how many are numbers, and their count.

        The kinds are those of `kind_of`, "signed" for numbers that pyarrow does not
        recognize ("+1"), and "code" for cells that must stay text to be exact.
        """
        from pyarrow import compute

        values = values.drop_null()
        count = len(values)
        bare = compute.utf8_trim(values, characters=" \t")
        kind = kind_of(values, bare, self._with_points(bare))
        codes = LEADING_ZERO if kind == "integer" else f"{LEADING_ZERO}|{LONG}"
        if exact and compute.any(compute.match_substring_regex(values, codes)).as_py():
            numbers = self._count_numbers(values)
            return ("code" if numbers == count else "text"), numbers, count
        if kind == "number" or (kind == "integer" and not _has_hexadecimal(values)):
            return kind, count, count
        if exact and kind != "boolean":  # copied exactly as in the file
            kind = "text"
        numbers = self._count_numbers(values)
        if numbers == count and kind != "integer":
            return "signed", numbers, count
        if kind == "text" and not exact and self._are_local(values):
            return "signed", count, count
        return kind, numbers, count

    def cast(self, values: Any, kind: Any) -> Any:
        """Text as values of this type."""
        import pyarrow
        from pyarrow import compute, types

        if types.is_null(kind):
            return pyarrow.nulls(len(values))
        bare = compute.utf8_trim(values, characters=" \t")
        if types.is_boolean(kind):
            return compute.utf8_lower(bare).cast(kind)
        return self._with_points(bare).cast(kind)

    def _are_local(self, values: Any) -> bool:
        """Whether all cells are numbers in local notation; see
        `kurve.tables.numerals`."""
        read = self._numerals.number
        if not len(values) or read(values[0].as_py()) is None:
            return False
        return all(read(v) is not None for v in values.unique().to_pylist())

    def local_numbers(self, values: Any) -> Any:
        """Numbers in local notation as float64; None if some cell is not one with
        either decimal mark."""
        import pyarrow

        cells = values.to_pylist()
        known = [cell for cell in dict.fromkeys(cells) if cell is not None]
        numerals, read = learn_numerals(known, self.decimal)
        if read < len(known):
            return None
        missing = np.array([cell is None for cell in cells], bool)
        return pyarrow.chunked_array(
            [pyarrow.array(numerals.numbers(cells), pyarrow.float64(), mask=missing)]
        )

    def numbers(self, values: Any) -> Any:
        """Text such as "+1.5" or "$1,234.50", which pyarrow does not parse as a number,
        as float64."""
        import pyarrow
        from pyarrow import compute

        if not compute.all(self.are_numbers(values), min_count=0).as_py():
            return self.local_numbers(values)
        bare = compute.utf8_trim(self._with_points(values), characters=SPACES)
        return compute.utf8_ltrim(bare, characters="+").cast(pyarrow.float64())

    def _count_numbers(self, values: Any) -> int:
        from pyarrow import compute

        return compute.sum(self.are_numbers(values)).as_py() or 0

    def _with_points(self, values: Any) -> Any:
        """Text with "." as its decimal mark."""
        from pyarrow import compute

        if self.decimal == ".":
            return values
        hidden = compute.replace_substring(values, ".", "?")  # no decimal mark here
        return compute.replace_substring(hidden, self.decimal, ".")


def kind_of(values: Any, bare: Any, pointed: Any) -> str:
    """The type as which pyarrow would read the cells: "integer", "number", "boolean",
    "date", "spaced date" (only dates may have spaces), "time", the name of a type of
    `_timestamps`, or "text".

    Args:
        values: the cells.
        bare: without spaces.
        pointed: without spaces, and with "." as the decimal mark.
    """
    import pyarrow
    from pyarrow import compute

    def holds(values: Any, kind: Any) -> bool:
        try:
            values.cast(kind)
        except pyarrow.ArrowInvalid:
            return False
        return True

    for name, kind in (("integer", pyarrow.int64()), ("number", pyarrow.float64())):
        if holds(pointed, kind):
            return name
    if compute.all(compute.is_in(values, pyarrow.array(TRUE + FALSE))).as_py():
        return "boolean"
    if holds(bare, pyarrow.date32()):
        return "date" if holds(values, pyarrow.date32()) else "spaced date"
    if compute.all(compute.match_substring_regex(bare, TIME_OF_DAY)).as_py():
        return "time"
    for name, kind in _timestamps().items():
        if holds(values, kind):
            return name
    return "text"


def _timestamps() -> dict[str, Any]:
    import pyarrow

    return {
        "seconds": pyarrow.timestamp("s"),
        "fractions": pyarrow.timestamp("ns"),
        "zoned seconds": pyarrow.timestamp("s", "UTC"),
        "zoned fractions": pyarrow.timestamp("ns", "UTC"),
    }


def common_type(kinds: set[str]) -> Any:
    """The type of a column whose batches are of these kinds, the more general one."""
    import pyarrow

    if not kinds:
        return pyarrow.null()
    if kinds == {"integer"}:
        return pyarrow.int64()
    if kinds <= {"integer", "number", "signed"}:
        return pyarrow.float64()
    if kinds <= {"date", "spaced date"}:
        return pyarrow.date32()
    if len(kinds) == 1:
        one = {
            "boolean": pyarrow.bool_(),
            "time": pyarrow.time32("s"),
            **_timestamps(),
        }
        return one.get(next(iter(kinds)), pyarrow.string())
    if kinds <= {"date", "seconds", "fractions"}:
        return _timestamps()["fractions" if "fractions" in kinds else "seconds"]
    if kinds <= {"zoned seconds", "zoned fractions"}:
        return _timestamps()["zoned fractions"]
    return pyarrow.string()


def _has_hexadecimal(values: Any) -> bool:
    """Whether some integers are written like 0x1F; pyarrow only reads them as numbers
    in a column of integers."""
    from pyarrow import compute

    return bool(
        compute.any(compute.match_substring(values, "x", ignore_case=True)).as_py()
    )
