"""Losses: value and derivative of every row; formulas and results at the limits of
float32 as in `kurve.engines.reference.losses`."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from kurve.config import EPSILON
from kurve.engines.reference.losses import MIN_VARIANCE, Attrs
from kurve.engines.torch.common import Tensor, wide
from kurve.engines.torch.elementwise import FAR

Result = tuple[Tensor, Tensor]


def mean_squared_error(y: Tensor, p: Tensor, attrs: Attrs) -> Result:
    error = p - y
    return mean(error * error), error * (2.0 / p.shape[-1])


def mean_absolute_error(y: Tensor, p: Tensor, attrs: Attrs) -> Result:
    error = p - y
    slope = torch.where(torch.isnan(error), error, torch.sign(error))
    return mean(error.abs()), slope / p.shape[-1]


def huber(y: Tensor, p: Tensor, attrs: Attrs) -> Result:
    delta = (
        np.float32(attrs["delta"]).item()
        if p.dtype == torch.float32
        else float(attrs["delta"])
    )
    error = p - y
    size = error.abs()
    beyond = delta * (size - 0.5 * delta)
    value = torch.where(size <= delta, 0.5 * error * error, beyond)
    return mean(value), error.clamp(-delta, delta) / p.shape[-1]


def log_cosh(y: Tensor, p: Tensor, attrs: Attrs) -> Result:
    error = p - y
    size = error.abs()
    value = size + softplus(-2.0 * size) - math.log(2.0)
    return mean(value), torch.tanh(error) / p.shape[-1]


def binary_crossentropy(y: Tensor, p: Tensor, attrs: Attrs) -> Result:
    smoothing = float(attrs["label_smoothing"])
    y = y * (1.0 - smoothing) + 0.5 * smoothing
    if attrs["from_logits"]:
        value, slope = softplus(p) - y * p, torch.sigmoid(p) - y
    else:
        clipped, inside = _clip(p)
        value = -y * torch.log(clipped) - (1.0 - y) * torch.log(1.0 - clipped)
        slope = inside * (clipped - y) / (clipped * (1.0 - clipped))
    return mean(value), slope / p.shape[-1]


def categorical_crossentropy(y: Tensor, p: Tensor, attrs: Attrs) -> Result:
    smoothing = float(attrs["label_smoothing"])
    y = y * (1.0 - smoothing) + smoothing / p.shape[-1]
    if attrs["from_logits"]:
        shifted = p - p.amax(-1, keepdim=True)
        log_p = shifted - torch.log(_sum(torch.exp(shifted)))
        slope = torch.exp(log_p) * _sum(y) - y
    else:
        whole = _sum(p)
        scaled = p / whole
        clipped, inside = _clip(scaled)
        log_p = torch.log(clipped)
        d_scaled = -inside * y / clipped
        slope = (d_scaled - _sum(d_scaled * scaled)) / whole
    terms = torch.where((y == 0.0) & torch.isinf(log_p), 0.0, y * log_p)
    return -terms.sum(-1, dtype=wide(p.device)), slope


def sparse_categorical_crossentropy(y: Tensor, p: Tensor, attrs: Attrs) -> Result:
    classes = torch.arange(p.shape[-1], device=p.device)
    one_hot = (y.long() == classes).to(p.dtype)
    return categorical_crossentropy(one_hot, p, {**attrs, "label_smoothing": 0.0})


def gaussian_nll(y: Tensor, p: Tensor, attrs: Attrs) -> Result:
    count = y.shape[-1]
    means, raw = p[:, :count], p[:, count:]
    variance = softplus(raw) + MIN_VARIANCE
    error = means - y
    scaled = error / variance
    value = 0.5 * (torch.log(variance) + error * scaled + math.log(2.0 * math.pi))
    d_raw = 0.5 * (1.0 - error * scaled) / variance * torch.sigmoid(raw)
    factor = variance ** float(attrs["beta"]) / count
    return mean(value), torch.cat([scaled * factor, d_raw * factor], -1)


def pinball(y: Tensor, p: Tensor, attrs: Attrs) -> Result:
    count, size = int(attrs["quantiles"]), p.shape[-1]
    error = (y[:, :, None] - p.view(len(p), -1, count)).unbind(-1)
    values, slopes = [], []
    for k, e in enumerate(error):
        q = np.float32(attrs[f"quantile_{k}"]).item()
        values.append(torch.maximum(q * e, (q - 1.0) * e))
        below = torch.where(e < 0, 1.0 - q, torch.zeros_like(e))
        slopes.append(torch.where(e > 0, -q, below))
    value, slope = (torch.stack(parts, -1).view(p.shape) for parts in (values, slopes))
    return mean(value), slope / size


def softplus(x: Tensor) -> Tensor:
    return F.softplus(x, 1.0, FAR)


def mean(terms: Tensor) -> Tensor:
    """Mean over the last axis: float64 (R,)."""
    if terms.shape[-1] == 1:
        return terms.squeeze(-1).to(wide(terms.device))
    return terms.mean(-1, dtype=wide(terms.device))


def _sum(terms: Tensor) -> Tensor:
    """Sum over the last axis, which is kept."""
    whole = terms.sum(-1, keepdim=True, dtype=wide(terms.device))
    return whole.to(terms.dtype)


def _clip(p: Tensor) -> tuple[Tensor, Tensor]:
    """p clipped away from 0 and 1, and the derivative of the clip: 1 inside, else 0."""
    low = np.float32(EPSILON) if p.dtype == torch.float32 else np.float64(EPSILON)
    high = float(low.dtype.type(1.0) - low)
    inside = (p >= float(low)) & (p <= high)
    return p.clamp(float(low), high), inside.to(p.dtype)


LOSSES: dict[str, Callable[[Tensor, Tensor, Attrs], Result]] = {
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
