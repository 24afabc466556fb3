"""Losses without parameters, given by formulas of targets and outputs."""

from __future__ import annotations

from typing import Any

from kurve.config import EPSILON
from kurve.formulas import functions as ops
from kurve.losses.base import PlainLoss
from kurve.losses.formulas import Formula, row_function


class _Plain(PlainLoss, Formula):
    """A formula without parameters."""


class MeanAbsolutePercentageError(_Plain):
    """100 mean |y - p| / max(|y|, 1e-7) over the outputs of a row.

    Shapes: y_true and y_pred (B, ..., O) -> one number.

    Args:
        reduction, name, dtype: see `Loss`.

    Raises:
        ValueError: as `Loss`.

    Example:
        >>> kurve.losses.MeanAbsolutePercentageError()([[2.0]], [[1.0]])
        50.0
    """

    kind = "mean_absolute_percentage_error"

    def rows(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each sample."""
        least = ops.maximum(ops.absolute(y_true), EPSILON)
        return 100.0 * ops.mean(ops.absolute((y_true - y_pred) / least), axis=-1)


class MeanSquaredLogarithmicError(_Plain):
    """mean (log(1 + y) - log(1 + p))^2 over the outputs of a row, with negative values
    set to 0.

    Shapes: y_true and y_pred (B, ..., O) -> one number.

    Args:
        reduction, name, dtype: see `Loss`.

    Raises:
        ValueError: as `Loss`.

    Example:
        >>> round(kurve.losses.MeanSquaredLogarithmicError()([[0.0]], [[1.0]]), 4)
        0.4805
    """

    kind = "mean_squared_logarithmic_error"

    def rows(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each sample."""
        first = ops.log(ops.maximum(y_pred, EPSILON) + 1.0)
        second = ops.log(ops.maximum(y_true, EPSILON) + 1.0)
        return ops.mean(ops.square(first - second), axis=-1)


class Poisson(_Plain):
    """mean (p - y log(p)) over the outputs of a row: the negative log likelihood of
    counts y with rates p, without terms that depend only on y.

    Shapes: y_true and y_pred (B, ..., O) -> one number.

    Args:
        reduction, name, dtype: see `Loss`.

    Raises:
        ValueError: as `Loss`.

    Example:
        >>> kurve.losses.Poisson()([[0.0]], [[1.0]])
        1.0
    """

    kind = "poisson"

    def rows(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each sample."""
        return ops.mean(y_pred - y_true * ops.log(y_pred + EPSILON), axis=-1)


class KLDivergence(_Plain):
    """sum y log(y / p) over the outputs of a row, both clipped to [1e-7, 1].

    Shapes: y_true and y_pred (B, ..., O) -> one number.
    Source: Kullback & Leibler 1951.

    Args:
        reduction, name, dtype: see `Loss`.

    Raises:
        ValueError: as `Loss`.

    Example:
        >>> round(kurve.losses.KLDivergence()([[1.0, 0.0]], [[0.5, 0.5]]), 4)
        0.6931
    """

    kind = "kl_divergence"

    def rows(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each sample."""
        y, p = ops.clip(y_true, EPSILON, 1.0), ops.clip(y_pred, EPSILON, 1.0)
        return ops.sum(y * ops.log(y / p), axis=-1)


def _signs(y_true: Any) -> Any:
    """Map labels to -1 and 1 if all labels of the batch are 0 or 1."""
    binary = ops.all(ops.logical_or(ops.equal(y_true, 0.0), ops.equal(y_true, 1.0)))
    return ops.where(binary, 2.0 * y_true - 1.0, y_true)


class Hinge(_Plain):
    """mean max(1 - y p, 0) over the outputs of a row, for labels -1 and 1 (or 0 and 1
    in the whole batch).

    Shapes: y_true and y_pred (B, ..., O) -> one number.

    Args:
        reduction, name, dtype: see `Loss`.

    Raises:
        ValueError: as `Loss`.

    Example:
        >>> kurve.losses.Hinge()([[1.0]], [[0.25]])
        0.75
    """

    kind = "hinge"

    def rows(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each sample."""
        return ops.mean(ops.maximum(1.0 - _signs(y_true) * y_pred, 0.0), axis=-1)


class SquaredHinge(_Plain):
    """mean max(1 - y p, 0)^2 over the outputs of a row, for labels as in `Hinge`.

    Shapes: y_true and y_pred (B, ..., O) -> one number.

    Args:
        reduction, name, dtype: see `Loss`.

    Raises:
        ValueError: as `Loss`.

    Example:
        >>> kurve.losses.SquaredHinge()([[1.0]], [[0.5]])
        0.25
    """

    kind = "squared_hinge"

    def rows(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each sample."""
        margin = ops.maximum(1.0 - _signs(y_true) * y_pred, 0.0)
        return ops.mean(ops.square(margin), axis=-1)


class CategoricalHinge(_Plain):
    """max(max((1 - y) p) - sum(y p) + 1, 0) per row, for one-hot labels.

    Shapes: y_true and y_pred (B, ..., O) -> one number.

    Args:
        reduction, name, dtype: see `Loss`.

    Raises:
        ValueError: as `Loss`.

    Example:
        >>> kurve.losses.CategoricalHinge()([[1.0, 0.0]], [[0.75, 0.25]])
        0.5
    """

    kind = "categorical_hinge"

    def rows(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each sample."""
        right = ops.sum(y_true * y_pred, axis=-1)
        wrong = ops.max((1.0 - y_true) * y_pred, axis=-1)
        return ops.maximum(wrong - right + 1.0, 0.0)


for _cls in (
    MeanAbsolutePercentageError,
    MeanSquaredLogarithmicError,
    Poisson,
    KLDivergence,
    Hinge,
    SquaredHinge,
    CategoricalHinge,
):
    globals()[_cls.kind] = row_function(_cls)
