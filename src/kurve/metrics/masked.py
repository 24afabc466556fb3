"""Metrics of masked outputs: means over the valid rows.

    sum of weight x mask x value / sum of weight x mask

Source: Keras, whose `MeanMetricWrapper` uses the mask of y_pred; other metrics use all
rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from kurve import losses
from kurve.formulas import functions as ops
from kurve.losses.rows import mask_of_rows
from kurve.metrics.rows import LossMetric, RowMetric
from kurve.plan import MetricSpec, Shape

Attrs = Mapping[str, Any]
Rule = Callable[[Any, Any, Attrs], Any]


def of_masked(metric: RowMetric) -> RowMetric:
    """The metric for a masked output."""
    if metric.of_batch:
        return metric
    if isinstance(metric, LossMetric):
        return MaskedMean(metric, metric._loss.values, metric._loss.known)
    if metric.kind not in ROWS:
        return metric
    rule, attrs = ROWS[metric.kind], metric.attrs()
    return MaskedMean(metric, lambda y, p: rule(y, p, attrs), lambda y, p: None)


class MaskedMean(RowMetric):
    """A mean over the rows selected by the mask of y_pred.

    Args:
        metric: the unmasked metric.
        rows: its value per row, with functions of `kurve.ops`.
        known: additional mask of valid rows, as 1 and 0, or None.
    """

    by_ops = True
    parts = 2

    def __init__(
        self,
        metric: RowMetric,
        rows: Callable[[Any, Any], Any],
        known: Callable[[Any, Any], Any],
    ) -> None:
        super().__init__(metric.name, metric.dtype)
        self._metric, self._rows, self._known = metric, rows, known
        self.sparse, self.kind = metric.sparse, metric.kind
        self.outputs_per_target = metric.outputs_per_target

    def target_shape(self, output_shape: Shape) -> Shape:
        return self._metric.target_shape(output_shape)

    def check_output(self, where: str, output_shape: Shape) -> None:
        self._metric.check_output(where, output_shape)

    def spec(self, output_shape: Shape, weighted: bool = False) -> MetricSpec:
        self._metric.spec(output_shape, weighted)  # refuses shapes that do not match
        return MetricSpec("rows", {}, 2, weighted)

    def traced(self, y_true: Any, y_pred: Any) -> Any:
        rows, known = self._rows(y_true, y_pred), self._known(y_true, y_pred)
        mask = mask_of_rows(self.name, y_pred.mask, rows)
        if known is not None:
            mask = mask * known
        return [rows * mask, mask]

    def value(self, totals: np.ndarray) -> Any:
        return float(totals[0] / totals[2]) if totals[2] else 0.0


def _accuracy(y: Any, p: Any, attrs: Attrs) -> Any:
    return ops.mean(ops.equal(y, p), -1)


def _binary_accuracy(y: Any, p: Any, attrs: Attrs) -> Any:
    return ops.mean(ops.equal(y, p > attrs["threshold"]), -1)


def _categorical_accuracy(y: Any, p: Any, attrs: Attrs) -> Any:
    return ops.equal(ops.argmax(y, -1), ops.argmax(p, -1))


def _sparse_categorical_accuracy(y: Any, p: Any, attrs: Attrs) -> Any:
    return ops.equal(y, ops.argmax(p, -1))


def _top_k(y: Any, p: Any, attrs: Attrs) -> Any:
    return _sparse_top_k(ops.argmax(y, -1), p, attrs)


def _sparse_top_k(y: Any, p: Any, attrs: Attrs) -> Any:
    one_hot = ops.one_hot(y, p.shape[-1])
    true = ops.sum(one_hot * p, -1, True)
    larger = ops.sum(ops.cast(p > true, "float32"), -1)
    return ops.logical_and(ops.any(one_hot, -1), larger < attrs["k"])


def _among_first(y: Any, p: Any, attrs: Attrs) -> Any:
    return ops.any(ops.equal(p[..., : attrs["k"]], ops.expand_dims(y, -1)), -1)


def _of_loss(name: str) -> Rule:
    def rows(y: Any, p: Any, attrs: Attrs) -> Any:
        return getattr(losses, name)().rows(y, p)

    return rows


ROWS: dict[str, Rule] = {
    "accuracy": _accuracy,
    "binary_accuracy": _binary_accuracy,
    "categorical_accuracy": _categorical_accuracy,
    "sparse_categorical_accuracy": _sparse_categorical_accuracy,
    "top_k_categorical_accuracy": _top_k,
    "sparse_top_k_categorical_accuracy": _sparse_top_k,
    "among_first": _among_first,
    "mean_absolute_percentage_error": _of_loss("MeanAbsolutePercentageError"),
    "mean_squared_logarithmic_error": _of_loss("MeanSquaredLogarithmicError"),
    "poisson": _of_loss("Poisson"),
    "kl_divergence": _of_loss("KLDivergence"),
    "hinge": _of_loss("Hinge"),
    "squared_hinge": _of_loss("SquaredHinge"),
    "categorical_hinge": _of_loss("CategoricalHinge"),
    "cosine_similarity": lambda y, p, attrs: -losses.CosineSimilarity().rows(y, p),
}
"""The row values of metrics by kind, for those that Keras builds from functions.
Others, such as counts, ignore masks."""
