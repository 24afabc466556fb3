"""Data sets of text files: `tf.data.experimental.make_csv_dataset`."""

from __future__ import annotations

import csv
import glob as _glob
from collections.abc import Sequence
from typing import Any

import numpy as np

from kurve.as_keras.tensorflow.data import Dataset
from kurve.as_keras.tensorflow.values import DType, kind

__all__ = ["CsvDataset", "TextLineDataset", "make_csv_dataset"]


def _files(pattern: Any) -> list[str]:
    patterns = [str(p) for p in np.ravel(np.asarray(pattern))]
    return [name for one in patterns for name in sorted(_glob.glob(one)) or [one]]


def make_csv_dataset(
    file_pattern: Any,
    batch_size: int,
    column_names: Sequence[str] | None = None,
    column_defaults: Sequence[Any] | None = None,
    label_name: str | None = None,
    select_columns: Sequence[Any] | None = None,
    field_delim: str = ",",
    use_quote_delim: Any = True,
    na_value: str = "",
    header: Any = True,
    num_epochs: int | None = None,
    shuffle: Any = True,
    shuffle_buffer_size: int = 10000,
    shuffle_seed: int | None = None,
    *others: Any,
    ignore_errors: Any = False,
    **settings: Any,
) -> Dataset:
    """Batches of the rows of CSV files: a dictionary with one array per column; with
    `label_name`, pairs of that dictionary and the label's array.

    Args:
        file_pattern: a path, a glob pattern, or several.
        column_names: default: read from the first line.
        column_defaults: for each column its dtype, or the value for empty cells;
            default: the dtype that fits all cells of the column.
        select_columns: names or indices of the columns to use.
        others, settings: performance and compression settings, which are ignored.

    Raises:
        ValueError: the label is not a column, or there are no rows.
    """
    rows: list[list[str]] = []
    names = None if column_names is None else list(column_names)
    for path in _files(file_pattern):
        with open(path, newline="", encoding="utf-8") as file:
            lines = [r for r in csv.reader(file, delimiter=field_delim) if r]
        if header:
            first, *lines = lines
            names = first if names is None else names
        rows += lines
    if not rows:
        raise ValueError(
            "[make_csv_dataset] there must be rows. "
            f"Received: {file_pattern!r} without one. Try another file."
        )
    if names is None:
        names = [str(i) for i in range(len(rows[0]))]
    used = list(range(len(names)))
    if select_columns is not None:
        used = [
            names.index(c) if isinstance(c, str) else int(c) for c in select_columns
        ]
    if label_name is not None and label_name not in [names[i] for i in used]:
        raise ValueError(
            "[make_csv_dataset] label_name must be a column. "
            f"Received: {label_name!r}. Try one of {', '.join(names[:8])}."
        )
    defaults = list(column_defaults or [None] * len(used))
    columns = {
        names[i]: _column([r[i] for r in rows], default, na_value)
        for i, default in zip(used, defaults, strict=True)
    }
    structure: Any = columns
    if label_name is not None:
        structure = columns, columns.pop(label_name)
    data = Dataset.from_tensor_slices(structure)
    if shuffle:
        data = data.shuffle(shuffle_buffer_size, shuffle_seed)
    return data.repeat(num_epochs).batch(batch_size)


def _column(cells: list[str], default: Any, empty: str) -> np.ndarray:
    """The cells of a column, converted to its dtype."""
    while isinstance(default, (list, tuple, np.ndarray)) and len(default):
        default = default[0]
    value, dtype = default, default
    if isinstance(default, str) and not isinstance(default, DType):
        dtype = "string"
    elif isinstance(default, (int, float)):
        dtype = "int32" if isinstance(default, int) else "float32"
    else:
        value = None
    if dtype is None:
        dtype = _type_of([c for c in cells if c != empty])
    dtype = kind(dtype)
    if dtype == "string":
        return np.array([value or "" if c == empty else c for c in cells], str)
    numbers = [value or 0 if c == empty else float(c) for c in cells]
    return np.array(numbers, dtype)


def _type_of(cells: list[str]) -> str:
    for name, read in (("int32", int), ("float32", float)):
        try:
            for cell in cells:
                read(cell)
        except ValueError:
            continue
        return name
    return "string"


def TextLineDataset(filenames: Any, *others: Any, **settings: Any) -> Dataset:
    """The lines of text files."""
    lines: list[str] = []
    for path in _files(filenames):
        with open(path, encoding="utf-8") as file:
            lines += file.read().splitlines()
    return Dataset.from_tensor_slices(np.array(lines, str))


def CsvDataset(
    filenames: Any,
    record_defaults: Sequence[Any],
    compression_type: Any = None,
    buffer_size: Any = None,
    header: Any = False,
    field_delim: str = ",",
    use_quote_delim: Any = True,
    na_value: str = "",
    select_cols: Sequence[int] | None = None,
    **settings: Any,
) -> Dataset:
    """The rows of CSV files, as tuples with one value per column."""
    rows: list[list[str]] = []
    for path in _files(filenames):
        with open(path, newline="", encoding="utf-8") as file:
            lines = [r for r in csv.reader(file, delimiter=field_delim) if r]
        rows += lines[1:] if header else lines
    used = range(len(record_defaults)) if select_cols is None else select_cols
    columns = tuple(
        _column([r[i] for r in rows], default, na_value)
        for i, default in zip(used, record_defaults, strict=True)
    )
    return Dataset.from_tensor_slices(columns)
