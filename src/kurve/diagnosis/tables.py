"""The findings about an estimator, in terms of the user's table: in the units of its
columns, with the remedies that an estimator or the command offers.

Estimators scale, choose steps and rates, and keep the best epoch by themselves, so the
checks of these are left out."""

from __future__ import annotations

import copy
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

import numpy as np

from kurve.diagnosis import data, fit
from kurve.diagnosis.context import Context
from kurve.diagnosis.report import Diagnosis, Finding

in_command: ContextVar[bool] = ContextVar("in_command", default=False)
"""Whether remedies are options of the command instead of lines of Python."""

FAR = 30.0
"""How far a value must lie outside the middle 90 % of a column, in multiples of their
range: normal and exponential data never reach it."""


def diagnose_table(
    network: Any,
    z: np.ndarray,
    targets: np.ndarray,
    matrix: np.ndarray,
    names: Sequence[str],
    numeric: int,
    truth: np.ndarray | None,
    classes: Sequence[Any] = (),
) -> Diagnosis:
    """Look for common problems.

    Args:
        network: the trained network.
        z, targets: its scaled inputs and targets.
        matrix: z in the table's units.
        names: of its columns.
        numeric: number of its first columns that the user has as numbers.
        truth: (n, T), the targets in the table's units; None for classes.
        classes: the classes, in order.
    """
    context = Context(network, z, targets, None, names)
    rows = context.rows
    rows.columns = np.asarray(matrix, np.float64)[:: rows.stride]
    own = copy.copy(context)
    own.rows = replace(rows, columns=rows.columns[:, :numeric])
    own.names = list(names)[:numeric]
    raw = copy.copy(context)
    if truth is not None:
        raw.rows = replace(rows, targets=truth[:: rows.stride])
    checks: list[tuple[Callable[[Context], Iterator[Finding]], Context]] = [
        (data.leakage, context),
        (data.duplicate_rows, context),
        (data.useless_columns, own),
        (far_values, own),
        (data.target_outliers, raw),
        (data.class_imbalance, context),
        (fit.constant_output, context),
        (fit.no_better_than_mean, context),
        (fit.no_better_than_line, context),
        (fit.no_better_than_majority, context),
        (fit.errors_by_region, context),
    ]
    findings = [
        _in_users_terms(finding, classes)
        for check, subject in checks
        if subject.rows.columns.shape[1]
        for finding in check(subject)
    ]
    return Diagnosis(findings, "the model", context.summary())


def far_values(context: Context) -> Iterator[Finding]:
    """Single values of an input far outside all others, which stretch its scale."""
    x = context.rows.columns
    if len(x) < 20:
        return
    low, high = np.quantile(x, (0.05, 0.95), axis=0)
    reach = np.where(high > low, high - low, np.inf)
    far = (x > high + FAR * reach) | (x < low - FAR * reach)
    for column in np.flatnonzero(far.any(axis=0))[:5]:
        row = int(np.argmax(np.abs(x[:, column] - np.median(x[:, column]))))
        yield Finding(
            "far_values",
            "warning",
            f"{context.names[column]} holds {x[row, column]:.6g}, while 90 % "
            f"of its values lie between {low[column]:.6g} and {high[column]:.6g}: such "
            "a value stretches the column's scale, so that the others are nearly "
            "equal for the model.",
            {"rows so far out": int(far[:, column].sum())},
        )


def _in_users_terms(finding: Finding, classes: Sequence[Any]) -> Finding:
    """The finding with a remedy that its reader can carry out."""
    command = in_command.get()
    inputs = [
        name.removeprefix("correlation of ")
        for name in finding.evidence
        if name.startswith("correlation of ") and not name.endswith("neighbours")
    ]
    message = finding.message.replace(
        "Causes: unscaled inputs, too few steps, too few rows there.",
        "Causes: too few rows there, or a network that is too small.",
    ).replace("Either it has not learned, or x does not", "Perhaps the columns do not")
    for number, name in enumerate(classes):
        message = message.replace(f"naming class {number} ", f"naming {_shown(name)} ")
    if finding.name == "leakage":
        columns = [name.split(" = ")[0].split(" (")[0] for name in inputs]
        fix = (
            f"--drop {shlex.quote(','.join(columns))}"
            if command
            else f"X.drop(columns={columns})"
        )
    elif finding.name in ("constant_columns", "duplicate_columns"):
        fix = "leaving them out" if not command else "leaving them out with --drop"
    elif finding.name == "duplicate_rows":
        fix = "--groups COLUMN, if rows belong together" if command else "GroupKFold"
    elif finding.name in ("class_imbalance", "no_better_than_majority"):
        balanced = 'Classifier(class_weight="balanced")'
        fix = "--class-weight balanced" if command else balanced
    elif finding.name == "far_values":
        fix = "correcting the value, or leaving out the row"
    elif finding.name == "target_outliers":
        fix = "checking these rows, or learning the logarithm of the target"
    elif finding.name == "errors_by_region":
        fix = "--hidden 128,128" if command else "hidden_layer_sizes=(128, 128)"
    elif finding.name == "no_better_than_line":
        fix = "a straight line: it is simpler and as good"
    else:
        fix = "other columns, or more rows"
    return replace(finding, message=message, fix=fix)


def _shown(name: Any) -> str:
    """A class as Python writes it: 1 and 'cat' instead of NumPy's types."""
    return repr(name.item() if isinstance(name, np.generic) else name)
