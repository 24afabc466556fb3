"""Losses by name. Names, defaults and formulas are Keras's; the formulas are in
`kurve.engines.reference.losses`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from kurve import registry
from kurve.entries import Entrance, entry
from kurve.errors import absent as _absent
from kurve.errors import unknown_name
from kurve.plan import Attr, Shape, Spec


class Loss(Entrance):
    """Base class of the losses.

    A loss has a value for every row; the loss of a batch is the sum of value x sample
    weight divided by the number of rows (Keras's "sum_over_batch_size").
    """

    kind = ""
    sparse = False
    heads = 1
    """Outputs for each target."""
    ignored = ("call", "__call__")
    instead = "a loss of kurve.losses, such as loss='mse'"

    def __init__(self, name: str | None = None) -> None:
        self.name = name or self.kind or type(self).__name__

    def attrs(self) -> dict[str, Attr]:
        """The numbers of the formula, for the plan."""
        return {}

    @property
    def spec(self) -> Spec:
        return Spec(self.kind, self.attrs())

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, **self.attrs()}

    def target_shape(self, output_shape: Shape) -> Shape:
        """Shape of one sample's target: that of the output, without the last axis for
        class numbers, or with 1 / heads of it.

        Raises:
            ValueError: the last axis is no multiple of `heads`.
        """
        if self.sparse:
            return output_shape[:-1]
        *leading, last = output_shape
        if last % self.heads:
            raise ValueError(
                f"[{type(self).__name__}] the model needs {self.heads} outputs for "
                f"each target. Received: an output of shape {output_shape}. Try a last "
                f"layer of {self.heads} units for one target."
            )
        return (*leading, last // self.heads)

    def check_targets(self, where: str, y: np.ndarray, output_shape: Shape) -> None:
        """Refuse targets that this loss cannot take, by value."""

    def call(self, y_true: Any, y_pred: Any) -> np.ndarray:
        """The value of every row, in float64.

        Args:
            y_true: (..., O), or class numbers (...) or (..., 1) for a sparse loss.
            y_pred: (..., O).

        Returns:
            (...)

        Raises:
            ValueError: the shapes do not fit; a loss never broadcasts.
        """
        from kurve.engines.reference.losses import LOSSES

        y, p = np.asarray(y_true, np.float64), np.asarray(y_pred, np.float64)
        expected = self.target_shape(p.shape)
        if y.shape != expected and not (self.sparse and y.shape == (*expected, 1)):
            raise ValueError(
                f"[{type(self).__name__}] y_true must have shape {expected} to fit "
                f"y_pred. Received: y_true.shape={y.shape}, y_pred.shape={p.shape}. "
                f"Try y_true.reshape{expected}."
            )
        rows = p.reshape(-1, p.shape[-1])
        values, _ = LOSSES[self.kind](y.reshape(len(rows), -1), rows, self.attrs())
        return values.reshape(p.shape[:-1])

    @entry
    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
        """The loss of one batch, in float64.

        Args:
            y_true, y_pred: see `call`.
            sample_weight: (B,) or None.
        """
        values = self.call(y_true, y_pred)
        if sample_weight is not None:
            weights = np.asarray(sample_weight, np.float64)
            values = values * weights.reshape(-1, *[1] * (values.ndim - 1))
        return float(np.mean(values))


class MeanSquaredError(Loss):
    """mean (y - p)^2 over the outputs of a row."""

    kind = "mean_squared_error"


class MeanAbsoluteError(Loss):
    """mean |y - p| over the outputs of a row."""

    kind = "mean_absolute_error"


class Huber(Loss):
    """e^2 / 2 for |e| <= delta, delta |e| - delta^2 / 2 beyond. Source: Huber 1964."""

    kind = "huber"

    def __init__(self, delta: float = 1.0, name: str | None = None) -> None:
        super().__init__(name)
        if not (math.isfinite(delta) and delta > 0):
            raise ValueError(
                "[Huber] delta must be finite and above 0. "
                f"Received: {delta!r}. Try delta=1.0."
            )
        self.delta = float(delta)

    def attrs(self) -> dict[str, Attr]:
        return {"delta": self.delta}


class LogCosh(Loss):
    """mean log(cosh(y - p)) over the outputs of a row."""

    kind = "log_cosh"


class _CrossEntropy(Loss):
    """Cross-entropies: from probabilities, or from logits (more exact)."""

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        if not 0.0 <= label_smoothing <= 1.0:
            raise ValueError(
                f"[{type(self).__name__}] label_smoothing must be in [0, 1]. "
                f"Received: {label_smoothing!r}. Try label_smoothing=0.1."
            )
        self.from_logits = bool(from_logits)
        self.label_smoothing = float(label_smoothing)

    def attrs(self) -> dict[str, Attr]:
        return {
            "from_logits": self.from_logits,
            "label_smoothing": self.label_smoothing,
        }

    def check_targets(self, where: str, y: np.ndarray, output_shape: Shape) -> None:
        bad = (y < 0) | (y > 1)
        if bad.any():
            position = tuple(int(i) for i in np.argwhere(bad)[0])
            raise ValueError(
                f"[{where}] {self.kind} needs targets between 0 and 1, because they "
                f"are probabilities. Received: y[{', '.join(map(str, position))}] = "
                f"{y[position]:g}. Try loss='mse' for numbers, or "
                "'sparse_categorical_crossentropy' for class numbers."
            )


class BinaryCrossentropy(_CrossEntropy):
    """mean of -y log p - (1 - y) log(1 - p) over the outputs of a row."""

    kind = "binary_crossentropy"


class CategoricalCrossentropy(_CrossEntropy):
    """-sum_i y_i log p_i; y one-hot or probabilities of the classes."""

    kind = "categorical_crossentropy"


class SparseCategoricalCrossentropy(Loss):
    """-log p_y; y the number of the class, 0 to O - 1."""

    kind = "sparse_categorical_crossentropy"
    sparse = True

    def __init__(self, from_logits: bool = False, name: str | None = None) -> None:
        super().__init__(name)
        self.from_logits = bool(from_logits)

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
    """-log of the normal density of y: mean (log(2 pi v) + (y - m)^2 / v) / 2.

    The model gives two outputs for each of T targets: the T means m, then T numbers s
    with v = softplus(s) + 1e-6. So a model learns how sure it can be, row by row.
    Source: Nix & Weigend 1994; Lakshminarayanan, Pritzel & Blundell 2017.

    Args:
        beta: in [0, 1]. Each row's gradient is multiplied with v^beta; the value stays.
            With 0 (the likelihood's own gradient) rows that fit badly get a large v and
            then hardly count, so that training may stop early; with 1 the mean learns
            as under the squared error. Source: Seitzer et al. 2022.
    """

    kind = "gaussian_nll"
    heads = 2

    def __init__(self, beta: float = 0.0, name: str | None = None) -> None:
        super().__init__(name)
        if not 0.0 <= beta <= 1.0:
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
    then of the second, ... Source: Koenker & Bassett 1978.

    Args:
        quantiles: up to 32 different numbers between 0 and 1, in increasing order.
    """

    kind = "pinball"
    MOST = 32

    def __init__(
        self, quantiles: Sequence[float] = (0.05, 0.5, 0.95), name: str | None = None
    ) -> None:
        super().__init__(name)
        given = [float(q) for q in quantiles]
        increasing = all(a < b for a, b in pairwise([0.0, *given, 1.0]))
        if not 1 <= len(given) <= self.MOST or not increasing:
            raise ValueError(
                f"[Pinball] quantiles must be up to {self.MOST} increasing numbers "
                f"between 0 and 1. Received: {quantiles!r}. Try (0.05, 0.5, 0.95)."
            )
        self.quantiles = tuple(given)
        self.heads = len(given)

    def attrs(self) -> dict[str, Attr]:
        each = {f"quantile_{i}": q for i, q in enumerate(self.quantiles)}
        return {"quantiles": len(self.quantiles), **each}

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "quantiles": list(self.quantiles)}


CLASSES: dict[str, type[Loss]] = {
    cls.__name__: cls
    for cls in [
        MeanSquaredError,
        MeanAbsoluteError,
        Huber,
        LogCosh,
        BinaryCrossentropy,
        CategoricalCrossentropy,
        SparseCategoricalCrossentropy,
        GaussianNLL,
        Pinball,
    ]
}

BY_KIND = {cls.kind: cls for cls in CLASSES.values()}

NAMES: dict[str, type[Loss]] = (
    CLASSES
    | BY_KIND
    | {
        "mse": MeanSquaredError,
        "MSE": MeanSquaredError,
        "mae": MeanAbsoluteError,
        "MAE": MeanAbsoluteError,
        "logcosh": LogCosh,
        "bce": BinaryCrossentropy,
    }
)


def get(identifier: Any) -> Loss:
    """The loss of that name (or function of this module), with Keras's defaults."""
    if isinstance(identifier, Loss):
        return identifier
    identifier = getattr(identifier, "kind", identifier)
    if isinstance(identifier, str):
        if identifier in NAMES:
            return NAMES[identifier]()
        raise unknown_name("losses", "loss", identifier, NAMES)
    raise TypeError(
        "[losses] a loss must be a name or an object of kurve.losses, because engines "
        f"need its derivative. Received: {identifier!r}. Try loss='mse'."
    )


def serialize(loss: Loss) -> dict[str, Any]:
    """Class and configuration of a loss."""
    return registry.entry(loss, CLASSES)


def deserialize(config: Mapping[str, Any]) -> Loss:
    """The loss that `serialize` has described."""
    cls = registry.find("losses", "loss", config["class_name"], CLASSES, Loss)
    made: Loss = cls(**config["config"])
    return made


def _function(cls: type[Loss]) -> Any:
    def loss(y_true: Any, y_pred: Any, **options: Any) -> np.ndarray:
        return cls(**options).call(y_true, y_pred)

    loss.kind = cls.kind  # type: ignore[attr-defined]
    loss.__name__ = loss.__qualname__ = cls.kind
    loss.__doc__ = f"Value of every row (..., O) -> (...): {cls.__doc__}"
    return loss


mean_squared_error = _function(MeanSquaredError)
mean_absolute_error = _function(MeanAbsoluteError)
huber = _function(Huber)
log_cosh = _function(LogCosh)
binary_crossentropy = _function(BinaryCrossentropy)
categorical_crossentropy = _function(CategoricalCrossentropy)
sparse_categorical_crossentropy = _function(SparseCategoricalCrossentropy)
gaussian_nll = _function(GaussianNLL)
pinball = _function(Pinball)

__getattr__ = _absent(__name__)
