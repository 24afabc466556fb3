"""CSV and TSV files. pyarrow reads them, several blocks at a time; where it refuses,
the file is walked once more with Python's csv module to say which line is at fault."""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO

from kurve.errors import TableError
from kurve.tables.cells import (
    CODE,
    FALSE,
    INFINITY,
    LONG,
    MISSING,
    NUMBER,
    SPACES,
    TRUE,
    joined,
    kind_of,
)

DELIMITERS = {"csv": None, "tsv": "\t"}
CANDIDATES = ",;\t|"
"""What may separate the columns of a .csv file; the header shows which one does."""

SHOWN = 40
"""Characters of a value that a message shows."""

PACKED = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4"}
ENCODINGS = (
    "utf-8", "latin-1", "cp1252", "utf-16", "utf-16-le", "utf-16-be", "mac-roman",
    "cp437", "koi8-r", "shift-jis", "gb18030", "euc-kr", "big5",
)  # fmt: skip
"""Those that a message names."""

NO_ENCODINGS = ("idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape")
"""Codecs of Python that are for other things than files."""

HEAD = 1 << 16
START = 1 << 20
"""Bytes of a block that is read as a whole file's part; more where lines are longer."""

BLOCK = 1 << 24
"""Bytes of a batch; more where lines are longer."""

LIMIT = 1 << 28
"""Bytes of a line, at most."""


class Delimited:
    r"""One CSV or TSV file, or the bytes of one.

    Args:
        path: name of the file, for messages and, without `stream`, to open it; a name
            that ends in .gz, .bz2 or .zst is decompressed.
        stream: a binary file that can seek, read instead.
        format: "csv" or "tsv".
        delimiter: between two columns; None finds it in the header (CSV) or is a tab.
        decimal: "." or ",".
        encoding: of the text; a byte order mark of UTF-16 goes before it.
        header: whether the first line holds the names; else they are x1, x2, ...
        missing_values: cells that hold no value, besides `MISSING`.

    Raises:
        TableError: there is no such file, or its header cannot be read.

    Example:
        >>> from pathlib import Path
        >>> _ = Path("data.csv").write_text("x,y\n1,2\n3,4\n")
        >>> kurve.tables.Delimited("data.csv").delimiter
        ','
    """

    def __init__(
        self,
        path: str,
        stream: BinaryIO | None = None,
        format: str = "csv",
        delimiter: str | None = None,
        decimal: str = ".",
        encoding: str = "utf-8",
        header: bool = True,
        missing_values: Sequence[str] = (),
    ) -> None:
        self.path, self.stream, self.header = path, stream, header
        self.decimal = decimal
        self.missing = [*MISSING, *missing_values]
        self._number = NUMBER.replace(r"\.", re.escape(decimal))
        self._signed: set[str] = set()  # numbers that pyarrow takes for text: "+1"
        self._block = BLOCK
        head = self._head()
        self.encoding = self._checked_encoding(head, encoding)
        self._refuse_what_is_no_text(head)
        self.delimiter = delimiter or DELIMITERS[format] or self._sniff(head)
        first = next(self._rows(), None)
        if first is None:
            raise self.error("the file must not be empty", "no line", "a header line")
        self._raw_names = first[1] if header else []
        self.names = [name.strip() for name in self._raw_names]
        if not header:
            self.names = [f"x{i + 1}" for i in range(len(first[1]))]
        self._check_names(first[0])

    # ---------------------------------------------------------------- reading

    def read(
        self, columns: Sequence[str], texts: Sequence[str], exact: Sequence[str]
    ) -> Any:
        """The columns as a pyarrow.Table, with the types that the file shows; see
        `kurve.tables.TableFile.read`."""
        import pyarrow
        from pyarrow import csv as arrow_csv

        block = START
        types = dict.fromkeys([*texts, *exact], pyarrow.string())

        def read() -> Any:
            with self._open() as file:
                return arrow_csv.read_csv(
                    file,
                    self._read_options(block),
                    self._parse_options(),
                    self._convert_options(columns, types),
                )

        while True:
            try:
                table = self._guarded(read).rename_columns(list(columns))
                return self._typed(table, texts, exact)
            except _LongLine:
                block = self._longer(block)

    def batches(self, columns: Sequence[str], types: dict[str, Any]) -> Iterator[Any]:
        """The columns as one pyarrow.Table after the other, of the types given."""
        import pyarrow
        from pyarrow import csv as arrow_csv

        signed = self._signed.intersection(columns)
        types = {**types, **dict.fromkeys(signed, pyarrow.string())}
        with self._open() as file:
            reader = self._guarded(
                lambda: arrow_csv.open_csv(
                    file,
                    self._read_options(self._block),
                    self._parse_options(),
                    self._convert_options(columns, types),
                )
            )
            while True:
                try:
                    batch = self._guarded(reader.read_next_batch)
                except StopIteration:
                    return
                table = pyarrow.Table.from_batches([batch]).rename_columns(columns)
                for name in signed:
                    i = table.column_names.index(name)
                    table = table.set_column(i, name, self.plain(table.column(i)))
                yield table

    def scan(
        self, columns: Sequence[str], texts: Sequence[str], exact: Sequence[str]
    ) -> tuple[dict[str, Any], int]:
        """The type of each column over the whole file, and the number of rows. Reads
        everything once, and holds one batch of it."""
        while True:
            try:
                return self._scan(columns, texts, exact)
            except _LongLine:
                self._block = self._longer(self._block)

    def _scan(
        self, columns: Sequence[str], texts: Sequence[str], exact: Sequence[str]
    ) -> tuple[dict[str, Any], int]:
        import pyarrow

        self._signed.clear()
        text = dict.fromkeys(columns, pyarrow.string())
        shown = [name for name in columns if name not in texts]
        seen: dict[str, set[str]] = {name: set() for name in shown}
        counts = dict.fromkeys(shown, (0, 0))
        rows = 0
        for batch in self.batches(columns, text):
            rows += len(batch)
            for name in shown:
                kind, numbers, valid = self._kind(batch[name], name in exact)
                if valid:
                    seen[name].add(kind)
                before = counts[name]
                counts[name] = before[0] + numbers, before[1] + valid
        types = dict.fromkeys(texts, pyarrow.string())
        for name in shown:
            numbers, valid = counts[name]
            types[name] = joined(seen[name])
            is_text = types[name] == pyarrow.string()
            if is_text and numbers < valid <= 2 * numbers:
                raise self._text_among_numbers(name, valid - numbers)
            if "signed" in seen[name] and types[name] == pyarrow.float64():
                self._signed.add(name)
        return {name: types[name] for name in columns}, rows

    def _kind(self, values: Any, exact: bool) -> tuple[str, int, int]:
        """What the cells of a batch are, how many are numbers, and how many there are:
        the kinds that pyarrow finds, "signed" for numbers that it does not know, and
        "code" for what must stay text to be exact.
        """
        from pyarrow import compute

        values = values.drop_null()
        valid = len(values)
        bare = compute.utf8_trim(values, characters=" \t")
        kind = kind_of(values, bare, self._pointed(bare))
        codes = CODE if kind == "integer" else f"{CODE}|{LONG}"
        if exact and compute.any(compute.match_substring_regex(values, codes)).as_py():
            numbers = compute.sum(self._are_numbers(values)).as_py() or 0
            return ("code" if numbers == valid else "text"), numbers, valid
        if kind == "number" or (kind == "integer" and not _hexadecimal(values)):
            return kind, valid, valid
        if exact and kind != "boolean":  # to be copied as the file has it
            kind = "text"
        numbers = compute.sum(self._are_numbers(values)).as_py() or 0
        signed = numbers == valid and kind != "integer"
        return ("signed" if signed else kind), numbers, valid

    def _longer(self, block: int) -> int:
        """The next size of a block to try."""
        if block >= LIMIT:
            raise self.error(
                f"each line must fit into {LIMIT >> 20} MiB",
                "a longer one",
                "closing a quote that is left open",
            )
        return min(16 * block, LIMIT)

    def _guarded(self, call: Callable[[], Any]) -> Any:
        """What the call returns; pyarrow's errors become those of this file.

        Raises:
            _LongLine: a larger block may do.
        """
        import pyarrow

        try:
            return call()
        except UnicodeError as error:
            raise self._wrong_bytes() from error
        except pyarrow.ArrowInvalid as error:
            if "straddl" in str(error) or "Empty CSV file or block" in str(error):
                raise _LongLine from None
            self._refuse_ragged_rows()
            reason = str(error).splitlines()[0][:200]
            raise self.error("the file must be a table", reason, "another delimiter") \
                from error  # fmt: skip
        except OSError as error:
            raise self._broken(error) from error

    def _typed(self, table: Any, texts: Sequence[str], exact: Sequence[str]) -> Any:
        """Text that is numbers after all becomes numbers; a number column with some
        text in it, and text of another encoding, are refused."""
        import pyarrow

        for i, name in enumerate(table.column_names):
            values = table.column(i)
            if pyarrow.types.is_binary(values.type):
                raise self._wrong_bytes()
            if not pyarrow.types.is_string(values.type) or name in texts:
                continue
            kind, numbers, valid = self._kind(values, name in exact)
            if numbers < valid <= 2 * numbers:
                raise self._text_among_numbers(name, valid - numbers)
            if name in exact and kind not in ("signed", "code", "text"):
                values = self._as(values, joined({kind} if valid else set()))
            elif kind == "signed" and valid:
                values = self.plain(values)
            table = table.set_column(i, name, values)
        return table

    def _as(self, values: Any, kind: Any) -> Any:
        """Text as what it is."""
        import pyarrow
        from pyarrow import compute, types

        if types.is_null(kind):
            return pyarrow.nulls(len(values))
        bare = compute.utf8_trim(values, characters=" \t")
        if types.is_boolean(kind):
            return compute.utf8_lower(bare).cast(kind)
        return self._pointed(bare).cast(kind)

    def plain(self, values: Any) -> Any:
        """Numbers from text such as "+1.5", which pyarrow does not take for one."""
        import pyarrow
        from pyarrow import compute

        bare = compute.utf8_trim(self._pointed(values), characters=SPACES)
        return compute.utf8_ltrim(bare, characters="+").cast(pyarrow.float64())

    def size(self, most: int) -> int:
        """Bytes of the text, decompressed, counted up to `most`."""
        if self.stream is not None:
            return self.stream.seek(0, os.SEEK_END)
        if os.path.splitext(self.path.lower())[1] not in PACKED:
            return os.path.getsize(self.path)
        size = 0
        try:
            with self._open() as file:
                while size < most and (piece := file.read(START)):
                    size += len(piece)
        except OSError as error:
            raise self._broken(error) from error
        return size

    def are_numbers(self, values: Any) -> bool:
        """Whether all cells of text are numbers."""
        from pyarrow import compute

        return bool(compute.all(self._are_numbers(values), min_count=0).as_py())

    def _are_numbers(self, values: Any) -> Any:
        from pyarrow import compute

        return compute.match_substring_regex(values, f"^(?:{self._number}|{INFINITY})$")

    def _pointed(self, values: Any) -> Any:
        """Text with "." as its decimal mark."""
        from pyarrow import compute

        if self.decimal == ".":
            return values
        hidden = compute.replace_substring(values, ".", "?")  # no decimal mark here
        return compute.replace_substring(hidden, self.decimal, ".")

    def _read_options(self, block: int) -> Any:
        from pyarrow import csv as arrow_csv

        return arrow_csv.ReadOptions(
            use_threads=True,
            block_size=block,
            encoding="utf-8" if self.encoding == "utf-8-sig" else self.encoding,
            column_names=None if self.header else self.names,
        )

    def _parse_options(self) -> Any:
        from pyarrow import csv as arrow_csv

        return arrow_csv.ParseOptions(delimiter=self.delimiter, newlines_in_values=True)

    def _convert_options(
        self, columns: Sequence[str], types: dict[str, Any] | None = None
    ) -> Any:
        from pyarrow import csv as arrow_csv

        raw = dict(zip(self.names, self._raw_names or self.names, strict=True))
        return arrow_csv.ConvertOptions(
            include_columns=[raw[name] for name in columns],
            column_types={raw[name]: kind for name, kind in (types or {}).items()},
            null_values=self.missing,
            true_values=TRUE,
            false_values=FALSE,
            strings_can_be_null=True,
            decimal_point=self.decimal,
        )

    # ---------------------------------------------------------------- saying where

    def error(
        self, rule: str, received: str, fix: str, line: int | None = None
    ) -> TableError:
        """`[read] file, line: rule. Received: ... Try ...`."""
        where = self.path if line is None else f"{self.path}, line {line}"
        return TableError(f"[read] {where}: {rule}. Received: {received}. Try {fix}.")

    def place(self, row: int) -> str:
        """Where the data row of that number, from 0, is: "line 18"."""
        skip = int(self.header)
        for i, (line, _) in enumerate(self._rows()):
            if i == row + skip:
                return f"line {line}"
        return f"row {row + 1}"

    def value(self, row: int, column: str) -> str:
        """The cell as the file has it, for messages."""
        index = self.names.index(column)
        for i, (_, cells) in enumerate(self._rows()):
            if i == row + int(self.header):
                return shown(cells[index])
        return "nothing"

    def no_numbers(self, name: str, why: str) -> TableError:
        """The error for a column that must hold numbers, with its first other cell."""
        line, cell = self._first_text(name)
        rule = f"column {name!r} must hold numbers, because {why}"
        return self.error(rule, shown(cell), "a number or an empty cell there", line)

    def _text_among_numbers(self, name: str, count: int) -> TableError:
        line, cell = self._first_text(name)
        received = shown(cell) + (f" ({count} such cells in all)" if count > 1 else "")
        fix = "a number or an empty cell there"
        if re.fullmatch(r"\s*[+-]?[0-9]+,[0-9]+\s*", cell):
            fix = 'the decimal mark ","'
        else:
            fix += f", or naming {shown(cell)} as a missing value"
        rule = f"column {name!r} must hold numbers only, as most of its cells do"
        return self.error(rule, received, fix, line)

    def _first_text(self, name: str) -> tuple[int | None, str]:
        """Line and value of the column's first cell that is no number."""
        index = self.names.index(name)
        number = re.compile(f"{self._number}|{INFINITY}")
        missing = set(self.missing)
        rows = self._rows()
        if self.header:
            next(rows)
        for line, cells in rows:
            cell = cells[index] if index < len(cells) else ""
            if cell not in missing and not number.fullmatch(cell):
                return line, cell
        return None, "text"

    def _refuse_ragged_rows(self) -> None:
        try:
            for line, cells in self._rows():
                if len(cells) != len(self.names):
                    raise self.error(
                        f"each line must have {_columns(len(self.names))}, as the "
                        "first has",
                        _columns(len(cells)),
                        "quotes around cells that hold the delimiter "
                        f"{self.delimiter!r}, or the missing cells",
                        line,
                    )
        except UnicodeError:
            raise self._wrong_bytes() from None

    def _wrong_bytes(self) -> TableError:
        """The error for the first bytes that are not of the encoding."""
        offset = 0
        if self.encoding in ("utf-16", "utf-32") and not _marked(self._head()):
            fix = f'encoding "{self.encoding}-le" or "{self.encoding}-be"'
            return self.error(
                f"{self.encoding} text must start with a byte order mark", "none", fix
            )
        with self._open() as file:
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

    def _refuse_what_is_no_text(self, head: bytes) -> None:
        text = head.decode(self.encoding, "replace") if _marked(head) else ""
        if not head.strip() or (text and not text.strip("\ufeff" + SPACES)):
            raise self.error(
                "the file must not be empty", f"{len(head)} bytes", "a header line"
            )
        known = {b"PK\x03\x04": "a spreadsheet or zip file", b"PAR1": "a Parquet file",
                 b"ARROW1": "a Feather file", b"\x1f\x8b": "a gzip file"}  # fmt: skip
        for magic, what in known.items():
            if head.startswith(magic):
                raise self.error("the file must be text", what, "its own format or CSV")
        if b"\0" in head and not self.encoding.startswith(("utf-16", "utf-32")):
            raise self.error(
                "the file must be text",
                f"byte 0x00 at offset {head.index(0)}",
                "a CSV, TSV, Parquet or Feather file",
            )

    def _check_names(self, line: int) -> None:
        seen: dict[str, int] = {}
        for i, name in enumerate(self.names):
            if name and name in seen:
                raise self.error(
                    "columns must have different names",
                    f"{shown(name)} for columns {seen[name] + 1} and {i + 1}",
                    "another name for one of them",
                    line,
                )
            seen[name] = i
        if self.header and all(re.fullmatch(NUMBER, name) for name in self.names):
            raise self.error(
                "the first line must hold the columns' names",
                "numbers only",
                "a line of names, or reading without a header",
                line,
            )

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """Line (where it begins, from 1) and cells of each row, the header's too.

        Raises:
            TableError: bytes that are not of the encoding.
        """
        with self._open() as file:
            raw = io.BufferedReader(_Raw(file))
            encoding = "utf-8-sig" if self.encoding == "utf-8" else self.encoding
            text = io.TextIOWrapper(raw, encoding=encoding, newline="")
            reader = csv.reader(text, delimiter=self.delimiter)
            csv.field_size_limit(LIMIT)
            line = 1
            try:
                for cells in reader:
                    if cells:
                        yield line, cells
                    line = reader.line_num + 1
            except UnicodeError:
                raise self._wrong_bytes() from None
            except OSError as error:
                raise self._broken(error) from error
            except csv.Error as error:
                raise self.error("the file must be a table", str(error), "other quotes",
                                 line) from None  # fmt: skip

    def _sniff(self, head: bytes) -> str:
        """The candidate that the first line has most of, outside quotes."""
        first = head.decode(self.encoding, "replace").lstrip("\ufeff\r\n")
        first = (first.splitlines() or [""])[0]
        bare = "".join(first.split('"')[::2])
        return max(CANDIDATES, key=bare.count)

    def _open(self) -> Any:
        """The decompressed bytes from the start, as a context."""
        import pyarrow

        if self.stream is not None:
            self.stream.seek(0)
            return _Kept(self.stream)
        file = open(self.path, "rb")  # noqa: SIM115 (a context); any name, UTF-8 or not
        packed = PACKED.get(os.path.splitext(self.path.lower())[1])
        if packed is None:
            return file
        return pyarrow.CompressedInputStream(pyarrow.PythonFile(file), packed)

    def _head(self) -> bytes:
        """The first bytes."""
        try:
            with self._open() as file:
                return bytes(file.read(HEAD))
        except OSError as error:
            raise self._broken(error) from error

    def _broken(self, error: OSError) -> TableError:
        """The error for a file that cannot be read or decompressed to its end."""
        reason = error.strerror or " ".join(str(error).split())[:120]
        fix = "another copy of it"
        return self.error("the file must be whole and readable", reason, fix)

    def _checked_encoding(self, head: bytes, given: str) -> str:
        """The name of the text's encoding."""
        if head.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
            return "utf-32"
        if head.startswith((b"\xff\xfe", b"\xfe\xff")):
            return "utf-16"
        name = given.lower().replace("_", "-")
        if name in ("utf8", "utf-8", "utf-8-sig", "utf8-sig"):
            return "utf-8"
        try:
            found = codecs.lookup(name)
            known = found.name.replace("_", "-")
            if known in NO_ENCODINGS or not found._is_text_encoding:
                raise LookupError
        except (LookupError, ValueError):  # ValueError: a name with a zero byte
            raise self.error(
                "the encoding must be one that Python knows",
                repr(given),
                f"one of {', '.join(ENCODINGS)}",
            ) from None
        return known if known.startswith(("utf-16", "utf-32")) else name


class _Kept(io.RawIOBase):
    """A stream that is not closed with this view of it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._stream.read(size)


class _Raw(io.RawIOBase):
    """What `io.BufferedReader` needs of an object that can read."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def shown(text: str) -> str:
    """A cell in quotes, cut where it is long."""
    return repr(text if len(text) <= SHOWN else text[:SHOWN] + "…")


def _columns(count: int) -> str:
    return f"{count} column" + ("" if count == 1 else "s")


def _marked(head: bytes) -> bool:
    """Whether a file starts with a byte order mark."""
    return head.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff"))


def _hexadecimal(values: Any) -> bool:
    """Whether there are integers such as 0x1F, numbers only where all are integers."""
    from pyarrow import compute

    return bool(
        compute.any(compute.match_substring(values, "x", ignore_case=True)).as_py()
    )


class _LongLine(Exception):
    """A line, or the header, is longer than the block that it was read with."""
