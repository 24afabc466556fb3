"""The sections about training, data and model; each is a function of the context."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.assessment import number
from kurve.metrics.scores import class_numbers
from kurve.report import figures
from kurve.report.context import Context, is_numeric, some_rows
from kurve.report.networks import networks
from kurve.report.page import render

if TYPE_CHECKING:
    from markupsafe import Markup

DIAGNOSED_ROWS = 20_000
"""Maximum number of rows to diagnose."""

LISTED_COLUMNS = 60
WORST_ROWS, WORST_COLUMNS, LONGEST_CELL = 10, 6, 30


def training(context: Context) -> Iterable[Markup]:
    """The loss over the epochs."""
    history = getattr(context.model, "history_", None)
    if isinstance(history, Mapping):
        curves = {
            str(name): list(values)
            for name, values in history.items()
            if len(values) > 1 and name not in ("learning_rate", "lr")
        }
        if curves:
            yield render("history.html", figure=figures.history(curves))


def worst(context: Context) -> Iterable[Markup]:
    """The rows with the largest errors."""
    predictions, truth = context.predictions, context.test_y
    if context.classes is None:
        k = 0
        errors = np.abs(truth[:, k] - predictions.mean[:, k])
        shown, predicted = truth[:, k], predictions.mean[:, k]
        measure = "error"
    else:
        numbers = class_numbers(truth, context.classes)
        p = predictions.probabilities[np.arange(len(truth)), np.maximum(numbers, 0)]
        errors = 1.0 - np.where(numbers >= 0, p, 0.0)
        shown, predicted = truth, predictions.labels
        measure = "P(truth)"
    order = np.argsort(-np.nan_to_num(errors), kind="stable")[:WORST_ROWS]
    names = list(context.test_columns)[:WORST_COLUMNS]
    found = [
        {
            "number": int(row) + 1,
            "truth": _cell(shown[row]),
            "predicted": _cell(predicted[row]),
            "error": number(errors[row] if context.classes is None else p[row], 3),
            "cells": [_cell(context.test_columns[name][row]) for name in names],
        }
        for row in order.tolist()
    ]
    yield render(
        "worst.html", found=found, names=names, measure=measure, rows=context.rows
    )


def _cell(value: Any) -> str:
    """A value of a table, in short."""
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or value != value:
        return ""
    if isinstance(value, float):
        return number(value)
    return (
        str(value) if len(str(value)) <= LONGEST_CELL else f"{value!s:.{LONGEST_CELL}}…"
    )


def diagnosis(context: Context) -> Any:
    """Possible problems; None if the model cannot be diagnosed."""
    diagnose = getattr(context.model, "diagnose", None)
    if not callable(diagnose):
        return None
    y = context.y
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    x, rows = some_rows(context.x, DIAGNOSED_ROWS)
    return diagnose(x, y[rows])


def findings(context: Context, known: Any = None) -> Iterable[Markup]:
    """The findings of the diagnosis.

    Args:
        known: the diagnosis, if it has already been made.
    """
    found = diagnosis(context) if known is None else known
    if found is None:
        return
    found = [
        {
            "name": str(finding.name).replace("_", " "),
            "severity": str(finding.severity),
            "message": str(finding.message),
            "evidence": _evidence(finding.evidence) if finding.evidence else None,
            "fix": finding.fix,
        }
        for finding in found
    ]
    yield render("findings.html", findings=found)


def _evidence(evidence: Any) -> str:
    if isinstance(evidence, Mapping):
        return ", ".join(
            f"{key}: {number(value) if isinstance(value, float) else value}"
            for key, value in evidence.items()
        )
    return str(evidence)


def columns(context: Context) -> Markup:
    """The columns of the training data."""
    y = context.y if context.y.ndim == 2 else context.y[:, None]
    parts = [(name, "target", y[:, k]) for k, name in enumerate(context.targets)]
    parts += [(name, "feature", values) for name, values in context.columns.items()]
    return render(
        "columns.html",
        columns=[
            {"name": name, "role": role, **_described(values)}
            for name, role, values in parts[:LISTED_COLUMNS]
        ],
        rows=len(context.y),
        more=len(parts) - LISTED_COLUMNS,
    )


def _described(values: np.ndarray) -> dict[str, Any]:
    """Missing values, mean, std, minimum, median and maximum of a column as strings,
    and a summary of its values."""
    if is_numeric(values):
        known = values[np.isfinite(values)].astype(float)
        if not len(known):
            return {"numbers": [str(len(values)), *[""] * 5], "summary": "none"}
        numbers = known.mean(), known.std(), known.min(), np.median(known), known.max()
        missing = str(len(values) - len(known))
        return {"numbers": [missing, *map(number, numbers)], "summary": "numbers"}
    texts = [str(v) for v in values.tolist() if v is not None]
    names, counts = np.unique(np.array(texts or [""]), return_counts=True)
    order = np.argsort(-counts, kind="stable")
    shown = ", ".join(f"{names[i]} ({counts[i] / len(values):.0%})" for i in order[:4])
    more = f", {len(names) - 4} more" if len(names) > 4 else ""
    missing = str(len(values) - len(texts))
    return {"numbers": [missing, *[""] * 5], "summary": shown + more}


def model(
    context: Context, settings: Mapping[str, Any] | None, file: str | None
) -> Markup:
    """What was trained and how to use it."""
    from kurve import __version__

    facts: dict[str, Any] = {"kind": type(context.model).__name__}
    models = getattr(context.model, "models_", None)
    if models:
        if hasattr(context.model, "fitted_"):
            facts["networks"] = "; ".join(networks(context.model))
        facts["weights"] = f"{sum(model.count_params() for model in models):,}"
    if hasattr(context.model, "n_iter_"):
        facts["epochs"] = context.model.n_iter_
    facts |= {"Kurve": __version__, **dict(settings or {})}
    return render(
        "model.html",
        facts=facts,
        file=file,
        classification=context.classes is not None,
        coverage=context.coverage,
    )
