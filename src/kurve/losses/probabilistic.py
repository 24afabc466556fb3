"""Losses that are negative log likelihoods or divergences of distributions, other than
cross-entropies."""

from __future__ import annotations

import math
from typing import Any

from kurve.config import EPSILON
from kurve.core.arguments import check_number
from kurve.formulas import functions as ops
from kurve.losses.base import Loss
from kurve.losses.formulas import PlainFormula, row_function


class Poisson(PlainFormula):
    """mean (p - y log(p)) over the outputs of a row: the negative log likelihood of
    counts y with rates p, without terms that depend only on y.

    Shapes: y_true and y_pred (B, ..., O) -> one number.

    Args:
        reduction, name, dtype: see `Loss`.

    Raises:
        ValueError: as `Loss`.

    Example:
        >>> kurve.losses.Poisson()([[0.0]], [[1.0]])
        1.0
    """

    kind = "poisson"

    def rows(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each sample."""
        return ops.mean(y_pred - y_true * ops.log(y_pred + EPSILON), axis=-1)


class KLDivergence(PlainFormula):
    """sum y log(y / p) over the outputs of a row, both clipped to [1e-7, 1].

    Shapes: y_true and y_pred (B, ..., O) -> one number.
    Source: Kullback & Leibler 1951.

    Args:
        reduction, name, dtype: see `Loss`.

    Raises:
        ValueError: as `Loss`.

    Example:
        >>> round(kurve.losses.KLDivergence()([[1.0, 0.0]], [[0.5, 0.5]]), 4)
        0.6931
    """

    kind = "kl_divergence"

    def rows(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each sample."""
        y, p = ops.clip(y_true, EPSILON, 1.0), ops.clip(y_pred, EPSILON, 1.0)
        return ops.sum(y * ops.log(y / p), axis=-1)


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
    attr_names = ("beta",)

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

    def rows(self, y_true: Any, y_pred: Any) -> Any:
        count = y_true.shape[-1]
        mean, raw = ops.split(y_pred, [count], -1)
        variance = ops.softplus(raw) + 1e-6
        value = ops.log(variance) + ops.square(y_true - mean) / variance
        value = 0.5 * (value + math.log(2.0 * math.pi))
        if self.beta:
            now = ops.stop_gradient(value)
            value = now + ops.stop_gradient(variance**self.beta) * (value - now)
        return ops.mean(value, axis=-1)


for _cls in (Poisson, KLDivergence):
    globals()[_cls.kind] = row_function(_cls)
