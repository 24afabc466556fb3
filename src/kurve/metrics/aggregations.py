"""Metrics of plain values rather than targets and predictions, for custom loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from kurve.core.arrays import as_numbers
from kurve.core.entries import entry
from kurve.core.results import Number
from kurve.metrics.base import Metric
from kurve.metrics.rows import LossMetric

Reduce = Callable[..., np.ndarray]


class Sum(Metric):
    """sum of weight x value.

    Args:
        name, dtype: see `Metric`.

    Raises:
        ValueError: weights whose shape does not fit the values.

    Example:
        >>> kurve.metrics.Sum()([1.0, 3.0, 5.0], sample_weight=[1.0, 1.0, 0.0])
        4.0
    """

    def __init__(self, name: str | None = "sum", dtype: Any = None) -> None:
        super().__init__(dtype, name)
        self.total = self.add_weight(dtype="float64", name="total")

    @entry
    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Add values.

        Args:
            values: a number or (B, ...).
            sample_weight: a number, or an array matching the leading axes of values.

        Raises:
            ValueError: weights with another shape.
        """
        values, _ = _of_samples(type(self).__name__, values, sample_weight, np.sum)
        self.total.assign_add(values.sum())

    def result(self) -> float:
        return Number(self.total)


class Mean(Metric):
    """sum of weight x value, divided by the sum of the weights; 0 if there are no
    values.

    Args:
        name, dtype: see `Metric`.

    Raises:
        ValueError: weights whose shape does not fit the values.

    Example:
        >>> kurve.metrics.Mean()([1.0, 3.0, 5.0], sample_weight=[1.0, 1.0, 0.0])
        2.0
    """

    def __init__(self, name: str | None = "mean", dtype: Any = None) -> None:
        super().__init__(dtype, name)
        self.total = self.add_weight(dtype="float64", name="total")
        self.count = self.add_weight(dtype="float64", name="count")

    @entry
    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Add values.

        Args:
            values: a number, or (B, ...): the values of a sample are averaged.
            sample_weight: a number, or an array matching the leading axes of values.

        Raises:
            ValueError: weights with another shape.
        """
        if type(values) is np.ndarray and not values.ndim:  # from a compiled step
            one = 1.0 if sample_weight is None else sample_weight
            if isinstance(one, float):
                self.total.assign_add(float(values) * one)
                self.count.assign_add(one)
                return
        values, counts = _of_samples(
            type(self).__name__, values, sample_weight, np.mean
        )
        self.total.assign_add(values.sum())
        self.count.assign_add(counts.sum())

    def result(self) -> float:
        return Number(self.total / self.count if self.count else 0.0)


class MeanMetricWrapper(Mean):
    """The mean of a function of targets and predictions.

    Args:
        fn: function of (y_true, y_pred) that returns one value per row or output.
        name, dtype: see `Metric`.
        kwargs: keyword arguments passed to fn.

    Raises:
        TypeError: fn is not a function.

    Example:
        >>> metric = kurve.metrics.MeanMetricWrapper(lambda y, p: abs(y - p))
        >>> metric(np.array([1.0, 2.0]), np.array([1.0, 5.0]))
        1.5
    """

    def __init__(
        self, fn: Any, name: str | None = None, dtype: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(name, dtype)
        if not callable(fn):
            raise TypeError(
                "[MeanMetricWrapper] fn must be a function of targets and predictions. "
                f"Received: fn={fn!r}. Try fn=kurve.losses.mean_squared_error."
            )
        self._fn, self._fn_kwargs = fn, kwargs

    @entry
    def update_state(  # type: ignore[override]
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> None:
        """Add a batch.

        Args:
            y_true, y_pred: arguments of fn.
            sample_weight: weights of the values that fn returns, see
                `Mean.update_state`.

        Raises:
            ValueError: weights with another shape.
        """
        values = self._fn(y_true, y_pred, **self._fn_kwargs)
        Mean.update_state(self, values, sample_weight)

    def in_models(self) -> LossMetric:
        """The same metric in a model, computed by its engine."""
        from kurve.losses import FunctionLoss

        fn, arguments = self._fn, self._fn_kwargs
        name = self.name

        def rows(y_true: Any, y_pred: Any) -> Any:
            return fn(y_true, y_pred, **arguments)

        return LossMetric(FunctionLoss(rows if arguments else fn, name), name)

    def get_config(self) -> dict[str, Any]:
        """The name, the function and its arguments; functions are not stored."""
        return {**super().get_config(), "fn": self._fn, **self._fn_kwargs}


def _of_samples(
    where: str, values: Any, sample_weight: Any, reduce: Reduce
) -> tuple[np.ndarray, np.ndarray]:
    """weight x value per sample, and its weight: each sample's values and weights are
    reduced to one number (a single value is a sample)."""
    v = as_numbers(where, "values", values, np.float64)
    if sample_weight is None:
        w: np.ndarray = np.ones(v.shape[:1])
    else:
        w = as_numbers(where, "sample_weight", sample_weight, np.float64)
        if w.ndim == v.ndim + 1 and w.shape[-1] == 1:
            w = w[..., 0]
        if v.ndim == w.ndim + 1 and v.shape[-1] == 1:
            v = v[..., 0]
    v = np.asarray(reduce(v, axis=tuple(range(w.ndim, v.ndim))))
    try:
        w = np.broadcast_to(w, v.shape)
    except ValueError:
        raise ValueError(
            f"[{where}] sample_weight must match the leading axes of the values. "
            f"Received: shape {np.shape(sample_weight)} for values of shape "
            f"{np.shape(values)}. Try one weight per sample."
        ) from None
    within = tuple(range(1, v.ndim))
    return reduce(v * w, axis=within), reduce(w, axis=within)
