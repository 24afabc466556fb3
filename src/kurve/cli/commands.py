"""The commands: each parses, calls and prints."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from kurve.cli import words
from kurve.cli.options import (
    check_output,
    fits_into_memory,
    names,
    open_data,
    reading,
    share,
    tested_coverage,
    widths,
)

if TYPE_CHECKING:
    import pyarrow

    from kurve.tables import TableFile

EPILOG = "Exit codes: 0 good, 2 wrong usage or data, 130 Ctrl-C, 1 a fault of Kurve."


def _print_version(context: Any, option: Any, value: bool) -> None:
    if value:
        from kurve import __version__

        words.say(f"kurve {__version__}")
        context.exit()


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False,
    callback=_print_version, help="Show the version and exit.",
)  # fmt: skip
def kurve() -> None:
    """Learn functions from tables of numbers."""


@kurve.command(epilog=EPILOG)
@click.argument("data")
@click.option(
    "--target",
    "-t",
    "targets",
    required=True,
    callback=names,
    help="Column to learn, or several: y1,y2.",
)
@click.option(
    "--features",
    callback=names,
    help="Columns to learn from: a,b; by default all others.",
)
@click.option("--drop", callback=names, help="Columns to leave out: id,name.")
@click.option("--out", "-o", help="Where to save the model; by DATA's name.")
@click.option("--report", "report_path", help="Write a report, one HTML file.")
@click.option(
    "--classify",
    is_flag=True,
    help="Learn classes. Without it, text and true/false are classes.",
)
@click.option(
    "--holdout",
    type=float,
    default=0.1,
    show_default=True,
    help="Share of the rows that is kept for the test; 0 for none.",
)
@click.option("--test", "test_path", help="File of rows for the test.")
@click.option(
    "--missing",
    type=click.Choice(["error", "drop", "impute"]),
    default="error",
    show_default=True,
    help="What to do with rows that lack a value.",
)
@click.option(
    "--members",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Networks that train side by side.",
)
@click.option("--hidden", callback=widths, help="Widths of the hidden layers: 64,64.")
@click.option("--activation", help="Of the hidden layers.")
@click.option("--solver", help="auto, lm, lbfgs, adam, ...")
@click.option(
    "--likelihood",
    type=click.Choice(["auto", "none", "gaussian", "quantile"]),
    help="What the network gives besides a mean.",
)
@click.option(
    "--interval",
    type=click.Choice(["auto", "gaussian", "quantile", "conformal", "cv+"]),
    help="How intervals are made.",
)
@click.option("--epochs", type=click.IntRange(1), help="Most passes over the data.")
@click.option("--batch-size", type=click.IntRange(1), help="Rows in a step.")
@click.option(
    "--learning-rate",
    type=click.FloatRange(0, min_open=True),
    help="Highest learning rate.",
)
@click.option("--alpha", type=click.FloatRange(0), help="L2 penalty on the weights.")
@click.option(
    "--dropout",
    type=click.FloatRange(0, 1, max_open=True),
    help="Share of units left out in training.",
)
@tested_coverage
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Of the weights, the order of rows and the rows held out.",
)
@click.option(
    "--chunks/--no-chunks",
    default=None,
    help="Read in pieces; by default where the file is larger than memory.",
)
@click.option("--quiet", "-q", is_flag=True, help="Say nothing but errors.")
@reading
def fit(data: str, **given: Any) -> None:
    """Learn a function from DATA (CSV, TSV, Parquet, Feather; - for standard input)."""
    from kurve.cli.fitting import fit as run

    run(data, given)


@kurve.command(epilog=EPILOG)
@click.argument("model")
@click.argument("data")
@click.option("--out", "-o", help="File for the predictions; standard output if none.")
@click.option("--std", is_flag=True, help="With their standard deviations.")
@click.option(
    "--interval",
    type=float,
    callback=share,
    help="With intervals that hold this share of the truth: 0.9.",
)
@click.option("--probabilities", is_flag=True, help="With that of every class.")
@click.option(
    "--extrapolates",
    is_flag=True,
    help="With true where a row is outside the training data.",
)
@click.option("--keep", callback=names, help="Columns of DATA to copy: id,name.")
@click.option(
    "--chunks/--no-chunks",
    default=None,
    help="Read in pieces; by default where the file is larger than memory.",
)
@reading
def predict(model: str, data: str, **given: Any) -> None:
    """Predict for the rows of DATA with the model in the file MODEL."""
    from kurve import roles, tables

    out = given["out"]
    check_output(out, (".csv", ".tsv", ".parquet", ".feather"), "--out")
    file = open_data(data, given)
    estimator = load_model(model)
    _check_abilities(model, estimator, given)
    keep = file.choose(given["keep"]) if given["keep"] else []
    features = file.choose(_features(estimator, file), "feature")
    columns = list(dict.fromkeys([*features, *keep]))
    chunks = given["chunks"]
    if chunks is None:
        chunks = not fits_into_memory(data)
    parts: Iterable[pyarrow.Table]
    parts = tables.Batches(file, columns) if chunks else [file.read(columns)]
    format = tables.format_of(out) if out else "csv"
    with _output(out) as sink:
        writer: Any = None
        first = 0
        for part in parts:
            roles.check_rows(file, len(part))
            if estimator.missing == "error":
                x = roles.select(part, features)
                roles.refuse_missing(file, x, "feature", first)
            first += len(part)
            result = _predictions(estimator, part, features, keep, given)
            if writer is None:
                writer = tables.writer(sink, result.schema, format)
            writer.write_table(result)
        if writer is None:
            roles.check_rows(file, 0)
        writer.close()


@kurve.command(epilog=EPILOG)
@click.argument("model")
@click.argument("data")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@tested_coverage
@click.option(
    "--target",
    "-t",
    "targets",
    callback=names,
    help="Column with the truth, if its name is another one in DATA.",
)
@reading
def evaluate(model: str, data: str, as_json: bool, **given: Any) -> None:
    """Say how good the model in the file MODEL is on DATA."""
    from kurve import roles
    from kurve.assessment import as_dict, as_text, assess

    file = open_data(data, given)
    estimator = load_model(model)
    targets = given["targets"] or getattr(estimator, "target_names_", None)
    if not targets:
        raise click.UsageError("the model does not know its target. Try --target y.")
    features = file.choose(_features(estimator, file), "feature")
    targets = file.choose(targets, "target")
    table = file.read([*features, *targets])
    roles.check_rows(file, len(table))
    truth = roles.select(table, targets)
    roles.refuse_missing(file, truth, "target")
    if estimator.missing == "error":
        roles.refuse_missing(file, roles.select(table, features), "feature")
    x, y = roles.select(table, features), roles.target_array(truth, targets)
    found = assess(estimator, x, y, targets, coverage=given["coverage"])
    words.say(json.dumps(as_dict(found)) if as_json else as_text(found))


@kurve.command(epilog=EPILOG)
@click.argument("model")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--verify", is_flag=True, help="Compare all bytes with the checksums.")
def inspect(model: str, as_json: bool, verify: bool) -> None:
    """Show what is in the file MODEL. Reads its header only."""
    from kurve.cli.looking import describe, facts

    found = facts(model)
    if verify:
        from kurve import saving

        saving.verify(model)
        found["verified"] = True
    words.say(json.dumps(found) if as_json else describe(found))


@kurve.command(epilog=EPILOG)
@click.argument("model")
@click.argument("out")
def export(model: str, out: str) -> None:
    """Write the model in the file MODEL to OUT, for programs without Kurve: an ONNX
    model (.onnx) or a C file (.c)."""
    from kurve.cli.looking import holds_estimator

    check_output(out, (".onnx", ".c"), "OUT")
    if holds_estimator(model):
        load_model(model).export(out)
    else:
        from kurve.models import load_model as load_network

        load_network(model).export(out)


@kurve.command(epilog=EPILOG)
@click.argument("name", type=click.Choice(["sine"]))
@click.option(
    "--out",
    "-o",
    default="sine-demo",
    show_default=True,
    help="Folder for data, pictures, model and report.",
)
@click.option("--quiet", "-q", is_flag=True, help="Say nothing but errors.")
def demo(name: str, out: str, quiet: bool) -> None:
    """Fit a sine badly, as the article does, and well."""
    from kurve.cli.demo import sine

    sine(out, quiet)


def load_model(path: str) -> Any:
    """The estimator in a file."""
    from kurve.estimators import load

    return load(path)


def _features(estimator: Any, file: TableFile) -> list[str]:
    names = getattr(estimator, "feature_names_in_", None)
    if names is not None:
        return [str(name) for name in names]
    count = int(estimator.n_features_in_)
    if len(file.names) != count:
        raise click.UsageError(
            f"the model was trained on {count} columns without names. Received: "
            f"{file.path} with {len(file.names)} columns."
        )
    return list(file.names)


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


def _predictions(
    estimator: Any,
    part: pyarrow.Table,
    features: list[str],
    keep: list[str],
    given: dict[str, Any],
) -> pyarrow.Table:
    """The columns to write for some rows."""
    import numpy as np
    import pyarrow

    from kurve import roles

    x = roles.select(part, features)
    columns: dict[str, Any] = {name: part[name] for name in keep}
    if hasattr(estimator, "classes_"):
        p = estimator.predict_proba(x)
        classes = np.asarray(estimator.classes_)
        columns["prediction"] = pyarrow.array(classes[p.argmax(axis=1)].tolist())
        if given["probabilities"]:
            for k, name in enumerate(classes.tolist()):
                columns[f"probability_{name}"] = p[:, k]
    else:
        deviation: Any = None
        if given["std"]:
            predicted, deviation = estimator.predict(x, return_std=True)
        else:
            predicted = estimator.predict(x)
        count = len(part)
        predicted = np.asarray(predicted).reshape(count, -1)
        bounds: Any = None
        if given["interval"] is not None:
            bounds = estimator.predict_interval(x, coverage=given["interval"])
            bounds = np.asarray(bounds).reshape(count, -1, 2)
        targets = getattr(estimator, "target_names_", None) or []
        for k in range(predicted.shape[1]):
            end = f"_{targets[k]}" if len(targets) > 1 else ""
            if not end and predicted.shape[1] > 1:
                end = f"_{k + 1}"
            columns[f"prediction{end}"] = predicted[:, k]
            if deviation is not None:
                columns[f"std{end}"] = np.asarray(deviation).reshape(count, -1)[:, k]
            if bounds is not None:
                columns[f"low{end}"] = bounds[:, k, 0]
                columns[f"high{end}"] = bounds[:, k, 1]
    if given["extrapolates"]:
        columns["extrapolates"] = np.asarray(estimator.extrapolates(x), bool)
    return pyarrow.table(columns)


def _output(path: str | None) -> Any:
    """Where predictions go: a file that is there once it is whole, or stdout."""
    if path is not None:
        from kurve.files import replacing

        return replacing(path)
    return words.standard_output()
