"""Cross-entropies that engines compute as one operation along the last axis; the
formulas are also in `kurve.engines.reference.losses`."""

from __future__ import annotations

from typing import Any

import numpy as np

from kurve.core.arguments import MAX_COUNT, check_flag, check_number, is_integer
from kurve.core.arrays import as_numbers
from kurve.core.entries import warn
from kurve.formulas import functions as ops
from kurve.formulas import nn
from kurve.losses.base import Loss
from kurve.plan import Attr, Shape


def checked_axis(where: str, axis: Any) -> int:
    """Validate the axis that a cross-entropy sums over, counting the batch axis.

    Raises:
        ValueError: not an integer.
    """
    if is_integer(axis) and axis != 0:
        return int(axis)
    raise ValueError(
        f"[{where}] axis must be an integer other than 0, the batch axis. "
        f"Received: axis={axis!r}. Try axis=-1."
    )


class _CrossEntropy(Loss):
    """Cross-entropies from probabilities or, more accurately, from logits. Operations
    compute them along an axis other than the last."""

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
        self.axis = checked_axis(type(self).__name__, axis)
        check_number(type(self).__name__, "label_smoothing", label_smoothing, 0.1, 0, 1)
        self.from_logits = check_flag(type(self).__name__, "from_logits", from_logits)
        self.label_smoothing = float(label_smoothing)

    @property
    def by_ops(self) -> bool:
        return super().by_ops or self.axis != -1

    def attrs(self) -> dict[str, Attr]:
        along = {} if self.axis == -1 else {"axis": self.axis}
        return {
            "from_logits": self.from_logits,
            "label_smoothing": self.label_smoothing,
            **along,
        }

    def check_targets(self, where: str, y: np.ndarray, output_shape: Shape) -> None:
        """Warn once about targets outside [0, 1]."""
        if self._warned or (y.min() >= 0.0 and y.max() <= 1.0):
            return
        self._warned = True
        position = tuple(int(i) for i in np.argwhere((y < 0) | (y > 1))[0])
        warn(
            f"[{where}] {self.kind} has targets outside [0, 1], which are not "
            "probabilities: its formula is used as is, with -y log p, as in policy "
            "gradients, and has no minimum. Received: "
            f"y[{', '.join(map(str, position))}] = {y[position]:g}. Try loss='mse' "
            "for numbers, or 'sparse_categorical_crossentropy' for class numbers."
        )


class BinaryCrossentropy(_CrossEntropy):
    """mean of -y log p - (1 - y) log(1 - p) over the outputs of a row.

    Shapes: y_true and y_pred (B, ..., O) -> one number.

    Args:
        from_logits: whether p holds logits rather than probabilities.
        label_smoothing: in [0, 1]; how far to move targets towards equal probabilities.
        axis: axis of the mean, counting the batch axis.
        reduction, name, dtype: see `Loss`.

    Raises:
        ValueError: label_smoothing out of range.
        UserWarning: targets outside [0, 1].

    Example:
        >>> round(kurve.losses.BinaryCrossentropy()([[1.0]], [[0.5]]), 4)
        0.6931
    """

    kind = "binary_crossentropy"

    def rows(self, y_true: Any, y_pred: Any) -> Any:
        s, y = self.label_smoothing, y_true
        y = y * (1.0 - s) + 0.5 * s if s else y
        entropy = nn.binary_crossentropy(y, y_pred, self.from_logits)
        return ops.mean(entropy, axis=self.axis)


class CategoricalCrossentropy(_CrossEntropy):
    """-sum_i y_i log p_i; y one-hot or probabilities of the classes.

    Warns if there is only one class, whose probability is always 1.

    Shapes: y_true and y_pred (B, ..., O) -> one number.

    Args:
        from_logits: whether p holds logits rather than probabilities.
        label_smoothing: in [0, 1]; how far to move targets towards equal probabilities.
        axis: the class axis, counting the batch axis.
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

    def rows(self, y_true: Any, y_pred: Any) -> Any:
        s, y = self.label_smoothing, y_true
        y = y * (1.0 - s) + s / y.shape[-1] if s else y
        return nn.categorical_crossentropy(y, y_pred, self.from_logits, self.axis)

    def check_targets(self, where: str, y: np.ndarray, output_shape: Shape) -> None:
        super().check_targets(where, y, output_shape)
        self._warn_of_one_class(where, output_shape)

    def paired(self, y_true: Any, y_pred: Any) -> tuple[np.ndarray, np.ndarray]:
        self._warn_of_one_class(type(self).__name__, np.shape(y_pred))
        return super().paired(y_true, y_pred)

    def _warn_of_one_class(self, where: str, output_shape: Shape) -> None:
        if output_shape and output_shape[-1] == 1:
            warn(
                f"[{where}] {self.kind} needs more than one class. "
                f"Received: an output of shape {output_shape}. Try "
                "'binary_crossentropy' for two classes and one output.",
            )


class SparseCategoricalCrossentropy(Loss):
    """-log p_y with the class number y, 0 to O - 1.

    Shapes: y_true (B, ...), y_pred (B, ..., O) -> one number.

    Args:
        from_logits: whether p holds logits rather than probabilities.
        ignore_class: rows of this class are ignored: their value is 0, and the mean is
            over the others.
        axis: the class axis, counting the batch axis.
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
        self.axis = checked_axis(where, axis)
        is_class = is_integer(ignore_class) and abs(ignore_class) <= MAX_COUNT  # type: ignore[arg-type]
        if ignore_class is not None and not is_class:
            raise ValueError(
                f"[{where}] ignore_class must be a class number or None. "
                f"Received: ignore_class={ignore_class!r}. Try ignore_class=0."
            )
        self.ignore_class = None if ignore_class is None else int(ignore_class)
        self.from_logits = check_flag(where, "from_logits", from_logits)
        if ignore_class is not None and reduction == "mean_with_sample_weight":
            raise ValueError(
                f"[{where}] ignore_class cannot be used with the reduction "
                "'mean_with_sample_weight': engines do not know the sum of the weights "
                "of the valid rows. Received: both. Try a sample_weight of 0 for "
                "samples to ignore."
            )

    @property
    def by_ops(self) -> bool:
        return super().by_ops or self.axis != -1 or self.ignore_class is not None

    def attrs(self) -> dict[str, Attr]:
        more: dict[str, Attr] = {}
        if self.ignore_class is not None:
            more["ignore_class"] = self.ignore_class
        if self.axis != -1:
            more["axis"] = self.axis
        return {"from_logits": self.from_logits, **more}

    def _class_axis(self, ndim: int) -> int:
        """The class axis, counted from the end, for outputs with this many axes,
        including the batch axis."""
        axis = self.axis if self.axis < 0 else self.axis - ndim
        if not -ndim < axis < 0:
            raise ValueError(
                f"[{type(self).__name__}] axis must be one of the outputs. Received: "
                f"axis={self.axis} for outputs of {ndim} axes. Try axis=-1."
            )
        return axis

    def target_shape(self, output_shape: Shape) -> Shape:
        """The output shape without the class axis."""
        axis = len(output_shape) + self._class_axis(len(output_shape) + 1)
        return (*output_shape[:axis], *output_shape[axis + 1 :])

    def paired(self, y_true: Any, y_pred: Any) -> tuple[np.ndarray, np.ndarray]:
        if self.axis == -1:
            return super().paired(y_true, y_pred)
        where = type(self).__name__
        y = as_numbers(where, "y_true", y_true, np.float32)
        p = as_numbers(where, "y_pred", y_pred, np.float32)
        axis = self._class_axis(p.ndim)
        if y.ndim == p.ndim and y.shape[axis] == 1:
            y = np.squeeze(y, axis)
        expected = np.moveaxis(p, axis, -1).shape[:-1]
        return self._of_shape(y, p, expected)

    def rows(self, y_true: Any, y_pred: Any) -> Any:
        axis = self._class_axis(len(y_pred.shape))
        classes, known, p = y_pred.shape[axis], self.known(y_true, y_pred), y_pred
        if known is not None:  # so that ignored rows do not affect gradients
            p = ops.where(ops.expand_dims(known, axis) > 0.0, p, 1.0 / classes)
        right = ops.one_hot(y_true, classes, axis=axis)
        values = nn.categorical_crossentropy(right, p, self.from_logits, axis)
        return values if known is None else values * known

    def known(self, y_true: Any, y_pred: Any) -> Any:
        if self.ignore_class is None:
            return None
        return ops.cast(ops.not_equal(y_true, float(self.ignore_class)), "float32")

    def check_targets(self, where: str, y: np.ndarray, output_shape: Shape) -> None:
        # For one sample or all: targets lack only the class axis.
        ndim = len(output_shape) + (len(output_shape) == y.ndim)
        classes = output_shape[self._class_axis(ndim)]
        bad = (y < 0) | (y >= classes) | (y != np.floor(y))
        if self.ignore_class is not None:
            bad &= y != self.ignore_class
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
