"""F-scores, which combine precision and recall of each class."""

from __future__ import annotations

from typing import Any

import numpy as np

from kurve.config import EPSILON
from kurve.core.arguments import from_signature, is_number
from kurve.metrics.rows import RowMetric
from kurve.plan import Attr, Shape


class FBetaScore(RowMetric):
    """(1 + beta^2) precision recall / (beta^2 precision + recall) of each class.

    Source: van Rijsbergen 1979.

    Args:
        average: None (an array with the score of each class), "micro" (all classes
            pooled), "macro" (the mean of the classes) or "weighted" (by the
            number of targets of each class).
        beta: weight of recall relative to precision, above 0.
        threshold: outputs above it are positive, in (0, 1]; None for the largest of a
            row.
        name, dtype: see `Metric`.

    Raises:
        ValueError: an unknown average, beta not above 0, threshold outside (0, 1]; when
            called, mismatched shapes.

    Example:
        >>> score = kurve.metrics.FBetaScore("macro", beta=2.0, threshold=0.5)
        >>> round(score([[1, 0], [1, 1]], [[0.9, 0.8], [0.1, 0.9]]), 4)
        0.6944
    """

    kind = "class_counts"
    direction = "up"
    arguments = from_signature()

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str | None = "fbeta_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(name, dtype)
        where = type(self).__name__
        if average is not None and (
            not isinstance(average, str)
            or average not in ("micro", "macro", "weighted")
        ):
            raise ValueError(
                f"[{where}] average must be None, 'micro', 'macro' or 'weighted'. "
                f"Received: average={average!r}. Try average='macro'."
            )
        if not isinstance(beta, float) or not is_number(beta) or beta <= 0:
            raise ValueError(
                f"[{where}] beta must be a float above 0. "
                f"Received: beta={beta!r}. Try beta=1.0."
            )
        if threshold is not None and not (
            isinstance(threshold, float) and 0.0 < threshold <= 1.0
        ):
            raise ValueError(
                f"[{where}] threshold must be a float in (0, 1], or None. "
                f"Received: threshold={threshold!r}. Try threshold=0.5."
            )
        self.average, self.beta, self.threshold = average, beta, threshold

    def attrs(self) -> dict[str, Attr]:
        return {} if self.threshold is None else {"threshold": self.threshold}

    def size(self, output_shape: Shape) -> int:
        return 3 * output_shape[-1]

    def check_output(self, where: str, output_shape: Shape) -> None:
        if len(output_shape) != 1:
            raise ValueError(
                f"[{where}] outputs must have shape (n, classes). Received: shape "
                f"(n, {', '.join(map(str, output_shape))}). Try layers.Flatten()."
            )

    def _arranged(
        self, where: str, y_true: Any, y_pred: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        if np.ndim(y_pred) != 2:
            self.check_output(where, np.shape(y_pred)[1:])
        return super()._arranged(where, y_true, y_pred)

    def value(self, totals: np.ndarray) -> Any:
        counts = totals.reshape(3, -1)
        if self.average == "micro":
            counts = counts.sum(axis=1, keepdims=True)
        tp, fp, fn = counts
        precision, recall = tp / (tp + fp + EPSILON), tp / (tp + fn + EPSILON)
        square = self.beta**2
        mean = precision * recall / (square * precision + recall + EPSILON)
        scores = (1.0 + square) * mean
        if self.average is None:
            return scores
        if self.average == "weighted":
            targets = tp + fn
            return float(np.sum(scores * (targets / (targets.sum() + EPSILON))))
        return float(scores.mean())


class F1Score(FBetaScore):
    """2 precision recall / (precision + recall) of each class.

    Args:
        average: None (an array with the score of each class), "micro" (all classes
            pooled), "macro" (the mean of the classes) or "weighted" (by the
            number of targets of each class).
        threshold: outputs above it are positive, in (0, 1]; None for the largest of a
            row.
        name, dtype: see `Metric`.

    Raises:
        ValueError: an unknown average, threshold outside (0, 1]; when called, shapes
            that do not match.

    Example:
        >>> score = kurve.metrics.F1Score("micro", threshold=0.5)
        >>> round(score([[1, 0], [1, 1]], [[0.9, 0.8], [0.1, 0.9]]), 4)
        0.6667
    """

    arguments = from_signature()

    def __init__(
        self,
        average: str | None = None,
        threshold: float | None = None,
        name: str | None = "f1_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(average, 1.0, threshold, name, dtype)
