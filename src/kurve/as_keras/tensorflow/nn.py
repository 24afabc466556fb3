"""Neural network functions: `tf.nn.relu`, `tf.nn.softmax_cross_entropy_with_logits`."""

from __future__ import annotations

from typing import Any

from kurve.as_keras.tensorflow.arrays import gather
from kurve.as_keras.tensorflow.elementwise import sigmoid as sigmoid  # type: ignore[attr-defined]
from kurve.as_keras.tensorflow.elementwise import softplus as softplus  # type: ignore[attr-defined]
from kurve.as_keras.tensorflow.elementwise import tanh as tanh  # type: ignore[attr-defined]
from kurve.as_keras.tensorflow.random import _in_model, _source
from kurve.as_keras.tensorflow.reductions import value
from kurve.as_keras.tensorflow.values import eager, is_symbolic_tensor
from kurve.formulas import functions as ops
from kurve.formulas import nn, randomness, rearranging

__all__ = [
    "batch_normalization",
    "bias_add",
    "depth_to_space",
    "dropout",
    "elu",
    "embedding_lookup",
    "gelu",
    "l2_loss",
    "leaky_relu",
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
    "space_to_depth",
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
    """x clipped to [0, 6]."""
    return nn.relu6(value(features))


@eager
def elu(features: Any, name: Any = None, alpha: float = 1.0) -> Any:
    """x if positive, else alpha (exp(x) - 1)."""
    return nn.elu(value(features), alpha)


@eager
def selu(features: Any, name: Any = None) -> Any:
    """elu, scaled to preserve mean 0 and variance 1 (Klambauer et al. 2017)."""
    return nn.selu(value(features))


@eager
def softsign(features: Any, name: Any = None) -> Any:
    """x / (1 + |x|)."""
    return nn.softsign(value(features))


@eager
def leaky_relu(features: Any, alpha: float = 0.2, name: Any = None) -> Any:
    """x if positive, else alpha x."""
    return nn.leaky_relu(value(features), alpha)


@eager
def gelu(features: Any, approximate: Any = False, name: Any = None) -> Any:
    """x times the normal CDF, or the tanh approximation."""
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
    """Mean and variance over the given axes."""
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
    """x with a fraction of its elements set to 0, the others scaled up; in a layer's
    call, others in each step."""
    if is_symbolic_tensor(x) or _in_model():
        x = value(x)
        return randomness.dropout(ops.convert_to_tensor(x), rate, noise_shape, seed)
    x = value(x)
    kept = _source(seed).random(noise_shape or x.shape) >= rate
    return ops.multiply(x, kept.astype(x.dtype) / x.dtype.type(1.0 - rate))


@eager
def embedding_lookup(params: Any, ids: Any, *_: Any, **__: Any) -> Any:
    """The rows of a table at these indices."""
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


_FORMATS = {"NHWC": "channels_last", "NCHW": "channels_first"}


@eager
def depth_to_space(
    input: Any, block_size: int, data_format: str = "NHWC", name: Any = None
) -> Any:
    """Move channels into blocks of pixels: (B, H, W, r r C) -> (B, r H, r W, C)."""
    return rearranging.depth_to_space(value(input), block_size, _FORMATS[data_format])


@eager
def space_to_depth(
    input: Any, block_size: int, data_format: str = "NHWC", name: Any = None
) -> Any:
    """The reverse of `depth_to_space`."""
    return rearranging.space_to_depth(value(input), block_size, _FORMATS[data_format])
