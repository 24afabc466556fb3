"""Dense layers, random layers, and values moved, joined, reduced or read.

Formulas, shapes and sources of all ops are in `kurve.engines.reference`. The backward
pass of an op that maps xs to y receives dy and returns a gradient for each input, None
if nothing trainable precedes it; it adds those of its variables to the frame.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from kurve.engines.reference.activations import SELU_ALPHA, SELU_SCALE
from kurve.engines.reference.batch import MAX_UNIFORM
from kurve.engines.torch.common import (
    Cache,
    Frame,
    Pair,
    Tensor,
    number,
    single,
    total,
)
from kurve.engines.torch.elementwise import activation_of, aten
from kurve.plan import Op


def dense_forward(op: Op, x: Tensor, f: Frame) -> tuple[Tensor, Cache]:
    activation, _, alpha = activation_of(op)
    rows, kernel = f.rows(x, x.shape[-1]), _matrix(op, f)
    biased = "bias" in op.params
    z = f.affine(op, rows, kernel) if biased else f.product(rows, kernel)
    y = activation(z, alpha)
    return y.view(*x.shape[:-1], y.shape[-1]), (rows, z, y)


def _matrix(op: Op, f: Frame) -> Tensor:
    """The kernel (I, O)."""
    inside, kernel = op.in_shape[-1], f.param(op, "kernel")
    if op.attrs.get("transposed"):
        return kernel.view(*f.members, -1, inside).transpose(-1, -2)
    return kernel.view(*f.members, inside, -1)


def dense_backward(op: Op, dy: Tensor, cache: Cache, f: Frame) -> Tensor | None:
    rows, z, y = cache
    _, derivative, alpha = activation_of(op)
    dz = derivative(dy.reshape(z.shape), z, y, alpha)
    a, b = (dz, rows) if op.attrs.get("transposed") else (rows, dz)
    f.add_product(op, "kernel", a.transpose(-1, -2), b)
    if "bias" in op.params:
        f.add_sum(op, "bias", dz)
    if not f.wanted:
        return None
    return f.product(dz, _matrix(op, f).transpose(-1, -2)).view(*dy.shape[:-1], -1)


def activation_forward(op: Op, x: Tensor, f: Frame) -> tuple[Tensor, Cache]:
    activation, _, alpha = activation_of(op)
    y = activation(x, alpha)
    return y, (x, y)


def activation_backward(op: Op, dy: Tensor, cache: Cache, f: Frame) -> Tensor:
    _, derivative, alpha = activation_of(op)
    x, y = cache
    return derivative(dy, x, y, alpha)


def softmax_forward(op: Op, x: Tensor, f: Frame) -> tuple[Tensor, Cache]:
    y = torch.softmax(x, -1)
    return y, y


def softmax_backward(op: Op, dy: Tensor, cache: Cache, f: Frame) -> Tensor:
    dx: Tensor = aten._softmax_backward_data(dy.contiguous(), cache, -1, dy.dtype)
    return dx


def dropout_forward(op: Op, x: Tensor, f: Frame) -> tuple[Tensor, Cache]:
    rate = float(op.attrs["rate"])
    if not f.training or rate == 0.0:
        return x, None
    shared = int(op.attrs.get("shared", 1))
    channels = int(op.attrs.get("channels", math.prod(op.in_shape) // shared))
    words = f.words(op, x.numel() // shared, math.prod(op.in_shape) // shared)
    kept = words >= int(rate * 2**32)
    scale = 1.0 / (1.0 - rate) if rate < 1.0 else 0.0
    if op.attrs.get("alpha"):
        low = -SELU_ALPHA * SELU_SCALE
        scale = ((1.0 - rate) * (1.0 + rate * low**2)) ** -0.5
    mask = kept.to(x.dtype) * scale
    if shared > 1:
        mask = mask.view(-1, 1, channels).expand(-1, shared, channels)
    mask = mask.reshape(x.shape)
    y = x * mask
    if op.attrs.get("alpha"):
        shift = -scale * low * rate
        y = y + torch.where(mask != 0, shift, scale * low + shift).to(x.dtype)
    return y, mask


def times_backward(op: Op, dy: Tensor, cache: Cache, f: Frame) -> Tensor:
    """dx = dy times the factors of x; None for 1."""
    return dy if cache is None else dy * cache


def gaussian_noise_forward(op: Op, x: Tensor, f: Frame) -> tuple[Tensor, Cache]:
    if not f.training:
        return x, None
    drawn = f.normal(op, x.numel(), math.prod(op.in_shape))
    noise = float(op.attrs["stddev"]) * drawn.view(x.shape)
    if op.attrs.get("multiply"):
        factor = (1.0 + noise).to(x.dtype)
        return x * factor, factor
    return x + noise.to(x.dtype), None


def reshape_forward(op: Op, x: Tensor, f: Frame) -> tuple[Tensor, Cache]:
    return x.reshape(len(x), *op.out_shape), None


def reshape_backward(op: Op, dy: Tensor, cache: Cache, f: Frame) -> Tensor:
    return dy.reshape(len(dy), *op.in_shape)


def concatenate_forward(op: Op, xs: Sequence[Tensor], f: Frame) -> tuple[Tensor, Cache]:
    axis = 1 + number(op, "axis")
    return torch.cat(list(xs), axis), [x.shape[axis] for x in xs]


def concatenate_backward(
    op: Op, dy: Tensor, cache: Cache, f: Frame
) -> Sequence[Tensor]:
    return torch.split(dy, cache, 1 + number(op, "axis"))


def _matrices(op: Op, xs: Sequence[Tensor]) -> list[Tensor]:
    flags = op.attrs["transpose_a"], op.attrs["transpose_b"]
    return [x.transpose(-1, -2) if t else x for x, t in zip(xs, flags, strict=True)]


def matmul_forward(op: Op, xs: Sequence[Tensor], f: Frame) -> tuple[Tensor, Cache]:
    a, b = _matrices(op, xs)
    return f.product(a, b), xs


def matmul_backward(op: Op, dy: Tensor, cache: Cache, f: Frame) -> Sequence[Tensor]:
    a, b = _matrices(op, cache)
    da = f.product(dy, b.transpose(-1, -2))
    return _matrices(op, [da, f.product(a.transpose(-1, -2), dy)])


def permute_forward(op: Op, x: Tensor, f: Frame) -> tuple[Tensor, Cache]:
    return x.permute(0, *(1 + axis for axis in op.attrs["axes"])), None


def permute_backward(op: Op, dy: Tensor, cache: Cache, f: Frame) -> Tensor:
    return dy.permute(0, *(1 + int(axis) for axis in np.argsort(op.attrs["axes"])))


def _chosen(op: Op) -> tuple[tuple[slice, ...], list[int]]:
    """The elements start + i step of each axis, i < size, and the axes along which they
    run backwards."""
    slices, backwards = [slice(None)], []
    ranges = zip(op.attrs["starts"], op.attrs["sizes"], op.attrs["steps"], strict=True)
    for axis, (start, size, step) in enumerate(ranges, 1):
        last = start + (size - 1) * step
        low, high = min(start, last), max(start, last)
        slices.append(slice(low, high + 1, abs(step) or 1) if size else slice(0, 0))
        if step < 0:
            backwards.append(axis)
    return tuple(slices), backwards


def slice_forward(op: Op, x: Tensor, f: Frame) -> tuple[Tensor, Cache]:
    slices, backwards = _chosen(op)
    return x[slices].flip(backwards).reshape(len(x), *op.out_shape), None


def slice_backward(op: Op, dy: Tensor, cache: Cache, f: Frame) -> Tensor:
    return _placed(op, dy, op.in_shape)


def place_forward(op: Op, x: Tensor, f: Frame) -> tuple[Tensor, Cache]:
    return _placed(op, x, op.out_shape), None


def place_backward(op: Op, dy: Tensor, cache: Cache, f: Frame) -> Tensor:
    slices, backwards = _chosen(op)
    return dy[slices].flip(backwards).reshape(len(dy), *op.in_shape)


def _placed(op: Op, x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The elements of x at the positions from which a slice takes them, and zeros
    elsewhere."""
    slices, backwards = _chosen(op)
    y = x.new_zeros((len(x), *shape))
    y[slices] = x.reshape(len(x), *op.attrs["sizes"]).flip(backwards)
    return y


def _along(op: Op, x: Tensor, count: int) -> Tensor:
    """A batch as (outer, n, inner), where n are `count` axes from "axis" on."""
    axis = number(op, "axis")
    n = math.prod(op.in_shape[axis : axis + count])
    return x.reshape(-1, n, math.prod(op.in_shape[axis + count :]))


def reduce_forward(op: Op, x: Tensor, f: Frame) -> tuple[Tensor, Cache]:
    elements = _along(op, x, number(op, "count"))
    mode = str(op.attrs["mode"])
    if mode in ("sum", "mean"):
        y = total(elements, 1) / (elements.shape[1] if mode == "mean" else 1)
    elif mode == "prod":
        y = elements.prod(1)
    elif mode in ("max", "min"):
        y = elements.amax(1) if mode == "max" else elements.amin(1)
    elif mode == "argmax":
        y = elements.argmax(1).to(x.dtype)
    else:
        m = _finite(elements.amax(1))
        y = m + torch.log(total(torch.exp(elements - m[:, None]), 1))
    return y.reshape(len(x), *op.out_shape), elements


def reduce_backward(op: Op, dy: Tensor, cache: Cache, f: Frame) -> Tensor:
    x, mode = cache, str(op.attrs["mode"])
    dy = dy.reshape(x.shape[0], 1, x.shape[2])
    if mode in ("sum", "mean"):
        dx = (dy / (x.shape[1] if mode == "mean" else 1)).expand(x.shape)
    elif mode == "prod":
        dx = dy * _others(x)
    elif mode == "logsumexp":
        powers = torch.exp(x - _finite(x.amax(1, keepdim=True)))
        sums = total(powers, 1)[:, None]
        dx = dy * powers / torch.where(sums == 0, 1.0, sums)
    else:
        dx = torch.zeros_like(x)
        if mode in ("max", "min"):
            first = x.argmax(1) if mode == "max" else x.argmin(1)
            dx.scatter_(1, first[:, None], dy)
    return dx.reshape(-1, *op.in_shape)


def _finite(x: Tensor) -> Tensor:
    """x, with 0 in place of infinities."""
    return torch.where(torch.isinf(x), 0.0, x)


def _others(x: Tensor) -> Tensor:
    """The product of all elements but each."""
    ones = torch.ones_like(x[:, :1])
    before = torch.cumprod(torch.cat([ones, x[:, :-1]], 1), 1)
    behind = torch.cumprod(torch.cat([ones, x[:, 1:].flip(1)], 1), 1)
    return before * behind.flip(1)


def cumsum_forward(op: Op, x: Tensor, f: Frame) -> tuple[Tensor, Cache]:
    return _running(op, x, bool(op.attrs["reverse"]), f), None


def cumsum_backward(op: Op, dy: Tensor, cache: Cache, f: Frame) -> Tensor:
    return _running(op, dy, not op.attrs["reverse"], f)


def _running(op: Op, x: Tensor, reverse: bool, f: Frame) -> Tensor:
    axes = [1] if reverse else []
    sums = torch.cumsum(_along(op, x, 1).flip(axes), 1, dtype=f.wide).to(x.dtype)
    return sums.flip(axes).reshape(x.shape)


def embedding_forward(op: Op, x: Tensor, f: Frame) -> tuple[Tensor, Cache]:
    table = f.param(op, "embeddings")
    known = (x >= 0) & (x < len(table))
    rows = torch.where(known, x, 0.0).long()
    y = table.index_select(0, rows.view(-1)).view(*x.shape, -1)
    return torch.where(known[..., None], y, math.nan), (known, rows)


def embedding_backward(op: Op, dy: Tensor, cache: Cache, f: Frame) -> Tensor:
    """The rows with the same index are added in the order of their positions: they are
    sorted on a GPU, where atomic additions have no fixed order."""
    known, rows = cache
    shape = f.param(op, "embeddings").shape
    parts = torch.where(known[..., None], dy, 0.0).reshape(-1, shape[-1]).to(f.wide)
    table = torch.zeros(shape, dtype=f.wide, device=f.device)
    table.index_put_((rows.view(-1),), parts, accumulate=True)
    f.add(op, "embeddings", table.to(dy.dtype))
    return torch.zeros_like(known, dtype=dy.dtype)


def variable_forward(op: Op, x: Tensor, f: Frame) -> tuple[Tensor, Cache]:
    (value,) = [
        *(f.param(op, role) for role in op.params),
        *(f.buffer(op, role) for role in op.buffers),
    ]
    return value.expand(len(x), *value.shape), x.shape


def variable_backward(op: Op, dy: Tensor, cache: Cache, f: Frame) -> Tensor:
    for role in op.params:
        f.add(op, role, total(dy, 0))
    return dy.new_zeros(cache)


def zero_backward(op: Op, dy: Tensor, cache: Cache, f: Frame) -> Tensor:
    """dx = 0: only the number of samples of x matters."""
    return dy.new_zeros(cache)


def batch_reduce_forward(op: Op, x: Tensor, f: Frame) -> tuple[Tensor, Cache]:
    if op.attrs["mode"] == "max":
        y = x.amax(0)
    else:
        y = total(x, 0)
        y = y / len(x) if op.attrs["mode"] == "mean" else y
    return y.expand(x.shape), x


def batch_reduce_backward(op: Op, dy: Tensor, cache: Cache, f: Frame) -> Tensor:
    if op.attrs["mode"] != "max":
        return batch_reduce_forward(op, dy, f)[0]
    dx = torch.zeros_like(dy)
    return dx.scatter_(0, cache.argmax(0)[None], total(dy, 0)[None])


def random_forward(op: Op, x: Tensor, f: Frame) -> tuple[Tensor, Cache]:
    shared = op.attrs.get("shared")
    shape = (1 if shared else len(x), *op.out_shape)
    count, each = math.prod(shape), 0 if shared else math.prod(op.out_shape)
    if op.attrs["distribution"] == "normal":
        y = f.normal(op, count, each)
    else:
        y = f.uniform(op, count, each).clamp(max=MAX_UNIFORM)
    return y.view(shape).to(f.dtype).expand(len(x), *op.out_shape), x.shape


def states_forward(op: Op, x: Tensor, f: Frame) -> tuple[Tensor, Cache]:
    """A copy, since `keep_states` may write while it is still read."""
    rows = f.buffer(op, "state")[: len(x)].clone()
    return rows.view(len(x), *op.out_shape), x.shape


def keep_forward(op: Op, xs: Sequence[Tensor], f: Frame) -> tuple[Tensor, Cache]:
    return xs[0], xs


def keep_backward(op: Op, dy: Tensor, cache: Cache, f: Frame) -> Sequence[Tensor]:
    return [dy, *(torch.zeros_like(x) for x in cache[1:])]


def kept(op: Op, cache: Cache, before: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The new states, by their roles."""
    return {f"state_{k}": value for k, value in enumerate(cache[1:])}


LAYERS: dict[str, Pair] = {
    "dense": single(dense_forward, dense_backward),
    "activation": single(activation_forward, activation_backward),
    "softmax": single(softmax_forward, softmax_backward),
    "dropout": single(dropout_forward, times_backward),
    "gaussian_noise": single(gaussian_noise_forward, times_backward),
    "reshape": single(reshape_forward, reshape_backward),
    "concatenate": (concatenate_forward, concatenate_backward),
    "matmul": (matmul_forward, matmul_backward),
    "permute": single(permute_forward, permute_backward),
    "slice": single(slice_forward, slice_backward),
    "place": single(place_forward, place_backward),
    "reduce": single(reduce_forward, reduce_backward),
    "cumsum": single(cumsum_forward, cumsum_backward),
    "embedding": single(embedding_forward, embedding_backward),
    "variable": single(variable_forward, variable_backward),
    "batch_reduce": single(batch_reduce_forward, batch_reduce_backward),
    "random": single(random_forward, zero_backward),
    "states": single(states_forward, zero_backward),
    "keep_states": (keep_forward, keep_backward),
}
