"""What each op computes, forward and backward.

The chain rule, one op at a time: an op that maps x to y is handed dy = dL/dy and gives
back dx = dL/dx, and dL/d(variable) for each of its variables. Arrays hold one sample a
row of their first axis; `dense` and `softmax` work on the last axis, so the axes before
it are flattened into rows.
"""

from __future__ import annotations

import numpy as np

from kurve import rng
from kurve.engines.base import State
from kurve.engines.reference import convolution, pooling
from kurve.engines.reference.activations import ACTIVATIONS
from kurve.engines.reference.memory import Backward, Forward, Gradients, Memory, view
from kurve.plan import Op


def dense_forward(
    op: Op, x: np.ndarray, state: State, training: bool
) -> tuple[np.ndarray, Memory]:
    """y = f(z) with z = x @ kernel + bias; x (B, I), kernel (I, O), bias (O,)."""
    activation, _ = ACTIVATIONS[str(op.attrs["activation"])]
    kernel = view(state.params, op.params["kernel"])
    z = x @ kernel
    if "bias" in op.params:
        z = z + view(state.params, op.params["bias"])
    return activation(z, float(op.attrs["alpha"])), (x, z)


def dense_backward(
    op: Op, dy: np.ndarray, memory: Memory, state: State
) -> tuple[np.ndarray, Gradients]:
    """dz = dy f'(z); dkernel = x^T dz; dbias = sum of dz over rows; dx = dz kernel^T.

    Source: Rumelhart, Hinton & Williams 1986.
    """
    x, z = memory
    _, derivative = ACTIVATIONS[str(op.attrs["activation"])]
    kernel = view(state.params, op.params["kernel"])
    dz = dy * derivative(z, float(op.attrs["alpha"]))
    rows_x, rows_dz = x.reshape(-1, x.shape[-1]), dz.reshape(-1, dz.shape[-1])
    gradients = {"kernel": rows_x.T @ rows_dz}
    if "bias" in op.params:
        gradients["bias"] = rows_dz.sum(axis=0)
    return dz @ kernel.T, gradients


def activation_forward(
    op: Op, x: np.ndarray, state: State, training: bool
) -> tuple[np.ndarray, Memory]:
    """y = f(x), element by element."""
    activation, _ = ACTIVATIONS[str(op.attrs["activation"])]
    return activation(x, float(op.attrs["alpha"])), x


def activation_backward(
    op: Op, dy: np.ndarray, memory: Memory, state: State
) -> tuple[np.ndarray, Gradients]:
    """dx = dy f'(x)."""
    _, derivative = ACTIVATIONS[str(op.attrs["activation"])]
    return dy * derivative(memory, float(op.attrs["alpha"])), {}


def softmax_forward(
    op: Op, x: np.ndarray, state: State, training: bool
) -> tuple[np.ndarray, Memory]:
    """y_i = e^x_i / sum_j e^x_j over the last axis. Source: Bridle 1990."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    y = e / e.sum(axis=-1, keepdims=True)
    return y, y


def softmax_backward(
    op: Op, dy: np.ndarray, memory: Memory, state: State
) -> tuple[np.ndarray, Gradients]:
    """dx_i = y_i (dy_i - sum_j dy_j y_j)."""
    y = memory
    return y * (dy - (dy * y).sum(axis=-1, keepdims=True)), {}


def dropout_forward(
    op: Op, x: np.ndarray, state: State, training: bool
) -> tuple[np.ndarray, Memory]:
    """In training each element is dropped with probability `rate` and the others are
    scaled by 1 / (1 - rate), so that the mean stays. Source: Srivastava et al. 2014."""
    rate = float(op.attrs["rate"])
    if not training or rate == 0.0:
        return x, None
    purpose = rng.DROPOUT + int(op.attrs["stream"])
    words = rng.philox(state.seed, purpose, state.step, x.size)
    kept = words >= np.uint32(int(rate * 2**32))
    scale = x.dtype.type(1.0 / (1.0 - rate))
    mask = np.where(kept.reshape(x.shape), scale, x.dtype.type(0))
    return x * mask, mask


def dropout_backward(
    op: Op, dy: np.ndarray, memory: Memory, state: State
) -> tuple[np.ndarray, Gradients]:
    return (dy if memory is None else dy * memory), {}


def reshape_forward(
    op: Op, x: np.ndarray, state: State, training: bool
) -> tuple[np.ndarray, Memory]:
    """The same elements in the same order."""
    return x.reshape(len(x), *op.out_shape), None


def reshape_backward(
    op: Op, dy: np.ndarray, memory: Memory, state: State
) -> tuple[np.ndarray, Gradients]:
    return dy.reshape(len(dy), *op.in_shape), {}


def normalization_forward(
    op: Op, x: np.ndarray, state: State, training: bool
) -> tuple[np.ndarray, Memory]:
    """y = (x - mean) / max(sqrt(variance), epsilon), or its inverse.

    mean and variance (C,) repeat over the flattened sample.
    """
    mean = view(state.buffers, op.buffers["mean"])
    variance = view(state.buffers, op.buffers["variance"])
    deviation = np.maximum(np.sqrt(variance), x.dtype.type(float(op.attrs["epsilon"])))
    columns = x.reshape(len(x), -1, mean.size)
    if op.attrs["invert"]:
        y, slope = mean.ravel() + columns * deviation.ravel(), deviation
    else:
        y, slope = (columns - mean.ravel()) / deviation.ravel(), 1 / deviation
    return y.reshape(x.shape), slope.ravel()


def normalization_backward(
    op: Op, dy: np.ndarray, memory: Memory, state: State
) -> tuple[np.ndarray, Gradients]:
    slope = memory
    return (dy.reshape(len(dy), -1, slope.size) * slope).reshape(dy.shape), {}


OPS: dict[str, tuple[Forward, Backward]] = {
    "dense": (dense_forward, dense_backward),
    "activation": (activation_forward, activation_backward),
    "softmax": (softmax_forward, softmax_backward),
    "dropout": (dropout_forward, dropout_backward),
    "normalization": (normalization_forward, normalization_backward),
    "reshape": (reshape_forward, reshape_backward),
    "conv": (convolution.forward, convolution.backward),
    "pool": (pooling.forward, pooling.backward),
    "global_pool": (pooling.global_forward, pooling.global_backward),
}
