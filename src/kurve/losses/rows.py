"""Shared by losses and metrics: matching targets, weights and masks to rows."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from kurve.core.arrays import as_numbers
from kurve.plan import Shape

SMALLEST = 1e-30
"""Replaces a divisor of 0."""

broadcasting: list[bool] = [False]
"""Whether targets and outputs of different sizes are compared, as in Keras; set for
programs written for Keras."""

COMPARED = frozenset(
    {
        "accuracy",
        "binary_accuracy",
        "cosine_similarity",
        "hinge",
        "huber",
        "kl_divergence",
        "log_cosh",
        "mean_absolute_error",
        "mean_absolute_percentage_error",
        "mean_squared_error",
        "mean_squared_logarithmic_error",
        "poisson",
        "root_mean_squared_error",
        "squared_hinge",
    }
)
"""The kinds of losses and metrics that broadcast in Keras; cross-entropies refuse."""


class Rowwise:
    """Shared by losses and metrics: matching targets to outputs.

    sparse: whether targets are class numbers, one per row.
    outputs_per_target: number of outputs per target.
    """

    name: str
    kind = ""
    sparse = False
    outputs_per_target = 1

    def target_shape(self, output_shape: Shape) -> Shape:
        """Shape of a sample's target: the output shape, without the last axis for class
        numbers, or with the last axis divided by `outputs_per_target`.

        Raises:
            ValueError: the last axis is not a multiple of `outputs_per_target`.
        """
        if self.sparse:
            return output_shape[:-1]
        *leading, last = output_shape
        if last % self.outputs_per_target:
            raise ValueError(
                f"[{type(self).__name__}] the model needs {self.outputs_per_target} "
                f"outputs per target. Received: output_shape={output_shape}. "
                f"Try a last layer of {self.outputs_per_target} units for one target."
            )
        return (*leading, last // self.outputs_per_target)

    def paired(self, y_true: Any, y_pred: Any) -> tuple[np.ndarray, np.ndarray]:
        """Targets and predictions as float32 with matching shapes; a trailing axis of
        length 1 is optional.

        Raises:
            ValueError: other shapes, which would need broadcasting.
        """
        where = type(self).__name__
        y = as_numbers(where, "y_true", y_true, np.float32)
        p = as_numbers(where, "y_pred", y_pred, np.float32)
        if not self.sparse and y.shape == (*p.shape, 1):
            p = p[..., None]
        if not p.ndim:
            raise ValueError(
                f"[{where}] y_pred must have an axis for the outputs. Received: "
                "a single number. Try [[y_pred]]."
            )
        expected = self.target_shape(p.shape)
        if y.shape == (*expected, 1):
            y = y[..., 0]
        elif expected == (*y.shape, 1):
            y = y[..., None]
        return self._of_shape(y, p, expected)

    def _of_shape(
        self, y: np.ndarray, p: np.ndarray, expected: Shape
    ) -> tuple[np.ndarray, np.ndarray]:
        if y.shape != expected and broadcasting[0] and self.kind in COMPARED:
            with contextlib.suppress(ValueError):
                y, p = np.broadcast_arrays(y, p)
                return y, p
        if y.shape != expected:
            raise ValueError(
                f"[{type(self).__name__}] y_true must have shape {expected} to fit "
                f"y_pred. Received: y_true.shape={y.shape}, y_pred.shape={p.shape}. "
                f"Try y_true.reshape{expected}."
            )
        return y, p


def mask_of_rows(where: str, mask: Any, rows: Any) -> Any:
    """The mask of an output as 1 and 0, per value of a loss or metric.

    Raises:
        ValueError: its shape does not match.
    """
    from kurve.formulas import functions as ops

    own = mask.sample
    while len(own) > len(rows.sample) and own[-1] == 1:
        own = own[:-1]
    if own != rows.sample[: len(own)] or not rows.batched:
        raise ValueError(
            f"[{where}] the mask of an output must have one value per value of the "
            f"loss or the metric. Received: a mask of shape {mask.shape} for values of "
            f"shape {rows.shape}. Try a layer that drops the mask, such as Reshape."
        )
    missing = len(rows.sample) - len(own)
    mask = ops.reshape(ops.cast(mask, "float32"), (-1, *own, *(1,) * missing))
    return mask + ops.zeros_like(rows) if missing else mask


def weights_for(where: str, sample_weight: Any, shape: Shape) -> np.ndarray:
    """The weight of every row, float64 of that shape, from one weight for all, per
    sample or per row; trailing axes of length 1 are allowed.

    Raises:
        ValueError: wrong shape.
    """
    if sample_weight is None:
        return np.ones(shape)
    weights = as_numbers(where, "sample_weight", sample_weight, np.float32)
    weights = weights.astype(np.float64)
    received = weights.shape
    while weights.ndim > 1 and weights.shape != shape[: weights.ndim]:
        if weights.shape[-1] != 1:
            break
        weights = weights[..., 0]
    if weights.ndim > len(shape) or weights.shape != shape[: weights.ndim]:
        forms = f"{shape[:1]}, one weight per sample"
        if len(shape) > 1:
            forms += f", or {shape}, one per row"
        raise ValueError(
            f"[{where}] sample_weight must have shape {forms}. "
            f"Received: shape {received}. Try np.ones({shape})."
        )
    missing = len(shape) - weights.ndim
    return np.broadcast_to(weights.reshape(weights.shape + (1,) * missing), shape)
