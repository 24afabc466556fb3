"""Neural-network functions of `kurve.ops`: activations, losses, normalization, windows.

Each is composed of the functions of `kurve.formulas.functions` and so works wherever
they do: on arrays, on symbolic tensors, in layers and losses.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from kurve.config import EPSILON
from kurve.formulas import functions as ops
from kurve.formulas.calls import as_array, function, graph_of
from kurve.formulas.fusing import SELU_ALPHA, SELU_SCALE
from kurve.formulas.graph import Tensor, is_variable
from kurve.formulas.limits import afford
from kurve.formulas.window import Window

# ---------------------------------------------------------------- activations


@function
def relu6(x: Any) -> Any:
    """min(max(x, 0), 6)."""
    return ops.clip(x, 0.0, 6.0)


@function
def elu(x: Any, alpha: float = 1.0) -> Any:
    """x if positive, else alpha (exp(x) - 1)."""
    return ops.relu(x) + alpha * ops.expm1(ops.minimum(x, 0.0))


@function
def celu(x: Any, alpha: float = 1.0) -> Any:
    """x if positive, else alpha (exp(x / alpha) - 1)."""
    return ops.relu(x) + alpha * ops.expm1(ops.minimum(x, 0.0) / alpha)


@function
def selu(x: Any) -> Any:
    """The scaled `elu` of Klambauer et al. 2017."""
    return SELU_SCALE * elu(x, SELU_ALPHA)


@function
def gelu(x: Any, approximate: bool = True) -> Any:
    """x Phi(x) with the normal CDF Phi, or its tanh approximation."""
    if approximate:
        inner = math.sqrt(2.0 / math.pi) * (x + 0.044715 * ops.power(x, 3))
        return 0.5 * x * (1.0 + ops.tanh(inner))
    return 0.5 * x * (1.0 + ops.erf(x / math.sqrt(2.0)))


@function
def silu(x: Any) -> Any:
    """x sigmoid(x)."""
    return x * ops.sigmoid(x)


swish = silu


@function
def leaky_relu(x: Any, negative_slope: float = 0.2) -> Any:
    """x if positive, else negative_slope x."""
    return ops.where(ops.greater(x, 0.0), x, negative_slope * x)


@function
def hard_sigmoid(x: Any) -> Any:
    """clip(x / 6 + 1 / 2, 0, 1)."""
    return ops.clip(x / 6.0 + 0.5, 0.0, 1.0)


@function
def hard_silu(x: Any) -> Any:
    """x hard_sigmoid(x)."""
    return x * hard_sigmoid(x)


hard_swish = hard_silu


@function
def hard_tanh(x: Any) -> Any:
    """clip(x, -1, 1)."""
    return ops.clip(x, -1.0, 1.0)


@function
def softsign(x: Any) -> Any:
    """x / (1 + |x|)."""
    return x / (1.0 + ops.absolute(x))


@function
def log_sigmoid(x: Any) -> Any:
    """log(sigmoid(x))."""
    return -ops.softplus(-x)


@function
def squareplus(x: Any, b: int = 4) -> Any:
    """(x + sqrt(x^2 + b)) / 2."""
    return 0.5 * (x + ops.sqrt(ops.square(x) + b))


@function
def sparse_plus(x: Any) -> Any:
    """0 below -1, (x + 1)^2 / 4 up to 1, then x."""
    middle = 0.25 * ops.square(x + 1.0)
    return ops.where(
        ops.less_equal(x, -1.0), 0.0, ops.where(ops.less(x, 1.0), middle, x)
    )


@function
def sparse_sigmoid(x: Any) -> Any:
    """clip((x + 1) / 2, 0, 1)."""
    return ops.clip(0.5 * (x + 1.0), 0.0, 1.0)


@function
def tanh_shrink(x: Any) -> Any:
    """x - tanh(x)."""
    return x - ops.tanh(x)


@function
def soft_shrink(x: Any, threshold: float = 0.5) -> Any:
    """x shrunk towards 0 by the threshold, and 0 where |x| <= threshold."""
    return ops.sign(x) * ops.relu(ops.absolute(x) - threshold)


@function
def hard_shrink(x: Any, threshold: float = 0.5) -> Any:
    """x, but 0 where |x| <= threshold."""
    return ops.where(ops.greater(ops.absolute(x), threshold), x, 0.0)


@function
def threshold(x: Any, threshold: float, default_value: float) -> Any:
    """x if above the threshold, else the default value."""
    return ops.where(ops.greater(x, threshold), x, default_value)


@function
def glu(x: Any, axis: int = -1) -> Any:
    """The first half times the sigmoid of the second. Source: Dauphin et al. 2017."""
    half, gate = ops.split(x, 2, axis)
    return half * ops.sigmoid(gate)


# ---------------------------------------------------------------- losses


@function
def binary_crossentropy(target: Any, output: Any, from_logits: bool = False) -> Any:
    """-t log(p) - (1 - t) log(1 - p), elementwise; p is clipped 1e-7 away from 0 and
    1."""
    if from_logits:
        return ops.relu(output) - output * target + ops.softplus(-ops.absolute(output))
    p = ops.clip(output, EPSILON, 1.0 - EPSILON)
    return -(target * ops.log(p) + (1.0 - target) * ops.log(1.0 - p))


@function
def categorical_crossentropy(
    target: Any, output: Any, from_logits: bool = False, axis: int = -1
) -> Any:
    """-sum of t log(p) along the axis, with p scaled to sum to 1 and clipped."""
    if from_logits:
        logs = ops.log_softmax(output, axis)
    else:
        p = output / ops.sum(output, axis, keepdims=True)
        logs = ops.log(ops.clip(p, EPSILON, 1.0 - EPSILON))
    return -ops.sum(target * logs, axis)


@function
def sparse_categorical_crossentropy(
    target: Any, output: Any, from_logits: bool = False, axis: int = -1
) -> Any:
    """`categorical_crossentropy` for class numbers (...) or (..., 1)."""
    if len(ops.shape(target)) == len(ops.shape(output)):
        target = ops.squeeze(target, -1)
    classes = ops.shape(output)[axis]
    rows = ops.one_hot(ops.cast(target, "int32"), classes, axis)
    return categorical_crossentropy(rows, output, from_logits, axis)


# ---------------------------------------------------------------- normalizations


@function
def moments(
    x: Any, axes: Any, keepdims: bool = False, synchronized: bool = False
) -> Any:
    """The mean and the variance over these axes."""
    return ops.mean(x, axes, keepdims), ops.var(x, axes, keepdims)


@function
def batch_normalization(
    x: Any,
    mean: Any,
    variance: Any,
    axis: int,
    offset: Any = None,
    scale: Any = None,
    epsilon: float = 1e-3,
) -> Any:
    """(x - mean) / sqrt(variance + epsilon) scale + offset, along one axis."""
    rank = len(ops.shape(x))

    def spread(v: Any) -> Any:
        after = rank - 1 - axis % rank
        for _ in range(after):
            v = ops.expand_dims(v, -1)
        return v

    y = (x - spread(mean)) * ops.rsqrt(spread(variance) + epsilon)
    y = y if scale is None else y * spread(scale)
    return y if offset is None else y + spread(offset)


@function
def layer_normalization(
    x: Any,
    gamma: Any = None,
    beta: Any = None,
    axis: int | Sequence[int] = -1,
    epsilon: float | None = None,
) -> Any:
    """(x - mean) / sqrt(variance + epsilon) gamma + beta, over these axes."""
    mean, variance = ops.mean(x, axis, True), ops.var(x, axis, True)
    y = (x - mean) * ops.rsqrt(variance + (EPSILON if epsilon is None else epsilon))
    y = y if gamma is None else y * gamma
    return y if beta is None else y + beta


@function
def rms_normalization(
    x: Any,
    scale: Any = 1.0,
    axis: int | Sequence[int] = -1,
    epsilon: float | None = None,
) -> Any:
    """x / sqrt(mean(x^2) + epsilon) scale, over these axes."""
    small = EPSILON if epsilon is None else epsilon
    return x * ops.rsqrt(ops.mean(ops.square(x), axis, True) + small) * scale


@function
def dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    bias: Any = None,
    mask: Any = None,
    scale: float | None = None,
    is_causal: bool = False,
    flash_attention: bool | None = None,
    attn_logits_soft_cap: float | None = None,
) -> Any:
    """softmax(scale Q K^T + bias, where the mask allows) V, for each head.

    Shapes: query (B, T, N, H), key and value (B, S, N, H) -> (B, T, N, H)
    Source: Vaswani et al. 2017.

    Args:
        query, key, value: see above.
        bias: added to the scores, (B, N, T, S) or a shape that broadcasts to it.
        mask: True where a key may be read, likewise.
        scale: 1 / sqrt(H) if None.
        is_causal: whether step t reads the keys up to t only.
        flash_attention: ignored; the numbers are the same.
        attn_logits_soft_cap: c, for scores c tanh(scores / c).
    """
    width = ops.shape(query)[-1]
    scores = ops.einsum("btnh,bsnh->bnts", query, key)
    scores = scores * (1.0 / math.sqrt(width) if scale is None else scale)
    cap = attn_logits_soft_cap
    scores = scores if cap is None else cap * ops.tanh(scores / cap)
    scores = scores if bias is None else scores + bias
    if is_causal:
        sizes = ops.shape(query)[1], ops.shape(key)[1]
        afford(*sizes)
        causal = np.tri(*sizes, dtype=bool)
        scores = ops.where(causal, scores, -1e9)
    if mask is not None:
        scores = ops.where(mask, scores, -1e9)
    return ops.einsum("bnts,bsnh->btnh", ops.softmax(scores), value)


# ---------------------------------------------------------------- windows


def _pair(value: int | Sequence[int], axes: int) -> tuple[int, ...]:
    return (
        (int(value),) * axes if isinstance(value, (int, np.integer)) else tuple(value)
    )


def _channels_last(where: str, data_format: str | None) -> None:
    if data_format not in (None, "channels_last"):
        raise ValueError(
            f"[{where}] data_format must be 'channels_last'. "
            f"Received: {data_format!r}. Try ops.moveaxis(x, 1, -1)."
        )


def _slide(layer: Any, x: Any) -> Any:
    """Apply a layer that has no weights."""
    graph = graph_of(x)
    return np.asarray(layer(as_array(x))) if graph is None else layer.run(x)


def _pooled(
    kind: str, x: Any, size: Any, strides: Any, padding: str, data_format: Any
) -> Any:
    from kurve import layers

    _channels_last(f"{kind.lower()}_pool", data_format)
    axes = len(ops.shape(x)) - 2
    pool = getattr(layers, f"{kind}Pooling{axes}D")
    return _slide(pool(size, strides, padding), x)


@function
def max_pool(
    inputs: Any,
    pool_size: int | Sequence[int],
    strides: int | Sequence[int] | None = None,
    padding: str = "valid",
    data_format: str | None = None,
) -> Any:
    """The maximum of each window, as in `layers.MaxPooling2D`."""
    return _pooled("Max", inputs, pool_size, strides, padding, data_format)


@function
def average_pool(
    inputs: Any,
    pool_size: int | Sequence[int],
    strides: int | Sequence[int] | None = None,
    padding: str = "valid",
    data_format: str | None = None,
) -> Any:
    """The mean of each window, as in `layers.AveragePooling2D`."""
    return _pooled("Average", inputs, pool_size, strides, padding, data_format)


@function
def conv(
    inputs: Any,
    kernel: Any,
    strides: int | Sequence[int] = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: int | Sequence[int] = 1,
) -> Any:
    """Convolution (cross-correlation) with kernels (..., I / groups, O), as in
    `layers.Conv2D`: the sum over kernel positions of the shifted inputs times the
    kernel."""
    _channels_last("conv", data_format)
    *sizes, depth, outputs = ops.shape(kernel)
    channels = ops.shape(inputs)[-1]
    groups = channels // depth
    graph = graph_of(inputs)
    batched = isinstance(inputs, Tensor) and inputs.batched  # not a constant
    if graph is not None and batched and is_variable(kernel) and len(sizes) < 3:
        from kurve import layers

        layer = (layers.Conv1D if len(sizes) == 1 else layers.Conv2D)(
            outputs,
            tuple(sizes),
            strides,
            padding,
            dilation_rate=dilation_rate,
            groups=groups,
            use_bias=False,
            name="conv",
        )
        slots = {"kernel": graph.place(kernel)}
        return graph.chain(layer.lower(inputs.sample, slots, 0), inputs)
    windows = _windows(inputs, sizes, strides, padding, dilation_rate)
    total: Any = None
    for place, window in windows:
        weights = ops.get_item(kernel, place)
        if groups == 1:
            part = ops.matmul(window, weights)
        else:
            width = outputs // groups
            parts = [
                ops.matmul(
                    ops.get_item(window, (..., slice(g * depth, (g + 1) * depth))),
                    ops.get_item(weights, (..., slice(g * width, (g + 1) * width))),
                )
                for g in range(groups)
            ]
            part = ops.concatenate(parts, -1)
        total = part if total is None else total + part
    return total


@function
def depthwise_conv(
    inputs: Any,
    kernel: Any,
    strides: int | Sequence[int] = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: int | Sequence[int] = 1,
) -> Any:
    """Convolve each channel with its own kernels (..., I, M)."""
    *sizes, channels, outputs = ops.shape(kernel)
    flat = ops.reshape(kernel, (*sizes, 1, channels * outputs))
    return conv(inputs, flat, strides, padding, data_format, dilation_rate)


@function
def separable_conv(
    inputs: Any,
    depthwise_kernel: Any,
    pointwise_kernel: Any,
    strides: int | Sequence[int] = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: int | Sequence[int] = 1,
) -> Any:
    """`depthwise_conv` followed by a 1 x 1 `conv`."""
    y = depthwise_conv(
        inputs, depthwise_kernel, strides, padding, data_format, dilation_rate
    )
    return conv(y, pointwise_kernel)


def _windows(x: Any, sizes: Any, strides: Any, padding: str, dilation: Any) -> Any:
    """For each kernel position: its index, and the elements of x under it."""
    if padding.lower() not in ("valid", "same"):
        raise ValueError(
            "[conv] padding must be 'valid' or 'same'. "
            f"Received: padding={padding!r}. Try padding='same'."
        )
    axes = len(sizes)
    windows = [
        Window(*one)
        for one in zip(sizes, _pair(strides, axes), _pair(dilation, axes), strict=True)
    ]
    lengths = ops.shape(x)[1:-1]
    pads = [w.pads(n, padding.lower()) for w, n in zip(windows, lengths, strict=True)]
    counts = [
        w.places(n, padding.lower()) for w, n in zip(windows, lengths, strict=True)
    ]
    if min(counts) < 1:
        raise ValueError(
            "[conv] a kernel must fit into the inputs. Received: a kernel of size "
            f"{tuple(sizes)} for inputs of shape {ops.shape(x)}. Try padding='same'."
        )
    if any(any(pair) for pair in pads):
        x = ops.pad(x, [(0, 0), *pads, (0, 0)])
    for place in np.ndindex(*sizes):
        key = [
            slice(i * w.dilation, i * w.dilation + (n - 1) * w.stride + 1, w.stride)
            for i, w, n in zip(place, windows, counts, strict=True)
        ]
        yield place, ops.get_item(x, (slice(None), *key, slice(None)))
