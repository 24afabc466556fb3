"""`kurve fit`: from a file to a model, its errors and its report."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from kurve import roles, tables
from kurve.assessment import as_text, assess
from kurve.cli.options import check_output, fits_into_memory, open_data
from kurve.cli.watching import watching
from kurve.cli.words import say as say_aloud
from kurve.estimators import files
from kurve.files import write_text

if TYPE_CHECKING:
    import pyarrow

MAX_CLASSES = 1000
REPORT_ROWS = 100_000
"""Rows of a file in pieces that are held in memory, for the test and for the report."""


@dataclass
class Split:
    """Rows to train with and rows held out; of a file in pieces, `x` and `y` are those
    of the first piece, and `batches` gives all."""

    x: pyarrow.Table
    y: np.ndarray
    test_x: pyarrow.Table | None
    test_y: np.ndarray | None
    rows: int
    batches: Any = None


def fit(data: str, given: dict[str, Any]) -> None:
    """Read, train, test, write.

    Args:
        data: the file's name.
        given: the command's options.
    """
    out = given["out"] or default_out(data)
    check_output(out, (".kurve",), "--out")
    check_output(given["report_path"], (".html", ".htm"), "--report")
    if given["report_path"]:
        from kurve.report import make_report, require_matplotlib

        require_matplotlib("fit")
    if not 0.0 <= given["holdout"] < 1.0:
        raise click.UsageError(
            f"--holdout must be at least 0 and below 1. Received: {given['holdout']}."
        )
    options = dict(given)
    file = open_data(data, given)
    targets, features = roles.choose_roles(
        file, given["targets"], given["features"], given["drop"] or ()
    )
    say = _silent if given["quiet"] else say_aloud
    chunks = given["chunks"]
    if chunks is None:
        chunks = not fits_into_memory(data)
    begin = time.monotonic()
    read = _in_pieces if chunks else _as_a_whole
    split = read(file, targets, features, given, say)
    if given["test_path"]:
        _read_test(split, targets, features, given, options)
    classify = _classify(file, split.y, targets, given)
    estimator = _estimator(classify, given)
    held = 0 if split.test_y is None else len(split.test_y)
    say(
        f"{file.path}: {split.rows:,} rows to train, {held:,} held out, "
        f"{_plural(len(features), 'feature')}"
        + (f", {len(np.unique(split.y))} classes" if classify else "")
        + f"; read in {time.monotonic() - begin:.2f} s"
    )
    begin = time.monotonic()
    with watching(estimator, given["quiet"]):
        if split.batches is None:
            estimator.fit(split.x, split.y)
        else:
            estimator.fit(split.batches)
    if not getattr(estimator, "target_names_", None):
        estimator.target_names_ = list(targets)
    seconds = time.monotonic() - begin
    with _undisturbed():
        files.save(estimator, out, assessed=False)
    with _kept(out):
        say(f"trained in {seconds:.2f} s")
        test_x, test_y = split.test_x, split.test_y
        if test_x is None:
            test_x, test_y = split.x, split.y
            say("no rows held out; errors on the training data:")
        found = assess(
            estimator, test_x, test_y, targets, (split.x, split.y), given["coverage"]
        )
        say(as_text(found))
        files.save(estimator, out, assessed=True)
        say(f"model: {out}")
        if given["report_path"]:
            page = make_report(
                estimator, split.x, split.y, split.test_x, split.test_y,
                target=targets, source=os.path.basename(file.path), file=out,
                settings={"training": f"{seconds:.2f} s", "seed": given["seed"]},
                seed=given["seed"], coverage=given["coverage"], assessments=found,
            )  # fmt: skip
            write_text(given["report_path"], page)
            say(f"report: {given['report_path']}")


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ctrl-C waits until what is written is on the disk."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt


@contextmanager
def _kept(out: str) -> Iterator[None]:
    """Whatever ends the work now, the message says where the model is."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"The trained model is in {out!r}.")
        raise


def default_out(data: str) -> str:
    """data.csv.gz -> data.kurve, in the current folder."""
    if data == tables.STANDARD_INPUT:
        return "model.kurve"
    name = os.path.basename(data)
    for ending in (".gz", ".bz2", ".zst", *tables.FORMATS):
        if name.lower().endswith(ending):
            name = name[: -len(ending)]
    return f"{name or 'model'}.kurve"


# Reading


def _as_a_whole(
    file: Any, targets: list[str], features: list[str], given: Any, say: Any
) -> Split:
    table = file.read([*features, *targets])
    roles.check_rows(file, len(table))
    kept = _clean(file, table, targets, features, given, say)
    roles.check_features(file, roles.select(kept, features))
    y = roles.target_array(kept, targets)
    x = roles.select(kept, features)
    count = 0 if given["test_path"] else round(given["holdout"] * len(y))
    if count == 0 or len(y) - count < 2:
        return Split(x, y, None, None, len(y))
    order = np.random.default_rng(given["seed"]).permutation(len(y))
    test, train = np.sort(order[:count]), np.sort(order[count:])
    return Split(x.take(train), y[train], x.take(test), y[test], len(train))


def _in_pieces(
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
    rows = kept = 0
    for train_x, train_y, test_x, test_y in pieces.parts(say):
        rows += len(train_y)
        tests.append(test_x)
        truths.append(test_y)
        room = REPORT_ROWS - kept
        if room > 0:
            x.append(train_x.slice(0, room))
            y.append(train_y[:room])
            kept += len(y[-1])
    import pyarrow

    head = pyarrow.concat_tables(x)
    roles.check_features(file, head)
    test = pyarrow.concat_tables(tests)
    held = len(test) > 0
    return Split(
        head, np.concatenate(y), test if held else None,
        np.concatenate(truths) if held else None, rows, pieces,
    )  # fmt: skip


class Pieces:
    """Batches (X, y) of the rows to train with, again and again."""

    def __init__(
        self, file: Any, whole: tables.Batches, targets: list[str],
        features: list[str], given: Any, share: float,
    ) -> None:  # fmt: skip
        self.file, self.whole, self.given, self.share = file, whole, given, share
        self.targets, self.features = targets, features

    def parts(self, say: Any) -> Iterator[tuple[Any, np.ndarray, Any, np.ndarray]]:
        """Rows to train with and rows held out, of each batch."""
        first = 0
        for number, table in enumerate(self.whole):
            kept = _clean(
                self.file, table, self.targets, self.features, self.given, say, first
            )
            first += len(table)
            random = np.random.default_rng((self.given["seed"], number))
            held = random.random(len(kept)) < self.share
            y = roles.target_array(kept, self.targets)
            x = roles.select(kept, self.features)
            yield x.filter(~held), y[~held], x.filter(held), y[held]

    def __iter__(self) -> Iterator[tuple[Any, np.ndarray]]:
        for x, y, _, _ in self.parts(_silent):
            if len(y):
                yield x, y


def _clean(
    file: Any, table: Any, targets: list[str], features: list[str], given: Any,
    say: Any, first: int = 0,
) -> Any:  # fmt: skip
    """The rows to use; which they are depends on --missing."""
    goal = roles.select(table, targets)
    missing = roles.missing_rows(goal)
    if missing.all():
        raise tables.TableError(
            f"[read] {file.path}: there must be rows with a target. Received: "
            f"{targets[0]!r} missing in all {len(table)} rows. Try another target."
        )
    if given["missing"] == "error":
        out = "leaving such rows out: --missing drop"
        roles.refuse_missing(file, goal, "target", first, out)
        out = "filling in or leaving such rows out: --missing impute, --missing drop"
        roles.refuse_missing(file, roles.select(table, features), "feature", first, out)
        return table
    if given["missing"] == "drop":
        missing |= roles.missing_rows(roles.select(table, features))
        if missing.all():
            raise tables.TableError(
                f"[read] {file.path}: there must be rows without missing values. "
                f"Received: none of {len(table)}. Try --missing impute, or --drop for "
                "columns that are mostly empty."
            )
    if missing.any():
        why = "without a target" if given["missing"] == "impute" else "with gaps"
        say(f"{file.path}: left out {_plural(int(missing.sum()), 'row')} {why}")
        return table.filter(~missing)
    return table


def _read_test(
    split: Split, targets: list[str], features: list[str], given: Any, options: Any
) -> None:
    """Take the held-out rows from a file of their own."""
    options = {**options, "format_": None}
    file = open_data(given["test_path"], options)
    columns = [*file.choose(features, "feature"), *file.choose(targets, "target")]
    table = file.read(columns)
    roles.check_rows(file, len(table))
    table = _clean(file, table, targets, features, given, _silent)
    split.test_x = roles.select(table, features)
    split.test_y = roles.target_array(table, targets)


def _classify(file: Any, y: np.ndarray, targets: list[str], given: Any) -> bool:
    """Whether the target is classes."""
    texts = y.dtype.kind in "Ob"
    classify = bool(given["classify"] or texts)
    if not classify:
        return False
    if len(targets) > 1:
        raise click.UsageError(
            f"classes must be one column. Received: {', '.join(targets)}. "
            f"Try --target {targets[0]}."
        )
    count = len(np.unique(y))
    if count < 2 or count > min(MAX_CLASSES, max(len(y) // 2, 2)):
        few = "at least 2 different" if count < 2 else "far fewer different"
        fix = "another target" if texts else "leaving out --classify"
        raise tables.TableError(
            f"[read] {file.path}: column {targets[0]!r} must hold {few} values to be "
            f"classes. Received: {count}. Try {fix}."
        )
    if y.dtype.kind == "f" and not np.array_equal(y, np.round(y)):
        row = int(np.argmax(y != np.round(y)))
        raise tables.TableError(
            f"[read] {file.path}: column {targets[0]!r} must hold whole numbers or "
            f"text to be classes. Received: {y[row].item()!r}. Try leaving out "
            "--classify."
        )
    return True


def _estimator(classify: bool, given: Any) -> Any:
    from kurve.estimators import Classifier, Regressor

    names = {
        "members": "members", "hidden": "hidden_layer_sizes", "solver": "solver",
        "activation": "activation", "epochs": "max_epochs", "alpha": "alpha",
        "batch_size": "batch_size", "learning_rate": "learning_rate",
        "dropout": "dropout",
    }  # fmt: skip
    if not classify:
        names |= {"likelihood": "likelihood", "interval": "interval"}
    elif given["likelihood"] or given["interval"]:
        raise click.UsageError(
            "--likelihood and --interval are for numbers, not classes."
        )
    chosen = {
        argument: given[option]
        for option, argument in names.items()
        if given[option] is not None
    }
    if given["missing"] == "impute":
        chosen["missing"] = "impute"
    make = Classifier if classify else Regressor
    return make(random_state=given["seed"], **chosen)


# Saying


def _plural(count: int, what: str) -> str:
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def _silent(text: str) -> None:
    pass
