"""Metrics: the terms that a batch adds to float64 accumulators on the device; formulas
as in `kurve.engines.reference.metrics`."""

from __future__ import annotations

from collections.abc import Callable

import torch

from kurve.config import EPSILON
from kurve.engines.reference.losses import Attrs
from kurve.engines.reference.metrics import UNCHOSEN
from kurve.engines.torch.common import Tensor, wide
from kurve.engines.torch.losses import LOSSES, mean, mean_squared_error


def accuracy(y: Tensor, p: Tensor, attrs: Attrs) -> Tensor:
    return mean((y == p).to(p.dtype))


def binary_accuracy(y: Tensor, p: Tensor, attrs: Attrs) -> Tensor:
    return mean((y == (p > float(attrs["threshold"]))).to(p.dtype))


def categorical_accuracy(y: Tensor, p: Tensor, attrs: Attrs) -> Tensor:
    return y.argmax(-1) == p.argmax(-1)


def sparse_categorical_accuracy(y: Tensor, p: Tensor, attrs: Attrs) -> Tensor:
    return y[:, 0].long() == p.argmax(-1)


def top_k_categorical_accuracy(y: Tensor, p: Tensor, attrs: Attrs) -> Tensor:
    return _among_largest(y.argmax(-1), p, attrs)


def sparse_top_k_categorical_accuracy(y: Tensor, p: Tensor, attrs: Attrs) -> Tensor:
    return _among_largest(y[:, 0].long(), p, attrs)


def _among_largest(classes: Tensor, p: Tensor, attrs: Attrs) -> Tensor:
    exists = (classes >= 0) & (classes < p.shape[-1])
    true = p.gather(-1, torch.where(exists, classes, 0)[:, None])
    return exists & ((p > true).sum(-1) < int(attrs["k"]))


def among_first(y: Tensor, p: Tensor, attrs: Attrs) -> Tensor:
    return (p[:, : int(attrs["k"])] == y).any(-1)


def mean_absolute_percentage_error(y: Tensor, p: Tensor, attrs: Attrs) -> Tensor:
    return 100.0 * mean(((y - p) / y.abs().clamp(min=EPSILON)).abs())


def mean_squared_logarithmic_error(y: Tensor, p: Tensor, attrs: Attrs) -> Tensor:
    log_p, log_y = (torch.log(a.clamp(min=EPSILON) + 1.0) for a in (p, y))
    return mean((log_p - log_y) ** 2)


def poisson(y: Tensor, p: Tensor, attrs: Attrs) -> Tensor:
    return mean(p - y * torch.log(p + EPSILON))


def kl_divergence(y: Tensor, p: Tensor, attrs: Attrs) -> Tensor:
    y, p = (a.clamp(EPSILON, 1.0) for a in (y, p))
    return (y * torch.log(y / p)).sum(-1, dtype=wide(p.device))


def hinge(y: Tensor, p: Tensor, attrs: Attrs) -> Tensor:
    return mean((1.0 - _signs(y) * p).clamp(min=0.0))


def squared_hinge(y: Tensor, p: Tensor, attrs: Attrs) -> Tensor:
    return mean((1.0 - _signs(y) * p).clamp(min=0.0) ** 2)


def _signs(y: Tensor) -> Tensor:
    """y with 0 as -1 if all numbers of the batch are 0 or 1."""
    return torch.where(((y == 0.0) | (y == 1.0)).all(), 2.0 * y - 1.0, y)


def categorical_hinge(y: Tensor, p: Tensor, attrs: Attrs) -> Tensor:
    right = (y * p).sum(-1, dtype=wide(p.device))
    return (1.0 + ((1.0 - y) * p).amax(-1) - right).clamp(min=0.0)


def cosine_similarity(y: Tensor, p: Tensor, attrs: Attrs) -> Tensor:
    y, p = (a.to(wide(p.device)) for a in (y, p))
    lengths = [torch.sqrt((a * a).sum(-1)).clamp(min=EPSILON) for a in (y, p)]
    return (y * p).sum(-1) / lengths[0] / lengths[1]


def pearson_correlation(y: Tensor, p: Tensor, attrs: Attrs) -> Tensor:
    y, p = _centred(y), _centred(p)
    return mean(y * p) / torch.sqrt(mean(y * y) * mean(p * p))


def concordance_correlation(y: Tensor, p: Tensor, attrs: Attrs) -> Tensor:
    difference = mean(y) - mean(p)
    y, p = _centred(y), _centred(p)
    return 2.0 * mean(y * p) / (mean(y * y) + mean(p * p) + difference**2 + EPSILON)


def _centred(a: Tensor) -> Tensor:
    return a - mean(a)[:, None]


ROW_VALUES: dict[str, Callable[[Tensor, Tensor, Attrs], Tensor]] = {
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
    "root_mean_squared_error": lambda y, p, attrs: mean_squared_error(y, p, attrs)[0],
}


def accumulate(
    kind: str,
    attrs: Attrs,
    y: Tensor,
    p: Tensor,
    weights: Tensor | None,
    totals: Tensor,
) -> None:
    """Add a batch of rows, y (R, T), p (R, O), to one metric's totals."""
    precise = totals.dtype
    if kind in COUNTS:
        w = torch.ones(len(p), dtype=precise, device=p.device)
        COUNTS[kind](y, p, w if weights is None else weights.to(precise), attrs, totals)
        return
    if weights is not None and weights.ndim == 2:
        y, p, weights = y.reshape(-1, 1), p.reshape(-1, 1), weights.reshape(-1)
    known: Tensor | None = None
    if "ignore_class" in attrs:
        known = y[:, 0] != int(attrs["ignore_class"])
        y = torch.where(known[:, None], y, 0.0)
        weights = weights if weights is None else weights * known
    if kind in ROW_VALUES:
        values = ROW_VALUES[kind](y, p, attrs)
    else:
        values, _ = LOSSES[kind](y, p, attrs)
    values = values.to(precise)
    if known is not None:
        values = torch.where(known, values, 0.0)
    add_rows(values, weights, totals)


def add_rows(values: Tensor, weights: Tensor | None, totals: Tensor) -> None:
    """Add the values of rows to a sum and a count (2,); with totals (members, 2), those
    of each member to its own."""
    count = 1 if totals.ndim == 1 else len(totals)

    def whole(x: Tensor) -> Tensor:
        return x.sum() if totals.ndim == 1 else x.view(count, -1).sum(1)

    if weights is None:
        totals[..., 0].add_(whole(values))
        totals[..., 1].add_(len(values) // count)
    else:
        weights = weights.to(totals.dtype)
        totals[..., 0].add_(whole(values * weights))
        totals[..., 1].add_(whole(weights))


def _add_spread(
    y: Tensor, p: Tensor, weights: Tensor, attrs: Attrs, totals: Tensor
) -> None:
    """r2_score. Rows with weight 0 do not count, whatever their values."""
    if "counts_rows" in attrs:
        totals[-1].add_(len(y))
        totals = totals[:-1]
    counted = weights != 0.0
    y, p = (torch.where(counted[:, None], a, 0.0).to(totals.dtype) for a in (y, p))
    w, (mean, spread, residual) = weights[:, None], totals[1:].view(3, -1)
    weight = w.sum()
    some = weight != 0.0
    near = y.index_select(0, counted.to(torch.int8).argmax()[None])
    batch = near[0] + (w * (y - near)).sum(0) / torch.where(some, weight, 1.0)
    fraction = weight / torch.where(some, totals[0] + weight, 1.0)
    between = totals[0] * fraction * (batch - mean) ** 2
    spread.add_((w * (y - batch) ** 2).sum(0) + between)
    mean.add_((batch - mean) * fraction)
    residual.add_((w * (y - p) ** 2).sum(0))
    totals[0].add_(weight)


def _add_histogram(
    y: Tensor, p: Tensor, weights: Tensor, attrs: Attrs, totals: Tensor
) -> None:
    """confusion."""
    count = int(attrs["thresholds"])
    w = weights.reshape(len(p), -1).expand(p.shape)
    if "label_weights" in attrs:
        each = [float(attrs[f"label_weight_{i}"]) for i in range(p.shape[-1])]
        w = w * _constant(tuple(each), w.dtype, w.device)
    if "from_logits" in attrs:
        p = torch.sigmoid(p)
    if "top_k" in attrs:
        known = torch.where(torch.isnan(p), torch.inf, p)
        order = torch.argsort(known, dim=-1, descending=True, stable=True)
        chosen = torch.zeros_like(p, dtype=torch.bool)
        chosen.scatter_(-1, order[:, : int(attrs["top_k"])], True)
        p = torch.where(chosen, p, UNCHOSEN)
    if "class_id" in attrs:
        k = int(attrs["class_id"])
        y, p, w = (a[:, k : k + 1] for a in (y, p, w))
    labels = torch.zeros(p.shape, dtype=torch.int64, device=p.device)
    if "multi_label" in attrs:
        labels = labels + torch.arange(p.shape[-1], device=p.device)
    sums = totals.view(2, -1, count + 1)
    cells = ((y != 0.0).long(), labels, _below(p, attrs))
    sums.index_put_(cells, w.to(totals.dtype), accumulate=True)


def _below(p: Tensor, attrs: Attrs) -> Tensor:
    """How many of the thresholds are below each p; none for NaN."""
    count, nan = int(attrs["thresholds"]), torch.isnan(p)
    known = torch.where(nan, UNCHOSEN, p)
    if "even" in attrs:
        number = torch.ceil(known.clamp(0.0, 1.0) * (count - 1)).long()
        return torch.where(nan, 0, number.clamp(min=int(bool(attrs["with_ends"]))))
    thresholds = tuple(float(attrs[f"threshold_{i}"]) for i in range(count))
    limits = _constant(thresholds, p.dtype, p.device)
    return torch.searchsorted(limits, known.contiguous())


_constants: dict[tuple[tuple[float, ...], torch.dtype, torch.device], Tensor] = {}


def _constant(
    values: tuple[float, ...], dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Numbers on the device, copied there once."""
    key = values, dtype, device
    if key not in _constants:
        _constants[key] = torch.tensor(values, dtype=dtype, device=device)
    return _constants[key]


def _add_class_counts(
    y: Tensor, p: Tensor, weights: Tensor, attrs: Attrs, totals: Tensor
) -> None:
    """class_counts."""
    if "threshold" in attrs:
        positive = p > float(attrs["threshold"])
    else:
        positive = (p >= p.amax(-1, keepdim=True)) & (p.abs() > 1e-9)
    y, w = y.to(totals.dtype), weights[:, None]
    terms = torch.stack((positive * y, positive * (1.0 - y), ~positive * y))
    totals.view(3, -1).add_((w * terms).sum(1))


def _add_matrix(
    y: Tensor, p: Tensor, weights: Tensor, attrs: Attrs, totals: Tensor
) -> None:
    """confusion_matrix. Rows that do not count add 0 to the first cell."""
    count = int(attrs["classes"])
    if attrs["largest_output"]:
        p = p.argmax(-1)[:, None]
    elif "threshold" in attrs:
        p = p >= float(attrs["threshold"])
    if attrs["largest_target"]:
        y = y.argmax(-1)[:, None]
    true, predicted = (torch.trunc(a.expand(p.shape).to(totals.dtype)) for a in (y, p))
    known = (true >= 0) & (true < count) & (predicted >= 0) & (predicted < count)
    if "ignore_class" in attrs:
        known = known & (true != int(attrs["ignore_class"]))
    w = weights.reshape(len(p), -1).expand(p.shape).to(totals.dtype)
    cells = [torch.where(known, a, 0.0).long() for a in (true, predicted)]
    part = torch.where(known, w, 0.0)
    totals.view(count, count).index_put_(tuple(cells), part, accumulate=True)


COUNTS: dict[str, Callable[..., None]] = {
    "r2_score": _add_spread,
    "confusion": _add_histogram,
    "class_counts": _add_class_counts,
    "confusion_matrix": _add_matrix,
}

BY_ROW = (frozenset(ROW_VALUES) | frozenset(LOSSES)) - {"hinge", "squared_hinge"}
"""Metrics of which each row decides alone what it adds."""

KINDS = frozenset(ROW_VALUES) | frozenset(LOSSES) | frozenset(COUNTS)
