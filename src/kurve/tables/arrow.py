"""Parquet and Feather files."""

from __future__ import annotations

import mmap
import re
import weakref
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from kurve.errors import TableError
from kurve.tables.cells import quoted
from kurve.tables.table_file import TableFile, plain

if TYPE_CHECKING:
    import pyarrow

PANDAS_INDEX = r"__index_level_\d+__$"
"""The column in which pandas stores row numbers other than 0, 1, ..."""

TEXT_BYTES = 16
"""Overhead in bytes of a string."""

BATCH_ROWS, BUFFER = 1 << 16, 1 << 20
"""Rows per batch of a Parquet file, and bytes of a column to read at a time."""


class ArrowFile(TableFile):
    """A Parquet or Feather file."""

    def __init__(self, path: str, stream: BinaryIO | None, format: str) -> None:
        import pyarrow
        from pyarrow import ipc, parquet

        self.path, self.format, self.notes = path, format, []
        if stream is not None:
            stream.seek(0)
        try:
            if format == "parquet":
                if stream is None:  # mapped, all pages would stay in memory
                    stream = open(path, "rb")  # noqa: SIM115 (closed with the table)
                    weakref.finalize(self, stream.close)
                self._file: Any = parquet.ParquetFile(
                    stream, buffer_size=BUFFER, pre_buffer=False
                )
                schema = self._file.schema_arrow
            else:
                self._file = ipc.open_file(stream or _mapped(path))
                schema = self._file.schema
        except (pyarrow.ArrowException, ValueError, OSError) as error:
            raise self._corrupt(error) from error
        self._types = dict(zip(schema.names, schema.types, strict=True))
        self.names = [n for n in schema.names if not re.match(PANDAS_INDEX, n)]
        for name in self.names:
            if self.names.count(name) > 1:
                raise TableError(
                    f"[read] {path}: columns must have different names. "
                    f"Received: {quoted(name)} twice. Try another name for one of them."
                )

    def size(self, columns: Sequence[str], limit: int) -> int:
        widths = [_width(self._types[name]) for name in columns]
        total = self._row_count() * sum(widths)
        if TEXT_BYTES in widths:  # and the characters, of which only the sum is known
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
            raise self._corrupt(error) from error
        return self._with_texts(table, texts)

    def _with_texts(self, table: Any, texts: Sequence[str]) -> Any:
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

    def _row_count(self) -> int:
        if self.format == "parquet":
            return int(self._file.metadata.num_rows)
        return sum(batch.num_rows for batch in self._record_batches())

    def _record_batches(self) -> Iterator[Any]:
        """The batches of a Feather file."""
        for i in range(self._file.num_record_batches):
            yield self._file.get_batch(i)

    def _scan(
        self, columns: list[str], texts: Sequence[str], exact: Sequence[str]
    ) -> tuple[dict[str, Any], int]:
        import pyarrow

        self._texts = list(texts)
        types = {name: self._types[name] for name in columns}
        return types | dict.fromkeys(texts, pyarrow.string()), self._row_count()

    def _batches(
        self, columns: list[str], types: dict[str, Any]
    ) -> Iterator[pyarrow.Table]:
        import pyarrow

        try:
            if self.format == "parquet":
                parts: Any = self._file.iter_batches(BATCH_ROWS, columns=columns)
            else:
                parts = (batch.select(columns) for batch in self._record_batches())
            for part in parts:
                yield self._with_texts(pyarrow.Table.from_batches([part]), self._texts)
        except (pyarrow.ArrowException, OSError) as error:
            raise self._corrupt(error) from error

    def _corrupt(self, error: Exception) -> TableError:
        reason = " ".join(str(error).split())[:120]
        return TableError(
            f"[read] {self.path}: the file must be a complete "
            f"{self.format.capitalize()} file. Received: {reason} "
            "Try another copy of it, or another format."
        )


def _width(kind: Any) -> int:
    """Bytes of a value as a number; the least that a text takes."""
    from pyarrow import types

    return 8 if types.is_primitive(kind) else TEXT_BYTES


def _mapped(path: str) -> Any:
    """The file's bytes for pyarrow, without a copy. pyarrow itself can only open names
    in UTF-8."""
    import pyarrow

    with open(path, "rb") as file:
        return pyarrow.BufferReader(
            pyarrow.py_buffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        )
