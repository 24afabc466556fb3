"""Metrics that maximize one ratio subject to a minimum of another."""

from __future__ import annotations

from typing import Any

import numpy as np

from kurve.core.arguments import check_integer, check_number
from kurve.metrics.counts import ThresholdMetric, even_levels


class _AtBest(ThresholdMetric):
    """The maximum of one value over thresholds where another is at least `least`."""

    direction = "up"
    arguments = ("num_thresholds", "class_id")
    argument = ""

    def __init__(
        self,
        least: Any,
        num_thresholds: int,
        class_id: int | None,
        name: str | None,
        dtype: Any,
    ) -> None:
        where = type(self).__name__
        check_number(where, self.argument, least, 0.5, 0, 1)
        check_integer(where, "num_thresholds", num_thresholds, 200)
        self.least, self.num_thresholds = float(least), int(num_thresholds)
        super().__init__(even_levels(self.num_thresholds), name, dtype, class_id)

    @property
    def thresholds(self) -> list[float]:
        """The thresholds that outputs are compared with."""
        return list(self.levels)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), self.argument: self.least}

    def best(self, limited: np.ndarray, wanted: np.ndarray) -> float:
        """The largest of `wanted` where `limited` is at least `least`; else 0."""
        # Keras compares in float32, where a quotient can equal the limit.
        enough = limited.astype(np.float32) >= np.float32(self.least)
        return float(np.max(wanted, where=enough, initial=0.0))


class SensitivityAtSpecificity(_AtBest):
    """The largest tp / (tp + fn) at a threshold where tn / (tn + fp) is at least
    `specificity`.

    Args:
        specificity: in [0, 1].
        num_thresholds: number of thresholds, evenly from 0 to 1.
        class_id: only count outputs of this class.
        name, dtype: see `Metric`.

    Raises:
        ValueError: specificity outside [0, 1], num_thresholds below 1, class_id beyond
            the outputs; when called, mismatched shapes.

    Example:
        >>> metric = kurve.metrics.SensitivityAtSpecificity(0.5)
        >>> metric([0, 0, 0, 1, 1], [0, 0.3, 0.8, 0.3, 0.8])
        0.5
    """

    argument = "specificity"

    def __init__(
        self,
        specificity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(specificity, num_thresholds, class_id, name, dtype)

    def value(self, totals: np.ndarray) -> float:
        counts = self.counts(totals)
        return self.best(counts.specificity, counts.recall)


class SpecificityAtSensitivity(_AtBest):
    """The largest tn / (tn + fp) at a threshold where tp / (tp + fn) is at least
    `sensitivity`.

    Args:
        sensitivity: in [0, 1].
        num_thresholds: number of thresholds, evenly from 0 to 1.
        class_id: only count outputs of this class.
        name, dtype: see `Metric`.

    Raises:
        ValueError: sensitivity outside [0, 1], num_thresholds below 1, class_id beyond
            the outputs; when called, mismatched shapes.

    Example:
        >>> metric = kurve.metrics.SpecificityAtSensitivity(0.5)
        >>> round(metric([0, 0, 0, 1, 1], [0, 0.3, 0.8, 0.3, 0.8]), 4)
        0.6667
    """

    argument = "sensitivity"

    def __init__(
        self,
        sensitivity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(sensitivity, num_thresholds, class_id, name, dtype)

    def value(self, totals: np.ndarray) -> float:
        counts = self.counts(totals)
        return self.best(counts.recall, counts.specificity)


class PrecisionAtRecall(_AtBest):
    """The largest tp / (tp + fp) at a threshold where tp / (tp + fn) is at least
    `recall`.

    Args:
        recall: in [0, 1].
        num_thresholds: number of thresholds, evenly from 0 to 1.
        class_id: only count outputs of this class.
        name, dtype: see `Metric`.

    Raises:
        ValueError: recall outside [0, 1], num_thresholds below 1, class_id beyond
            the outputs; when called, mismatched shapes.

    Example:
        >>> metric = kurve.metrics.PrecisionAtRecall(0.5)
        >>> metric([0, 0, 0, 1, 1], [0, 0.3, 0.8, 0.3, 0.8])
        0.5
    """

    argument = "recall"

    def __init__(
        self,
        recall: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(recall, num_thresholds, class_id, name, dtype)

    def value(self, totals: np.ndarray) -> float:
        counts = self.counts(totals)
        return self.best(counts.recall, counts.precision)


class RecallAtPrecision(_AtBest):
    """The largest tp / (tp + fn) at a threshold where tp / (tp + fp) is at least
    `precision`; 0 if there is none.

    Args:
        precision: in [0, 1].
        num_thresholds: number of thresholds, evenly from 0 to 1.
        class_id: only count outputs of this class.
        name, dtype: see `Metric`.

    Raises:
        ValueError: precision outside [0, 1], num_thresholds below 1, class_id beyond
            the outputs; when called, mismatched shapes.

    Example:
        >>> metric = kurve.metrics.RecallAtPrecision(0.8)
        >>> metric([0, 0, 1, 1], [0, 0.5, 0.3, 0.9])
        0.5
    """

    argument = "precision"

    def __init__(
        self,
        precision: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(precision, num_thresholds, class_id, name, dtype)

    def value(self, totals: np.ndarray) -> float:
        counts = self.counts(totals)
        return self.best(counts.precision, counts.recall)
