"""Focal cross-entropies, which give less weight to easy examples."""

from __future__ import annotations

from typing import Any

import numpy as np

from kurve.config import EPSILON
from kurve.core.arguments import check_flag, check_number
from kurve.formulas import functions as ops
from kurve.losses.formulas import Formula, axis_of, number, row_function


def _smoothed(y_true: Any, smoothing: float, share: float) -> Any:
    return y_true * (1.0 - smoothing) + smoothing * share if smoothing else y_true


class BinaryFocalCrossentropy(Formula):
    """mean of (1 - p_t)^gamma times the binary cross-entropy over the outputs of a row,
    with p_t the probability of the true label; with `apply_class_balancing` times
    alpha for label 1 and 1 - alpha for label 0.

    Shapes: y_true and y_pred (B, ..., O) -> one number.
    Source: Lin et al. 2017.

    Args:
        apply_class_balancing, alpha, gamma: see above.
        from_logits: whether y_pred holds logits.
        label_smoothing: moves labels this fraction of the way to 1/2.
        axis: axis of the mean.
        reduction, name, dtype: see `Loss`.

    Raises:
        ValueError: as `Loss`.

    Example:
        >>> round(kurve.losses.BinaryFocalCrossentropy()([[1.0]], [[0.5]]), 4)
        0.1733
    """

    kind = "binary_focal_crossentropy"
    attr_names = (
        "apply_class_balancing",
        "alpha",
        "gamma",
        "from_logits",
        "label_smoothing",
        "axis",
    )

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype)
        self.apply_class_balancing = check_flag(
            type(self).__name__, "apply_class_balancing", apply_class_balancing
        )
        self.alpha = number(self, "alpha", alpha, 1.0)
        self.gamma = number(self, "gamma", gamma)
        self.from_logits = check_flag(type(self).__name__, "from_logits", from_logits)
        self.label_smoothing = number(self, "label_smoothing", label_smoothing, 1.0)
        self.axis = axis_of(self, axis)

    def rows(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each sample."""
        y = _smoothed(y_true, self.label_smoothing, 0.5)
        p = ops.sigmoid(y_pred) if self.from_logits else y_pred
        inside = ops.clip(p, EPSILON, 1.0 - EPSILON)
        entropy = -(y * ops.log(inside) + (1.0 - y) * ops.log(1.0 - inside))
        right = y * p + (1.0 - y) * (1.0 - p)
        loss = ops.power(1.0 - right, self.gamma) * entropy
        if self.apply_class_balancing:
            loss = (y * self.alpha + (1.0 - y) * (1.0 - self.alpha)) * loss
        return ops.mean(loss, axis=self.axis)


class CategoricalFocalCrossentropy(Formula):
    """sum of -alpha (1 - p)^gamma y log(p) over the classes, with p normalized to sum
    to 1.

    Shapes: y_true and y_pred (B, ..., classes) -> one number.
    Source: Lin et al. 2017.

    Args:
        alpha: a factor, or one per class.
        gamma: how strongly well-classified examples are down-weighted.
        from_logits: whether y_pred holds logits.
        label_smoothing: moves labels this fraction of the way to 1 / classes.
        axis: the class axis.
        reduction, name, dtype: see `Loss`.

    Raises:
        ValueError: a negative alpha or gamma, and as `Loss`.

    Example:
        >>> loss = kurve.losses.CategoricalFocalCrossentropy()
        >>> round(loss([[1.0, 0.0]], [[0.5, 0.5]]), 4)
        0.0433
    """

    kind = "categorical_focal_crossentropy"
    attr_names = ("alpha", "gamma", "from_logits", "label_smoothing", "axis")

    def __init__(
        self,
        alpha: Any = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype)
        several = isinstance(alpha, (list, tuple, np.ndarray)) and np.size(alpha) > 0
        self.alpha: Any = (
            tuple(number(self, "alpha", one) for one in np.ravel(alpha).tolist())
            if several
            else number(self, "alpha", alpha)
        )
        self.gamma = number(self, "gamma", gamma)
        self.from_logits = check_flag(type(self).__name__, "from_logits", from_logits)
        self.label_smoothing = number(self, "label_smoothing", label_smoothing, 1.0)
        self.axis = axis_of(self, axis)

    def rows(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each sample."""
        y = _smoothed(y_true, self.label_smoothing, 1.0 / y_true.shape[-1])
        p = ops.softmax(y_pred, self.axis) if self.from_logits else y_pred
        p = p / ops.sum(p, axis=self.axis, keepdims=True)
        p = ops.clip(p, EPSILON, 1.0 - EPSILON)
        alpha = np.asarray(self.alpha, np.float32)
        factor = ops.power(1.0 - p, self.gamma) * alpha
        return ops.sum(factor * (-y * ops.log(p)), axis=self.axis)


class CategoricalGeneralizedCrossEntropy(Formula):
    """(1 - p^q) / q per row, with p the probability of the true class: between the
    cross-entropy (q near 0) and the absolute error (q near 1).

    Shapes: y_true class numbers (B, ...), y_pred (B, ..., classes) -> one number.
    Source: Zhang & Sabuncu 2018.

    Args:
        q: in (0, 1).
        reduction, name, dtype: see `Loss`.

    Raises:
        ValueError: q outside (0, 1).

    Example:
        >>> loss = kurve.losses.CategoricalGeneralizedCrossEntropy(q=0.5)
        >>> round(loss([0], [[0.25, 0.75]]), 4)
        1.0
    """

    kind = "categorical_generalized_cross_entropy"
    sparse = True
    attr_names = ("q",)

    def __init__(
        self,
        q: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype)
        check_number("CategoricalGeneralizedCrossEntropy", "q", q, 0.5, 0, 1, "()")
        self.q = q

    def rows(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each sample."""
        right = ops.sum(y_pred * ops.one_hot(y_true, y_pred.shape[-1]), axis=-1)
        return (1.0 - ops.power(right, self.q)) / self.q


for _cls in (
    BinaryFocalCrossentropy,
    CategoricalFocalCrossentropy,
    CategoricalGeneralizedCrossEntropy,
):
    globals()[_cls.kind] = row_function(_cls)
