"""The base class of table files: column names, and ways to read them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.errors import TableError
from kurve.tables.dates import DateText

if TYPE_CHECKING:
    import pyarrow


class TableFile:
    """A table in a file: the names of its columns, and ways to read it."""

    path: str
    names: list[str]
    notes: list[str]
    """What was mended in the file, to tell its user."""

    def read(
        self,
        columns: Sequence[str] | None = None,
        texts: Sequence[str] = (),
        exact: Sequence[str] = (),
    ) -> pyarrow.Table:
        """The columns, or all of them, as a table.

        Args:
            texts: columns to read as text, regardless of their contents: categories of
                a model, such as "007" and "true".
            exact: columns to copy unchanged: they become numbers only if writing the
                numbers reproduces the digits.
        """
        return self._read(self.choose(columns), texts, exact)

    def numbers(self, name: str, values: Any, why: str, times: bool = False) -> Any:
        """A column that was read, as numbers or booleans.

        Args:
            why: why the column must hold numbers, for the message.
            times: whether a column of times may be read, in seconds.

        Raises:
            TableError: naming the first cell that is not a number.
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
        seconds = durations(values) if times else None
        return self._numbers(name, values, why) if seconds is None else seconds

    def size(self, columns: Sequence[str], limit: int) -> int:
        """About how many bytes the columns take as text or numbers, decompressed;
        counting stops at `limit`."""
        raise NotImplementedError

    def choose(self, columns: Sequence[str] | None, role: str = "column") -> list[str]:
        """The names, checked; all of them if None.

        Args:
            role: what the columns are for, for the message: "target", "feature".

        Raises:
            TableError: unknown column, with the nearest; a column without a name.
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
            self._check_name(name, role)
        return list(columns)

    def _check_name(self, name: str, role: str) -> None:
        if name in self.names:
            return
        rule = "there is no such column"
        if role != "column":
            rule = f"there must be a column for the {role}"
        lower = {other.lower(): other for other in self.names}
        near = difflib.get_close_matches(name.lower(), list(lower), n=1, cutoff=0.5)
        hint = f"Did you mean {lower[near[0]]!r}? " if near else ""
        known = ", ".join(self.names[:20]) + (", …" if len(self.names) > 20 else "")
        raise TableError(
            f"[read] {self.path}: {rule}. Received: {name!r}. {hint}"
            f"Try one of: {known}."
        )

    def place(self, row: int) -> str:
        """Where a row, numbered from 0, is in the file: "line 18" or "row 17"."""
        return f"row {row + 1}"

    def _read(
        self, columns: list[str], texts: Sequence[str], exact: Sequence[str]
    ) -> pyarrow.Table:
        raise NotImplementedError

    def _numbers(self, name: str, values: Any, why: str) -> Any:
        """`numbers` of a column that pyarrow did not read as numbers."""
        raise NotImplementedError

    def _scan(
        self, columns: list[str], texts: Sequence[str], exact: Sequence[str]
    ) -> tuple[dict[str, Any], int]:
        """The type of each column over the whole file, and the number of rows."""
        raise NotImplementedError

    def _batches(
        self, columns: list[str], types: dict[str, Any]
    ) -> Iterator[pyarrow.Table]:
        """The columns in chunks, with the types that `_scan` found."""
        raise NotImplementedError


class Batches:
    """A table in chunks that can be iterated over repeatedly.

    Attributes:
        names, types: of the columns (types are pyarrow's).
        rows: number of rows of all chunks.

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


def distinct(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The names of columns, a repeated one with a number as pandas has it ("a", "a.1"),
    and what is to be said of that. Columns without a name stay so."""
    given, numbers = set(names), dict[str, int]()
    found: list[str] = []
    notes = []
    for position, name in enumerate(names):
        new = name
        if name and name in numbers:
            while new in given:
                numbers[name] += 1
                new = f"{name}.{numbers[name]}"
            given.add(new)
            notes.append(f"column {position + 1}, a second {name!r}, is called {new!r}")
        numbers.setdefault(name, 0)
        found.append(new)
    return found, notes


def durations(values: Any) -> Any:
    """Times such as "2:31:05" and "1 days 02:00:00" as seconds, float64; None if the
    column holds anything else."""
    import pyarrow
    from pyarrow import compute, types

    if types.is_time(values.type):
        whole = values.cast("time64[us]").cast("int64").cast("float64")
        return compute.divide(whole, 1e6)
    if types.is_duration(values.type):
        whole = values.cast("duration[us]").cast("int64").cast("float64")
        return compute.divide(whole, 1e6)
    if not types.is_string(values.type):
        return None
    cells = values.to_pylist()
    known = [cell for cell in dict.fromkeys(cells) if cell is not None]
    if not known or not all(":" in cell for cell in known):
        return None
    seconds = DateText("duration").seconds(cells)
    missing = np.array([cell is None for cell in cells], bool)
    if (np.isnan(seconds) & ~missing).any():
        return None
    return pyarrow.chunked_array([pyarrow.array(seconds, mask=missing)])


def plain(values: Any) -> Any:
    """A column in one of a few types: dictionaries are decoded, all text is string,
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
