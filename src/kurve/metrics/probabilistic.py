"""Metrics of probabilities and margins, most of which are also losses."""

from __future__ import annotations

from typing import Any

import numpy as np

from kurve import losses
from kurve.core.arguments import from_signature, is_integer
from kurve.metrics.regression import checked_axis
from kurve.metrics.rows import LossMetric, RowMetric
from kurve.plan import Attr


class BinaryCrossentropy(LossMetric):
    """mean of -y log p - (1 - y) log(1 - p).

    Args:
        name, dtype: see `Metric`.
        from_logits: whether p holds logits rather than probabilities.
        label_smoothing: in [0, 1]; how far to move targets towards 1/2.

    Raises:
        ValueError: label_smoothing out of range; when called, mismatched shapes.

    Example:
        >>> round(kurve.metrics.BinaryCrossentropy()([[1.0]], [[0.5]]), 4)
        0.6931
    """

    arguments = from_signature()

    def __init__(
        self,
        name: str | None = "binary_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
    ) -> None:
        loss = losses.BinaryCrossentropy(from_logits, label_smoothing)
        super().__init__(loss, name, dtype)
        self.from_logits, self.label_smoothing = loss.from_logits, label_smoothing


class CategoricalCrossentropy(LossMetric):
    """-sum_i y_i log p_i; y one-hot or probabilities of the classes.

    Args:
        name, dtype: see `Metric`.
        from_logits: whether p holds logits rather than probabilities.
        label_smoothing: in [0, 1]; how far to move targets towards equal probabilities.
        axis: the class axis; in models, the last axis.

    Raises:
        ValueError: label_smoothing out of range; when called, mismatched shapes.

    Example:
        >>> metric = kurve.metrics.CategoricalCrossentropy()
        >>> round(metric([[0.0, 1.0]], [[0.5, 0.5]]), 4)
        0.6931
    """

    whole_vectors = True
    arguments = from_signature()

    def __init__(
        self,
        name: str | None = "categorical_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
        axis: int = -1,
    ) -> None:
        loss = losses.CategoricalCrossentropy(from_logits, label_smoothing)
        super().__init__(loss, name, dtype)
        self.from_logits, self.label_smoothing = loss.from_logits, label_smoothing
        self.axis = checked_axis(type(self).__name__, axis)


class SparseCategoricalCrossentropy(LossMetric):
    """-log p_y with the class number y, 0 to O - 1.

    Args:
        name, dtype: see `Metric`.
        from_logits: whether p holds logits rather than probabilities.
        ignore_class: rows of this class have the value 0; with weights, they do not
            count, as in Keras.
        axis: the class axis; in models, the last axis.

    Raises:
        ValueError: ignore_class is not an integer; when called, mismatched shapes,
            or targets that are not class numbers below O.

    Example:
        >>> metric = kurve.metrics.SparseCategoricalCrossentropy()
        >>> round(metric([1], [[0.5, 0.5]]), 4)
        0.6931
    """

    arguments = from_signature()

    def __init__(
        self,
        name: str | None = "sparse_categorical_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
    ) -> None:
        loss = losses.SparseCategoricalCrossentropy(from_logits)
        super().__init__(loss, name, dtype)
        where = type(self).__name__
        self.from_logits = loss.from_logits
        self.ignore_class = checked_ignored(where, ignore_class)
        self.axis = checked_axis(where, axis)

    def attrs(self) -> dict[str, Attr]:
        return {**super().attrs(), **ignoring(self.ignore_class)}

    def paired(self, y_true: Any, y_pred: Any) -> tuple[np.ndarray, np.ndarray]:
        y, p = super().paired(y_true, y_pred)
        counted = y if self.ignore_class is None else y[y != self.ignore_class]
        self._loss.check_targets(type(self).__name__, counted, p.shape)
        return y, p


class KLDivergence(RowMetric):
    """sum_i y_i log(y_i / p_i); y and p are clipped to [1e-7, 1].

    Source: Kullback & Leibler 1951.

    Args:
        name, dtype: see `Metric`.

    Raises:
        ValueError: when called, mismatched shapes.

    Example:
        >>> round(kurve.metrics.KLDivergence()([[0.0, 1.0]], [[0.5, 0.5]]), 4)
        0.6931
    """

    kind = "kl_divergence"
    whole_vectors = True

    def __init__(self, name: str | None = "kl_divergence", dtype: Any = None) -> None:
        super().__init__(name, dtype)


class Poisson(RowMetric):
    """mean of p - y log(p + 1e-7).

    Args:
        name, dtype: see `Metric`.

    Raises:
        ValueError: when called, mismatched shapes.

    Example:
        >>> round(kurve.metrics.Poisson()([[0.0], [1.0]], [[1.0], [1.0]]), 4)
        1.0
    """

    kind = "poisson"

    def __init__(self, name: str | None = "poisson", dtype: Any = None) -> None:
        super().__init__(name, dtype)


class Hinge(RowMetric):
    """mean of max(1 - y p, 0), y -1 or 1; in a batch with only 0 and 1, 0 means -1.

    Args:
        name, dtype: see `Metric`.

    Raises:
        ValueError: when called, mismatched shapes.

    Example:
        >>> round(kurve.metrics.Hinge()([[0.0], [1.0]], [[0.5], [0.5]]), 4)
        1.0
    """

    kind = "hinge"

    def __init__(self, name: str | None = "hinge", dtype: Any = None) -> None:
        super().__init__(name, dtype)


class SquaredHinge(RowMetric):
    """mean of max(1 - y p, 0)^2, y as for `Hinge`.

    Args:
        name, dtype: see `Metric`.

    Raises:
        ValueError: when called, mismatched shapes.

    Example:
        >>> round(kurve.metrics.SquaredHinge()([[0.0], [1.0]], [[0.5], [0.5]]), 4)
        1.25
    """

    kind = "squared_hinge"

    def __init__(self, name: str | None = "squared_hinge", dtype: Any = None) -> None:
        super().__init__(name, dtype)


class CategoricalHinge(RowMetric):
    """max(1 + max_i (1 - y_i) p_i - sum_i y_i p_i, 0), y one-hot.

    Args:
        name, dtype: see `Metric`.

    Raises:
        ValueError: when called, mismatched shapes.

    Example:
        >>> metric = kurve.metrics.CategoricalHinge()
        >>> round(metric([[0.0, 1.0]], [[0.5, 0.75]]), 4)
        0.75
    """

    kind = "categorical_hinge"
    whole_vectors = True

    def __init__(
        self, name: str | None = "categorical_hinge", dtype: Any = None
    ) -> None:
        super().__init__(name, dtype)


def checked_ignored(where: str, ignore_class: Any) -> int | None:
    """Validate the class to ignore.

    Raises:
        ValueError: not an integer.
    """
    if ignore_class is None:
        return None
    if is_integer(ignore_class) and abs(int(ignore_class)) < 2**24:  # exact in float32
        return int(ignore_class)
    raise ValueError(
        f"[{where}] ignore_class must be a class number below 2^24, or None. "
        f"Received: ignore_class={ignore_class!r}. Try ignore_class=-1."
    )


def ignoring(ignore_class: int | None) -> dict[str, Attr]:
    """The plan attribute of a metric that ignores the rows of a class."""
    return {} if ignore_class is None else {"ignore_class": ignore_class}
