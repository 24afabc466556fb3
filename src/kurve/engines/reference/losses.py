"""Losses: the value of every row and its derivative with respect to the prediction.

A row is a sample, or one position of a sample if the output has more axes; it has O
outputs. Each function takes y and p (R, O) and returns values (R,) and dvalues/dp (R,
O). Losses with several outputs per target take y (R, T) for T targets. The loss of a
batch is the sum of weight x value over the rows, divided by R.

At the limits of float32 every engine gives these results:

* Elementwise terms are computed in the dtype of p, and become infinite if they
  overflow, like the square of 1e20. |e|, log cosh e and cross-entropy from logits
  never exceed their arguments, so they are finite up to the largest number.
* The terms of a row are summed in float64, so a mean is finite if its terms are.
* A class with y = 0 contributes nothing, however small its probability: 0 log 0 = 0.
* NaN in p gives NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from kurve.config import EPSILON
from kurve.engines.reference.activations import sigmoid, softplus

Result = tuple[np.ndarray, np.ndarray]
Attrs = Mapping[str, float | int | str | bool]

MIN_VARIANCE = 1e-6
"""Keeps the variance in `gaussian_nll` positive."""


def mean_squared_error(y: np.ndarray, p: np.ndarray, attrs: Attrs) -> Result:
    """value = mean of (p - y)^2, derivative 2 (p - y) / O."""
    error = p - y
    return _mean(error**2), 2.0 * error / p.shape[-1]


def mean_absolute_error(y: np.ndarray, p: np.ndarray, attrs: Attrs) -> Result:
    """value = mean of |p - y|, derivative sign(p - y) / O."""
    error = p - y
    return _mean(np.abs(error)), np.sign(error) / p.shape[-1]


def huber(y: np.ndarray, p: np.ndarray, attrs: Attrs) -> Result:
    """e^2 / 2 for |e| <= delta, delta (|e| - delta / 2) beyond. Source: Huber 1964."""
    delta = p.dtype.type(float(attrs["delta"]))
    error = p - y
    size = np.abs(error)
    beyond = delta * (size - 0.5 * delta)
    value = np.where(size <= delta, 0.5 * error * error, beyond)
    return _mean(value), np.clip(error, -delta, delta) / p.shape[-1]


def log_cosh(y: np.ndarray, p: np.ndarray, attrs: Attrs) -> Result:
    """log cosh e = |e| + log(1 + e^(-2 |e|)) - log 2, derivative tanh e."""
    error = p - y
    size = np.abs(error)
    value = size + softplus(-2.0 * size) - math.log(2.0)
    return _mean(value), np.tanh(error) / p.shape[-1]


def binary_crossentropy(y: np.ndarray, p: np.ndarray, attrs: Attrs) -> Result:
    """-y log p - (1 - y) log(1 - p); from logits p = sigmoid(logit)."""
    smoothing = float(attrs["label_smoothing"])
    y = y * (1.0 - smoothing) + 0.5 * smoothing
    if attrs["from_logits"]:
        value = softplus(p) - y * p
        slope = sigmoid(p) - y
    else:
        clipped, inside = _clip(p)
        value = -y * np.log(clipped) - (1.0 - y) * np.log(1.0 - clipped)
        slope = inside * (clipped - y) / (clipped * (1.0 - clipped))
    return _mean(value), slope / p.shape[-1]


def categorical_crossentropy(y: np.ndarray, p: np.ndarray, attrs: Attrs) -> Result:
    """-sum_i y_i log p_i with p scaled to sum to 1; from logits p = softmax(logits)."""
    smoothing = float(attrs["label_smoothing"])
    y = y * (1.0 - smoothing) + smoothing / p.shape[-1]
    if attrs["from_logits"]:
        shifted = p - p.max(axis=-1, keepdims=True)
        log_p = shifted - np.log(_sum(np.exp(shifted)))
        slope = np.exp(log_p) * _sum(y) - y
    else:
        total = _sum(p)
        scaled = p / total
        clipped, inside = _clip(scaled)
        log_p = np.log(clipped)
        d_scaled = -inside * y / clipped
        slope = (d_scaled - _sum(d_scaled * scaled)) / total
    terms = np.where((y == 0.0) & np.isinf(log_p), 0.0, y * log_p)
    return -terms.sum(axis=-1, dtype=np.float64), slope


def sparse_categorical_crossentropy(
    y: np.ndarray, p: np.ndarray, attrs: Attrs
) -> Result:
    """The categorical cross-entropy of class numbers y (R, 1)."""
    one_hot = np.zeros_like(p)
    one_hot[np.arange(len(p)), y[:, 0].astype(np.int64)] = 1.0
    return categorical_crossentropy(one_hot, p, {**attrs, "label_smoothing": 0.0})


def gaussian_nll(y: np.ndarray, p: np.ndarray, attrs: Attrs) -> Result:
    """-log of the normal density of y: (log(2 pi v) + (y - m)^2 / v) / 2.

    p (R, 2T) holds the means m, then s with v = softplus(s) + 1e-6.
    dv = (1 - (y - m)^2 / v) / (2 v), ds = dv sigmoid(s), dm = (m - y) / v, all
    times v^beta. Source: Nix & Weigend 1994; the softplus is that of Lakshminarayanan
    et al. 2017, beta that of Seitzer et al. 2022.
    """
    count = y.shape[-1]
    mean, raw = p[:, :count], p[:, count:]
    variance = softplus(raw) + p.dtype.type(MIN_VARIANCE)
    error = mean - y
    scaled = error / variance
    value = 0.5 * (np.log(variance) + error * scaled + math.log(2.0 * math.pi))
    d_raw = 0.5 * (1.0 - error * scaled) / variance * sigmoid(raw)
    factor = variance ** float(attrs["beta"]) / count
    slope = np.concatenate([scaled * factor, d_raw * factor], axis=-1)
    return _mean(value), slope


def pinball(y: np.ndarray, p: np.ndarray, attrs: Attrs) -> Result:
    """max(q e, (q - 1) e) with e = y - p; its mean is minimal at the q-quantile of y.

    p (R, T Q) holds the Q quantiles of the first target, then of the second, ...
    Source: Koenker & Bassett 1978.
    """
    count = int(attrs["quantiles"])
    q = np.array([attrs[f"quantile_{i}"] for i in range(count)], p.dtype)
    error = y[:, :, None] - p.reshape(len(p), -1, count)
    value = np.maximum(q * error, (q - 1.0) * error)
    slope = np.where(error > 0, -q, np.where(error < 0, 1.0 - q, 0.0))
    size = p.shape[-1]
    return _mean(value.reshape(p.shape)), slope.reshape(p.shape) / size


def _mean(terms: np.ndarray) -> np.ndarray:
    """Mean over the last axis: float64 (R,)."""
    return np.asarray(np.mean(terms, axis=-1, dtype=np.float64))


def _sum(terms: np.ndarray) -> np.ndarray:
    """Sum over the last axis with keepdims: (R, 1), in the dtype of the terms."""
    total = terms.sum(axis=-1, keepdims=True, dtype=np.float64)
    return np.asarray(total.astype(terms.dtype))


def _clip(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """p clipped away from 0 and 1, and the derivative of clipping: 1 inside, else 0."""
    low, high = p.dtype.type(EPSILON), p.dtype.type(1.0) - p.dtype.type(EPSILON)
    return np.clip(p, low, high), ((p >= low) & (p <= high)).astype(p.dtype)


LOSSES: dict[str, Callable[[np.ndarray, np.ndarray, Attrs], Result]] = {
    "mean_squared_error": mean_squared_error,
    "mean_absolute_error": mean_absolute_error,
    "huber": huber,
    "log_cosh": log_cosh,
    "binary_crossentropy": binary_crossentropy,
    "categorical_crossentropy": categorical_crossentropy,
    "sparse_categorical_crossentropy": sparse_categorical_crossentropy,
    "gaussian_nll": gaussian_nll,
    "pinball": pinball,
}
