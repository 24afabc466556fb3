"""Losses that are formulas in functions of `kurve.ops`: engines run them as operations
of the plan, forward and backward. Adding one touches this file alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from kurve.core.arguments import check_flag, is_integer, is_number
from kurve.core.entries import entry
from kurve.formulas import functions as ops
from kurve.losses.base import Loss
from kurve.plan import Attr, Spec

EPSILON = 1e-7
"""Keras's fuzz factor."""


class Formula(Loss):
    """Base class: `rows` is the formula, in functions of `kurve.ops`.

    What it gives, a number a row or one for the whole batch, is weighted and averaged.

    Args:
        name, reduction, dtype: see `Loss`.

    Raises:
        ValueError: as `Loss`.

    Example:
        >>> class Fourth(kurve.losses.Formula):
        ...     def rows(self, y_true, y_pred):
        ...         return ((y_true - y_pred) ** 4).mean(axis=-1)
        >>> Fourth()(np.zeros((1, 1)), np.full((1, 1), 2.0))
        16.0
    """

    @property
    def spec(self) -> Spec:
        return Spec("rows")

    def rows(self, y_true: Any, y_pred: Any) -> Any:
        """The value of every row, of tensors or arrays."""
        raise NotImplementedError

    def traced(self, y_true: Any, y_pred: Any) -> Any:
        """The rows as a tensor of a plan under construction."""
        result = self.rows(y_true, y_pred)
        if not hasattr(result, "index"):
            raise TypeError(
                f"[{self.name}] a loss must be computed from y_true and y_pred. "
                f"Received: {result!r}. Try functions of kurve.ops, such as "
                "ops.mean(ops.square(y_true - y_pred), axis=-1)."
            )
        return result

    def _rows(self, y_true: Any, y_pred: Any) -> np.ndarray:
        y, p = self.paired(y_true, y_pred)
        try:
            with np.errstate(all="ignore"):
                return np.asarray(self.rows(y, p))
        except (ValueError, OverflowError) as error:
            if str(error).startswith("["):
                raise
            raise ValueError(
                f"[{type(self).__name__}] the formula must fit the shapes of y_true "
                f"and y_pred: {error}. Received: shapes {y.shape} and {p.shape}, "
                f"{self.attrs()}. Try axis=-1."
            ) from None

    @entry
    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss of a batch.

        Args:
            y_true, y_pred: see `call`.
            sample_weight: a number, (B,), or a weight for every row, (B, ...).
        """
        return self.reduced(self._rows(y_true, y_pred), sample_weight)


class _Plain(Formula):
    """A formula without parameters."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype)


class MeanAbsolutePercentageError(_Plain):
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
        """The formula."""
        least = ops.maximum(ops.absolute(y_true), EPSILON)
        return 100.0 * ops.mean(ops.absolute((y_true - y_pred) / least), axis=-1)


class MeanSquaredLogarithmicError(_Plain):
    """mean (log(1 + y) - log(1 + p))^2 over the outputs of a row; negative values count
    as 0.

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
        """The formula."""
        first = ops.log(ops.maximum(y_pred, EPSILON) + 1.0)
        second = ops.log(ops.maximum(y_true, EPSILON) + 1.0)
        return ops.mean(ops.square(first - second), axis=-1)


class Poisson(_Plain):
    """mean (p - y log(p)) over the outputs of a row: the negative log likelihood of
    counts y with rates p, without what depends on y alone.

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
        """The formula."""
        return ops.mean(y_pred - y_true * ops.log(y_pred + EPSILON), axis=-1)


class KLDivergence(_Plain):
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
        """The formula."""
        y, p = ops.clip(y_true, EPSILON, 1.0), ops.clip(y_pred, EPSILON, 1.0)
        return ops.sum(y * ops.log(y / p), axis=-1)


def _signs(y_true: Any) -> Any:
    """Labels as -1 and 1, if all of the batch are 0 or 1."""
    binary = ops.all(ops.logical_or(ops.equal(y_true, 0.0), ops.equal(y_true, 1.0)))
    return ops.where(binary, 2.0 * y_true - 1.0, y_true)


class Hinge(_Plain):
    """mean max(1 - y p, 0) over the outputs of a row, for labels -1 and 1 (or 0 and 1
    in all of the batch).

    Shapes: y_true and y_pred (B, ..., O) -> one number.

    Args:
        reduction, name, dtype: see `Loss`.

    Raises:
        ValueError: as `Loss`.

    Example:
        >>> kurve.losses.Hinge()([[1.0]], [[0.25]])
        0.75
    """

    kind = "hinge"

    def rows(self, y_true: Any, y_pred: Any) -> Any:
        """The formula."""
        return ops.mean(ops.maximum(1.0 - _signs(y_true) * y_pred, 0.0), axis=-1)


class SquaredHinge(_Plain):
    """mean max(1 - y p, 0)^2 over the outputs of a row, for labels as of `Hinge`.

    Shapes: y_true and y_pred (B, ..., O) -> one number.

    Args:
        reduction, name, dtype: see `Loss`.

    Raises:
        ValueError: as `Loss`.

    Example:
        >>> kurve.losses.SquaredHinge()([[1.0]], [[0.5]])
        0.25
    """

    kind = "squared_hinge"

    def rows(self, y_true: Any, y_pred: Any) -> Any:
        """The formula."""
        margin = ops.maximum(1.0 - _signs(y_true) * y_pred, 0.0)
        return ops.mean(ops.square(margin), axis=-1)


class CategoricalHinge(_Plain):
    """max(max((1 - y) p) - sum(y p) + 1, 0) of each row, for one-hot labels.

    Shapes: y_true and y_pred (B, ..., O) -> one number.

    Args:
        reduction, name, dtype: see `Loss`.

    Raises:
        ValueError: as `Loss`.

    Example:
        >>> kurve.losses.CategoricalHinge()([[1.0, 0.0]], [[0.75, 0.25]])
        0.5
    """

    kind = "categorical_hinge"

    def rows(self, y_true: Any, y_pred: Any) -> Any:
        """The formula."""
        right = ops.sum(y_true * y_pred, axis=-1)
        wrong = ops.max((1.0 - y_true) * y_pred, axis=-1)
        return ops.maximum(wrong - right + 1.0, 0.0)


class _Along(Formula):
    """A formula over an axis."""

    def __init__(
        self,
        axis: int | None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype)
        self.axis = _axis(self, axis, several=True)

    def attrs(self) -> dict[str, Attr]:
        return {"axis": self.axis}


class CosineSimilarity(_Along):
    """-sum(y p) / (|y| |p|) along an axis: -1 for equal directions.

    Shapes: y_true and y_pred (B, ..., O) -> one number.

    Args:
        axis: counted with the batch axis.
        reduction, name, dtype: see `Loss`.

    Raises:
        ValueError: as `Loss`.

    Example:
        >>> kurve.losses.CosineSimilarity()([[1.0, 0.0]], [[2.0, 0.0]])
        -1.0
    """

    kind = "cosine_similarity"

    def __init__(
        self,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(axis, reduction, name, dtype)
        self.axis = _axis(self, axis)

    def rows(self, y_true: Any, y_pred: Any) -> Any:
        """The formula."""
        y, p = ops.normalize(y_true, self.axis), ops.normalize(y_pred, self.axis)
        return -ops.sum(y * p, axis=self.axis)


class Dice(_Along):
    """1 - 2 sum(y p) / (sum y + sum p + 1e-7), over these axes or over the whole batch.

    Shapes: y_true and y_pred (B, ..., O) -> one number.
    Source: Dice 1945; Milletari et al. 2016.

    Args:
        reduction, name, dtype: see `Loss`.
        axis: counted with the batch axis; None for all.

    Raises:
        ValueError: as `Loss`.

    Example:
        >>> round(kurve.losses.Dice()([[1.0, 0.0]], [[1.0, 0.0]]), 4)
        0.0
    """

    kind = "dice"

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        axis: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(axis, reduction, name, dtype)

    def rows(self, y_true: Any, y_pred: Any) -> Any:
        """The formula."""
        both = ops.sum(y_true * y_pred, axis=self.axis)
        total = ops.sum(y_true, axis=self.axis) + ops.sum(y_pred, axis=self.axis)
        return 1.0 - 2.0 * both / (total + EPSILON)


class Tversky(_Along):
    """1 - TP / (TP + alpha FP + beta FN + 1e-7), TP = sum(y p), FP = sum(y (1 - p)) and
    FN = sum((1 - y) p), over these axes or over the whole batch.

    Shapes: y_true and y_pred (B, ..., O) -> one number.
    Source: Salehi et al. 2017, with Keras's names of the two errors.

    Args:
        alpha, beta: weights of the two kinds of errors.
        reduction, name, dtype: see `Loss`.
        axis: counted with the batch axis; None for all.

    Raises:
        ValueError: as `Loss`.

    Example:
        >>> round(kurve.losses.Tversky()([[1.0, 0.0]], [[1.0, 0.0]]), 4)
        0.0
    """

    kind = "tversky"

    def __init__(
        self,
        alpha: float = 0.5,
        beta: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        axis: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(axis, reduction, name, dtype)
        self.alpha = _number(self, "alpha", alpha)
        self.beta = _number(self, "beta", beta)

    def attrs(self) -> dict[str, Attr]:
        return {"alpha": self.alpha, "beta": self.beta, **super().attrs()}

    def rows(self, y_true: Any, y_pred: Any) -> Any:
        """The formula."""
        both = ops.sum(y_true * y_pred, axis=self.axis)
        first = ops.sum((1.0 - y_pred) * y_true, axis=self.axis)
        second = ops.sum(y_pred * (1.0 - y_true), axis=self.axis)
        total = both + first * self.alpha + second * self.beta + EPSILON
        return 1.0 - both / total


def _number(loss: Loss, name: str, value: Any, most: float = math.inf) -> float:
    """A number from 0 to `most`.

    Raises:
        ValueError: anything else.
    """
    if is_number(value) and 0.0 <= value <= min(most, _LARGEST):
        return float(value)
    until = "of at least 0" if most == math.inf else f"in [0, {most:g}]"
    raise ValueError(
        f"[{type(loss).__name__}] {name} must be a number {until}. "
        f"Received: {name}={value!r}. Try {name}=0.5."
    )


_LARGEST = float(np.finfo(np.float32).max)


def _axis(loss: Loss, value: Any, several: bool = False) -> Any:
    """An axis; with `several` also a tuple of them, or None for all.

    Raises:
        ValueError: anything else.
    """
    if is_integer(value):
        return int(value)
    if several and value is None:
        return None
    if several and isinstance(value, (list, tuple)) and all(map(is_integer, value)):
        return tuple(int(axis) for axis in value)
    raise ValueError(
        f"[{type(loss).__name__}] axis must be an integer"
        f"{', a tuple of them or None' if several else ''}. "
        f"Received: axis={value!r}. Try axis=-1."
    )


def _smoothed(y_true: Any, smoothing: float, share: float) -> Any:
    return y_true * (1.0 - smoothing) + smoothing * share if smoothing else y_true


class BinaryFocalCrossentropy(Formula):
    """mean of (1 - p_t)^gamma times the binary cross-entropy over the outputs of a row,
    with p_t the probability of the right label; with `apply_class_balancing` times
    alpha for label 1 and 1 - alpha for label 0.

    Shapes: y_true and y_pred (B, ..., O) -> one number.
    Source: Lin et al. 2017.

    Args:
        apply_class_balancing, alpha, gamma: see above.
        from_logits: whether y_pred is before the sigmoid.
        label_smoothing: moves labels this share of the way to 1/2.
        axis: over which the mean is taken.
        reduction, name, dtype: see `Loss`.

    Raises:
        ValueError: as `Loss`.

    Example:
        >>> round(kurve.losses.BinaryFocalCrossentropy()([[1.0]], [[0.5]]), 4)
        0.1733
    """

    kind = "binary_focal_crossentropy"

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype)
        self.apply_class_balancing = check_flag(
            type(self).__name__, "apply_class_balancing", apply_class_balancing
        )
        self.alpha = _number(self, "alpha", alpha, 1.0)
        self.gamma = _number(self, "gamma", gamma)
        self.from_logits = check_flag(type(self).__name__, "from_logits", from_logits)
        self.label_smoothing = _number(self, "label_smoothing", label_smoothing, 1.0)
        self.axis = _axis(self, axis)

    def attrs(self) -> dict[str, Attr]:
        return {
            "apply_class_balancing": self.apply_class_balancing,
            "alpha": self.alpha,
            "gamma": self.gamma,
            "from_logits": self.from_logits,
            "label_smoothing": self.label_smoothing,
            "axis": self.axis,
        }

    def rows(self, y_true: Any, y_pred: Any) -> Any:
        """The formula."""
        y = _smoothed(y_true, self.label_smoothing, 0.5)
        p = ops.sigmoid(y_pred) if self.from_logits else y_pred
        inside = ops.clip(p, EPSILON, 1.0 - EPSILON)
        entropy = -(y * ops.log(inside) + (1.0 - y) * ops.log(1.0 - inside))
        right = y * p + (1.0 - y) * (1.0 - p)
        loss = ops.power(1.0 - right, self.gamma) * entropy
        if self.apply_class_balancing:
            loss = (y * self.alpha + (1.0 - y) * (1.0 - self.alpha)) * loss
        return ops.mean(loss, axis=self.axis)


class CategoricalFocalCrossentropy(Formula):
    """sum of -alpha (1 - p)^gamma y log(p) over the classes, with p made to sum to 1.

    Shapes: y_true and y_pred (B, ..., classes) -> one number.
    Source: Lin et al. 2017.

    Args:
        alpha: a factor, or one for each class.
        gamma: how much less the classes that are right already count.
        from_logits: whether y_pred is before the softmax.
        label_smoothing: moves labels this share of the way to 1 / classes.
        axis: of the classes.
        reduction, name, dtype: see `Loss`.

    Raises:
        ValueError: a negative alpha or gamma, and as `Loss`.

    Example:
        >>> loss = kurve.losses.CategoricalFocalCrossentropy()
        >>> round(loss([[1.0, 0.0]], [[0.5, 0.5]]), 4)
        0.0433
    """

    kind = "categorical_focal_crossentropy"

    def __init__(
        self,
        alpha: Any = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype)
        several = isinstance(alpha, (list, tuple, np.ndarray)) and np.size(alpha) > 0
        self.alpha: Any = (
            tuple(_number(self, "alpha", one) for one in np.ravel(alpha).tolist())
            if several
            else _number(self, "alpha", alpha)
        )
        self.gamma = _number(self, "gamma", gamma)
        self.from_logits = check_flag(type(self).__name__, "from_logits", from_logits)
        self.label_smoothing = _number(self, "label_smoothing", label_smoothing, 1.0)
        self.axis = _axis(self, axis)

    def attrs(self) -> dict[str, Attr]:
        return {
            "alpha": self.alpha,
            "gamma": self.gamma,
            "from_logits": self.from_logits,
            "label_smoothing": self.label_smoothing,
            "axis": self.axis,
        }

    def rows(self, y_true: Any, y_pred: Any) -> Any:
        """The formula."""
        y = _smoothed(y_true, self.label_smoothing, 1.0 / y_true.shape[-1])
        p = ops.softmax(y_pred, self.axis) if self.from_logits else y_pred
        p = p / ops.sum(p, axis=self.axis, keepdims=True)
        p = ops.clip(p, EPSILON, 1.0 - EPSILON)
        alpha = np.asarray(self.alpha, np.float32)
        factor = ops.power(1.0 - p, self.gamma) * alpha
        return ops.sum(factor * (-y * ops.log(p)), axis=self.axis)


class CategoricalGeneralizedCrossEntropy(Formula):
    """(1 - p^q) / q of each row, with p the probability of the right class: between the
    cross-entropy (q near 0) and the absolute error (q near 1).

    Shapes: y_true class numbers (B, ...), y_pred (B, ..., classes) -> one number.
    Source: Zhang & Sabuncu 2018.

    Args:
        q: in (0, 1).
        reduction, name, dtype: see `Loss`.

    Raises:
        ValueError: q outside (0, 1).

    Example:
        >>> loss = kurve.losses.CategoricalGeneralizedCrossEntropy(q=0.5)
        >>> round(loss([0], [[0.25, 0.75]]), 4)
        1.0
    """

    kind = "categorical_generalized_cross_entropy"
    sparse = True

    def __init__(
        self,
        q: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype)
        if not is_number(q) or not 0.0 < q < 1.0:
            raise ValueError(
                "[CategoricalGeneralizedCrossEntropy] q must be in (0, 1). "
                f"Received: q={q!r}. Try q=0.5."
            )
        self.q = q

    def attrs(self) -> dict[str, Attr]:
        return {"q": self.q}

    def rows(self, y_true: Any, y_pred: Any) -> Any:
        """The formula."""
        right = ops.sum(y_pred * ops.one_hot(y_true, y_pred.shape[-1]), axis=-1)
        return (1.0 - ops.power(right, self.q)) / self.q


class FunctionLoss(Formula):
    """A function of the user, traced as a formula.

    Args:
        function: (y_true, y_pred) -> a value of every row, or one of the batch, in
            functions of `kurve.ops` or NumPy's.
        name: that of the function if None.
        reduction, dtype: see `Loss`.

    Raises:
        TypeError: what is not a function of two arguments.

    Example:
        >>> from kurve.losses import FunctionLoss
        >>> FunctionLoss(lambda y, p: abs(y - p))(np.zeros((1, 1)), np.ones((1, 1)))
        1.0
    """

    kind = "function"

    def __init__(
        self,
        function: Callable[[Any, Any], Any],
        name: str | None = None,
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        if not callable(function) or isinstance(function, type):
            raise TypeError(
                "[FunctionLoss] a loss must be a function of y_true and y_pred. "
                f"Received: {function!r}. Try def loss(y_true, y_pred): ..."
            )
        own = getattr(function, "__name__", "function")
        super().__init__(
            name or (own if own.isidentifier() else "loss"), reduction, dtype
        )
        self.function = function

    def rows(self, y_true: Any, y_pred: Any) -> Any:
        """The user's formula."""
        return self.function(y_true, y_pred)

    def _rows(self, y_true: Any, y_pred: Any) -> np.ndarray:
        """What it raises is the user's."""
        y, p = self.paired(y_true, y_pred)
        with np.errstate(all="ignore"):
            return np.asarray(self.rows(y, p))

    def paired(self, y_true: Any, y_pred: Any) -> tuple[np.ndarray, np.ndarray]:
        """Both as float32 arrays, of any shapes."""
        return np.asarray(y_true, np.float32), np.asarray(y_pred, np.float32)


CLASSES: tuple[type[Formula], ...] = (
    MeanAbsolutePercentageError,
    MeanSquaredLogarithmicError,
    CosineSimilarity,
    Poisson,
    KLDivergence,
    Hinge,
    SquaredHinge,
    CategoricalHinge,
    BinaryFocalCrossentropy,
    CategoricalFocalCrossentropy,
    CategoricalGeneralizedCrossEntropy,
    Dice,
    Tversky,
)


def row_function(cls: type[Formula]) -> Callable[..., Any]:
    """The loss as a function of y_true and y_pred that gives the value of every row."""

    def call(y_true: Any, y_pred: Any, **arguments: Any) -> Any:
        return cls(**arguments).rows(
            ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        )

    call.__name__ = call.__qualname__ = cls.kind
    call.__doc__ = f"`{cls.__name__}` of every row."
    call.kind = cls.kind  # type: ignore[attr-defined]
    return entry(call)


for _cls in CLASSES:
    globals()[_cls.kind] = row_function(_cls)
