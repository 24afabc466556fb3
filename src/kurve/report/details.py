"""The sections on training, data and model, each a function of the facts."""

from __future__ import annotations

import html
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from kurve.assessment import number
from kurve.report import figures
from kurve.report.facts import Facts, some_rows
from kurve.report.page import picture, row_head, section

DIAGNOSED = 20_000
"""Rows that the diagnosis looks at."""

LISTED_COLUMNS = 60


def training(facts: Facts) -> Iterable[str]:
    """The course of the training."""
    curves = getattr(facts.model, "history_", None)
    if isinstance(curves, Mapping):
        finite = {
            str(name): list(values)
            for name, values in curves.items()
            if len(values) > 1 and name not in ("learning_rate", "lr")
        }
        if finite:
            figure = picture(figures.history(finite))
            yield section("How it was trained", figure)


def findings(facts: Facts) -> Iterable[str]:
    """What the diagnosis says."""
    call = getattr(facts.model, "diagnose", None)
    if not callable(call):
        return
    y = facts.y if facts.y.ndim == 1 or facts.y.shape[1] > 1 else facts.y[:, 0]
    x, rows = some_rows(facts.x, DIAGNOSED)
    found = list(call(x, y[rows]))
    items = "".join(map(_finding, found))
    body = f"<ul class=findings>{items}</ul>" if items else (
        "<p>Nothing was found: data, training and predictions look sound.</p>"
    )  # fmt: skip
    yield section("What may be wrong", body)


def _finding(found: Any) -> str:
    name, severity = str(found.name).replace("_", " "), html.escape(str(found.severity))
    parts = [
        f'<li class="{severity}"><b>{html.escape(name)}</b>',
        f"<span class=badge>{severity}</span>",
        f"<p>{html.escape(str(found.message))}</p>",
    ]
    if found.evidence:
        parts.append(f"<p class=note>{html.escape(_evidence(found.evidence))}</p>")
    if found.fix:
        parts.append(f"<pre><code>{html.escape(str(found.fix))}</code></pre>")
    return " ".join(parts) + "</li>"


def _evidence(evidence: Any) -> str:
    if isinstance(evidence, Mapping):
        return ", ".join(
            f"{key}: {number(value) if isinstance(value, float) else value}"
            for key, value in evidence.items()
        )
    return str(evidence)


def columns(facts: Facts) -> str:
    """The columns of the training data."""
    return section("The data", _columns_table(facts))


def _columns_table(facts: Facts) -> str:
    rows = []
    y = facts.y if facts.y.ndim == 2 else facts.y[:, None]
    parts = [(name, y[:, k], "target") for k, name in enumerate(facts.targets)]
    parts += [(name, values, "feature") for name, values in facts.columns.items()]
    for name, values, role in parts[:LISTED_COLUMNS]:
        cells = _described(values)
        rows.append(
            f"<tr>{row_head(name)}<td>{role}</td>"
            + "".join(f"<td class=n>{html.escape(cell)}</td>" for cell in cells[:-1])
            + f"<td>{html.escape(cells[-1])}</td></tr>"
        )
    headings = "".join(
        f"<th class=n scope=col>{name}</th>"
        for name in ("missing", "mean", "deviation", "smallest", "median", "largest")
    )
    more = len(parts) - LISTED_COLUMNS
    note = f"<p class=note>and {more} more features.</p>" if more > 0 else ""
    return (
        "<div class=scroll><table class=data><thead><tr><th scope=col>column</th>"
        f"<th scope=col>role</th>{headings}<th scope=col>values</th></tr></thead>"
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


def model(facts: Facts, settings: Mapping[str, Any] | None, file: str | None) -> str:
    """What was trained, and how to use it."""
    return section("The model", _model_table(facts, settings), _loading(facts, file))


def _model_table(facts: Facts, settings: Mapping[str, Any] | None) -> str:
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
        f"<tr>{row_head(str(key))}<td>{html.escape(str(value))}</td></tr>"
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


def _loading(facts: Facts, file: str | None) -> str:
    if file is None:
        return ""
    lines = ["from kurve.estimators import load", "", f"model = load({file!r})"]
    lines.append("model.predict(X)  # X: a table with the features of above, by name")
    if facts.classes is not None:
        lines.append("model.predict_proba(X)")
    else:
        lines.append(f"model.predict_interval(X, coverage={facts.coverage})")
    command = f"kurve predict {shlex.quote(file)} new.csv --out predictions.csv"
    return (
        f"<h3>Use it</h3><pre><code>{html.escape(chr(10).join(lines))}</code></pre>"
        f"<pre><code>{html.escape(command)}</code></pre>"
    )
