"""Cleaning of text files: a line "sep=;" written by spreadsheets, comments, a header in
a comment (as written by NumPy's savetxt), and blanks as delimiters. Such a file is
rewritten as one without them."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from kurve.tables.numerals import Numerals

CANDIDATES = ",;\t|"
"""Possible separators in a .csv file; the header shows which one is used."""

COMMENT = "#"
SEPARATOR = re.compile(r"\s*\"?sep=(.)\"?\s*", re.IGNORECASE)
SPOOLED = 1 << 28


@dataclass
class Cleaned:
    """A file rewritten.

    stream: its lines in UTF-8
    delimiter: its separator, if the file declares it or if it was blanks
    dropped: the numbers of the lines left out, from 1
    """

    stream: BinaryIO
    delimiter: str | None
    dropped: list[int]

    def line(self, number: int) -> int:
        """The number in the file of a line of the rewritten one."""
        for dropped in self.dropped:
            if dropped <= number:
                number += 1
        return number


def needed(head: str, delimiter: str | None, comment: str | None) -> bool:
    """Whether the first lines of a file must be rewritten.

    Args:
        delimiter: as passed; " " is any number of blanks.
        comment: how comments start, None if they do not.
    """
    lines = [line for line in head.splitlines() if line.strip()]
    if not lines:
        return False
    if delimiter == " " or SEPARATOR.fullmatch(lines[0]):
        return True
    if comment and lines[0].startswith(comment):
        return True
    return delimiter is None and _blanks(lines[:20])


def _blanks(lines: list[str]) -> bool:
    """Whether blanks separate the columns of all these lines, in equal numbers."""
    first = lines[0]
    if any(candidate in first for candidate in CANDIDATES) or '"' in first:
        return False
    counts = {len(line.split()) for line in lines}
    if len(counts) != 1 or len(lines) < 2 or counts == {1}:
        return False
    # A header of words is one column, unless numbers stand below each of them.
    return all(Numerals().number(cell) is not None for cell in lines[-1].split()) or (
        re.search(r"\S  +\S", first) is not None
    )


def cleaned(
    lines: Iterator[str], delimiter: str | None, comment: str | None
) -> Cleaned:
    """Rewrite a file.

    Args:
        lines: of the file, decoded, with their ends.
        delimiter, comment: see `needed`.
    """
    stream: Any = tempfile.SpooledTemporaryFile(SPOOLED)  # noqa: SIM115 (closed with the table)
    dropped: list[int] = []
    comments: list[str] = []
    blanks = delimiter == " "
    started = False
    for number, line in enumerate(lines, 1):
        text = line.rstrip("\r\n")
        if not started:
            if found := SEPARATOR.fullmatch(text):
                delimiter = delimiter or found[1]
                dropped.append(number)
                continue
            if comment and text.startswith(comment):
                comments.append(text[len(comment) :].strip())
                dropped.append(number)
                continue
            if not text.strip():
                continue
            started = True
            header = comments[-1] if comments else None
            blanks = blanks or (
                delimiter is None
                and not any(candidate in text for candidate in CANDIDATES)
                and len(text.split()) > 1
            )
            split = None if blanks else delimiter or _most(text)
            if header is not None and _is_header(header, text, split):
                stream.write((_joined(header, blanks) + "\n").encode())
                dropped.pop()
        elif comment and text.startswith(comment) and comments:
            dropped.append(number)
            continue
        stream.write((_joined(text, blanks) + "\n").encode())
    return Cleaned(stream, "\t" if blanks else delimiter, dropped)


def _joined(text: str, blanks: bool) -> str:
    return "\t".join(text.split()) if blanks else text


def _most(text: str) -> str:
    return max(CANDIDATES, key=text.count)


def _is_header(comment: str, first: str, delimiter: str | None) -> bool:
    """Whether the comment before the first row names its columns."""
    cells = first.split(delimiter)
    names = comment.split(delimiter)
    numbers = [Numerals().number(cell) is not None for cell in cells]
    named = not any(Numerals().number(name) is not None for name in names)
    return len(names) == len(cells) and any(numbers) and named
