"""Constants of normalization layers at inference, in the form needed by writers
of `export`. The formulas are those of `kurve.engines.reference`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from kurve.plan import Op

Arrays = Mapping[str, np.ndarray]
"""The arrays of one operation, by role: float32."""


def normalization(op: Op, arrays: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of `Normalization`: y = (x - mean) / deviation, or
    y = x * deviation + mean if the op inverts."""
    epsilon = np.float32(float(op.attrs["epsilon"]))
    return arrays["mean"], np.maximum(np.sqrt(arrays["variance"]), epsilon)


def matrix(op: Op, arrays: Arrays) -> np.ndarray:
    """The kernel (I, O) of a dense operation."""
    if op.attrs.get("transposed"):
        transposed = arrays["kernel"].reshape(op.out_shape[-1], op.in_shape[-1]).T
        return np.ascontiguousarray(transposed)
    return arrays["kernel"].reshape(op.in_shape[-1], op.out_shape[-1])


def batch_normalization(op: Op, arrays: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """Mean and factor of `BatchNormalization`: y = (x - mean) * factor + beta, where
    factor = gamma / sqrt(variance + epsilon)."""
    epsilon = np.float32(float(op.attrs["epsilon"]))
    factor = 1 / np.sqrt(arrays["moving_variance"] + epsilon)
    return arrays["moving_mean"], factor * arrays.get("gamma", np.float32(1))
