"""Normalization over a batch or a sample, and fixed scales."""

from __future__ import annotations

import numpy as np

from kurve.engines.base import State
from kurve.engines.reference.common import Arrays, Cache, Gradients, total, view
from kurve.plan import Op

FUZZ = 1e-7
"""Keras adds this to the number of unmasked rows."""


def batch_forward(
    op: Op,
    x: np.ndarray,
    state: State,
    training: bool,
    mask: np.ndarray | None = None,
) -> tuple[np.ndarray, Cache]:
    """y = gamma x^ + beta, x^ = (x - mean) / sqrt(variance + epsilon) in each channel.

    Mean and (biased) variance are those of the batch in training; otherwise, or if
    frozen, the moving ones. With a mask (R,), only rows where it is not 0 count.
    Source: Ioffe & Szegedy 2015, algorithm 1.
    """
    rows = x.reshape(-1, x.shape[-1])
    from_batch = training and not op.attrs["frozen"]
    if from_batch and mask is not None:
        mean, variance = moments_of_counted(rows, mask)
    elif from_batch:
        mean, variance = moments(rows, axis=0)
    else:
        mean = view(state.buffers, op.buffers["moving_mean"])
        variance = view(state.buffers, op.buffers["moving_variance"])
    inverse = 1 / np.sqrt(variance + x.dtype.type(float(op.attrs["epsilon"])))
    standard = (rows - mean) * inverse
    y = affine(op, standard, state).reshape(x.shape)
    return y, (standard, inverse, (mean, variance) if from_batch else None)


def batch_backward(
    op: Op, dy: np.ndarray, cache: Cache, state: State
) -> tuple[np.ndarray, Gradients]:
    """dx = (n - mean(n) - x^ mean(n x^)) / std with n = gamma dy and means over the
    batch; dx = n / std if mean and variance do not depend on x."""
    standard, inverse, learned = cache
    dy_rows = dy.reshape(standard.shape)
    n = scaled(op, dy_rows, state)
    if learned is not None:
        by_mean, by_variance = (total(v, axis=0) / len(n) for v in (n, n * standard))
        n = n - by_mean - standard * by_variance
    return (n * inverse).reshape(dy.shape), affine_gradients(op, dy_rows, standard)


def masked_forward(
    op: Op, xs: Arrays, state: State, training: bool
) -> tuple[np.ndarray, Cache]:
    """`batch_forward` on the first input; the second is the mask."""
    mask = xs[1].reshape(-1) != 0
    y, cache = batch_forward(op, xs[0], state, training, mask)
    return y, (*cache, mask, xs[1].shape)


def masked_backward(
    op: Op, dy: np.ndarray, cache: Cache, state: State
) -> tuple[Arrays, Gradients]:
    """Like `batch_backward`: sums are over all rows, because all are normalized, but
    the gradient of mean and variance only reaches the unmasked rows."""
    standard, inverse, learned, mask, shape = cache
    dy_rows = dy.reshape(standard.shape)
    n = scaled(op, dy_rows, state)
    if learned is not None:
        count = mask.sum() + FUZZ
        by_mean, by_variance = (total(v, axis=0) / count for v in (n, n * standard))
        n = n - mask[:, None] * (by_mean + standard * by_variance).astype(n.dtype)
    dx = (n * inverse).reshape(dy.shape)
    gradients = affine_gradients(op, dy_rows, standard)
    return [dx, np.zeros(shape, dy.dtype)], gradients


def batch_statistics(op: Op, cache: Cache, state: State) -> dict[str, np.ndarray]:
    """The moving mean and variance after a step: moving * momentum + batch * (1 -
    momentum). Empty if frozen."""
    learned = cache[2]
    if learned is None:
        return {}
    momentum = float(op.attrs["momentum"])
    return {
        role: view(state.buffers, op.buffers[role]) * momentum + new * (1.0 - momentum)
        for role, new in zip(("moving_mean", "moving_variance"), learned, strict=True)
    }


def layer_forward(
    op: Op, x: np.ndarray, state: State, training: bool
) -> tuple[np.ndarray, Cache]:
    """y = gamma x^ + beta, x^ = (x - mean) / sqrt(variance + epsilon), with mean and
    variance over the last `size` elements. Source: Ba, Kiros & Hinton 2016."""
    rows = x.reshape(-1, int(op.attrs["size"]))
    mean, variance = moments(rows, axis=1)
    inverse = 1 / np.sqrt(variance + x.dtype.type(float(op.attrs["epsilon"])))
    standard = (rows - mean[:, None]) * inverse[:, None]
    return affine(op, standard, state).reshape(x.shape), (standard, inverse[:, None])


def layer_backward(
    op: Op, dy: np.ndarray, cache: Cache, state: State
) -> tuple[np.ndarray, Gradients]:
    """Like `batch_backward`, with means over the elements normalized together."""
    standard, inverse = cache
    dy_rows = dy.reshape(standard.shape)
    n = scaled(op, dy_rows, state)
    by_mean = n.mean(axis=1, keepdims=True)
    by_variance = standard * (n * standard).mean(axis=1, keepdims=True)
    dx = (n - by_mean - by_variance) * inverse
    return dx.reshape(dy.shape), affine_gradients(op, dy_rows, standard)


def scale_forward(
    op: Op, x: np.ndarray, state: State, training: bool
) -> tuple[np.ndarray, Cache]:
    """y = x scale + offset."""
    return x * number_or_row(op, "scale", state) + number_or_row(
        op, "offset", state
    ), None


def scale_backward(
    op: Op, dy: np.ndarray, cache: Cache, state: State
) -> tuple[np.ndarray, Gradients]:
    return dy * number_or_row(op, "scale", state), {}


def moments(rows: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and biased variance along an axis, summed in float64."""
    mean = rows.mean(axis=axis, dtype=np.float64, keepdims=True)
    variance = np.mean((rows - mean) ** 2, axis=axis)
    return mean.squeeze(axis).astype(rows.dtype), variance.astype(rows.dtype)


def moments_of_counted(
    rows: np.ndarray, mask: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and biased variance (C,) of the unmasked rows; 0 if there are none."""
    counted, count = rows[mask].astype(np.float64), mask.sum() + FUZZ
    mean = counted.sum(axis=0) / count
    variance = np.sum((counted - mean) ** 2, axis=0) / count
    return mean.astype(rows.dtype), variance.astype(rows.dtype)


def affine(op: Op, standard: np.ndarray, state: State) -> np.ndarray:
    """gamma x^ + beta, each only if the layer has it."""
    y = scaled(op, standard, state)
    if "beta" in op.params:
        y = y + view(state.params, op.params["beta"]).ravel()
    return y


def scaled(op: Op, rows: np.ndarray, state: State) -> np.ndarray:
    if "gamma" not in op.params:
        return rows
    return rows * view(state.params, op.params["gamma"]).ravel()


def affine_gradients(op: Op, dy: np.ndarray, standard: np.ndarray) -> Gradients:
    """dgamma = sum of dy x^, dbeta = sum of dy."""
    sums = {"gamma": total(dy * standard, axis=0), "beta": total(dy, axis=0)}
    return {role: sums[role].reshape(slot.shape) for role, slot in op.params.items()}


def number_or_row(op: Op, role: str, state: State) -> np.ndarray | float:
    """A scalar attribute of the op, or its buffer (C,)."""
    if role in op.buffers:
        return view(state.buffers, op.buffers[role])
    return state.params.dtype.type(float(op.attrs[role]))
