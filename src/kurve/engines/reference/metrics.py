"""Metrics: what a batch adds to a metric's float64 accumulators.

Most metrics, and every loss used as a metric, are weighted means of one value per row,
with the accumulators [sum of weight x value, sum of weight]. The others have their own:
see `COUNTS`. As in Keras, a row whose class number equals the attribute `ignore_class`
has the value 0, and with weights it does not count.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kurve.config import EPSILON
from kurve.engines.reference.activations import sigmoid
from kurve.engines.reference.losses import LOSSES, Attrs, mean_squared_error


def accuracy(y: np.ndarray, p: np.ndarray, attrs: Attrs) -> np.ndarray:
    """Fraction of outputs in a row that equal their targets."""
    return np.mean(y == p, axis=-1)


def binary_accuracy(y: np.ndarray, p: np.ndarray, attrs: Attrs) -> np.ndarray:
    """Fraction of outputs in a row on the right side of the threshold."""
    return np.mean(y == (p > float(attrs["threshold"])), axis=-1)


def categorical_accuracy(y: np.ndarray, p: np.ndarray, attrs: Attrs) -> np.ndarray:
    """1 if the largest output is that of the one-hot class."""
    return y.argmax(axis=-1) == p.argmax(axis=-1)


def sparse_categorical_accuracy(
    y: np.ndarray, p: np.ndarray, attrs: Attrs
) -> np.ndarray:
    """1 if the largest output is that of the class number y (R, 1)."""
    return y[:, 0].astype(np.int64) == p.argmax(axis=-1)


def top_k_categorical_accuracy(
    y: np.ndarray, p: np.ndarray, attrs: Attrs
) -> np.ndarray:
    """1 if fewer than k outputs are larger than that of the one-hot class."""
    return _among_largest(y.argmax(axis=-1), p, attrs)


def sparse_top_k_categorical_accuracy(
    y: np.ndarray, p: np.ndarray, attrs: Attrs
) -> np.ndarray:
    """The same for class numbers y (R, 1)."""
    return _among_largest(y[:, 0].astype(np.int64), p, attrs)


def _among_largest(classes: np.ndarray, p: np.ndarray, attrs: Attrs) -> np.ndarray:
    exists = (classes >= 0) & (classes < p.shape[-1])
    true = np.take_along_axis(p, np.where(exists, classes, 0)[:, None], axis=-1)
    return exists & (np.sum(p > true, axis=-1) < int(attrs["k"]))


def among_first(y: np.ndarray, p: np.ndarray, attrs: Attrs) -> np.ndarray:
    """1 if the class number y (R, 1) is one of the first k outputs."""
    return np.any(p[:, : int(attrs["k"])] == y, axis=-1)


def mean_absolute_percentage_error(
    y: np.ndarray, p: np.ndarray, attrs: Attrs
) -> np.ndarray:
    """100 mean |(y - p) / max(|y|, 1e-7)|."""
    least = p.dtype.type(EPSILON)
    return 100.0 * _mean(np.abs((y - p) / np.maximum(np.abs(y), least)))


def mean_squared_logarithmic_error(
    y: np.ndarray, p: np.ndarray, attrs: Attrs
) -> np.ndarray:
    """mean (log(1 + max(p, 1e-7)) - log(1 + max(y, 1e-7)))^2."""
    least = p.dtype.type(EPSILON)
    log_p, log_y = (np.log(np.maximum(a, least) + 1.0) for a in (p, y))
    return _mean((log_p - log_y) ** 2)


def poisson(y: np.ndarray, p: np.ndarray, attrs: Attrs) -> np.ndarray:
    """mean of p - y log(p + 1e-7)."""
    return _mean(p - y * np.log(p + p.dtype.type(EPSILON)))


def kl_divergence(y: np.ndarray, p: np.ndarray, attrs: Attrs) -> np.ndarray:
    """sum of y log(y / p), both clipped to [1e-7, 1]. Source: Kullback & Leibler
    1951."""
    y, p = (np.clip(a, p.dtype.type(EPSILON), 1.0) for a in (y, p))
    return np.asarray(np.sum(y * np.log(y / p), axis=-1, dtype=np.float64))


def hinge(y: np.ndarray, p: np.ndarray, attrs: Attrs) -> np.ndarray:
    """mean of max(1 - y p, 0), y -1 or 1."""
    return _mean(np.maximum(1.0 - _signs(y) * p, 0.0))


def squared_hinge(y: np.ndarray, p: np.ndarray, attrs: Attrs) -> np.ndarray:
    """mean of max(1 - y p, 0)^2, y -1 or 1."""
    return _mean(np.maximum(1.0 - _signs(y) * p, 0.0) ** 2)


def _signs(y: np.ndarray) -> np.ndarray:
    """y with 0 mapped to -1 if all values in the batch are 0 or 1."""
    return 2.0 * y - 1.0 if np.isin(y, (0.0, 1.0)).all() else y


def categorical_hinge(y: np.ndarray, p: np.ndarray, attrs: Attrs) -> np.ndarray:
    """max(1 + max (1 - y) p - sum y p, 0), y one-hot."""
    right = np.sum(y * p, axis=-1, dtype=np.float64)
    return np.maximum(1.0 + np.max((1.0 - y) * p, axis=-1) - right, 0.0)


def cosine_similarity(y: np.ndarray, p: np.ndarray, attrs: Attrs) -> np.ndarray:
    """sum y p / (|y| |p|), with norms of at least 1e-7."""
    y, p = y.astype(np.float64), p.astype(np.float64)
    lengths = [np.maximum(np.sqrt(np.sum(a * a, axis=-1)), EPSILON) for a in (y, p)]
    return np.sum(y * p, axis=-1) / lengths[0] / lengths[1]


def pearson_correlation(y: np.ndarray, p: np.ndarray, attrs: Attrs) -> np.ndarray:
    """cov(y, p) / (std(y) std(p)) over the outputs of a row. Source: Pearson 1895."""
    y, p = _centred(y), _centred(p)
    return np.mean(y * p, axis=-1) / np.sqrt(
        np.mean(y * y, axis=-1) * np.mean(p * p, axis=-1)
    )


def concordance_correlation(y: np.ndarray, p: np.ndarray, attrs: Attrs) -> np.ndarray:
    """2 cov(y, p) / (var(y) + var(p) + (mean y - mean p)^2 + 1e-7). Source: Lin
    1989."""
    difference = np.mean(y, axis=-1, dtype=np.float64) - np.mean(
        p, -1, dtype=np.float64
    )
    y, p = _centred(y), _centred(p)
    variances = np.mean(y * y, axis=-1) + np.mean(p * p, axis=-1)
    return 2.0 * np.mean(y * p, axis=-1) / (variances + difference**2 + EPSILON)


def _centred(a: np.ndarray) -> np.ndarray:
    """Deviations from the row mean, in float64."""
    return np.asarray(a - np.mean(a, axis=-1, keepdims=True, dtype=np.float64))


def _mean(terms: np.ndarray) -> np.ndarray:
    return np.asarray(np.mean(terms, axis=-1, dtype=np.float64))


ROW_VALUES: dict[str, Callable[[np.ndarray, np.ndarray, Attrs], np.ndarray]] = {
    "accuracy": accuracy,
    "binary_accuracy": binary_accuracy,
    "categorical_accuracy": categorical_accuracy,
    "sparse_categorical_accuracy": sparse_categorical_accuracy,
    "top_k_categorical_accuracy": top_k_categorical_accuracy,
    "sparse_top_k_categorical_accuracy": sparse_top_k_categorical_accuracy,
    "among_first": among_first,
    "mean_absolute_percentage_error": mean_absolute_percentage_error,
    "mean_squared_logarithmic_error": mean_squared_logarithmic_error,
    "poisson": poisson,
    "kl_divergence": kl_divergence,
    "hinge": hinge,
    "squared_hinge": squared_hinge,
    "categorical_hinge": categorical_hinge,
    "cosine_similarity": cosine_similarity,
    "pearson_correlation": pearson_correlation,
    "concordance_correlation": concordance_correlation,
    # The metric takes the root of the mean.
    "root_mean_squared_error": lambda y, p, attrs: mean_squared_error(y, p, attrs)[0],
}


def accumulate(
    kind: str,
    attrs: Attrs,
    y: np.ndarray,
    p: np.ndarray,
    weights: np.ndarray | None,
    totals: np.ndarray,
) -> None:
    """Add a batch of rows, y (R, T), p (R, O), to one metric's totals. Weights are 1,
    (R,), or (R, O) if outputs are counted individually."""
    plain = weights is None
    weights = np.ones(len(p)) if weights is None else weights.astype(np.float64)
    if kind in COUNTS:
        COUNTS[kind](y, p, weights, attrs, totals)
        return
    if weights.ndim == 2:
        y, p, weights = y.reshape(-1, 1), p.reshape(-1, 1), weights.reshape(-1)
    known = np.ones(len(p), bool)
    if "ignore_class" in attrs:
        known = y[:, 0] != int(attrs["ignore_class"])
        y = np.where(known[:, None], y, 0.0)
        weights = weights if plain else weights * known
    if kind in ROW_VALUES:
        values = ROW_VALUES[kind](y, p, attrs)
    else:
        values, _ = LOSSES[kind](y, p, attrs)
    values = np.where(known, values, 0.0)
    totals[0] += np.sum(values.astype(np.float64) * weights)
    totals[1] += np.sum(weights)


def _add_spread(
    y: np.ndarray, p: np.ndarray, weights: np.ndarray, attrs: Attrs, totals: np.ndarray
) -> None:
    """r2_score: add rows to [W = sum w, then for each output M = sum w y / W,
    S = sum w (y - M)^2 and sum w (y - p)^2].

    S of two sets combined is the sum of both plus a term for the distance of their
    means; sums of squares about zero would cancel if the mean is large. A constant
    output has S = 0. Source: Chan, Golub & LeVeque 1983.
    """
    if "counts_rows" in attrs:
        totals[-1] += len(y)
        totals = totals[:-1]
    counted = weights != 0.0
    if not counted.any():
        return
    y, p, w = y[counted].astype(np.float64), p[counted], weights[counted, None]
    mean, spread, residual = totals[1:].reshape(3, -1)
    weight = w.sum()
    batch = y[0] + (w * (y - y[0])).sum(axis=0) / weight  # the mean of these rows
    fraction = weight / (totals[0] + weight)
    between = totals[0] * fraction * (batch - mean) ** 2
    spread += (w * (y - batch) ** 2).sum(axis=0) + between
    mean += (batch - mean) * fraction
    residual += (w * (y - p) ** 2).sum(axis=0)
    totals[0] += weight


UNCHOSEN = -1e10
"""The value assigned to outputs outside the top_k."""


def _add_histogram(
    y: np.ndarray, p: np.ndarray, weights: np.ndarray, attrs: Attrs, totals: np.ndarray
) -> None:
    """confusion: add the weight of every output to [y != 0][label][number of thresholds
    below p], with one label per output for multi_label, else one in total."""
    count = int(attrs["thresholds"])
    w = np.broadcast_to(weights.reshape(len(p), -1), p.shape)
    if "label_weights" in attrs:
        w = w * [float(attrs[f"label_weight_{i}"]) for i in range(p.shape[-1])]
    if "from_logits" in attrs:
        p = sigmoid(p)
    if "top_k" in attrs:
        order = np.argsort(-np.where(np.isnan(p), np.inf, p), axis=-1, kind="stable")
        chosen = np.zeros(p.shape, bool)
        np.put_along_axis(chosen, order[:, : int(attrs["top_k"])], True, axis=-1)
        p = np.where(chosen, p, p.dtype.type(UNCHOSEN))
    if "class_id" in attrs:
        y, p, w = (a[:, [int(attrs["class_id"])]] for a in (y, p, w))
    labels = np.broadcast_to(np.arange(p.shape[-1]), p.shape)
    if "multi_label" not in attrs:
        labels = np.zeros(p.shape, np.int64)
    sums = totals.reshape(2, -1, count + 1)
    np.add.at(sums, ((y != 0.0).astype(int), labels, _below(p, attrs)), w)


def _below(p: np.ndarray, attrs: Attrs) -> np.ndarray:
    """How many of the T thresholds are below each p; none for NaN. Even thresholds are
    i / (T - 1); with_ends puts the first and last just outside [0, 1]."""
    count = int(attrs["thresholds"])
    known = np.where(np.isnan(p), p.dtype.type(UNCHOSEN), p)
    if "even" in attrs:
        number = np.ceil(np.clip(known, 0.0, 1.0) * p.dtype.type(count - 1))
        least = int(bool(attrs["with_ends"]))
        below = np.maximum(number.astype(np.int64), least)
        return np.asarray(np.where(np.isnan(p), 0, below))
    thresholds = [attrs[f"threshold_{i}"] for i in range(count)]
    return np.searchsorted(np.array(thresholds, p.dtype), known, side="left")


def _add_class_counts(
    y: np.ndarray, p: np.ndarray, weights: np.ndarray, attrs: Attrs, totals: np.ndarray
) -> None:
    """class_counts: add rows to [true positives, false positives, false negatives] of
    each class. A class is predicted if p is above the threshold or, without one, if p
    is the largest of its row and not 0."""
    if "threshold" in attrs:
        positive = p > p.dtype.type(float(attrs["threshold"]))
    else:
        positive = (p >= p.max(axis=-1, keepdims=True)) & (np.abs(p) > 1e-9)
    y, w = y.astype(np.float64), weights[:, None]
    for sums, terms in zip(
        totals.reshape(3, -1),
        (positive * y, positive * (1.0 - y), ~positive * y),
        strict=True,
    ):
        sums += np.sum(w * terms, axis=0)


def _add_matrix(
    y: np.ndarray, p: np.ndarray, weights: np.ndarray, attrs: Attrs, totals: np.ndarray
) -> None:
    """confusion_matrix: add weights to [class of y][class of p]. Classes are the argmax
    of a row, or numbers truncated to integers or, with a threshold, whether p reaches
    it; classes outside 0 to C - 1 do not count."""
    count = int(attrs["classes"])
    if attrs["largest_output"]:
        p = p.argmax(axis=-1)[:, None]
    elif "threshold" in attrs:
        p = p >= p.dtype.type(float(attrs["threshold"]))
    if attrs["largest_target"]:
        y = y.argmax(axis=-1)[:, None]
    true, predicted = (np.trunc(np.broadcast_to(a, p.shape)) for a in (y, p))
    known = (true >= 0) & (true < count) & (predicted >= 0) & (predicted < count)
    if "ignore_class" in attrs:
        known &= true != int(attrs["ignore_class"])
    w = np.broadcast_to(weights.reshape(len(p), -1), p.shape)
    cells = (true[known].astype(int), predicted[known].astype(int))
    np.add.at(totals.reshape(count, count), cells, w[known])


COUNTS: dict[str, Callable[..., None]] = {
    "r2_score": _add_spread,
    "confusion": _add_histogram,
    "class_counts": _add_class_counts,
    "confusion_matrix": _add_matrix,
}
"""Kinds of metrics with special accumulators."""

KINDS = frozenset(ROW_VALUES) | frozenset(LOSSES) | frozenset(COUNTS)
