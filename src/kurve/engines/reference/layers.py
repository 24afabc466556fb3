"""Basic ops, forward and backward.

The chain rule, one op at a time: an op that maps x to y receives dy = dL/dy and returns
dx = dL/dx, and dL/d(variable) for each of its variables. The first axis of an array
is the batch axis; `dense` and `softmax` work on the last axis, and the axes before it
are flattened into rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from kurve.core import rng
from kurve.engines.base import State
from kurve.engines.reference import (
    batch,
    convolution,
    convolution3d,
    ctc,
    images,
    joining,
    maps,
    moving,
    padding,
    pooling,
    products,
    python,
    recurrence,
    reducing,
    scaling,
    states,
    tables,
    transposed,
)
from kurve.engines.reference.activations import (
    ACTIVATIONS,
    SELU_ALPHA,
    SELU_SCALE,
)
from kurve.engines.reference.common import (
    Backward,
    BackwardMany,
    Cache,
    Forward,
    ForwardMany,
    Gradients,
    Statistics,
    stream_of,
    total,
    view,
)
from kurve.plan import Op, Plan, VariableSpec


def dense_forward(
    op: Op, x: np.ndarray, state: State, training: bool
) -> tuple[np.ndarray, Cache]:
    """y = f(z) with z = x @ kernel + bias; x (B, I), kernel (I, O), bias (O,), both of
    any axes whose sizes multiply to these. `transposed`: kernel (O, I), z = x @
    kernel^T + bias."""
    activation, _ = ACTIVATIONS[str(op.attrs["activation"])]
    z = x @ _matrix(op, state)
    if "bias" in op.params:
        z = z + view(state.params, op.params["bias"]).reshape(-1)
    return activation(z, float(op.attrs["alpha"])), (x, z)


def _matrix(op: Op, state: State) -> np.ndarray:
    """The kernel (I, O) of a dense operation."""
    inside, kernel = op.in_shape[-1], view(state.params, op.params["kernel"])
    if op.attrs.get("transposed"):
        return kernel.reshape(-1, inside).T
    return kernel.reshape(inside, -1)


def dense_backward(
    op: Op, dy: np.ndarray, cache: Cache, state: State
) -> tuple[np.ndarray, Gradients]:
    """dz = dy f'(z); dkernel = x^T dz; dbias = sum of dz over rows; dx = dz kernel^T.

    Source: Rumelhart, Hinton & Williams 1986.
    """
    x, z = cache
    _, derivative = ACTIVATIONS[str(op.attrs["activation"])]
    dz = dy * derivative(z, float(op.attrs["alpha"]))
    rows_x, rows_dz = x.reshape(-1, x.shape[-1]), dz.reshape(-1, dz.shape[-1])
    transposed = bool(op.attrs.get("transposed"))
    gradients = {"kernel": rows_dz.T @ rows_x if transposed else rows_x.T @ rows_dz}
    if "bias" in op.params:
        gradients["bias"] = total(rows_dz, axis=0)
    gradients = {k: g.reshape(op.params[k].shape) for k, g in gradients.items()}
    return dz @ _matrix(op, state).T, gradients


def activation_forward(
    op: Op, x: np.ndarray, state: State, training: bool
) -> tuple[np.ndarray, Cache]:
    """y = f(x), element by element."""
    activation, _ = ACTIVATIONS[str(op.attrs["activation"])]
    return activation(x, float(op.attrs["alpha"])), x


def activation_backward(
    op: Op, dy: np.ndarray, cache: Cache, state: State
) -> tuple[np.ndarray, Gradients]:
    """dx = dy f'(x)."""
    _, derivative = ACTIVATIONS[str(op.attrs["activation"])]
    return dy * derivative(cache, float(op.attrs["alpha"])), {}


def softmax_forward(
    op: Op, x: np.ndarray, state: State, training: bool
) -> tuple[np.ndarray, Cache]:
    """y_i = e^x_i / sum_j e^x_j over the last axis. Source: Bridle 1990."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    y = e / e.sum(axis=-1, keepdims=True)
    return y, y


def softmax_backward(
    op: Op, dy: np.ndarray, cache: Cache, state: State
) -> tuple[np.ndarray, Gradients]:
    """dx_i = y_i (dy_i - sum_j dy_j y_j)."""
    y = cache
    return y * (dy - (dy * y).sum(axis=-1, keepdims=True)), {}


def dropout_forward(
    op: Op, x: np.ndarray, state: State, training: bool
) -> tuple[np.ndarray, Cache]:
    """In training each element is set to 0 with probability `rate` and the others are
    scaled by 1 / (1 - rate), which keeps the mean; rate 1 drops all of them.
    Source: Srivastava et al. 2014. With `alpha`, dropped elements become l, the lowest
    value of selu, and y = a x + b or a l + b with a = ((1 - rate) (1 + rate l^2))^-1/2
    and b = -a l rate, which keep mean and variance. Source: Klambauer et al. 2017."""
    rate = float(op.attrs["rate"])
    if not training or rate == 0.0:
        return x, None
    shared = int(op.attrs.get("shared", 1))
    channels = int(op.attrs.get("channels", math.prod(op.in_shape) // shared))
    words = rng.philox(*stream_of(op, state), x.size // shared)
    kept = words >= np.uint64(rate * 2**32)
    scale = 1.0 / (1.0 - rate) if rate < 1.0 else 0.0
    if op.attrs.get("alpha"):
        low = -SELU_ALPHA * SELU_SCALE
        scale = ((1.0 - rate) * (1.0 + rate * low**2)) ** -0.5
    mask = np.where(kept, x.dtype.type(scale), x.dtype.type(0))
    if shared > 1:  # drop a channel at all positions of its block or at none
        mask = np.repeat(mask.reshape(-1, 1, channels), shared, axis=1)
    mask = mask.reshape(x.shape)
    y = x * mask
    if op.attrs.get("alpha"):
        shift = -scale * low * rate
        y = y + np.where(mask != 0, shift, scale * low + shift).astype(x.dtype)
    return y, mask


def dropout_backward(
    op: Op, dy: np.ndarray, cache: Cache, state: State
) -> tuple[np.ndarray, Gradients]:
    return (dy if cache is None else dy * cache), {}


def gaussian_noise_forward(
    op: Op, x: np.ndarray, state: State, training: bool
) -> tuple[np.ndarray, Cache]:
    """In training y = x + stddev n with n standard normal; with `multiply`, y = x (1 +
    stddev n). Source: Srivastava et al. 2014, section 10."""
    if not training:
        return x, None
    noise = float(op.attrs["stddev"]) * batch.normal(op, state, x.size).reshape(x.shape)
    if op.attrs.get("multiply"):
        factor = (1.0 + noise).astype(x.dtype)
        return x * factor, factor
    return x + noise.astype(x.dtype), None


def gaussian_noise_backward(
    op: Op, dy: np.ndarray, cache: Cache, state: State
) -> tuple[np.ndarray, Gradients]:
    return (dy if cache is None else dy * cache), {}


def reshape_forward(
    op: Op, x: np.ndarray, state: State, training: bool
) -> tuple[np.ndarray, Cache]:
    """The same elements in the same order."""
    return x.reshape(len(x), *op.out_shape), None


def reshape_backward(
    op: Op, dy: np.ndarray, cache: Cache, state: State
) -> tuple[np.ndarray, Gradients]:
    return dy.reshape(len(dy), *op.in_shape), {}


def normalization_forward(
    op: Op, x: np.ndarray, state: State, training: bool
) -> tuple[np.ndarray, Cache]:
    """y = (x - mean) / max(sqrt(variance), epsilon), or its inverse.

    mean and variance (C,) are repeated along the flattened sample.
    """
    mean = view(state.buffers, op.buffers["mean"])
    variance = view(state.buffers, op.buffers["variance"])
    std = np.maximum(np.sqrt(variance), x.dtype.type(float(op.attrs["epsilon"])))
    columns = x.reshape(len(x), -1, mean.size)
    if op.attrs["invert"]:
        y, factor = mean.ravel() + columns * std.ravel(), std
    else:
        y, factor = (columns - mean.ravel()) / std.ravel(), 1 / std
    return y.reshape(x.shape), factor.ravel()


def normalization_backward(
    op: Op, dy: np.ndarray, cache: Cache, state: State
) -> tuple[np.ndarray, Gradients]:
    """dx = dy times the factor of x."""
    factor = cache
    return (dy.reshape(len(dy), -1, factor.size) * factor).reshape(dy.shape), {}


OPS: dict[str, tuple[Forward, Backward]] = {
    "dense": (dense_forward, dense_backward),
    "activation": (activation_forward, activation_backward),
    "softmax": (softmax_forward, softmax_backward),
    "dropout": (dropout_forward, dropout_backward),
    "normalization": (normalization_forward, normalization_backward),
    "gaussian_noise": (gaussian_noise_forward, gaussian_noise_backward),
    "reshape": (reshape_forward, reshape_backward),
    "conv": (convolution.forward, convolution.backward),
    "conv_transpose": (transposed.forward, transposed.backward),
    "conv3d": (convolution3d.forward, convolution3d.backward),
    "pool": (pooling.forward, pooling.backward),
    "global_pool": (pooling.global_forward, pooling.global_backward),
    "pad": (padding.pad_forward, padding.pad_backward),
    "upsample": (padding.upsample_forward, padding.upsample_backward),
    "batch_normalization": (scaling.batch_forward, scaling.batch_backward),
    "layer_normalization": (scaling.layer_forward, scaling.layer_backward),
    "scale": (scaling.scale_forward, scaling.scale_backward),
    "reduce": (reducing.reduce_forward, reducing.reduce_backward),
    "cumsum": (reducing.cumsum_forward, reducing.cumsum_backward),
    "permute": (moving.permute_forward, moving.permute_backward),
    "slice": (moving.slice_forward, moving.slice_backward),
    "place": (moving.place_forward, moving.place_backward),
    "affine_image": (images.forward, images.backward),
    "embedding": (tables.embedding_forward, tables.embedding_backward),
    "variable": (tables.variable_forward, tables.variable_backward),
    "batch_reduce": (batch.reduce_forward, batch.reduce_backward),
    "random": (batch.random_forward, batch.random_backward),
    "states": (states.read_forward, states.read_backward),
}

OPS_OF_SEVERAL: dict[str, tuple[ForwardMany, BackwardMany]] = {
    "map": (maps.map_forward, maps.map_backward),
    "concatenate": (joining.concatenate_forward, joining.concatenate_backward),
    "matmul": (products.matmul_forward, products.matmul_backward),
    "lstm": recurrence.LSTM,
    "gru": (recurrence.gru_forward, recurrence.gru_backward),
    "simple_rnn": recurrence.SIMPLE_RNN,
    "masked_batch_normalization": (scaling.masked_forward, scaling.masked_backward),
    "ctc": (ctc.ctc_forward, ctc.ctc_backward),
    "keep_states": (states.keep_forward, states.keep_backward),
    "python": (python.python_forward, python.python_backward),
}
"""Ops with any number of inputs."""

STATISTICS: dict[str, Statistics] = {
    "batch_normalization": scaling.batch_statistics,
    "masked_batch_normalization": scaling.batch_statistics,
    "keep_states": states.kept,
}
"""Functions for the buffers that a training step updates, by kind of op."""


def statistics_after(
    plan: Plan, caches: Sequence[Cache], state: State, training: bool = True
) -> list[tuple[VariableSpec, np.ndarray]]:
    """The buffers that a step updates, with their new values: persistent states and, in
    training, moving averages. Operations of a shared layer update them in turn."""
    moved = replace(state, buffers=state.buffers.copy())
    found: dict[VariableSpec, np.ndarray] = {}
    for op, cache in zip(plan.ops, caches, strict=True):
        if op.kind not in STATISTICS or not (training or op.kind == "keep_states"):
            continue
        for role, value in STATISTICS[op.kind](op, cache, moved).items():
            slot = op.buffers[role]
            found[slot] = value
            if op.kind != "keep_states":
                view(moved.buffers, slot)[...] = value.reshape(slot.shape)
    return list(found.items())
