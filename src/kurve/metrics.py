"""Metrics by name. Names and formulas are Keras's; what a batch adds to a metric is in
`kurve.engines.reference.metrics`."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from kurve import losses, registry
from kurve.entries import Entrance, entry
from kurve.errors import absent as _absent
from kurve.errors import lookup, unknown_name
from kurve.overrides import refuse_overrides
from kurve.plan import Attr, MetricSpec, Shape


class Metric(Entrance):
    """Base class: a weighted mean over rows, unless a subclass says otherwise.

    Models count their metrics inside the engine. By hand:

        metric.update_state(y_true, y_pred)
        metric.result()
        metric.reset_state()
    """

    kind = ""
    sparse = False
    heads = 1
    """Outputs for each target."""
    ignored = ("update_state", "result", "reset_state")
    instead = "metrics=['mae'], or to count by hand: metric(y, model.predict(x))"
    direction = "down"

    def __init__(self, name: str | None = None) -> None:
        self.name = name or self.kind or type(self).__name__
        self._totals: np.ndarray | None = None

    def attrs(self) -> dict[str, Attr]:
        """The numbers of the formula, for the plan."""
        return {}

    def size(self, output_shape: Shape) -> int:
        """Number of float64 accumulators."""
        return 2

    def check_loss(self, where: str, loss: losses.Loss) -> None:
        """Refuse a loss whose targets this metric cannot read.

        Raises:
            ValueError: one needs class numbers, the other a number for every output.
        """
        if self.sparse != loss.sparse:
            needs = "class numbers" if self.sparse else "a number for every output"
            raise ValueError(
                f"[{where}] the metric {self.name!r} needs {needs} as targets, unlike "
                f"the loss {loss.name!r}. Try metrics=['accuracy']."
            )
        if self.heads != loss.heads:
            raise ValueError(
                f"[{where}] the metric {self.name!r} needs {self.heads} outputs for "
                f"each target, and the loss {loss.name!r} {loss.heads}. "
                "Try compile without this metric."
            )

    def spec(self, output_shape: Shape, weighted: bool = False) -> MetricSpec:
        return MetricSpec(self.kind, self.attrs(), self.size(output_shape), weighted)

    def value(self, totals: np.ndarray) -> float:
        """The metric from its accumulators; NaN before any row was counted."""
        return float(totals[0] / totals[1]) if totals[1] else math.nan

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, **self.attrs()}

    @entry
    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch: y_true and y_pred (B, ..., O), class numbers (B, ...) for a
        sparse metric, sample_weight (B,)."""
        from kurve.engines.reference.metrics import accumulate

        p = np.atleast_1d(np.asarray(y_pred, np.float64))
        rows = p.reshape(-1, p.shape[-1] if p.ndim > 1 else 1)
        y = np.asarray(y_true, np.float64).reshape(len(rows), -1)
        if y.shape[1] != (1 if self.sparse else rows.shape[1] / self.heads):
            raise ValueError(
                f"[{type(self).__name__}] y_true must fit y_pred. Received: "
                f"y_true.shape={np.shape(y_true)}, y_pred.shape={p.shape}."
            )
        weights = np.ones(len(p))
        if sample_weight is not None:
            weights = np.asarray(sample_weight, np.float64).reshape(len(p))
        if self._totals is None:
            self._totals = np.zeros(self.size(rows.shape[1:]))
        weights = np.repeat(weights, len(rows) // len(p))
        accumulate(self.kind, self.attrs(), y, rows, weights, self._totals)

    def add_variable(self, *args: Any, **kwargs: Any) -> Any:
        """Not there: a metric has the accumulators of its formula and no others."""
        raise NotImplementedError(
            f"[{type(self).__name__}] own variables of metrics are not there yet. "
            f"Received: a call of add_variable or add_weight. Try {self.instead}."
        )

    add_weight = add_variable

    def result(self) -> float:
        """The metric of all that was counted since `reset_state`."""
        return math.nan if self._totals is None else self.value(self._totals)

    def reset_state(self) -> None:
        self._totals = None

    @entry
    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
        self.update_state(y_true, y_pred, sample_weight)
        return self.result()


class LossMetric(Metric):
    """A loss as a metric: its weighted mean over the rows."""

    def __init__(self, loss: losses.Loss, name: str | None = None) -> None:
        refuse_overrides("metrics", loss)
        self.kind, self.sparse, self._loss = loss.kind, loss.sparse, loss
        self.heads = loss.heads
        super().__init__(name or loss.name)

    def attrs(self) -> dict[str, Attr]:
        return self._loss.attrs()


class MeanSquaredError(LossMetric):
    """mean (y - p)^2."""

    def __init__(self, name: str = "mean_squared_error") -> None:
        super().__init__(losses.MeanSquaredError(), name)


class MeanAbsoluteError(LossMetric):
    """mean |y - p|."""

    def __init__(self, name: str = "mean_absolute_error") -> None:
        super().__init__(losses.MeanAbsoluteError(), name)


class RootMeanSquaredError(Metric):
    """sqrt(mean (y - p)^2), the mean over all rows and outputs counted."""

    kind = "root_mean_squared_error"

    def value(self, totals: np.ndarray) -> float:
        return math.sqrt(super().value(totals))


class R2Score(Metric):
    """1 - sum (y - p)^2 / sum (y - mean y)^2, averaged over the outputs.

    1 is perfect, 0 is no better than the mean of y. An output whose y never changes
    counts as 0.
    """

    kind = "r2_score"
    direction = "up"

    def size(self, output_shape: Shape) -> int:
        return 1 + 3 * output_shape[-1]

    def value(self, totals: np.ndarray) -> float:
        weight = totals[0]
        if not weight:
            return math.nan
        y, y2, residual = totals[1:].reshape(3, -1)
        spread = y2 - y * y / weight
        flat = spread <= 0.0
        scores = 1.0 - residual / np.where(flat, 1.0, spread)
        return float(np.mean(np.where(flat, 0.0, scores)))


class BinaryAccuracy(Metric):
    """Share of outputs on the right side of the threshold."""

    kind = "binary_accuracy"
    direction = "up"

    def __init__(self, name: str | None = None, threshold: float = 0.5) -> None:
        super().__init__(name)
        self.threshold = float(threshold)

    def attrs(self) -> dict[str, Attr]:
        return {"threshold": self.threshold}


class CategoricalAccuracy(Metric):
    """Share of rows whose largest output is that of the one-hot class."""

    kind = "categorical_accuracy"
    direction = "up"


class SparseCategoricalAccuracy(Metric):
    """Share of rows whose largest output is that of the class number."""

    kind = "sparse_categorical_accuracy"
    sparse = True
    direction = "up"


class TopKCategoricalAccuracy(Metric):
    """Share of rows whose one-hot class is among the k largest outputs: fewer than k
    are larger than that of the class."""

    kind = "top_k_categorical_accuracy"
    direction = "up"

    def __init__(self, k: int = 5, name: str | None = None) -> None:
        if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
            raise ValueError(
                f"[{type(self).__name__}] k must be an integer of at least 1. "
                f"Received: k={k!r}. Try k=5."
            )
        super().__init__(name)
        self.k = int(k)

    def attrs(self) -> dict[str, Attr]:
        return {"k": self.k}


class SparseTopKCategoricalAccuracy(TopKCategoricalAccuracy):
    """`TopKCategoricalAccuracy` for class numbers."""

    kind = "sparse_top_k_categorical_accuracy"
    sparse = True


class Accuracy(Metric):
    """Stands for the accuracy that fits the loss and the outputs of a model: sparse for
    class numbers, binary for one output, else categorical."""

    kind = "accuracy"
    direction = "up"

    def check_loss(self, where: str, loss: losses.Loss) -> None:
        """Every loss with one output for each target has an accuracy that fits."""
        if loss.heads != 1:
            super().check_loss(where, loss)

    def resolve(self, loss: losses.Loss, output_shape: Shape) -> Metric:
        if loss.sparse:
            return SparseCategoricalAccuracy(self.name)
        if output_shape[-1] == 1:
            return BinaryAccuracy(self.name)
        return CategoricalAccuracy(self.name)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        raise NotImplementedError(
            "[Accuracy] which accuracy is meant depends on the model. Try "
            "BinaryAccuracy, CategoricalAccuracy or SparseCategoricalAccuracy."
        )


CLASSES: dict[str, type[Metric]] = {
    cls.__name__: cls
    for cls in [
        MeanSquaredError,
        MeanAbsoluteError,
        RootMeanSquaredError,
        R2Score,
        Accuracy,
        BinaryAccuracy,
        CategoricalAccuracy,
        SparseCategoricalAccuracy,
        TopKCategoricalAccuracy,
        SparseTopKCategoricalAccuracy,
    ]
}

_TABLE: dict[str, type[Metric]] = CLASSES | {
    "rmse": RootMeanSquaredError,
    "root_mean_squared_error": RootMeanSquaredError,
    "r2": R2Score,
    "r2_score": R2Score,
    "accuracy": Accuracy,
    "acc": Accuracy,
    "binary_accuracy": BinaryAccuracy,
    "categorical_accuracy": CategoricalAccuracy,
    "sparse_categorical_accuracy": SparseCategoricalAccuracy,
    "top_k_categorical_accuracy": TopKCategoricalAccuracy,
    "sparse_top_k_categorical_accuracy": SparseTopKCategoricalAccuracy,
}


def get(identifier: Any) -> Metric:
    """The metric of that name; losses are metrics too. A string stays the name under
    which the metric is logged. Each call gives an object of its own."""
    if isinstance(identifier, Metric):
        return copy.copy(identifier)
    if isinstance(identifier, losses.Loss):
        return LossMetric(identifier)
    name = getattr(identifier, "kind", identifier)
    if not isinstance(name, str):
        raise TypeError(
            "[metrics] a metric must be a name or an object of kurve.metrics. "
            f"Received: {identifier!r}. Try metrics=['mae']."
        )
    if name in _TABLE:
        return _TABLE[name](name=name)
    if name in losses.NAMES:
        return LossMetric(losses.get(name), name)
    raise unknown_name("metrics", "metric", name, [*_TABLE, *losses.NAMES])


def serialize(metric: Metric) -> dict[str, Any]:
    """Class and configuration of a metric."""
    if type(metric) is LossMetric:
        config = {"name": metric.name, "loss": losses.serialize(metric._loss)}
        return {"class_name": "LossMetric", "config": config}
    return registry.entry(metric, CLASSES)


def deserialize(config: Mapping[str, Any]) -> Metric:
    """The metric that `serialize` has described."""
    name, arguments = config["class_name"], config["config"]
    if name == "LossMetric":
        return LossMetric(losses.deserialize(arguments["loss"]), arguments["name"])
    cls = registry.find("metrics", "metric", name, CLASSES, Metric)
    made: Metric = cls(**arguments)
    return made


def confusion_matrix(
    y_true: Any,
    y_pred: Any,
    *,
    labels: Any = None,
    sample_weight: Any = None,
    normalize: str | None = None,
) -> np.ndarray:
    """How many rows of class i (row i) were taken for class j (column j).

        confusion_matrix(y_test, model.predict(x_test).argmax(axis=1))

    Names, arguments and defaults are those of sklearn.metrics.confusion_matrix.

    Args:
        y_true, y_pred: classes (n,): numbers or names.
        labels: the classes, in the order of rows and columns; None for all that occur,
            sorted. Rows of other classes do not count.
        sample_weight: (n,), what each row counts; 1 if None.
        normalize: "true" (shares of each row's class), "pred" (of each answer), "all",
            or None for numbers.

    Returns:
        (k, k) int64; float64 with sample_weight or normalize.

    Raises:
        ValueError: different lengths, no labels, none that occurs, unknown normalize.
    """
    truth, answer = np.asarray(y_true), np.asarray(y_pred)
    if truth.ndim == 2 and truth.shape[1] == 1:
        truth = truth[:, 0]
    if truth.ndim != 1 or answer.shape != truth.shape:
        raise ValueError(
            "[confusion_matrix] y_true and y_pred must hold one class for each row. "
            f"Received: shapes {truth.shape} and {answer.shape}. "
            "Try y_pred.argmax(axis=1) for probabilities."
        )
    known = np.unique(np.concatenate([truth, answer]))
    if labels is not None:
        known = np.asarray(labels)
    if known.ndim != 1 or not known.size or len(set(known.tolist())) < known.size:
        raise ValueError(
            "[confusion_matrix] labels must be different classes, at least one. "
            f"Received: labels={labels!r} for {len(truth)} rows. Try labels=None."
        )
    number = {label: i for i, label in enumerate(known.tolist())}
    rows = np.array([number.get(c, -1) for c in truth.tolist()])
    columns = np.array([number.get(c, -1) for c in answer.tolist()])
    counted = (rows >= 0) & (columns >= 0)
    if not (rows >= 0).any():
        raise ValueError(
            "[confusion_matrix] at least one of the labels must be in y_true. "
            f"Received: labels={labels!r}. Try labels=None."
        )
    weights = None
    if sample_weight is not None:
        weights = np.asarray(sample_weight, np.float64).reshape(len(truth))[counted]
    size = len(known)
    places = rows[counted] * size + columns[counted]
    matrix = np.bincount(places, weights, size * size).reshape(size, size)
    if normalize is None:
        return matrix
    sums = {"true": matrix.sum(axis=1, keepdims=True), "pred": matrix.sum(axis=0),
            "all": matrix.sum()}  # fmt: skip
    total = lookup("confusion_matrix", "normalize", normalize, sums)
    return np.divide(matrix, total, out=np.zeros((size, size)), where=total != 0)


__getattr__ = _absent(__name__)
