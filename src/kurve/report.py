"""A report on a fitted estimator: one HTML file that needs nothing else.

    html = report.make_report(model, x, y, test_x, test_y)
    report.write_report("report.html", model, x, y, test_x, test_y)

It says what was fitted, how good it is on data that it has not seen, beside simple
rules, and how sure; what it relies on, how it errs and what may be wrong with it.
Pictures need matplotlib: pip install "kurve[plot]".
"""

from __future__ import annotations

import html
import importlib.util
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kurve import inspection, report_figures
from kurve.assessment import (
    Assessment,
    as_matrix,
    assess,
    call_quietly,
    columns_of,
    number,
)
from kurve.files import write_text

LOOKED_AT = 2000
"""Rows on which importance is measured; dependence on a quarter of them."""

SHOWN_FEATURES = 6
"""Features whose partial dependence is drawn: the most important ones."""

LISTED_COLUMNS = 60
MARGIN = 0.15
"""How far beyond the data, in parts of its range, the curve of one feature goes."""


def write_report(path: str | os.PathLike[str], *arguments: Any, **options: Any) -> None:
    """Write `make_report(...)` to a file, whole or not at all."""
    write_text(path, make_report(*arguments, **options))


def make_report(
    model: Any,
    x: Any,
    y: Any,
    test_x: Any = None,
    test_y: Any = None,
    *,
    target: str | Sequence[str] = "y",
    source: str | None = None,
    file: str | None = None,
    settings: Mapping[str, Any] | None = None,
    coverage: float = 0.9,
    assessments: Mapping[str, Assessment] | None = None,
    seed: int = 0,
) -> str:
    """The report as the text of an HTML page.

    Args:
        model: a fitted `kurve.Regressor` or `kurve.Classifier`, or anything with
            `predict` (with `predict_proba` and `classes_`, a classifier); what it
            cannot do is left out.
        x, y: the data that it was trained on.
        test_x, test_y: held-out data; without, the page says that its errors are those
            of training.
        target: name of y, or of each of its columns.
        source: where the data came from.
        file: the model's file, for the lines that load it.
        settings: more lines of what was done.
        coverage: of the intervals that are drawn and counted.
        assessments: what `kurve.assessment.assess` said of the model; done here if None.
        seed: of the bootstrap and the shuffles.

    Raises:
        ImportError: matplotlib is not installed.
        TypeError, ValueError: no such model; data that it cannot predict.
    """
    require_matplotlib("make_report")
    targets = [target] if isinstance(target, str) else list(target)
    facts = _gather(model, x, y, test_x, test_y, targets, coverage, assessments, seed)
    words = "class of " if facts.classes is not None else ""
    title = f"{words}{', '.join(targets)}"
    parts = [
        _summary(facts, source),
        _section("How good", _scores_table(facts), _note_on_scores(facts)),
        *_fits(facts),
        *_doubts(facts),
        *_reliance(facts),
        *_training(facts),
        *_findings(facts),
        _section("The data", _columns_table(facts)),
        _section("The model", _model_table(facts, settings), _loading(facts, file)),
    ]
    return PAGE.format(title=html.escape(title), style=STYLE, body="\n".join(parts))


def require_matplotlib(where: str) -> None:
    """Raise ImportError, saying what to install, where there is no matplotlib."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"[{where}] a report needs matplotlib, which is not installed. "
            f'Received: {error}. Try pip install "kurve[plot]".'
        ) from None


# What is known about the model


@dataclass
class _Facts:
    """The model, its data, and what it says about them. Arrays are (n, outputs)."""

    model: Any
    targets: list[str]
    x: Any
    columns: dict[str, np.ndarray]
    y: np.ndarray
    test_x: Any
    test_columns: dict[str, np.ndarray]
    test_y: np.ndarray
    held_out: bool
    classes: list[Any] | None
    predicted: np.ndarray
    probabilities: np.ndarray | None
    assessments: dict[str, Assessment]
    coverage: float
    seed: int

    @property
    def rows(self) -> str:
        return "held-out rows" if self.held_out else "training rows"


def _gather(
    model: Any, x: Any, y: Any, test_x: Any, test_y: Any, targets: list[str],
    coverage: float, assessments: Mapping[str, Assessment] | None, seed: int,
) -> _Facts:  # fmt: skip
    held_out = test_x is not None
    if not held_out:
        test_x, test_y = x, y
    y, test_y = np.asarray(y), np.asarray(test_y)
    for inputs, values in ((x, y), (test_x, test_y)):
        if len(inputs) != len(values):
            raise ValueError(
                "[make_report] x and y must have the same number of rows. Received: "
                f"{len(inputs)} and {len(values)}. Try the same rows of both."
            )
    if assessments is None:
        assessments = assess(model, test_x, test_y, targets, (x, y), coverage, seed)
    predicted = np.asarray(call_quietly(model.predict, test_x))
    classes = getattr(model, "classes_", None)
    probabilities = None
    if classes is not None:
        classes = list(np.asarray(classes).tolist())
        probabilities = np.asarray(call_quietly(model.predict_proba, test_x), float)
    else:
        y, test_y, predicted = map(as_matrix, (y, test_y, predicted))
    return _Facts(
        model, targets, x, columns_of(x), y, test_x, columns_of(test_x), test_y,
        held_out, classes, predicted, probabilities, dict(assessments), coverage, seed,
    )  # fmt: skip


# The sections


def _summary(facts: _Facts, source: str | None) -> str:
    first = facts.targets[0]
    scores = facts.assessments[first]
    tiles = []
    if facts.classes is not None:
        right, rule = (
            scores.value("accuracy"),
            scores.value("accuracy", "largest class"),
        )
        lead = (
            f"The model names the right class of {_em(first)} in {right:.1%} of the "
            f"{facts.rows}; always naming the largest class is right in {rule:.1%}."
        )
        tiles.append(("accuracy", f"{right:.1%}"))
        tiles.append(("log loss", number(scores.value("log loss"))))
    else:
        rmse, line = scores.value("RMSE"), scores.value("RMSE", "straight line")
        lead = (
            f"On the {facts.rows} the model misses {_em(first)} by {number(rmse)} (root "
            f"of the mean squared error){_beside(rmse, line)}."
        )
        tiles.append(("RMSE", number(rmse)))
        tiles.append(("R²", f"{scores.value('R²'):.4f}"))
        inside = f"in {facts.coverage:.0%} interval"
        if any(score.name == inside for score in scores.scores["model"]):
            tiles.append((inside, f"{scores.value(inside):.1%}"))
    if not facts.held_out:
        lead += (
            " These are rows that it was trained on: new ones will show larger errors."
        )
    tiles.append(("rows to train", f"{len(facts.y):,}"))
    if facts.held_out:
        tiles.append(("rows held out", f"{scores.rows:,}"))
    tiles.append(("features", f"{len(facts.columns)}"))
    shown = "".join(
        f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd></div>"
        for name, value in tiles
    )
    from_ = f" from {_em(source)}" if source else ""
    names = ", ".join(map(_em, facts.targets))
    what = "Classes of" if facts.classes is not None else "Function for"
    return (
        f"<header><h1>{what} {names}</h1><p class=sub>learnt{from_} by Kurve</p>"
        f"<p class=lead>{lead}</p><dl class=tiles>{shown}</dl></header>"
    )


def _beside(rmse: float, line: float) -> str:
    if not (rmse > 0 and line > 0):
        return ""
    if line >= 1.05 * rmse:
        return f", {line / rmse:.3g} times less than a straight line"
    if rmse >= 1.05 * line:
        return f", {rmse / line:.3g} times more than a straight line"
    return ", about as a straight line does"


def _scores_table(facts: _Facts) -> str:
    out = []
    for name, found in facts.assessments.items():
        heads = [score.name for score in found.scores["model"]]
        rows = []
        for who, scores in found.scores.items():
            known = {score.name: score for score in scores}
            cells = [_th(who)]
            for head in heads:
                score = known.get(head)
                cells.append("<td class=n>—</td>" if score is None else
                    f"<td class=n><b>{score.text(score.value)}</b> <small>"
                    f"{score.text(score.low)} to {score.text(score.high)}</small></td>"
                )  # fmt: skip
            kind = " class=model" if who == "model" else ""
            rows.append(f"<tr{kind}>{''.join(cells)}</tr>")
        titles = "".join(f"<th class=n scope=col>{html.escape(h)}</th>" for h in heads)
        caption = f"<caption>{_em(name)}</caption>" if len(facts.targets) > 1 else ""
        out.append(
            f"<div class=scroll><table>{caption}<thead><tr><td></td>{titles}</tr></thead>"
            f"<tbody>{''.join(rows)}</tbody></table></div>"
        )
    return "".join(out)


def _note_on_scores(facts: _Facts) -> str:
    count = next(iter(facts.assessments.values())).rows
    kind = (
        "Accuracy: share of right answers. Log loss: mean of −log of the probability "
        "given to the truth."
        if facts.classes is not None
        else "RMSE: root of the mean squared error. MAE: mean absolute error. R²: share "
        "of the variance that is explained. NLL: mean of −log of the density given to "
        "the truth."
    )
    return (
        f"<p class=note>On {count:,} {facts.rows}. Small figures: the interval that 95 "
        f"in 100 bootstrap samples of these rows lie in. {kind}</p>"
    )


def _fits(facts: _Facts) -> Iterable[str]:
    if facts.classes is not None:
        assert facts.probabilities is not None
        matrix = inspection.confusion_matrix(
            facts.test_y, facts.predicted, _all_classes(facts)
        )
        yield _section("Which classes it takes for which", _confusion(facts, matrix))
        return
    figures = []
    for k, name in enumerate(facts.targets):
        single = len(facts.columns) == 1 and _numeric(
            next(iter(facts.columns.values()))
        )
        figures.append(_curve(facts, k) if single else _against_truth(facts, k, name))
    note = ""
    outside = _outside(facts)
    if outside is not None and outside.any():
        note = (
            f"<p class=note>{int(outside.sum())} of the {facts.rows} lie outside the "
            "range of the training data, where the model guesses.</p>"
        )
    yield _section("The fit", _grid(figures), note)
    errors = facts.test_y - facts.predicted
    figures = [
        _figure(report_figures.residuals(facts.predicted[:, k], errors[:, k], name))
        for k, name in enumerate(facts.targets)
    ]
    yield _section(
        "What is left over",
        _grid(figures),
        "<p class=note>A good fit leaves a level band without a pattern. A bend means "
        "that there is more to learn, a funnel that the noise is not the same "
        "everywhere.</p>",
    )


def _curve(facts: _Facts, k: int) -> str:
    feature, values = next(iter(facts.columns.items()))
    x = values.astype(float)
    low, high = float(np.nanmin(x)), float(np.nanmax(x))
    room = MARGIN * ((high - low) or 1.0)
    grid = np.linspace(low - room, high + room, 400)
    points = _like(facts.x, feature, grid)
    predicted = as_matrix(call_quietly(facts.model.predict, points))[:, k]
    bounds = None
    if callable(getattr(facts.model, "predict_interval", None)):
        bounds = np.asarray(
            facts.model.predict_interval(points, coverage=facts.coverage)
        )
        bounds = bounds.reshape(len(grid), -1, 2)[:, k]
    test = None
    if facts.held_out:
        test = facts.test_columns[feature].astype(float), facts.test_y[:, k]
    return _figure(
        report_figures.curve(
            x, facts.y[:, k], test, grid, predicted, bounds,
            (feature, facts.targets[k]), facts.coverage,
        ),
    )  # fmt: skip


def _against_truth(facts: _Facts, k: int, name: str) -> str:
    return _figure(
        report_figures.against_truth(
            facts.test_y[:, k], facts.predicted[:, k], _outside(facts), name
        )
    )


def _outside(facts: _Facts) -> np.ndarray | None:
    call = getattr(facts.model, "extrapolates", None)
    return np.asarray(call(facts.test_x), bool) if callable(call) else None


def _doubts(facts: _Facts) -> Iterable[str]:
    if facts.probabilities is not None:
        assert facts.classes is not None
        happened = facts.test_y[:, None] == np.asarray(facts.classes)[None, :]
        given = facts.probabilities
        if len(facts.classes) == 2:
            given, happened = given[:, 1], happened[:, 1]
        of = repr(facts.classes[1]) if len(facts.classes) == 2 else "all classes"
        found = inspection.reliability(given, happened)
        yield _section(
            "Can its probabilities be trusted",
            _grid([_figure(report_figures.reliability(found))]),
            f"<p class=note>Probabilities of {_em(of)}: of the rows that got "
            "70 %, 70 % should be so. Mean distance from that: "
            f"{found.error:.3f}.</p>",
        )
        return
    calibrated = _coverage(facts, inspection.LEVELS)
    if calibrated is None:
        return
    rows = "".join(
        f"<tr>{_th(f'{level:.0%}')}<td class=n>{kept:.1%}</td>"
        f"<td class=n>{number(width)}</td></tr>"
        for level, kept, width in zip(
            calibrated.levels, calibrated.covered, calibrated.width, strict=True
        )
    )
    table = (
        "<div class=scroll><table><thead><tr><th scope=col>promised</th>"
        "<th class=n scope=col>inside</th><th class=n scope=col>mean width</th></tr>"
        f"</thead><tbody>{rows}</tbody></table></div>"
    )
    yield _section(
        "Can its intervals be trusted",
        _grid([_figure(report_figures.coverage(calibrated)), table]),
        f"<p class=note>How many of the {facts.rows} lie inside the intervals that "
        "promise to hold that share of them.</p>",
    )


def _coverage(facts: _Facts, levels: Sequence[float]) -> inspection.Calibration | None:
    if not callable(getattr(facts.model, "predict_interval", None)):
        return None
    return inspection.calibration(facts.model, facts.test_x, facts.test_y, levels)


def _reliance(facts: _Facts) -> Iterable[str]:
    x, rows = _some(facts.test_x, LOOKED_AT)
    importance = inspection.permutation_importance(
        facts.model, x, facts.test_y[rows], seed=facts.seed
    )
    names = list(facts.columns)
    order = np.argsort(-importance.mean, kind="stable")
    several = min(len(facts.classes or []), len(report_figures.COLOURS))
    label = facts.targets[0]
    if facts.classes is not None:
        label = f"P({facts.classes[1]})" if several == 2 else "probability"
    figures = []
    x, rows = _some(facts.test_x, LOOKED_AT // 4)
    for j in order[:SHOWN_FEATURES]:
        values = facts.columns[names[j]]
        if not _numeric(values) and len(set(values.tolist())) > 12:
            continue
        found = inspection.partial_dependence(
            facts.model,
            x,
            int(j),
            grid=_grid_of(values),
            method="predict_proba" if facts.classes is not None else "predict",
        )
        first = slice(1, 2) if several == 2 else slice(0, several or 1)
        parts = (as_matrix(v)[:, first] for v in (found.mean, found.low, found.high))
        mean, low, high = (v[:, 0] if v.shape[1] == 1 else v for v in parts)
        found = inspection.Dependence(names[j], found.grid, mean, low, high)
        figures.append(_figure(report_figures.dependence(found, values, label)))
    score = "share of right answers" if facts.classes is not None else "R²"
    if len(names) > 1:
        yield _section(
            "What it relies on",
            _figure(report_figures.importance(importance, names)),
            f"<p class=note>Permutation importance: how much the {score} "
            f"({importance.score:.3f}) falls when the rows of one column are shuffled, "
            f"mean and deviation of {importance.values.shape[1]} times. Columns that say "
            "the same share their importance.</p>",
        )
    if figures and len(names) > 1:
        of = f" of {_em(facts.targets[0])}" if len(facts.targets) > 1 else ""
        band = "" if several > 2 else ", and what 80 % of the rows would get"
        yield _section(
            "How it depends on them",
            _key((facts.classes or [])[:several]) if several > 2 else "",
            f'<div class="grid small">{"".join(figures)}</div>',
            f"<p class=note>Partial dependence{of}: the mean prediction if all rows had "
            f"that value{band}. The ticks are the deciles of the training data; where "
            "there are none, there was little to learn from.</p>",
        )


def _key(classes: Sequence[Any]) -> str:
    """The colour of each class."""
    shown = "".join(
        f'<span><i style="background:{colour}"></i>{html.escape(str(name))}</span>'
        for name, colour in zip(classes, report_figures.COLOURS, strict=False)
    )
    return f"<p class=key>{shown}</p>"


def _training(facts: _Facts) -> Iterable[str]:
    curves = getattr(facts.model, "history_", None)
    if isinstance(curves, Mapping):
        finite = {
            str(name): list(values)
            for name, values in curves.items()
            if len(values) > 1 and name not in ("learning_rate", "lr")
        }
        if finite:
            figure = _figure(report_figures.history(finite))
            yield _section("How it was trained", figure)


def _findings(facts: _Facts) -> Iterable[str]:
    call = getattr(facts.model, "diagnose", None)
    if not callable(call) or importlib.util.find_spec("kurve.diagnosis") is None:
        return
    y = facts.y if facts.y.ndim == 1 or facts.y.shape[1] > 1 else facts.y[:, 0]
    x, rows = _some(facts.x, 10 * LOOKED_AT)
    found = list(call(x, y[rows]))
    items = "".join(
        f'<li class="{html.escape(str(f.severity))}"><b>{html.escape(str(f.name))}</b> '
        f"<span class=badge>{html.escape(str(f.severity))}</span>"
        f"<p>{html.escape(str(f.message))}</p>"
        + (
            f"<p class=note>{html.escape(_evidence(f.evidence))}</p>"
            if f.evidence
            else ""
        )
        + (f"<pre><code>{html.escape(str(f.fix))}</code></pre>" if f.fix else "")
        + "</li>"
        for f in found
    )
    body = f"<ul class=findings>{items}</ul>" if items else (
        "<p>Nothing was found: inputs, targets, training and predictions look sound.</p>"
    )  # fmt: skip
    yield _section("What may be wrong", body)


def _evidence(evidence: Any) -> str:
    if isinstance(evidence, Mapping):
        return ", ".join(
            f"{key}: {number(value) if isinstance(value, float) else value}"
            for key, value in evidence.items()
        )
    return str(evidence)


def _columns_table(facts: _Facts) -> str:
    rows = []
    y = facts.y if facts.y.ndim == 2 else facts.y[:, None]
    parts = [(name, y[:, k], "target") for k, name in enumerate(facts.targets)]
    parts += [(name, values, "feature") for name, values in facts.columns.items()]
    for name, values, role in parts[:LISTED_COLUMNS]:
        cells = _described(values)
        rows.append(
            f"<tr>{_th(name)}<td>{role}</td>"
            + "".join(f"<td class=n>{html.escape(cell)}</td>" for cell in cells[:-1])
            + f"<td>{html.escape(cells[-1])}</td></tr>"
        )
    heads = "".join(
        f"<th class=n scope=col>{name}</th>"
        for name in ("missing", "mean", "deviation", "smallest", "median", "largest")
    )
    more = len(parts) - LISTED_COLUMNS
    note = f"<p class=note>and {more} more features.</p>" if more > 0 else ""
    return (
        "<div class=scroll><table class=data><thead><tr><th scope=col>column</th>"
        f"<th scope=col>role</th>{heads}<th scope=col>values</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
        f"<p class=note>Of the {len(facts.y):,} rows of training.</p>{note}"
    )


def _described(values: np.ndarray) -> list[str]:
    if values.dtype.kind in "fiu":
        known = values[np.isfinite(values)].astype(float)
        if not len(known):
            return [str(len(values)), "", "", "", "", "", "none"]
        return [
            f"{len(values) - len(known)}",
            *map(number, (known.mean(), known.std(), known.min())),
            *map(number, (np.median(known), known.max())),
            "numbers",
        ]
    texts = [str(v) for v in values.tolist() if v is not None]
    names, counts = np.unique(np.array(texts or [""]), return_counts=True)
    order = np.argsort(-counts, kind="stable")
    shown = ", ".join(f"{names[i]} ({counts[i] / len(values):.0%})" for i in order[:4])
    more = f", {len(names) - 4} more" if len(names) > 4 else ""
    return [f"{len(values) - len(texts)}", "", "", "", "", "", shown + more]


def _model_table(facts: _Facts, settings: Mapping[str, Any] | None) -> str:
    lines: dict[str, Any] = {"kind": type(facts.model).__name__}
    models = getattr(facts.model, "models_", None)
    if models:
        lines["networks"] = len(models)
        lines["layers"] = " → ".join(_layer(layer) for layer in models[0].layers)
        lines["weights"] = f"{models[0].count_params():,} in each network"
    if hasattr(facts.model, "n_iter_"):
        lines["epochs"] = facts.model.n_iter_
    lines |= dict(settings or {})
    rows = "".join(
        f"<tr>{_th(str(key))}<td>{html.escape(str(value))}</td></tr>"
        for key, value in lines.items()
    )
    return f"<div class=scroll><table class=data><tbody>{rows}</tbody></table></div>"


def _layer(layer: Any) -> str:
    name = type(layer).__name__
    units = getattr(layer, "units", None)
    if units is None:
        return name
    activation = getattr(getattr(layer, "activation", None), "name", "")
    return f"{name} {units}" + (f" {activation}" if activation != "linear" else "")


def _loading(facts: _Facts, file: str | None) -> str:
    if file is None:
        return ""
    lines = ["from kurve.estimators import load", "", f"model = load({file!r})"]
    lines.append("model.predict(X)  # X: a table with the features of above, by name")
    if facts.classes is not None:
        lines.append("model.predict_proba(X)")
    else:
        lines.append(f"model.predict_interval(X, coverage={facts.coverage})")
    command = f"kurve predict {_shell(file)} new.csv --out predictions.csv"
    return (
        f"<h3>Use it</h3><pre><code>{html.escape(chr(10).join(lines))}</code></pre>"
        f"<pre><code>{html.escape(command)}</code></pre>"
    )


def _shell(text: str) -> str:
    import shlex

    return shlex.quote(text)


# Pieces of the page


def _section(title: str, *parts: str) -> str:
    return f"<section><h2>{html.escape(title)}</h2>{''.join(parts)}</section>"


def _figure(svg: str) -> str:
    return f"<figure>{svg}</figure>"


def _grid(parts: Sequence[str]) -> str:
    return f"<div class=grid>{''.join(parts)}</div>" if len(parts) > 1 else parts[0]


def _em(text: str) -> str:
    return f"<em>{html.escape(text)}</em>"


def _th(text: str) -> str:
    return f"<th scope=row>{html.escape(text)}</th>"


def _confusion(facts: _Facts, matrix: np.ndarray) -> str:
    names = [str(name) for name in _all_classes(facts)]
    if len(names) > 30:
        return f"<p>{len(names)} classes are too many for a table.</p>"
    heads = "".join(f"<th scope=col class=n>{html.escape(name)}</th>" for name in names)
    rows = []
    for i, name in enumerate(names):
        cells = []
        for j, count in enumerate(matrix[i]):
            share = count / max(matrix[i].sum(), 1)
            kind = "right" if i == j else "wrong"
            cells.append(
                f'<td class="n {kind}" style="--share:{share:.2f}">{count:,}</td>'
            )
        rows.append(f"<tr>{_th(name)}{''.join(cells)}</tr>")
    return (
        "<div class=scroll><table class=confusion><thead><tr><td>truth ↓ answer →</td>"
        f"{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _all_classes(facts: _Facts) -> list[Any]:
    """The model's classes, and what else the held-out rows hold."""
    known = list(facts.classes or [])
    return known + [c for c in np.unique(facts.test_y).tolist() if c not in known]


def _numeric(values: np.ndarray) -> bool:
    return bool(values.dtype.kind in "fiu")


def _grid_of(values: np.ndarray) -> Any:
    """The range of the training data, or its categories."""
    if not _numeric(values):
        known = {v for v in values.tolist() if v is not None}
        return np.array(sorted(known, key=str), dtype=values.dtype)
    known = values[np.isfinite(values)]
    different = np.unique(known)
    if len(different) <= 30:
        return different
    return np.linspace(known.min(), known.max(), 30)


def _some(x: Any, most: int) -> tuple[Any, np.ndarray]:
    """At most that many rows, evenly spread, and their positions."""
    count = len(x)
    rows = np.unique(np.linspace(0, count - 1, min(count, most)).astype(int))
    if len(rows) == count:
        return x, rows
    if hasattr(x, "columns") or hasattr(x, "column_names"):
        import narwhals.stable.v1 as nw

        return nw.from_native(x, eager_only=True)[rows.tolist()].to_native(), rows
    return np.asarray(x)[rows], rows


def _like(x: Any, name: str, values: np.ndarray) -> Any:
    """A table or array of one column with these values, of the kind of x."""
    if not (hasattr(x, "columns") or hasattr(x, "column_names")):
        return values[:, None]
    import narwhals.stable.v1 as nw

    frame = nw.from_native(x, eager_only=True)
    return nw.from_dict(
        {name: values}, native_namespace=nw.get_native_namespace(frame)
    ).to_native()


STYLE = """
:root{color-scheme:light dark;--ink:#1c2330;--soft:#5b6472;--line:#d9dee6;--page:#fff;
--panel:#f5f7fa;--accent:#3b8bd4;--warn:#c4571f;--bad:#c22f3d;--good:#2f8a55}
@media (prefers-color-scheme:dark){:root{--ink:#e4e8ee;--soft:#9aa4b2;--line:#343b47;
--page:#14181f;--panel:#1c222b;--accent:#62a8e8;--warn:#f0935a;--bad:#f07883;
--good:#63c08c}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:52rem;margin:0 auto;padding:2rem 1.1rem 4rem}
h1{font-size:1.9rem;line-height:1.2;margin:0;overflow-wrap:anywhere}
h2{font-size:1.25rem;margin:0 0 .8rem;padding-top:1.6rem;border-top:1px solid var(--line)}
h3{font-size:1rem;margin:1.4rem 0 .5rem}
section{margin-top:2.2rem}
em{font-style:normal;color:var(--accent)}
.sub{color:var(--soft);margin:.2rem 0 1rem}
.lead{font-size:1.1rem;max-width:46rem}
.note,small{color:var(--soft)}
.note{font-size:.88rem;max-width:46rem;margin:.7rem 0 0}
small{display:block;font-size:.8em;white-space:nowrap}
.data th{min-width:5rem}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(7.3rem,1fr));gap:.6rem;
margin:1.4rem 0 0}
.tiles div{background:var(--panel);border-radius:.6rem;padding:.7rem .9rem}
dt{color:var(--soft);font-size:.82rem}
dd{margin:.1rem 0 0;font-size:1.3rem;font-weight:600;font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
caption{text-align:left;font-weight:600;padding:.4rem 0}
th,td{text-align:left;padding:.4rem .9rem .4rem 0;border-bottom:1px solid var(--line);
vertical-align:baseline;font-weight:400}
thead th,thead td{color:var(--soft);font-size:.85rem}
th.n,td.n{text-align:right}
tbody th{max-width:16rem;min-width:6.5rem;overflow-wrap:break-word}
tr.model th{color:var(--accent);font-weight:600}
.data{font-size:.9rem}
.data td,.data th{padding-right:1.1rem}
.confusion td,.confusion th{padding:.4rem .8rem}
.confusion tbody td{border:1px solid var(--page)}
td.right{background:color-mix(in srgb,var(--good) calc(var(--share)*55%),transparent)}
td.wrong{background:color-mix(in srgb,var(--bad) calc(var(--share)*75%),transparent)}
.key{display:flex;flex-wrap:wrap;gap:.3rem 1.2rem;font-size:.88rem;margin:0 0 .8rem}
.key i{display:inline-block;width:.8rem;height:.8rem;border-radius:.2rem;
margin-right:.4rem;vertical-align:-.08rem}
figure{margin:0}
svg{display:block;width:100%;height:auto;overflow:visible}
svg text{font-family:inherit!important}
.grid{display:grid;gap:1.4rem 2rem;align-items:start;
grid-template-columns:repeat(auto-fit,minmax(min(100%,20rem),1fr))}
.grid.small{grid-template-columns:repeat(auto-fill,minmax(min(100%,14.5rem),1fr))}
pre{background:var(--panel);border-radius:.5rem;padding:.8rem 1rem;overflow-x:auto;
font-size:.88rem;line-height:1.45;margin:.6rem 0}
.findings{list-style:none;padding:0;margin:0;display:grid;gap:.9rem}
.findings li{border-left:.25rem solid var(--soft);padding:.1rem 0 .1rem .9rem}
.findings .warning{border-color:var(--warn)}
.findings .serious{border-color:var(--bad)}
.findings p{margin:.3rem 0}
.badge{color:var(--soft);font-size:.8rem;border:1px solid var(--line);border-radius:1rem;
padding:.05rem .5rem;margin-left:.3rem}
footer{margin-top:3rem;color:var(--soft);font-size:.85rem}
@media print{:root{--ink:#000;--soft:#444;--line:#bbb;--page:#fff;--panel:#f3f3f3;
--accent:#1b5f9e}body{font-size:11pt}main{max-width:none;padding:0}
figure,tr,li,.tiles{break-inside:avoid}h2,h3{break-after:avoid}.scroll{overflow:visible}}
"""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="generator" content="Kurve">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
{body}
<footer>Written by Kurve. The file needs no other one and loads nothing.</footer>
</main>
</body>
</html>
"""
