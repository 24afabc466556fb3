"""A report on a fitted estimator: one self-contained HTML file.

    html = report.make_report(model, x, y, test_x, test_y)
    report.write_report("report.html", model, x, y, test_x, test_y)

It shows what was fitted, how good it is on held-out data compared with simple baselines
and how certain that is, which features matter, what the errors look like, and possible
problems. Needs Jinja2 and matplotlib: pip install "kurve[report]".
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.core.entries import entry
from kurve.core.files import write_text

if TYPE_CHECKING:
    from kurve.assessment import Assessment
    from kurve.inspection.predictions import Predictions


def write_report(path: str | os.PathLike[str], *arguments: Any, **options: Any) -> None:
    """Write `make_report(...)` to a file, atomically.

    Args:
        path: path of the file.
        arguments, options: see `make_report`.

    Raises:
        OSError: the file cannot be written.

    Example:
        >>> x = np.linspace(-1.0, 1.0, 64).reshape(32, 2)
        >>> y = x[:, 0] ** 2
        >>> model = kurve.Regressor((4,), max_epochs=5, random_state=0).fit(x, y)
        >>> kurve.report.write_report("report.html", model, x, y)
    """
    write_text(path, make_report(*arguments, **options))


@entry
@np.errstate(over="ignore", invalid="ignore")
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
    predictions: Predictions | None = None,
    findings: Any = None,
    seed: int = 0,
) -> str:
    """The report as an HTML page.

    Args:
        model: a fitted `kurve.Regressor` or `kurve.Classifier`, or anything with
            `predict` (a classifier if it has `predict_proba` and `classes_`); sections
            that need a missing method are omitted.
        x, y: the training data.
        test_x, test_y: held-out data; without it, the page states that the errors are
            training errors.
        target: name of y, or of each of its columns.
        source: where the data comes from.
        file: the model's file, for the code that loads it.
        settings: more rows for the table about the model, by name.
        coverage: coverage of the intervals that are drawn and checked.
        assessments: the result of `kurve.assessment.assess`; computed if None.
        predictions: the model's predictions for the held-out data; computed if None.
        findings: the result of `model.diagnose`; computed if None.
        seed: seed of the bootstrap and the permutations.

    Raises:
        ImportError: Jinja2 or matplotlib is not installed.
        TypeError, ValueError: the model is not fitted, or cannot predict the data.

    Example:
        >>> x = np.linspace(-1.0, 1.0, 64).reshape(32, 2)
        >>> y = x[:, 0] ** 2
        >>> model = kurve.Regressor((4,), max_epochs=5, random_state=0).fit(x, y)
        >>> page = kurve.report.make_report(model, x, y)
        >>> page.startswith("<!DOCTYPE html>")
        True
    """
    require_packages("make_report")
    from kurve.report import details, sections
    from kurve.report.context import gather
    from kurve.report.page import render

    targets = [target] if isinstance(target, str) else list(target)
    context = gather(
        model, x, y, test_x, test_y, targets, coverage, assessments, seed, predictions
    )
    prefix = "class of " if context.classes is not None else ""
    parts = [
        sections.summary(context, source),
        sections.scores(context),
        *sections.fit(context),
        *sections.calibration(context),
        *sections.decisions(context),
        *sections.importance(context),
        *details.worst(context),
        *details.training(context),
        *details.findings(context, findings),
        details.columns(context),
        details.model(context, settings, file),
    ]
    page = render("page.html", title=prefix + ", ".join(targets), sections=parts)
    return str(page)  # plain str, which can be joined to other strings


def require_packages(where: str) -> None:
    """Raise ImportError with instructions if Jinja2 or matplotlib is missing."""
    for package, name in (("matplotlib", "matplotlib"), ("jinja2", "Jinja2")):
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise ImportError(
                f"[{where}] a report needs {name}, which is not installed. "
                f'Received: {error}. Try pip install "kurve[report]".'
            ) from None
