"""Metrics of positives and negatives on either side of thresholds.

The accumulators are histograms: the weights of nonzero targets, and of all others,
between adjacent thresholds. Everything else follows from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kurve.core.arguments import (
    check_integer,
    is_number,
)
from kurve.metrics.rows import RowMetric
from kurve.plan import Attr, Shape

UNCHOSEN = -1e10
"""The value of outputs outside the top_k, as in Keras."""


@dataclass(frozen=True)
class Counts:
    """Weights of true and false positives and negatives, (..., T) for T
    thresholds."""

    tp: np.ndarray
    fp: np.ndarray
    tn: np.ndarray
    fn: np.ndarray

    @property
    def precision(self) -> np.ndarray:
        """tp / (tp + fp)."""
        return ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> np.ndarray:
        """tp / (tp + fn), the sensitivity."""
        return ratio(self.tp, self.tp + self.fn)

    @property
    def specificity(self) -> np.ndarray:
        """tn / (tn + fp)."""
        return ratio(self.tn, self.tn + self.fp)


def ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b, with 0 where b is 0."""
    return np.divide(a, b, out=np.zeros(np.broadcast(a, b).shape), where=b != 0)


class ThresholdMetric(RowMetric):
    """A metric of the counts at each of T thresholds: outputs above a threshold are
    positive.

    `levels` are the thresholds, in any order. Evenly spaced ones from 0 to 1 are not
    compared one by one but computed by a multiplication, as in Keras.

    with_ends: whether the first and last thresholds are just outside [0, 1].
    """

    kind = "confusion"
    by_element = True
    with_ends = False

    def __init__(
        self,
        levels: Sequence[float],
        name: str | None,
        dtype: Any,
        class_id: Any = None,
        top_k: Any = None,
    ) -> None:
        super().__init__(name, dtype)
        where = type(self).__name__
        self.levels = [float(level) for level in levels]
        self.class_id = _checked_or_none(where, "class_id", class_id, 0)
        self.top_k = _checked_or_none(where, "top_k", top_k, 1)

    @property
    def whole_vectors(self) -> bool:  # type: ignore[override]
        """With top_k, (n,) outputs form one row."""
        return self.top_k is not None

    def attrs(self) -> dict[str, Attr]:
        found: dict[str, Attr] = {"thresholds": len(self.levels)}
        if is_even(self.levels):
            found |= {"even": True, "with_ends": self.with_ends}
        else:
            found |= numbered("threshold", sorted(self.levels))
        if self.class_id is not None:
            found["class_id"] = self.class_id
        if self.top_k is not None:
            found["top_k"] = self.top_k
        return found

    def size(self, output_shape: Shape) -> int:
        return 2 * (len(self.levels) + 1)

    def check_output(self, where: str, output_shape: Shape) -> None:
        outputs = output_shape[-1] if output_shape else 1
        if self.class_id is not None and self.class_id >= outputs:
            raise ValueError(
                f"[{where}] class_id must be below the number of outputs, {outputs}. "
                f"Received: class_id={self.class_id}. Try class_id={outputs - 1}."
            )
        if self.top_k is not None and self.top_k > outputs:
            raise ValueError(
                f"[{where}] top_k must be at most the number of outputs, {outputs}. "
                f"Received: top_k={self.top_k}. Try top_k={outputs}."
            )

    def counts(self, totals: np.ndarray | None = None, labels: int = 1) -> Counts:
        """The counts at each threshold, (T,) or (labels, T)."""
        if totals is None:
            totals = self._totals
        if totals is None:
            totals = np.zeros(self.size((labels,)))
        sums = totals.reshape(2, -1, len(self.levels) + 1)
        above = sums[..., :0:-1].cumsum(axis=-1)[..., ::-1]
        below = sums[..., :-1].cumsum(axis=-1)
        order = np.argsort(np.argsort(self.levels, kind="stable"), kind="stable")
        (fp, tp), (tn, fn) = above[..., order], below[..., order]
        if labels == 1:
            tp, fp, tn, fn = (count[0] for count in (tp, fp, tn, fn))
        return Counts(tp, fp, tn, fn)

    @property
    def true_positives(self) -> np.ndarray:
        """Weight of the positives above each threshold."""
        return self.counts().tp

    @property
    def false_positives(self) -> np.ndarray:
        """Weight of the negatives above each threshold."""
        return self.counts().fp

    @property
    def true_negatives(self) -> np.ndarray:
        """Weight of the negatives not above each threshold."""
        return self.counts().tn

    @property
    def false_negatives(self) -> np.ndarray:
        """Weight of the positives not above each threshold."""
        return self.counts().fn


def even_levels(count: int) -> list[float]:
    """`count` thresholds from 0 to 1; a single one is 0.5."""
    return [0.5] if count == 1 else [i / (count - 1) for i in range(count)]


def is_even(levels: Sequence[float]) -> bool:
    """Whether thresholds are evenly spaced from 0 to 1, up to about 1e-7."""
    if len(levels) < 2:
        return False
    spaced = np.arange(len(levels)) / (len(levels) - 1)
    return bool(np.allclose(levels, spaced, atol=1.5e-7))


def numbered(name: str, values: Sequence[float]) -> dict[str, Attr]:
    """Several numbers as attributes of a plan: name_0, name_1, ..."""
    return {f"{name}_{i}": float(value) for i, value in enumerate(values)}


def checked_thresholds(where: str, thresholds: Any, default: float) -> list[float]:
    """A list of thresholds, from a list or a number; `default` for None.

    Raises:
        ValueError: a threshold outside [0, 1], or no thresholds.
    """
    if thresholds is None:
        return [default]
    given = [thresholds] if np.ndim(thresholds) == 0 else list(thresholds)
    wrong = [t for t in given if not is_number(t) or not 0 <= t <= 1]
    if wrong or not given:
        raise ValueError(
            f"[{where}] thresholds must be numbers in [0, 1], at least one. "
            f"Received: thresholds={thresholds!r}. Try thresholds=0.5."
        )
    return [float(t) for t in given]


def _checked_or_none(where: str, name: str, value: Any, low: int) -> int | None:
    check_integer(where, name, value, low, low, optional=True)
    return None if value is None else int(value)
