"""Numbers in local notation: "1.234,50", "1'234", "12 %", "$5", "(5)", "−5",
"1.0D+2"."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

MISSING = (
    "",
    "NA",
    "N/A",
    "n/a",
    "#N/A",
    "NaN",
    "nan",
    "-nan",
    "NULL",
    "null",
    "None",
    "none",
)
"""Cells that mean "missing"."""

SPACES = (
    " \t\n\r\f\v\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008"
    "\u2009\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
)
"""Whitespace allowed around a number; spreadsheets write non-breaking spaces."""

# One definition for Python and for pyarrow, whose character classes differ.
NUMBER = f"[{SPACES}]*[+-]?([0-9]+\\.?[0-9]*|\\.[0-9]+)([eE][+-]?[0-9]+)?[{SPACES}]*"
INFINITY = f"[{SPACES}]*[+-]?(?i:inf|infinity|nan)[{SPACES}]*"
CURRENCIES = "$€£¥₹₽₩₺₪฿₫"
CODES = "EUR|USD|GBP|CHF|JPY|CNY|INR|Kč|kr|zł|Rs|R"
UNITS = f"(?:[{re.escape(CURRENCIES)}]|(?:{CODES})\\.?)"
MINUS = "-−–‒﹣"
SIGNS = re.escape(MINUS + "+")

_DRESS = re.compile(
    rf"(?P<open>\()?(?P<sign>[{SIGNS}])?\s*{UNITS}?\s*(?P<inner>[{SIGNS}]|\()?\s*"
    rf"(?P<body>[0-9.,][0-9.,'’`\s{SPACES}]*(?:[eEdD][+-]?[0-9]+)?)"
    rf"(?P<late>-)?\s*(?:%|‰|{UNITS})?(?P<close>\))?\s*(?:%|‰|{UNITS})?"
)
_GROUPED = {
    ".": re.compile(
        rf"(?:[1-9][0-9]{{0,2}}(?P<g>[,'’`{SPACES}])(?:[0-9]{{2}}(?P=g))*[0-9]{{3}}"
        r"(?:(?P=g)[0-9]{3})*|[0-9]+)?(?:\.[0-9]*)?(?:[eEdD][+-]?[0-9]+)?"
    ),
    ",": re.compile(
        rf"(?:[1-9][0-9]{{0,2}}(?P<g>[.'’`{SPACES}])[0-9]{{3}}(?:(?P=g)[0-9]{{3}})*|[0-9]+)?"
        r"(?:,[0-9]*)?(?:[eEdD][+-]?[0-9]+)?"
    ),
}
UNIT = re.compile(r"[^\W\d_][\w/]{0,9}|°[^\W\d_]?")
_MEASURED = re.compile(
    rf"[{SIGNS}]?[0-9][0-9.,'’`\s]*(?:[eE][+-]?[0-9]+)?\s*({UNIT.pattern})"
)
_PLAIN = re.compile(f"{NUMBER}|{INFINITY}")


@dataclass(frozen=True)
class Numerals:
    """The format of the numbers in a column.

    decimal: the decimal mark, "." or ","; the other one separates thousands, like
        blanks and apostrophes
    unit: of measurement, which may follow: "kg"; its plural ends in "s"
    """

    decimal: str = "."
    unit: str = ""

    def number(self, cell: str) -> float | None:
        """The number that a cell holds; None if it is not a number. Per cent and
        currencies count in their own units: "12 %" is 12."""
        if self.unit:
            cell = without_unit(cell, self.unit)
        body = _undressed(cell)
        if body is None or not re.match("[^eEdD]*[0-9]", body[1]):
            return float(cell) if _PLAIN.fullmatch(cell) else None
        sign, digits = body
        if not _GROUPED[self.decimal].fullmatch(digits):
            return None
        kept = "".join(c for c in digits if c in "0123456789eEdD+-" + self.decimal)
        text = kept.replace(self.decimal, ".").lower().replace("d", "e")
        return sign * float(text)

    def numbers(self, cells: Iterable[str | None]) -> np.ndarray:
        """The numbers of cells, float64; NaN where there is none."""
        known: dict[str, float] = {}
        out = []
        for cell in cells:
            value = np.nan
            if cell is not None:
                if cell not in known:
                    found = self.number(cell)
                    known[cell] = np.nan if found is None else found
                value = known[cell]
            out.append(value)
        return np.array(out, np.float64)


def decimal_mark(cells: Iterable[str], delimiter: str) -> str:
    """The decimal mark of a file. Cells that only one mark reads decide; if there are
    none, "1,234" is 1.234 where semicolons separate the cells: commas in numbers are
    what semicolons are for.
    """
    counts, unsure = {".": 0, ",": 0}, 0
    for cell in cells:
        if "." not in cell and "," not in cell:
            continue
        marks = [mark for mark in counts if Numerals(mark).number(cell) is not None]
        if len(marks) == 1:
            counts[marks[0]] += 1
        elif marks and "," in cell:
            unsure += 1
    if counts["."] == counts[","]:
        return "," if delimiter == ";" and unsure and not counts["."] else "."
    return max(counts, key=lambda mark: counts[mark])


def learn_numerals(cells: Iterable[str], default: str = ".") -> tuple[Numerals, int]:
    """The format that reads most of some distinct cells, and how many it reads.

    Args:
        default: the decimal mark if both read equally many: "1,234" may be 1234 or
        1.234.
    """
    distinct = list(cells)
    counts = {
        mark: sum(Numerals(mark).number(cell) is not None for cell in distinct)
        for mark in (default, "," if default == "." else ".")
    }
    best = max(counts, key=lambda mark: counts[mark])
    return Numerals(best), counts[best]


def unit_of(cells: Iterable[str]) -> str:
    """The unit of measurement that follows every number among some cells: "kg" of
    "70.5 kg" and "8kg", "year" of "1 year" and "2 years"; "" if there is none, or if
    there are several, which would make the numbers incomparable."""
    matches = (_MEASURED.fullmatch(cell.strip(SPACES)) for cell in cells)
    found = {match[1] for match in matches if match is not None}
    unit = min(found, key=len, default="")
    return unit if found <= {unit, unit + "s"} else ""


def without_unit(cell: str, unit: str) -> str:
    """The cell without the unit of measurement at its end."""
    bare = cell.strip(SPACES)
    for end in (unit, unit + "s"):
        number = bare.removesuffix(end)
        if number != bare and number[-1:] in f"0123456789.,{SPACES}":
            return number.rstrip(SPACES)
    return cell


def is_plain(cell: str) -> bool:
    """Whether a cell is a number in the usual format of programs."""
    return bool(_PLAIN.fullmatch(cell))


def is_gap(cell: str) -> bool:
    """Whether a cell means that there is no value: empty, NA, ..."""
    return cell.strip(SPACES) in MISSING


def _undressed(cell: str) -> tuple[float, str] | None:
    """Sign and digits of a cell, without currency, per cent and brackets."""
    found = _DRESS.fullmatch(cell.strip(SPACES))
    if found is None:
        return None
    marks = [found[name] for name in ("open", "sign", "inner", "late")]
    given = [mark for mark in marks if mark is not None]
    if len(given) > 1 or ("(" in given) != bool(found["close"]):
        return None
    minus = bool(given) and given[0] != "+"
    return (-1.0 if minus else 1.0), found["body"].strip(SPACES)
