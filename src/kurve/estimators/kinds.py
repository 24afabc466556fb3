"""The kinds of the columns of a table, inferred from their values: numbers in a local
notation, dates, categories, texts of many words, or columns that a model cannot use.

A column of dates becomes several numbers, all functions of the days since 1970: the
days themselves (the trend), sine and cosine of the time of year and of the time of day,
and a 0 or 1 for each day of the week; those that vary too little to be learned are left
out. A column of texts becomes a 0 or 1 for each of its frequent words.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kurve.tables.dates import DAY, DateText, learn_dates, text_of
from kurve.tables.numerals import (
    Numerals,
    is_gap,
    is_plain,
    learn_numerals,
    unit_of,
    without_unit,
)

MAX_LEVELS, FEW_LEVELS = 256, 50
"""Maximum levels of a category: of a column with more, the most frequent are kept. And
the number of levels up to which a column is always a category, however few rows there
are."""

COVERED = 0.3
"""Minimum fraction of the rows with a frequent level, if a column has too many
levels."""

FREQUENT = 5
"""Least rows of a frequent level."""

LONG_TEXT = 8
"""Mean number of words from which texts are not names: a word in few of them counts."""

FEW_MEASURED = 10
"""Different numbers of a unit up to which a column as "2 doors" is a category."""

MAX_WORDS = 100
"""Maximum words of a column of texts."""

YEAR = 365.2425
WEEKDAYS = (
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
)
PARTS = ("days", "season", "weekday", "clock")
WIDTHS = {"days": 1, "season": 2, "weekday": 7, "clock": 2}

IDENTIFIER = re.compile(
    r"unnamed: ?\d+|index|level_0|rownames?|row_?(id|nr|num|number)?|"
    r"(.*[ _.-])?(id|ids|uuid|guid|pk|key)|.*[a-z](Id|ID|Key)",
)
"""Names of columns that identify rows, if no two rows have the same whole number."""

UNKNOWN = re.compile(
    r"\W+|unknown|unk|missing|n[./]?[ad][.]?|none|nil|tbd|not available|no data", re.I
)
"""Cells that stand for an unknown number."""

Level = str | int | float | bool


@dataclass(frozen=True)
class Dates:
    """A column of dates.

    text:  how the dates are written; None for dates, and for digits
    digits: whether dates are numbers such as 20000131
    parts: the features, some of `PARTS`
    first, last: the training span, seconds since 1970
    """

    text: DateText | None
    digits: bool
    parts: tuple[str, ...]
    first: float
    last: float

    @classmethod
    def learn(
        cls, seconds: np.ndarray, text: DateText | None = None, digits: bool = False
    ) -> Dates:
        """Which features vary enough to be learned from.

        Args:
            seconds: (n,), NaN where missing; at least one date.
        """
        known = seconds[~np.isnan(seconds)]
        first, last = float(known.min()), float(known.max())
        days, clock = np.unique(known // DAY), known % DAY
        parts = ["days"] if last > first else []
        if last - first > 300 * DAY and _spread(days) > 20:
            parts.append("season")
        steps = np.diff(days)
        weekdays = len(np.unique(days % 7))
        if len(days) > 7 and weekdays > 2 and np.median(steps) < 4:
            parts.append("weekday")
        if np.ptp(clock) > 60:
            parts.append("clock")
        return cls(text, digits, tuple(parts or ["days"]), first, last)

    @property
    def width(self) -> int:
        """Number of features."""
        return sum(WIDTHS[part] for part in self.parts)

    def encode(self, seconds: np.ndarray) -> np.ndarray:
        """The features (n, width); those of missing dates are 0."""
        days = seconds / DAY
        columns: list[np.ndarray] = []
        for part in self.parts:
            if part == "days":
                columns.append(days - (self.first + self.last) / (2 * DAY))
            elif part in ("season", "clock"):
                angle = 2 * np.pi * (days / YEAR if part == "season" else days)
                columns += [np.sin(angle), np.cos(angle)]
            else:
                weekday = (np.floor(days) + 3) % 7  # 1970 began with a Thursday
                columns += [
                    np.where(np.isnan(days), np.nan, weekday == number)
                    for number in range(7)
                ]
        return np.nan_to_num(np.stack(columns, axis=1).astype(np.float64))

    def names(self, label: str) -> list[str]:
        """The meaning of each feature."""
        found = {
            "days": [f"{label} (days)"],
            "season": [f"{label} (season, sine)", f"{label} (season, cosine)"],
            "weekday": [f"{label} is {day}" for day in WEEKDAYS],
            "clock": [f"{label} (time of day, sine)", f"{label} (time of day, cosine)"],
        }
        return [name for part in self.parts for name in found[part]]

    def __str__(self) -> str:
        span = f"{text_of(self.first)} to {text_of(self.last)}"
        if self.text is not None and self.text.order == "clock":
            span = "times of the day"
        names = {
            "days": "trend",
            "season": "season",
            "weekday": "weekday",
            "clock": "time of day",
        }
        return f"{span}, learned as {', '.join(names[part] for part in self.parts)}"


def _spread(days: np.ndarray) -> float:
    """The days of the year in which all dates lie, from any of them on."""
    seasons = np.sort(days % YEAR)
    gaps = np.diff(np.append(seasons, seasons[0] + YEAR))
    return float(YEAR - gaps.max())


@dataclass(frozen=True)
class Words:
    """A column of texts: its frequent words, in order."""

    words: tuple[str, ...]

    def encode(self, texts: Sequence[Any] | np.ndarray) -> np.ndarray:
        """Which words each text contains, 0 or 1 (n, words); a missing text contains
        none."""
        place = {word: i for i, word in enumerate(self.words)}
        found = np.zeros((len(texts), len(self.words)))
        for row, text in enumerate(texts):
            if text is not None:
                for word in words_of(str(text)):
                    if word in place:
                        found[row, place[word]] = 1.0
        return found


def words_of(text: str) -> set[str]:
    """The words of a text, in lower case."""
    return set(re.findall(r"\w+", text.lower()))


@dataclass(frozen=True)
class Text:
    """The kind of a column of texts; one of the fields is set.

    numerals: it holds numbers, written this way; other cells count as missing
    strange:  such a cell, if there is one
    dates:    it holds dates, written this way
    unsure:   whether day and month may be swapped
    """

    numerals: Numerals | None = None
    strange: str | None = None
    dates: DateText | None = None
    unsure: bool = False


def recognise(counts: Counter[Any], decimal: str = ".") -> Text | None:
    """The kind of a column of texts, if they are not categories.

    Args:
        counts: by cell, the number of rows.
        decimal: the likelier decimal mark.
    """
    cells = [cell for cell in counts if isinstance(cell, str)]
    if len(cells) < len(counts) or not cells:
        return None
    filled = [cell for cell in cells if not is_gap(cell)]
    numerals, read = learn_numerals(filled, decimal)
    if read and read == len(filled):
        codes = all(is_plain(cell) for cell in filled)
        zeros = any(re.fullmatch(r"0\d+", cell) for cell in filled)
        if not codes or (len(filled) > FEW_LEVELS and not zeros):
            return Text(numerals=numerals)
        return None
    text, unsure = learn_dates(filled)
    if text is not None:
        return Text(dates=text, unsure=unsure)
    unit = unit_of(filled)
    if unit:
        bare = [without_unit(cell, unit) for cell in filled]
        measured, more = learn_numerals(bare, decimal)
        if more > read and more > FEW_MEASURED:
            numerals, read = Numerals(measured.decimal, unit), more
            if read == len(filled):
                return Text(numerals=numerals)
    strange = [cell for cell in filled if numerals.number(cell) is None]
    rows = sum(counts[cell] for cell in strange)
    total = sum(counts.values())
    many = 4 * len(strange) <= read and (read > FEW_LEVELS // 2 or 2 * read > total)
    if all(UNKNOWN.fullmatch(cell.strip()) for cell in strange):
        many = read > 2
    if many and 2 * rows < total:
        return Text(numerals=numerals, strange=strange[0])
    return None


def learn_words(counts: Counter[Any]) -> Words | None:
    """The frequent words of texts; None if few texts contain any.

    Args:
        counts: by text, the number of rows.
    """
    rows = sum(counts.values())
    found: Counter[str] = Counter()
    total = 0
    for text, count in counts.items():
        own = words_of(str(text))
        total += count * len(own)
        for word in own:
            found[word] += count
    least = max(3.0, 0.005 * rows)
    kept = [
        word
        for word, count in found.most_common(MAX_WORDS)
        if least <= count <= 0.95 * rows and not word.isdigit()
    ]
    words = Words(tuple(sorted(kept)))
    with_words = sum(
        count
        for text, count in counts.items()
        if not words_of(str(text)).isdisjoint(kept)
    )
    least = 0.5 if total < LONG_TEXT * rows else 0.05
    if total < 1.5 * rows or with_words < least * rows:
        return None
    return words


def too_many_levels(levels: int, rows: int | None) -> bool:
    """Whether a column has too many levels to be a category.

    Args:
        rows: in the table, if known.
    """
    repeated = rows is None or levels <= max(FEW_LEVELS, rows / 2)
    return levels > MAX_LEVELS or not repeated


def frequent_levels(counts: Counter[Any], declared: bool) -> list[Any]:
    """The levels to keep of a column with too many of them; none if they occur in too
    few rows.

    Args:
        declared: whether the user said that it is a category.
    """
    kept = [
        level
        for level, count in counts.most_common(MAX_LEVELS - 1)
        if declared or count >= FREQUENT
    ]
    covered = sum(counts[level] for level in kept)
    return kept if declared or covered >= COVERED * sum(counts.values()) else []


def is_identifier(name: str, values: np.ndarray) -> bool:
    """Whether a column of numbers identifies the rows: by its name, and because no two
    rows have the same whole number."""
    if not IDENTIFIER.fullmatch(name) and not IDENTIFIER.fullmatch(name.lower()):
        return False
    known = values[~np.isnan(values)]
    if len(known) < 10 or (known % 1).any():
        return False
    return len(np.unique(known)) == len(known)
