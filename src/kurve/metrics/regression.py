"""Regression metrics: errors, R2, similarities and correlations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from kurve import losses
from kurve.core.arguments import check_integer, from_signature, is_integer
from kurve.core.entries import warn
from kurve.metrics.rows import LossMetric, RowMetric
from kurve.plan import Attr, Shape


class MeanSquaredError(LossMetric):
    """mean (y - p)^2.

    Args:
        name, dtype: see `Metric`.

    Raises:
        ValueError: when called, mismatched shapes.

    Example:
        >>> kurve.metrics.MeanSquaredError()([[1.0], [2.0]], [[1.0], [4.0]])
        2.0
    """

    def __init__(
        self, name: str | None = "mean_squared_error", dtype: Any = None
    ) -> None:
        super().__init__(losses.MeanSquaredError(), name, dtype)


class MeanAbsoluteError(LossMetric):
    """mean |y - p|.

    Args:
        name, dtype: see `Metric`.

    Raises:
        ValueError: when called, mismatched shapes.

    Example:
        >>> kurve.metrics.MeanAbsoluteError()([[1.0], [2.0]], [[1.0], [4.0]])
        1.0
    """

    def __init__(
        self, name: str | None = "mean_absolute_error", dtype: Any = None
    ) -> None:
        super().__init__(losses.MeanAbsoluteError(), name, dtype)


class LogCoshError(LossMetric):
    """mean log cosh(y - p).

    Args:
        name, dtype: see `Metric`.

    Raises:
        ValueError: when called, mismatched shapes.

    Example:
        >>> round(kurve.metrics.LogCoshError()([[0.0]], [[1.0]]), 4)
        0.4338
    """

    def __init__(self, name: str | None = "logcosh", dtype: Any = None) -> None:
        super().__init__(losses.LogCosh(), name, dtype)


class RootMeanSquaredError(RowMetric):
    """sqrt(mean (y - p)^2), the mean over all rows and outputs.

    Args:
        name, dtype: see `Metric`.

    Raises:
        ValueError: when called, mismatched shapes.

    Example:
        >>> metric = kurve.metrics.RootMeanSquaredError()
        >>> round(metric([[1.0], [2.0]], [[1.0], [4.0]]), 4)
        1.4142
    """

    kind = "root_mean_squared_error"
    by_element = True

    def __init__(
        self, name: str | None = "root_mean_squared_error", dtype: Any = None
    ) -> None:
        super().__init__(name, dtype)

    def value(self, totals: np.ndarray) -> float:
        return math.sqrt(super().value(totals))


class MeanAbsolutePercentageError(RowMetric):
    """100 mean |(y - p) / y|; with |y| of at least 1e-7.

    Args:
        name, dtype: see `Metric`.

    Raises:
        ValueError: when called, mismatched shapes.

    Example:
        >>> kurve.metrics.MeanAbsolutePercentageError()([[2.0], [4.0]], [[1.0], [4.0]])
        25.0
    """

    kind = "mean_absolute_percentage_error"

    def __init__(
        self, name: str | None = "mean_absolute_percentage_error", dtype: Any = None
    ) -> None:
        super().__init__(name, dtype)


class MeanSquaredLogarithmicError(RowMetric):
    """mean (log(1 + y) - log(1 + p))^2; with y and p of at least 1e-7.

    Args:
        name, dtype: see `Metric`.

    Raises:
        ValueError: when called, mismatched shapes.

    Example:
        >>> metric = kurve.metrics.MeanSquaredLogarithmicError()
        >>> round(metric([[0.0]], [[1.0]]), 4)
        0.4805
    """

    kind = "mean_squared_logarithmic_error"

    def __init__(
        self, name: str | None = "mean_squared_logarithmic_error", dtype: Any = None
    ) -> None:
        super().__init__(name, dtype)


class _Similarity(RowMetric):
    """One number per row, which is treated as a vector."""

    direction = "up"
    whole_vectors = True
    arguments = from_signature()

    def __init__(self, name: str | None, dtype: Any, axis: int) -> None:
        super().__init__(name, dtype)
        self.axis = checked_axis(type(self).__name__, axis)


class CosineSimilarity(_Similarity):
    """sum of y p / (|y| |p|) over the outputs of a row: 1 for the same direction, -1
    for the opposite one; 0 if a vector is 0.

    Args:
        name, dtype: see `Metric`.
        axis: the output axis; in models, the last axis.

    Raises:
        ValueError: axis is not an integer; when called, mismatched shapes.

    Example:
        >>> metric = kurve.metrics.CosineSimilarity()
        >>> round(metric([[1.0, 0.0], [1.0, 1.0]], [[0.0, 1.0], [2.0, 2.0]]), 4)
        0.5
    """

    kind = "cosine_similarity"

    def __init__(
        self,
        name: str | None = "cosine_similarity",
        dtype: Any = None,
        axis: int = -1,
    ) -> None:
        super().__init__(name, dtype, axis)


class PearsonCorrelation(_Similarity):
    """Correlation of y and p over the outputs of a row, averaged over the rows:
    cov(y, p) / (std(y) std(p)); NaN if either is constant.

    Source: Pearson 1895.

    Args:
        name, dtype: see `Metric`.
        axis: the output axis; in models, the last axis.

    Raises:
        ValueError: axis is not an integer; when called, mismatched shapes.

    Example:
        >>> metric = kurve.metrics.PearsonCorrelation()
        >>> round(metric([[0.0, 1.0, 2.0]], [[1.0, 3.0, 5.0]]), 4)
        1.0
    """

    kind = "pearson_correlation"

    def __init__(
        self,
        name: str | None = "pearson_correlation",
        dtype: Any = None,
        axis: int = -1,
    ) -> None:
        super().__init__(name, dtype, axis)


class ConcordanceCorrelation(_Similarity):
    """Agreement of y and p over the outputs of a row, averaged over the rows:
    2 cov(y, p) / (var(y) + var(p) + (mean y - mean p)^2 + 1e-7). Unlike the
    correlation, it is 1 only if y = p.

    Source: Lin 1989.

    Args:
        name, dtype: see `Metric`.
        axis: the output axis; in models, the last axis.

    Raises:
        ValueError: axis is not an integer; when called, mismatched shapes.

    Example:
        >>> metric = kurve.metrics.ConcordanceCorrelation()
        >>> round(metric([[0.0, 1.0, 2.0]], [[1.0, 2.0, 3.0]]), 4)
        0.5714
    """

    kind = "concordance_correlation"

    def __init__(
        self,
        name: str | None = "concordance_correlation",
        dtype: Any = None,
        axis: int = -1,
    ) -> None:
        super().__init__(name, dtype, axis)


class R2Score(RowMetric):
    """1 - sum (y - p)^2 / sum (y - mean y)^2 of each output.

    1 is perfect, 0 is no better than the mean of y. An output with constant y counts
    as 0.

    Args:
        class_aggregation: "uniform_average" over the outputs,
            "variance_weighted_average", or None for one score per output.
        num_regressors: for p > 0, the adjusted score
            1 - (1 - R2) (n - 1) / (n - p - 1), where n counts all targets.
        name, dtype: see `Metric`.

    Raises:
        ValueError: unknown class_aggregation, negative num_regressors; when called,
            mismatched shapes.

    Example:
        >>> kurve.metrics.R2Score()([[1.0], [3.0]], [[1.0], [2.0]])
        0.5
    """

    kind = "r2_score"
    direction = "up"
    arguments = from_signature()

    def __init__(
        self,
        class_aggregation: str | None = "uniform_average",
        num_regressors: int = 0,
        name: str | None = "r2_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(name, dtype)
        if class_aggregation is not None and (
            not isinstance(class_aggregation, str)
            or class_aggregation not in ("uniform_average", "variance_weighted_average")
        ):
            raise ValueError(
                "[R2Score] class_aggregation must be None, 'uniform_average' or "
                f"'variance_weighted_average'. Received: {class_aggregation!r}. "
                "Try class_aggregation='uniform_average'."
            )
        check_integer("R2Score", "num_regressors", num_regressors, 0, 0)
        self.class_aggregation = class_aggregation
        self.num_regressors = int(num_regressors)

    def attrs(self) -> dict[str, Attr]:
        return {"counts_rows": True} if self.num_regressors else {}

    def size(self, output_shape: Shape) -> int:
        return 1 + 3 * output_shape[-1] + bool(self.num_regressors)

    def value(self, totals: np.ndarray) -> Any:
        from kurve.metrics.scores import (
            explained,  # lazy: programs without it start faster
        )

        rows = 0.0
        if self.num_regressors:
            totals, rows = totals[:-1], float(totals[-1])
        if not totals[0]:
            return math.nan
        _, spread, residual = totals[1:].reshape(3, -1)
        each = explained(residual, spread, np.ones_like(spread))
        each = np.where(spread <= 0.0, 0.0, each)
        if self.class_aggregation == "uniform_average":
            return self._adjusted(float(np.mean(each)), rows * len(each))
        if self.class_aggregation is None:
            return self._adjusted(each, rows * len(each))
        total = float(spread.sum())
        average = float((spread * each).sum()) / total if total else 0.0
        return self._adjusted(average, rows * len(each))

    def _adjusted(self, score: Any, targets: float) -> Any:
        if not self.num_regressors:
            return score
        left = targets - self.num_regressors - 1.0
        if left <= 0.0:
            warn(
                "[R2Score] the adjusted score needs more targets than num_regressors + "
                f"1. Received: {targets:g} targets, num_regressors="
                f"{self.num_regressors}. The score is not adjusted. Try num_regressors="
                "0."
            )
            return score
        return 1.0 - (1.0 - score) * (targets - 1.0) / left


def checked_axis(where: str, axis: Any) -> int:
    """Validate an axis.

    Raises:
        ValueError: not an integer.
    """
    if is_integer(axis):
        return int(axis)
    raise ValueError(
        f"[{where}] axis must be an integer. Received: axis={axis!r}. Try axis=-1."
    )
