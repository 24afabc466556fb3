"""Reading for `kurve fit`: training rows and held-out rows, from a file read in one go
or in chunks. A row with a category or class that no other row has is not held out,
because the model could not learn it otherwise."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve import tables
from kurve.cli import memory
from kurve.cli.console import plural, say_nothing
from kurve.estimators.kinds import too_many_levels
from kurve.tables import roles

if TYPE_CHECKING:
    import pyarrow

REPORT_ROWS, REPORT_CELLS = 100_000, 4_000_000
"""Rows and cells of a chunked file kept in memory for testing, and as many for the
report: memory does not grow with the file."""


@dataclass
class Split:
    """Training rows and held-out rows. If a file is read in chunks, `x` and `y` are
    only the first rows, and `batches` has all.

    rows:  number of training rows
    types: pyarrow types of the file's columns
    seen:  the values in the training rows, if `x` does not contain all of them
    groups: of the training rows and then of the held-out ones, with --groups
    """

    x: pyarrow.Table
    y: np.ndarray
    test_x: pyarrow.Table | None
    test_y: np.ndarray | None
    rows: int
    types: dict[str, Any]
    batches: Any = None
    seen: SeenValues | None = None
    groups: np.ndarray | None = None


def read(
    file: Any, targets: list[str], features: list[str], options: Any, say: Any
) -> Split:
    """The rows of a file, read in one go if they fit into memory, else in chunks.

    Args:
        options: the command's options.
        say: prints a line about rows that are treated specially.
    """
    chunks = options["chunks"]
    if chunks is None:
        chunks = not memory.fits(file, [*features, *targets])
    return (_in_chunks if chunks else _at_once)(file, targets, features, options, say)


def read_test(
    file: Any,
    split: Split,
    targets: list[str],
    features: list[str],
    options: Any,
    say: Any,
) -> None:
    """Read the held-out rows from another file, with the same column types as the
    training file."""
    columns = [*file.choose(features, "feature"), *file.choose(targets, "target")]
    texts = [name for name in columns if roles.is_text(split.types[name])]
    table = file.read(columns, texts)
    roles.check_rows(file, len(table))
    if split.y.dtype.kind in "fi":
        table = roles.with_numeric_targets(file, table, targets)
    table, rows = _clean(file, table, targets, features, options, say_nothing)
    for i, name in enumerate(columns):
        kind = split.types[name]
        number = roles.is_number(kind) or (
            name in targets and split.y.dtype.kind in "fi"
        )
        if number:
            why = "it does in the training data"
            values = file.numbers(name, table[name], why, times=True)
            table = table.set_column(i, name, values)
    roles.refuse_infinite(file, table, rows)
    x, y = roles.as_features(table, features), roles.target_array(table, targets)
    split.test_x, split.test_y = x, y


def _at_once(
    file: Any, targets: list[str], features: list[str], options: Any, say: Any
) -> Split:
    declared = _declared(file, options, targets, features)
    columns = [*features, *targets]
    table = file.read([*columns, *_extra(options, columns)], declared)
    roles.check_rows(file, len(table))
    if not options["classify"]:
        table = roles.with_numeric_targets(file, table, targets, declared)
    table = roles.as_categories(table, declared)
    clean, rows = _clean(file, table, targets, features, options, say)
    _check(file, clean, targets, features, rows)
    y = roles.target_array(clean, targets)
    x = roles.as_features(clean, features)
    types = {name: table.schema.field(name).type for name in table.column_names}
    if options["chunks"] is None and not memory.fits_matrix(len(y), _width(x)):
        say(f"{file.path}: too large to read at once: reading in chunks")
        return _in_chunks(file, targets, features, options, say)
    share, last = options["holdout"]
    groups = None
    if options["groups"] is not None:
        cells = tables.plain(clean[options["groups"]]).to_pylist()
        groups = np.array([str(cell) for cell in cells])
    count = 0 if options["test_path"] else round(share * len(y))
    if count == 0 or len(y) - count < 2:
        return Split(x, y, None, None, len(y), types, groups=groups)
    if options["groups"] is not None:
        held = _held_groups(clean[options["groups"]], options)
    elif last:
        held = np.arange(len(y)) >= len(y) - count
    else:
        held = np.zeros(len(y), bool)
        held[np.random.default_rng(options["seed"]).permutation(len(y))[:count]] = True
        _hint_at_order(file, clean, features, say)
    if held.all():
        raise _one_group(file, options)
    test, train = np.flatnonzero(held), np.flatnonzero(~held)
    unique = np.zeros(len(test), bool)
    if options["groups"] is None and not last:
        seen = SeenValues(options["classify"]).add(x.take(train), y[train])
        unique = _unique_rows(x.take(test), y[test], seen)
    _say_not_held_out(file, int(unique.sum()), say)
    train, test = np.sort(np.concatenate([train, test[unique]])), np.sort(test[~unique])
    if not len(test):
        return Split(x, y, None, None, len(y), types, groups=groups)
    if groups is not None:
        groups = groups[np.concatenate([train, test])]
    parts = x.take(train), y[train], x.take(test), y[test]
    return Split(*parts, len(train), types, groups=groups)


def _in_chunks(
    file: Any, targets: list[str], features: list[str], options: Any, say: Any
) -> Split:
    """Hold out a fraction of each chunk, with the same rows in every pass."""
    declared = _declared(file, options, targets, features)
    columns = [*features, *targets]
    batches = tables.Batches(file, [*columns, *_extra(options, columns)], declared)
    roles.check_rows(file, batches.rows)
    fraction = 0.0 if options["test_path"] else options["holdout"][0]
    most = min(REPORT_ROWS, max(REPORT_CELLS // len(columns), 1000))
    fraction = min(fraction, most / batches.rows)
    training = TrainingBatches(file, batches, targets, features, options, fraction)
    x: list[Any] = []
    y: list[np.ndarray] = []
    tests_x: list[Any] = []
    tests_y: list[np.ndarray] = []
    seen = SeenValues(options["classify"])
    rows = in_memory = 0
    thinning = np.random.default_rng((options["seed"], batches.rows))
    for train_x, train_y, test_x, test_y in training.split(say, check=True):
        rows += len(train_y)
        seen.add(train_x, train_y)
        if options["groups"] is not None and len(test_y):  # whole groups: any number
            share = most / (options["holdout"][0] * batches.rows)
            kept = thinning.random(len(test_y)) < share
            test_x, test_y = test_x.filter(kept), test_y[kept]
        tests_x.append(test_x)
        tests_y.append(test_y)
        room = most - in_memory
        if room > 0:
            x.append(train_x.slice(0, room))
            y.append(train_y[:room])
            in_memory += len(y[-1])
    import pyarrow

    if rows == 0 and not any(map(len, tests_y)):
        if options["missing"] == "impute":
            raise _no_target(file, targets, batches.rows)
        raise _no_rows_left(file, batches.rows)
    test_x, test_y = pyarrow.concat_tables(tests_x), np.concatenate(tests_y)
    if rows == 0:
        raise _one_group(file, options)
    unique = np.zeros(len(test_y), bool)
    if options["groups"] is None and not options["holdout"][1]:
        unique = _unique_rows(test_x, test_y, seen)
    _say_not_held_out(file, int(unique.sum()), say)
    training.seen = seen
    head_x = pyarrow.concat_tables([*x, test_x.filter(unique)])
    head_y = np.concatenate([*y, test_y[unique]])
    roles.check_features(file, head_x)
    split = Split(
        head_x,
        head_y,
        None,
        None,
        rows + int(unique.sum()),
        batches.types,
        training,
        seen,
    )
    if not unique.all():
        split.test_x, split.test_y = test_x.filter(~unique), test_y[~unique]
    return split


def _declared(
    file: Any, options: Any, targets: list[str], features: list[str]
) -> list[str]:
    """The columns that the user said are categories."""
    declared = file.choose(options["categorical"] or [])
    return [name for name in declared if name in features or name in targets]


def _extra(options: Any, columns: list[str]) -> list[str]:
    """The column of groups, if it is neither feature nor target."""
    groups = options["groups"]
    return [] if groups is None or groups in columns else [groups]


def _held_groups(values: Any, options: Any) -> np.ndarray:
    """bool (n,): the rows of the groups to hold out, chosen by a hash of its name, so
    that their positions in the file do not matter."""
    seed = str(options["seed"]).encode()
    held: dict[Any, bool] = {}
    found = []
    for value in tables.plain(values).to_pylist():
        if value not in held:
            key = zlib.crc32(seed + b"," + str(value).encode())
            held[value] = key < options["holdout"][0] * 2**32
        found.append(held[value])
    return np.array(found, bool)


def _one_group(file: Any, options: Any) -> tables.TableError:
    return tables.TableError(
        f"[read] {file.path}: there must be rows to train. Received: all held out. "
        "Try a smaller --holdout, or another --seed."
    )


def _hint_at_order(file: Any, table: Any, features: list[str], say: Any) -> None:
    """Print how to test forecasts, if the rows are in the order of a date."""
    from pyarrow import types

    for name in features:
        values = tables.plain(table[name])
        if types.is_date(values.type) or types.is_timestamp(values.type):
            times = (
                values.drop_null()
                .cast("int64" if types.is_timestamp(values.type) else "int32")
                .to_numpy()
            )
            if len(times) > 9 and (np.diff(times) > 0).all():
                say(
                    f"{file.path}: the rows are in the order of {name!r}; "
                    "--holdout last tests forecasts"
                )
                return


class TrainingBatches:
    """Batches (X, y) of the training rows; can be iterated repeatedly.

    seen: the values in the training rows, once known; from then on, rows with other
        values are not held out.
    """

    def __init__(
        self,
        file: Any,
        batches: tables.Batches,
        targets: list[str],
        features: list[str],
        options: Any,
        holdout: float,
    ) -> None:
        self.file, self.batches, self.options = file, batches, options
        self.targets, self.features, self.holdout = targets, features, holdout
        self.seen: SeenValues | None = None

    def split(
        self, say: Any, check: bool = False
    ) -> Iterator[tuple[Any, np.ndarray, Any, np.ndarray]]:
        """Training rows and held-out rows of each batch."""
        first = 0
        declared = self.options["categorical"] or ()
        for number, table in enumerate(self.batches):
            if not self.options["classify"]:
                table = roles.with_numeric_targets(
                    self.file, table, self.targets, declared
                )
            table = roles.as_categories(table, declared)
            clean, rows = _clean(
                self.file,
                table,
                self.targets,
                self.features,
                self.options,
                say,
                first,
                self.batches.rows,
            )
            first += len(table)
            if check:
                for names, role in (self.features, "feature"), (self.targets, "target"):
                    roles.check_types(self.file, roles.select(clean, names), role)
                roles.refuse_infinite(self.file, clean, rows)
            random = np.random.default_rng((self.options["seed"], number))
            last, groups = self.options["holdout"][1], self.options["groups"]
            if groups is not None:
                held = _held_groups(clean[groups], self.options)
            elif last:
                held = rows >= self.batches.rows - round(
                    self.holdout * self.batches.rows
                )
            else:
                held = random.random(len(clean)) < self.holdout
            y = roles.target_array(clean, self.targets)
            x = roles.as_features(clean, self.features)
            if self.seen is not None and groups is None and not last:
                held &= ~_unique_rows(x, y, self.seen)
            yield x.filter(~held), y[~held], x.filter(held), y[held]

    def __iter__(self) -> Iterator[tuple[Any, np.ndarray]]:
        for x, y, _, _ in self.split(say_nothing):
            if len(y):
                yield x, y


class SeenValues:
    """The values in some rows: the levels of each category, the classes, and the
    numeric columns that have any value.

    Args:
        classify: whether the target is a class even if it is numeric.
    """

    def __init__(self, classify: bool) -> None:
        self.classify = classify
        self.levels: dict[str, Any] = {}
        self.uncountable: set[str] = set()
        self.classes: set[Any] = set()
        self.valued: set[str] = set()

    def add(self, x: Any, y: np.ndarray) -> SeenValues:
        """Add the values of rows."""
        import pyarrow

        found = roles.levels(x)
        for name in list(self.levels):
            if name not in found and name in x.column_names:
                del self.levels[name]  # too many of them to be categories
                self.uncountable.add(name)
        for name, values in found.items():
            if name in self.uncountable:
                continue
            known = self.levels.get(name)
            if known is not None:
                values = pyarrow.concat_arrays([known, values]).unique()
            if known is not None and too_many_levels(len(values), None):
                del self.levels[name]
                self.uncountable.add(name)
                continue
            self.levels[name] = values
        if y.ndim == 1 and (self.classify or y.dtype.kind in "Ob"):
            self.classes.update(y.tolist())
        self.valued |= {n for n in x.column_names if x[n].null_count < len(x)}
        return self


def _unique_rows(x: Any, y: np.ndarray, seen: SeenValues) -> np.ndarray:
    """bool (n,): rows with a level, a class, or the only value of a column that has not
    been seen, so that a model can learn it only from these rows."""
    unique = roles.unknown_levels(x, seen.levels)
    for name in x.column_names:
        if name not in seen.valued:
            unique |= np.asarray(x[name].is_valid().to_numpy(), bool)
    if y.ndim == 1 and (y.dtype.kind in "Ob" or seen.classify):
        unique |= np.array([value not in seen.classes for value in y.tolist()], bool)
    return unique


def _say_not_held_out(file: Any, count: int, say: Any) -> None:
    if count:
        why = "with a category or class that no other row has"
        say(f"{file.path}: {plural(count, 'row')} {why}: not held out")


def _width(x: Any) -> int:
    """Number of columns of a model's matrix for a table."""
    levels = roles.levels(x)
    return len(x.column_names) - len(levels) + sum(map(len, levels.values()))


def _clean(
    file: Any,
    table: Any,
    targets: list[str],
    features: list[str],
    options: Any,
    say: Any,
    first: int = 0,
    total: int | None = None,
) -> tuple[Any, np.ndarray]:
    """The rows to use according to --missing, and their indices in the file.

    Args:
        first: index of the table's first row in the file.
        total: number of rows of the file; the table's if None.
    """
    is_whole_file = total is None or total == len(table)
    target = roles.select(table, targets)
    missing = roles.missing_rows(target)
    rows = np.arange(first, first + len(table))
    if missing.all() and is_whole_file:
        raise _no_target(file, targets, len(table))
    if options["missing"] == "error":
        fix = "dropping such rows: --missing drop"
        roles.refuse_missing(file, target, "target", first, fix)
        fix = "filling in or dropping such rows: --missing impute, --missing drop"
        roles.refuse_missing(file, roles.select(table, features), "feature", first, fix)
        return table, rows
    if options["missing"] == "drop":
        missing |= roles.missing_rows(roles.select(table, features))
        if missing.all() and is_whole_file:
            raise _no_rows_left(file, len(table))
    if missing.any():
        impute = options["missing"] == "impute"
        why = "without a target" if impute else "with missing values"
        say(f"{file.path}: left out {plural(int(missing.sum()), 'row')} {why}")
        return table.filter(~missing), rows[~missing]
    return table, rows


def _no_target(file: Any, targets: list[str], rows: int) -> tables.TableError:
    return tables.TableError(
        f"[read] {file.path}: there must be rows with a target. Received: "
        f"{targets[0]!r} missing in all {rows} rows. Try another target."
    )


def _no_rows_left(file: Any, rows: int) -> tables.TableError:
    return tables.TableError(
        f"[read] {file.path}: there must be rows without missing values. Received: "
        f"none of {rows}. Try --missing impute, or --drop for columns that are mostly "
        "empty."
    )


def _check(
    file: Any, table: Any, targets: list[str], features: list[str], rows: np.ndarray
) -> None:
    """Reject columns that cannot be features or targets."""
    roles.check_features(file, roles.select(table, features), rows)
    target = roles.select(table, targets)
    roles.check_types(file, target, "target")
    roles.refuse_infinite(file, target, rows)
