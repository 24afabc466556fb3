"""CSV and TSV files, read by pyarrow several blocks at a time; if it fails, the file is
read again line by line to find the faulty line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO

from kurve.tables.cells import FALSE, MISSING, TRUE, CellParser, common_type, quoted
from kurve.tables.lines import MAX_LINE, Lines
from kurve.tables.table_file import TableFile

START = 1 << 20
"""Block size in bytes when a file is read as a whole; more if lines are longer."""

BLOCK = 1 << 22
"""Chunk size in bytes; more if lines are longer."""

LIMIT = MAX_LINE


class Delimited(TableFile):
    r"""A CSV or TSV file, or the bytes of one.

    delimiter, encoding: as passed or detected

    Args:
        path: name of the file, for messages and, without `stream`, to open it; names
            ending in .gz, .bz2 or .zst are decompressed.
        stream: a seekable binary file to read instead.
        format: "csv" or "tsv".
        delimiter: column separator, " " for any number of blanks; None detects it in
            the header (CSV) or is a tab.
        decimal: "." or ","; None detects it in the first rows. Other numbers in local
            notation, such as "$1,234.50" and "12 %", are recognised automatically.
        encoding: encoding of the text; a UTF-16 byte order mark takes precedence.
        header: whether the first line holds the names; otherwise they are x1, x2, ...
        missing_values: additional cells that mean "missing".
        comment: the start of comment lines before the columns' names, which are left
            out; the last of them may hold the names, as written by NumPy's savetxt.
            None for no comments.

    Raises:
        TableError: the file does not exist, or its header cannot be read.

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
        decimal: str | None = None,
        encoding: str = "utf-8",
        header: bool = True,
        missing_values: Sequence[str] = (),
        comment: str | None = "#",
    ) -> None:
        self._missing = [*MISSING, *missing_values]
        self._signed: set[str] = set()  # columns of numbers such as "+1", see `_scan`
        self._block = BLOCK
        self._lines = Lines(path, stream, format, delimiter, encoding, header, comment)
        self._cells = CellParser(decimal or self._lines.decimal())
        self.path, self.names = path, self._lines.names
        self.notes = self._lines.notes
        self.delimiter, self.encoding = self._lines.delimiter, self._lines.encoding

    def place(self, row: int) -> str:
        for i, (line, _) in enumerate(self._lines.data_rows()):
            if i == row:
                return f"line {line}"
        return f"row {row + 1}"

    def size(self, columns: Sequence[str], limit: int) -> int:
        return self._lines.size(limit)

    # ---------------------------------------------------------------- reading

    def _read(
        self, columns: list[str], texts: Sequence[str], exact: Sequence[str]
    ) -> Any:
        import pyarrow
        from pyarrow import csv as arrow_csv

        block = START
        types = dict.fromkeys([*texts, *exact], pyarrow.string())

        def read() -> Any:
            with self._lines.open() as file:
                return arrow_csv.read_csv(file, **self._options(block, columns, types))

        while True:
            try:
                table = self._guarded(read).rename_columns(list(columns))
                return self._typed(table, texts, exact)
            except _Mended:
                continue
            except _LongLine:
                block = self._longer(block)

    def _batches(self, columns: list[str], types: dict[str, Any]) -> Iterator[Any]:
        import pyarrow
        from pyarrow import csv as arrow_csv

        signed = self._signed.intersection(columns)
        types = {**types, **dict.fromkeys(signed, pyarrow.string())}
        options = self._options(self._block, columns, types)
        with self._lines.open() as file:
            reader = self._guarded(lambda: arrow_csv.open_csv(file, **options))
            while True:
                try:
                    batch = self._guarded(reader.read_next_batch)
                except StopIteration:
                    return
                table = pyarrow.Table.from_batches([batch]).rename_columns(columns)
                for name in signed:
                    i = table.column_names.index(name)
                    numbers = self._cells.numbers(table.column(i))
                    table = table.set_column(i, name, numbers)
                yield table

    def _scan(
        self, columns: list[str], texts: Sequence[str], exact: Sequence[str]
    ) -> tuple[dict[str, Any], int]:
        """Reads everything once, holding one batch at a time."""
        while True:
            try:
                return self._scan_blocks(columns, texts, exact)
            except _Mended:
                continue
            except _LongLine:
                self._block = self._longer(self._block)

    def _scan_blocks(
        self, columns: list[str], texts: Sequence[str], exact: Sequence[str]
    ) -> tuple[dict[str, Any], int]:
        import pyarrow

        self._signed.clear()
        all_text = dict.fromkeys(columns, pyarrow.string())
        inferred = [name for name in columns if name not in texts]
        kinds: dict[str, set[str]] = {name: set() for name in inferred}
        rows = 0
        for batch in self._batches(columns, all_text):
            rows += len(batch)
            for name in inferred:
                kind, _, count = self._cells.kind(batch[name], name in exact)
                if count:
                    kinds[name].add(kind)
        types = dict.fromkeys(texts, pyarrow.string())
        for name in inferred:
            types[name] = common_type(kinds[name])
            if "signed" in kinds[name] and types[name] == pyarrow.float64():
                self._signed.add(name)
        return {name: types[name] for name in columns}, rows

    def _longer(self, block: int) -> int:
        """The next block size to try."""
        if block >= LIMIT:
            raise self._lines.error(
                f"each line must fit into {LIMIT >> 20} MiB",
                "a longer one",
                "closing a quote that is left open",
            )
        return min(16 * block, LIMIT)

    def _guarded(self, call: Callable[[], Any]) -> Any:
        """Call it, translating pyarrow's errors to errors of this file.

        Raises:
            _LongLine: a larger block may help.
            _Mended: reading again will.
        """
        import pyarrow

        try:
            return call()
        except UnicodeError as error:
            raise self._lines.wrong_encoding() from error
        except pyarrow.ArrowInvalid as error:
            if "straddl" in str(error) or "Empty CSV file or block" in str(error):
                raise _LongLine from None
            if self._lines.mend_rows():
                raise _Mended from None
            reason = str(error).splitlines()[0][:200]
            raise self._lines.error(
                "the file must be a table", reason, "another delimiter"
            ) from error
        except OSError as error:
            raise self._lines.unreadable(error) from error

    def _options(
        self, block: int, columns: Sequence[str], types: dict[str, Any]
    ) -> dict[str, Any]:
        """pyarrow's options for these columns of the file."""
        from pyarrow import csv as arrow_csv

        lines = self._lines
        encoding = "utf-8" if lines.encoding == "utf-8-sig" else lines.encoding
        in_file = dict(zip(self.names, lines.header or self.names, strict=True))
        return {
            "read_options": arrow_csv.ReadOptions(
                use_threads=True,
                block_size=block,
                encoding=encoding,
                column_names=self.names if lines.header is None else None,
            ),
            "parse_options": arrow_csv.ParseOptions(
                delimiter=lines.delimiter, newlines_in_values=True
            ),
            "convert_options": arrow_csv.ConvertOptions(
                include_columns=[in_file[name] for name in columns],
                column_types={in_file[name]: kind for name, kind in types.items()},
                null_values=self._missing,
                true_values=TRUE,
                false_values=FALSE,
                strings_can_be_null=True,
                decimal_point=self._cells.decimal,
            ),
        }

    # ---------------------------------------------------------------- types

    def _typed(self, table: Any, texts: Sequence[str], exact: Sequence[str]) -> Any:
        """The table with text such as "+1" as numbers; refuses text of another
        encoding."""
        import pyarrow

        for i, name in enumerate(table.column_names):
            values = table.column(i)
            if pyarrow.types.is_binary(values.type):
                raise self._lines.wrong_encoding()
            if not pyarrow.types.is_string(values.type) or name in texts:
                continue
            kind, _, count = self._cells.kind(values, name in exact)
            if name in exact and kind not in ("signed", "code", "text"):
                kinds = {kind} if count else set()
                values = self._cells.cast(values, common_type(kinds))
            elif kind == "signed" and count:
                values = self._cells.numbers(values)
            table = table.set_column(i, name, values)
        return table

    def _numbers(self, name: str, values: Any, why: str) -> Any:
        from pyarrow import compute, types

        if types.is_string(values.type):
            numbers = self._cells.are_numbers(values)
            if compute.all(numbers, min_count=0).as_py():
                return self._cells.numbers(values)
            local = self._cells.local_numbers(values)
            if local is not None:
                return local
        line, cell = self._first_text(name)
        raise self._lines.error(
            f"column {name!r} must hold numbers, because {why}",
            quoted(cell),
            "a number or an empty cell there",
            line,
        )

    def _first_text(self, name: str) -> tuple[int | None, str]:
        """Line and content of the column's first cell that is not a number."""
        index = self.names.index(name)
        for line, cells in self._lines.data_rows():
            cell = cells[index] if index < len(cells) else ""
            if cell not in self._missing and not self._cells.is_number(cell):
                return line, cell
        return None, "text"


class _Mended(Exception):
    """Rows had other numbers of cells than the first line."""


class _LongLine(Exception):
    """A line, or the header, is longer than the block."""
