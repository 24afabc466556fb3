"""Intersection over union of classes, from a confusion matrix."""

from __future__ import annotations

from typing import Any

import numpy as np

from kurve import losses
from kurve.core.arguments import (
    check_flag,
    check_integer,
    check_number,
    from_signature,
    is_count,
)
from kurve.core.arrays import as_numbers
from kurve.metrics.probabilistic import checked_ignored, ignoring
from kurve.metrics.regression import checked_axis
from kurve.metrics.rows import RowMetric
from kurve.plan import Attr, Shape


class _IoUBase(RowMetric):
    """The mean of tp / (tp + fp + fn) over some classes. Targets and predictions are
    class numbers, truncated to integers, or one output per class, of which the largest
    counts. Other numbers are ignored, as are classes that never occur.

    Its accumulators are the matrix of C x C weights, with one row per true class.
    """

    kind = "confusion_matrix"
    direction = "up"

    def __init__(
        self,
        num_classes: Any,
        target_class_ids: Any,
        name: str | None,
        dtype: Any,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        super().__init__(name, dtype)
        where = type(self).__name__
        check_integer(where, "num_classes", num_classes, 2, 1, 10_000)
        self.num_classes = int(num_classes)
        self.target_class_ids = _checked_ids(where, target_class_ids, self.num_classes)
        self.ignore_class = checked_ignored(where, ignore_class)
        self.sparse_y_true = check_flag(where, "sparse_y_true", sparse_y_true)
        self.sparse_y_pred = check_flag(where, "sparse_y_pred", sparse_y_pred)
        self.axis = checked_axis(where, axis)

    @property
    def sparse(self) -> bool:  # type: ignore[override]
        """Whether a row of outputs has a single class number as its target."""
        return self.sparse_y_true and not self.sparse_y_pred

    @property
    def by_element(self) -> bool:  # type: ignore[override]
        """Whether each output is a prediction."""
        return self.sparse_y_pred

    def attrs(self) -> dict[str, Attr]:
        found: dict[str, Attr] = {
            "classes": self.num_classes,
            "largest_target": not (self.sparse_y_true or self.sparse_y_pred),
            "largest_output": not self.sparse_y_pred,
        }
        return found | ignoring(self.ignore_class)

    def size(self, output_shape: Shape) -> int:
        return self.num_classes**2

    def check_loss(self, where: str, loss: losses.Loss) -> None:
        if self._reduces_targets:
            raise ValueError(
                f"[{where}] one-hot targets do not fit a model whose outputs are class "
                "numbers. Received: sparse_y_pred=True. Try sparse_y_pred=False."
            )
        super().check_loss(where, loss)

    @property
    def _reduces_targets(self) -> bool:
        """Whether targets, but not predictions, have a class axis."""
        return self.sparse_y_pred and not self.sparse_y_true

    def _arranged(
        self, where: str, y_true: Any, y_pred: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        if self._reduces_targets:
            one_hot = as_numbers(where, "y_true", y_true, np.float32)
            y_true = one_hot.argmax(axis=self.axis)
        return super()._arranged(where, y_true, y_pred)

    def value(self, totals: np.ndarray) -> float:
        matrix = totals.reshape(self.num_classes, self.num_classes)
        inside = matrix.diagonal()
        union = matrix.sum(axis=0) + matrix.sum(axis=1) - inside
        wanted = np.array(self.target_class_ids)
        inside, union = inside[wanted], union[wanted]
        seen = union > 1e-9
        return float(np.mean(inside[seen] / union[seen])) if seen.any() else 0.0


class IoU(_IoUBase):
    """The mean of tp / (tp + fp + fn) over the target classes; classes that never
    occur are ignored.

    Args:
        num_classes: number of classes, C; rows of other classes are ignored.
        target_class_ids: list of the classes to average.
        name, dtype: see `Metric`. Weights are never truncated to integers.
        ignore_class: targets of this class are ignored.
        sparse_y_true: whether targets are class numbers rather than one-hot.
        sparse_y_pred: whether outputs are class numbers, rather than one output per
            class, of which the largest counts.
        axis: the class axis; in models, the last axis.

    Raises:
        ValueError: no num_classes, classes beyond them; when called, shapes that do not
            fit.

    Example:
        >>> metric = kurve.metrics.IoU(num_classes=2, target_class_ids=[0])
        >>> round(metric([0, 0, 1, 1], [0, 1, 0, 1]), 4)
        0.3333
    """

    arguments = from_signature()

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Any,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        super().__init__(
            num_classes,
            target_class_ids,
            name,
            dtype,
            ignore_class,
            sparse_y_true,
            sparse_y_pred,
            axis,
        )


class BinaryIoU(_IoUBase):
    """`IoU` of two classes: outputs of at least the threshold are class 1.

    Args:
        target_class_ids: the classes to average.
        threshold: a finite number.
        name, dtype: see `Metric`.

    Raises:
        ValueError: classes other than 0 and 1; when called, mismatched shapes.

    Example:
        >>> metric = kurve.metrics.BinaryIoU(target_class_ids=[0, 1], threshold=0.3)
        >>> round(metric([0, 1, 0, 1], [0.1, 0.2, 0.4, 0.7]), 4)
        0.3333
    """

    arguments = from_signature()

    def __init__(
        self,
        target_class_ids: Any = (0, 1),
        threshold: float = 0.5,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(2, target_class_ids, name, dtype)
        check_number("BinaryIoU", "threshold", threshold, 0.5)
        self.threshold = float(threshold)

    def attrs(self) -> dict[str, Attr]:
        return {**super().attrs(), "threshold": self.threshold}


class MeanIoU(_IoUBase):
    """The mean of tp / (tp + fp + fn) over all classes that occur.

    Args:
        num_classes: number of classes, C; rows of other classes are ignored.
        name, dtype: see `Metric`. Weights are never truncated to integers.
        ignore_class: targets of this class are ignored.
        sparse_y_true: whether targets are class numbers rather than one-hot.
        sparse_y_pred: whether outputs are class numbers, rather than one output per
            class, of which the largest counts.
        axis: the class axis; in models, the last axis.

    Raises:
        ValueError: no num_classes; when called, mismatched shapes.

    Example:
        >>> metric = kurve.metrics.MeanIoU(num_classes=2)
        >>> round(metric([0, 0, 1, 1], [0, 1, 0, 1]), 4)
        0.3333
    """

    arguments = from_signature()

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        super().__init__(
            num_classes,
            None,
            name,
            dtype,
            ignore_class,
            sparse_y_true,
            sparse_y_pred,
            axis,
        )


class OneHotIoU(_IoUBase):
    """`IoU` of one-hot targets.

    Args:
        num_classes: number of classes, C.
        target_class_ids: list of the classes to average.
        name, dtype: see `Metric`. Weights are never truncated to integers.
        ignore_class: targets of this class are ignored.
        sparse_y_pred: whether outputs are class numbers, rather than one output per
            class, of which the largest counts.
        axis: the class axis; in models, the last axis.

    Raises:
        ValueError: no num_classes, classes beyond them; when called, shapes that do not
            fit.

    Example:
        >>> metric = kurve.metrics.OneHotIoU(num_classes=2, target_class_ids=[1])
        >>> metric([[0, 1], [1, 0]], [[0.2, 0.8], [0.4, 0.6]])
        0.5
    """

    arguments = from_signature()

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Any,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ) -> None:
        super().__init__(
            num_classes,
            target_class_ids,
            name,
            dtype,
            ignore_class,
            False,
            sparse_y_pred,
            axis,
        )


class OneHotMeanIoU(_IoUBase):
    """`MeanIoU` of one-hot targets.

    Args:
        num_classes: number of classes, C.
        name, dtype: see `Metric`. Weights are never truncated to integers.
        ignore_class: targets of this class are ignored.
        sparse_y_pred: whether outputs are class numbers, rather than one output per
            class, of which the largest counts.
        axis: the class axis; in models, the last axis.

    Raises:
        ValueError: no num_classes; when called, mismatched shapes.

    Example:
        >>> metric = kurve.metrics.OneHotMeanIoU(num_classes=2)
        >>> metric([[0, 1], [1, 0]], [[0.2, 0.8], [0.4, 0.6]])
        0.25
    """

    arguments = from_signature()

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ) -> None:
        super().__init__(
            num_classes, None, name, dtype, ignore_class, False, sparse_y_pred, axis
        )


def _checked_ids(where: str, ids: Any, num_classes: int) -> Any:
    """Validate the classes to average; None for all.

    Raises:
        ValueError: no classes, or a class out of range.
    """
    if ids is None:
        return tuple(range(num_classes))
    given = list(ids) if np.ndim(ids) == 1 else []
    if given and all(is_count(i, 0) and i < num_classes for i in given):
        checked = [int(i) for i in given]
        return tuple(checked) if isinstance(ids, tuple) else checked
    raise ValueError(
        f"[{where}] target_class_ids must be a list of classes from 0 to "
        f"{num_classes - 1}. Received: target_class_ids={ids!r}. "
        "Try target_class_ids=[0]."
    )
