"""A delimited file line by line: encoding, delimiter, column names, and errors that
name the faulty line. Read by Python's csv module, slower than pyarrow."""

from __future__ import annotations

import csv
import io
import os
import re
import tempfile
import weakref
from collections.abc import Iterator
from itertools import islice
from typing import Any, BinaryIO

from kurve.errors import TableError
from kurve.tables import cleaning
from kurve.tables.encodings import (
    ENCODINGS,
    binary_format,
    encoding_of,
    has_byte_order_mark,
)
from kurve.tables.numerals import NUMBER, SPACES, decimal_mark
from kurve.tables.table_file import distinct

DELIMITERS = {"csv": None, "tsv": "\t"}
COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4"}

HEAD = 1 << 16
PIECE = 1 << 20
"""Bytes to read at a time."""

SAMPLE = 200
"""Rows to look at for the decimal mark."""

MAX_LINE = 1 << 28
"""Maximum bytes of a line."""


class Lines:
    """The lines of a CSV or TSV file; see `kurve.tables.Delimited` for the arguments.

    encoding, delimiter: as detected
    header: the names as in the file, if it has a header
    names:  of the columns
    notes:  what was mended
    """

    def __init__(
        self,
        path: str,
        stream: BinaryIO | None,
        format: str,
        delimiter: str | None,
        encoding: str,
        has_header: bool,
        comment: str | None = None,
    ) -> None:
        self.path, self._stream = path, stream
        head = self._head()
        known = encoding_of(head, encoding)
        if known is None:
            raise self.error(
                "the encoding must be one that Python knows",
                repr(encoding),
                f"one of {', '.join(ENCODINGS)}",
            )
        self.encoding = known
        self._refuse_binary(head)
        self._cleaned: cleaning.Cleaned | None = None
        if cleaning.needed(self._decoded(head), delimiter, comment):
            self._clean(delimiter, comment)
            assert self._cleaned is not None
            delimiter, head = self._cleaned.delimiter, self._head()
        self.delimiter = delimiter or DELIMITERS[format] or self._sniff(head)
        first = next(self.rows(), None)
        if first is None:
            raise self.error("the file must not be empty", "no line", "a header line")
        line, cells = first
        self.header = cells if has_header else None
        names = [name.strip() for name in cells]
        if not has_header:
            names = [f"x{i + 1}" for i in range(len(cells))]
        self.names, self.notes = distinct(names)
        self._refuse_numbers(line)
        if self.notes:
            self._rewrite()

    def _decoded(self, head: bytes) -> str:
        return head.decode(self.encoding, "replace").lstrip("\ufeff")

    def _clean(self, delimiter: str | None, comment: str | None) -> None:
        """Read a rewritten file in place of the file."""
        encoding = "utf-8-sig" if self.encoding == "utf-8" else self.encoding
        try:
            with self.open() as file:
                raw = io.BufferedReader(_Raw(file))
                lines = io.TextIOWrapper(raw, encoding=encoding, newline="")
                self._cleaned = cleaning.cleaned(iter(lines), delimiter, comment)
        except UnicodeError:
            self.delimiter = delimiter or ","
            raise self.wrong_encoding() from None
        except OSError as error:
            raise self.unreadable(error) from error
        self._stream, self.encoding = self._cleaned.stream, "utf-8"
        weakref.finalize(self, self._stream.close)

    # ---------------------------------------------------------------- reading

    def open(self) -> Any:
        """The decompressed bytes from the start, as a context manager."""
        import pyarrow

        if self._stream is not None:
            self._stream.seek(0)
            return _Unclosed(self._stream)
        file = open(self.path, "rb")  # noqa: SIM115 (a context); any name, UTF-8 or not
        compression = self._compression()
        if compression is None:
            return file
        return pyarrow.CompressedInputStream(pyarrow.PythonFile(file), compression)

    def size(self, limit: int) -> int:
        """Bytes of the text, decompressed; counting stops at `limit`."""
        if self._stream is not None:
            return self._stream.seek(0, os.SEEK_END)
        if self._compression() is None:
            return os.path.getsize(self.path)
        size = 0
        try:
            with self.open() as file:
                while size < limit and (piece := file.read(PIECE)):
                    size += len(piece)
        except OSError as error:
            raise self.unreadable(error) from error
        return size

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Line number (of its start, from 1) and cells of each row, including the
        header.

        Raises:
            TableError: bytes invalid in the encoding.
        """
        with self.open() as file:
            raw = io.BufferedReader(_Raw(file))
            encoding = "utf-8-sig" if self.encoding == "utf-8" else self.encoding
            text = io.TextIOWrapper(raw, encoding=encoding, newline="")
            reader = csv.reader(text, delimiter=self.delimiter)
            csv.field_size_limit(MAX_LINE)
            line = 1
            try:
                for cells in reader:
                    if cells:
                        yield self._line(line), cells
                    line = reader.line_num + 1
            except UnicodeError:
                raise self.wrong_encoding() from None
            except OSError as error:
                raise self.unreadable(error) from error
            except csv.Error as error:
                raise self.error(
                    "the file must be a table", str(error), "other quotes", line
                ) from None

    def _line(self, number: int) -> int:
        return number if self._cleaned is None else self._cleaned.line(number)

    def data_rows(self) -> Iterator[tuple[int, list[str]]]:
        """`rows` without the header."""
        rows = self.rows()
        if self.header is not None:
            next(rows, None)
        return rows

    def _compression(self) -> str | None:
        return COMPRESSIONS.get(os.path.splitext(self.path.lower())[1])

    def _head(self) -> bytes:
        """The first bytes."""
        try:
            with self.open() as file:
                return bytes(file.read(HEAD))
        except OSError as error:
            raise self.unreadable(error) from error

    def _sniff(self, head: bytes) -> str:
        """The candidate that occurs most often in the first line, outside quotes."""
        first = head.decode(self.encoding, "replace").lstrip("\ufeff\r\n")
        first = (first.splitlines() or [""])[0]
        unquoted = "".join(first.split('"')[::2])
        return max(cleaning.CANDIDATES, key=unquoted.count)

    def decimal(self) -> str:
        """The decimal mark in the first rows."""
        if self.delimiter == ",":
            return "."
        try:
            rows = islice(self.data_rows(), SAMPLE)
            return decimal_mark((c for _, cells in rows for c in cells), self.delimiter)
        except TableError:
            return "."  # the faulty line is named where it is read

    # ---------------------------------------------------------------- errors

    def error(
        self, rule: str, received: str, fix: str, line: int | None = None
    ) -> TableError:
        """`[read] file, line: rule. Received: ... Try ...`."""
        where = self.path if line is None else f"{self.path}, line {line}"
        return TableError(f"[read] {where}: {rule}. Received: {received}. Try {fix}.")

    def unreadable(self, error: OSError) -> TableError:
        """The error for a file that cannot be read or decompressed to its end."""
        reason = error.strerror or " ".join(str(error).split())[:120]
        return self.error(
            "the file must be complete and readable", reason, "another copy of it"
        )

    def wrong_encoding(self) -> TableError:
        """The error for the first bytes invalid in the encoding."""
        offset = 0
        wide = self.encoding in ("utf-16", "utf-32")
        if wide and not has_byte_order_mark(self._head()):
            fix = f'encoding "{self.encoding}-le" or "{self.encoding}-be"'
            return self.error(
                f"{self.encoding} text must start with a byte order mark", "none", fix
            )
        with self.open() as file:
            for line, raw in enumerate(io.BufferedReader(_Raw(file)), 1):
                try:
                    raw.decode(self.encoding)
                except UnicodeDecodeError as error:
                    at = error.start
                    before = raw[max(at - 12, 0) : at].decode(self.encoding, "replace")
                    before = before.rsplit(self.delimiter, 1)[-1].rsplit("\n", 1)[-1]
                    byte = f"byte 0x{raw[at]:02x} at offset {offset + at}"
                    received = byte + (f", after {before!r}" if before else "")
                    fix = 'one encoding for the whole file, or encoding "latin-1"'
                    name = "utf-8" if self.encoding == "utf-8-sig" else self.encoding
                    return self.error(f"all text must be {name}", received, fix, line)
                offset += len(raw)
        return self.error(
            f"all text must be {self.encoding}", "other bytes", "another encoding"
        )

    def mend_rows(self) -> bool:
        """Fill up rows with fewer cells than the first line, and cut off empty cells
        beyond its last; return whether there were any.

        Raises:
            TableError: the first row with more cells, or a shorter one that is
                probably a mistake: half of the rows are shorter, or a quote is open.
        """
        width, rows, short, is_long = len(self.names), 0, 0, False
        first: tuple[int, list[str]] = (0, [])
        for line, cells in self.data_rows():
            rows += 1
            if len(cells) > width:
                is_long = True
                if any(cell.strip() for cell in cells[width:]):
                    raise self._ragged(line, cells)
            elif len(cells) < width:
                short += 1
                first = first if first[1] else (line, cells)
                if any("\n" in cell for cell in cells):
                    raise self._ragged(line, cells)
            if 2 * short > max(rows, SAMPLE):
                break
        if 2 * short >= max(rows, 1):
            raise self._ragged(*first)
        if short:
            self.notes.append(
                f"{short:,} of {rows:,} rows have fewer cells than the first line, "
                f"such as line {first[0]}: the others count as missing"
            )
        if short or is_long:
            self._rewrite()
        return bool(short or is_long)

    def _ragged(self, line: int, cells: list[str]) -> TableError:
        return self.error(
            f"each line must have {_columns(len(self.names))}, as the first has",
            _columns(len(cells)),
            f"quotes around cells that hold the delimiter {self.delimiter!r}, or the "
            "missing cells",
            line,
        )

    def _rewrite(self) -> None:
        """Read a file in place of this one whose names are distinct and whose rows have
        as many cells as there are names, on the same lines."""
        stream: Any = tempfile.SpooledTemporaryFile(cleaning.SPOOLED)  # noqa: SIM115
        text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
        writer = csv.writer(text, delimiter=self.delimiter, lineterminator="\n")
        width, at = len(self.names), 1
        for row, (line, cells) in enumerate(self.rows()):
            text.write("\n" * (line - at))
            if row == 0 and self.header is not None:
                cells = self.names
            writer.writerow((cells + [""] * (width - len(cells)))[:width])
            at = line + 1 + sum(cell.count("\n") for cell in cells)
        text.detach()
        self._stream, self.encoding, self._cleaned = stream, "utf-8", None
        self.header = self.header and self.names
        weakref.finalize(self, stream.close)

    def _refuse_binary(self, head: bytes) -> None:
        """Refuse empty or binary files."""
        marked = has_byte_order_mark(head)
        text = head.decode(self.encoding, "replace") if marked else ""
        if not head.strip() or (text and not text.strip("\ufeff" + SPACES)):
            raise self.error(
                "the file must not be empty", f"{len(head)} bytes", "a header line"
            )
        if what := binary_format(head):
            raise self.error("the file must be text", what, "its own format or CSV")
        if b"\0" in head and not self.encoding.startswith(("utf-16", "utf-32")):
            raise self.error(
                "the file must be text",
                f"byte 0x00 at offset {head.index(0)}",
                "a CSV, TSV, Parquet or Feather file",
            )

    def _refuse_numbers(self, line: int) -> None:
        numeric = all(re.fullmatch(NUMBER, name) for name in self.names)
        if self.header is not None and numeric:
            raise self.error(
                "the first line must hold the columns' names",
                "numbers only",
                "a line of names, or reading without a header",
                line,
            )


class _Unclosed(io.RawIOBase):
    """A view of a stream that leaves the stream open when closed."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._stream.read(size)


class _Raw(io.RawIOBase):
    """Adapter that lets `io.BufferedReader` read any object with `read`."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _columns(count: int) -> str:
    return f"{count} column" + ("" if count == 1 else "s")
