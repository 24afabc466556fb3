"""Labels of a classifier: texts, whole numbers or booleans, all of one kind."""

from __future__ import annotations

from typing import Any

import numpy as np

from kurve.core.arrays import as_array, is_missing
from kurve.core.entries import warn
from kurve.estimators.errors import conversion_warning

LABELS: dict[type, tuple[type, ...]] = {
    str: (str,),
    bool: (bool, np.bool_),
    int: (int, np.integer),
    float: (float, np.floating),
}
"""Kinds of labels, and the types that are of each."""


def read_labels(where: str, y: Any) -> tuple[np.ndarray, bool]:
    """Labels as an array (n,), and whether they were given as (n,)."""
    array = as_array(where, "y", y)
    if array.ndim == 2 and array.shape[1] == 1:
        warn(
            "A column-vector y was passed when a 1d array was expected. Please change "
            "the shape of y to (n_samples,), for example using ravel().",
            conversion_warning(),
        )
        labels = array[:, 0]
    else:
        labels = array
    if labels.ndim != 1 or labels.size == 0:
        raise ValueError(
            f"[{where}] y must be one label a row, of shape (n,), and not be empty. "
            f"Received: shape {array.shape}. Try one Classifier for each column."
        )
    if isinstance(y, (list, tuple)) and labels.dtype.kind in "fiubU":
        # As objects, large integers and booleans beside others stay what they are.
        objects = of_one_kind(where, np.asarray(y, dtype=object).reshape(-1))
        labels = objects if objects.dtype.kind != "O" else objects.astype(str)
    elif labels.dtype.kind in "OT":
        labels = of_one_kind(where, labels.astype(object))
    elif labels.dtype.kind == "f":
        labels = labels.astype(np.float64)  # files know no others
    if labels.dtype.kind == "c":
        raise ValueError(
            f"[{where}] Complex data not supported. Received: y of {labels.dtype}. "
            "Try numbers or texts as labels."
        )
    if labels.dtype.kind == "f":
        bad = ~np.isfinite(labels)
        if bad.any():
            row = int(np.argmax(bad))
            kind = "NaN" if labels[row] != labels[row] else "infinity"
            raise ValueError(
                f"[{where}] y must hold labels: Input y contains {kind}. Received: "
                f"y[{row}] = {labels[row]}. Try leaving these rows out."
            )
        broken = labels != np.floor(labels)
        if broken.any():
            row = int(np.argmax(broken))
            raise ValueError(
                f"[{where}] Unknown label type: continuous. A classifier needs "
                f"classes, and y holds measurements. Received: y[{row}] = "
                f"{labels[row]}. Try kurve.Regressor."
            )
    elif labels.dtype.kind not in "iubUO":
        raise _no_label(where, labels, 0)
    return labels, array.ndim == 1


def of_one_kind(where: str, labels: np.ndarray) -> np.ndarray:
    """Objects (n,) as booleans, integers or floats, or as they are if all are texts."""
    gaps = np.array([is_missing(v) for v in labels], bool)
    if gaps.any():
        raise ValueError(
            f"[{where}] y must hold labels: Input y contains NaN. Received: "
            f"y[{int(np.argmax(gaps))}] = {labels[int(np.argmax(gaps))]!r}. "
            "Try leaving these rows out."
        )
    found: set[type] = set()
    for given in set(map(type, labels)):
        kind = next(
            (k for k, those in LABELS.items() if issubclass(given, those)), None
        )
        if kind is None:
            row = next(i for i, label in enumerate(labels) if type(label) is given)
            raise _no_label(where, labels, row)
        found.add(kind)
    if str in found:
        for row, label in enumerate(labels):
            if isinstance(label, str) and label.endswith("\0"):
                raise ValueError(
                    f"[{where}] labels must not end in a zero byte, which arrays of "
                    f"text lose. Received: y[{row}] = {label!r}. "
                    "Try label.rstrip('\\0')."
                )
    if found == {str}:
        return labels
    if found == {bool}:
        return labels.astype(bool)
    if found == {int}:
        low, high = min(labels), max(labels)
        for dtype in (np.int64, np.uint64):
            if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
                return labels.astype(dtype)
        raise ValueError(
            f"[{where}] labels that are integers must fit into 64 bits. Received: "
            f"{low} to {high}. Try y.astype(str)."
        )
    if found <= {int, float} and all(float(v) == v for v in labels):
        return labels.astype(np.float64)
    raise TypeError(
        f"[{where}] labels must be all texts, all numbers or all booleans. Received: "
        f"{sorted(k.__name__ for k in found)}. Try y.astype(str)."
    )


def _no_label(where: str, labels: np.ndarray, row: int) -> TypeError:
    label = labels[row]
    return TypeError(
        f"[{where}] labels must be texts, integers or booleans. Received: y[{row}] = "
        f"{label!r} of type {type(label).__name__}. Try y.astype(str)."
    )
