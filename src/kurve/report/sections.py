"""The sections on what the model can do, each a function of the facts."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from kurve import inspection
from kurve.assessment import number
from kurve.plots import COLOURS
from kurve.predictions import Predictions, as_matrix
from kurve.report import figures
from kurve.report.facts import (
    Facts,
    all_classes,
    is_numeric,
    like,
    some_rows,
    values_of,
)
from kurve.report.page import em, picture, row_head, section, side_by_side

LOOKED_AT = 2000
"""Rows on which importance is measured; dependence on a quarter of them."""

SHOWN_FEATURES = 6
"""Features whose partial dependence is drawn: the most important ones."""

MARGIN = 0.15
"""How far beyond the data, in parts of its range, the curve of one feature goes."""


def summary(facts: Facts, source: str | None) -> str:
    """What it is, in one sentence and a few numbers."""
    first = facts.targets[0]
    scores = facts.assessments[first]
    tiles = []
    if facts.classes is not None:
        right, rule = (
            scores.value("accuracy"),
            scores.value("accuracy", "largest class"),
        )
        lead = (
            f"The model names the right class of {em(first)} in {right:.1%} of the "
            f"{facts.rows}; always naming the largest class is right in {rule:.1%}."
        )
        tiles.append(("accuracy", f"{right:.1%}"))
        tiles.append(("log loss", number(scores.value("log loss"))))
    else:
        rmse, line = scores.value("RMSE"), scores.value("RMSE", "straight line")
        lead = (
            f"On the {facts.rows} the model misses {em(first)} by {number(rmse)} (root "
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
    from_ = f" from {em(source)}" if source else ""
    names = ", ".join(map(em, facts.targets))
    what = "Classes of" if facts.classes is not None else "Function for"
    return (
        f"<header><h1>{what} {names}</h1><p class=sub>learnt{from_} by Kurve</p>"
        f"<p class=lead>{lead}</p><dl class=tiles>{shown}</dl></header>"
    )


def _beside(rmse: float, line: float) -> str:
    if not (rmse > 0 and line > 0):
        return ""
    if line >= 1.05 * rmse:
        return f", {number(line / rmse, 3)} times less than a straight line"
    if rmse >= 1.05 * line:
        return f", {number(rmse / line, 3)} times more than a straight line"
    return ", about as a straight line does"


def scores(facts: Facts) -> str:
    """How good the model is, beside simple rules."""
    return section("How good", _scores_table(facts), _note_on_scores(facts))


def _scores_table(facts: Facts) -> str:
    out = []
    for name, found in facts.assessments.items():
        headings = [score.name for score in found.scores["model"]]
        rows = []
        for who, scores in found.scores.items():
            known = {score.name: score for score in scores}
            cells = [row_head(who)]
            for head in headings:
                score = known.get(head)
                if score is None:
                    cells.append("<td class=n>—</td>")
                    continue
                low, high = score.text(score.low, 3), score.text(score.high, 3)
                cells.append(
                    f"<td class=n><b>{score.text(score.value)}</b> "
                    f"<small>{low} to {high}</small></td>"
                )
            kind = " class=model" if who == "model" else ""
            rows.append(f"<tr{kind}>{''.join(cells)}</tr>")
        titles = "".join(
            f"<th class=n scope=col>{html.escape(h)}</th>" for h in headings
        )
        caption = f"<caption>{em(name)}</caption>" if len(facts.targets) > 1 else ""
        out.append(
            f"<div class=scroll><table>{caption}<thead><tr><td></td>{titles}</tr>"
            f"</thead><tbody>{''.join(rows)}</tbody></table></div>"
        )
    return "".join(out)


def _note_on_scores(facts: Facts) -> str:
    count = next(iter(facts.assessments.values())).rows
    kind = (
        "Accuracy: share of right answers. Log loss: mean of −log of the probability "
        "given to the truth."
        if facts.classes is not None
        else "RMSE: root of the mean squared error. MAE: mean absolute error. R²: "
        "share of the variance that is explained. NLL: mean of −log of the density "
        "given to the truth."
    )
    return (
        f"<p class=note>On {count:,} {facts.rows}. Small figures: the interval that 95 "
        f"in 100 bootstrap samples of these rows lie in. {kind}</p>"
    )


def fits(facts: Facts) -> Iterable[str]:
    """Predictions beside the truth, and what is left over."""
    if facts.classes is not None:
        matrix = inspection.confusion_matrix(
            facts.test_y, facts.predictions.labels, all_classes(facts)
        )
        yield section("Which classes it takes for which", _confusion(facts, matrix))
        return
    drawn = []
    for k, name in enumerate(facts.targets):
        single = len(facts.columns) == 1 and is_numeric(
            next(iter(facts.columns.values()))
        )
        drawn.append(_curve(facts, k) if single else _against_truth(facts, k, name))
    note = ""
    outside = facts.predictions.outside
    if outside is not None and outside.any():
        note = (
            f"<p class=note>{int(outside.sum())} of the {facts.rows} lie outside "
            "the training data, where the model guesses.</p>"
        )
    yield section("The fit", side_by_side(drawn), note)
    errors = facts.test_y - facts.predictions.mean
    drawn = [
        picture(figures.residuals(facts.predictions.mean[:, k], errors[:, k], name))
        for k, name in enumerate(facts.targets)
    ]
    yield section(
        "What is left over",
        side_by_side(drawn),
        "<p class=note>A good fit leaves a level band without a pattern. A bend means "
        "that there is more to learn, a funnel that the noise is not the same "
        "everywhere.</p>",
    )


def _curve(facts: Facts, k: int) -> str:
    feature, values = next(iter(facts.columns.items()))
    x = values.astype(float)
    low, high = float(np.nanmin(x)), float(np.nanmax(x))
    room = MARGIN * ((high - low) or 1.0)
    grid = np.linspace(low - room, high + room, 400)
    points = like(facts.x, feature, grid)
    known = Predictions(facts.model, points)
    predicted, bounds = known.mean[:, k], None
    if known.has_intervals:
        bounds = known.intervals(facts.coverage)[:, k]
    test = None
    if facts.held_out:
        test = facts.test_columns[feature].astype(float), facts.test_y[:, k]
    return picture(
        figures.curve(
            x, facts.y[:, k], test, grid, predicted, bounds,
            (feature, facts.targets[k]), facts.coverage,
        ),
    )  # fmt: skip


def _against_truth(facts: Facts, k: int, name: str) -> str:
    return picture(
        figures.against_truth(
            facts.test_y[:, k],
            facts.predictions.mean[:, k],
            facts.predictions.outside,
            name,
        )
    )


def doubts(facts: Facts) -> Iterable[str]:
    """Whether probabilities or intervals can be trusted."""
    if facts.classes is not None:
        happened = facts.test_y[:, None] == np.asarray(facts.classes)[None, :]
        given = facts.predictions.probabilities
        if len(facts.classes) == 2:
            given, happened = given[:, 1], happened[:, 1]
        of = repr(facts.classes[1]) if len(facts.classes) == 2 else "all classes"
        found = inspection.reliability(given, happened)
        yield section(
            "Can its probabilities be trusted",
            side_by_side([picture(figures.reliability(found))]),
            f"<p class=note>Probabilities of {em(of)}: of the rows that got "
            "70 %, 70 % should be so. Mean distance from that: "
            f"{found.error:.3f}.</p>",
        )
        return
    if not facts.predictions.has_intervals:
        return
    calibrated = inspection.calibration_of(facts.predictions.intervals, facts.test_y)
    rows = "".join(
        f"<tr>{row_head(f'{level:.0%}')}<td class=n>{kept:.1%}</td>"
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
    yield section(
        "Can its intervals be trusted",
        side_by_side([picture(figures.coverage(calibrated)), table]),
        f"<p class=note>How many of the {facts.rows} lie inside the intervals that "
        "promise to hold that share of them.</p>",
    )


def reliance(facts: Facts) -> Iterable[str]:
    """Which features matter, and how."""
    x, rows = some_rows(facts.test_x, LOOKED_AT)
    importance = inspection.permutation_importance(
        facts.model, x, facts.test_y[rows], seed=facts.seed
    )
    names = list(facts.columns)
    order = np.argsort(-importance.mean, kind="stable")
    several = min(len(facts.classes or []), len(COLOURS))
    label = facts.targets[0]
    if facts.classes is not None:
        label = f"P({facts.classes[1]})" if several == 2 else "probability"
    x, rows = some_rows(facts.test_x, LOOKED_AT // 4)
    found = []
    for j in order[:SHOWN_FEATURES]:
        values = facts.columns[names[j]]
        if not is_numeric(values) and len(set(values.tolist())) > 12:
            continue
        each = inspection.partial_dependence(
            facts.model,
            x,
            int(j),
            grid=values_of(values),
            method="predict_proba" if facts.classes is not None else "predict",
        )
        first = slice(1, 2) if several == 2 else slice(0, several or 1)
        parts = (as_matrix(v)[:, first] for v in (each.mean, each.low, each.high))
        mean, low, high = (v[:, 0] if v.shape[1] == 1 else v for v in parts)
        found.append(inspection.Dependence(names[j], each.grid, mean, low, high))
    shown = [v for d in found for v in ((d.mean,) if several > 2 else (d.low, d.high))]
    limits = (
        (min(v.min() for v in shown), max(v.max() for v in shown)) if shown else None
    )
    drawn = [
        picture(figures.dependence(each, facts.columns[each.name], label, limits))
        for each in found
    ]
    score = "share of right answers" if facts.classes is not None else "R²"
    if len(names) > 1:
        yield section(
            "What it relies on",
            picture(figures.importance(importance, names)),
            f"<p class=note>Permutation importance: how much the {score} "
            f"({importance.score:.3f}) falls when the rows of one column are shuffled, "
            f"mean and deviation of {importance.values.shape[1]} times. Columns that "
            "say the same share their importance.</p>",
        )
    if drawn and len(names) > 1:
        of = f" of {em(facts.targets[0])}" if len(facts.targets) > 1 else ""
        band = "" if several > 2 else ", and what 80 % of the rows would get"
        yield section(
            "How it depends on them",
            _key((facts.classes or [])[:several]) if several > 2 else "",
            f'<div class="grid small">{"".join(drawn)}</div>',
            f"<p class=note>Partial dependence{of}: the mean prediction if all rows "
            f"had that value{band}. The ticks are the deciles of the training data; "
            "where there are none, there was little to learn from.</p>",
        )


def _key(classes: Sequence[Any]) -> str:
    """The colour of each class."""
    shown = "".join(
        f'<span><i style="background:{colour}"></i>{html.escape(str(name))}</span>'
        for name, colour in zip(classes, COLOURS, strict=False)
    )
    return f"<p class=key>{shown}</p>"


def _confusion(facts: Facts, matrix: np.ndarray) -> str:
    names = [str(name) for name in all_classes(facts)]
    if len(names) > 30:
        return f"<p>{len(names)} classes are too many for a table.</p>"
    headings = "".join(
        f"<th scope=col class=n>{html.escape(name)}</th>" for name in names
    )
    rows = []
    for i, name in enumerate(names):
        cells = []
        for j, count in enumerate(matrix[i]):
            share = count / max(matrix[i].sum(), 1)
            kind = "right" if i == j else "wrong"
            cells.append(
                f'<td class="n {kind}" style="--share:{share:.2f}">{count:,}</td>'
            )
        rows.append(f"<tr>{row_head(name)}{''.join(cells)}</tr>")
    return (
        "<div class=scroll><table class=confusion><thead><tr><td>truth ↓ answer →</td>"
        f"{headings}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )
