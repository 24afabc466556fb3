"""CSV and TSV files. pyarrow reads them, several blocks at a time; where it refuses,
the file is walked once more with Python's csv module to say which line is at fault."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO

from kurve.errors import TableError

DELIMITERS = {"csv": None, "tsv": "\t"}
CANDIDATES = ",;\t|"
"""What may separate the columns of a .csv file; the header shows which one does."""

MISSING = (
    "", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "-nan", "NULL", "null", "None",
    "none",
)  # fmt: skip
"""Cells that mean "there is no value"."""

NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"
INFINITY = r"^\s*[+-]?(?i:inf|infinity)\s*$"
SHOWN = 40
"""Characters of a value that a message shows."""

HEAD = 1 << 16
BLOCK = 1 << 24
"""Bytes of a batch."""


class Delimited:
    """One CSV or TSV file, or the bytes of one.

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
        self._signed: set[str] = set()  # columns of numbers that begin with "+"
        with self._open() as file:
            head = file.read(HEAD)
        self.encoding = _encoding(head, encoding)
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

    def read(self, columns: Sequence[str]) -> Any:
        """The columns as a pyarrow.Table, with the types that the file shows."""
        from pyarrow import csv as arrow_csv

        def read() -> Any:
            with self._open() as file:
                return arrow_csv.read_csv(
                    file,
                    self._read_options(1 << 20),
                    self._parse_options(),
                    self._convert_options(columns),
                )

        return self._typed(self._guarded(read).rename_columns(list(columns)))

    def batches(self, columns: Sequence[str], types: dict[str, Any]) -> Iterator[Any]:
        """The columns as one pyarrow.Table after the other, of the types given."""
        import pyarrow
        from pyarrow import csv as arrow_csv

        with self._open() as file:
            reader = self._guarded(
                lambda: arrow_csv.open_csv(
                    file,
                    self._read_options(BLOCK),
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
                for name in self._signed.intersection(columns):
                    i = table.column_names.index(name)
                    table = table.set_column(
                        i, name, _plain_numbers(self._pointed(table.column(i)))
                    )
                yield table

    def scan(self, columns: Sequence[str]) -> tuple[dict[str, Any], int]:
        """The type of each column over the whole file, and the number of rows. Reads
        everything once, and holds one batch of it."""
        import pyarrow
        from pyarrow import compute

        text = dict.fromkeys(columns, pyarrow.string())
        seen: dict[str, set[str]] = {name: set() for name in columns}
        counts = dict.fromkeys(columns, (0, 0))
        rows = 0
        for batch in self.batches(columns, text):
            rows += len(batch)
            for name in columns:
                values = batch[name]
                valid = len(values) - values.null_count
                kind = _number_kind(self._pointed(values), seen[name] <= {"integer"})
                numbers = valid
                if kind is None:
                    numbers = compute.sum(self._are_numbers(values)).as_py() or 0
                    kind = "signed" if numbers == valid else _text_kind(values)
                if valid:
                    seen[name].add(kind)
                before = counts[name]
                counts[name] = before[0] + numbers, before[1] + valid
        types = {}
        for name in columns:
            numbers, valid = counts[name]
            if numbers < valid <= 2 * numbers:
                raise self._text_among_numbers(name, valid - numbers)
            types[name] = _joined(seen[name])
            if "signed" in seen[name] and numbers == valid:
                self._signed.add(name)
        return types, rows

    def _guarded(self, call: Callable[[], Any]) -> Any:
        """What the call returns; pyarrow's errors become those of this file."""
        import pyarrow

        try:
            return call()
        except UnicodeDecodeError as error:
            raise self._wrong_bytes() from error
        except pyarrow.ArrowInvalid as error:
            self._refuse_ragged_rows()
            reason = str(error).splitlines()[0][:200]
            raise self.error("the file must be a table", reason, "another delimiter") \
                from error  # fmt: skip

    def _typed(self, table: Any) -> Any:
        """Text that is numbers after all becomes numbers; a number column with some
        text in it, and text of another encoding, are refused."""
        import pyarrow
        from pyarrow import compute

        for i, name in enumerate(table.column_names):
            values = table.column(i)
            if pyarrow.types.is_binary(values.type):
                raise self._wrong_bytes()
            if not pyarrow.types.is_string(values.type):
                continue
            valid = len(values) - values.null_count
            numbers = compute.sum(self._are_numbers(values)).as_py() or 0
            if numbers < valid <= 2 * numbers:
                raise self._text_among_numbers(name, valid - numbers)
            if numbers == valid > 0:  # "+1.5", which pyarrow takes for text
                table = table.set_column(i, name, _plain_numbers(self._pointed(values)))
        return table

    def _are_numbers(self, values: Any) -> Any:
        from pyarrow import compute

        return compute.match_substring_regex(values, self._number)

    def _pointed(self, values: Any) -> Any:
        """Text with "." as its decimal mark."""
        from pyarrow import compute

        if self.decimal == ".":
            return values
        return compute.replace_substring(values, self.decimal, ".")

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

    def _text_among_numbers(self, name: str, count: int) -> TableError:
        index = self.names.index(name)
        number = re.compile(self._number)
        missing = set(self.missing)
        rows = self._rows()
        if self.header:
            next(rows)
        line, cell = next(
            (line, cells[index])
            for line, cells in rows
            if cells[index] not in missing and not number.match(cells[index])
        )
        received = shown(cell) + (f" ({count} such cells in all)" if count > 1 else "")
        fix = "a number or an empty cell there"
        if re.match(INFINITY, cell):
            fix = "a finite number there"
        elif re.match(r"^\s*[+-]?\d+,\d+\s*$", cell):
            fix = 'the decimal mark ","'
        else:
            fix += f", or naming {shown(cell)} as a missing value"
        rule = f"column {name!r} must hold numbers only, as most of its cells do"
        return self.error(rule, received, fix, line)

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
        except UnicodeDecodeError:
            raise self._wrong_bytes() from None

    def _wrong_bytes(self) -> TableError:
        """The error for the first bytes that are not of the encoding."""
        offset = 0
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
        if not head.strip():
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
        if self.header and all(re.match(NUMBER, name) for name in self.names):
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
            csv.field_size_limit(1 << 27)
            line = 1
            try:
                for cells in reader:
                    if cells:
                        yield line, cells
                    line = reader.line_num + 1
            except UnicodeDecodeError:
                raise self._wrong_bytes() from None
            except csv.Error as error:
                raise self.error("the file must be a table", str(error), "other quotes",
                                 line) from None  # fmt: skip

    def _sniff(self, head: bytes) -> str:
        """The candidate that the first line has most of, outside quotes."""
        first = head.decode(self.encoding, "replace").lstrip("\ufeff\r\n")
        first = first.splitlines()[0]
        bare = "".join(first.split('"')[::2])
        return max(CANDIDATES, key=bare.count)

    def _open(self) -> Any:
        """The decompressed bytes from the start, as a context."""
        import pyarrow

        if self.stream is not None:
            self.stream.seek(0)
            return _Kept(self.stream)
        return pyarrow.input_stream(self.path, compression="detect")


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


def _encoding(head: bytes, given: str) -> str:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    name = given.lower().replace("_", "-")
    return "utf-8" if name in ("utf8", "utf-8", "utf-8-sig", "utf8-sig") else name


def _plain_numbers(values: Any) -> Any:
    """Numbers from text such as "+1.5", which pyarrow does not take for one."""
    import pyarrow
    from pyarrow import compute

    plain = compute.utf8_ltrim(compute.utf8_trim_whitespace(values), characters="+")
    return plain.cast(pyarrow.float64())


def _number_kind(values: Any, whole: bool) -> str | None:
    """ "integer" or "number" for text that is all numbers, None for other text.

    Args:
        whole: whether integers are tried first.
    """
    import pyarrow

    for kind, name in ((pyarrow.int64(), "integer"), (pyarrow.float64(), "number")):
        if name == "integer" and not whole:
            continue
        try:
            values.cast(kind)
        except pyarrow.ArrowInvalid:
            continue
        return name
    return None


def _text_kind(values: Any) -> str:
    """What cells that are not all numbers are: "boolean" or "text"."""
    import pyarrow
    from pyarrow import compute

    words = pyarrow.array(["true", "True", "TRUE", "false", "False", "FALSE"])
    valid = values.drop_null()
    return "boolean" if compute.all(compute.is_in(valid, words)).as_py() else "text"


def _joined(kinds: set[str]) -> Any:
    """The type of a column whose batches are of these kinds."""
    import pyarrow

    if kinds <= {"integer"}:
        return pyarrow.int64() if kinds else pyarrow.null()
    if kinds <= {"integer", "number"}:
        return pyarrow.float64()
    return pyarrow.bool_() if kinds == {"boolean"} else pyarrow.string()
