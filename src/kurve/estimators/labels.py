"""Labels of a classifier: strings, integers or booleans, all of one type."""

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
"""Kinds of labels, and the types of each."""


def read_labels(where: str, y: Any) -> tuple[np.ndarray, bool]:
    """Labels as an array (n,), and whether y had that shape."""
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
            f"[{where}] y must be one label per row, of shape (n,), and not be empty. "
            f"Received: shape {array.shape}. Try one Classifier per column."
        )
    if isinstance(y, (list, tuple)) and labels.dtype.kind in "fiubU":
        # Objects, because an array would convert large integers and mixed booleans.
        objects = of_one_kind(where, np.asarray(y, dtype=object).reshape(-1))
        labels = objects if objects.dtype.kind != "O" else objects.astype(str)
    elif labels.dtype.kind in "OT":
        labels = of_one_kind(where, labels.astype(object))
    elif labels.dtype.kind == "f":
        labels = labels.astype(np.float64)  # the only floats in files
    if labels.dtype.kind == "c":
        raise ValueError(
            f"[{where}] Complex data not supported. Received: y of {labels.dtype}. "
            "Try numbers or strings as labels."
        )
    if labels.dtype.kind == "f":
        bad = ~np.isfinite(labels)
        if bad.any():
            row = int(np.argmax(bad))
            kind = "NaN" if labels[row] != labels[row] else "infinity"
            raise ValueError(
                f"[{where}] y must hold labels: Input y contains {kind}. Received: "
                f"y[{row}] = {labels[row]}. Try dropping these rows."
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
    """Convert objects (n,) to booleans, integers or floats; strings stay unchanged."""
    missing = np.array([is_missing(v) for v in labels], bool)
    if missing.any():
        raise ValueError(
            f"[{where}] y must hold labels: Input y contains NaN. Received: "
            f"y[{int(np.argmax(missing))}] = {labels[int(np.argmax(missing))]!r}. "
            "Try dropping these rows."
        )
    kinds: set[type] = set()
    for label_type in set(map(type, labels)):
        kind = next(
            (k for k, types in LABELS.items() if issubclass(label_type, types)), None
        )
        if kind is None:
            row = next(i for i, label in enumerate(labels) if type(label) is label_type)
            raise _no_label(where, labels, row)
        kinds.add(kind)
    if str in kinds:
        for row, label in enumerate(labels):
            if isinstance(label, str) and label.endswith("\0"):
                raise ValueError(
                    f"[{where}] labels must not end in a zero byte, which NumPy's "
                    f"arrays of text drop. Received: y[{row}] = {label!r}. "
                    "Try label.rstrip('\\0')."
                )
    if kinds == {str}:
        return labels
    if kinds == {bool}:
        return labels.astype(bool)
    if kinds == {int}:
        low, high = min(labels), max(labels)
        for dtype in (np.int64, np.uint64):
            if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
                return labels.astype(dtype)
        raise ValueError(
            f"[{where}] labels that are integers must fit into 64 bits. Received: "
            f"{low} to {high}. Try y.astype(str)."
        )
    if kinds <= {int, float} and all(float(v) == v for v in labels):
        return labels.astype(np.float64)
    raise TypeError(
        f"[{where}] labels must be all strings, all numbers or all booleans. Received: "
        f"{sorted(k.__name__ for k in kinds)}. Try y.astype(str)."
    )


def _no_label(where: str, labels: np.ndarray, row: int) -> TypeError:
    label = labels[row]
    return TypeError(
        f"[{where}] labels must be strings, integers or booleans. Received: y[{row}] = "
        f"{label!r} of type {type(label).__name__}. Try y.astype(str)."
    )
