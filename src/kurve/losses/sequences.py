"""Losses of sequences."""

from __future__ import annotations

from typing import Any

import numpy as np

from kurve.formulas import functions as ops
from kurve.formulas.alignments import ctc_loss
from kurve.losses.formulas import PlainFormula, row_function
from kurve.plan import Attr, Shape


class CTC(PlainFormula):
    """-log of the probability of the labels of a sequence, summed over all their
    alignments with its steps (connectionist temporal classification). An alignment has
    at each step a label or a blank, class 0; repeated labels count once, unless there
    is a blank between them.

    Shapes: y_true (B, N), class numbers from 1 on, then zeros; y_pred (B, T, C), before
    the softmax -> one number. Other batches may have other N, and with
    Input((None, ...)) other T.
    Source: Graves et al. 2006.

    Args:
        reduction, name, dtype: see `Loss`.

    Raises:
        ValueError: as `Loss`; invalid class numbers.

    Example:
        >>> loss = kurve.losses.CTC()
        >>> round(loss([[1]], [[[0.0, 0.0], [0.0, 0.0]]]), 4)  # log(4 / 3)
        0.2877
    """

    kind = "ctc"

    def attrs(self) -> dict[str, Attr]:
        return {}

    @property
    def any_targets(self) -> bool:
        return True

    def fitted(self, y: Any, output_shape: Shape) -> Any:
        """Pad the labels with zeros to the longest length so far."""
        y, known = np.asarray(y), self.targets.get(output_shape)
        if known is None or y.ndim != 2 or y.shape[1:] == known:
            return y
        if y.shape[1] > known[0]:
            self.targets.clear()
            return y
        return np.pad(y, ((0, 0), (0, known[0] - y.shape[1])))

    def check_targets(self, where: str, y: np.ndarray, output_shape: Shape) -> None:
        """Refuse numbers that are not classes."""
        classes = output_shape[-1]
        wrong = (y < 0) | (y >= classes) | (y != np.floor(y))
        if wrong.any():
            at = tuple(int(i) for i in np.argwhere(wrong)[0])
            raise ValueError(
                f"[{where}] labels of the loss {self.name!r} must be class numbers "
                f"from 1 to {classes - 1}, the number of outputs less 1, or 0 after "
                f"the last one. Received: y[{', '.join(map(str, at))}] = {y[at]:g}. "
                "Try 0 instead of -1."
            )

    def paired(self, y_true: Any, y_pred: Any) -> tuple[np.ndarray, np.ndarray]:
        """Labels (B, N) and logits (B, T, C) as float32.

        Raises:
            ValueError: other shapes.
        """
        y, p = np.asarray(y_true, np.float32), np.asarray(y_pred, np.float32)
        if y.ndim != 2 or p.ndim != 3 or len(y) != len(p):
            raise ValueError(
                "[CTC] y_true must be labels (B, N), and y_pred logits (B, T, C). "
                f"Received: y_true.shape={y.shape}, y_pred.shape={p.shape}. Try "
                "y_true[None] and y_pred[None] for a single sequence."
            )
        return y, p

    def _rows_by_ops(self, y_true: Any, y_pred: Any) -> Any:
        return self.rows(y_true, y_pred)

    def rows(self, y_true: Any, y_pred: Any) -> Any:
        """The formula."""
        steps = ops.shape(y_pred)[1]
        count = ops.sum(ops.cast(ops.not_equal(y_true, 0.0), "float32"), axis=-1)
        return ctc_loss(y_true, y_pred, count, ops.zeros_like(count) + float(steps))


ctc = row_function(CTC)
