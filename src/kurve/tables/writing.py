"""Writing tables to open files."""

from __future__ import annotations

import csv
import io
from typing import Any

from kurve.errors import TableError


def writer(file: Any, schema: Any, format: str) -> Any:
    r"""A writer of tables with that schema to an open binary file; it has `write_table`
    and `close`.

    Args:
        format: "csv", "tsv", "parquet" or "feather".

    Raises:
        TableError: a column of lists or structs, which text files cannot hold.

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
    file.write(header.getvalue().encode())  # pyarrow would quote every name
    options = arrow_csv.WriteOptions(
        include_header=False, delimiter=delimiter, quoting_style="needed"
    )
    return arrow_csv.CSVWriter(file, schema, write_options=options)
