"""The losses. The formulas are in `kurve.engines.reference.losses`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from kurve.core.arguments import check_flag, check_unused, is_number
from kurve.core.entries import warn
from kurve.losses.base import Loss
from kurve.plan import Attr, Shape

LARGEST = float(np.finfo(np.float32).max)


class _Plain(Loss):
    """A loss without parameters."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype)


class MeanSquaredError(_Plain):
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


class MeanAbsoluteError(_Plain):
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


class Huber(Loss):
    """e^2 / 2 for |e| <= delta, delta |e| - delta^2 / 2 beyond, with e = y - p.

    Shapes: y_true and y_pred (B, ..., O) -> one number.
    Source: Huber 1964.

    Args:
        delta: where the square ends, above 0.
        reduction, name, dtype: see `Loss`.

    Raises:
        ValueError: delta is not finite and above 0.

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
        super().__init__(name, reduction, dtype)
        if not is_number(delta) or not 0 < delta <= LARGEST:
            raise ValueError(
                "[Huber] delta must be finite and above 0. "
                f"Received: {delta!r}. Try delta=1.0."
            )
        self.delta = float(delta)

    def attrs(self) -> dict[str, Attr]:
        return {"delta": self.delta}


class LogCosh(_Plain):
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


class _CrossEntropy(Loss):
    """Cross-entropies, from probabilities or, more accurately, from logits."""

    _warned = False

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype)
        check_unused(type(self).__name__, axis=axis)
        if not is_number(label_smoothing) or not 0.0 <= label_smoothing <= 1.0:
            raise ValueError(
                f"[{type(self).__name__}] label_smoothing must be in [0, 1]. "
                f"Received: {label_smoothing!r}. Try label_smoothing=0.1."
            )
        self.from_logits = check_flag(type(self).__name__, "from_logits", from_logits)
        self.label_smoothing = float(label_smoothing)

    def attrs(self) -> dict[str, Attr]:
        return {
            "from_logits": self.from_logits,
            "label_smoothing": self.label_smoothing,
        }

    def check_targets(self, where: str, y: np.ndarray, output_shape: Shape) -> None:
        """Warns of targets outside [0, 1], once."""
        if self._warned or (y.min() >= 0.0 and y.max() <= 1.0):
            return
        self._warned = True
        position = tuple(int(i) for i in np.argwhere((y < 0) | (y > 1))[0])
        warn(
            f"[{where}] {self.kind} has targets outside [0, 1], which are no "
            "probabilities: its formula is taken as it is, with -y log p, as policy "
            "gradients want it, and has no lowest value. Received: "
            f"y[{', '.join(map(str, position))}] = {y[position]:g}. Try loss='mse' "
            "for numbers, or 'sparse_categorical_crossentropy' for class numbers."
        )


class BinaryCrossentropy(_CrossEntropy):
    """mean of -y log p - (1 - y) log(1 - p) over the outputs of a row.

    Shapes: y_true and y_pred (B, ..., O) -> one number.

    Args:
        from_logits: whether p holds logits rather than probabilities.
        label_smoothing: in [0, 1]; how far targets are moved towards equal
            probabilities.
        axis: -1, the only one.
        reduction, name, dtype: see `Loss`.

    Raises:
        ValueError: label_smoothing out of range.
        UserWarning: targets outside [0, 1].

    Example:
        >>> round(kurve.losses.BinaryCrossentropy()([[1.0]], [[0.5]]), 4)
        0.6931
    """

    kind = "binary_crossentropy"


class CategoricalCrossentropy(_CrossEntropy):
    """-sum_i y_i log p_i; y one-hot or probabilities of the classes.

    Warns where there is only one class, whose probability is always 1.

    Shapes: y_true and y_pred (B, ..., O) -> one number.

    Args:
        from_logits: whether p holds logits rather than probabilities.
        label_smoothing: in [0, 1]; how far targets are moved towards equal
            probabilities.
        axis: -1, the only one.
        reduction, name, dtype: see `Loss`.

    Raises:
        ValueError: label_smoothing out of range.
        UserWarning: targets outside [0, 1].

    Example:
        >>> loss = kurve.losses.CategoricalCrossentropy()
        >>> round(loss([[0.0, 1.0]], [[0.5, 0.5]]), 4)
        0.6931
    """

    kind = "categorical_crossentropy"

    def check_targets(self, where: str, y: np.ndarray, output_shape: Shape) -> None:
        super().check_targets(where, y, output_shape)
        self._warn_of_one_class(where, output_shape)

    def paired(self, y_true: Any, y_pred: Any) -> tuple[np.ndarray, np.ndarray]:
        self._warn_of_one_class(type(self).__name__, np.shape(y_pred))
        return super().paired(y_true, y_pred)

    def _warn_of_one_class(self, where: str, output_shape: Shape) -> None:
        if output_shape and output_shape[-1] == 1:
            warn(
                f"[{where}] {self.kind} needs more than one class to tell apart. "
                f"Received: an output of shape {output_shape}. Try "
                "'binary_crossentropy' for two classes and one output.",
            )


class SparseCategoricalCrossentropy(Loss):
    """-log p_y with the class number y, 0 to O - 1.

    Shapes: y_true (B, ...), y_pred (B, ..., O) -> one number.

    Args:
        from_logits: whether p holds logits rather than probabilities.
        ignore_class: None, the only value.
        axis: -1, the only one.
        reduction, name, dtype: see `Loss`.

    Raises:
        ValueError: targets that are not class numbers below O.

    Example:
        >>> loss = kurve.losses.SparseCategoricalCrossentropy()
        >>> round(loss([1], [[0.5, 0.5]]), 4)
        0.6931
    """

    kind = "sparse_categorical_crossentropy"
    sparse = True

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        axis: int = -1,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype)
        where = type(self).__name__
        check_unused(where, ignore_class=ignore_class, axis=axis)
        self.from_logits = check_flag(where, "from_logits", from_logits)

    def attrs(self) -> dict[str, Attr]:
        return {"from_logits": self.from_logits}

    def check_targets(self, where: str, y: np.ndarray, output_shape: Shape) -> None:
        classes = output_shape[-1]
        bad = (y < 0) | (y >= classes) | (y != np.floor(y))
        if bad.any():
            position = tuple(int(i) for i in np.argwhere(bad)[0])
            value = float(y[position])
            fix = "Try loss='mse' if y holds measurements, not classes"
            if value >= classes and value.is_integer():
                from_one = y.min() == 1 and y.max() == classes
                fix = f"Try {'y - 1, or ' if from_one else ''}a last layer of "
                fix += f"{int(y.max()) + 1} units"
            raise ValueError(
                f"[{where}] {self.kind} needs class numbers 0 to {classes - 1}, "
                f"because the model has {classes} outputs. Received: "
                f"y[{', '.join(map(str, position))}] = {value:g}. {fix}."
            )


class GaussianNLL(Loss):
    """The negative log likelihood of y under a normal distribution, whose mean m and
    variance v the model predicts: mean (log(2 pi v) + (y - m)^2 / v) / 2.

    The model gives two outputs for each of T targets: the T means m, then T numbers s
    with v = softplus(s) + 1e-6. So it learns row by row how uncertain it is.

    Shapes: y_true (B, ..., T), y_pred (B, ..., 2 T) -> one number.
    Source: Nix & Weigend 1994; Lakshminarayanan, Pritzel & Blundell 2017.

    Args:
        beta: in [0, 1]. Each row's gradient is multiplied by v^beta; the value stays.
            With 0, the likelihood's own gradient, rows that fit badly get a large v and
            then hardly count, so that training may stall; with 1 the mean learns as
            under the squared error. Source: Seitzer et al. 2022.
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
        if not is_number(beta) or not 0.0 <= beta <= 1.0:
            raise ValueError(
                "[GaussianNLL] beta must be in [0, 1]. "
                f"Received: {beta!r}. Try beta=0.5."
            )
        self.beta = float(beta)

    def attrs(self) -> dict[str, Attr]:
        return {"beta": self.beta}


class Pinball(Loss):
    """mean max(q e, (q - 1) e) with e = y - p: the model learns quantiles of y.

    The model gives Q outputs for each of T targets: all quantiles of the first target,
    then of the second, and so on.

    Shapes: y_true (B, ..., T), y_pred (B, ..., T Q) -> one number.
    Source: Koenker & Bassett 1978.

    Args:
        quantiles: up to 32 different numbers between 0 and 1, in increasing order.
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

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        for name in self.attrs():
            del config[name]
        return {**config, "quantiles": list(self.quantiles)}
