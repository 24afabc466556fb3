"""Counts of positives and negatives on either side of thresholds, and their ratios."""

from __future__ import annotations

from typing import Any

import numpy as np

from kurve.metrics.counts import (
    UNCHOSEN,
    Counts,
    ThresholdMetric,
    checked_thresholds,
)


class _OfThresholds(ThresholdMetric):
    """One number per threshold passed by the user."""

    def __init__(
        self,
        thresholds: Any,
        name: str | None,
        dtype: Any,
        class_id: Any = None,
        top_k: Any = None,
    ) -> None:
        where = type(self).__name__
        default = 0.5 if top_k is None else UNCHOSEN
        levels = checked_thresholds(where, thresholds, default)
        super().__init__(levels, name, dtype, class_id, top_k)
        self.given_thresholds = thresholds

    def get_config(self) -> dict[str, Any]:
        given = self.given_thresholds
        if given is not None:
            given = self.levels[0] if np.ndim(given) == 0 else list(self.levels)
        return {**super().get_config(), "thresholds": given}

    @property
    def thresholds(self) -> list[float]:
        """The thresholds that outputs are compared with."""
        return list(self.levels)

    def each(self, counts: Counts) -> np.ndarray:
        """The values at the thresholds (T,)."""
        raise NotImplementedError

    def value(self, totals: np.ndarray) -> Any:
        each = self.each(self.counts(totals))
        return float(each[0]) if len(each) == 1 else each


class _Count(_OfThresholds):
    """One of the four counts."""

    def __init__(
        self, thresholds: Any = None, name: str | None = None, dtype: Any = None
    ) -> None:
        super().__init__(thresholds, name, dtype)


class TruePositives(_Count):
    """Weight of the positive targets whose output is above a threshold.

    Args:
        thresholds: a number in [0, 1], 0.5 if None, or a list with one result each.
        name, dtype: see `Metric`.

    Raises:
        ValueError: thresholds outside [0, 1]; when called, mismatched shapes.

    Example:
        >>> kurve.metrics.TruePositives()([0, 1, 1, 1], [0.2, 0.6, 0.9, 0.1])
        2.0
    """

    direction = "up"

    def each(self, counts: Counts) -> np.ndarray:
        return counts.tp


class TrueNegatives(_Count):
    """Weight of the negative targets whose output is not above a threshold.

    Args:
        thresholds: a number in [0, 1], 0.5 if None, or a list with one result each.
        name, dtype: see `Metric`.

    Raises:
        ValueError: thresholds outside [0, 1]; when called, mismatched shapes.

    Example:
        >>> kurve.metrics.TrueNegatives()([0, 1, 1, 1], [0.2, 0.6, 0.9, 0.1])
        1.0
    """

    direction = "up"

    def each(self, counts: Counts) -> np.ndarray:
        return counts.tn


class FalsePositives(_Count):
    """Weight of the negative targets whose output is above a threshold.

    Args:
        thresholds: a number in [0, 1], 0.5 if None, or a list with one result each.
        name, dtype: see `Metric`.

    Raises:
        ValueError: thresholds outside [0, 1]; when called, mismatched shapes.

    Example:
        >>> kurve.metrics.FalsePositives()([0, 1, 1, 1], [0.2, 0.6, 0.9, 0.1])
        0.0
    """

    def each(self, counts: Counts) -> np.ndarray:
        return counts.fp


class FalseNegatives(_Count):
    """Weight of the positive targets whose output is not above a threshold.

    Args:
        thresholds: a number in [0, 1], 0.5 if None, or a list with one result each.
        name, dtype: see `Metric`.

    Raises:
        ValueError: thresholds outside [0, 1]; when called, mismatched shapes.

    Example:
        >>> kurve.metrics.FalseNegatives()([0, 1, 1, 1], [0.2, 0.6, 0.9, 0.1])
        1.0
    """

    def each(self, counts: Counts) -> np.ndarray:
        return counts.fn


class _OfChosen(_OfThresholds):
    direction = "up"
    arguments = ("top_k", "class_id")

    def __init__(
        self,
        thresholds: Any = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(thresholds, name, dtype, class_id, top_k)


class Precision(_OfChosen):
    """tp / (tp + fp): the fraction of outputs above a threshold whose target is
    positive; 0 if there are none.

    Args:
        thresholds: a number in [0, 1], or a list with one result each; None means 0.5,
            or no threshold with top_k.
        top_k: only the k largest outputs of a row can be positive.
        class_id: only count outputs of this class.
        name, dtype: see `Metric`.

    Raises:
        ValueError: thresholds outside [0, 1], top_k or class_id beyond the outputs;
            when called, mismatched shapes.

    Example:
        >>> kurve.metrics.Precision()([0, 1, 1, 1], [0.7, 0.6, 0.1, 0.1])
        0.5
    """

    def each(self, counts: Counts) -> np.ndarray:
        return counts.precision


class Recall(_OfChosen):
    """tp / (tp + fn): the fraction of positive targets whose output is above a
    threshold; 0 if there are none.

    Args:
        thresholds: a number in [0, 1], or a list with one result each; None means 0.5,
            or no threshold with top_k.
        top_k: only the k largest outputs of a row can be positive.
        class_id: only count outputs of this class.
        name, dtype: see `Metric`.

    Raises:
        ValueError: thresholds outside [0, 1], top_k or class_id beyond the outputs;
            when called, mismatched shapes.

    Example:
        >>> kurve.metrics.Recall()([0, 1, 1, 1, 1], [0.7, 0.6, 0.1, 0.1, 0.2])
        0.25
    """

    def each(self, counts: Counts) -> np.ndarray:
        return counts.recall
