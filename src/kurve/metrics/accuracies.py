"""Accuracy metrics."""

from __future__ import annotations

from typing import Any

from kurve import losses
from kurve.core.arguments import check_flag, check_integer, check_number, from_signature
from kurve.metrics.rows import RowMetric
from kurve.plan import Attr, Shape


class BinaryAccuracy(RowMetric):
    """Fraction of outputs on the correct side of the threshold.

    Args:
        name, dtype: see `Metric`.
        threshold: a finite number.

    Raises:
        ValueError: threshold is not finite; when called, shapes that do not match.

    Example:
        >>> kurve.metrics.BinaryAccuracy()([[1.0], [0.0]], [[0.7], [0.6]])
        0.5
    """

    kind = "binary_accuracy"
    direction = "up"
    by_element = True
    arguments = from_signature()

    def __init__(
        self,
        name: str | None = "binary_accuracy",
        dtype: Any = None,
        threshold: float = 0.5,
    ) -> None:
        super().__init__(name, dtype)
        check_number("BinaryAccuracy", "threshold", threshold, 0.5)
        self.threshold = float(threshold)

    def attrs(self) -> dict[str, Attr]:
        return {"threshold": self.threshold}


class CategoricalAccuracy(RowMetric):
    """Fraction of rows whose largest output is that of the one-hot class.

    Args:
        name, dtype: see `Metric`.

    Raises:
        ValueError: when called, mismatched shapes.

    Example:
        >>> kurve.metrics.CategoricalAccuracy()([[0.0, 1.0]], [[0.3, 0.7]])
        1.0
    """

    kind = "categorical_accuracy"
    direction = "up"

    def __init__(
        self, name: str | None = "categorical_accuracy", dtype: Any = None
    ) -> None:
        super().__init__(name, dtype)


class SparseCategoricalAccuracy(RowMetric):
    """Fraction of rows whose largest output is that of the class number.

    Args:
        name, dtype: see `Metric`.

    Raises:
        ValueError: when called, mismatched shapes.

    Example:
        >>> kurve.metrics.SparseCategoricalAccuracy()([1], [[0.3, 0.7]])
        1.0
    """

    kind = "sparse_categorical_accuracy"
    sparse = True
    direction = "up"

    def __init__(
        self, name: str | None = "sparse_categorical_accuracy", dtype: Any = None
    ) -> None:
        super().__init__(name, dtype)


class _TopK(RowMetric):
    direction = "up"
    arguments = from_signature()

    def __init__(self, k: int, name: str | None, dtype: Any) -> None:
        check_integer(type(self).__name__, "k", k, 5)
        super().__init__(name, dtype)
        self.k = int(k)

    def attrs(self) -> dict[str, Attr]:
        return {"k": self.k}


class TopKCategoricalAccuracy(_TopK):
    """Fraction of rows whose one-hot class is among the k largest outputs: fewer than k
    outputs are larger than that of the class.

    Args:
        k: at least 1.
        name, dtype: see `Metric`.

    Raises:
        ValueError: k below 1; when called, mismatched shapes.

    Example:
        >>> accuracy = kurve.metrics.TopKCategoricalAccuracy(k=2)
        >>> accuracy([[0.0, 1.0, 0.0]], [[0.5, 0.3, 0.2]])
        1.0
    """

    kind = "top_k_categorical_accuracy"

    def __init__(
        self,
        k: int = 5,
        name: str | None = "top_k_categorical_accuracy",
        dtype: Any = None,
    ) -> None:
        super().__init__(k, name, dtype)


class SparseTopKCategoricalAccuracy(_TopK):
    """`TopKCategoricalAccuracy` for class numbers.

    Args:
        k: at least 1.
        name, dtype: see `Metric`.
        from_sorted_ids: whether the outputs are class numbers, most likely first,
            instead of one value per class.

    Raises:
        ValueError: k below 1; when called, mismatched shapes.

    Example:
        >>> accuracy = kurve.metrics.SparseTopKCategoricalAccuracy(k=2)
        >>> accuracy([1], [[0.5, 0.3, 0.2]])
        1.0
    """

    sparse = True
    arguments = from_signature()

    def __init__(
        self,
        k: int = 5,
        name: str | None = "sparse_top_k_categorical_accuracy",
        dtype: Any = None,
        from_sorted_ids: bool = False,
    ) -> None:
        super().__init__(k, name, dtype)
        where = type(self).__name__
        self.from_sorted_ids = check_flag(where, "from_sorted_ids", from_sorted_ids)

    @property
    def kind(self) -> str:  # type: ignore[override]
        """The kind for sorted class numbers, or for one value per class."""
        if self.from_sorted_ids:
            return "among_first"
        return "sparse_top_k_categorical_accuracy"


class Accuracy(RowMetric):
    """Fraction of outputs that are equal to their target.

    compile(metrics=["accuracy"]) means a different metric, which depends on the model:
    see `FittingAccuracy`.

    Args:
        name, dtype: see `Metric`.

    Raises:
        ValueError: when called, mismatched shapes.

    Example:
        >>> kurve.metrics.Accuracy()([[1.0], [2.0]], [[1.0], [4.0]])
        0.5
    """

    kind = "accuracy"
    direction = "up"
    by_element = True

    def __init__(self, name: str | None = "accuracy", dtype: Any = None) -> None:
        super().__init__(name, dtype)


class FittingAccuracy(RowMetric):
    """The string "accuracy" or "acc" in `compile`: the accuracy that matches the loss
    and outputs of a model: sparse for class numbers, binary for one output, else
    categorical."""

    kind = "accuracy"
    direction = "up"

    def check_loss(self, where: str, loss: losses.Loss) -> None:
        """Every loss with one output per target has a matching accuracy."""
        if loss.outputs_per_target != 1:
            super().check_loss(where, loss)

    def resolve(self, loss: losses.Loss | None, output_shape: Shape) -> RowMetric:
        if loss is not None and loss.sparse:
            return SparseCategoricalAccuracy(self.name)
        if output_shape[-1] == 1:
            return BinaryAccuracy(self.name)
        return CategoricalAccuracy(self.name)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        raise NotImplementedError(
            "[FittingAccuracy] the accuracy depends on the model. Received: a call "
            "without one. Try BinaryAccuracy, CategoricalAccuracy or "
            "SparseCategoricalAccuracy."
        )
