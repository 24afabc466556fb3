"""Regression losses: errors, and quantiles. Formulas of those that engines compute as
one operation are also in `kurve.engines.reference.losses`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from kurve.config import EPSILON
from kurve.core.arguments import check_number, is_number
from kurve.core.dtypes import FLOAT32_MAX
from kurve.formulas import functions as ops
from kurve.losses.base import Loss, PlainLoss
from kurve.losses.formulas import PlainFormula, row_function
from kurve.plan import Attr


class MeanSquaredError(PlainLoss):
    """mean (y - p)^2 over the outputs of a row.

    Shapes: y_true and y_pred (B, ..., O) -> one number.

    Args:
        reduction, name, dtype: see `Loss`.

    Raises:
        ValueError: as `Loss`.

    Example:
        >>> kurve.losses.MeanSquaredError()([[1.0], [2.0]], [[1.0], [4.0]])
        2.0
    """

    kind = "mean_squared_error"

    def rows(self, y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.square(y_true - y_pred), axis=-1)


class MeanAbsoluteError(PlainLoss):
    """mean |y - p| over the outputs of a row.

    Shapes: y_true and y_pred (B, ..., O) -> one number.

    Args:
        reduction, name, dtype: see `Loss`.

    Raises:
        ValueError: as `Loss`.

    Example:
        >>> kurve.losses.MeanAbsoluteError()([[1.0], [2.0]], [[1.0], [4.0]])
        1.0
    """

    kind = "mean_absolute_error"

    def rows(self, y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.absolute(y_true - y_pred), axis=-1)


class MeanAbsolutePercentageError(PlainFormula):
    """100 mean |y - p| / max(|y|, 1e-7) over the outputs of a row.

    Shapes: y_true and y_pred (B, ..., O) -> one number.

    Args:
        reduction, name, dtype: see `Loss`.

    Raises:
        ValueError: as `Loss`.

    Example:
        >>> kurve.losses.MeanAbsolutePercentageError()([[2.0]], [[1.0]])
        50.0
    """

    kind = "mean_absolute_percentage_error"

    def rows(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each sample."""
        least = ops.maximum(ops.absolute(y_true), EPSILON)
        return 100.0 * ops.mean(ops.absolute((y_true - y_pred) / least), axis=-1)


class MeanSquaredLogarithmicError(PlainFormula):
    """mean (log(1 + y) - log(1 + p))^2 over the outputs of a row, with negative values
    set to 0.

    Shapes: y_true and y_pred (B, ..., O) -> one number.

    Args:
        reduction, name, dtype: see `Loss`.

    Raises:
        ValueError: as `Loss`.

    Example:
        >>> round(kurve.losses.MeanSquaredLogarithmicError()([[0.0]], [[1.0]]), 4)
        0.4805
    """

    kind = "mean_squared_logarithmic_error"

    def rows(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each sample."""
        first = ops.log(ops.maximum(y_pred, EPSILON) + 1.0)
        second = ops.log(ops.maximum(y_true, EPSILON) + 1.0)
        return ops.mean(ops.square(first - second), axis=-1)


class Huber(Loss):
    """e^2 / 2 for |e| <= delta, delta |e| - delta^2 / 2 beyond, with e = y - p.

    Shapes: y_true and y_pred (B, ..., O) -> one number.
    Source: Huber 1964.

    Args:
        delta: where the quadratic part ends, above 0.
        reduction, name, dtype: see `Loss`.

    Raises:
        ValueError: delta is not finite and positive.

    Example:
        >>> kurve.losses.Huber(delta=1.0)([[0.0], [0.0]], [[0.5], [3.0]])
        1.3125
    """

    kind = "huber"
    attr_names = ("delta",)

    def __init__(
        self,
        delta: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__("huber_loss" if name is None else name, reduction, dtype)
        check_number("Huber", "delta", delta, 1.0, 0, FLOAT32_MAX, "(]")
        self.delta = float(delta)

    def rows(self, y_true: Any, y_pred: Any) -> Any:
        e = ops.absolute(y_true - y_pred)
        beyond = self.delta * e - 0.5 * self.delta**2
        return ops.mean(ops.where(e <= self.delta, 0.5 * e * e, beyond), axis=-1)


class LogCosh(PlainLoss):
    """mean log(cosh(y - p)) over the outputs of a row.

    Shapes: y_true and y_pred (B, ..., O) -> one number.

    Args:
        reduction, name, dtype: see `Loss`.

    Raises:
        ValueError: as `Loss`.

    Example:
        >>> round(kurve.losses.LogCosh()([[0.0]], [[1.0]]), 4)
        0.4338
    """

    kind = "log_cosh"

    def rows(self, y_true: Any, y_pred: Any) -> Any:
        e = ops.absolute(y_true - y_pred)
        cosh = e + ops.log(1.0 + ops.exp(-2.0 * e)) - float(np.log(2.0))
        return ops.mean(cosh, axis=-1)


class Pinball(Loss):
    """mean max(q e, (q - 1) e) with e = y - p: the model learns quantiles of y.

    The model has Q outputs per target: all quantiles of the first target,
    then of the second, and so on.

    Shapes: y_true (B, ..., T), y_pred (B, ..., T Q) -> one number.
    Source: Koenker & Bassett 1978.

    Args:
        quantiles: up to 32 distinct numbers between 0 and 1, in increasing order.
        reduction, name, dtype: see `Loss`.

    Raises:
        ValueError: quantiles outside (0, 1), or not increasing.

    Example:
        >>> loss = kurve.losses.Pinball((0.1, 0.9))
        >>> round(loss([[1.0]], [[0.0, 2.0]]), 4)
        0.1
    """

    kind = "pinball"
    MAX_QUANTILES = 32

    def __init__(
        self,
        quantiles: Sequence[float] = (0.05, 0.5, 0.95),
        name: str | None = None,
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype)
        listed = isinstance(quantiles, (list, tuple)) or np.ndim(quantiles) == 1
        numbers = listed and all(map(is_number, quantiles))
        checked = tuple(float(q) for q in quantiles) if numbers else ()
        increasing = all(a < b for a, b in pairwise([0.0, *checked, 1.0]))
        if not 1 <= len(checked) <= self.MAX_QUANTILES or not increasing:
            raise ValueError(
                f"[Pinball] quantiles must be up to {self.MAX_QUANTILES} increasing "
                f"numbers between 0 and 1. Received: {quantiles!r}. "
                "Try (0.05, 0.5, 0.95)."
            )
        self.quantiles = checked
        self.outputs_per_target = len(checked)

    def attrs(self) -> dict[str, Attr]:
        levels = {f"quantile_{i}": q for i, q in enumerate(self.quantiles)}
        return {"quantiles": len(self.quantiles), **levels}

    def rows(self, y_true: Any, y_pred: Any) -> Any:
        size = len(self.quantiles) * y_true.shape[-1]
        y = ops.repeat(y_true, len(self.quantiles), -1)
        levels = np.resize(np.array(self.quantiles, np.float32), size)
        error = y - y_pred
        return ops.mean(ops.maximum(levels * error, (levels - 1.0) * error), axis=-1)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        for name in self.attrs():
            del config[name]
        return {**config, "quantiles": list(self.quantiles)}


for _cls in (MeanAbsolutePercentageError, MeanSquaredLogarithmicError):
    globals()[_cls.kind] = row_function(_cls)
