"""The confusion matrix, as in scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np

from kurve.core.arrays import as_array, as_numbers
from kurve.core.entries import entry
from kurve.errors import lookup


@entry
def confusion_matrix(
    y_true: Any,
    y_pred: Any,
    *,
    labels: Any = None,
    sample_weight: Any = None,
    normalize: str | None = None,
) -> np.ndarray:
    """Count the rows of class i (row i) predicted as class j (column j).

        confusion_matrix(y_test, model.predict(x_test).argmax(axis=1))

    Names, arguments and defaults are those of sklearn.metrics.confusion_matrix.

    Args:
        y_true, y_pred: classes (n,): numbers or names.
        labels: the classes, in the order of rows and columns; None for all that occur,
            sorted. Rows of other classes do not count.
        sample_weight: (n,), the weight of each row; 1 if None.
        normalize: "true" (fractions of each true class), "pred" (of each predicted
            class), "all", or None for counts.

    Returns:
        (k, k) int64; float64 with sample_weight or normalize.

    Raises:
        ValueError: different lengths, no labels, no label that occurs, or unknown
            normalize.

    Example:
        >>> kurve.metrics.confusion_matrix([0, 1, 1], [0, 1, 0])
        array([[1, 0],
               [1, 1]])
    """
    from kurve.metrics.scores import class_numbers, count_pairs

    where = "confusion_matrix"
    truth = as_array(where, "y_true", y_true)
    predicted = as_array(where, "y_pred", y_pred)
    if truth.ndim == 2 and truth.shape[1] == 1:
        truth = truth[:, 0]
    if truth.ndim != 1 or predicted.shape != truth.shape:
        raise ValueError(
            "[confusion_matrix] y_true and y_pred must hold one class per row. "
            f"Received: shapes {truth.shape} and {predicted.shape}. "
            "Try y_pred.argmax(axis=1) for probabilities."
        )
    known = np.unique(np.concatenate([truth, predicted]))
    if labels is not None:
        known = as_array(where, "labels", labels)
    if known.ndim != 1 or not known.size or len(set(known.tolist())) < known.size:
        raise ValueError(
            "[confusion_matrix] labels must be distinct classes, at least one. "
            f"Received: labels={labels!r} for {len(truth)} rows. Try labels=None."
        )
    rows = class_numbers(truth, known.tolist())
    columns = class_numbers(predicted, known.tolist())
    counted = (rows >= 0) & (columns >= 0)
    if not (rows >= 0).any():
        raise ValueError(
            "[confusion_matrix] at least one of the labels must be in y_true. "
            f"Received: labels={labels!r}. Try labels=None."
        )
    weights = None
    if sample_weight is not None:
        weights = as_numbers(where, "sample_weight", sample_weight, np.float64)
        weights = weights.reshape(len(truth))[counted]
    size = len(known)
    matrix = count_pairs(rows[counted], columns[counted], size, weights)
    if normalize is None:
        return matrix
    sums = {
        "true": matrix.sum(axis=1, keepdims=True),
        "pred": matrix.sum(axis=0),
        "all": matrix.sum(),
    }
    total = lookup("confusion_matrix", "normalize", normalize, sums)
    return np.divide(matrix, total, out=np.zeros((size, size)), where=total != 0)
