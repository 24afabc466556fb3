"""`kurve fit`: from a file to a model, its errors and its report."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
import numpy as np

from kurve import tables
from kurve.assessment import as_text, assess
from kurve.cli import splitting
from kurve.cli.options import check_output, open_data
from kurve.cli.progress import watching
from kurve.cli.words import plural, silent
from kurve.cli.words import say as say_aloud
from kurve.core.files import write_text
from kurve.estimators import files
from kurve.tables import roles

MAX_CLASSES = 1000


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
        from kurve.report import make_report, require_packages

        require_packages("fit")
    if not 0.0 <= given["holdout"] < 1.0:
        raise click.UsageError(
            f"--holdout must be at least 0 and below 1. Received: {given['holdout']}."
        )
    options = dict(given)
    file = open_data(data, given)
    targets, features = roles.choose_roles(
        file, given["targets"], given["features"], given["drop"] or ()
    )
    say = silent if given["quiet"] else say_aloud
    begin = time.monotonic()
    split = splitting.read(file, targets, features, given, say)
    if given["test_path"]:
        test = open_data(given["test_path"], {**options, "format_": None})
        splitting.read_test(test, split, targets, features, given, say)
    classify = _classify(file, split.y, targets, given)
    estimator = _estimator(classify, given)
    held = 0 if split.test_y is None else len(split.test_y)
    say(
        f"{file.path}: {split.rows:,} rows to train, {held:,} held out, "
        f"{plural(len(features), 'feature')}"
        + (f", {len(np.unique(split.y))} classes" if classify else "")
        + f"; read in {time.monotonic() - begin:.2f} s"
    )
    begin = time.monotonic()
    with watching(given["quiet"]):
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
