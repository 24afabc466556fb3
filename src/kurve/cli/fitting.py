"""`kurve fit`: from a data file to a model, its errors and its report."""

from __future__ import annotations

import os
import shlex
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import click
import numpy as np

from kurve import tables
from kurve.assessment import as_text, assess_predictions
from kurve.cli import console, splitting
from kurve.cli.columns import telling
from kurve.cli.options import check_output, open_data
from kurve.cli.progress import show_progress
from kurve.cli.validating import Validation, validate
from kurve.core.files import write_text
from kurve.diagnosis.tables import in_command
from kurve.estimators import files
from kurve.inspection.predictions import Predictions
from kurve.report.networks import networks
from kurve.tables import roles

MAX_CLASSES = 1000
LARGEST_CLASS = 1000
"""If a target has two values, the largest value for which they are classes without
--classify."""

DIAGNOSED_ROWS = 20_000
"""Rows in which to look for what may be wrong."""

SAMPLING_SEED = 0
"""Seed of the bootstrap, so that scores of the same predictions are the same."""

ARGUMENTS = {
    "effort": "effort",
    "members": "members",
    "hidden": "hidden_layer_sizes",
    "solver": "solver",
    "activation": "activation",
    "epochs": "max_epochs",
    "alpha": "alpha",
    "batch_size": "batch_size",
    "learning_rate": "learning_rate",
    "dropout": "dropout",
    "engine": "engine",
}
"""The estimators' arguments by option."""


def fit(data: str, options: dict[str, Any]) -> None:
    """Read, train, test, write.

    Args:
        data: path of the file.
        options: options of the command.
    """
    out = options["out"] or default_out(data)
    check_output(out, (".kurve",), "--out")
    check_output(options["report_path"], (".html", ".htm"), "--report")
    if options["report_path"]:
        from kurve.report import make_report, require_packages

        require_packages("fit")
    file = open_data(data, options)
    drop = list(options["drop"] or ())
    if options["groups"] is not None:
        file.choose([options["groups"]])
        if options["features"] is None and options["groups"] not in drop:
            drop.append(options["groups"])
    targets, features = roles.choose_roles(
        file, options["targets"], options["features"], drop
    )
    say = console.say_nothing if options["quiet"] else console.say
    if "" in file.names and options["features"] is None:
        number = file.names.index("") + 1
        say(f"{file.path}: column {number} has no name: left out, as row labels")
    start = time.monotonic()
    split = splitting.read(file, targets, features, options, say)
    for note in file.notes:
        say(f"{file.path}: {note}")
    if options["test_path"]:
        test = open_data(options["test_path"], {**options, "format_": None})
        splitting.read_test(test, split, targets, features, options, say)
    if options["cv"] and split.batches is not None:
        raise click.UsageError("--cv needs all rows in memory. Try --no-chunks.")
    classify = _classify(file, split.y, targets, options, say)
    estimator = _estimator(classify, options)
    held = 0 if split.test_y is None else len(split.test_y)
    say(
        f"{file.path}: {split.rows:,} rows to train, {held:,} held out, "
        f"{console.plural(len(features), 'feature')}"
        + (f", {len(np.unique(split.y))} classes" if classify else "")
        + f"; read in {time.monotonic() - start:.2f} s"
    )
    start = time.monotonic()
    with telling(file.path, say), show_progress(options["quiet"]):
        if split.batches is None:
            estimator.fit(split.x, split.y)
        else:
            estimator.fit(split.batches)
    if not getattr(estimator, "target_names_", None):
        estimator.target_names_ = list(targets)
    seconds = time.monotonic() - start
    with _deferring_interrupts():
        files.save(estimator, out, assessed=False)
    with _naming_model(out), telling(file.path, console.say_nothing):
        say(f"trained in {seconds:.2f} s")
        say(f"kept: {'; '.join(networks(estimator))}")
        test_x, test_y = split.test_x, split.test_y
        if test_x is None:
            test_x, test_y = split.x, split.y
            say("no rows held out; errors on the training data:")
        known = Predictions(estimator, test_x)
        assessments = assess_predictions(
            known,
            test_x,
            test_y,
            targets,
            (split.x, split.y),
            options["coverage"],
            SAMPLING_SEED,
        )
        say(as_text(assessments))
        findings = None
        if options["report_path"] or not options["quiet"]:
            findings = _findings(estimator, split)
            for finding in findings:
                say(f"{finding.severity}: {finding.message} Try {finding.fix}.")
        files.save(estimator, out, assessed=True)
        validations: list[Validation] = []
        if options["cv"]:
            made = partial(_estimator, classify, options)
            validations = validate(made, split, targets, classify, options)
            for validation in validations:
                say(validation.text())
        say(f"model: {out}")
        if options["report_path"]:
            token = in_command.set(True)
            page = make_report(
                estimator,
                split.x,
                split.y,
                split.test_x,
                split.test_y,
                target=targets,
                source=os.path.basename(file.path),
                file=out,
                settings={
                    "training": f"{seconds:.2f} s",
                    **{f"folds, {v.target}": v.summary() for v in validations},
                    "seed": options["seed"],
                    "command": _command(),
                },
                seed=options["seed"],
                coverage=options["coverage"],
                assessments=assessments,
                predictions=known,
                findings=findings,
            )
            in_command.reset(token)
            write_text(options["report_path"], page)
            say(f"report: {options['report_path']}")


def _findings(estimator: Any, split: splitting.Split) -> Any:
    """What may be wrong with the data and the model."""
    x, rows = split.x, np.arange(len(split.y))
    if len(rows) > DIAGNOSED_ROWS:
        rows = np.linspace(0, len(rows) - 1, DIAGNOSED_ROWS).astype(int)
        x = x.take(rows)
    token = in_command.set(True)
    try:
        found = estimator.diagnose(x, split.y[rows])
    finally:
        in_command.reset(token)
    if getattr(estimator, "class_weight", None):
        return [each for each in found if each.name != "class_imbalance"]
    return list(found)


def _command() -> str:
    """The command line that runs now, to run it again."""
    words = click.get_current_context().find_root().obj or []
    return shlex.join(["kurve", *words])


@contextmanager
def _deferring_interrupts() -> Iterator[None]:
    """Defer Ctrl-C until the file is on disk."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _: received.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if received:
        raise KeyboardInterrupt


@contextmanager
def _naming_model(out: str) -> Iterator[None]:
    """Add the path of the trained model to an error."""
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


def _classify(
    file: Any, y: np.ndarray, targets: list[str], options: Any, say: Any
) -> bool:
    """Whether the target is a class: text, true and false, or one of two whole
    numbers."""
    if options["classify"] and options["regress"]:
        raise click.UsageError("--classify and --regress exclude each other. Try one.")
    is_label = y.dtype.kind in "Ob"  # strings or booleans
    if options["regress"] and is_label:
        raise tables.TableError(
            f"[read] {file.path}: column {targets[0]!r} must hold numbers for "
            f"--regress. Received: {y[0]!r}. Try leaving out --regress."
        )
    if not options["classify"] and not is_label:
        asked = options["regress"] or options["likelihood"] or options["interval"]
        values = () if asked or y.ndim > 1 else tuple(np.unique(y[:1000]).tolist())
        if (
            len(values) != 2
            or len(y) < 20
            or any(v % 1 or abs(v) > LARGEST_CLASS for v in values)
        ):
            return False
        if not np.isin(y, values).all():
            return False
        say(
            f"{file.path}: {targets[0]!r} holds only {values[0]:g} and {values[1]:g}, "
            "so it is learned as two classes; --regress learns a number"
        )
    if len(targets) > 1:
        raise click.UsageError(
            f"there can be only one column of classes. Received: {', '.join(targets)}. "
            f"Try --target {targets[0]}."
        )
    count = len(np.unique(y))
    if count < 2 or count > min(MAX_CLASSES, max(len(y) // 2, 2)):
        rule = "at least 2 different" if count < 2 else "far fewer different"
        fix = "another target" if is_label else "leaving out --classify"
        raise tables.TableError(
            f"[read] {file.path}: column {targets[0]!r} must hold {rule} values to be "
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


def _estimator(classify: bool, options: Any) -> Any:
    from kurve.estimators import Classifier, Regressor

    names = dict(ARGUMENTS)
    if not classify:
        names |= {"likelihood": "likelihood", "interval": "interval"}
    elif options["likelihood"] or options["interval"]:
        raise click.UsageError(
            "--likelihood and --interval are for numbers, not classes."
        )
    arguments = {
        argument: options[option]
        for option, argument in names.items()
        if options[option] is not None
    }
    arguments["missing"] = "impute" if options["missing"] == "impute" else "error"
    if options["class_weight"]:
        if not classify:
            raise click.UsageError("--class-weight is for classes, not numbers.")
        arguments["class_weight"] = options["class_weight"]
    estimator = Classifier if classify else Regressor
    return estimator(random_state=options["seed"], **arguments)
