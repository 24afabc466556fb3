"""`tf.nn`: convolutions and pooling, on values and in models."""

from __future__ import annotations

from typing import Any

from kurve.as_keras.tensorflow.reductions import value
from kurve.as_keras.tensorflow.values import eager
from kurve.formulas import functions as ops
from kurve.formulas import nn

__all__ = [
    "avg_pool",
    "avg_pool1d",
    "avg_pool2d",
    "conv1d",
    "conv2d",
    "convolution",
    "depthwise_conv2d",
    "max_pool",
    "max_pool1d",
    "max_pool2d",
    "separable_conv2d",
]


def _sizes(where: str, values: Any, axes: int) -> tuple[int, ...]:
    """The sizes along the axes between batch and channels, from TensorFlow's lists with
    or without these two."""
    if isinstance(values, int):
        return (values,) * axes
    given = [int(v) for v in values]
    if len(given) == axes + 2:
        if given[0] != 1 or given[-1] != 1:
            raise ValueError(
                f"[tf.nn.{where}] windows only move along the axes of an image. "
                f"Received: {given}. Try 1 for the batch and the channels."
            )
        given = given[1:-1]
    return tuple(given * axes) if len(given) == 1 else tuple(given)


def _format(data_format: Any) -> str | None:
    known = {"NHWC": None, "NWC": None, "NCHW": "channels_first"}
    return known.get(data_format, data_format)


def _conv(
    where: str,
    call: Any,
    axes: int,
    arrays: tuple[Any, ...],
    strides: Any,
    padding: str,
    data_format: Any,
    dilations: Any,
) -> Any:
    """A convolution of `kurve.ops`; `arrays` are x and its kernels."""
    strides = _sizes(where, strides, axes)
    dilations = _sizes(where, dilations or 1, axes)
    equal = strides[0] if len({*strides}) == 1 else strides
    form = _format(data_format)
    return call(*map(value, arrays), equal, str(padding).lower(), form, dilations)


@eager
def conv2d(
    input: Any,
    filters: Any = None,
    strides: Any = 1,
    padding: str = "VALID",
    data_format: str = "NHWC",
    dilations: Any = None,
    name: Any = None,
    filter: Any = None,
) -> Any:
    """The convolution of images (B, H, W, C) with filters (h, w, C, F)."""
    given = strides, padding, data_format, dilations
    kernel = filter if filters is None else filters
    return _conv("conv2d", nn.conv, 2, (input, kernel), *given)


@eager
def conv1d(
    input: Any,
    filters: Any,
    stride: Any = 1,
    padding: str = "VALID",
    data_format: str = "NWC",
    dilations: Any = None,
    name: Any = None,
) -> Any:
    """The convolution of sequences (B, T, C) with filters (t, C, F)."""
    given = stride, padding, data_format, dilations
    return _conv("conv1d", nn.conv, 1, (input, filters), *given)


@eager
def convolution(
    input: Any,
    filters: Any,
    strides: Any = None,
    padding: str = "VALID",
    data_format: Any = None,
    dilations: Any = None,
    name: Any = None,
) -> Any:
    """`conv1d` or `conv2d`, by the number of axes."""
    given = strides or 1, padding, data_format, dilations
    axes = len(ops.shape(value(input))) - 2
    return _conv("convolution", nn.conv, axes, (input, filters), *given)


@eager
def depthwise_conv2d(
    input: Any,
    filter: Any,
    strides: Any = 1,
    padding: str = "VALID",
    data_format: str = "NHWC",
    dilations: Any = None,
    name: Any = None,
) -> Any:
    """Convolve each channel with its own filters (h, w, C, M)."""
    given = strides, padding, data_format, dilations
    where = "depthwise_conv2d"
    return _conv(where, nn.depthwise_conv, 2, (input, filter), *given)


@eager
def separable_conv2d(
    input: Any,
    depthwise_filter: Any,
    pointwise_filter: Any,
    strides: Any = 1,
    padding: str = "VALID",
    data_format: str = "NHWC",
    dilations: Any = None,
    name: Any = None,
) -> Any:
    """`depthwise_conv2d`, then a 1x1 convolution."""
    given = strides, padding, data_format, dilations
    arrays = input, depthwise_filter, pointwise_filter
    return _conv("separable_conv2d", nn.separable_conv, 2, arrays, *given)


def _pool(
    name: str, axes: int, x: Any, ksize: Any, strides: Any, padding: str, form: Any
) -> Any:
    x = value(x)
    call = nn.max_pool if name.startswith("max") else nn.average_pool
    moves = not isinstance(ksize, int) and len(ksize) == axes + 2
    if moves and ksize[-1] > 1:  # over the channels
        sizes = ops.shape(x)
        if any(int(size) != 1 for size in ksize[:-1]):
            raise ValueError(
                f"[tf.nn.{name}] a window spans either pixels or channels. "
                f"Received: ksize={list(ksize)}. Try two calls."
            )
        width = 1
        for size in sizes[1:-1]:
            width *= size
        flat = ops.reshape(ops.moveaxis(x, -1, 1), (-1, sizes[-1], width))
        pooled = call(flat, ksize[-1], int(strides[-1]), padding.lower())
        back = ops.reshape(pooled, (-1, ops.shape(pooled)[1], *sizes[1:-1]))
        return ops.moveaxis(back, 1, -1)
    size = _sizes(name, ksize, axes)
    steps = _sizes(name, ksize if strides is None else strides, axes)
    return call(x, size, steps, padding.lower(), _format(form))


def _pooling(name: str, axes: int, says: str) -> Any:
    @eager
    def pool(
        input: Any = None,
        ksize: Any = None,
        strides: Any = None,
        padding: str = "VALID",
        data_format: Any = None,
        name: Any = None,
        value: Any = None,
    ) -> Any:
        x = value if input is None else input
        return _pool(own, axes, x, ksize, strides, padding, data_format)

    own = name
    pool.__name__ = pool.__qualname__ = name
    pool.__doc__ = says
    return pool


_MAX = "The maximum of each window; of channels, with ksize=(1, 1, 1, k)."
_MEAN = "The mean of each window, without the padding."
max_pool1d, avg_pool1d = (
    _pooling("max_pool1d", 1, _MAX),
    _pooling("avg_pool1d", 1, _MEAN),
)
max_pool2d, avg_pool2d = (
    _pooling("max_pool2d", 2, _MAX),
    _pooling("avg_pool2d", 2, _MEAN),
)
max_pool, avg_pool = max_pool2d, avg_pool2d
