"""Excel workbooks and JSON, read at once."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from kurve.errors import TableError
from kurve.tables.cells import CellParser
from kurve.tables.numerals import is_gap
from kurve.tables.table_file import TableFile, distinct, plain

if TYPE_CHECKING:
    import pyarrow


class WholeFile(TableFile):
    """An Excel workbook, of which the first sheet is read, or JSON objects.

    Args:
        path: name of the file, for messages and, without `stream`, to open it.
        stream: a seekable binary file to read instead.
        format: "excel" or "jsonl".
        missing_values: additional cells that mean "missing".
    """

    def __init__(
        self,
        path: str,
        stream: BinaryIO | None,
        format: str,
        missing_values: Sequence[str] = (),
    ) -> None:
        self.path, self._missing = path, set(missing_values)
        data: Any = stream
        if stream is None:
            with open(path, "rb") as file:
                data = io.BytesIO(file.read())
        else:
            stream.seek(0)
        self._table = self._excel(data) if format == "excel" else self._json(data)
        self.names, self.notes = distinct(self._table.column_names)
        self._table = self._table.rename_columns(self.names)

    def _json(self, data: Any) -> Any:
        """Objects, one a line or in an array; an object in an object is a column for
        each of its values, "place.city"."""
        import pyarrow
        from pyarrow import json as arrow_json
        from pyarrow import types

        try:
            table = arrow_json.read_json(data)
        except (pyarrow.ArrowException, ValueError) as error:
            table = self._by_python(data, error)
        while any(types.is_struct(field.type) for field in table.schema):
            table = table.flatten()
        return table

    def _by_python(self, data: Any, reason: Exception) -> Any:
        """What pyarrow does not read: an array, and columns of different types, which
        are texts."""
        import pyarrow

        data.seek(0)
        try:
            text = data.read().decode("utf-8-sig")
            if text.lstrip().startswith("["):
                rows = json.loads(text)
            else:
                rows = [json.loads(line) for line in text.splitlines() if line.strip()]
            if not rows or not all(isinstance(row, dict) for row in rows):
                raise ValueError(f"{reason}")
        except ValueError as error:
            why = " ".join(str(error).split())[:120]
            raise self._error(
                "the file must hold JSON objects, one a line or in an array",
                why,
                "one object a line",
            ) from error
        names = list(dict.fromkeys(name for row in rows for name in row))
        columns = [self._column([row.get(name) for row in rows]) for name in names]
        return pyarrow.table(columns, names=names)

    def _excel(self, data: Any) -> Any:
        import pyarrow

        try:
            import openpyxl
        except ImportError as error:
            raise ImportError(
                "[read] Excel files are read with openpyxl, which is not installed. "
                f'Received: {error}. Try pip install "kurve[excel]".'
            ) from None
        try:
            book = openpyxl.load_workbook(data, read_only=True, data_only=True)
        except Exception as error:  # openpyxl raises whatever its parsers do
            reason = " ".join(str(error).split())[:120]
            raise self._error(
                "the file must be an Excel workbook", reason, "another copy, or CSV"
            ) from error
        rows = [
            row
            for row in book.worksheets[0].iter_rows(values_only=True)
            if any(value is not None for value in row)
        ]
        if not rows:
            raise self._error("the first sheet must not be empty", "no row", "a header")
        width = max(i + 1 for row in rows for i, v in enumerate(row) if v is not None)
        names = ["" if v is None else str(v).strip() for v in rows[0]][:width]
        names += [""] * (width - len(names))
        columns = [
            self._column([row[i] if i < len(row) else None for row in rows[1:]])
            for i in range(width)
        ]
        return pyarrow.table(columns, names=names)

    def _column(self, values: list[Any]) -> Any:
        """Cells of one type as such, others as texts."""
        import pyarrow

        cells = [
            None if v is None or (isinstance(v, str) and self._is_gap(v)) else v
            for v in values
        ]
        try:
            return pyarrow.array(cells)
        except pyarrow.ArrowException:
            return pyarrow.array([None if v is None else str(v) for v in cells])

    def _is_gap(self, cell: str) -> bool:
        return is_gap(cell) or cell.strip() in self._missing

    def _error(self, rule: str, received: str, fix: str) -> TableError:
        return TableError(
            f"[read] {self.path}: {rule}. Received: {received}. Try {fix}."
        )

    def size(self, columns: Sequence[str], limit: int) -> int:
        return int(self._table.select(list(columns)).nbytes)

    def _read(
        self, columns: list[str], texts: Sequence[str], exact: Sequence[str]
    ) -> pyarrow.Table:
        table = self._table.select(columns)
        for name in texts:
            i = table.column_names.index(name)
            table = table.set_column(i, name, plain(table[name]).cast("string"))
        return table

    def _numbers(self, name: str, values: Any, why: str) -> Any:
        from pyarrow import types

        if types.is_string(values.type):
            numbers = CellParser(".").local_numbers(values)
            if numbers is not None:
                return numbers
        known = values.drop_null()
        received = repr(known[0].as_py()) if len(known) else str(values.type)
        raise self._error(
            f"column {name!r} must hold numbers, because {why}", received, "numbers"
        )

    def _scan(
        self, columns: list[str], texts: Sequence[str], exact: Sequence[str]
    ) -> tuple[dict[str, Any], int]:
        self._chosen = self._read(columns, texts, exact)
        schema = self._chosen.schema
        return {n: schema.field(n).type for n in columns}, len(self._chosen)

    def _batches(
        self, columns: list[str], types: dict[str, Any]
    ) -> Iterator[pyarrow.Table]:
        yield self._chosen
