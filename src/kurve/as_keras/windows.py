"""`keras.backend`: convolutions and pooling, on values and in models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kurve.as_keras.tensorflow.reductions import value
from kurve.as_keras.tensorflow.values import eager
from kurve.formulas import functions as ops
from kurve.formulas import nn

__all__ = [
    "bias_add",
    "conv1d",
    "conv2d",
    "depthwise_conv2d",
    "pool2d",
    "separable_conv2d",
    "spatial_2d_padding",
    "temporal_padding",
]

Sizes = int | Sequence[int]


@eager
def conv1d(
    x: Any,
    kernel: Any,
    strides: int = 1,
    padding: str = "valid",
    data_format: Any = None,
    dilation_rate: int = 1,
) -> Any:
    """The convolution of sequences (B, T, C) with kernels (t, C, F)."""
    kernel = value(kernel)
    if padding == "causal":
        left = dilation_rate * (ops.shape(kernel)[0] - 1)
        x, padding = ops.pad(value(x), [(0, 0), (left, 0), (0, 0)]), "valid"
    return nn.conv(value(x), kernel, strides, padding, data_format, dilation_rate)


@eager
def conv2d(
    x: Any,
    kernel: Any,
    strides: Sizes = (1, 1),
    padding: str = "valid",
    data_format: Any = None,
    dilation_rate: Sizes = (1, 1),
) -> Any:
    """The convolution of images (B, H, W, C) with kernels (h, w, C, F)."""
    kernel = value(kernel)
    return nn.conv(value(x), kernel, strides, padding, data_format, dilation_rate)


@eager
def depthwise_conv2d(
    x: Any,
    depthwise_kernel: Any,
    strides: Sizes = (1, 1),
    padding: str = "valid",
    data_format: Any = None,
    dilation_rate: Sizes = (1, 1),
) -> Any:
    """Convolve each channel with its own kernels (h, w, C, M)."""
    kernel = value(depthwise_kernel)
    given: Any = strides, padding, data_format, dilation_rate
    return nn.depthwise_conv(value(x), kernel, *given)


@eager
def separable_conv2d(
    x: Any,
    depthwise_kernel: Any,
    pointwise_kernel: Any,
    strides: Sizes = (1, 1),
    padding: str = "valid",
    data_format: Any = None,
    dilation_rate: Sizes = (1, 1),
) -> Any:
    """`depthwise_conv2d`, then a 1x1 convolution."""
    kernels = value(depthwise_kernel), value(pointwise_kernel)
    return nn.separable_conv(
        value(x), *kernels, strides, padding, data_format, dilation_rate
    )


@eager
def pool2d(
    x: Any,
    pool_size: Sizes,
    strides: Sizes = (1, 1),
    padding: str = "valid",
    data_format: Any = None,
    pool_mode: str = "max",
) -> Any:
    """The maximum of each window, or its mean with pool_mode="avg"."""
    call = {"max": nn.max_pool, "avg": nn.average_pool}[pool_mode]
    return call(value(x), pool_size, strides, padding, data_format)


@eager
def bias_add(x: Any, bias: Any, data_format: Any = None) -> Any:
    """x + bias, along the last axis."""
    return ops.add(value(x), value(bias))


@eager
def spatial_2d_padding(
    x: Any, padding: Any = ((1, 1), (1, 1)), data_format: Any = None
) -> Any:
    """Zero-pad images (B, H, W, C)."""
    return ops.pad(value(x), [(0, 0), *map(tuple, padding), (0, 0)])


@eager
def temporal_padding(x: Any, padding: Any = (1, 1)) -> Any:
    """Zero-pad sequences (B, T, C) before and after."""
    return ops.pad(value(x), [(0, 0), tuple(padding), (0, 0)])
