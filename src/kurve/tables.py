"""Tables from files: CSV, TSV, Parquet and Feather become columns with names and types.

    table = tables.read("data.csv")                     # a pyarrow.Table
    for part in tables.batches("large.parquet"): ...    # again and again, in pieces

Types are those that the file shows: numbers, true and false, text (categories), dates;
an empty cell, NA, NaN, null or None is a missing value. What is wrong is refused with
the file, the line, the column and the value. Reading needs pyarrow:
pip install "kurve[data]".
"""

from __future__ import annotations

import csv
import difflib
import io
import os
import re
import sys
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from kurve.delimited import Delimited, shown
from kurve.errors import TableError as TableError

if TYPE_CHECKING:
    import pyarrow

FORMATS = {
    ".csv": "csv", ".txt": "csv", ".tsv": "tsv", ".tab": "tsv",
    ".parquet": "parquet", ".pq": "parquet",
    ".feather": "feather", ".arrow": "feather",
}  # fmt: skip
"""Format by the ending of a file's name; .gz, .bz2 or .zst may follow that of text."""

STANDARD_INPUT = "-"
MEMORY = 1 << 28
"""Bytes of standard input that are held in memory; more go to a temporary file."""

INDEX = r"__index_level_\d+__$"
"""What pandas calls such a column."""

ROWS = 1 << 16
"""Rows of a batch of a Parquet file."""


def read(
    path: str | os.PathLike[str],
    columns: Sequence[str] | None = None,
    *,
    format: str | None = None,
    **options: Any,
) -> pyarrow.Table:
    """The table in a file.

    Args:
        path: name of the file; "-" is standard input.
        columns: names of those to read; all by default.
        format: "csv", "tsv", "parquet" or "feather"; by the name's ending if None.
        options: of text: delimiter, decimal, encoding, header, missing_values; see
            `kurve.delimited.Delimited`.

    Raises:
        TableError: the file is not there, damaged, or not a table; no such column.
        ImportError: pyarrow is not installed.
    """
    return open_table(path, format=format, **options).read(columns)


def batches(
    path: str | os.PathLike[str],
    columns: Sequence[str] | None = None,
    *,
    format: str | None = None,
    **options: Any,
) -> Batches:
    """The table in a file as pieces that fit into memory; see `read`.

    A text file is gone through once, at this call, to find the columns' types.
    """
    return Batches(open_table(path, format=format, **options), columns)


def open_table(
    path: str | os.PathLike[str], *, format: str | None = None, **options: Any
) -> TableFile:
    """The file, opened as far as its header; see `read`."""
    path = os.fspath(path)
    require_pyarrow("read")
    stream: Any = None
    name = path
    if path == STANDARD_INPUT:
        name = "standard input"
        if format is None:
            raise TableError(
                "[read] standard input has no name that shows its format. "
                'Received: path="-". Try format="csv".'
            )
        stream = tempfile.SpooledTemporaryFile(MEMORY)  # noqa: SIM115 (closed with the table)
        while piece := sys.stdin.buffer.read(1 << 20):
            stream.write(piece)
    else:
        try:
            with open(path, "rb"):
                pass
        except OSError as error:
            raise TableError(
                f"[read] the file must be there to be read. Received: {path!r} "
                f"({error.strerror}). {_similar_file(path)}"
            ) from None
    format = format or format_of(path)
    file: TableFile
    if format in ("csv", "tsv"):
        file = _TextFile(Delimited(name, stream, format, **options))
    else:
        file = _ArrowFile(name, stream, format)
    if stream is not None:
        weakref.finalize(file, stream.close)
    return file


class TableFile:
    """A table in a file: its columns' names, and ways to read it."""

    path: str
    names: list[str]

    def read(self, columns: Sequence[str] | None = None) -> pyarrow.Table:
        """The columns, or all of them, as a table."""
        chosen = self.choose(columns)
        return self._read(chosen)

    def choose(self, columns: Sequence[str] | None, what: str = "column") -> list[str]:
        """The names, checked; all of them if None.

        Raises:
            TableError: no such column, with the nearest; a column without a name.
        """
        if columns is None:
            if "" in self.names:
                raise TableError(
                    f"[read] {self.path}: every column must have a name. Received: "
                    f"column {self.names.index('') + 1} without one. "
                    "Try naming the columns to use, or a name in the header."
                )
            return list(self.names)
        for name in columns:
            check_name(self.path, name, self.names, what)
        return list(columns)

    def place(self, row: int) -> str:
        """Where a row, numbered from 0, is in the file: "line 18" or "row 17"."""
        return f"row {row + 1}"

    def _read(self, columns: list[str]) -> pyarrow.Table:
        raise NotImplementedError

    def _scan(self, columns: list[str]) -> tuple[dict[str, Any], int]:
        raise NotImplementedError

    def _batches(
        self, columns: list[str], types: dict[str, Any]
    ) -> Iterator[pyarrow.Table]:
        raise NotImplementedError


class _TextFile(TableFile):
    """A CSV or TSV file."""

    def __init__(self, text: Delimited) -> None:
        self._text, self.path, self.names = text, text.path, text.names

    def place(self, row: int) -> str:
        return self._text.place(row)

    def _read(self, columns: list[str]) -> pyarrow.Table:
        return self._text.read(columns)

    def _scan(self, columns: list[str]) -> tuple[dict[str, Any], int]:
        return self._text.scan(columns)

    def _batches(
        self, columns: list[str], types: dict[str, Any]
    ) -> Iterator[pyarrow.Table]:
        return self._text.batches(columns, types)


class _ArrowFile(TableFile):
    """A Parquet or Feather file."""

    def __init__(self, path: str, stream: BinaryIO | None, format: str) -> None:
        import pyarrow
        from pyarrow import ipc, parquet

        self.path, self.format = path, format
        if stream is not None:
            stream.seek(0)
        try:
            if format == "parquet":
                self._file: Any = parquet.ParquetFile(stream or path)
                schema = self._file.schema_arrow
            else:
                self._file = ipc.open_file(stream or pyarrow.memory_map(path))
                schema = self._file.schema
        except (pyarrow.ArrowException, ValueError, OSError) as error:
            raise self._damaged(error) from error
        self._types = dict(zip(schema.names, schema.types, strict=True))
        # pandas writes the numbers of its rows as a column, if they are not 0, 1, ...
        self.names = [n for n in schema.names if not re.match(INDEX, n)]
        for name in self.names:
            if self.names.count(name) > 1:
                raise TableError(
                    f"[read] {path}: columns must have different names. "
                    f"Received: {shown(name)} twice. Try another name for one of them."
                )

    def _read(self, columns: list[str]) -> pyarrow.Table:
        import pyarrow

        try:
            if self.format == "parquet":
                return self._file.read(columns=columns)
            return self._file.read_all().select(columns)
        except (pyarrow.ArrowException, OSError) as error:
            raise self._damaged(error) from error

    def _scan(self, columns: list[str]) -> tuple[dict[str, Any], int]:
        if self.format == "parquet":
            rows = self._file.metadata.num_rows
        else:
            count = self._file.num_record_batches
            rows = sum(self._file.get_batch(i).num_rows for i in range(count))
        return {name: self._types[name] for name in columns}, rows

    def _batches(
        self, columns: list[str], types: dict[str, Any]
    ) -> Iterator[pyarrow.Table]:
        import pyarrow

        try:
            if self.format == "parquet":
                parts: Any = self._file.iter_batches(ROWS, columns=columns)
            else:
                count = self._file.num_record_batches
                parts = (self._file.get_batch(i).select(columns) for i in range(count))
            for part in parts:
                yield pyarrow.Table.from_batches([part])
        except (pyarrow.ArrowException, OSError) as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> TableError:
        reason = " ".join(str(error).split())[:120]
        return TableError(
            f"[read] {self.path}: the file must be a whole {self.format.capitalize()} "
            f"file. Received: {reason} Try another copy of it, or another format."
        )


class Batches:
    """A table in pieces that can be gone through again and again.

    Attributes:
        names, types: of the columns (types are pyarrow's).
        rows: number of rows of all pieces.
    """

    def __init__(self, file: TableFile, columns: Sequence[str] | None = None) -> None:
        self.file = file
        self.names = file.choose(columns)
        self.types, self.rows = file._scan(self.names)

    def __iter__(self) -> Iterator[pyarrow.Table]:
        return self.file._batches(self.names, self.types)


def check_name(path: str, name: str, names: Sequence[str], what: str) -> None:
    """Refuse a name that is not among the columns, with the nearest that is."""
    if name in names:
        return
    lower = {other.lower(): other for other in names}
    near = difflib.get_close_matches(name.lower(), list(lower), n=1, cutoff=0.5)
    hint = f"Did you mean {lower[near[0]]!r}? " if near else ""
    listed = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
    raise TableError(
        f"[read] {path}: there must be a column for the {what}. "
        f"Received: {name!r}. {hint}Try one of: {listed}."
        if what != "column"
        else f"[read] {path}: there is no such column. Received: {name!r}. "
        f"{hint}Try one of: {listed}."
    )


# Writing


def writer(file: Any, schema: Any, format: str) -> Any:
    """What writes one table of that schema after the other to an open binary file: it
    has `write_table` and `close`.

    Args:
        format: see `read`.
    """
    import pyarrow
    from pyarrow import csv as arrow_csv
    from pyarrow import parquet

    if format == "parquet":
        return parquet.ParquetWriter(file, schema)
    if format == "feather":
        return pyarrow.ipc.new_file(file, schema)
    delimiter = "\t" if format == "tsv" else ","
    header = io.StringIO()
    csv.writer(header, delimiter=delimiter, lineterminator="\n").writerow(schema.names)
    file.write(header.getvalue().encode())  # pyarrow's would have quotes
    options = arrow_csv.WriteOptions(
        include_header=False, delimiter=delimiter, quoting_style="needed"
    )
    return arrow_csv.CSVWriter(file, schema, write_options=options)


def format_of(path: str) -> str:
    """ "csv", "tsv", "parquet" or "feather", by the ending of a file's name.

    Raises:
        TableError: an ending that says nothing.
    """
    stem = path.lower()
    for packed in (".gz", ".bz2", ".zst"):
        stem = stem.removesuffix(packed)
    ending = os.path.splitext(stem)[1]
    if ending not in FORMATS:
        raise TableError(
            f"[read] the format must be known by the file's name. Received: {path!r}. "
            f'Try one of {", ".join(FORMATS)}, or format="csv".'
        )
    return FORMATS[ending]


def _similar_file(path: str) -> str:
    folder, name = os.path.split(path)
    try:
        names = os.listdir(folder or ".")
    except OSError:
        return f"Try another folder than {folder!r}."
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"Did you mean {os.path.join(folder, near[0])!r}?" if near else (
        "Try the name of a file that is there."
    )  # fmt: skip


def require_pyarrow(where: str) -> None:
    """Raise ImportError, saying what to install, where there is no pyarrow."""
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"[{where}] tables are read with pyarrow, which is not installed. "
            f'Received: {error}. Try pip install "kurve[data]".'
        ) from None
