"""Dates, times and durations as text, in the formats that people and programs use:
"Jan 1 2000", "01.02.2023 13:45", "3/31/24", "2000 Q1", "1 days 02:03:04".

A date is a number of seconds since 1970, in local time.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

DAY = 86400.0
EPOCH = datetime.datetime(1970, 1, 1)

_MONTHS = (
    "january januar janvier enero gennaio janeiro",
    "february februar février febrero febbraio fevereiro",
    "march märz mars marzo março maerz mrz",
    "april avril abril aprile",
    "may mai mayo maggio maio",
    "june juni juin junio giugno junho",
    "july juli juillet julio luglio julho",
    "august août agosto aout",
    "september septembre septiembre settembre setembro sept",
    "october oktober octobre octubre ottobre outubro",
    "november novembre noviembre novembro",
    "december dezember décembre diciembre dicembre dezembro",
)
_AMBIGUOUS = {"jui", "giu", "mar"}
MONTHS = {
    name[:length]: number
    for number, names in enumerate(_MONTHS, 1)
    for name in names.split()
    for length in range(3, len(name) + 1)
    if name[:length] not in _AMBIGUOUS
} | {"mar": 3, "jui": 6, "giu": 6}

_TIME = (
    r"(?:(?:[ T,]| at )\s*(?P<H>\d{1,2}):(?P<M>\d{2})(?::(?P<S>\d{2}(?:[.,]\d+)?))?"
    r"\s*(?P<ap>[AaPp]\.?[Mm]\.?)?\s*(?:Z|UTC|GMT|[+-]\d{2}:?\d{2})?)?"
)
_WEEKDAY = r"(?:[A-Za-zÀ-ÿ]{2,10}\.?,?\s+)?"
_NAME = r"(?P<name>[A-Za-zÀ-ÿ]{3,10})\.?"
_PATTERNS: dict[str, tuple[re.Pattern[str], ...]] = {
    "ymd": tuple(
        re.compile(pattern)
        for pattern in (
            r"(?P<y>\d{4})(?P<s>[-/. ])(?P<m>\d{1,2})(?P=s)(?P<d>\d{1,2})" + _TIME,
            r"(?P<y>\d{4})[-/](?P<m>\d{1,2})",
            r"(?P<y>\d{4})(?P<m>\d{2})(?P<d>\d{2})(?:T?(?P<H>\d{2})(?P<M>\d{2})(?P<S>\d{2})?)?",
            r"(?P<y>\d{4})[-/ ]?Q(?P<q>[1-4])",
            r"Q(?P<q>[1-4])[-/ ]?(?P<y>\d{4})",
            rf"{_WEEKDAY}{_NAME}[ -]+(?P<d>\d{{1,2}})(?:st|nd|rd|th)?(?:,\s*|\s+|-)"
            rf"(?P<y>\d{{4}}){_TIME}",
            rf"{_WEEKDAY}(?P<d>\d{{1,2}})(?:st|nd|rd|th|\.)?[ /-]*{_NAME},?[ /-]*"
            rf"(?P<y>\d{{4}}|\d{{2}}){_TIME}",
            rf"{_NAME}[ /-]+(?P<y>\d{{4}})",
            rf"(?P<y>\d{{4}})[ /-]{_NAME}(?:[ /-](?P<d>\d{{1,2}}))?",
            rf"[A-Za-z]{{3}} {_NAME} +(?P<d>\d{{1,2}}) (?P<H>\d{{2}}):(?P<M>\d{{2}}):"
            r"(?P<S>\d{2})(?: [A-Z]{3,4})? (?P<y>\d{4})",
        )
    ),
    "dmy": (
        re.compile(
            r"(?P<d>\d{1,2})(?P<s>[./ -])(?P<m>\d{1,2})(?P=s)(?P<y>\d{4}|\d{2})" + _TIME
        ),
    ),
    "mdy": (
        re.compile(
            r"(?P<m>\d{1,2})(?P<s>[./ -])(?P<d>\d{1,2})(?P=s)(?P<y>\d{4}|\d{2})" + _TIME
        ),
    ),
    "my": (re.compile(r"(?P<m>\d{1,2})[/.-](?P<y>\d{4})"),),
}
_CLOCK = re.compile(
    r"(?P<H>\d{1,2}):(?P<M>[0-5]\d)(?::(?P<S>[0-5]\d(?:[.,]\d+)?))?\s*"
    r"(?P<ap>[AaPp]\.?[Mm]\.?)?"
)
_DURATION = re.compile(
    r"(?P<sign>-)?(?:P?(?P<D>\d+)\s*(?:d|D|days?)T?,?\s*)?"
    r"(?:(?P<H>\d+):(?P<M>[0-5]\d)(?::(?P<S>[0-5]\d(?:[.,]\d+)?))?)?"
)
ORDERS = ("ymd", "dmy", "mdy", "my")
KINDS = (*ORDERS, "clock", "duration")


@dataclass(frozen=True)
class DateText:
    """The format of the dates in a column.

    order: of the parts, one of `KINDS`; months by name and ISO dates are read in any
    """

    order: str

    def seconds(self, cells: Iterable[str | None]) -> np.ndarray:
        """float64, NaN where a cell is not a date: seconds since 1970, within a day for
        "clock", of the duration for "duration"."""
        read, known = _READERS[self.order], dict[str, float]()
        out = []
        for cell in cells:
            value = np.nan
            if cell is not None:
                if cell not in known:
                    found = read(cell.strip())
                    known[cell] = np.nan if found is None else found
                value = known[cell]
            out.append(value)
        return np.array(out, np.float64)

    def numbers(self, cells: Iterable[str | None]) -> np.ndarray:
        """`seconds` as days."""
        return self.seconds(cells) / DAY


def learn_dates(cells: Sequence[str]) -> tuple[DateText | None, bool]:
    """The date format of some distinct cells, None if not all of them are dates; and
    whether day and month could be swapped."""
    if not cells or len(cells[0]) < 3 or not any(c.isdigit() for c in cells[0]):
        return None, False
    fits = []
    for order in KINDS:
        read = _READERS[order]
        if all(read(cell.strip()) is not None for cell in cells):
            fits.append(order)
    if not fits or (fits[0] == "duration" and not any(":" in c for c in cells)):
        return (DateText("duration"), False) if fits else (None, False)
    if "dmy" in fits and "mdy" in fits and fits[0] != "ymd":
        slashes = any("/" in cell for cell in cells)
        return DateText("mdy" if slashes else "dmy"), "." not in cells[0]
    return DateText(fits[0]), False


def text_of(seconds: float) -> str:
    """A date for display: 2000-01-31, with the time unless it is midnight."""
    moment = EPOCH + datetime.timedelta(seconds=float(seconds))
    text = moment.isoformat(" ", "minutes")
    return text.removesuffix(" 00:00")


def seconds_of_digits(values: np.ndarray) -> np.ndarray | None:
    """Numbers such as 20000131 as dates; None if not all of them are dates."""
    known = values[~np.isnan(values)]
    distinct = np.unique(known)
    if len(distinct) < 3 or not ((distinct > 1.7e7) & (distinct < 2.21e7)).all():
        return None
    days = distinct % 100
    if ((days == days[0]).all() and days[0] == 0) or (distinct % 1).any():
        return None
    read = DateText("ymd").seconds(str(int(v)) for v in distinct)
    if np.isnan(read).any():
        return None
    places = np.searchsorted(distinct, np.where(np.isnan(values), distinct[0], values))
    return np.where(np.isnan(values), np.nan, read[np.minimum(places, len(read) - 1)])


def _read(order: str, cell: str) -> float | None:
    patterns = _PATTERNS[order]
    if order != "ymd":
        patterns = (*patterns, *_PATTERNS["ymd"])
    for pattern in patterns:
        found = pattern.fullmatch(cell)
        if found is not None:
            value = _date(found.groupdict())
            if value is not None:
                return value
    return None


def _date(parts: dict[str, str | None]) -> float | None:
    month = 1
    if (name := parts.get("name")) is not None:
        if name.lower() not in MONTHS:
            return None
        month = MONTHS[name.lower()]
    elif (number := parts.get("m")) is not None:
        month = int(number)
    elif (quarter := parts.get("q")) is not None:
        month = 3 * int(quarter) - 2
    year = parts["y"]
    assert year is not None
    full = (
        int(year) if len(year) == 4 else int(year) + (1900 if int(year) > 68 else 2000)
    )
    clock = _clock(parts)
    if clock is None:
        return None
    try:
        day = datetime.datetime(full, month, int(parts.get("d") or 1))
    except ValueError:
        return None
    return (day - EPOCH).total_seconds() + clock


def _clock(parts: dict[str, str | None]) -> float | None:
    """Seconds since midnight; None for an invalid time."""
    hour, minute = int(parts.get("H") or 0), int(parts.get("M") or 0)
    second = float((parts.get("S") or "0").replace(",", "."))
    if half := parts.get("ap"):
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half[0] in "pP" else 0)
    if hour > 24 or minute > 59 or second >= 61:
        return None
    return hour * 3600.0 + minute * 60.0 + second


def _clock_text(cell: str) -> float | None:
    found = _CLOCK.fullmatch(cell)
    return None if found is None else _clock(found.groupdict())


def _duration(cell: str) -> float | None:
    found = _DURATION.fullmatch(cell)
    if found is None or (found["D"] is None and found["H"] is None):
        return None
    total = float(found["D"] or 0) * DAY + float(found["H"] or 0) * 3600.0
    total += float(found["M"] or 0) * 60.0 + float(
        (found["S"] or "0").replace(",", ".")
    )
    return -total if found["sign"] else total


_READERS: dict[str, Callable[[str], float | None]] = {
    **{order: partial(_read, order) for order in ORDERS},
    "clock": _clock_text,
    "duration": _duration,
}
