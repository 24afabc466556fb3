"""The roles of columns, targets or features, and which columns and cells are
refused, named by file, line, column and value."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.errors import TableError
from kurve.estimators.kinds import UNKNOWN, recognise, too_many_levels
from kurve.tables import TableFile, plain
from kurve.tables.numerals import learn_numerals
from kurve.tables.table_file import durations

if TYPE_CHECKING:
    import pyarrow


def choose_roles(
    file: TableFile,
    targets: Sequence[str],
    features: Sequence[str] | None = None,
    drop: Sequence[str] = (),
) -> tuple[list[str], list[str]]:
    r"""Names of the targets and of the features, which are all other columns except
    those to drop, if None.

    Args:
        file: an open `TableFile`.
        targets: names of the targets.
        features: names of the features; None for all other columns.
        drop: names of columns to leave out.

    Raises:
        TableError: unknown column, a column in two roles, or no feature left.

    Example:
        >>> from pathlib import Path
        >>> _ = Path("data.csv").write_text("x,y\n1,2\n3,4\n")
        >>> file = kurve.tables.open_table("data.csv")
        >>> from kurve.tables import roles
        >>> roles.choose_roles(file, ["y"])
        (['y'], ['x'])
    """
    targets = file.choose(targets, "target")
    for name in targets:
        if targets.count(name) > 1:
            raise _two_roles(file, name, "target twice")
    drop = file.choose([name for name in drop if name])
    if features is None:
        unused = {*targets, *drop}
        # pandas and R write the rows' names in a column without a name.
        features = [name for name in file.names if name and name not in unused]
    else:
        features = file.choose(features, "feature")
    for name in features:
        if name in targets or features.count(name) > 1:
            role = "target and feature" if name in targets else "feature twice"
            raise _two_roles(file, name, role)
    for name in drop:
        if name in targets or name in features:
            role = "target" if name in targets else "feature"
            raise _two_roles(file, name, f"{role} and to be dropped")
    if not features:
        raise TableError(
            f"[read] {file.path}: there must be a feature besides the target. "
            f"Received: columns {', '.join(map(repr, file.names))}. "
            "Try a file with more columns."
        )
    return targets, features


def check_rows(file: TableFile, rows: int) -> None:
    r"""Refuse a table without rows.

    Args:
        file: an open `TableFile`.
        rows: number of its rows.

    Raises:
        TableError: there are none.

    Example:
        >>> from pathlib import Path
        >>> _ = Path("data.csv").write_text("x,y\n1,2\n3,4\n")
        >>> file = kurve.tables.open_table("data.csv")
        >>> from kurve.tables import roles
        >>> roles.check_rows(file, 2)
    """
    if rows == 0:
        raise TableError(
            f"[read] {file.path}: there must be rows below the header. "
            "Received: a header only. Try a file with data."
        )


def _two_roles(file: TableFile, name: str, roles: str) -> TableError:
    return TableError(
        f"[read] {file.path}: a column must have one role. Received: {name!r} as "
        f"{roles}. Try naming it once."
    )


def check_features(file: TableFile, table: pyarrow.Table, rows: Any = None) -> None:
    r"""Refuse columns that cannot be features: those of lists and other types that are
    neither numbers, texts nor dates, and infinite numbers.

    Args:
        file: an open `TableFile`.
        table: the features.
        rows: see `refuse_infinite`.

    Raises:
        TableError: naming the columns and, where there is one, the row.

    Example:
        >>> from pathlib import Path
        >>> _ = Path("data.csv").write_text("x,y\n1,2\n3,4\n")
        >>> file = kurve.tables.open_table("data.csv")
        >>> table = file.read()
        >>> from kurve.tables import roles
        >>> roles.check_features(file, table)
    """
    check_types(file, table, "feature")
    refuse_infinite(file, table, rows)


def check_types(file: TableFile, table: pyarrow.Table, role: str) -> None:
    """Refuse columns of types that a model cannot use in this role, all in one message.

    Args:
        role: "feature" or "target"; a target must not be a date.
    """
    wrong = []
    for name in table.column_names:
        kind = plain(table[name]).type
        usable = is_number(kind) or is_text(kind)
        if not usable and (role == "target" or not _is_date(kind)):
            wrong.append((name, kind))
    if not wrong:
        return
    allowed = "numbers, text or true and false"
    columns = "column " if len(wrong) == 1 else "columns "
    names = ", ".join(repr(name) for name, _ in wrong)
    fix = "dropping it" if role == "feature" else "another target"
    if role == "feature":
        allowed = "numbers, text, dates or true and false"
        listed = shlex.quote(",".join(name for name, _ in wrong))
        fix = f"--drop {listed}, or in Python to drop them"
    elif _is_date(wrong[0][1]):
        fix += ", or a column of the days since a date"
    raise TableError(
        f"[read] {file.path}: {columns}{names} must hold {allowed} to be a {role}. "
        f"Received: {', '.join(str(kind) for _, kind in wrong)}. Try {fix}."
    )


def refuse_infinite(file: TableFile, table: pyarrow.Table, rows: Any = None) -> None:
    """Refuse infinite numbers, naming the first.

    Args:
        rows: positions of the table's rows in the file, from 0; the first ones if
            None.
    """
    import pyarrow
    from pyarrow import compute, types

    for name in table.column_names:
        values = plain(table[name])
        if types.is_floating(values.type):
            infinite = compute.is_inf(values)
            if compute.any(infinite).as_py():
                row = compute.index(infinite, pyarrow.scalar(True)).as_py()
                place = file.place(row if rows is None else int(rows[row]))
                raise TableError(
                    f"[read] {file.path}, {place}: column {name!r} must hold "
                    f"finite numbers. Received: {values[row].as_py()}. "
                    "Try dropping the row."
                )


def is_number(kind: Any) -> bool:
    """Whether a type of pyarrow is a number, or true and false."""
    from pyarrow import types

    plain_number = types.is_integer(kind) or types.is_floating(kind)
    return plain_number or types.is_boolean(kind) or types.is_null(kind)


def _is_date(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_temporal(kind))


def is_text(kind: Any) -> bool:
    """Whether a type of pyarrow is text, or a dictionary of text."""
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    views = types.is_large_string(kind) or types.is_string_view(kind)
    return types.is_string(kind) or views


def as_categories(table: pyarrow.Table, names: Sequence[str]) -> pyarrow.Table:
    """The table with these columns of text as categories."""
    for name in names:
        values = table[name]
        if is_text(values.type):
            i = table.column_names.index(name)
            table = table.set_column(i, name, plain(values).dictionary_encode())
    return table


def as_features(table: pyarrow.Table, names: Sequence[str]) -> pyarrow.Table:
    """The columns as a model expects them: numbers as float64 (rounded if too large to
    be exact), booleans, text, and dictionaries of numbers, which are categories."""
    import pyarrow
    from pyarrow import types

    columns = {}
    for name in names:
        values = table[name]
        if not types.is_dictionary(values.type) or is_text(values.type):
            values = plain(values)
            if is_number(values.type) and not types.is_boolean(values.type):
                values = values.cast(pyarrow.float64(), safe=False)
        columns[name] = values
    return pyarrow.table(columns)


def target_array(table: pyarrow.Table, targets: Sequence[str]) -> np.ndarray:
    r"""The targets as an array (n,), or (n, outputs) of several: float64 (missing is
    NaN), int64, bool, or objects that are text (missing is None).

    Args:
        table: with the targets.
        targets: their names.

    Raises:
        KeyError: unknown column.

    Example:
        >>> from pathlib import Path
        >>> _ = Path("data.csv").write_text("x,y\n1,2\n3,4\n")
        >>> file = kurve.tables.open_table("data.csv")
        >>> table = file.read()
        >>> from kurve.tables import roles
        >>> roles.target_array(table, ["y"])
        array([2, 4])
    """
    from pyarrow import types

    columns = []
    for name in targets:
        values = plain(table[name])
        if hasattr(values, "combine_chunks"):
            values = values.combine_chunks()
        if types.is_boolean(values.type) and values.null_count:
            column = np.array(values.to_pylist(), dtype=object)
        elif types.is_null(values.type):
            column = np.full(len(values), np.nan)
        else:
            column = values.to_numpy(zero_copy_only=False)
        columns.append(column)
    return columns[0] if len(columns) == 1 else np.stack(columns, axis=1)


def levels(table: pyarrow.Table) -> dict[str, Any]:
    """By name, the distinct values of each column of categories; not of texts that are
    rarely repeated."""
    from pyarrow import compute

    found = {}
    for name in table.column_names:
        if is_category(table[name].type):
            values = plain(table[name]).drop_null()
            distinct = compute.unique(values)
            if not too_many_levels(len(distinct), len(values)):
                found[name] = distinct
    return found


def with_numeric_targets(
    file: TableFile,
    table: pyarrow.Table,
    targets: Sequence[str],
    declared: Collection[str] = (),
) -> pyarrow.Table:
    """The table with targets in local notation, and durations, converted to numbers.

    Args:
        file: an open `TableFile`.
        table: with the targets.
        targets: their names.
        declared: columns that the user said are categories.

    Raises:
        TableError: a cell that is neither a number nor says that it is unknown, in a
            column of numbers.
    """
    import pyarrow

    for name in targets:
        values = plain(table[name])
        seconds = None if name in declared else durations(values)
        if seconds is not None:
            note = f"the times of the target {name!r} are learned in seconds"
            if note not in file.notes:
                file.notes.append(note)
            i = table.column_names.index(name)
            table = table.set_column(i, name, seconds)
            continue
        if not pyarrow.types.is_string(values.type) or name in declared:
            continue
        counts = Counter(v for v in values.to_pylist() if v is not None)
        found = recognise(counts)
        numerals = None if found is None else found.numerals
        if numerals is None:
            if _mostly_numbers(counts):
                file.numbers(name, table[name], "most of its cells do")
            continue
        assert found is not None
        if found.strange is not None and not UNKNOWN.fullmatch(found.strange):
            file.numbers(name, table[name], "most of its cells do")
        numbers = numerals.numbers(values.to_pylist())
        column = pyarrow.array(numbers, from_pandas=True)
        table = table.set_column(table.column_names.index(name), name, column)
    return table


def _mostly_numbers(counts: Counter[str]) -> bool:
    """Whether most but not all cells are numbers: the others are probably mistakes."""
    numerals, _ = learn_numerals(counts)
    numbers = sum(n for cell, n in counts.items() if numerals.number(cell) is not None)
    return 0 < sum(counts.values()) - numbers <= numbers


def is_category(kind: Any) -> bool:
    """Whether a column of this type holds categories: text, or any dictionary."""
    from pyarrow import types

    return is_text(kind) or types.is_dictionary(kind)


def unknown_levels(table: pyarrow.Table, known: Mapping[str, Any]) -> np.ndarray:
    """bool (n,): rows with a category that is not among the known ones of its
    column."""
    unknown = np.zeros(len(table), bool)
    for name, values in known.items():
        unknown |= unknown_cells(table[name], values)
    return unknown


def unknown_cells(column: Any, known: Any) -> np.ndarray:
    """bool (n,): where a column of categories holds an unknown one."""
    from pyarrow import compute

    values = plain(column)
    inside = compute.or_(
        values.is_null(), compute.is_in(values, known.cast(values.type))
    )
    return ~np.asarray(inside.to_numpy(zero_copy_only=False), bool)


def missing_rows(values: Any) -> np.ndarray:
    """bool (n,): rows of an array (n,) or (n, k), or of a table, that lack a value.

    Args:
        values: the array or table.

    Example:
        >>> from kurve.tables import roles
        >>> roles.missing_rows(np.array([1.0, np.nan]))
        array([False,  True])
    """
    if hasattr(values, "column_names"):
        missing = np.zeros(len(values), bool)
        for column in values.columns:
            empty = _empty_cells(column)
            if empty is not None:
                missing |= empty
        return missing
    if values.dtype.kind == "O":
        missing = np.equal(values, np.array(None))
    elif values.dtype.kind == "f":
        missing = np.isnan(values)
    else:
        return np.zeros(len(values), bool)
    return missing if values.ndim == 1 else missing.any(axis=1)


def select(table: pyarrow.Table, names: Sequence[str]) -> pyarrow.Table:
    r"""Some columns, in that order.

    Args:
        table: any table.
        names: of columns in it.

    Raises:
        KeyError: unknown column.

    Example:
        >>> from pathlib import Path
        >>> _ = Path("data.csv").write_text("x,y\n1,2\n3,4\n")
        >>> file = kurve.tables.open_table("data.csv")
        >>> table = file.read()
        >>> from kurve.tables import roles
        >>> roles.select(table, ["y", "x"]).column_names
        ['y', 'x']
    """
    return table.select(list(names))


def refuse_missing(
    file: TableFile,
    table: pyarrow.Table,
    what: str,
    first: int = 0,
    fix: str = "dropping such rows",
) -> None:
    r"""Refuse a table with missing values, naming the first row and column.

    Args:
        file: an open `TableFile`.
        table: the columns to check.
        what: "target" or "feature".
        first: position of the table's first row in the file.
        fix: what else to try, besides a value there.

    Raises:
        TableError: a value is missing.

    Example:
        >>> from pathlib import Path
        >>> _ = Path("data.csv").write_text("x,y\n1,2\n3,4\n")
        >>> file = kurve.tables.open_table("data.csv")
        >>> table = file.read()
        >>> from kurve.tables import roles
        >>> roles.refuse_missing(file, table, "feature")
    """
    for name in table.column_names:
        missing = _empty_cells(table[name])
        if missing is not None:
            count = int(missing.sum())
            row = int(np.argmax(missing))
            in_all = f" ({count} such rows in total)" if count > 1 else ""
            raise TableError(
                f"[read] {file.path}, {file.place(first + row)}: {what} {name!r} must "
                f"have a value in every row. Received: none{in_all}. "
                f"Try a value there, or {fix}."
            )


def _empty_cells(column: Any) -> np.ndarray | None:
    """bool (n,): where a column has no value; None if it has all."""
    from pyarrow import compute

    missing = column.is_null(nan_is_null=True)
    if not compute.any(missing).as_py():
        return None
    return np.asarray(missing.combine_chunks().to_numpy(zero_copy_only=False))
