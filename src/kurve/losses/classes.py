"""Regression losses that engines compute as one operation; the formulas are also in
`kurve.engines.reference.losses`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from kurve.core.arguments import check_number, is_number
from kurve.losses.base import Loss, PlainLoss
from kurve.plan import Attr

LARGEST = float(np.finfo(np.float32).max)


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
        from kurve.formulas import functions as ops

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
        from kurve.formulas import functions as ops

        return ops.mean(ops.absolute(y_true - y_pred), axis=-1)


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

    def __init__(
        self,
        delta: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__("huber_loss" if name is None else name, reduction, dtype)
        check_number("Huber", "delta", delta, 1.0, 0, LARGEST, "(]")
        self.delta = float(delta)

    def attrs(self) -> dict[str, Attr]:
        return {"delta": self.delta}

    def rows(self, y_true: Any, y_pred: Any) -> Any:
        from kurve.formulas import functions as ops

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
        from kurve.formulas import functions as ops

        e = ops.absolute(y_true - y_pred)
        cosh = e + ops.log(1.0 + ops.exp(-2.0 * e)) - float(np.log(2.0))
        return ops.mean(cosh, axis=-1)


class GaussianNLL(Loss):
    """Negative log likelihood of y under a normal distribution whose mean m and
    variance v the model predicts: mean (log(2 pi v) + (y - m)^2 / v) / 2.

    The model has two outputs per target: the T means m, then T numbers s
    with v = softplus(s) + 1e-6. So it learns its uncertainty for each row.

    Shapes: y_true (B, ..., T), y_pred (B, ..., 2 T) -> one number.
    Source: Nix & Weigend 1994; Lakshminarayanan, Pritzel & Blundell 2017.

    Args:
        beta: in [0, 1]. Each row's gradient is multiplied by v^beta; the value is
            unchanged. With 0, the gradient of the likelihood, badly fitted rows get a
            large v and then hardly count, so training can stall; with 1, the mean
            learns as with squared error. Source: Seitzer et al. 2022.
        reduction, name, dtype: see `Loss`.

    Raises:
        ValueError: beta outside [0, 1]; an odd number of outputs.

    Example:
        >>> loss = kurve.losses.GaussianNLL()
        >>> round(loss([[0.0]], [[0.0, 0.5]]), 4)
        0.9058
    """

    kind = "gaussian_nll"
    outputs_per_target = 2

    def __init__(
        self,
        beta: float = 0.0,
        name: str | None = None,
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype)
        check_number("GaussianNLL", "beta", beta, 0.5, 0, 1)
        self.beta = float(beta)

    def attrs(self) -> dict[str, Attr]:
        return {"beta": self.beta}

    def rows(self, y_true: Any, y_pred: Any) -> Any:
        from kurve.formulas import functions as ops

        count = y_true.shape[-1]
        mean, raw = ops.split(y_pred, [count], -1)
        variance = ops.softplus(raw) + 1e-6
        value = ops.log(variance) + ops.square(y_true - mean) / variance
        value = 0.5 * (value + math.log(2.0 * math.pi))
        if self.beta:
            now = ops.stop_gradient(value)
            value = now + ops.stop_gradient(variance**self.beta) * (value - now)
        return ops.mean(value, axis=-1)


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
    MOST = 32

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
        if not 1 <= len(checked) <= self.MOST or not increasing:
            raise ValueError(
                f"[Pinball] quantiles must be up to {self.MOST} increasing numbers "
                f"between 0 and 1. Received: {quantiles!r}. Try (0.05, 0.5, 0.95)."
            )
        self.quantiles = checked
        self.outputs_per_target = len(checked)

    def attrs(self) -> dict[str, Attr]:
        levels = {f"quantile_{i}": q for i, q in enumerate(self.quantiles)}
        return {"quantiles": len(self.quantiles), **levels}

    def rows(self, y_true: Any, y_pred: Any) -> Any:
        from kurve.formulas import functions as ops

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
