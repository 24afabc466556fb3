"""Metrics by name. Names and formulas are Keras's; how a batch updates a metric is in
`kurve.engines.reference.metrics`."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from kurve import losses
from kurve.core import registry
from kurve.core.arguments import check_name, check_unused, is_count, is_number
from kurve.core.arrays import as_array, as_numbers
from kurve.core.entries import Entrance, entry
from kurve.core.overrides import refuse_overrides
from kurve.errors import absent as _absent
from kurve.errors import lookup, unknown_name
from kurve.plan import Attr, MetricSpec, Shape


class Metric(losses.Rowwise, Entrance):
    """Base class: a weighted mean over rows, unless a subclass overrides `value`.

    Models update their metrics inside the engine. To compute one by hand:

        metric.update_state(y_true, y_pred)
        metric.result()
        metric.reset_state()
    """

    kind = ""
    ignored = ("update_state", "result", "reset_state")
    instead = "metrics=['mae'], or to count by hand: metric(y, model.predict(x))"
    direction = "down"

    def __init__(self, name: str | None = None, dtype: str | None = None) -> None:
        where = type(self).__name__
        check_unused(where, dtype=dtype)
        self.name = self.kind or where if name is None else check_name(where, name)
        self._totals: np.ndarray | None = None

    def attrs(self) -> dict[str, Attr]:
        """The constants of the formula, for the plan."""
        return {}

    def size(self, output_shape: Shape) -> int:
        """Number of float64 accumulators."""
        return 2

    def check_loss(self, where: str, loss: losses.Loss) -> None:
        """Refuse a loss whose targets this metric cannot use.

        Raises:
            ValueError: one needs class numbers, the other a number for each output.
        """
        if self.sparse != loss.sparse:
            needs = "class numbers" if self.sparse else "a number for every output"
            raise ValueError(
                f"[{where}] the metric {self.name!r} needs {needs} as targets, unlike "
                f"the loss {loss.name!r}. Try metrics=['accuracy']."
            )
        if self.outputs_per_target != loss.outputs_per_target:
            raise ValueError(
                f"[{where}] the metric {self.name!r} needs {self.outputs_per_target} "
                f"outputs for each target, and the loss {loss.name!r} "
                f"{loss.outputs_per_target}. Try compile without this metric."
            )

    def spec(self, output_shape: Shape, weighted: bool = False) -> MetricSpec:
        return MetricSpec(self.kind, self.attrs(), self.size(output_shape), weighted)

    def value(self, totals: np.ndarray) -> float:
        """The metric from its accumulators; NaN before any row was added."""
        return float(totals[0] / totals[1]) if totals[1] else math.nan

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, **self.attrs()}

    def resolve(self, loss: losses.Loss | None, output_shape: Shape) -> Metric:
        """The metric that a model with that loss and output computes."""
        return self

    @entry
    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch.

        Args:
            y_true: (B, ..., O), or class numbers (B, ...) for a sparse metric.
            y_pred: (B, ..., O); (B,) is one output for each sample.
            sample_weight: a number, (B,), or a weight for each row, (B, ...).

        Raises:
            ValueError: shapes that do not match each other or the previous batch.
        """
        from kurve.engines.reference.metrics import accumulate

        where = type(self).__name__
        p = np.atleast_1d(as_numbers(where, "y_pred", y_pred, np.float32))
        y, p = self.paired(y_true, p[:, None] if p.ndim == 1 else p)
        weights = losses.weights_for(where, sample_weight, p.shape[:-1])
        size = self.size(p.shape)
        if self._totals is not None and len(self._totals) != size:
            raise ValueError(
                f"[{where}] all batches must have as many outputs. Received: "
                f"y_pred.shape={p.shape} after batches of other outputs. "
                "Try reset_state() first."
            )
        rows = p.reshape(-1, p.shape[-1])
        totals = np.zeros(size) if self._totals is None else self._totals
        with np.errstate(all="ignore"):
            accumulate(
                self.kind,
                self.attrs(),
                y.reshape(len(rows), -1),
                rows,
                weights.reshape(-1),
                totals,
            )
        self._totals = totals

    def add_variable(self, *args: Any, **kwargs: Any) -> Any:
        """Not supported: a metric has only the accumulators of its formula."""
        raise NotImplementedError(
            f"[{type(self).__name__}] variables of metrics are not supported. "
            f"Received: a call of add_variable or add_weight. Try {self.instead}."
        )

    add_weight = add_variable

    def result(self) -> float:
        """The metric over all batches since `reset_state`."""
        return math.nan if self._totals is None else self.value(self._totals)

    def reset_state(self) -> None:
        """Forget all batches."""
        self._totals = None

    @entry
    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
        self.update_state(y_true, y_pred, sample_weight)
        return self.result()


class LossMetric(Metric):
    """A loss as a metric: its weighted mean over the rows."""

    def __init__(
        self, loss: losses.Loss, name: str | None = None, dtype: str | None = None
    ) -> None:
        refuse_overrides("metrics", loss)
        self.kind, self.sparse, self._loss = loss.kind, loss.sparse, loss
        self.outputs_per_target = loss.outputs_per_target
        super().__init__(loss.name if name is None else name, dtype)

    def attrs(self) -> dict[str, Attr]:
        return self._loss.attrs()


class MeanSquaredError(LossMetric):
    """mean (y - p)^2.

    Args:
        name: the kind of the metric if None.
        dtype: None or "float32".

    Raises:
        ValueError: another dtype; when called, shapes that do not fit.

    Example:
        >>> kurve.metrics.MeanSquaredError()([[1.0], [2.0]], [[1.0], [4.0]])
        2.0
    """

    def __init__(
        self, name: str | None = "mean_squared_error", dtype: str | None = None
    ) -> None:
        super().__init__(losses.MeanSquaredError(), name, dtype)


class MeanAbsoluteError(LossMetric):
    """mean |y - p|.

    Args:
        name: the kind of the metric if None.
        dtype: None or "float32".

    Raises:
        ValueError: another dtype; when called, shapes that do not fit.

    Example:
        >>> kurve.metrics.MeanAbsoluteError()([[1.0], [2.0]], [[1.0], [4.0]])
        1.0
    """

    def __init__(
        self, name: str | None = "mean_absolute_error", dtype: str | None = None
    ) -> None:
        super().__init__(losses.MeanAbsoluteError(), name, dtype)


class RootMeanSquaredError(Metric):
    """sqrt(mean (y - p)^2), the mean over all rows and outputs.

    Args:
        name: the kind of the metric if None.
        dtype: None or "float32".

    Raises:
        ValueError: another dtype; when called, shapes that do not fit.

    Example:
        >>> metric = kurve.metrics.RootMeanSquaredError()
        >>> round(metric([[1.0], [2.0]], [[1.0], [4.0]]), 4)
        1.4142
    """

    kind = "root_mean_squared_error"

    def value(self, totals: np.ndarray) -> float:
        return math.sqrt(super().value(totals))


class R2Score(Metric):
    """1 - sum (y - p)^2 / sum (y - mean y)^2, averaged over the outputs.

    1 is perfect, 0 is no better than the mean of y. An output with constant y counts
    as 0.

    Args:
        class_aggregation: "uniform_average", the only value.
        num_regressors: 0, the only value.
        name: the kind of the metric if None.
        dtype: None or "float32".

    Raises:
        ValueError: another dtype; when called, shapes that do not fit.

    Example:
        >>> kurve.metrics.R2Score()([[1.0], [3.0]], [[1.0], [2.0]])
        0.5
    """

    kind = "r2_score"
    direction = "up"

    def __init__(
        self,
        class_aggregation: str = "uniform_average",
        num_regressors: int = 0,
        name: str | None = None,
        dtype: str | None = None,
    ) -> None:
        super().__init__(name, dtype)
        check_unused(
            "R2Score",
            class_aggregation=class_aggregation,
            num_regressors=num_regressors,
        )

    def size(self, output_shape: Shape) -> int:
        return 1 + 3 * output_shape[-1]

    def value(self, totals: np.ndarray) -> float:
        from kurve.scores import explained  # models without it start faster

        weight = totals[0]
        if not weight:
            return math.nan
        _, spread, residual = totals[1:].reshape(3, -1)
        each = explained(residual, spread, np.ones_like(spread))
        return float(np.mean(np.where(spread <= 0.0, 0.0, each)))


class BinaryAccuracy(Metric):
    """Fraction of outputs on the correct side of the threshold.

    Args:
        name: the kind of the metric if None.
        dtype: None or "float32".
        threshold: a finite number.

    Raises:
        ValueError: threshold is not finite; when called, shapes that do not fit.

    Example:
        >>> kurve.metrics.BinaryAccuracy()([[1.0], [0.0]], [[0.7], [0.6]])
        0.5
    """

    kind = "binary_accuracy"
    direction = "up"

    def __init__(
        self,
        name: str | None = None,
        dtype: str | None = None,
        threshold: float = 0.5,
    ) -> None:
        super().__init__(name, dtype)
        if not is_number(threshold):
            raise ValueError(
                "[BinaryAccuracy] threshold must be a finite number. "
                f"Received: threshold={threshold!r}. Try threshold=0.5."
            )
        self.threshold = float(threshold)

    def attrs(self) -> dict[str, Attr]:
        return {"threshold": self.threshold}


class CategoricalAccuracy(Metric):
    """Fraction of rows whose largest output is that of the one-hot class.

    Args:
        name: the kind of the metric if None.
        dtype: None or "float32".

    Raises:
        ValueError: another dtype; when called, shapes that do not fit.

    Example:
        >>> kurve.metrics.CategoricalAccuracy()([[0.0, 1.0]], [[0.3, 0.7]])
        1.0
    """

    kind = "categorical_accuracy"
    direction = "up"


class SparseCategoricalAccuracy(Metric):
    """Fraction of rows whose largest output is that of the class number.

    Args:
        name: the kind of the metric if None.
        dtype: None or "float32".

    Raises:
        ValueError: another dtype; when called, shapes that do not fit.

    Example:
        >>> kurve.metrics.SparseCategoricalAccuracy()([1], [[0.3, 0.7]])
        1.0
    """

    kind = "sparse_categorical_accuracy"
    sparse = True
    direction = "up"


class TopKCategoricalAccuracy(Metric):
    """Fraction of rows whose one-hot class is among the k largest outputs: fewer than k
    are larger than that of the class.

    Args:
        k: at least 1.
        name: the kind of the metric if None.
        dtype: None or "float32".

    Raises:
        ValueError: k below 1; when called, shapes that do not fit.

    Example:
        >>> accuracy = kurve.metrics.TopKCategoricalAccuracy(k=2)
        >>> accuracy([[0.0, 1.0, 0.0]], [[0.5, 0.3, 0.2]])
        1.0
    """

    kind = "top_k_categorical_accuracy"
    direction = "up"

    def __init__(
        self,
        k: int = 5,
        name: str | None = None,
        dtype: str | None = None,
    ) -> None:
        if not is_count(k):
            raise ValueError(
                f"[{type(self).__name__}] k must be an integer of at least 1. "
                f"Received: k={k!r}. Try k=5."
            )
        super().__init__(name, dtype)
        self.k = int(k)

    def attrs(self) -> dict[str, Attr]:
        return {"k": self.k}


class SparseTopKCategoricalAccuracy(TopKCategoricalAccuracy):
    """`TopKCategoricalAccuracy` for class numbers.

    Args:
        k: at least 1.
        name: the kind of the metric if None.
        dtype: None or "float32".
        from_sorted_ids: False, the only value.

    Raises:
        ValueError: k below 1; when called, shapes that do not fit.

    Example:
        >>> accuracy = kurve.metrics.SparseTopKCategoricalAccuracy(k=2)
        >>> accuracy([1], [[0.5, 0.3, 0.2]])
        1.0
    """

    kind = "sparse_top_k_categorical_accuracy"
    sparse = True

    def __init__(
        self,
        k: int = 5,
        name: str | None = None,
        dtype: str | None = None,
        from_sorted_ids: bool = False,
    ) -> None:
        check_unused(type(self).__name__, from_sorted_ids=from_sorted_ids)
        super().__init__(k, name, dtype)


class Accuracy(Metric):
    """Fraction of outputs that are equal to their target.

    compile(metrics=["accuracy"]) stands for another metric, which depends on the model:
    see `FittingAccuracy`.

    Args:
        name: the kind of the metric if None.
        dtype: None or "float32".

    Raises:
        ValueError: another dtype; when called, shapes that do not fit.

    Example:
        >>> kurve.metrics.Accuracy()([[1.0], [2.0]], [[1.0], [4.0]])
        0.5
    """

    kind = "accuracy"
    direction = "up"


class FittingAccuracy(Metric):
    """The text "accuracy" or "acc" in `compile`: the accuracy that matches the loss and
    the outputs of a model: sparse for class numbers, binary for one output, else
    categorical."""

    kind = "accuracy"
    direction = "up"

    def check_loss(self, where: str, loss: losses.Loss) -> None:
        """Every loss with one output for each target has a matching accuracy."""
        if loss.outputs_per_target != 1:
            super().check_loss(where, loss)

    def resolve(self, loss: losses.Loss | None, output_shape: Shape) -> Metric:
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
    "mse": MeanSquaredError,
    "MSE": MeanSquaredError,
    "mean_squared_error": MeanSquaredError,
    "mae": MeanAbsoluteError,
    "MAE": MeanAbsoluteError,
    "mean_absolute_error": MeanAbsoluteError,
    "rmse": RootMeanSquaredError,
    "root_mean_squared_error": RootMeanSquaredError,
    "r2": R2Score,
    "r2_score": R2Score,
    "accuracy": Accuracy,
    "binary_accuracy": BinaryAccuracy,
    "categorical_accuracy": CategoricalAccuracy,
    "sparse_categorical_accuracy": SparseCategoricalAccuracy,
    "top_k_categorical_accuracy": TopKCategoricalAccuracy,
    "sparse_top_k_categorical_accuracy": SparseTopKCategoricalAccuracy,
}


@entry
def get(identifier: Any) -> Metric | None:
    """The metric of that name or class, as in Keras. A loss is also a metric; None
    gives None.

    Raises:
        TypeError: a function or an object of another kind.
        ValueError: an unknown name.
    """
    if isinstance(identifier, type) and issubclass(identifier, Metric | losses.Loss):
        identifier = identifier()
    if identifier is None or isinstance(identifier, Metric):
        return identifier
    if isinstance(identifier, losses.Loss):
        return LossMetric(identifier)
    name = getattr(identifier, "kind", identifier)
    if not isinstance(name, str):
        raise TypeError(
            "[metrics] a metric must be a name or an object of kurve.metrics. "
            f"Received: {identifier!r}. Try metrics=['mae']."
        )
    if name in _TABLE:
        return _TABLE[name]()
    if name in losses.NAMES:
        return LossMetric(losses.as_loss(name))
    raise unknown_name("metrics", "metric", name, [*_TABLE, "acc", *losses.NAMES])


def as_metric(identifier: Any) -> Metric:
    """The metric, always a new object, for an item of the lists in `compile`.

    A text is kept as the name under which the metric is logged; "accuracy" and "acc"
    stand for the accuracy that matches the model.
    """
    if isinstance(identifier, str) and identifier.lower() in ("accuracy", "acc"):
        return FittingAccuracy(identifier)
    metric = copy.copy(get(identifier))
    if metric is None:
        raise TypeError(
            "[metrics] a metric must be a name or an object of kurve.metrics. "
            "Received: None. Try metrics=['mae']."
        )
    if isinstance(identifier, str):
        metric.name = identifier
    return metric


# Files of Kurve before 0.1.0 have "Accuracy" for what is now FittingAccuracy.
_IN_FILES: dict[str, type[Metric]] = CLASSES | {
    "Accuracy": FittingAccuracy,
    "EqualAccuracy": Accuracy,
}


def serialize(metric: Metric) -> dict[str, Any]:
    """Class and configuration of a metric."""
    if type(metric) is LossMetric:
        config = {"name": metric.name, "loss": losses.serialize(metric._loss)}
        return {"class_name": "LossMetric", "config": config}
    for name, cls in _IN_FILES.items():
        if type(metric) is cls:
            return {"class_name": name, "config": metric.get_config()}
    return registry.entry(metric, CLASSES)


def deserialize(config: Mapping[str, Any]) -> Metric:
    """The metric that `serialize` has described."""
    name, arguments = config["class_name"], config["config"]
    if name == "LossMetric":
        return LossMetric(losses.deserialize(arguments["loss"]), arguments["name"])
    cls = registry.find("metrics", "metric", name, _IN_FILES, Metric)
    metric: Metric = cls(**arguments)
    return metric


@entry
def confusion_matrix(
    y_true: Any,
    y_pred: Any,
    *,
    labels: Any = None,
    sample_weight: Any = None,
    normalize: str | None = None,
) -> np.ndarray:
    """How many rows of class i (row i) were predicted as class j (column j).

        confusion_matrix(y_test, model.predict(x_test).argmax(axis=1))

    Names, arguments and defaults are those of sklearn.metrics.confusion_matrix.

    Args:
        y_true, y_pred: classes (n,): numbers or names.
        labels: the classes, in the order of rows and columns; None for all that occur,
            sorted. Rows of other classes do not count.
        sample_weight: (n,), the weight of each row; 1 if None.
        normalize: "true" (fractions of each true class), "pred" (of each predicted
            class), "all", or None for counts.

    Returns:
        (k, k) int64; float64 with sample_weight or normalize.

    Raises:
        ValueError: different lengths, no labels, none that occurs, unknown normalize.

    Example:
        >>> kurve.metrics.confusion_matrix([0, 1, 1], [0, 1, 0])
        array([[1, 0],
               [1, 1]])
    """
    from kurve.scores import class_numbers, count_pairs

    where = "confusion_matrix"
    truth = as_array(where, "y_true", y_true)
    predicted = as_array(where, "y_pred", y_pred)
    if truth.ndim == 2 and truth.shape[1] == 1:
        truth = truth[:, 0]
    if truth.ndim != 1 or predicted.shape != truth.shape:
        raise ValueError(
            "[confusion_matrix] y_true and y_pred must hold one class for each row. "
            f"Received: shapes {truth.shape} and {predicted.shape}. "
            "Try y_pred.argmax(axis=1) for probabilities."
        )
    known = np.unique(np.concatenate([truth, predicted]))
    if labels is not None:
        known = as_array(where, "labels", labels)
    if known.ndim != 1 or not known.size or len(set(known.tolist())) < known.size:
        raise ValueError(
            "[confusion_matrix] labels must be different classes, at least one. "
            f"Received: labels={labels!r} for {len(truth)} rows. Try labels=None."
        )
    rows = class_numbers(truth, known.tolist())
    columns = class_numbers(predicted, known.tolist())
    counted = (rows >= 0) & (columns >= 0)
    if not (rows >= 0).any():
        raise ValueError(
            "[confusion_matrix] at least one of the labels must be in y_true. "
            f"Received: labels={labels!r}. Try labels=None."
        )
    weights = None
    if sample_weight is not None:
        weights = as_numbers(where, "sample_weight", sample_weight, np.float64)
        weights = weights.reshape(len(truth))[counted]
    size = len(known)
    matrix = count_pairs(rows[counted], columns[counted], size, weights)
    if normalize is None:
        return matrix
    sums = {
        "true": matrix.sum(axis=1, keepdims=True),
        "pred": matrix.sum(axis=0),
        "all": matrix.sum(),
    }
    total = lookup("confusion_matrix", "normalize", normalize, sums)
    return np.divide(matrix, total, out=np.zeros((size, size)), where=total != 0)


__getattr__ = _absent(__name__)
