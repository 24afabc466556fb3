"""What the cells of a text file are: one definition of a number for Python and pyarrow,
and the kinds of columns that pyarrow finds in a whole file, for files in pieces."""

from __future__ import annotations

from typing import Any

MISSING = (
    "", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "-nan", "NULL", "null", "None",
    "none",
)  # fmt: skip
"""Cells that mean "there is no value"."""

SPACES = (
    " \t\n\r\f\v\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008"
    "\u2009\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
)
"""What may stand around a number; spreadsheets write spaces that do not break."""

# One definition for Python and for pyarrow, whose classes of letters differ.
NUMBER = f"[{SPACES}]*[+-]?([0-9]+\\.?[0-9]*|\\.[0-9]+)([eE][+-]?[0-9]+)?[{SPACES}]*"
INFINITY = f"[{SPACES}]*[+-]?(?i:inf|infinity|nan)[{SPACES}]*"
CODE = r"^[ \t]*[+-]?0[0-9]+[ \t]*$"
LONG = r"^[ \t]*[+-]?[0-9]{16,}[ \t]*$"
"""Digits that would be others if they were read as a number and written again; long
ones, if they were read as float64."""

CLOCK = "^([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?$"
TRUE, FALSE = ["true", "True", "TRUE"], ["false", "False", "FALSE"]


def kind_of(values: Any, bare: Any, pointed: Any) -> str:
    """What pyarrow takes cells for: "integer", "number", "boolean", "date" ("spaced
    date", where only dates may have spaces), "time", the name of a timestamp's type, or
    "text".

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
    if compute.all(compute.match_substring_regex(bare, CLOCK)).as_py():
        return "time"
    for name, kind in _moments().items():
        if holds(values, kind):
            return name
    return "text"


def _moments() -> dict[str, Any]:
    import pyarrow

    return {
        "seconds": pyarrow.timestamp("s"),
        "fractions": pyarrow.timestamp("ns"),
        "zoned seconds": pyarrow.timestamp("s", "UTC"),
        "zoned fractions": pyarrow.timestamp("ns", "UTC"),
    }


def joined(kinds: set[str]) -> Any:
    """The type of a column whose batches are of these kinds."""
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
            "time": pyarrow.time32("s"), **_moments(),
        }  # fmt: skip
        return one.get(next(iter(kinds)), pyarrow.string())
    if kinds <= {"date", "seconds", "fractions"}:
        return _moments()["fractions" if "fractions" in kinds else "seconds"]
    if kinds <= {"zoned seconds", "zoned fractions"}:
        return _moments()["zoned fractions"]
    return pyarrow.string()
