"""The subject of a report: a model, its data and its predictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from kurve.assessment import Assessment, assess_predictions
from kurve.core.arrays import as_array
from kurve.core.inside import is_model, network_of
from kurve.inspection.predictions import Predictions, as_matrix, columns_of, take_rows


@dataclass
class Context:
    """The model, its data, and its predictions. Arrays are (n, outputs)."""

    model: Any
    targets: list[str]
    x: Any
    columns: dict[str, np.ndarray]
    y: np.ndarray
    test_x: Any
    test_columns: dict[str, np.ndarray]
    test_y: np.ndarray
    held_out: bool
    predictions: Predictions
    assessments: dict[str, Assessment]
    coverage: float
    seed: int

    @property
    def classes(self) -> list[Any] | None:
        """The classes of a classifier, None for regression."""
        return self.predictions.classes

    @property
    def rows(self) -> str:
        """The page's name for the rows on which errors are measured."""
        return "held-out rows" if self.held_out else "training rows"


def gather(
    model: Any,
    x: Any,
    y: Any,
    test_x: Any,
    test_y: Any,
    targets: list[str],
    coverage: float,
    assessments: Mapping[str, Assessment] | None,
    seed: int,
    predictions: Predictions | None = None,
) -> Context:
    """The context of a report; for the arguments see `make_report`."""
    if not callable(getattr(model, "predict", None)):
        raise TypeError(
            "[make_report] model must have a method predict. Received: an object of "
            f"type {type(model).__name__}. Try write_report(path, model, x, y)."
        )
    if is_model(model):
        network_of(model).require_one_output("make_report")
        network_of(model).refuse_rows_together("make_report")
    held_out = test_x is not None
    if not held_out:
        test_x, test_y = x, y
    y, test_y = as_array("report", "y", y), as_array("report", "test_y", test_y)
    for inputs, values in ((x, y), (test_x, test_y)):
        if len(inputs) != len(values):
            raise ValueError(
                "[make_report] x and y must have the same number of rows. Received: "
                f"{len(inputs)} and {len(values)}. Try the same rows of both."
            )
    if predictions is None:
        predictions = Predictions(model, test_x)
    if assessments is None:
        assessments = assess_predictions(
            predictions, test_x, test_y, targets, (x, y), coverage, seed
        )
    if predictions.classes is None:
        y, test_y = as_matrix(y), as_matrix(test_y)
    return Context(
        model,
        targets,
        x,
        columns_of(x),
        y,
        test_x,
        columns_of(test_x),
        test_y,
        held_out,
        predictions,
        dict(assessments),
        coverage,
        seed,
    )


def is_numeric(values: np.ndarray) -> bool:
    """Whether a column holds numbers."""
    return bool(values.dtype.kind in "fiu")


def grid_of(values: np.ndarray) -> Any:
    """Points across the range of a column, or its categories."""
    if not is_numeric(values):
        known = {v for v in values.tolist() if v is not None}
        return np.array(sorted(known, key=str), dtype=values.dtype)
    known = values[np.isfinite(values)]
    unique = np.unique(known)
    if len(unique) <= 30:
        return unique
    return np.linspace(known.min(), known.max(), 30)


def some_rows(x: Any, most: int) -> tuple[Any, np.ndarray]:
    """At most `most` evenly spaced rows, and their indices."""
    count = len(x)
    rows = np.unique(np.linspace(0, count - 1, min(count, most)).astype(int))
    if len(rows) == count:
        return x, rows
    return take_rows(x, rows), rows


def one_column(x: Any, name: str, values: np.ndarray) -> Any:
    """The values as a one-column table or array of the same type as x."""
    if not (hasattr(x, "columns") or hasattr(x, "column_names")):
        return values[:, None]
    import narwhals.stable.v1 as nw

    frame = nw.from_native(x, eager_only=True)
    return nw.from_dict(
        {name: values}, native_namespace=nw.get_native_namespace(frame)
    ).to_native()


def all_classes(context: Context) -> list[Any]:
    """The model's classes and any others in the held-out rows."""
    known = list(context.classes or [])
    return known + [c for c in np.unique(context.test_y).tolist() if c not in known]
