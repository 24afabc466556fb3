"""The data to check, and tests for the kind of targets."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from kurve.diagnosis.report import percent
from kurve.metrics import scores


@dataclass
class Rows:
    """One data set, or every `stride`-th row of it.

    x:         (n, *input_shape), as passed to the engine
    columns:   (n, D) float64, each sample flattened
    y:         (n, *target_shape), as passed to the engine; unchanged if not compiled
    targets:   (n, T) float64 for a regression, else None
    labels:    (n,) class indices if each row has one class, else None
    output:    (n, O) float64, the model's output, or None
    predicted: (n, T) float64 for a regression, else None
    predicted_labels: (n,) class numbers, or None
    """

    x: np.ndarray
    columns: np.ndarray
    y: np.ndarray
    stride: int = 1
    targets: np.ndarray | None = None
    labels: np.ndarray | None = None
    output: np.ndarray | None = None
    predicted: np.ndarray | None = None
    predicted_labels: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.x)

    @functools.cached_property
    def unexplained(self) -> np.ndarray | None:
        """1 - R2 of each target (T,); nan where a target is constant."""
        if self.targets is None or self.predicted is None:
            return None
        return unexplained(self.targets, self.predicted)

    @property
    def accuracy(self) -> float | None:
        if self.labels is None or self.predicted_labels is None:
            return None
        return float((self.labels == self.predicted_labels).mean())


def unexplained(y: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """1 - R2 of each target (T,) of y and predicted (n, T); nan for a constant one."""
    y, predicted = y.astype(np.float64), predicted.astype(np.float64)
    constant = scores.residuals(y, predicted).constant
    return np.where(constant, np.nan, 1.0 - scores.r2(y, predicted))


def quality(rows: Rows) -> str:
    """The model's score on the rows, in words; empty if there is none."""
    if rows.accuracy is not None:
        return f"{percent(rows.accuracy)} of {len(rows)} rows correct"
    if rows.unexplained is None or np.isnan(rows.unexplained).all():
        return ""
    r2 = 1.0 - float(np.nanmean(rows.unexplained))
    rmse = float(np.sqrt(np.mean((rows.targets - rows.predicted) ** 2)))  # type: ignore[operator]
    return f"R2 {r2:.5g}, RMSE {rmse:.3g} on {len(rows)} rows"


def are_integers(values: np.ndarray, count: int) -> bool:
    """Whether all are integers from 0 to count - 1."""
    if values.dtype.kind not in "fiub" or not values.size:
        return False
    low, high = values.min(), values.max()
    return bool(low >= 0 and high < count and (values == np.floor(values)).all())


def are_class_numbers(values: np.ndarray, count: int) -> bool:
    """Whether they look like class indices: integers from 0, not all the same."""
    return are_integers(values, count) and values.min() == 0 and bool(values.max() > 0)


def are_one_hot(values: np.ndarray) -> bool:
    is_bit = (values == 0) | (values == 1)
    return bool(is_bit.all() and (values.sum(axis=1) == 1).all())
