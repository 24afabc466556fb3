"""Metrics of outputs that are compared with targets of more values, as Keras's
broadcasting does in programs written for it: see `kurve.losses.target_shapes`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from kurve import losses
from kurve.formulas import functions as ops
from kurve.metrics.masked import ROWS
from kurve.metrics.rows import LossMetric, RowMetric
from kurve.plan import Shape


def of_wide_targets(
    metric: RowMetric, loss: losses.Loss | None, output_shape: Shape
) -> RowMetric:
    """The metric for an output whose loss compares it with wider targets.

    Raises:
        ValueError: it is no mean over rows.
    """
    if loss is None or loss.any_targets or output_shape not in loss.targets:
        return metric
    if isinstance(metric, LossMetric):
        return WideMean(metric, metric._loss.rows)
    if metric.by_ops:
        return metric
    if metric.kind == "root_mean_squared_error":
        return WideMean(metric, losses.MeanSquaredError().rows)
    if metric.kind not in ROWS:
        raise ValueError(
            f"[{type(metric).__name__}] targets must have the shape of the output. "
            f"Received: targets of shape (n, {loss.targets[output_shape]}) for outputs "
            f"of shape (n, {output_shape}). Try metrics=['mae'], or a last layer with "
            "one unit per target."
        )
    rule, attrs = ROWS[metric.kind], metric.attrs()
    return WideMean(metric, lambda y, p: rule(y, p, attrs))


class WideMean(RowMetric):
    """A mean over rows whose targets broadcast with the outputs.

    Args:
        metric: the metric for targets of the output's shape.
        rows: its value per row, with functions of `kurve.ops`.
    """

    by_ops = True

    def __init__(self, metric: RowMetric, rows: Callable[[Any, Any], Any]) -> None:
        super().__init__(metric.name, metric.dtype)
        self._metric, self._rows = metric, rows
        self.kind, self.of_batch = metric.kind, metric.of_batch

    def traced(self, y_true: Any, y_pred: Any) -> Any:
        return ops.cast(self._rows(y_true, y_pred), "float32")

    def value(self, totals: np.ndarray) -> Any:
        return self._metric.value(totals)
