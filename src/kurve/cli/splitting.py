"""Reading for `kurve fit`: rows to train with and rows held out, from a whole file or
in pieces. A row that alone shows a category or a class is not held out, since the model
could not learn it from any other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve import tables
from kurve.cli import memory
from kurve.cli.known import unknown_error
from kurve.cli.words import plural, silent
from kurve.tables import roles

if TYPE_CHECKING:
    import pyarrow

REPORT_ROWS = 100_000
"""Rows of a file in pieces that are held in memory, for the test and for the report."""


@dataclass
class Split:
    """Rows to train with and rows held out; of a file in pieces, `x` and `y` are those
    of the first piece, and `batches` gives all.

    rows:  number of rows to train with
    types: of the file's columns, pyarrow's
    seen:  what the training rows hold, where `x` is not all of them
    """

    x: pyarrow.Table
    y: np.ndarray
    test_x: pyarrow.Table | None
    test_y: np.ndarray | None
    rows: int
    types: dict[str, Any]
    batches: Any = None
    seen: Seen | None = None


def read(
    file: Any, targets: list[str], features: list[str], given: Any, say: Any
) -> Split:
    """The rows of a file, as a whole where that fits into the memory.

    Args:
        given: the command's options.
        say: what is to be known about the rows is said with it.
    """
    chunks = given["chunks"]
    if chunks is None:
        chunks = not memory.fits(file, [*features, *targets])
    return (in_pieces if chunks else as_a_whole)(file, targets, features, given, say)


def read_test(
    file: Any, split: Split, targets: list[str], features: list[str], given: Any,
    say: Any,
) -> None:  # fmt: skip
    """Take the held-out rows from a file of their own, whose columns are read as those
    of the training file."""
    columns = [*file.choose(features, "feature"), *file.choose(targets, "target")]
    texts = [name for name in columns if roles.is_text(split.types[name])]
    table = file.read(columns, texts)
    roles.check_rows(file, len(table))
    table, rows = _clean(file, table, targets, features, given, silent)
    for i, name in enumerate(columns):
        if name not in texts:
            values = file.numbers(name, table[name], "it does in the training data")
            table = table.set_column(i, name, values)
    roles.refuse_infinite(file, table, rows)
    x, y = roles.as_features(table, features), roles.target_array(table, targets)
    seen = split.seen or Seen(False).add(split.x, split.y)
    unknown = roles.unknown_levels(x, seen.levels)
    if unknown.all():
        raise unknown_error(file, x, seen.levels, rows)
    if unknown.any():
        count = plural(int(unknown.sum()), "row")
        say(f"{file.path}: left out {count} with categories that training has not")
        x, y = x.filter(~unknown), y[~unknown]
    split.test_x, split.test_y = x, y


def as_a_whole(
    file: Any, targets: list[str], features: list[str], given: Any, say: Any
) -> Split:
    table = file.read([*features, *targets])
    roles.check_rows(file, len(table))
    kept, rows = _clean(file, table, targets, features, given, say)
    _check(file, kept, targets, features, rows)
    y = roles.target_array(kept, targets)
    x = roles.as_features(kept, features)
    types = {name: table.schema.field(name).type for name in table.column_names}
    if given["chunks"] is None and not memory.fits_matrix(len(y), _width(x)):
        say(f"{file.path}: too large for the memory as a whole, so read in pieces")
        return in_pieces(file, targets, features, given, say)
    count = 0 if given["test_path"] else round(given["holdout"] * len(y))
    if count == 0 or len(y) - count < 2:
        return Split(x, y, None, None, len(y), types)
    order = np.random.default_rng(given["seed"]).permutation(len(y))
    test, train = order[:count], order[count:]
    seen = Seen(given["classify"]).add(x.take(train), y[train])
    only = _only_here(x.take(test), y[test], seen)
    _say_kept_back(file, int(only.sum()), say)
    train, test = np.sort(np.concatenate([train, test[only]])), np.sort(test[~only])
    if not len(test):
        return Split(x, y, None, None, len(y), types)
    return Split(x.take(train), y[train], x.take(test), y[test], len(train), types)


def in_pieces(
    file: Any, targets: list[str], features: list[str], given: Any, say: Any
) -> Split:
    """Held-out rows are a part of each piece, the same ones in every pass."""
    whole = tables.Batches(file, [*features, *targets])
    roles.check_rows(file, whole.rows)
    share = 0.0 if given["test_path"] else given["holdout"]
    share = min(share, REPORT_ROWS / whole.rows)
    pieces = Pieces(file, whole, targets, features, given, share)
    x: list[Any] = []
    y: list[np.ndarray] = []
    tests: list[Any] = []
    truths: list[np.ndarray] = []
    seen = Seen(given["classify"])
    rows = kept = 0
    for train_x, train_y, test_x, test_y in pieces.parts(say, check=True):
        rows += len(train_y)
        seen.add(train_x, train_y)
        tests.append(test_x)
        truths.append(test_y)
        room = REPORT_ROWS - kept
        if room > 0:
            x.append(train_x.slice(0, room))
            y.append(train_y[:room])
            kept += len(y[-1])
    import pyarrow

    if rows == 0 and not any(map(len, truths)):
        wrong = _no_target(file, targets, whole.rows)
        raise wrong if given["missing"] == "impute" else _nothing_left(file, whole.rows)
    test, truth = pyarrow.concat_tables(tests), np.concatenate(truths)
    only = _only_here(test, truth, seen)
    _say_kept_back(file, int(only.sum()), say)
    pieces.seen, rows = seen, rows + int(only.sum())
    head = pyarrow.concat_tables([*x, test.filter(only)])
    roles.check_features(file, head)
    known, test, truth = truth[only], test.filter(~only), truth[~only]
    split = Split(
        head, np.concatenate([*y, known]), None, None, rows, whole.types, pieces, seen
    )
    if len(test):
        split.test_x, split.test_y = test, truth
    return split


class Pieces:
    """Batches (X, y) of the rows to train with, again and again.

    seen: what the training rows hold, once that is known; rows that hold something else
        are not held out any more.
    """

    def __init__(
        self, file: Any, whole: tables.Batches, targets: list[str],
        features: list[str], given: Any, share: float,
    ) -> None:  # fmt: skip
        self.file, self.whole, self.given, self.share = file, whole, given, share
        self.targets, self.features = targets, features
        self.seen: Seen | None = None

    def parts(
        self, say: Any, check: bool = False
    ) -> Iterator[tuple[Any, np.ndarray, Any, np.ndarray]]:
        """Rows to train with and rows held out, of each batch."""
        first = 0
        for number, table in enumerate(self.whole):
            kept, rows = _clean(
                self.file, table, self.targets, self.features, self.given, say, first,
                self.whole.rows,
            )  # fmt: skip
            first += len(table)
            if check:
                for names, role in (self.features, "feature"), (self.targets, "target"):
                    roles.check_types(self.file, roles.select(kept, names), role)
                roles.refuse_infinite(self.file, kept, rows)
            random = np.random.default_rng((self.given["seed"], number))
            held = random.random(len(kept)) < self.share
            y = roles.target_array(kept, self.targets)
            x = roles.as_features(kept, self.features)
            if self.seen is not None:
                held &= ~_only_here(x, y, self.seen)
            yield x.filter(~held), y[~held], x.filter(held), y[held]

    def __iter__(self) -> Iterator[tuple[Any, np.ndarray]]:
        for x, y, _, _ in self.parts(silent):
            if len(y):
                yield x, y


class Seen:
    """What some rows hold: the levels of each category, the classes, and which
    columns of numbers have a value at all.

    Args:
        classify: whether the target is classes, also if it is numbers.
    """

    def __init__(self, classify: bool) -> None:
        self.classify = classify
        self.levels: dict[str, Any] = {}
        self.classes: set[Any] = set()
        self.valued: set[str] = set()

    def add(self, x: Any, y: np.ndarray) -> Seen:
        """Take rows in."""
        import pyarrow

        for name, values in roles.levels(x).items():
            before = self.levels.get(name)
            if before is not None:
                values = pyarrow.concat_arrays([before, values]).unique()
            self.levels[name] = values
        if y.ndim == 1 and (self.classify or y.dtype.kind in "Ob"):
            self.classes.update(y.tolist())
        self.valued |= {n for n in x.column_names if x[n].null_count < len(x)}
        return self


def _only_here(x: Any, y: np.ndarray, seen: Seen) -> np.ndarray:
    """bool (n,): rows with a level, a class or the only value of a column that is not
    among those seen, so that a model could learn it from these rows only."""
    only = roles.unknown_levels(x, seen.levels)
    for name in x.column_names:
        if name not in seen.valued:
            only |= np.asarray(x[name].is_valid().to_numpy(), bool)
    if y.ndim == 1 and (y.dtype.kind in "Ob" or seen.classify):
        only |= np.array([value not in seen.classes for value in y.tolist()], bool)
    return only


def _say_kept_back(file: Any, count: int, say: Any) -> None:
    if count:
        what = "whose category or class occurs in no other one"
        say(f"{file.path}: {plural(count, 'row')} {what} not held out")


def _width(x: Any) -> int:
    """Columns of the matrix that a model makes of a table."""
    found = roles.levels(x)
    return len(x.column_names) - len(found) + sum(map(len, found.values()))


def _clean(
    file: Any, table: Any, targets: list[str], features: list[str], given: Any,
    say: Any, first: int = 0, total: int | None = None,
) -> tuple[Any, np.ndarray]:  # fmt: skip
    """The rows to use, and their numbers in the file; which they are depends on
    --missing.

    Args:
        first: number of the table's first row in the file.
        total: rows of the file; the table's if None.
    """
    whole = total is None or total == len(table)
    goal = roles.select(table, targets)
    missing = roles.missing_rows(goal)
    rows = np.arange(first, first + len(table))
    if missing.all() and whole:
        raise _no_target(file, targets, len(table))
    if given["missing"] == "error":
        out = "leaving such rows out: --missing drop"
        roles.refuse_missing(file, goal, "target", first, out)
        out = "filling in or leaving such rows out: --missing impute, --missing drop"
        roles.refuse_missing(file, roles.select(table, features), "feature", first, out)
        return table, rows
    if given["missing"] == "drop":
        missing |= roles.missing_rows(roles.select(table, features))
        if missing.all() and whole:
            raise _nothing_left(file, len(table))
    if missing.any():
        why = "without a target" if given["missing"] == "impute" else "with gaps"
        say(f"{file.path}: left out {plural(int(missing.sum()), 'row')} {why}")
        return table.filter(~missing), rows[~missing]
    return table, rows


def _no_target(file: Any, targets: list[str], rows: int) -> tables.TableError:
    return tables.TableError(
        f"[read] {file.path}: there must be rows with a target. Received: "
        f"{targets[0]!r} missing in all {rows} rows. Try another target."
    )


def _nothing_left(file: Any, rows: int) -> tables.TableError:
    return tables.TableError(
        f"[read] {file.path}: there must be rows without missing values. Received: "
        f"none of {rows}. Try --missing impute, or --drop for columns that are mostly "
        "empty."
    )


def _check(
    file: Any, table: Any, targets: list[str], features: list[str], rows: np.ndarray
) -> None:
    """Refuse what cannot be features or targets."""
    roles.check_features(file, roles.select(table, features), rows)
    goal = roles.select(table, targets)
    roles.check_types(file, goal, "target")
    roles.refuse_infinite(file, goal, rows)
