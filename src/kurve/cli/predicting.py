"""`kurve predict` and `kurve evaluate`: a model's file on a file of data."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from kurve import tables
from kurve.cli import memory, words
from kurve.cli.known import LEARNT, Known, first_unknown, unknown_error
from kurve.cli.options import check_output, open_data
from kurve.errors import TableError
from kurve.estimators import load
from kurve.tables import roles

if TYPE_CHECKING:
    import pyarrow

    from kurve.assessment import Assessment


def predict(model: str, data: str, given: dict[str, Any]) -> None:
    """Write the predictions for the rows of a file.

    A row with a level that the model does not know has empty cells, with a word on
    standard error; if no row can be predicted, or with `--unknown error`, the file is
    refused.

    Args:
        model, data: names of the files.
        given: the command's options.
    """
    out = given["out"]
    endings = (".csv", ".tsv", ".parquet", ".feather")
    check_output(out, endings, "--out", model, data)
    file = open_data(data, given)
    estimator = load(model)
    _check_abilities(model, estimator, given)
    keep = _kept(file, estimator, given)
    known = Known(estimator, file)
    columns = list(dict.fromkeys([*known.features, *keep]))
    exact = [name for name in keep if name not in known.texts]
    chunks = given["chunks"]
    if chunks is None:
        chunks = not memory.fits(file, columns)
    parts: Iterable[pyarrow.Table]
    if chunks:
        parts = tables.Batches(file, columns, known.texts, exact)
    else:
        parts = [file.read(columns, known.texts, exact)]
    format = tables.format_of(out) if out else "csv"
    strange = _Strange(known, given["unknown"] == "error")
    first = 0
    with _output(out) as sink:
        writer: Any = None
        for part in parts:
            roles.check_rows(file, len(part))
            x = known.features_of(part, first)
            unknown = strange.add(x, first)
            first += len(part)
            result = _predictions(known, part, x, unknown, keep, given)
            if writer is None:
                writer = tables.writer(sink, result.schema, format)
            writer.write_table(result)
        if writer is None:
            roles.check_rows(file, 0)
        strange.refuse_all(first)
        writer.close()
    strange.tell("no prediction")


def evaluate(model: str, data: str, given: dict[str, Any]) -> dict[str, Assessment]:
    """How good the model is on a file. Rows with levels that it does not know are left
    out, with a word on standard error.

    Args:
        model, data: names of the files.
        given: the command's options.
    """
    from kurve.assessment import assess

    file = open_data(data, given)
    estimator = load(model)
    targets = given["targets"] or getattr(estimator, "target_names_", None)
    if not targets:
        raise click.UsageError("the model does not know its target. Try --target y.")
    known = Known(estimator, file)
    targets = file.choose(targets, "target")
    if len(targets) != estimator.n_outputs_:
        raise click.UsageError(
            f"the model has {words.plural(estimator.n_outputs_, 'target')}. Received: "
            f"--target {','.join(targets)}."
        )
    classes = getattr(estimator, "classes_", None)
    texts = [*known.texts]
    if classes is not None and classes.dtype.kind in "OU":
        texts += [name for name in targets if name not in texts]
    table = file.read(list(dict.fromkeys([*known.features, *targets])), texts)
    roles.check_rows(file, len(table))
    truth = roles.select(table, targets)
    roles.refuse_missing(file, truth, "target")
    for i, name in enumerate(targets):
        if name not in texts:
            values = file.numbers(name, truth[name], LEARNT)
            truth = truth.set_column(i, name, values)
    roles.refuse_infinite(file, truth)
    x, y = known.features_of(table), roles.target_array(truth, targets)
    strange = _Strange(known)
    unknown = strange.add(x, 0)
    strange.refuse_all(len(x))
    if unknown.any():
        x, y = x.filter(~unknown), y[~unknown]
    found = assess(estimator, x, y, targets, coverage=given["coverage"])
    strange.tell("been left out")
    return found


class _Strange:
    """Rows with levels that the model does not know: where the first one is and how
    many there are."""

    def __init__(self, known: Known, refuse: bool = False) -> None:
        self.known, self.refuse = known, refuse
        self.count = 0
        self.first: TableError | None = None
        self.text = ""

    def add(self, x: pyarrow.Table, first: int) -> np.ndarray:
        """Which rows of a table, whose first one has that number, are strange."""
        unknown = self.known.unknown(x)
        if unknown.any():
            rows = range(first, first + len(x))
            file, levels = self.known.file, self.known.levels
            if self.first is None:
                self.first = unknown_error(file, x, levels, rows)
                where, column, value, _ = first_unknown(file, x, levels, rows)
                self.text = f"{where}: column {column!r} holds {value!r}"
            if self.refuse:
                raise self.first
            self.count += int(unknown.sum())
        return unknown

    def refuse_all(self, rows: int) -> None:
        """Refuse a file none of whose rows the model knows."""
        if self.first is not None and self.count == rows:
            raise self.first

    def tell(self, what: str) -> None:
        """Say how many rows have what."""
        if self.count:
            have = "has" if self.count == 1 else "have"
            words.complain(
                f"kurve: {self.text}, which was not in the training data. "
                f"{words.plural(self.count, 'such row')} {have} {what}."
            )


def _check_abilities(path: str, estimator: Any, given: dict[str, Any]) -> None:
    """Refuse options that the model has no answer to."""
    classifies = hasattr(estimator, "classes_")
    for option, is_given, wrong in (
        ("--std", given["std"], classifies),
        ("--interval", given["interval"] is not None, classifies),
        ("--probabilities", given["probabilities"], not classifies),
    ):
        if is_given and wrong:
            what = "classes" if classifies else "numbers"
            raise click.UsageError(f"{path} predicts {what}, which have no {option}.")


def _kept(file: tables.TableFile, estimator: Any, given: dict[str, Any]) -> list[str]:
    """The columns to copy, none of which has a name that the predictions have.

    Raises:
        TableError: no such column.
        UsageError: two columns of the output would have one name.
    """
    keep = file.choose(given["keep"]) if given["keep"] else []
    own = _names(estimator, given)
    for name in keep:
        if name in own or keep.count(name) > 1:
            twice = "which the predictions have, too" if name in own else "twice"
            raise click.UsageError(
                f"--keep must give each column of the output a name of its own. "
                f"Received: {name!r}, {twice}. Try another name in {file.path}."
            )
    return keep


def _names(estimator: Any, given: dict[str, Any]) -> list[str]:
    """Names of the columns that the predictions have."""
    names = []
    if hasattr(estimator, "classes_"):
        names.append("prediction")
        if given["probabilities"]:
            names += [f"probability_{name}" for name in estimator.classes_.tolist()]
    else:
        for end in _ends(estimator):
            names.append(f"prediction{end}")
            names += [f"std{end}"] if given["std"] else []
            if given["interval"] is not None:
                names += [f"low{end}", f"high{end}"]
    return [*names, "extrapolates"] if given["extrapolates"] else names


def _ends(estimator: Any) -> list[str]:
    """What follows the names of columns, for each target."""
    count = estimator.n_outputs_
    targets = getattr(estimator, "target_names_", None) or []
    if count == 1:
        return [""]
    return [f"_{targets[k] if len(targets) == count else k + 1}" for k in range(count)]


def _predictions(
    known: Known,
    part: pyarrow.Table,
    x: pyarrow.Table,
    unknown: np.ndarray,
    keep: list[str],
    given: dict[str, Any],
) -> pyarrow.Table:
    """The columns to write for some rows; none but those to keep for unknown rows."""
    import pyarrow

    estimator, count = known.estimator, len(x)
    filled = known.filled(x)
    found: list[np.ndarray] = []
    if hasattr(estimator, "classes_"):
        p = estimator.predict_proba(filled)
        classes = np.asarray(estimator.classes_)
        found.append(classes[p.argmax(axis=1)])
        if given["probabilities"]:
            found += list(p.T)
    else:
        deviation: Any = None
        if given["std"]:
            predicted, deviation = estimator.predict(filled, return_std=True)
            deviation = np.asarray(deviation).reshape(count, -1)
        else:
            predicted = estimator.predict(filled)
        predicted = np.asarray(predicted).reshape(count, -1)
        bounds: Any = None
        if given["interval"] is not None:
            bounds = estimator.predict_interval(filled, coverage=given["interval"])
            bounds = np.asarray(bounds).reshape(count, -1, 2)
        for k in range(predicted.shape[1]):
            found.append(predicted[:, k])
            if deviation is not None:
                found.append(deviation[:, k])
            if bounds is not None:
                found += [bounds[:, k, 0], bounds[:, k, 1]]
    columns = [pyarrow.array(values, mask=unknown) for values in found]
    if given["extrapolates"]:
        columns.append(pyarrow.array(np.asarray(estimator.extrapolates(x), bool)))
    names = _names(estimator, given)
    kept = [part[name] for name in keep]
    return pyarrow.table([*kept, *columns], names=[*keep, *names])


def _output(path: str | None) -> AbstractContextManager[Any]:
    """Where predictions go: a file that is there once it is whole, or stdout."""
    if path is not None:
        from kurve.core.files import replacing

        return replacing(path)
    return words.standard_output()
