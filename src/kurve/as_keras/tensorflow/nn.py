"""Functions of networks: `tf.nn.relu`, `tf.nn.softmax_cross_entropy_with_logits`."""

from __future__ import annotations

from typing import Any

import numpy as np

from kurve.as_keras.tensorflow.arrays import gather
from kurve.as_keras.tensorflow.elementwise import sigmoid as sigmoid  # type: ignore[attr-defined]
from kurve.as_keras.tensorflow.elementwise import softplus as softplus  # type: ignore[attr-defined]
from kurve.as_keras.tensorflow.elementwise import tanh as tanh  # type: ignore[attr-defined]
from kurve.as_keras.tensorflow.random import _source
from kurve.as_keras.tensorflow.reductions import value
from kurve.as_keras.tensorflow.values import concrete, eager, is_symbolic_tensor
from kurve.formulas import functions as ops
from kurve.formulas import nn

__all__ = [
    "avg_pool",
    "avg_pool2d",
    "batch_normalization",
    "bias_add",
    "conv1d",
    "conv2d",
    "dropout",
    "elu",
    "embedding_lookup",
    "gelu",
    "l2_loss",
    "leaky_relu",
    "max_pool",
    "max_pool2d",
    "moments",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "sigmoid_cross_entropy_with_logits",
    "silu",
    "softmax_cross_entropy_with_logits",
    "softmax_cross_entropy_with_logits_v2",
    "softplus",
    "softsign",
    "sparse_softmax_cross_entropy_with_logits",
    "swish",
    "tanh",
]


@eager
def relu(features: Any, name: Any = None) -> Any:
    """max(x, 0)."""
    return ops.relu(value(features))


@eager
def relu6(features: Any, name: Any = None) -> Any:
    """x, within 0 and 6."""
    return nn.relu6(value(features))


@eager
def elu(features: Any, name: Any = None, alpha: float = 1.0) -> Any:
    """x where it is positive, alpha (exp(x) - 1) elsewhere."""
    return nn.elu(value(features), alpha)


@eager
def selu(features: Any, name: Any = None) -> Any:
    """elu, scaled so that mean 0 and variance 1 stay (Klambauer et al. 2017)."""
    return nn.selu(value(features))


@eager
def softsign(features: Any, name: Any = None) -> Any:
    """x / (1 + |x|)."""
    return nn.softsign(value(features))


@eager
def leaky_relu(features: Any, alpha: float = 0.2, name: Any = None) -> Any:
    """x where it is positive, alpha x elsewhere."""
    return nn.leaky_relu(value(features), alpha)


@eager
def gelu(features: Any, approximate: Any = False, name: Any = None) -> Any:
    """x times the normal distribution function, or the approximation by tanh."""
    return nn.gelu(value(features), bool(approximate))


@eager
def silu(features: Any, beta: float = 1.0) -> Any:
    """x sigmoid(beta x)."""
    x = value(features)
    return ops.multiply(x, ops.sigmoid(x if beta == 1.0 else ops.multiply(x, beta)))


swish = silu


@eager
def bias_add(value: Any, bias: Any, data_format: Any = None, name: Any = None) -> Any:
    """value + bias, along the last axis."""
    return ops.add(value, bias)


@eager
def l2_loss(t: Any, name: Any = None) -> Any:
    """Half the sum of squares."""
    return ops.multiply(ops.sum(ops.square(value(t))), 0.5)


@eager
def moments(
    x: Any, axes: Any, shift: Any = None, keepdims: Any = False, name: Any = None
) -> Any:
    """Mean and variance over axes."""
    axes = [axes] if isinstance(axes, int) else list(axes)
    return nn.moments(value(x), axes, bool(keepdims))


@eager
def batch_normalization(
    x: Any,
    mean: Any,
    variance: Any,
    offset: Any,
    scale: Any,
    variance_epsilon: float,
    name: Any = None,
) -> Any:
    """(x - mean) / sqrt(variance + epsilon) * scale + offset."""
    factor = ops.rsqrt(ops.add(value(variance), variance_epsilon))
    factor = factor if scale is None else ops.multiply(factor, value(scale))
    y = ops.multiply(ops.subtract(value(x), value(mean)), factor)
    return y if offset is None else ops.add(y, value(offset))


@eager
def dropout(
    x: Any, rate: float, noise_shape: Any = None, seed: Any = None, name: Any = None
) -> Any:
    """x with a share of its elements set to 0, the others scaled up.

    Raises:
        NotImplementedError: in a model, whose random numbers are those of layers.
    """
    if is_symbolic_tensor(x):
        raise NotImplementedError(
            "[tf.nn.dropout] random numbers of a model are those of its layers. "
            f"Received: {x!r}. Try layers.Dropout({rate})(x)."
        )
    x = value(x)
    kept = _source(seed).random(noise_shape or x.shape) >= rate
    return ops.multiply(x, kept.astype(x.dtype) / x.dtype.type(1.0 - rate))


@eager
def embedding_lookup(params: Any, ids: Any, *_: Any, **__: Any) -> Any:
    """The rows of a table with these numbers."""
    return gather(params, ids)


@eager
def softmax_cross_entropy_with_logits(
    labels: Any, logits: Any, axis: int = -1, name: Any = None, dim: Any = None
) -> Any:
    """-sum(labels log(softmax(logits))) along an axis."""
    axis = axis if dim is None else dim
    return nn.categorical_crossentropy(value(labels), value(logits), True, axis)


softmax_cross_entropy_with_logits_v2 = softmax_cross_entropy_with_logits


@eager
def sparse_softmax_cross_entropy_with_logits(
    labels: Any, logits: Any, name: Any = None
) -> Any:
    """-log(softmax(logits)) of each row's class."""
    return nn.sparse_categorical_crossentropy(value(labels), value(logits), True)


@eager
def sigmoid_cross_entropy_with_logits(
    labels: Any = None, logits: Any = None, name: Any = None
) -> Any:
    """max(z, 0) - z y + log(1 + exp(-|z|)), for logits z and labels y."""
    return nn.binary_crossentropy(value(labels), value(logits), True)


# ---------------------------------------------------------------- images


def _pairs(values: Any) -> tuple[int, int]:
    """The two lengths of rows and columns in TensorFlow's lists of 1, 2 or 4."""
    if isinstance(values, int):
        return values, values
    given = [int(v) for v in values]
    if len(given) == 1:
        return given[0], given[0]
    return (given[1], given[2]) if len(given) == 4 else (given[0], given[1])


def _windows(
    x: np.ndarray,
    size: tuple[int, int],
    strides: tuple[int, int],
    padding: str,
    fill: float,
) -> np.ndarray:
    """Windows of images (B, H, W, C): (B, rows, columns, C, h, w)."""
    if padding.upper() == "SAME":
        margins = []
        for length, window, step in zip(x.shape[1:3], size, strides, strict=True):
            missing = max((-(-length // step) - 1) * step + window - length, 0)
            margins.append((missing // 2, missing - missing // 2))
        x = np.pad(x, [(0, 0), *margins, (0, 0)], constant_values=fill)
    view = np.lib.stride_tricks.sliding_window_view(x, size, (1, 2))
    return view[:, :: strides[0], :: strides[1]]


@eager
def conv2d(
    input: Any, filters: Any, strides: Any, padding: str, *_: Any, **__: Any
) -> Any:
    """The convolution of images (B, H, W, C) with filters (h, w, C, F)."""
    x, kernel = concrete("nn.conv2d", input, filters)
    windows = _windows(x, kernel.shape[:2], _pairs(strides), padding, 0.0)
    return np.einsum("bijchw,hwcf->bijf", windows, kernel).astype(x.dtype)


@eager
def conv1d(
    input: Any, filters: Any, stride: Any, padding: str, *_: Any, **__: Any
) -> Any:
    """The convolution of sequences (B, T, C) with filters (t, C, F)."""
    x, kernel = concrete("nn.conv1d", input, filters)
    step = stride if isinstance(stride, int) else max(stride)
    images = x[:, :, None, :]
    windows = _windows(images, (kernel.shape[0], 1), (step, 1), padding, 0.0)
    return np.einsum("bijchw,hcf->bif", windows, kernel).astype(x.dtype)


@eager
def max_pool2d(
    input: Any, ksize: Any, strides: Any, padding: str, *_: Any, **__: Any
) -> Any:
    """The maximum of each window."""
    x = concrete("nn.max_pool2d", input)
    return _windows(x, _pairs(ksize), _pairs(strides), padding, -np.inf).max((-2, -1))


@eager
def avg_pool2d(
    input: Any, ksize: Any, strides: Any, padding: str, *_: Any, **__: Any
) -> Any:
    """The mean of each window, of what lies inside the image."""
    x = concrete("nn.avg_pool2d", input)
    size, steps = _pairs(ksize), _pairs(strides)
    total = _windows(x, size, steps, padding, 0.0).sum((-2, -1))
    count = _windows(np.ones_like(x), size, steps, padding, 0.0).sum((-2, -1))
    return total / count


max_pool, avg_pool = max_pool2d, avg_pool2d
