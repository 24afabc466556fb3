"""Functions of `kurve.ops` that rearrange the elements of images and other arrays, pool
to a given size, or compare vectors."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from kurve.core.arguments import check_integer
from kurve.formulas import functions as ops
from kurve.formulas.arrays import top_k
from kurve.formulas.calls import function
from kurve.formulas.nn import _channels_last, _pair, conv
from kurve.formulas.window import Window

# ---------------------------------------------------------------- blocks of pixels


def _blocks(where: str, x: Any, size: int, first: bool, parts: int) -> list[int]:
    """Height, width and channels of images, which must be divisible into blocks."""
    check_integer(where, "block_size", size, 2)
    shape = list(ops.shape(x)[1:])
    height, width, channels = [*shape[1:], shape[0]] if first else shape
    divided = (channels,) if parts == 1 else (height, width)
    if any(n % (size * size if parts == 1 else size) for n in divided):
        what = "block_size squared must divide the channels"
        raise ValueError(
            f"[{where}] {what if parts == 1 else 'block_size must divide the images'}. "
            f"Received: block_size={size} for images of shape {tuple(shape)}. "
            "Try another number of channels or size of images."
        )
    return [height, width, channels]


@function
def depth_to_space(x: Any, block_size: int, data_format: str = "channels_last") -> Any:
    """Move channels into blocks of pixels.

    Shapes: (B, H, W, r r C) -> (B, r H, r W, C) for block_size r
    """
    r, first = block_size, data_format == "channels_first"
    height, width, channels = _blocks("depth_to_space", x, r, first, 1)
    depth = channels // r**2
    if first:
        y = ops.reshape(x, (-1, depth, r, r, height, width))
        y = ops.transpose(y, (0, 1, 4, 2, 5, 3))
        return ops.reshape(y, (-1, depth, height * r, width * r))
    _channels_last("depth_to_space", data_format)
    y = ops.reshape(x, (-1, height, width, r, r, depth))
    y = ops.transpose(y, (0, 1, 3, 2, 4, 5))
    return ops.reshape(y, (-1, height * r, width * r, depth))


@function
def space_to_depth(x: Any, block_size: int, data_format: str = "channels_last") -> Any:
    """The reverse of `depth_to_space`.

    Shapes: (B, r H, r W, C) -> (B, H, W, r r C) for block_size r
    """
    r, first = block_size, data_format == "channels_first"
    height, width, channels = _blocks("space_to_depth", x, r, first, 2)
    h, w = height // r, width // r
    if first:
        y = ops.reshape(x, (-1, channels, h, r, w, r))
        y = ops.transpose(y, (0, 1, 3, 5, 2, 4))
        return ops.reshape(y, (-1, channels * r**2, h, w))
    _channels_last("space_to_depth", data_format)
    y = ops.reshape(x, (-1, h, r, w, r, channels))
    y = ops.transpose(y, (0, 1, 3, 2, 4, 5))
    return ops.reshape(y, (-1, h, w, channels * r**2))


@function
def unfold(
    x: Any,
    kernel_size: int | Sequence[int],
    dilation: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    stride: int | Sequence[int] = 1,
) -> Any:
    """The windows of images with channels in front, each as a column.

    Shapes: (B, C, H, W) -> (B, C KH KW, P), for P windows
    """
    (rows, columns), keys, sizes = _sliding(
        ops.shape(x)[2:], kernel_size, dilation, padding, stride
    )
    pads = [(p, p) for p in _pair(padding, 2)]
    x = ops.pad(x, [(0, 0), (0, 0), *pads])
    channels = ops.shape(x)[1]
    parts = [ops.get_item(x, (slice(None), slice(None), *key)) for key in keys]
    y = ops.stack(parts, 2)
    return ops.reshape(y, (-1, channels * sizes[0] * sizes[1], rows * columns))


@function
def fold(
    x: Any,
    output_size: int | Sequence[int],
    kernel_size: int | Sequence[int],
    dilation: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    stride: int | Sequence[int] = 1,
) -> Any:
    """Images from windows like those of `unfold`, added where they overlap.

    Shapes: (B, C KH KW, P) -> (B, C, H, W)
    """
    size = _pair(output_size, 2)
    places, keys, sizes = _sliding(size, kernel_size, dilation, padding, stride)
    channels = ops.shape(x)[1] // (sizes[0] * sizes[1])
    pads = _pair(padding, 2)
    whole = [n + 2 * p for n, p in zip(size, pads, strict=True)]
    x = ops.reshape(x, (-1, channels, len(keys), *places))
    total: Any = None
    for number, key in enumerate(keys):
        part = ops.get_item(x, (slice(None), slice(None), number))
        for axis, (window, count, length) in enumerate(
            zip(key, places, whole, strict=True), 2
        ):
            part = _spread(part, axis, window, count, length)
        total = part if total is None else total + part
    inner = [slice(p, p + n) for p, n in zip(pads, size, strict=True)]
    return ops.get_item(total, (slice(None), slice(None), *inner))


def _sliding(
    lengths: Sequence[int], kernel: Any, dilation: Any, padding: Any, stride: Any
) -> tuple[list[int], list[tuple[slice, slice]], tuple[int, ...]]:
    """How many windows each axis has; for each kernel position the elements under it;
    and the kernel's size."""
    sizes, dilations = _pair(kernel, 2), _pair(dilation, 2)
    pads, steps = _pair(padding, 2), _pair(stride, 2)
    counts = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, p, d, k, s in zip(lengths, pads, dilations, sizes, steps, strict=True)
    ]
    if min(counts) < 1:
        raise ValueError(
            "[unfold] a kernel must fit into the images. Received: "
            f"kernel_size={kernel!r} for images of {tuple(lengths)}. Try padding=1."
        )
    keys = [
        tuple(
            slice(i * d, i * d + (n - 1) * s + 1, s)
            for i, d, n, s in zip(place, dilations, counts, steps, strict=True)
        )
        for place in np.ndindex(*sizes)
    ]
    return counts, keys, sizes  # type: ignore[return-value]


def _spread(x: Any, axis: int, key: slice, count: int, length: int) -> Any:
    """The elements of an axis at the positions `key`, and zeros elsewhere."""
    shape, step = ops.shape(x), key.step
    rank, width = len(shape), (count - 1) * step + 1
    if step > 1:
        pads = [(0, 0)] * (rank + 1)
        pads[axis + 1] = (0, step - 1)
        x = ops.pad(ops.expand_dims(x, axis + 1), pads)
        x = ops.reshape(x, (-1, *shape[1:axis], count * step, *shape[axis + 1 :]))
        x = ops.get_item(x, (*[slice(None)] * axis, slice(0, width)))
    pads = [(0, 0)] * rank
    pads[axis] = (key.start, length - key.start - width)
    return ops.pad(x, pads)


# ---------------------------------------------------------------- named axes


@function
def rearrange(tensor: Any, pattern: str, **axes_lengths: int) -> Any:
    """Rearrange axes by a pattern in einops's notation: "b h w c -> b (h w) c" joins
    two, and "b (h w) c -> b h w c" with h=8 separates them.

    Raises:
        ValueError: an invalid pattern, or lengths that do not match.
    """
    before, arrow, after = pattern.partition("->")
    given, wanted = _groups(before), _groups(after)
    names = [name for group in given for name in group]
    if not arrow or sorted(names) != sorted(n for group in wanted for n in group):
        raise ValueError(
            "[rearrange] both sides of a pattern must have the same axes. "
            f"Received: {pattern!r}. Try 'b h w c -> b (h w) c'."
        )
    shape = ops.shape(tensor)
    if len(shape) != len(given):
        raise ValueError(
            f"[rearrange] the pattern has {len(given)} axes before its arrow. "
            f"Received: {pattern!r} for an array of shape {tuple(shape)}. "
            "Try another pattern."
        )
    lengths: dict[str, Any] = {**axes_lengths, "1": 1}
    for group, length in zip(given, shape, strict=True):
        open_names = [name for name in group if name not in lengths]
        known = math.prod(lengths[name] for name in group if name in lengths)
        fits = length is None or length == known or (open_names and length % known == 0)
        if len(open_names) > 1 or not fits:
            raise ValueError(
                "[rearrange] all lengths but one of each split axis must be given, and "
                f"divide it. Received: {pattern!r}, {axes_lengths} for an array of "
                f"shape {tuple(shape)}. Try the missing lengths."
            )
        for name in open_names:
            lengths[name] = None if length is None else length // known
    y = ops.reshape(tensor, _sizes([[name] for name in names], lengths))
    order = [names.index(name) for group in wanted for name in group]
    return ops.reshape(ops.transpose(y, order), _sizes(wanted, lengths))


def _groups(text: str) -> list[list[str]]:
    """The axes of one side of a pattern: "b (h w)" as [["b"], ["h", "w"]]."""
    found = re.findall(r"\(([^()]*)\)|(\S+)", text)
    return [many.split() if not one else [one] for many, one in found]


def _sizes(groups: Sequence[Sequence[str]], lengths: dict[str, Any]) -> list[int]:
    sizes = []
    for group in groups:
        each = [lengths[name] for name in group]
        sizes.append(-1 if None in each else math.prod(each))
    return sizes


# ---------------------------------------------------------------- windows


def _ranges(length: int, count: int) -> list[tuple[int, int]]:
    """The windows of an axis that is pooled to `count` elements."""
    return [(i * length // count, -(-(i + 1) * length // count)) for i in range(count)]


def _adaptive(kind: str, inputs: Any, output_size: Any, data_format: Any) -> Any:
    if data_format == "channels_first":
        y = _adaptive(kind, ops.moveaxis(inputs, 1, -1), output_size, None)
        return ops.moveaxis(y, -1, 1)
    _channels_last(f"adaptive_{kind}_pool", data_format)
    lengths = ops.shape(inputs)[1:-1]
    for axis, (length, count) in enumerate(
        zip(lengths, _pair(output_size, len(lengths)), strict=True), 1
    ):
        ranges = _ranges(length, count)
        if kind == "average":
            inside = np.zeros((length, count), np.float32)
            for i, (start, stop) in enumerate(ranges):
                inside[start:stop, i] = 1.0
            sums = ops.matmul(ops.moveaxis(inputs, axis, -1), inside)
            inputs = ops.moveaxis(sums / inside.sum(0), -1, axis)
        else:
            before = [slice(None)] * axis
            parts = [
                ops.max(ops.get_item(inputs, (*before, slice(*r))), axis, True)
                for r in ranges
            ]
            inputs = ops.concatenate(parts, axis)
    return inputs


@function
def adaptive_average_pool(
    inputs: Any, output_size: int | Sequence[int], data_format: str | None = None
) -> Any:
    """The means of windows that divide images into `output_size` parts, for images of
    any size."""
    return _adaptive("average", inputs, output_size, data_format)


@function
def adaptive_max_pool(
    inputs: Any, output_size: int | Sequence[int], data_format: str | None = None
) -> Any:
    """The maxima of such windows."""
    return _adaptive("max", inputs, output_size, data_format)


@function
def conv_transpose(
    inputs: Any,
    kernel: Any,
    strides: int | Sequence[int] = 1,
    padding: str = "valid",
    output_padding: int | Sequence[int] | None = None,
    data_format: str | None = None,
    dilation_rate: int | Sequence[int] = 1,
) -> Any:
    """Transposed convolution with kernels (..., O, I), as in `layers.Conv2DTranspose`:
    a convolution of the inputs, with zeros between them, by the reversed kernel."""
    _channels_last("conv_transpose", data_format)
    *sizes, _, _ = ops.shape(kernel)
    axes = len(sizes)
    extra = [None] * axes if output_padding is None else _pair(output_padding, axes)
    windows = [
        Window(*each)
        for each in zip(
            sizes, _pair(strides, axes), _pair(dilation_rate, axes), strict=True
        )
    ]
    lengths = ops.shape(inputs)[1:-1]
    for axis, (count, window) in enumerate(zip(lengths, windows, strict=True), 1):
        around, width = window.span - 1, (count - 1) * window.stride + 1
        key = slice(around, None, window.stride)
        inputs = _spread(inputs, axis, key, count, width + 2 * around)
    reversed_kernel = ops.flip(ops.swapaxes(kernel, -1, -2), tuple(range(axes)))
    whole = conv(inputs, reversed_kernel, 1, "valid", None, dilation_rate)
    crops = [w.crops(padding.lower(), m) for w, m in zip(windows, extra, strict=True)]
    added = [(0, max(-back, 0)) for _, back in crops]
    kept = [
        slice(front, length - max(back, 0))
        for (front, back), length in zip(crops, ops.shape(whole)[1:-1], strict=True)
    ]
    y = ops.get_item(whole, (slice(None), *kept))
    return ops.pad(y, [(0, 0), *added, (0, 0)]) if any(b for _, b in added) else y


# ---------------------------------------------------------------- vectors


@function
def cdist(x: Any, y: Any) -> Any:
    """The distance of each vector of x from each of y.

    Shapes: x (..., M, D), y (..., N, D) -> (..., M, N)
    """
    differences = ops.expand_dims(x, -2) - ops.expand_dims(y, -3)
    return ops.norm(differences, axis=-1)


@function
def sparsemax(x: Any, axis: int = -1) -> Any:
    """max(x - t, 0), with t for each vector so that the result sums to 1.

    Source: Martins & Astudillo 2016.
    """
    z = ops.moveaxis(x, axis, -1)
    size = ops.shape(z)[-1]
    ordered = top_k(z, size)[0]
    sums = ops.cumsum(ordered, -1) - 1.0
    number = np.arange(1, size + 1, dtype=np.float32)
    inside = ops.cast(ops.greater(number * ordered, sums), "float32")
    last = ops.sum(inside, -1, True)
    chosen = ops.cast(ops.equal(number, last), "float32")
    threshold = ops.sum(chosen * sums, -1, True) / last
    return ops.moveaxis(ops.relu(z - threshold), -1, axis)


@function
def psnr(x1: Any, x2: Any, max_val: float) -> Any:
    """The ratio of the largest value to the difference, in decibels:
    20 log10(max_val) - 10 log10(mean((x1 - x2)^2))."""
    error = ops.mean(ops.square(x1 - x2))
    return 20.0 * math.log10(max_val) - 10.0 * ops.log10(error)


NAMES = (
    "adaptive_average_pool",
    "adaptive_max_pool",
    "cdist",
    "conv_transpose",
    "depth_to_space",
    "fold",
    "psnr",
    "rearrange",
    "space_to_depth",
    "sparsemax",
    "unfold",
)
"""Names that are imported with this module only."""
