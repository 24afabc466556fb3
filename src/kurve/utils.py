"""Small helpers with Keras's names."""

from __future__ import annotations

from typing import Any

import numpy as np

from kurve.core.arguments import is_count
from kurve.core.arrays import as_numbers
from kurve.core.entries import entry
from kurve.core.rng import set_random_seed as set_random_seed
from kurve.errors import absent as _absent


@entry
def to_categorical(x: Any, num_classes: int | None = None) -> np.ndarray:
    """Class numbers (n, ...) as one-hot rows: float64 (n, ..., num_classes).

    Args:
        x: integers from 0; a last axis of length 1 is removed.
        num_classes: at least the largest number plus 1, which is the default.

    Raises:
        ValueError: empty, not integers, below 0 or not below num_classes.

    Example:
        >>> kurve.utils.to_categorical([0, 2, 1])
        array([[1., 0., 0.],
               [0., 0., 1.],
               [0., 1., 0.]])
    """
    classes = as_numbers("to_categorical", "x", x)
    if num_classes is not None and not is_count(num_classes):
        raise TypeError(
            "[to_categorical] num_classes must be an integer of at least 1. "
            f"Received: num_classes={num_classes!r}. Try num_classes=10."
        )
    if classes.ndim > 1 and classes.shape[-1] == 1:
        classes = classes[..., 0]
    if not classes.size:
        raise ValueError(
            "[to_categorical] x must hold class numbers. Received: an array of shape "
            f"{classes.shape} and type {classes.dtype}. Try [0, 1, 2]."
        )
    count = int(np.max(classes)) + 1 if num_classes is None else int(num_classes)
    is_invalid = (classes < 0) | (classes >= count) | (classes != np.floor(classes))
    if is_invalid.any():
        position = tuple(int(i) for i in np.argwhere(is_invalid)[0])
        fix = "Try numpy.unique(x, return_inverse=True)[1]."
        if (classes >= count).any():
            fix = f"Try num_classes={int(np.max(classes)) + 1}."
        raise ValueError(
            f"[to_categorical] x must hold whole numbers from 0 to {count - 1}. "
            f"Received: x[{', '.join(map(str, position))}] = {classes[position]}. "
            f"{fix}"
        )
    one_hot: np.ndarray = np.eye(count)[classes.astype(np.int64)]
    return one_hot


__getattr__ = _absent(__name__)
