"""The area under a curve of thresholds."""

from __future__ import annotations

from typing import Any

import numpy as np

from kurve.config import EPSILON
from kurve.core.arguments import (
    check_flag,
    check_integer,
    is_count,
)
from kurve.core.arrays import as_numbers
from kurve.errors import lookup
from kurve.metrics.counts import (
    Counts,
    ThresholdMetric,
    checked_thresholds,
    even_levels,
    numbered,
    ratio,
)
from kurve.plan import Attr, Shape

_CURVES = {"ROC": "ROC", "roc": "ROC", "PR": "PR", "pr": "PR"} | {
    "PRGAIN": "PRGAIN",
    "prgain": "PRGAIN",
}
_SUMS = {
    spelling: name
    for name in ("interpolation", "minoring", "majoring")
    for spelling in (name, name.capitalize())
}


class AUC(ThresholdMetric):
    """The area under the ROC or the precision-recall curve, from counts at
    thresholds, which set the number of trapezoids or rectangles.

    Source: Davis & Goadrich 2006 for the interpolation of PR, between whose points tp
    and fp, not the precision, vary linearly; Flach & Kull 2015 for PRGAIN.

    Args:
        num_thresholds: number of thresholds, evenly from 0 to 1, at least 2.
        curve: "ROC" (recall over false positive rate), "PR" (precision over recall) or
            "PRGAIN" (the gains of both).
        summation_method: "interpolation", "minoring" (rectangles below the curve) or
            "majoring" (above it).
        name, dtype: see `Metric`.
        thresholds: thresholds between 0 and 1, instead of num_thresholds.
        multi_label: whether to average the areas of all outputs, instead of pooling
            them.
        num_labels: number of outputs, with multi_label; inferred if None.
        label_weights: weight of each output.
        from_logits: whether outputs are logits rather than probabilities.

    Raises:
        ValueError: an unknown curve or summation_method, thresholds outside [0, 1],
            num_labels without multi_label; when called, mismatched shapes.

    Example:
        >>> auc = kurve.metrics.AUC(num_thresholds=3)
        >>> auc([0, 0, 1, 1], [0, 0.5, 0.3, 0.9])
        0.75
    """

    direction = "up"
    with_ends = True
    arguments = (
        "num_thresholds",
        "curve",
        "summation_method",
        "multi_label",
        "num_labels",
        "label_weights",
        "from_logits",
    )

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        dtype: Any = None,
        thresholds: Any = None,
        multi_label: bool = False,
        num_labels: int | None = None,
        label_weights: Any = None,
        from_logits: bool = False,
    ) -> None:
        self.curve = lookup("AUC", "curve", getattr(curve, "value", curve), _CURVES)
        method = getattr(summation_method, "value", summation_method)
        self.summation_method = lookup("AUC", "summation_method", method, _SUMS)
        self.given_thresholds = None
        if thresholds is not None:
            inner = sorted(checked_thresholds("AUC", thresholds, 0.5))
            self.given_thresholds = inner
            levels = [0.0, *inner, 1.0]
        else:
            check_integer("AUC", "num_thresholds", num_thresholds, 200, 2)
            levels = even_levels(int(num_thresholds))
        levels[0], levels[-1] = -EPSILON, 1.0 + EPSILON
        super().__init__(levels, name, dtype)
        self.num_thresholds = len(levels)
        self.multi_label = check_flag("AUC", "multi_label", multi_label)
        self.from_logits = check_flag("AUC", "from_logits", from_logits)
        if num_labels is not None and not (self.multi_label and is_count(num_labels)):
            raise ValueError(
                "[AUC] num_labels must be the number of outputs, and only with "
                f"multi_label=True. Received: num_labels={num_labels!r}, multi_label="
                f"{self.multi_label}. Try num_labels=None."
            )
        self.num_labels = num_labels
        self.label_weights = _checked_weights(label_weights)

    @property
    def thresholds(self) -> list[float]:
        """The thresholds that outputs are compared with."""
        return list(self.levels)

    def attrs(self) -> dict[str, Attr]:
        found = super().attrs()
        if self.multi_label:
            found["multi_label"] = True
        if self.from_logits:
            found["from_logits"] = True
        if self.label_weights is not None and not self.multi_label:
            found |= {"label_weights": len(self.label_weights)}
            found |= numbered("label_weight", list(self.label_weights))
        return found

    def size(self, output_shape: Shape) -> int:
        labels = output_shape[-1] if self.multi_label else 1
        return labels * super().size(output_shape)

    def check_output(self, where: str, output_shape: Shape) -> None:
        super().check_output(where, output_shape)
        outputs = output_shape[-1] if output_shape else 1
        if self.multi_label and len(output_shape) != 1:
            raise ValueError(
                f"[{where}] outputs must have shape (n, labels) with multi_label=True. "
                f"Received: shape (n, {', '.join(map(str, output_shape))}). "
                "Try multi_label=False."
            )
        if self.num_labels not in (None, outputs):
            raise ValueError(
                f"[{where}] num_labels must be the number of outputs, {outputs}. "
                f"Received: num_labels={self.num_labels}. Try num_labels=None."
            )
        weights = self.label_weights
        if weights is not None and len(weights) != outputs:
            raise ValueError(
                f"[{where}] label_weights must have one entry per output, {outputs} "
                f"in total. Received: {len(weights)}. Try label_weights=None."
            )

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        if self.given_thresholds is not None:
            config["thresholds"] = list(self.given_thresholds)
        return config

    def value(self, totals: np.ndarray) -> float:
        labels = len(totals) // (2 * (self.num_thresholds + 1))
        counts = self.counts(totals, labels)
        if (self.curve, self.summation_method) == ("PR", "interpolation"):
            terms = _interpolated(counts)
        else:
            x, y = _points(self.curve, counts)
            left, right = y[..., :-1], y[..., 1:]
            heights = {
                "interpolation": (left + right) / 2.0,
                "minoring": np.minimum(left, right),
                "majoring": np.maximum(left, right),
            }[self.summation_method]
            terms = (x[..., :-1] - x[..., 1:]) * heights
        areas = terms.sum(axis=-1)
        if not self.multi_label or self.label_weights is None:
            return float(areas.mean())
        return float(
            ratio(np.sum(areas * self.label_weights), self.label_weights.sum())
        )


def _points(curve: str, counts: Counts) -> tuple[np.ndarray, np.ndarray]:
    """x and y of the curve at each threshold."""
    if curve == "ROC":
        return ratio(counts.fp, counts.fp + counts.tn), counts.recall
    if curve == "PR":
        return counts.recall, counts.precision
    # Gains: 1 - P/N fn/tp and 1 - P/N fp/tp. Without true positives they are 0 and 1,
    # and a recall below the fraction of positives gains nothing.
    scale = ratio(counts.tp + counts.fn, counts.tn + counts.fp)
    some = counts.tp != 0.0
    recall = np.where(some, 1.0 - scale * ratio(counts.fn, counts.tp), 0.0)
    precision = np.where(some, 1.0 - scale * ratio(counts.fp, counts.tp), 1.0)
    return np.maximum(recall, 0.0), precision


def _interpolated(counts: Counts) -> np.ndarray:
    """The area under precision over recall between adjacent thresholds, where tp and n
    = tp + fp vary linearly: with slope = dtp / dn and intercept = tp - slope n, slope
    (dtp + intercept log(n_a / n_b)) / (tp + fn)."""
    tp, n = counts.tp, counts.tp + counts.fp
    dtp = tp[..., :-1] - tp[..., 1:]
    slope = ratio(dtp, np.maximum(n[..., :-1] - n[..., 1:], 0.0))
    intercept = tp[..., 1:] - slope * n[..., 1:]
    both = (n[..., :-1] > 0.0) & (n[..., 1:] > 0.0)
    growth = np.where(both, ratio(n[..., :-1], n[..., 1:]), 1.0)
    positives = (counts.tp + counts.fn)[..., 1:]
    return ratio(slope * (dtp + intercept * np.log(growth)), positives)


def _checked_weights(label_weights: Any) -> np.ndarray | None:
    if label_weights is None:
        return None
    weights = as_numbers("AUC", "label_weights", label_weights, np.float64)
    finite = weights.ndim == 1 and len(weights) and np.isfinite(weights).all()
    if finite and (weights >= 0.0).all():
        return weights
    raise ValueError(
        "[AUC] label_weights must be one non-negative number per output. "
        f"Received: label_weights={label_weights!r}. Try label_weights=None."
    )
