"""A report on a fitted estimator: one HTML file that needs nothing else.

    html = report.make_report(model, x, y, test_x, test_y)
    report.write_report("report.html", model, x, y, test_x, test_y)

It says what was fitted, how good it is on data that it has not seen, beside simple
rules, and how sure; what it relies on, how it errs and what may be wrong with it.
Pictures need matplotlib: pip install "kurve[plot]".
"""

from __future__ import annotations

import html
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.core.entries import entry
from kurve.core.files import write_text

if TYPE_CHECKING:
    from kurve.assessment import Assessment


def write_report(path: str | os.PathLike[str], *arguments: Any, **options: Any) -> None:
    """Write `make_report(...)` to a file, whole or not at all.

    Args:
        path: of the file.
        arguments, options: those of `make_report`.

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
        assessments: what `kurve.assessment.assess` said; done here if None.
        seed: of the bootstrap and the shuffles.

    Raises:
        ImportError: matplotlib is not installed.
        TypeError, ValueError: no such model; data that it cannot predict.

    Example:
        >>> x = np.linspace(-1.0, 1.0, 64).reshape(32, 2)
        >>> y = x[:, 0] ** 2
        >>> model = kurve.Regressor((4,), max_epochs=5, random_state=0).fit(x, y)
        >>> page = kurve.report.make_report(model, x, y)
        >>> page.startswith("<!DOCTYPE html>")
        True
    """
    require_matplotlib("make_report")
    from kurve.report import details, sections
    from kurve.report.facts import gather
    from kurve.report.page import PAGE, STYLE

    targets = [target] if isinstance(target, str) else list(target)
    facts = gather(model, x, y, test_x, test_y, targets, coverage, assessments, seed)
    words = "class of " if facts.classes is not None else ""
    title = f"{words}{', '.join(targets)}"
    parts = [
        sections.summary(facts, source),
        sections.scores(facts),
        *sections.fits(facts),
        *sections.doubts(facts),
        *sections.reliance(facts),
        *details.training(facts),
        *details.findings(facts),
        details.columns(facts),
        details.model(facts, settings, file),
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
