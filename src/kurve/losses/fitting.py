"""The loss "crossentropy": the cross-entropy that matches the targets."""

from __future__ import annotations

from typing import Any

import numpy as np

from kurve.formulas import functions as ops
from kurve.losses.base import Loss
from kurve.losses.crossentropies import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
)
from kurve.plan import Shape

SPARSE, BINARY = SparseCategoricalCrossentropy(), BinaryCrossentropy()
CATEGORICAL = CategoricalCrossentropy()


class FittingCrossentropy(Loss):
    """The string "crossentropy" or "ce" in `compile`: binary for one output, sparse for
    class numbers, else categorical. The first targets decide."""

    kind = "crossentropy"
    any_targets = True
    by_ops = True

    @property
    def sparse(self) -> bool:  # type: ignore[override]
        """Whether the targets seen so far are class numbers."""
        known = self.targets.items()
        return any(_matching(target, output) is SPARSE for output, target in known)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The value of every row, see `Loss.call`."""
        loss = _matching(np.shape(y_true), np.shape(y_pred))
        if loss is SPARSE and np.ndim(y_true) == np.ndim(y_pred):
            y_true = ops.squeeze(y_true, axis=-1)
        return loss.call(y_true, y_pred)

    def rows(self, y_true: Any, y_pred: Any) -> Any:
        return self.call(y_true, y_pred)

    def check_targets(self, where: str, y: np.ndarray, output_shape: Shape) -> None:
        loss = _matching(y.shape[1:], output_shape)
        if loss is SPARSE and y.ndim > len(output_shape):
            y = y[..., 0]
        loss.check_targets(where, y, output_shape)


def _matching(target: Shape, output: Shape) -> Loss:
    """The cross-entropy for targets and outputs of these shapes."""
    if output[-1] == 1:
        return BINARY
    if len(target) < len(output) or target[-1] == 1:
        return SPARSE
    return CATEGORICAL
