"""Hinge losses, for labels -1 and 1."""

from __future__ import annotations

from typing import Any

from kurve.formulas import functions as ops
from kurve.losses.formulas import PlainFormula, row_function


def _signs(y_true: Any) -> Any:
    """Map labels to -1 and 1 if all labels of the batch are 0 or 1."""
    binary = ops.all(ops.logical_or(ops.equal(y_true, 0.0), ops.equal(y_true, 1.0)))
    return ops.where(binary, 2.0 * y_true - 1.0, y_true)


class Hinge(PlainFormula):
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


class SquaredHinge(PlainFormula):
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


class CategoricalHinge(PlainFormula):
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


for _cls in (Hinge, SquaredHinge, CategoricalHinge):
    globals()[_cls.kind] = row_function(_cls)
