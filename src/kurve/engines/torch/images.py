"""Convolution, pooling, and operations that enlarge or move images; the formulas are
those of the modules with these names in `kurve.engines.reference`.

PyTorch needs channels first: a batch (B, H, W, C) is passed as a view (B, C, H, W).
Padding, or cropping if it is negative, is a separate operation.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch

from kurve.engines.reference.padding import weights as row_weights
from kurve.engines.torch.common import (
    Cache,
    Frame,
    Pair,
    Tensor,
    number,
    plane,
    single,
    total,
)
from kurve.engines.torch.elementwise import activation_of, aten
from kurve.plan import Op

_SIDES = {"h": ("top", "bottom"), "w": ("left", "right"), "d": ("front", "back")}


def _axes(op: Op) -> str:
    return "dhw" if op.kind == "conv3d" else "hw"


def _sizes(op: Op, name: str) -> list[int]:
    return [int(op.attrs.get(f"{name}_{axis}", 1)) for axis in _axes(op)]


def _pads(op: Op, sign: int = 1) -> list[int]:
    """Padding for `constant_pad_nd`: the last axis comes first."""
    return [
        sign * number(op, f"pad_{side}")
        for axis in reversed(_axes(op))
        for side in _SIDES[axis]
    ]


def _padded(x: Tensor, pads: Sequence[int], value: float = 0.0) -> Tensor:
    return torch.constant_pad_nd(x, list(pads), value) if any(pads) else x


def _in_front(op: Op, x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A batch of samples with channels first."""
    x = x.reshape(len(x), *shape) if op.kind == "conv3d" else plane(x, shape)
    return x.movedim(-1, 1)


def _channels_last(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    return x.movedim(1, -1).reshape(len(x), *shape)


def _kernel(op: Op, f: Frame) -> Tensor:
    """The kernel (KH, KW, A, B) as PyTorch's (B, A, KH, KW)."""
    kernel, last = f.param(op, "kernel"), op.out_shape[-1]
    if op.kind == "conv_transpose":
        last = kernel.shape[-1]
    shaped = kernel.view(*_sizes(op, "kernel"), -1, last)
    rank = shaped.ndim
    return shaped.permute(rank - 1, rank - 2, *range(rank - 2))


def _options(op: Op) -> tuple[list[int], list[int], list[int], bool, list[int], int]:
    """stride, padding, dilation, transposed, output_padding and groups."""
    zeros = [0] * len(_axes(op))
    groups = int(op.attrs.get("groups", 1))
    stride, dilation = _sizes(op, "stride"), _sizes(op, "dilation")
    return stride, zeros, dilation, op.kind == "conv_transpose", zeros, groups


def conv_forward(op: Op, x: Tensor, f: Frame) -> tuple[Tensor, Cache]:
    """z of the padded plane; if transposed, the full output is cropped."""
    activation, _, alpha = activation_of(op)
    planes, transposed = _in_front(op, x, op.in_shape), op.kind == "conv_transpose"
    if not transposed:
        planes = _padded(planes, _pads(op))
    factors = f.rounded(planes, _kernel(op, f))
    z = torch.convolution(*factors, None, *_options(op)).to(x.dtype)
    z = _channels_last(_padded(z, _pads(op, -1)) if transposed else z, op.out_shape)
    if "bias" in op.params:
        z = z + f.param(op, "bias")
    y = activation(z, alpha)
    return y, (planes, z, y)


def conv_backward(op: Op, dy: Tensor, cache: Cache, f: Frame) -> Tensor | None:
    planes, z, y = cache
    _, derivative, alpha = activation_of(op)
    dz = derivative(dy, z, y, alpha)
    if "bias" in op.params:
        f.add(op, "bias", total(dz.reshape(-1, dz.shape[-1]), 0))
    front, transposed = _in_front(op, dz, op.out_shape), op.kind == "conv_transpose"
    if transposed:
        front = _padded(front, _pads(op))
    mask = [f.wanted, True, False]
    factors = f.rounded(front, planes, _kernel(op, f))
    dx, dkernel, _ = aten.convolution_backward(*factors, None, *_options(op), mask)
    f.add(op, "kernel", dkernel.permute(*range(2, dkernel.ndim), 1, 0))
    if dx is None or not f.wanted:
        return None
    dx = dx.to(dy.dtype)
    return _channels_last(dx if transposed else _padded(dx, _pads(op, -1)), op.in_shape)


def pool_forward(op: Op, x: Tensor, f: Frame) -> tuple[Tensor, Cache]:
    size, stride = _sizes(op, "pool"), _sizes(op, "stride")
    planes = _in_front(op, x, op.in_shape)
    if op.attrs["mode"] == "max":
        padded = _padded(planes, _pads(op), -torch.inf).contiguous()
        y, cache = aten.max_pool2d_with_indices(padded, size, stride)
    else:
        padded = _padded(planes, _pads(op)).contiguous()
        ones = _padded(torch.ones_like(planes[:1, :1]), _pads(op))
        cache = _sum_pool(ones, size, stride)
        y = _sum_pool(padded.to(f.wide), size, stride).to(x.dtype) / cache
    return _channels_last(y, op.out_shape), (cache, padded)


def _sum_pool(x: Tensor, size: list[int], stride: list[int]) -> Tensor:
    y: Tensor = aten.avg_pool2d(x, size, stride, [0, 0], False, True, 1)
    return y


def pool_backward(op: Op, dy: Tensor, cache: Cache, f: Frame) -> Tensor:
    saved, padded = cache
    size, stride = _sizes(op, "pool"), _sizes(op, "stride")
    front = _in_front(op, dy, op.out_shape).contiguous()
    if op.attrs["mode"] == "max":
        dx = aten.max_pool2d_with_indices_backward(
            front.to(f.wide),
            padded.to(f.wide),
            size,
            stride,
            [0, 0],
            [1, 1],
            False,
            saved,
        )
    else:
        dx = aten.avg_pool2d_backward(
            (front / saved).to(f.wide),
            padded.to(f.wide),
            size,
            stride,
            [0, 0],
            False,
            True,
            1,
        )
    return _channels_last(_padded(dx.to(dy.dtype), _pads(op, -1)), op.in_shape)


def global_forward(op: Op, x: Tensor, f: Frame) -> tuple[Tensor, Cache]:
    pixels = x.reshape(len(x), -1, x.shape[-1])
    if op.attrs["mode"] == "max":
        y, first = pixels.amax(1), pixels.argmax(1)
    else:
        y, first = total(pixels, 1) / pixels.shape[1], None
    return y.view(len(x), *op.out_shape), first


def global_backward(op: Op, dy: Tensor, cache: Cache, f: Frame) -> Tensor:
    rows = dy.reshape(len(dy), 1, op.in_shape[-1])
    count = int(np.prod(op.in_shape[:-1]))
    if cache is None:
        dx = (rows / count).expand(-1, count, -1)
    else:
        dx = dy.new_zeros((len(dy), count, op.in_shape[-1]))
        dx.scatter_(1, cache[:, None], rows)
    return dx.reshape(len(dy), *op.in_shape)


def pad_forward(op: Op, x: Tensor, f: Frame) -> tuple[Tensor, Cache]:
    return _channels_last(
        _padded(_in_front(op, x, op.in_shape), _pads(op)), op.out_shape
    ), None


def pad_backward(op: Op, dy: Tensor, cache: Cache, f: Frame) -> Tensor:
    front = _in_front(op, dy, op.out_shape)
    return _channels_last(_padded(front, _pads(op, -1)), op.in_shape)


def upsample_forward(op: Op, x: Tensor, f: Frame) -> tuple[Tensor, Cache]:
    rows, columns = _weights(op, f)
    planes = plane(x, op.in_shape)
    y = torch.einsum("ph,bhwc,qw->bpqc", rows.to(x.dtype), planes, columns.to(x.dtype))
    return y.reshape(len(x), *op.out_shape), None


def upsample_backward(op: Op, dy: Tensor, cache: Cache, f: Frame) -> Tensor:
    rows, columns = _weights(op, f)
    dy_plane = plane(dy, op.out_shape).to(f.wide)
    dx = torch.einsum("ph,bpqc,qw->bhwc", rows, dy_plane, columns).to(dy.dtype)
    return dx.reshape(len(dy), *op.in_shape)


def _weights(op: Op, f: Frame) -> tuple[Tensor, Tensor]:
    wide = np.dtype("f4" if f.wide == torch.float32 else "f8")
    both: tuple[Tensor, Tensor] = f.constant(
        op, "weights", lambda: row_weights(op, wide)
    )
    return both


def affine_forward(op: Op, x: Tensor, f: Frame) -> tuple[Tensor, Cache]:
    if not f.training:
        return x, None
    draws = f.uniform(op, 4 * len(x), 4).view(len(x), 4)
    near = _taps(op, *_origins(op, draws, f))
    fill = float(op.attrs["fill_value"])
    pixels, y = x.reshape(-1, x.shape[-1]), torch.zeros_like(x)
    for place, weight, inside in near:
        seen = pixels.index_select(0, place.view(-1)).view(x.shape)
        seen = torch.where(inside[..., None], seen, fill)
        y = y + weight.to(x.dtype)[..., None] * seen
    return y, near


def affine_backward(op: Op, dy: Tensor, cache: Cache, f: Frame) -> Tensor:
    if cache is None:
        return dy
    channels = dy.shape[-1]
    dx = torch.zeros((dy.numel() // channels, channels), dtype=f.wide, device=f.device)
    for place, weight, inside in cache:
        part = (weight * inside).to(dy.dtype)[..., None] * dy
        rows = part.reshape(-1, channels).to(f.wide)
        dx.index_put_((place.view(-1),), rows, accumulate=True)
    return dx.to(dy.dtype).view(dy.shape)


def _origins(op: Op, draws: Tensor, f: Frame) -> tuple[Tensor, Tensor]:
    """Source row and column (B, H, W) of each pixel of the result."""
    height, width, _ = op.in_shape
    h = torch.arange(height, device=f.device, dtype=f.wide)[:, None]
    w = torch.arange(width, device=f.device, dtype=f.wide)[None, :]
    u, v = (draws[:, i, None, None] for i in range(2))
    middle_h, middle_w = (height - 1) / 2, (width - 1) / 2
    what = str(op.attrs["what"])
    if what == "translation":
        rows = h - height * _between(op, "height", u) + 0 * w
        columns = w - width * _between(op, "width", v) + 0 * h
    elif what == "rotation":
        angle = _between(op, "angle", u)
        cos, sin = torch.cos(angle), torch.sin(angle)
        rows = middle_h + (h - middle_h) * cos + (w - middle_w) * sin
        columns = middle_w - (h - middle_h) * sin + (w - middle_w) * cos
    elif what == "zoom":
        zoom_h = 1 + _between(op, "height", u)
        zoom_w = zoom_h if op.attrs["together"] else 1 + _between(op, "width", v)
        rows = middle_h + (h - middle_h) * zoom_h + 0 * w
        columns = middle_w + (w - middle_w) * zoom_w + 0 * h
    else:
        mirror_w = (u < 0.5) & bool(op.attrs["horizontal"])
        mirror_h = (v < 0.5) & bool(op.attrs["vertical"])
        rows = torch.where(mirror_h, height - 1.0 - h, h) + 0 * w
        columns = torch.where(mirror_w, width - 1.0 - w, w) + 0 * h
    return rows, columns


def _taps(op: Op, rows: Tensor, columns: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    """The pixels whose weighted sum is the result: their index in the batch, weight,
    and whether they are inside the image."""
    sides = []
    for position, size in zip((rows, columns), op.in_shape, strict=False):
        if op.attrs["interpolation"] == "nearest":
            near = [(torch.round(position).long(), torch.ones_like(position))]
        else:
            lower = torch.floor(position).long()
            upper_weight = position - lower
            near = [(lower, 1 - upper_weight), (lower + 1, upper_weight)]
        sides.append([(*_pixel(op, index, size), weight) for index, weight in near])
    height, width, _ = op.in_shape
    images = torch.arange(len(rows), device=rows.device)[:, None, None] * height
    return [
        ((images + h) * width + w, weight_h * weight_w, inside_h & inside_w)
        for (h, inside_h, weight_h), (w, inside_w, weight_w) in itertools.product(
            *sides
        )
    ]


def _pixel(op: Op, index: Tensor, size: int) -> tuple[Tensor, Tensor]:
    mode, inside = str(op.attrs["fill_mode"]), torch.ones_like(index, dtype=torch.bool)
    if mode == "wrap":
        return index % size, inside
    if mode == "reflect":
        index = index % (2 * size)
        return torch.minimum(index, 2 * size - 1 - index), inside
    if mode == "constant":
        inside = (index >= 0) & (index < size)
    return index.clamp(0, size - 1), inside


def _between(op: Op, name: str, u: Tensor) -> Tensor:
    low, high = float(op.attrs[f"{name}_low"]), float(op.attrs[f"{name}_high"])
    return low + (high - low) * u


_CONV = single(conv_forward, conv_backward)

IMAGES: dict[str, Pair] = {
    "conv": _CONV,
    "conv_transpose": _CONV,
    "conv3d": _CONV,
    "pool": single(pool_forward, pool_backward),
    "global_pool": single(global_forward, global_backward),
    "pad": single(pad_forward, pad_backward),
    "upsample": single(upsample_forward, upsample_backward),
    "affine_image": single(affine_forward, affine_backward),
}
