"""Standardization by a batch or by a sample, and fixed scales; formulas as in
`kurve.engines.reference.scaling` and `layers`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from kurve.engines.reference.scaling import FUZZ
from kurve.engines.torch.common import Cache, Frame, Pair, Tensor, single, total
from kurve.engines.torch.layers import times_backward
from kurve.plan import Op


def batch_forward(
    op: Op, x: Tensor, f: Frame, mask: Tensor | None = None
) -> tuple[Tensor, Cache]:
    rows = f.rows(x, x.shape[-1])
    from_batch = f.training and not op.attrs["frozen"]
    if not from_batch:
        mean, variance = f.buffer(op, "moving_mean"), f.buffer(op, "moving_variance")
    elif mask is None and f.share is None:
        mean, variance = _moments(rows, -2)
    else:
        count, counted = _count(rows, mask, f), rows.to(f.wide)
        if mask is not None:
            counted = torch.where(mask[:, None], counted, 0.0)
        wide_mean = f.add_shares(counted.sum(0)) / count
        centered = rows - wide_mean
        if mask is not None:
            centered = torch.where(mask[:, None], centered, 0.0)
        mean = wide_mean.to(x.dtype)
        variance = (f.add_shares((centered**2).sum(0)) / count).to(x.dtype)
    inverse = 1 / torch.sqrt(variance + float(op.attrs["epsilon"]))
    inverse = inverse.view(*f.members, 1, -1)
    standard = (rows - mean.view(*f.members, 1, -1)) * inverse
    y = _affine(op, standard, f).view(x.shape)
    return y, (standard, inverse, (mean, variance) if from_batch else None)


def batch_backward(
    op: Op, dy: Tensor, cache: Cache, f: Frame, mask: Tensor | None = None
) -> Tensor:
    standard, inverse, learned = cache
    dy_rows = dy.reshape(standard.shape)
    n = _scaled(op, dy_rows, f)
    if learned is not None:
        sums = torch.stack(
            [v.sum(-2, keepdim=True, dtype=f.wide) for v in (n, n * standard)]
        )
        means = f.add_shares(sums) / _count(n, mask, f)
        by_mean, by_variance = means.to(n.dtype).unbind(0)
        back = by_mean + standard * by_variance
        n = n - (back if mask is None else torch.where(mask[:, None], back, 0.0))
    _affine_gradients(op, dy_rows, standard, f)
    return (n * inverse).reshape(dy.shape)


def _count(rows: Tensor, mask: Tensor | None, f: Frame) -> Any:
    """How many rows count, in all processes."""
    if mask is None:
        return f.all_rows(rows.numel() // rows.shape[-1])
    return f.add_shares(mask.sum(dtype=f.wide)) + FUZZ


def masked_forward(op: Op, xs: Sequence[Tensor], f: Frame) -> tuple[Tensor, Cache]:
    mask = xs[1].reshape(-1) != 0
    y, cache = batch_forward(op, xs[0], f, mask)
    return y, (*cache, mask, xs[1].shape)


def masked_backward(op: Op, dy: Tensor, cache: Cache, f: Frame) -> Sequence[Tensor]:
    *saved, mask, shape = cache
    return [batch_backward(op, dy, saved, f, mask), dy.new_zeros(shape)]


def batch_statistics(
    op: Op, cache: Cache, before: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The moving mean and variance after a step; none if frozen."""
    if cache[2] is None:
        return {}
    momentum = float(op.attrs["momentum"])
    return {
        role: before[role] * momentum + new.view_as(before[role]) * (1.0 - momentum)
        for role, new in zip(("moving_mean", "moving_variance"), cache[2], strict=True)
    }


def layer_forward(op: Op, x: Tensor, f: Frame) -> tuple[Tensor, Cache]:
    rows = f.rows(x, int(op.attrs["size"]))
    mean, variance = _moments(rows, -1)
    inverse = 1 / torch.sqrt(variance + float(op.attrs["epsilon"]))[..., None]
    standard = (rows - mean[..., None]) * inverse
    return _affine(op, standard, f).view(x.shape), (standard, inverse)


def layer_backward(op: Op, dy: Tensor, cache: Cache, f: Frame) -> Tensor:
    standard, inverse = cache
    dy_rows = dy.reshape(standard.shape)
    n = _scaled(op, dy_rows, f)
    by_mean = n.mean(-1, keepdim=True)
    by_variance = standard * (n * standard).mean(-1, keepdim=True)
    _affine_gradients(op, dy_rows, standard, f)
    return ((n - by_mean - by_variance) * inverse).reshape(dy.shape)


def normalization_forward(op: Op, x: Tensor, f: Frame) -> tuple[Tensor, Cache]:
    shape = (*f.members, 1, -1)
    mean, variance = (f.buffer(op, r).reshape(shape) for r in ("mean", "variance"))
    std = torch.sqrt(variance).clamp(min=float(op.attrs["epsilon"]))
    columns = f.rows(x, mean.shape[-1])
    if op.attrs["invert"]:
        y, factor = mean + columns * std, std
    else:
        y, factor = (columns - mean) / std, 1 / std
    return y.view(x.shape), factor


def normalization_backward(op: Op, dy: Tensor, cache: Cache, f: Frame) -> Tensor:
    columns = f.rows(dy, cache.shape[-1])
    return (columns * cache).reshape(dy.shape)


def scale_forward(op: Op, x: Tensor, f: Frame) -> tuple[Tensor, Cache]:
    scale, offset = (
        f.buffer(op, role) if role in op.buffers else float(op.attrs[role])
        for role in ("scale", "offset")
    )
    return x * scale + offset, scale


def _moments(rows: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Mean and biased variance along an axis, summed in float64."""
    wide_rows = rows.double() if rows.device.type != "mps" else rows
    variance, mean = torch.var_mean(wide_rows, axis, correction=0)
    return mean.to(rows.dtype), variance.to(rows.dtype)


def _affine(op: Op, standard: Tensor, f: Frame) -> Tensor:
    y = _scaled(op, standard, f)
    return y + _each(op, "beta", f) if "beta" in op.params else y


def _scaled(op: Op, rows: Tensor, f: Frame) -> Tensor:
    return rows * _each(op, "gamma", f) if "gamma" in op.params else rows


def _each(op: Op, role: str, f: Frame) -> Tensor:
    return f.param(op, role).reshape(*f.members, 1, -1)


def _affine_gradients(op: Op, dy: Tensor, standard: Tensor, f: Frame) -> None:
    for role in op.params:
        f.add(op, role, total(dy * standard if role == "gamma" else dy, -2))


SCALING: dict[str, Pair] = {
    "batch_normalization": single(batch_forward, batch_backward),
    "masked_batch_normalization": (masked_forward, masked_backward),
    "layer_normalization": single(layer_forward, layer_backward),
    "normalization": single(normalization_forward, normalization_backward),
    "scale": single(scale_forward, times_backward),
}
