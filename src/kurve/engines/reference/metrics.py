"""Metrics: what a batch adds to a metric's float64 accumulators.

Most metrics, and every loss used as a metric, are weighted means of a value of each
row, with the accumulators [sum of weight x value, sum of weight].
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kurve.engines.reference.losses import LOSSES, Attrs, mean_squared_error


def accuracy(y: np.ndarray, p: np.ndarray, attrs: Attrs) -> np.ndarray:
    """Fraction of a row's outputs that equal their target."""
    return np.mean(y == p, axis=-1)


def binary_accuracy(y: np.ndarray, p: np.ndarray, attrs: Attrs) -> np.ndarray:
    """Fraction of a row's outputs on the right side of the threshold."""
    return np.mean(y == (p > float(attrs["threshold"])), axis=-1)


def categorical_accuracy(y: np.ndarray, p: np.ndarray, attrs: Attrs) -> np.ndarray:
    """1 where the largest output is that of the one-hot class."""
    return y.argmax(axis=-1) == p.argmax(axis=-1)


def sparse_categorical_accuracy(
    y: np.ndarray, p: np.ndarray, attrs: Attrs
) -> np.ndarray:
    """1 where the largest output is that of the class number y (R, 1)."""
    return y[:, 0].astype(np.int64) == p.argmax(axis=-1)


def top_k_categorical_accuracy(
    y: np.ndarray, p: np.ndarray, attrs: Attrs
) -> np.ndarray:
    """1 where fewer than k outputs are larger than that of the one-hot class."""
    return _among_largest(y.argmax(axis=-1), p, attrs)


def sparse_top_k_categorical_accuracy(
    y: np.ndarray, p: np.ndarray, attrs: Attrs
) -> np.ndarray:
    """The same for class numbers y (R, 1)."""
    return _among_largest(y[:, 0].astype(np.int64), p, attrs)


def _among_largest(classes: np.ndarray, p: np.ndarray, attrs: Attrs) -> np.ndarray:
    true = np.take_along_axis(p, classes[:, None], axis=-1)
    return np.sum(p > true, axis=-1) < int(attrs["k"])


ROW_VALUES: dict[str, Callable[[np.ndarray, np.ndarray, Attrs], np.ndarray]] = {
    "accuracy": accuracy,
    "binary_accuracy": binary_accuracy,
    "categorical_accuracy": categorical_accuracy,
    "sparse_categorical_accuracy": sparse_categorical_accuracy,
    "top_k_categorical_accuracy": top_k_categorical_accuracy,
    "sparse_top_k_categorical_accuracy": sparse_top_k_categorical_accuracy,
    # The metric takes the root of the mean.
    "root_mean_squared_error": lambda y, p, attrs: mean_squared_error(y, p, attrs)[0],
}

KINDS = frozenset(ROW_VALUES) | frozenset(LOSSES) | {"r2_score"}


def accumulate(
    kind: str,
    attrs: Attrs,
    y: np.ndarray,
    p: np.ndarray,
    weights: np.ndarray,
    totals: np.ndarray,
) -> None:
    """Add a batch of rows, y and p (R, O), weights (R,), to one metric's totals."""
    if kind == "r2_score":
        _add_spread(y.astype(np.float64), p, weights.astype(np.float64), totals)
        return
    if kind in ROW_VALUES:
        values = ROW_VALUES[kind](y, p, attrs)
    else:
        values, _ = LOSSES[kind](y, p, attrs)
    totals[0] += np.sum(values.astype(np.float64) * weights)
    totals[1] += np.sum(weights, dtype=np.float64)


def _add_spread(
    y: np.ndarray, p: np.ndarray, weights: np.ndarray, totals: np.ndarray
) -> None:
    """Add rows to [W = sum w, then for each output M = sum w y / W,
    S = sum w (y - M)^2 and sum w (y - p)^2].

    S of two sets together is the sum of theirs and a term for the distance of their
    means; sums of squares about zero would cancel if the mean is large. A constant
    output has S = 0. Source: Chan, Golub & LeVeque 1983.
    """
    counted = weights != 0.0
    if not counted.any():
        return
    y, p, w = y[counted], p[counted], weights[counted, None]
    mean, spread, residual = totals[1:].reshape(3, -1)
    weight = w.sum()
    batch = y[0] + (w * (y - y[0])).sum(axis=0) / weight  # the mean of these rows
    fraction = weight / (totals[0] + weight)
    between = totals[0] * fraction * (batch - mean) ** 2
    spread += (w * (y - batch) ** 2).sum(axis=0) + between
    mean += (batch - mean) * fraction
    residual += (w * (y - p) ** 2).sum(axis=0)
    totals[0] += weight
