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
import errno
import io
import mmap
import os
import re
import stat
import sys
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from kurve.core.entries import entry
from kurve.errors import TableError as TableError
from kurve.tables.delimited import Delimited, shown

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

TEXT = 16
"""Bytes that a text takes besides its letters."""

ROWS = 1 << 16
"""Rows of a batch of a Parquet file."""


@entry
def read(
    path: str | os.PathLike[str],
    columns: Sequence[str] | None = None,
    *,
    format: str | None = None,
    **options: Any,
) -> pyarrow.Table:
    r"""The table in a file.

    Args:
        path: name of the file; "-" is standard input.
        columns: names of those to read; all by default.
        format: "csv", "tsv", "parquet" or "feather"; by the name's ending if None.
        options: of text: delimiter, decimal, encoding, header, missing_values; see
            `kurve.tables.delimited.Delimited`.

    Raises:
        TableError: the file is not there, damaged, or not a table; no such column.
        ImportError: pyarrow is not installed.

    Example:
        >>> from pathlib import Path
        >>> _ = Path("data.csv").write_text("x,y\n1,2\n3,4\n")
        >>> kurve.tables.read("data.csv", columns=["y"]).to_pydict()
        {'y': [2, 4]}
    """
    return open_table(path, format=format, **options).read(columns)


def batches(
    path: str | os.PathLike[str],
    columns: Sequence[str] | None = None,
    *,
    format: str | None = None,
    **options: Any,
) -> Batches:
    r"""The table in a file as pieces that fit into memory; see `read`.

    A text file is gone through once, at this call, to find the columns' types.

    Args:
        path, columns, format, options: see `read`.

    Raises:
        TableError, ImportError: as `read`.

    Example:
        >>> from pathlib import Path
        >>> _ = Path("data.csv").write_text("x,y\n1,2\n3,4\n")
        >>> sum(len(table) for table in kurve.tables.batches("data.csv"))
        2
    """
    return Batches(open_table(path, format=format, **options), columns)


@entry
def open_table(
    path: str | os.PathLike[str], *, format: str | None = None, **options: Any
) -> TableFile:
    r"""The file, opened as far as its header; see `read`.

    Args:
        path, format, options: see `read`.

    Raises:
        TableError, ImportError: as `read`.

    Example:
        >>> from pathlib import Path
        >>> _ = Path("data.csv").write_text("x,y\n1,2\n3,4\n")
        >>> kurve.tables.open_table("data.csv").names
        ['x', 'y']
    """
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
        stream = _spooled(sys.stdin.buffer)
    else:
        try:
            stream = _opened(path)
        except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
            reason = getattr(error, "strerror", None) or str(error)
            raise TableError(
                f"[read] the file must be there to be read. Received: {path!r} "
                f"({reason}). {_similar_file(path, reason)}"
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

    def read(
        self,
        columns: Sequence[str] | None = None,
        texts: Sequence[str] = (),
        exact: Sequence[str] = (),
    ) -> pyarrow.Table:
        """The columns, or all of them, as a table.

        Args:
            texts: columns that are text, whatever they look like: the categories of a
                model, "007" and "true" among them.
            exact: columns to be copied: numbers only where writing them gives the same
                digits again.
        """
        return self._read(self.choose(columns), texts, exact)

    def numbers(self, name: str, values: Any, why: str) -> Any:
        """A column that was read, as numbers or true and false.

        Args:
            why: the column must hold them, for the message.

        Raises:
            TableError: naming the first cell that is no number.
        """
        from pyarrow import types

        values = plain(values)
        kind = values.type
        if types.is_null(kind):
            return values.cast("float64")
        if types.is_integer(kind) or types.is_floating(kind):
            return values.cast("float64", safe=False)
        if types.is_boolean(kind):
            return values
        return self._numbers(name, values, why)

    def size(self, columns: Sequence[str], most: int) -> int:
        """About how many bytes the columns take as text or as numbers, decompressed;
        counted up to `most`."""
        raise NotImplementedError

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

    def _read(
        self, columns: list[str], texts: Sequence[str], exact: Sequence[str]
    ) -> pyarrow.Table:
        raise NotImplementedError

    def _numbers(self, name: str, values: Any, why: str) -> Any:
        raise NotImplementedError

    def _scan(
        self, columns: list[str], texts: Sequence[str], exact: Sequence[str]
    ) -> tuple[dict[str, Any], int]:
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

    def size(self, columns: Sequence[str], most: int) -> int:
        return self._text.size(most)

    def _read(
        self, columns: list[str], texts: Sequence[str], exact: Sequence[str]
    ) -> pyarrow.Table:
        return self._text.read(columns, texts, exact)

    def _numbers(self, name: str, values: Any, why: str) -> Any:
        from pyarrow import types

        if types.is_string(values.type) and self._text.are_numbers(values):
            return self._text.plain(values)
        raise self._text.no_numbers(name, why)

    def _scan(
        self, columns: list[str], texts: Sequence[str], exact: Sequence[str]
    ) -> tuple[dict[str, Any], int]:
        return self._text.scan(columns, texts, exact)

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
            source: Any = stream or _mapped(path)
            if format == "parquet":
                self._file: Any = parquet.ParquetFile(source)
                schema = self._file.schema_arrow
            else:
                self._file = ipc.open_file(source)
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

    def size(self, columns: Sequence[str], most: int) -> int:
        total = self._rows() * sum(_width(self._types[name]) for name in columns)
        if any(_width(self._types[name]) == TEXT for name in columns):
            if self.format == "parquet":
                data = self._file.metadata
                groups = range(data.num_row_groups)
                total += sum(data.row_group(i).total_byte_size for i in groups)
            else:
                total += sum(batch.nbytes for batch in self._record_batches())
        return total

    def _read(
        self, columns: list[str], texts: Sequence[str], exact: Sequence[str]
    ) -> pyarrow.Table:
        import pyarrow

        try:
            if self.format == "parquet":
                table = self._file.read(columns=columns)
            else:
                table = self._file.read_all().select(columns)
        except (pyarrow.ArrowException, OSError) as error:
            raise self._damaged(error) from error
        return self._as_text(table, texts)

    def _as_text(self, table: Any, texts: Sequence[str]) -> Any:
        """The table with these columns as text."""
        import pyarrow

        for name in texts:
            values = plain(table[name])
            if not pyarrow.types.is_string(values.type):
                try:
                    values = values.cast("string")
                except pyarrow.ArrowException:
                    raise TableError(
                        f"[read] {self.path}: column {name!r} must hold text. "
                        f"Received: {values.type}. Try text."
                    ) from None
            i = table.column_names.index(name)
            table = table.set_column(i, name, values)
        return table

    def _numbers(self, name: str, values: Any, why: str) -> Any:
        known = values.drop_null()
        received = repr(known[0].as_py()) if len(known) else str(values.type)
        raise TableError(
            f"[read] {self.path}: column {name!r} must hold numbers, because {why}. "
            f"Received: {received} of type {values.type}. Try numbers."
        )

    def _rows(self) -> int:
        if self.format == "parquet":
            return int(self._file.metadata.num_rows)
        return sum(batch.num_rows for batch in self._record_batches())

    def _record_batches(self) -> Iterator[Any]:
        """Those of a Feather file."""
        for i in range(self._file.num_record_batches):
            yield self._file.get_batch(i)

    def _scan(
        self, columns: list[str], texts: Sequence[str], exact: Sequence[str]
    ) -> tuple[dict[str, Any], int]:
        import pyarrow

        self._texts = list(texts)
        types = {name: self._types[name] for name in columns}
        return types | dict.fromkeys(texts, pyarrow.string()), self._rows()

    def _batches(
        self, columns: list[str], types: dict[str, Any]
    ) -> Iterator[pyarrow.Table]:
        import pyarrow

        try:
            if self.format == "parquet":
                parts: Any = self._file.iter_batches(ROWS, columns=columns)
            else:
                parts = (batch.select(columns) for batch in self._record_batches())
            for part in parts:
                yield self._as_text(pyarrow.Table.from_batches([part]), self._texts)
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

    Args:
        texts, exact: see `TableFile.read`.
    """

    def __init__(
        self,
        file: TableFile,
        columns: Sequence[str] | None = None,
        texts: Sequence[str] = (),
        exact: Sequence[str] = (),
    ) -> None:
        self.file = file
        self.names = file.choose(columns)
        self.types, self.rows = file._scan(self.names, texts, exact)

    def __iter__(self) -> Iterator[pyarrow.Table]:
        return self.file._batches(self.names, self.types)


def plain(values: Any) -> Any:
    """A column whose type is one of a few: dictionaries are decoded, text is string,
    decimals and half floats are float64."""
    import pyarrow
    from pyarrow import types

    kind = values.type
    if types.is_dictionary(kind):
        values = values.cast(kind.value_type)
        kind = kind.value_type
    if types.is_large_string(kind) or types.is_string_view(kind):
        return values.cast("string")
    if types.is_decimal(kind) or types.is_float16(kind):
        return values.cast(pyarrow.float64(), safe=False)
    return values


def _width(kind: Any) -> int:
    """Bytes of a value as a number; at least those of a text."""
    from pyarrow import types

    return 8 if types.is_primitive(kind) else TEXT


def _opened(path: str) -> Any:
    """None for a file that can be read again and again; what a pipe gives, kept.

    Raises:
        OSError: no such file, or one that cannot be read.
    """
    with open(path, "rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if stat.S_ISREG(mode):
            return None
        if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
            return _spooled(file)
    raise OSError(errno.EINVAL, "Not a file or pipe")


def _spooled(pipe: BinaryIO) -> BinaryIO:
    """All that a pipe gives, as a file that can seek."""
    stream = tempfile.SpooledTemporaryFile(MEMORY)  # noqa: SIM115 (closed with the table)
    while piece := pipe.read(1 << 20):
        stream.write(piece)
    return stream  # type: ignore[return-value]


def _mapped(path: str) -> Any:
    """The file's bytes as pyarrow reads them, without a copy; pyarrow itself opens only
    names that are UTF-8."""
    import pyarrow

    with open(path, "rb") as file:
        return pyarrow.BufferReader(
            pyarrow.py_buffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        )


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
    r"""What writes one table of that schema after the other to an open binary file: it
    has `write_table` and `close`.

    Args:
        format: see `read`.

    Raises:
        TableError: lists and tables inside a cell, which text files cannot hold.

    Example:
        >>> from pathlib import Path
        >>> _ = Path("data.csv").write_text("x,y\n1,2\n3,4\n")
        >>> table = kurve.tables.read("data.csv")
        >>> with open("copy.parquet", "wb") as file:
        ...     out = kurve.tables.writer(file, table.schema, "parquet")
        ...     out.write_table(table)
        ...     out.close()
        >>> kurve.tables.read("copy.parquet").num_rows
        2
    """
    import pyarrow
    from pyarrow import csv as arrow_csv
    from pyarrow import parquet

    if format == "parquet":
        return parquet.ParquetWriter(file, schema)
    if format == "feather":
        return pyarrow.ipc.new_file(file, schema)
    for field in schema:
        if pyarrow.types.is_nested(field.type):
            raise TableError(
                f"[write] a column of a {format.upper()} file must hold single values. "
                f"Received: {field.name!r} of type {field.type}. "
                "Try Parquet or Feather."
            )
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


def _similar_file(path: str, reason: str) -> str:
    if reason != os.strerror(errno.ENOENT):
        return "Try another file."
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
