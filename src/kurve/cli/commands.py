"""The commands: each parses its arguments, calls a function and prints the result."""

from __future__ import annotations

import json
from typing import Any

import click

from kurve.cli import console
from kurve.cli.options import (
    check_output,
    coverage,
    fraction,
    held_out,
    names,
    reads_table,
    widths,
)

EPILOG = "Exit codes: 0 success, 2 wrong usage or data, 130 Ctrl-C, 1 internal error."


def _print_version(context: Any, option: Any, value: bool) -> None:
    if value:
        from kurve import __version__

        console.say(f"kurve {__version__}")
        context.exit()


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
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
@click.option(
    "--out", "-o", help="File for the model; by default DATA's name with .kurve."
)
@click.option("--report", "report_path", help="File for a report in HTML.")
@click.option(
    "--classify",
    is_flag=True,
    help="Learn the target as classes, which text and true/false always are.",
)
@click.option(
    "--regress",
    is_flag=True,
    help="Learn the target as a number even if it has only two values, which are "
    "classes otherwise.",
)
@click.option(
    "--categorical",
    callback=names,
    help="Columns that hold categories, whatever they look like: zone,zip.",
)
@click.option(
    "--holdout",
    callback=held_out,
    default="0.1",
    show_default=True,
    help="Fraction of the rows to hold out for testing, at random; 0 for none; last, "
    "or last:0.2, for the last rows of the file, as for forecasts.",
)
@click.option(
    "--groups",
    help="Column of groups: the rows of a group are held out together or not at all. "
    "It is not used as a feature.",
)
@click.option(
    "--cv",
    type=click.IntRange(2, 100),
    help="Number of folds for cross-validation: each of as many models is scored on "
    "rows that it was not trained on. With --groups, no group is split between folds; "
    "with --holdout last, each fold comes after the rows its model was trained on.",
)
@click.option("--test", "test_path", help="File with the rows to test on.")
@click.option(
    "--missing",
    type=click.Choice(["impute", "drop", "error"]),
    default="impute",
    show_default=True,
    help="What to do with missing values: fill them in and mark them, drop the rows, "
    "or reject the file.",
)
@click.option(
    "--class-weight",
    type=click.Choice(["balanced"]),
    help="Weight the classes so that all count equally.",
)
@click.option(
    "--effort",
    type=click.Choice(["fast", "default", "best"]),
    default="default",
    show_default=True,
    help="How many networks to train: one, a bag of 12, or a bag of 24.",
)
@click.option(
    "--members",
    type=click.IntRange(1),
    help="Number of networks in a plain ensemble, which replaces the bag.",
)
@click.option("--hidden", callback=widths, help="Widths of the hidden layers: 64,64.")
@click.option("--activation", help="Activation of the hidden layers.")
@click.option("--solver", help="Solver: auto, lm, lbfgs, adam, ...")
@click.option(
    "--likelihood",
    type=click.Choice(["auto", "none", "gaussian", "quantile"]),
    help="What the network predicts besides the mean.",
)
@click.option(
    "--interval",
    type=click.Choice(["auto", "gaussian", "quantile", "conformal", "cv+"]),
    help="Method of the intervals.",
)
@click.option("--epochs", type=click.IntRange(1), help="Maximum passes over the data.")
@click.option("--batch-size", type=click.IntRange(1), help="Rows per training step.")
@click.option(
    "--learning-rate",
    type=click.FloatRange(0, min_open=True),
    help="Maximum learning rate.",
)
@click.option("--alpha", type=click.FloatRange(0), help="L2 penalty on the weights.")
@click.option(
    "--dropout",
    type=click.FloatRange(0, 1, max_open=True),
    help="Fraction of units to drop during training.",
)
@click.option("--engine", help="Engine: native, torch, torch:cuda, auto, ...")
@coverage
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Seed for the weights, the order of the rows and the held-out rows.",
)
@click.option(
    "--chunks/--no-chunks",
    default=None,
    help="Read the file in chunks; by default only if it does not fit into memory.",
)
@click.option("--quiet", "-q", is_flag=True, help="Print errors only.")
@reads_table
def fit(data: str, **options: Any) -> None:
    """Learn a function from DATA (CSV, TSV, Parquet, Feather, Excel, JSON lines; - for
    standard input)."""
    from kurve.cli.fitting import fit as run

    run(data, options)


@kurve.command(epilog=EPILOG)
@click.argument("model")
@click.argument("data")
@click.option(
    "--out", "-o", help="File for the predictions; by default standard output."
)
@click.option("--std", is_flag=True, help="Add standard deviations.")
@click.option(
    "--interval",
    type=float,
    callback=fraction,
    help="Add intervals with this coverage, such as 0.9.",
)
@click.option(
    "--probabilities", is_flag=True, help="Add the probability of every class."
)
@click.option(
    "--extrapolates",
    is_flag=True,
    help="Add a column that is true for rows outside the training data.",
)
@click.option(
    "--keep", callback=names, help="Columns of DATA to copy to the output: id,name."
)
@click.option(
    "--unknown",
    type=click.Choice(["predict", "empty", "error"]),
    default="predict",
    show_default=True,
    help="What to do with rows that have categories unknown to the model: predict them "
    "as for an average category, leave their predictions empty, or reject the file.",
)
@click.option(
    "--chunks/--no-chunks",
    default=None,
    help="Read the file in chunks; by default only if it does not fit into memory.",
)
@reads_table
def predict(model: str, data: str, **options: Any) -> None:
    """Predict the rows of DATA with the model in the file MODEL."""
    from kurve.cli.predicting import predict as run

    run(model, data, options)


@kurve.command(epilog=EPILOG)
@click.argument("model")
@click.argument("data")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@coverage
@click.option(
    "--target",
    "-t",
    "targets",
    callback=names,
    help="Column with the true values, if it has another name in DATA.",
)
@reads_table
def evaluate(model: str, data: str, as_json: bool, **options: Any) -> None:
    """Measure the errors of the model in the file MODEL on DATA."""
    from kurve.assessment import as_dict, as_text
    from kurve.cli.predicting import evaluate as run

    result = run(model, data, options)
    console.say(json.dumps(as_dict(result)) if as_json else as_text(result))


@kurve.command(epilog=EPILOG)
@click.argument("model")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--verify", is_flag=True, help="Check all bytes against their checksums.")
def inspect(model: str, as_json: bool, verify: bool) -> None:
    """Describe the model in the file MODEL. Only its header is read."""
    from kurve.cli.inspecting import describe, facts

    description = facts(model)
    if verify:
        from kurve import saving

        saving.verify(model)
        description["verified"] = True
    console.say(json.dumps(description) if as_json else describe(description))


@kurve.command(epilog=EPILOG)
@click.argument("model")
@click.argument("out")
def export(model: str, out: str) -> None:
    """Export the model in the file MODEL to OUT, for use without Python: an ONNX model
    (.onnx), a C file (.c), or a plan for Kurve's C library (.plan.kurve)."""
    from kurve.cli.inspecting import holds_estimator

    check_output(out, (".onnx", ".c", ".plan.kurve"), "OUT", model)
    if holds_estimator(model):
        from kurve.estimators import load

        load(model).export(out)
    else:
        from kurve.models import load_model as load_network

        load_network(model).export(out)


@kurve.command(epilog=EPILOG)
@click.argument("model")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=8000,
    show_default=True,
    help="Port.",
)
@click.option(
    "--token",
    envvar="KURVE_TOKEN",
    help="Bearer token that requests must send; required if other machines can reach "
    "the address.",
)
@click.option(
    "--max-rows",
    type=click.IntRange(1),
    default=100_000,
    show_default=True,
    help="Maximum rows per request.",
)
@click.option(
    "--max-bytes",
    type=click.IntRange(1),
    default=10_000_000,
    show_default=True,
    help="Maximum bytes per request.",
)
def serve(model: str, **options: Any) -> None:
    """Serve the model in the file MODEL over HTTP: JSON or CSV in, predictions with
    intervals out."""
    from kurve.cli.serving import serve as run

    run(model, options)


@kurve.command(
    epilog="Exit codes: that of the program; 1 after an error in it, 2 wrong usage.",
    context_settings={"allow_interspersed_args": False},
)
@click.argument("program")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run(program: str, arguments: tuple[str, ...]) -> int:
    """Run PROGRAM, a script or notebook written for Keras or TensorFlow, on Kurve
    instead. ARGUMENTS are passed to it."""
    from kurve.as_keras.running import run as run_program

    return run_program(program, arguments)


@kurve.command(epilog="Exit codes: 0 runs, 1 something is missing, 2 wrong usage.")
@click.argument("program")
def check(program: str) -> int:
    """List what PROGRAM, a script or notebook written for Keras or TensorFlow, needs
    that Kurve does not have. The program is not run."""
    from kurve.as_keras.checking import check as findings

    found = findings(program)
    for finding in found:
        console.say(str(finding))
    if not found:
        console.say(f"{program}: runs")
    return 1 if found else 0


@kurve.command(epilog=EPILOG)
@click.argument("name", type=click.Choice(["sine"]))
@click.option(
    "--out",
    "-o",
    default="sine-demo",
    show_default=True,
    help="Folder for data, plot, model and report.",
)
@click.option("--quiet", "-q", is_flag=True, help="Print errors only.")
def demo(name: str, out: str, quiet: bool) -> None:
    """Fit a sine twice: badly, with a deep network on raw inputs, and well."""
    from kurve.cli.demo import sine

    sine(out, quiet)


@kurve.command(epilog=EPILOG)
@click.argument("data", required=False)
@click.option("--target", "-t", help="Column to learn; by default the last one.")
@click.option(
    "--features",
    callback=names,
    help="Columns to learn from: a,b; by default all others with numbers.",
)
@click.option(
    "--out",
    "-o",
    help="File for the page; by default DATA's name with .html, or live.html.",
)
@click.option(
    "--open/--no-open", "show", default=True, help="Open the page in the browser."
)
def live(
    data: str | None,
    target: str | None,
    features: tuple[str, ...] | None,
    out: str | None,
    show: bool,
) -> None:
    """Watch a network learn DATA, in a page that runs in the browser.

    Writes a self-contained HTML file that sends no data anywhere. Without DATA, the
    page starts with the sine of the tutorial."""
    from kurve.cli.live import write_page

    write_page(data, target, features, out, show)
