"""The sections about the model's performance; each is a function of the context."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve import inspection
from kurve.assessment import number
from kurve.inspection.predictions import Predictions, as_matrix
from kurve.metrics.scores import class_numbers
from kurve.plots import COLOURS
from kurve.report import figures
from kurve.report.context import (
    Context,
    all_classes,
    grid_of,
    is_numeric,
    one_column,
    some_rows,
)
from kurve.report.decisions import Decisions
from kurve.report.page import render

if TYPE_CHECKING:
    from markupsafe import Markup

IMPORTANCE_ROWS = 2000
"""Number of rows used for importance; dependence uses a quarter of them."""

SHOWN_FEATURES = 6
"""Number of features whose partial dependence is drawn: the most important ones."""

MAX_CATEGORIES = 12
"""Maximum number of categories for a partial dependence plot."""

MAX_CLASSES = 30
"""Maximum number of classes for which the confusion matrix is shown."""

MARGIN = 0.15
"""How far the curve of one feature extends beyond the data, as a fraction of its
range."""


def summary(context: Context, source: str | None) -> Markup:
    """A summary of the fit in one sentence and a few numbers."""
    first = context.assessments[context.targets[0]]
    tiles = []
    comparison = ""
    if context.classes is not None:
        score = f"{first.value('accuracy'):.1%}"
        baseline = f"{first.value('accuracy', 'largest class'):.1%}"
        tiles.append(("accuracy", score))
        tiles.append(("log loss", number(first.value("log loss"))))
    else:
        rmse, line = first.value("RMSE"), first.value("RMSE", "straight line")
        score, baseline = number(rmse), number(line)
        comparison = _comparison(rmse, line)
        tiles.append(("RMSE", score))
        tiles.append(("R²", f"{first.value('R²'):.4f}"))
        inside = f"in {context.coverage:.0%} interval"
        if any(score.name == inside for score in first.scores["model"]):
            tiles.append((inside, f"{first.value(inside):.1%}"))
    tiles.append(("rows to train", f"{len(context.y):,}"))
    if context.held_out:
        tiles.append(("rows held out", f"{first.rows:,}"))
    tiles.append(("features", f"{len(context.columns)}"))
    return render(
        "summary.html",
        classification=context.classes is not None,
        targets=context.targets,
        source=source,
        held_out=context.held_out,
        rows=context.rows,
        score=score,
        baseline=baseline,
        comparison=comparison,
        tiles=tiles,
    )


def _comparison(rmse: float, line: float) -> str:
    """The error compared with that of a straight line, in words."""
    if not (rmse > 0 and line > 0):
        return ""
    if line >= 1.05 * rmse:
        return f", {number(line / rmse, 3)} times less than a straight line"
    if rmse >= 1.05 * line:
        return f", {number(rmse / line, 3)} times more than a straight line"
    return ", about as a straight line does"


def scores(context: Context) -> Markup:
    """The model's scores compared with simple baselines."""
    tables = []
    for target, assessment in context.assessments.items():
        headings = [score.name for score in assessment.scores["model"]]
        rows = []
        for name, each in assessment.scores.items():
            known = {score.name: score for score in each}
            rows.append((name, [known.get(heading) for heading in headings]))
        tables.append({"target": target, "headings": headings, "rows": rows})
    return render(
        "scores.html",
        classification=context.classes is not None,
        tables=tables,
        rows=context.rows,
        count=next(iter(context.assessments.values())).rows,
    )


def fit(context: Context) -> Iterable[Markup]:
    """Predictions against the true values, and the residuals."""
    if context.classes is not None:
        classes = all_classes(context)
        matrix = inspection.confusion_matrix(
            context.test_y, context.predictions.labels, classes
        )
        yield render(
            "confusion.html",
            classes=[str(name) for name in classes],
            matrix=matrix.tolist(),
            most=MAX_CLASSES,
        )
        return
    predictions, names = context.predictions, context.targets
    first = next(iter(context.columns.values()))
    is_curve = len(context.columns) == 1 and is_numeric(first)
    draw = _curve if is_curve else _against_truth
    outside = 0 if predictions.outside is None else int(predictions.outside.sum())
    yield render(
        "fit.html",
        figures=[draw(context, k) for k in range(len(names))],
        outside=outside,
        rows=context.rows,
    )
    mean = predictions.mean
    errors = context.test_y - mean
    yield render(
        "residuals.html",
        figures=[
            figures.residuals(mean[:, k], errors[:, k], name)
            for k, name in enumerate(names)
        ],
    )


def _curve(context: Context, k: int) -> Markup:
    feature, values = next(iter(context.columns.items()))
    x = values.astype(float)
    low, high = float(np.nanmin(x)), float(np.nanmax(x))
    margin = MARGIN * ((high - low) or 1.0)
    grid = np.linspace(low - margin, high + margin, 400)
    on_grid = Predictions(context.model, one_column(context.x, feature, grid))
    predicted, bounds = on_grid.mean[:, k], None
    if on_grid.has_intervals:
        bounds = on_grid.intervals(context.coverage)[:, k]
    test = None
    if context.held_out:
        test = context.test_columns[feature].astype(float), context.test_y[:, k]
    return figures.curve(
        x,
        context.y[:, k],
        test,
        grid,
        predicted,
        bounds,
        (feature, context.targets[k]),
        context.coverage,
    )


def _against_truth(context: Context, k: int) -> Markup:
    predictions = context.predictions
    return figures.against_truth(
        context.test_y[:, k],
        predictions.mean[:, k],
        predictions.outside,
        context.targets[k],
    )


def calibration(context: Context) -> Iterable[Markup]:
    """Whether probabilities or intervals can be trusted."""
    predictions, classes = context.predictions, context.classes
    if classes is not None:
        happened = context.test_y[:, None] == np.asarray(classes)[None, :]
        probabilities = predictions.probabilities
        if len(classes) == 2:
            probabilities, happened = probabilities[:, 1], happened[:, 1]
        reliability = inspection.reliability(probabilities, happened)
        yield render(
            "reliability.html",
            figure=figures.reliability(reliability),
            classes=repr(classes[1]) if len(classes) == 2 else "all classes",
            error=reliability.error,
        )
    elif predictions.has_intervals:
        coverage = inspection.calibration_of(predictions.intervals, context.test_y)
        yield render(
            "coverage.html",
            figure=figures.coverage(coverage),
            levels=list(
                zip(coverage.levels, coverage.covered, coverage.width, strict=True)
            ),
            rows=context.rows,
        )


def decisions(context: Context) -> Iterable[Markup]:
    """The effect of thresholds on the probability of the rarer of two classes."""
    classes = context.classes
    if classes is None or len(classes) != 2:
        return
    counts = [int((context.test_y == name).sum()) for name in classes]
    rare = int(np.argmin(counts))
    if min(counts) == 0:
        return
    positive = context.test_y == classes[rare]
    found = Decisions.of(positive, context.predictions.probabilities[:, rare])
    yield render(
        "decisions.html",
        figures=[figures.roc(found, str(classes[rare])), figures.precision(found)],
        thresholds=found.rows(),
        name=str(classes[rare]),
        rows=context.rows,
    )


def importance(context: Context) -> Iterable[Markup]:
    """Which features matter and how."""
    names = list(context.columns)
    x, rows = some_rows(context.test_x, IMPORTANCE_ROWS)
    judged, score = context.model, None
    if context.classes is not None:
        # Accuracy would show nothing if one class is always more likely.
        judged = _Probabilities(context.model)
        score = partial(_log_probability, classes=context.classes)
    permuted = inspection.permutation_importance(
        judged, x, context.test_y[rows], score=score, seed=context.seed
    )
    order = np.argsort(-permuted.mean, kind="stable")
    drawn = _dependence(context, [names[j] for j in order[:SHOWN_FEATURES]])
    if len(names) == 1:
        return
    yield render(
        "importance.html",
        figure=figures.importance(permuted, names),
        score="R²" if context.classes is None else "mean log probability",
        value=permuted.score,
        repeats=permuted.values.shape[1],
    )
    if drawn:
        classes = context.classes or []
        key = list(zip(map(str, classes), COLOURS, strict=False))
        yield render(
            "dependence.html",
            figures=drawn,
            key=key if len(classes) > 2 else [],
            target=context.targets[0] if len(context.targets) > 1 else None,
        )


class _Probabilities:
    """A classifier as a model that predicts the probabilities of its classes."""

    def __init__(self, model: Any) -> None:
        self.predict = model.predict_proba


def _log_probability(y: np.ndarray, p: np.ndarray, classes: Sequence[Any]) -> float:
    """Mean logarithm of the probability of the true class: minus the log loss."""
    numbers = class_numbers(y, classes)
    of_truth = np.where(numbers >= 0, p[np.arange(len(p)), numbers], 0.0)
    return float(np.log(np.maximum(of_truth, 1e-15)).mean())


def _dependence(context: Context, features: list[str]) -> list[Markup]:
    """Partial dependence on each feature, on a common scale."""
    classes = context.classes
    curves = min(len(classes or []), len(COLOURS))
    label = context.targets[0]
    if classes is not None:
        label = f"P({classes[1]})" if curves == 2 else "probability"
    x, _ = some_rows(context.test_x, IMPORTANCE_ROWS // 4)
    results = []
    for name in features:
        values = context.columns[name]
        if is_numeric(values) and not np.isfinite(values).any():
            continue
        if not is_numeric(values) and len(set(values.tolist())) > MAX_CATEGORIES:
            continue
        each = inspection.partial_dependence(
            context.model,
            x,
            list(context.columns).index(name),
            grid=grid_of(values),
            method="predict" if classes is None else "predict_proba",
        )
        shown = slice(1, 2) if curves == 2 else slice(0, curves or 1)
        parts = (as_matrix(v)[:, shown] for v in (each.mean, each.low, each.high))
        mean, low, high = (v[:, 0] if v.shape[1] == 1 else v for v in parts)
        results.append(inspection.Dependence(name, each.grid, mean, low, high))
    if not results:
        return []
    drawn: list[Any] = []
    for result in results:
        drawn += [result.mean] if curves > 2 else [result.low, result.high]
    limits = min(v.min() for v in drawn), max(v.max() for v in drawn)
    return [
        figures.dependence(result, context.columns[result.name], label, limits)
        for result in results
    ]
