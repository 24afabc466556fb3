"""Reading tables from CSV, TSV, Parquet, Feather, Excel and JSON lines files.

    table = tables.read("data.csv")                     # a pyarrow.Table
    for part in tables.batches("large.parquet"): ...    # repeatable, in chunks

Types are inferred from the file: numbers, booleans, text (categories), dates; an
empty cell, NA, NaN, null or None counts as missing. Errors name the file, the line,
the column and the value. Reading needs pyarrow: pip install "kurve[data]".
"""

import importlib
from typing import Any

from kurve.errors import TableError as TableError
from kurve.tables.delimited import Delimited as Delimited
from kurve.tables.opening import FORMATS as FORMATS
from kurve.tables.opening import STANDARD_INPUT as STANDARD_INPUT
from kurve.tables.opening import batches as batches
from kurve.tables.opening import format_of as format_of
from kurve.tables.opening import open_table as open_table
from kurve.tables.opening import read as read
from kurve.tables.opening import require_pyarrow as require_pyarrow
from kurve.tables.table_file import Batches as Batches
from kurve.tables.table_file import TableFile as TableFile
from kurve.tables.table_file import plain as plain
from kurve.tables.writing import writer as writer


def __getattr__(name: str) -> Any:
    """`roles`, which depends on estimators, is imported on first use."""
    if name == "roles":
        return importlib.import_module("kurve.tables.roles")
    raise AttributeError(f"module 'kurve.tables' has no attribute {name!r}")
