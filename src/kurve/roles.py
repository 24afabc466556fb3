"""What the columns of a table are used for: targets and features, and what is refused
as either, by file, line, column and value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.errors import TableError
from kurve.estimators.columns import too_many_levels
from kurve.tables import TableFile

if TYPE_CHECKING:
    import pyarrow


def choose_roles(
    file: TableFile,
    targets: Sequence[str],
    features: Sequence[str] | None = None,
    drop: Sequence[str] = (),
) -> tuple[list[str], list[str]]:
    """Names of the targets and of the features: all other columns, if None, but those
    to drop.

    Raises:
        TableError: no such column, a column in two roles, or no feature left.
    """
    targets = file.choose(targets, "target")
    drop = file.choose(drop)
    if features is None:
        out = {*targets, *drop}
        if "" in file.names:
            file.choose(None)
        features = [name for name in file.names if name not in out]
    else:
        features = file.choose(features, "feature")
    for name in features:
        if name in targets or features.count(name) > 1:
            role = "target and feature" if name in targets else "feature twice"
            raise TableError(
                f"[read] {file.path}: a column must have one role. Received: {name!r} "
                f"as {role}. Try naming it once."
            )
    if not features:
        raise TableError(
            f"[read] {file.path}: there must be a feature besides the target. "
            f"Received: columns {', '.join(map(repr, file.names))}. "
            "Try a file with more columns."
        )
    return targets, features


def check_rows(file: TableFile, rows: int) -> None:
    """Refuse a table without rows."""
    if rows == 0:
        raise TableError(
            f"[read] {file.path}: there must be rows below the header. "
            "Received: a header only. Try a file with data."
        )


def check_features(file: TableFile, table: pyarrow.Table) -> None:
    """Refuse columns that cannot be features: dates and other types, columns without
    any value, infinite numbers, and text that is no category because it hardly repeats.

    Raises:
        TableError: naming the column and, where there is one, the row.
    """
    import pyarrow
    from pyarrow import compute, types

    for name in table.column_names:
        values = table[name]
        kind = values.type
        if types.is_dictionary(kind):
            kind = kind.value_type
        if types.is_null(kind) or values.null_count == len(values) > 0:
            raise _unfit(file, name, "at least one value", "missing values only")
        if types.is_floating(kind):
            infinite = compute.is_inf(values)
            if compute.any(infinite).as_py():
                row = compute.index(infinite, pyarrow.scalar(True)).as_py()
                raise TableError(
                    f"[read] {file.path}, {file.place(row)}: column {name!r} must hold "
                    f"finite numbers. Received: {values[row].as_py()}. "
                    "Try leaving the row out."
                )
        elif types.is_string(kind) or types.is_large_string(kind):
            different = len(compute.unique(values.drop_null()))
            if too_many_levels(different, len(values)):
                raise _unfit(
                    file,
                    name,
                    "numbers or categories that repeat",
                    f"{different} different texts in {len(values)} rows",
                )
        elif not (
            types.is_integer(kind) or types.is_boolean(kind) or types.is_decimal(kind)
        ):
            raise _unfit(file, name, "numbers, text or true and false", str(kind))


def _unfit(file: TableFile, name: str, rule: str, received: str) -> TableError:
    return TableError(
        f"[read] {file.path}: column {name!r} must hold {rule} to be a feature. "
        f"Received: {received}. Try dropping it."
    )


def target_array(table: pyarrow.Table, targets: Sequence[str]) -> np.ndarray:
    """The targets as an array (n,), or (n, outputs) of several: float64 (missing is
    NaN), int64, bool, or objects that are text (missing is None)."""
    from pyarrow import types

    columns = []
    for name in targets:
        values = table[name].combine_chunks()
        if types.is_dictionary(values.type):
            values = values.dictionary_decode()
        if types.is_boolean(values.type) and values.null_count:
            column = np.array(values.to_pylist(), dtype=object)
        elif types.is_decimal(values.type):
            column = np.array(values.cast("float64"))
        elif types.is_null(values.type):
            column = np.full(len(values), np.nan)
        else:
            column = values.to_numpy(zero_copy_only=False)
        columns.append(column)
    return columns[0] if len(columns) == 1 else np.stack(columns, axis=1)


def missing_rows(values: Any) -> np.ndarray:
    """bool (n,): rows of an array (n,) or (n, k), or of a table, that miss a value."""
    if hasattr(values, "column_names"):
        missing = np.zeros(len(values), bool)
        for column in values.columns:
            gaps = _gaps(column)
            if gaps is not None:
                missing |= gaps
        return missing
    if values.dtype.kind == "O":
        missing = np.equal(values, np.array(None))
    elif values.dtype.kind == "f":
        missing = np.isnan(values)
    else:
        return np.zeros(len(values), bool)
    return missing if values.ndim == 1 else missing.any(axis=1)


def select(table: pyarrow.Table, names: Sequence[str]) -> pyarrow.Table:
    """Some columns, in that order."""
    return table.select(list(names))


def refuse_missing(
    file: TableFile,
    table: pyarrow.Table,
    what: str,
    first: int = 0,
    fix: str = "leaving such rows out",
) -> None:
    """Refuse a table with missing values, naming the first row and column.

    Args:
        what: "target" or "feature".
        first: number of the table's first row in the file.
        fix: what to do, besides a value there.
    """
    for name in table.column_names:
        missing = _gaps(table[name])
        if missing is not None:
            count = int(missing.sum())
            row = int(np.argmax(missing))
            more = f" ({count} such rows in all)" if count > 1 else ""
            raise TableError(
                f"[read] {file.path}, {file.place(first + row)}: {what} {name!r} must "
                f"have a value in every row. Received: none{more}. Try a value there, "
                f"or {fix}."
            )


def _gaps(column: Any) -> np.ndarray | None:
    """bool (n,): where a column has no value; None if it has all."""
    from pyarrow import compute

    missing = column.is_null(nan_is_null=True)
    if not compute.any(missing).as_py():
        return None
    return np.asarray(missing.combine_chunks().to_numpy(zero_copy_only=False))
