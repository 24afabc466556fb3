"""Metrics as functions: the value of every row or output, float32."""

from __future__ import annotations

from typing import Any

import numpy as np

from kurve import losses
from kurve.core.arrays import as_numbers
from kurve.core.entries import entry
from kurve.core.results import result
from kurve.formulas import functions as ops
from kurve.formulas.operators import Symbolic
from kurve.metrics.accuracies import (
    CategoricalAccuracy,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    TopKCategoricalAccuracy,
)
from kurve.metrics.regression import ConcordanceCorrelation, PearsonCorrelation
from kurve.metrics.rows import RowMetric


def _rows(metric: RowMetric, y_true: Any, y_pred: Any) -> Any:
    if isinstance(y_pred, Symbolic) and not metric.of_batch:
        from kurve.metrics.masked import ROWS

        if metric.kind in ROWS:
            return ops.cast(
                ROWS[metric.kind](y_true, y_pred, metric.attrs()), "float32"
            )
    from kurve.engines.reference.metrics import ROW_VALUES

    where = metric.kind
    p = as_numbers(where, "y_pred", y_pred, np.float32)
    y, p = metric._arranged(where, y_true, p[None] if p.ndim == 1 else p)
    rows = p.reshape(-1, p.shape[-1])
    with np.errstate(all="ignore"):
        values = ROW_VALUES[metric.kind](y.reshape(len(rows), -1), rows, metric.attrs())
    shape = p.shape[:-1] if np.ndim(y_pred) > 1 else ()
    return result(np.asarray(values, np.float32).reshape(shape))


@entry
def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> Any:
    """Whether each output is on the correct side of the threshold, as 0 or 1.

    Args:
        y_true, y_pred: (...), same shape.
        threshold: outputs above it are 1.
    """
    if isinstance(y_pred, Symbolic):
        return ops.cast(ops.equal(y_true, y_pred > threshold), "float32")
    y = as_numbers("binary_accuracy", "y_true", y_true, np.float32)
    p = as_numbers("binary_accuracy", "y_pred", y_pred, np.float32)
    return result(np.asarray(y == (p > threshold), np.float32))


@entry
def categorical_accuracy(y_true: Any, y_pred: Any) -> Any:
    """`CategoricalAccuracy` of every row."""
    return _rows(CategoricalAccuracy(), y_true, y_pred)


@entry
def sparse_categorical_accuracy(y_true: Any, y_pred: Any) -> Any:
    """`SparseCategoricalAccuracy` of every row."""
    return _rows(SparseCategoricalAccuracy(), y_true, y_pred)


@entry
def top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> Any:
    """`TopKCategoricalAccuracy` of every row."""
    return _rows(TopKCategoricalAccuracy(k), y_true, y_pred)


@entry
def sparse_top_k_categorical_accuracy(
    y_true: Any, y_pred: Any, k: int = 5, from_sorted_ids: bool = False
) -> Any:
    """`SparseTopKCategoricalAccuracy` of every row."""
    metric = SparseTopKCategoricalAccuracy(k, from_sorted_ids=from_sorted_ids)
    return _rows(metric, y_true, y_pred)


@entry
def pearson_correlation(y_true: Any, y_pred: Any, axis: int = -1) -> Any:
    """`PearsonCorrelation` of every row."""
    return _rows(PearsonCorrelation(axis=axis), y_true, y_pred)


@entry
def concordance_correlation(y_true: Any, y_pred: Any, axis: int = -1) -> Any:
    """`ConcordanceCorrelation` of every row."""
    return _rows(ConcordanceCorrelation(axis=axis), y_true, y_pred)


_losses: Any = losses  # its functions are created on first use

# Losses are metrics too.
binary_crossentropy = _losses.binary_crossentropy
binary_focal_crossentropy = _losses.binary_focal_crossentropy
categorical_crossentropy = _losses.categorical_crossentropy
categorical_focal_crossentropy = _losses.categorical_focal_crossentropy
categorical_hinge = _losses.categorical_hinge
hinge = _losses.hinge
huber = _losses.huber
kl_divergence = _losses.kl_divergence
log_cosh = _losses.log_cosh
mean_absolute_error = _losses.mean_absolute_error
mean_absolute_percentage_error = _losses.mean_absolute_percentage_error
mean_squared_error = _losses.mean_squared_error
mean_squared_logarithmic_error = _losses.mean_squared_logarithmic_error
poisson = _losses.poisson
sparse_categorical_crossentropy = _losses.sparse_categorical_crossentropy
squared_hinge = _losses.squared_hinge
