"""How well the probability of one class separates it from the other: the ROC curve,
precision and recall, and the effect of thresholds other than a half."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Decisions:
    """For each threshold, in decreasing order, the result of calling rows at or above
    it positive.

    threshold: (k,) the distinct probabilities
    false:     (k,) the false positive rate
    recall:    (k,) the true positive rate
    precision: (k,) fraction of the rows called positive that are positive
    share:     fraction of positive rows
    """

    threshold: np.ndarray
    false: np.ndarray
    recall: np.ndarray
    precision: np.ndarray
    share: float

    @classmethod
    def of(cls, positive: np.ndarray, probability: np.ndarray) -> Decisions:
        """From which rows are positive, bool (n,) with both kinds, and their
        probabilities (n,)."""
        order = np.argsort(-probability, kind="stable")
        p, hits = probability[order], positive[order]
        last = np.append(np.flatnonzero(np.diff(p)), len(p) - 1)
        right, called = np.cumsum(hits)[last], last + 1.0
        total = hits.sum()
        return cls(
            p[last],
            (called - right) / (len(p) - total),
            right / total,
            right / called,
            float(total / len(p)),
        )

    @property
    def f1(self) -> np.ndarray:
        """(k,) harmonic mean of precision and recall."""
        both = self.precision + self.recall
        return 2.0 * self.precision * self.recall / np.where(both > 0, both, 1.0)

    @property
    def balanced(self) -> np.ndarray:
        """(k,) balanced accuracy."""
        return (self.recall + 1.0 - self.false) / 2.0

    @property
    def average_precision(self) -> float:
        """The area under precision over recall, in steps."""
        return float((np.diff(self.recall, prepend=0.0) * self.precision).sum())

    def rows(self) -> list[tuple[str, list[float]]]:
        """A selection of thresholds: threshold, recall, precision, F1 and balanced
        accuracy."""
        found = []
        above = np.flatnonzero(self.threshold >= 0.5)
        if len(above):
            found.append(("as predicted", 0.5, int(above[-1])))
        for name, score in (
            ("largest F1", self.f1),
            ("largest balanced accuracy", self.balanced),
        ):
            at = int(np.argmax(score))
            found.append((name, float(self.threshold[at]), at))
        return [
            (
                name,
                [
                    threshold,
                    float(self.recall[at]),
                    float(self.precision[at]),
                    float(self.f1[at]),
                    float(self.balanced[at]),
                ],
            )
            for name, threshold, at in found
        ]
