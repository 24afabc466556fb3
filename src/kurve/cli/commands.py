"""The commands: each parses, calls and prints."""

from __future__ import annotations

import json
from typing import Any

import click

from kurve.cli import words
from kurve.cli.options import (
    check_output,
    names,
    reading,
    share,
    tested_coverage,
    widths,
)

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
    "--unknown",
    type=click.Choice(["empty", "error"]),
    default="empty",
    show_default=True,
    help="What to do with rows of categories that the model does not know.",
)
@click.option(
    "--chunks/--no-chunks",
    default=None,
    help="Read in pieces; by default where the file is larger than memory.",
)
@reading
def predict(model: str, data: str, **given: Any) -> None:
    """Predict for the rows of DATA with the model in the file MODEL."""
    from kurve.cli.predicting import predict as run

    run(model, data, given)


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
    from kurve.assessment import as_dict, as_text
    from kurve.cli.predicting import evaluate as run

    found = run(model, data, given)
    words.say(json.dumps(as_dict(found)) if as_json else as_text(found))


@kurve.command(epilog=EPILOG)
@click.argument("model")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--verify", is_flag=True, help="Compare all bytes with the checksums.")
def inspect(model: str, as_json: bool, verify: bool) -> None:
    """Show what is in the file MODEL. Reads its header only."""
    from kurve.cli.inspecting import describe, facts

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
    from kurve.cli.inspecting import holds_estimator

    check_output(out, (".onnx", ".c"), "OUT", model)
    if holds_estimator(model):
        from kurve.estimators import load

        load(model).export(out)
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
