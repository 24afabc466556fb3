"""`kurve predict` and `kurve evaluate`: apply a model file to a data file."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from kurve import tables
from kurve.cli import console, memory
from kurve.cli.columns import (
    AS_IN_TRAINING,
    ModelColumns,
    first_unknown,
    telling,
    unknown_error,
)
from kurve.cli.options import check_output, open_data
from kurve.errors import TableError
from kurve.estimators import load
from kurve.tables import roles

if TYPE_CHECKING:
    import pyarrow

    from kurve.assessment import Assessment


def predict(model: str, data: str, options: dict[str, Any]) -> None:
    """Write the predictions for the rows of a file.

    A row with a level unknown to the model is predicted as one with an average level,
    with a note on standard error; with `--unknown empty` it gets empty cells, and with
    `--unknown error` the file is rejected.

    Args:
        model, data: paths of the files.
        options: options of the command.
    """
    out = options["out"]
    endings = (".csv", ".tsv", ".parquet", ".feather")
    check_output(out, endings, "--out", model, data)
    file = open_data(data, options)
    estimator = load(model)
    _check_supported(model, estimator, options)
    keep = _columns_to_keep(file, estimator, options)
    model_columns = ModelColumns(estimator, file)
    columns = list(dict.fromkeys([*model_columns.used, *keep]))
    exact = [name for name in keep if name not in model_columns.texts]
    chunks = options["chunks"]
    if chunks is None:
        chunks = not memory.fits(file, columns)
    parts: Iterable[pyarrow.Table]
    if chunks:
        parts = tables.Batches(file, columns, model_columns.texts, exact)
    else:
        parts = [file.read(columns, model_columns.texts, exact)]
    format = tables.format_of(out) if out else "csv"
    unknown_rows = _UnknownRows(model_columns, options["unknown"] == "error")
    first = 0
    with _output(out) as sink, telling(file.path, console.say_nothing):
        writer: Any = None
        for part in parts:
            roles.check_rows(file, len(part))
            x = model_columns.features_of(part, first)
            unknown = unknown_rows.add(x, range(first, first + len(x)))
            first += len(part)
            empty = unknown & (options["unknown"] == "empty")
            result = _predictions(model_columns, part, x, empty, keep, options)
            if writer is None:
                writer = tables.writer(sink, result.schema, format)
            writer.write_table(result)
        if writer is None:
            roles.check_rows(file, 0)
        if options["unknown"] == "empty":
            unknown_rows.refuse_if_all(first)
        writer.close()
    if options["unknown"] == "empty":
        unknown_rows.report("no prediction")
    else:
        unknown_rows.report("been predicted with an average level")


def evaluate(model: str, data: str, options: dict[str, Any]) -> dict[str, Assessment]:
    """The model's errors on a file. Rows with unknown levels are predicted, with a note
    on standard error.

    Args:
        model, data: paths of the files.
        options: options of the command.
    """
    from kurve.assessment import assess

    file = open_data(data, options)
    estimator = load(model)
    targets = options["targets"] or getattr(estimator, "target_names_", None)
    if not targets:
        raise click.UsageError("the model file names no target. Try --target y.")
    model_columns = ModelColumns(estimator, file)
    targets = file.choose(targets, "target")
    if len(targets) != estimator.n_outputs_:
        raise click.UsageError(
            f"the model has {console.plural(estimator.n_outputs_, 'target')}. "
            f"Received: --target {','.join(targets)}."
        )
    classes = getattr(estimator, "classes_", None)
    texts = [*model_columns.texts]
    if classes is not None and classes.dtype.kind in "OU":
        texts += [name for name in targets if name not in texts]
    table = file.read(list(dict.fromkeys([*model_columns.used, *targets])), texts)
    roles.check_rows(file, len(table))
    missing = roles.missing_rows(roles.select(table, targets))
    if missing.all():
        raise TableError(
            f"[read] {file.path}: there must be rows with a target. Received: "
            f"{targets[0]!r} missing in all {len(table)} rows. Try another file."
        )
    if missing.any():
        rows = console.plural(int(missing.sum()), "row")
        console.print_error(f"kurve: {file.path}: left out {rows} without a target.")
    places = np.flatnonzero(~missing)
    target = roles.select(table, targets).take(places)
    for i, name in enumerate(targets):
        if name not in texts:
            values = file.numbers(name, target[name], AS_IN_TRAINING, times=True)
            target = target.set_column(i, name, values)
    roles.refuse_infinite(file, target, places)
    x = model_columns.features_of(table).take(places)
    y = roles.target_array(target, targets)
    unknown_rows = _UnknownRows(model_columns)
    unknown_rows.add(x, places)
    with telling(file.path, console.say_nothing):
        assessments = assess(estimator, x, y, targets, coverage=options["coverage"])
    unknown_rows.report("been predicted with an average level")
    return assessments


class _UnknownRows:
    """Rows with levels unknown to the model: where the first one is and how many there
    are."""

    def __init__(self, columns: ModelColumns, refuse: bool = False) -> None:
        self.columns, self.refuse = columns, refuse
        self.count = 0
        self.error: TableError | None = None  # for the first such row
        self.first = ""

    def add(self, x: pyarrow.Table, rows: Any) -> np.ndarray:
        """A mask of the unknown rows; `rows` are the indices of the table's rows in the
        file."""
        unknown = self.columns.unknown(x)
        if unknown.any():
            file, levels = self.columns.file, self.columns.levels
            if self.error is None:
                self.error = unknown_error(file, x, levels, rows)
                where, column, value, _ = first_unknown(file, x, levels, rows)
                self.first = f"{where}: column {column!r} holds {value!r}"
            if self.refuse:
                raise self.error
            self.count += int(unknown.sum())
        return unknown

    def refuse_if_all(self, rows: int) -> None:
        """Reject a file without any known row."""
        if self.error is not None and self.count == rows:
            raise self.error

    def report(self, consequence: str) -> None:
        """Print the number of such rows and the consequence for them."""
        if self.count:
            have = "has" if self.count == 1 else "have"
            console.print_error(
                f"kurve: {self.first}, which was not in the training data. "
                f"{console.plural(self.count, 'such row')} {have} {consequence}."
            )


def _check_supported(path: str, estimator: Any, options: dict[str, Any]) -> None:
    """Reject options that the model does not support."""
    classifies = hasattr(estimator, "classes_")
    for option, is_given, unsupported in (
        ("--std", options["std"], classifies),
        ("--interval", options["interval"] is not None, classifies),
        ("--probabilities", options["probabilities"], not classifies),
    ):
        if is_given and unsupported:
            what = "classes" if classifies else "numbers"
            raise click.UsageError(f"{path} predicts {what}, which have no {option}.")


def _columns_to_keep(
    file: tables.TableFile, estimator: Any, options: dict[str, Any]
) -> list[str]:
    """The columns to copy, whose names must differ from those of the predictions.

    Raises:
        TableError: unknown column.
        UsageError: two output columns would have the same name.
    """
    keep = file.choose(options["keep"]) if options["keep"] else []
    predicted = _names(estimator, options)
    for name in keep:
        if name in predicted or keep.count(name) > 1:
            twice = "a name of the predictions" if name in predicted else "twice"
            raise click.UsageError(
                f"--keep must give each column of the output a different name. "
                f"Received: {name!r}, {twice}. Try another name in {file.path}."
            )
    return keep


def _names(estimator: Any, options: dict[str, Any]) -> list[str]:
    """Column names of the predictions."""
    names = []
    if hasattr(estimator, "classes_"):
        names.append("prediction")
        if options["probabilities"]:
            names += [f"probability_{name}" for name in estimator.classes_.tolist()]
    else:
        for suffix in _suffixes(estimator):
            names.append(f"prediction{suffix}")
            names += [f"std{suffix}"] if options["std"] else []
            if options["interval"] is not None:
                names += [f"low{suffix}", f"high{suffix}"]
    return [*names, "extrapolates"] if options["extrapolates"] else names


def _suffixes(estimator: Any) -> list[str]:
    """The suffixes of the column names, one per target."""
    count = estimator.n_outputs_
    targets = getattr(estimator, "target_names_", None) or []
    if count == 1:
        return [""]
    return [f"_{targets[k] if len(targets) == count else k + 1}" for k in range(count)]


def _predictions(
    columns: ModelColumns,
    part: pyarrow.Table,
    x: pyarrow.Table,
    unknown: np.ndarray,
    keep: list[str],
    options: dict[str, Any],
) -> pyarrow.Table:
    """The output columns for some rows; unknown rows only have the kept columns."""
    import pyarrow

    estimator, count, known = columns.estimator, len(x), x
    arrays: list[np.ndarray] = []
    if hasattr(estimator, "classes_"):
        p = estimator.predict_proba(known)
        classes = np.asarray(estimator.classes_)
        arrays.append(classes[p.argmax(axis=1)])
        if options["probabilities"]:
            arrays += list(p.T)
    else:
        std: Any = None
        if options["std"]:
            predicted, std = estimator.predict(known, return_std=True)
            std = np.asarray(std).reshape(count, -1)
        else:
            predicted = estimator.predict(known)
        predicted = np.asarray(predicted).reshape(count, -1)
        bounds: Any = None
        if options["interval"] is not None:
            bounds = estimator.predict_interval(known, coverage=options["interval"])
            bounds = np.asarray(bounds).reshape(count, -1, 2)
        for k in range(predicted.shape[1]):
            arrays.append(predicted[:, k])
            if std is not None:
                arrays.append(std[:, k])
            if bounds is not None:
                arrays += [bounds[:, k, 0], bounds[:, k, 1]]
    predictions = [pyarrow.array(values, mask=unknown) for values in arrays]
    if options["extrapolates"]:
        outside = np.asarray(estimator.extrapolates(x), bool)
        predictions.append(pyarrow.array(outside))
    names = _names(estimator, options)
    copied = [part[name] for name in keep]
    return pyarrow.table([*copied, *predictions], names=[*keep, *names])


def _output(path: str | None) -> AbstractContextManager[Any]:
    """The destination of predictions: standard output, or a file created atomically."""
    if path is not None:
        from kurve.core.files import replacing

        return replacing(path)
    return console.standard_output()
