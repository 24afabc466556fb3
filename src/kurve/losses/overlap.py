"""Losses that measure the direction or overlap of targets and outputs."""

from __future__ import annotations

from typing import Any

from kurve.config import EPSILON
from kurve.formulas import functions as ops
from kurve.losses.formulas import Formula, axis_of, number, row_function
from kurve.plan import Attr


class _Along(Formula):
    """A formula over an axis."""

    attr_names = ("axis",)

    def __init__(
        self,
        axis: int | None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype)
        self.axis = axis_of(self, axis, several=True)


class CosineSimilarity(_Along):
    """-sum(y p) / (|y| |p|) along an axis: -1 for equal directions.

    Shapes: y_true and y_pred (B, ..., O) -> one number.

    Args:
        axis: axis, counting the batch axis.
        reduction, name, dtype: see `Loss`.

    Raises:
        ValueError: as `Loss`.

    Example:
        >>> kurve.losses.CosineSimilarity()([[1.0, 0.0]], [[2.0, 0.0]])
        -1.0
    """

    kind = "cosine_similarity"

    def __init__(
        self,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(axis, reduction, name, dtype)
        self.axis = axis_of(self, axis)

    def rows(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each sample."""
        y, p = ops.normalize(y_true, self.axis), ops.normalize(y_pred, self.axis)
        return -ops.sum(y * p, axis=self.axis)


class Dice(_Along):
    """1 - 2 sum(y p) / (sum y + sum p + 1e-7), over these axes or over the whole batch.

    Shapes: y_true and y_pred (B, ..., O) -> one number.
    Source: Dice 1945; Milletari et al. 2016.

    Args:
        reduction, name, dtype: see `Loss`.
        axis: axes, counting the batch axis; None for all.

    Raises:
        ValueError: as `Loss`.

    Example:
        >>> round(kurve.losses.Dice()([[1.0, 0.0]], [[1.0, 0.0]]), 4)
        0.0
    """

    kind = "dice"

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        axis: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(axis, reduction, name, dtype)

    def rows(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each sample."""
        both = ops.sum(y_true * y_pred, axis=self.axis)
        total = ops.sum(y_true, axis=self.axis) + ops.sum(y_pred, axis=self.axis)
        return 1.0 - 2.0 * both / (total + EPSILON)


class Tversky(_Along):
    """1 - TP / (TP + alpha FP + beta FN + 1e-7), TP = sum(y p), FP = sum(y (1 - p)) and
    FN = sum((1 - y) p), over these axes or over the whole batch.

    Shapes: y_true and y_pred (B, ..., O) -> one number.
    Source: Salehi et al. 2017, with Keras's names of the two errors.

    Args:
        alpha, beta: weights of the two kinds of errors.
        reduction, name, dtype: see `Loss`.
        axis: axes, counting the batch axis; None for all.

    Raises:
        ValueError: as `Loss`.

    Example:
        >>> round(kurve.losses.Tversky()([[1.0, 0.0]], [[1.0, 0.0]]), 4)
        0.0
    """

    kind = "tversky"

    def __init__(
        self,
        alpha: float = 0.5,
        beta: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        axis: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(axis, reduction, name, dtype)
        self.alpha = number(self, "alpha", alpha)
        self.beta = number(self, "beta", beta)

    def attrs(self) -> dict[str, Attr]:
        return {"alpha": self.alpha, "beta": self.beta, **super().attrs()}

    def rows(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each sample."""
        both = ops.sum(y_true * y_pred, axis=self.axis)
        first = ops.sum((1.0 - y_pred) * y_true, axis=self.axis)
        second = ops.sum(y_pred * (1.0 - y_true), axis=self.axis)
        total = both + first * self.alpha + second * self.beta + EPSILON
        return 1.0 - both / total


for _cls in (
    CosineSimilarity,
    Dice,
    Tversky,
):
    globals()[_cls.kind] = row_function(_cls)
