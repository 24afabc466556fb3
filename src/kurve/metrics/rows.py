"""Metrics that engines compute: means over rows, one value each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve import losses
from kurve.core.arrays import as_numbers
from kurve.core.entries import entry
from kurve.core.overrides import refuse_overrides
from kurve.core.results import result
from kurve.metrics.base import Metric
from kurve.plan import Attr, MetricSpec, Shape

if TYPE_CHECKING:
    from kurve.metrics.variables import MetricVariable


class RowMetric(losses.Rowwise, Metric):
    """A metric that engines know: a formula of float64 accumulators to which batches of
    rows are added. A weighted mean over rows, unless a subclass overrides `value`.

        metric.update_state(y_true, y_pred)
        metric.result()
        metric.reset_state()

    arguments: names of constructor arguments and attributes, without name and dtype.
    axis: the axis of y_pred and y_true that holds the outputs of a row.
    whole_vectors: whether y_pred (n,) is one row with n outputs, rather than n rows.
    by_element: whether each output can have its own weight in direct calls.
    by_ops: whether plan operations compute it, by `traced`.
    parts: number of plan values it reads, each with accumulators.
    of_batch: see `MetricSpec`.
    """

    arguments: tuple[str, ...] = ()
    axis = -1
    whole_vectors = False
    by_element = False
    by_ops = False
    parts = 1
    of_batch = ""

    def __init__(self, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(dtype, name)
        self._totals: np.ndarray | None = None

    def attrs(self) -> dict[str, Attr]:
        """The constants of the formula, for the plan."""
        return {}

    def size(self, output_shape: Shape) -> int:
        """Number of float64 accumulators."""
        return 2

    def check_output(self, where: str, output_shape: Shape) -> None:
        """Refuse outputs whose shape this metric cannot use.

        Raises:
            ValueError: the message says which shape it needs.
        """

    def check_loss(self, where: str, loss: losses.Loss) -> None:
        """Refuse a loss whose targets this metric cannot use.

        Raises:
            ValueError: one needs class numbers, the other one number per output.
        """
        if self.sparse != loss.sparse:
            needs = "class numbers" if self.sparse else "one number per output"
            raise ValueError(
                f"[{where}] the metric {self.name!r} needs {needs} as targets, unlike "
                f"the loss {loss.name!r}. Try metrics=['accuracy']."
            )
        if self.outputs_per_target != loss.outputs_per_target:
            raise ValueError(
                f"[{where}] the metric {self.name!r} needs {self.outputs_per_target} "
                f"outputs per target, but the loss {loss.name!r} "
                f"{loss.outputs_per_target}. Try compile without this metric."
            )

    def spec(self, output_shape: Shape, weighted: bool = False) -> MetricSpec:
        """The metric in a plan.

        Raises:
            ValueError: it does not match the output.
        """
        if self.axis not in (-1, len(output_shape)):
            raise ValueError(
                f"[{type(self).__name__}] the output axis must be the last one "
                f"in a model. Received: axis={self.axis} for outputs of shape "
                f"(n, {', '.join(map(str, output_shape))}). Try axis=-1."
            )
        self.check_output(type(self).__name__, output_shape)
        kind, attrs = ("rows", {}) if self.by_ops else (self.kind, self.attrs())
        size = self.size(output_shape)
        return MetricSpec(kind, attrs, size, weighted, of_batch=self.of_batch)

    def traced(self, y_true: Any, y_pred: Any) -> Any:
        """The rows of a metric `by_ops`, as a tensor of a plan under construction."""
        raise NotImplementedError

    def value(self, totals: np.ndarray) -> Any:
        """The metric from its accumulators: a number, or an array (classes,) or
        (thresholds,). 0 without rows, as in Keras."""
        return float(totals[0] / totals[1]) if totals[1] else 0.0

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            **{name: _plain(getattr(self, name)) for name in self.arguments},
        }

    def resolve(self, loss: losses.Loss | None, output_shape: Shape) -> RowMetric:
        """The metric that a model with this loss and output computes."""
        return self

    @entry
    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Update the metric with a batch.

        Args:
            y_true: (B, ..., O), or class numbers (B, ...) for a sparse metric.
            y_pred: (B, ..., O); (B,) means one output per sample.
            sample_weight: a number, (B,), or one weight per row, (B, ...).

        Raises:
            ValueError: shapes that do not match each other or the previous batch.
        """
        where = type(self).__name__
        y, p = self._arranged(where, y_true, y_pred)
        self.check_output(where, p.shape[1:])
        if self.whole_vectors and self.by_element and np.ndim(y_pred) == 1:
            sample_weight = _one_row(sample_weight)
        each = self.by_element and _one_each(sample_weight, p.shape)
        if each:
            sample_weight = np.broadcast_to(np.asarray(sample_weight), p.shape)
        weights = None
        if sample_weight is not None:
            shape = p.shape if each else p.shape[:-1]
            weights = losses.weights_for(where, sample_weight, shape)
            weights = weights.reshape((-1, p.shape[-1]) if each else -1)
        size = self.size(p.shape)
        if self._totals is not None and len(self._totals) != size:
            raise ValueError(
                f"[{where}] all batches must have the same number of outputs. "
                f"Received: y_pred.shape={p.shape} after other batches. "
                "Try reset_state() first."
            )
        rows = p.reshape(-1, p.shape[-1])
        totals = np.zeros(size) if self._totals is None else self._totals
        self._add(y.reshape(len(rows), -1), rows, weights, totals)
        self._totals = totals

    def add_totals(self, totals: np.ndarray) -> None:
        """Add accumulators from an engine."""
        self._totals = totals if self._totals is None else self._totals + totals

    def _arranged(
        self, where: str, y_true: Any, y_pred: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """Targets and predictions in matching shapes, with the outputs of a row in the
        last axis."""
        p = np.atleast_1d(as_numbers(where, "y_pred", y_pred, np.float32))
        y = as_numbers(where, "y_true", y_true, np.float32)
        if p.ndim == 1:
            p = p[None] if self.whole_vectors else p[:, None]
            y = y[None] if self.whole_vectors and y.ndim < 2 else y
        y, p = _with_last(where, self.axis, y, p), _with_last(where, self.axis, p, p)
        return self.paired(y, p)

    def _add(
        self,
        y: np.ndarray,
        p: np.ndarray,
        weights: np.ndarray | None,
        totals: np.ndarray,
    ) -> None:
        """Add rows y (R, T), p (R, O), with optional weights (R,) or (R, O)."""
        from kurve.engines.reference.metrics import accumulate

        with np.errstate(all="ignore"):
            accumulate(self.kind, self.attrs(), y, p, weights, totals)

    @property
    def variables(self) -> list[MetricVariable]:
        """The accumulators: total and count for a mean; else one array. If its size
        depends on the outputs, it exists once a batch has revealed it."""
        from kurve.metrics.variables import MetricVariable

        totals = self._totals
        if totals is None and self.size((1, 1)) == self.size((2, 2)):
            totals = self._totals = np.zeros(self.size((1, 1)))
        if totals is None or len(totals) != 2:
            return [] if totals is None else [MetricVariable(totals, "totals")]
        parts = zip((totals[:1], totals[1:]), ("total", "count"), strict=True)
        return [MetricVariable(part.reshape(()), name) for part, name in parts]

    def _set_values(self, values: Sequence[Any]) -> None:
        if not self.variables or not len(values):  # of unknown size
            self._totals = np.array(values[0], np.float64) if len(values) else None
        else:
            super()._set_values(values)

    def result(self) -> Any:
        """The metric over all batches since `reset_state`: a number, or an array for
        metrics of several classes or thresholds."""
        totals = self._totals
        totals = np.zeros(self.size((1, 1))) if totals is None else totals
        return result(self.value(totals))

    def reset_state(self) -> None:
        """Reset the accumulators."""
        self._totals = None

    @entry
    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        self.update_state(y_true, y_pred, sample_weight)
        return self.result()


class LossMetric(RowMetric):
    """A loss as a metric: its weighted mean over the rows.

    Args:
        loss: any loss, including formulas.
        name, dtype: see `Metric`.
        of_batches: whether it averages the losses of batches instead of rows, as Keras
            does for loss objects. Weighted metrics count rows.
    """

    def __init__(
        self,
        loss: losses.Loss,
        name: str | None = None,
        dtype: Any = None,
        of_batches: bool = False,
    ) -> None:
        refuse_overrides("metrics", loss)
        self.kind, self.sparse, self._loss = loss.kind, loss.sparse, loss
        self.outputs_per_target, self.by_ops = loss.outputs_per_target, loss.by_ops
        if of_batches and loss.reduction in (None, "none"):
            of_batches = False
        if of_batches:
            self.of_batch = "sum" if loss.reduction == "sum" else "mean"
        super().__init__(loss.name if name is None else name, dtype)

    def attrs(self) -> dict[str, Attr]:
        return self._loss.attrs()

    def target_shape(self, output_shape: Shape) -> Shape:
        return self._loss.target_shape(output_shape)

    def check_loss(self, where: str, loss: losses.Loss) -> None:
        """Formulas accept any targets."""
        if not self.by_ops or self.sparse:
            super().check_loss(where, loss)

    def traced(self, y_true: Any, y_pred: Any) -> Any:
        return self._loss.traced(y_true, y_pred)

    @entry
    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Update the metric with a batch.

        Args:
            y_true, y_pred: arguments of the loss.
            sample_weight: a number, (B,), or one weight per row, (B, ...).

        Raises:
            ValueError: shapes that do not match.
        """
        one = self.of_batch and sample_weight is None
        if not self.by_ops and not one:
            super().update_state(y_true, y_pred, sample_weight)
            return
        totals = np.zeros(2) if self._totals is None else self._totals
        values, _ = self._loss._rows(y_true, y_pred)
        if one:
            added = (self._loss(y_true, y_pred), 1.0)
        elif not values.ndim:
            added = (float(values), 1.0)
        else:
            where = type(self).__name__
            weights = losses.weights_for(where, sample_weight, values.shape)
            added = (float(np.sum(values * weights)), float(np.sum(weights)))
        self._totals = totals + added


def _plain(value: Any) -> Any:
    """Convert tuples and arrays to lists, for files."""
    value = value.tolist() if isinstance(value, np.ndarray) else value
    return list(value) if isinstance(value, tuple) else value


def _one_row(weights: Any) -> Any:
    """Weights (n,) of vector elements as the weights of one row."""
    return np.asarray(weights)[None] if np.ndim(weights) == 1 else weights


def _one_each(weights: Any, shape: Shape) -> bool:
    """Whether there is one weight per output, or per output of a row."""
    given = np.shape(weights)
    return (
        len(given) == len(shape)
        and given[-1] == shape[-1] > 1
        and all(a in (1, b) for a, b in zip(given, shape, strict=True))
    )


def _with_last(where: str, axis: int, a: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Move the given axis of p to the end in `a`; targets without it are unchanged.

    Raises:
        ValueError: unknown axis.
    """
    if axis == -1 or a.ndim < p.ndim:
        return a
    if not -a.ndim <= axis < a.ndim:
        raise ValueError(
            f"[{where}] axis must be one of y_pred. Received: axis={axis} and "
            f"y_pred.shape={p.shape}. Try axis=-1."
        )
    return np.moveaxis(a, axis, -1)
