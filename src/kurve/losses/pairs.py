"""Losses that compare all rows of a batch with each other."""

from __future__ import annotations

from typing import Any

from kurve.core.arguments import check_flag
from kurve.core.entries import entry
from kurve.formulas import functions as ops
from kurve.losses.formulas import Formula, number

LOWEST = -1e30
"""In the place of -infinity, whose logarithmic sums have no derivative."""


class Circle(Formula):
    """log(1 + sum over p of exp(-gamma (margin + d_p) (margin - d_p)) x sum over n of
    exp(gamma (1 + margin - d_n) (1 - margin - d_n))) for each row: d are its distances,
    1 less the product of the vectors, from the rows p of the same class and the rows n
    of others. The factors (margin + d) and (1 + margin - d) are at least 0. Rows whose
    value is 0 do not count.

    Shapes: y_true (B,), class numbers; y_pred (B, O), vectors of length 1, such as
    `layers.UnitNormalization` gives -> one number. Rows are compared, so that a model
    with this loss trains in steps of Python.
    Source: Sun et al. 2020, equation 6, as Keras has it.

    Args:
        gamma: scale of the similarities.
        margin: see above.
        remove_diagonal: whether a row does not count as one of its own class.
        reduction, name, dtype: see `Loss`.

    Raises:
        ValueError: as `Loss`.

    Example:
        >>> loss = kurve.losses.Circle()
        >>> round(loss([0, 0, 1], [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), 4)
        0.0
    """

    kind = "circle"
    sparse = True
    across_rows = True
    attr_names = ("gamma", "margin", "remove_diagonal")

    def __init__(
        self,
        gamma: float = 80.0,
        margin: float = 0.4,
        remove_diagonal: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype)
        self.gamma = number(self, "gamma", gamma)
        self.margin = number(self, "margin", margin)
        self.remove_diagonal = check_flag("Circle", "remove_diagonal", remove_diagonal)

    def rows(self, y_true: Any, y_pred: Any) -> Any:
        """The formula."""
        return circle(
            y_true,
            y_pred,
            remove_diagonal=self.remove_diagonal,
            gamma=self.gamma,
            margin=self.margin,
        )

    def known(self, y_true: Any, y_pred: Any) -> Any:
        """Rows whose loss is 0 do not count."""
        rows = ops.stop_gradient(self.rows(y_true, y_pred))
        return ops.cast(ops.greater(rows, 0.0), "float32")


@entry
def circle(
    y_true: Any,
    y_pred: Any,
    ref_labels: Any = None,
    ref_embeddings: Any = None,
    remove_diagonal: bool = True,
    gamma: float = 80,
    margin: float = 0.4,
) -> Any:
    """`Circle` of every row; with other rows to compare them with.

    Args:
        y_true: class numbers (B,).
        y_pred: vectors (B, O) of length 1.
        ref_labels, ref_embeddings: those of the rows to compare with; the same if None.
        remove_diagonal, gamma, margin: see `Circle`.
    """
    y_pred = ops.convert_to_tensor(y_pred)
    others = y_pred if ref_embeddings is None else ref_embeddings
    labels = ops.reshape(ops.cast(y_true, "int32"), (-1, 1))
    known = labels if ref_labels is None else ops.cast(ref_labels, "int32")
    same = ops.equal(labels, ops.reshape(known, (1, -1)))
    positive, negative = (ops.cast(m, "float32") for m in (same, ~same))
    if remove_diagonal:
        count, width = ops.shape(same)
        positive = positive * (1.0 - ops.eye(count, width))
    d = ops.maximum(1.0 - ops.matmul(y_pred, ops.transpose(others)), 0.0)
    near = -gamma * ops.maximum(margin + d, 0.0) * (margin - d)
    far = gamma * ops.maximum(1.0 + margin - d, 0.0) * (1.0 - margin - d)
    both = [
        ops.logsumexp(ops.where(ops.greater(mask, 0.0), value, LOWEST), axis=1)
        for mask, value in ((positive, near), (negative, far))
    ]
    return ops.softplus(both[0] + both[1])


circle.kind = "circle"  # type: ignore[attr-defined]
