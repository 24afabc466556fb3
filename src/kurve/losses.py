"""Losses by name. Names, defaults and formulas are Keras's; the formulas are in
`kurve.engines.reference.losses`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from kurve.core import registry
from kurve.core.arguments import (
    check_flag,
    check_name,
    check_unused,
    is_number,
    refuse_arguments,
)
from kurve.core.arrays import as_numbers
from kurve.core.entries import Entrance, entry, warn
from kurve.errors import absent as _absent
from kurve.errors import unknown_name
from kurve.plan import Attr, Op, Plan, Shape, Spec

LARGEST = float(np.finfo(np.float32).max)


class Rowwise:
    """What losses and metrics share: how targets fit outputs.

    sparse: whether targets are class numbers, one for all outputs of a row.
    heads: outputs for each target.
    """

    sparse = False
    outputs_per_target = 1

    def target_shape(self, output_shape: Shape) -> Shape:
        """Shape of one sample's target: that of the output, without the last axis for
        class numbers, or with 1 / heads of it.

        Raises:
            ValueError: the last axis is no multiple of `outputs_per_target`.
        """
        if self.sparse:
            return output_shape[:-1]
        *leading, last = output_shape
        if last % self.outputs_per_target:
            raise ValueError(
                f"[{type(self).__name__}] the model needs {self.outputs_per_target} "
                f"outputs for each target. Received: output_shape={output_shape}. "
                f"Try a last layer of {self.outputs_per_target} units for one target."
            )
        return (*leading, last // self.outputs_per_target)

    def paired(self, y_true: Any, y_pred: Any) -> tuple[np.ndarray, np.ndarray]:
        """Targets and predictions as float32, in the shapes that belong together; a
        last axis of length 1 may be there or not.

        Raises:
            ValueError: other shapes, which would have to be broadcast.
        """
        where = type(self).__name__
        y = as_numbers(where, "y_true", y_true, np.float32)
        p = as_numbers(where, "y_pred", y_pred, np.float32)
        if not self.sparse and y.shape == (*p.shape, 1):
            p = p[..., None]
        if not p.ndim:
            raise ValueError(
                f"[{where}] y_pred must have an axis for the outputs. Received: "
                "a single number. Try [[y_pred]]."
            )
        expected = self.target_shape(p.shape)
        if y.shape == (*expected, 1):
            y = y[..., 0]
        elif expected == (*y.shape, 1):
            y = y[..., None]
        if y.shape != expected:
            raise ValueError(
                f"[{where}] y_true must have shape {expected} to fit y_pred. Received: "
                f"y_true.shape={y.shape}, y_pred.shape={p.shape}. Try "
                f"y_true.reshape{expected}."
            )
        return y, p


class Loss(Rowwise, Entrance):
    """Base class of the losses.

    A loss has a value for every row; the loss of a batch is the sum of value x sample
    weight divided by the number of rows (Keras's "sum_over_batch_size").

    Args:
        name: the kind of the loss if None.
        reduction, dtype: "sum_over_batch_size" and None or "float32", the only ones.
    """

    kind = ""
    ignored = ("call", "__call__")
    instead = "a loss of kurve.losses, such as loss='mse'"

    def __init__(
        self,
        name: str | None = None,
        reduction: str = "sum_over_batch_size",
        dtype: str | None = None,
        **unknown: Any,
    ) -> None:
        where = type(self).__name__
        refuse_arguments(type(self), unknown)
        check_unused(where, reduction=reduction, dtype=dtype)
        self.name = self.kind or where if name is None else check_name(where, name)

    def attrs(self) -> dict[str, Attr]:
        """The numbers of the formula, for the plan."""
        return {}

    @property
    def spec(self) -> Spec:
        return Spec(self.kind, self.attrs())

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, **self.attrs()}

    def check_targets(self, where: str, y: np.ndarray, output_shape: Shape) -> None:
        """Refuse targets that this loss cannot take, by value."""

    def call(self, y_true: Any, y_pred: Any) -> np.ndarray:
        """The value of every row, as the reference engine computes it.

        Args:
            y_true: (..., O), or class numbers (...) or (..., 1) for a sparse loss.
            y_pred: (..., O).

        Returns:
            (...), float32

        Raises:
            ValueError: the shapes do not fit; a loss never broadcasts.
        """
        return self._rows(y_true, y_pred).astype(np.float32)

    def _rows(self, y_true: Any, y_pred: Any) -> np.ndarray:
        """The values of all rows, unrounded."""
        from kurve.engines.reference.losses import LOSSES

        y, p = self.paired(y_true, y_pred)
        if self.sparse:
            self.check_targets(type(self).__name__, y, p.shape)
        rows = p.reshape(-1, p.shape[-1])
        with np.errstate(all="ignore"):
            values, _ = LOSSES[self.kind](y.reshape(len(rows), -1), rows, self.attrs())
        return values.reshape(p.shape[:-1])

    @entry
    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
        """The loss of one batch by the engine in use: that of `evaluate`, bit for bit.

        Args:
            y_true, y_pred: see `call`.
            sample_weight: a number, (B,), or a weight for every row, (B, ...).
        """
        where = type(self).__name__
        own = type(self).call is not Loss.call
        by_sample = np.ndim(sample_weight) < 2 and np.ndim(y_pred) > 1
        if by_sample and not own and np.size(y_pred):
            y, p = self.paired(y_true, y_pred)
            if self.sparse:
                self.check_targets(where, y, p.shape)
            weights = None
            if sample_weight is not None:
                weights = weights_for(where, sample_weight, p.shape[:1])
            return _of_batch(self.spec, y, p, weights)
        values = self.call(y_true, y_pred) if own else self._rows(y_true, y_pred)
        values = np.asarray(values, np.float64)
        weights = weights_for(where, sample_weight, values.shape)
        return float(np.sum(weights * values) / values.size) if values.size else 0.0


def _of_batch(
    spec: Spec, y: np.ndarray, p: np.ndarray, weights: np.ndarray | None
) -> float:
    """The loss of a batch by the engine in use, as of a model that gives p."""
    from kurve.engines import Batches, State, get_engine

    shape = p.shape[1:]
    same = Op("reshape", "output", shape, shape)
    program = get_engine().compile(Plan.stack(shape, shape, (same,), (), (), spec))
    nothing, totals = np.zeros(0, np.float32), np.zeros(2)
    state = State(nothing, nothing, nothing.reshape(0, 0), np.zeros(0), 0, 0)
    if weights is not None:
        weights = np.ascontiguousarray(weights, np.float32)
    bounds = np.array([0, len(p)])
    y, p = np.ascontiguousarray(y), np.ascontiguousarray(p)
    program.test(state, Batches(p, y, weights, None, bounds), totals)
    return float(totals[0] / totals[1])


def weights_for(where: str, sample_weight: Any, shape: Shape) -> np.ndarray:
    """The weight of every row, float64 of that shape, from one weight for all, for each
    sample, or for each row; axes of length 1 may follow.

    Raises:
        ValueError: another shape.
    """
    if sample_weight is None:
        return np.ones(shape)
    weights = as_numbers(where, "sample_weight", sample_weight, np.float32)
    weights = weights.astype(np.float64)
    given = weights.shape
    while weights.ndim > 1 and weights.shape != shape[: weights.ndim]:
        if weights.shape[-1] != 1:
            break
        weights = weights[..., 0]
    if weights.ndim > len(shape) or weights.shape != shape[: weights.ndim]:
        forms = f"{shape[:1]}, one weight for each sample"
        if len(shape) > 1:
            forms += f", or {shape}, one for each row"
        raise ValueError(
            f"[{where}] sample_weight must have shape {forms}. "
            f"Received: shape {given}. Try np.ones({shape})."
        )
    missing = len(shape) - weights.ndim
    return np.broadcast_to(weights.reshape(weights.shape + (1,) * missing), shape)


class _Plain(Loss):
    """A loss without numbers of its own."""

    def __init__(
        self,
        reduction: str = "sum_over_batch_size",
        name: str | None = None,
        dtype: str | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__(name, reduction, dtype, **unknown)


class MeanSquaredError(_Plain):
    """mean (y - p)^2 over the outputs of a row."""

    kind = "mean_squared_error"


class MeanAbsoluteError(_Plain):
    """mean |y - p| over the outputs of a row."""

    kind = "mean_absolute_error"


class Huber(Loss):
    """e^2 / 2 for |e| <= delta, delta |e| - delta^2 / 2 beyond. Source: Huber 1964."""

    kind = "huber"

    def __init__(
        self,
        delta: float = 1.0,
        reduction: str = "sum_over_batch_size",
        name: str | None = None,
        dtype: str | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__(name, reduction, dtype, **unknown)
        if not is_number(delta) or not 0 < delta <= LARGEST:
            raise ValueError(
                "[Huber] delta must be finite and above 0. "
                f"Received: {delta!r}. Try delta=1.0."
            )
        self.delta = float(delta)

    def attrs(self) -> dict[str, Attr]:
        return {"delta": self.delta}


class LogCosh(_Plain):
    """mean log(cosh(y - p)) over the outputs of a row."""

    kind = "log_cosh"


class _CrossEntropy(Loss):
    """Cross-entropies: from probabilities, or from logits (more exact)."""

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str = "sum_over_batch_size",
        name: str | None = None,
        dtype: str | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__(name, reduction, dtype, **unknown)
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
    """-sum_i y_i log p_i; y one-hot or probabilities of the classes.

    Warns where there is one class: its probability is 1 whatever the model does.
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
    """-log p_y; y the number of the class, 0 to O - 1."""

    kind = "sparse_categorical_crossentropy"
    sparse = True

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str = "sum_over_batch_size",
        axis: int = -1,
        name: str | None = None,
        dtype: str | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__(name, reduction, dtype, **unknown)
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
    outputs_per_target = 2

    def __init__(
        self, beta: float = 0.0, name: str | None = None, **common: Any
    ) -> None:
        super().__init__(name, **common)
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
    then of the second, ... Source: Koenker & Bassett 1978.

    Args:
        quantiles: up to 32 different numbers between 0 and 1, in increasing order.
    """

    kind = "pinball"
    MOST = 32

    def __init__(
        self,
        quantiles: Sequence[float] = (0.05, 0.5, 0.95),
        name: str | None = None,
        **common: Any,
    ) -> None:
        super().__init__(name, **common)
        listed = isinstance(quantiles, (list, tuple)) or np.ndim(quantiles) == 1
        numbers = listed and all(map(is_number, quantiles))
        given = [float(q) for q in quantiles] if numbers else []
        increasing = all(a < b for a, b in pairwise([0.0, *given, 1.0]))
        if not 1 <= len(given) <= self.MOST or not increasing:
            raise ValueError(
                f"[Pinball] quantiles must be up to {self.MOST} increasing numbers "
                f"between 0 and 1. Received: {quantiles!r}. Try (0.05, 0.5, 0.95)."
            )
        self.quantiles = tuple(given)
        self.outputs_per_target = len(given)

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
        "BCE": BinaryCrossentropy,
    }
)


@entry
def get(identifier: Any) -> Any:
    """The loss of that name as in Keras: for a class's name an object, else the
    function, which gives the value of every row; None is none."""
    if identifier is None:
        return None
    loss = as_loss(identifier)
    if isinstance(identifier, Loss) or identifier in CLASSES:
        return loss
    return globals()[loss.kind]


def as_loss(identifier: Any) -> Loss:
    """The loss of that name, class or function of this module, with Keras's defaults.

    Raises:
        TypeError: a function or an object of another kind.
        ValueError: an unknown name.
    """
    if isinstance(identifier, type) and issubclass(identifier, Loss):
        identifier = identifier()
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
    return entry(loss)


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
