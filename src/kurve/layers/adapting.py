"""The data that `adapt` learns from: an array, or batches of any source."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from kurve.core.arrays import is_frame


def batches(data: Any, steps: int | None = None) -> Iterator[Any]:
    """The batches that are to be learned from.

    Args:
        data: an array, a number or a nested list, which is one batch; or batches: a
            list of arrays, a generator, a `PyDataset`, a `tf.data.Dataset` or any
            other iterable. Of a batch (x, y), x is used.
        steps: number of batches to use; None for all.
    """
    if not is_frame(data) and hasattr(data, "__array__"):  # columns of frames too
        data = np.asarray(data)
    is_data = isinstance(data, (np.ndarray, str)) or is_frame(data)
    if isinstance(data, (list, tuple)):
        is_data = not any(_is_batch(part) for part in data)
    if is_data or not (hasattr(data, "__iter__") or hasattr(data, "__getitem__")):
        yield data
        return
    found = iter(data)
    if hasattr(data, "__getitem__") and hasattr(data, "__len__"):  # a PyDataset
        found = map(data.__getitem__, range(len(data)))
    for part in itertools.islice(found, steps):
        yield part[0] if isinstance(part, tuple) and _is_batch(part) else part


def _is_batch(part: Any) -> bool:
    """Whether an item of a list is an array, or (x, y) with one, rather than data."""
    first = part[0] if isinstance(part, tuple) and part else part
    return hasattr(first, "__array__") and np.ndim(first) > 0
