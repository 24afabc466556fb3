"""Elements selected by index arrays, and rows added by index, on gradient tapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from kurve.formulas.graph import is_variable
from kurve.formulas.recording import UNRECORDED, active
from kurve.gradients.values import TracedValues, plain, traced


def picked(x: Any, key: Any) -> Any:
    """x[key] for integer or boolean arrays; `UNRECORDED` for other keys."""
    parts = key if isinstance(key, tuple) else (key,)
    if is_variable(x) or not any(
        isinstance(part, (list, np.ndarray)) and np.ndim(part) for part in parts
    ):
        return UNRECORDED
    index = tuple(plain(part) for part in parts)
    array = plain(x)
    found = traced(np.asarray(array[index]))
    piece = Picked(array, index, x.key, found.key)
    for tape in active.tapes:
        tape.add(piece)
    return found


def _taken(x: Any, indices: Any, axis: Any = None) -> Any:
    """`take` of rows of a value by numbers; `UNRECORDED` for others."""
    numbers = np.asarray(plain(getattr(indices, "value", indices)))
    if not isinstance(x, TracedValues) or axis != 0 or numbers.ndim == 0:
        return UNRECORDED
    return picked(x, numbers.astype(np.int64))


def _summed(
    data: Any, segment_ids: Any, num_segments: Any = None, sorted: bool = False
) -> Any:
    """`segment_sum` of a value; `UNRECORDED` for others."""
    ids = np.asarray(plain(segment_ids)).astype(np.int64)
    count = int(ids.max(initial=-1)) + 1 if num_segments is None else int(num_segments)
    if not isinstance(data, TracedValues) or ((ids < 0) | (ids >= count)).any():
        return UNRECORDED
    array = plain(data)
    y = np.zeros((count, *array.shape[1:]), array.dtype)
    np.add.at(y, ids, array)
    found = traced(y)
    piece = Placed(y.shape, (ids,), data.key, found.key)
    for tape in active.tapes:
        tape.add(piece)
    return found


BY_ROWS: dict[str, Callable[..., Any]] = {"take": _taken, "segment_sum": _summed}


class Picked:
    """Elements selected by index arrays, as a segment of a tape."""

    params: tuple[Any, ...] = ()

    def __init__(self, array: np.ndarray, index: Any, key: Any, out: Any) -> None:
        self.shape, self.index = array.shape, index
        self.keys, self.outputs = [key], [(0, out, False)]

    def backward(self, gradients: Mapping[Any, Any], wanted: Any = ()) -> Any:
        """Elements selected twice receive both gradients."""
        ((_, out, _),) = self.outputs
        dy = np.asarray(gradients[out])
        dx = np.zeros(self.shape, dy.dtype)
        np.add.at(dx, self.index, dy)
        return [(self.keys[0], dx)], []

    def reversed(self, key: Any, out: Any) -> Placed:
        """The segment that computed dx from dy."""
        return Placed(self.shape, self.index, key, out)


class Placed:
    """Elements added at positions: the backward pass through `Picked`."""

    params: tuple[Any, ...] = ()

    def __init__(self, shape: Any, index: Any, key: Any, out: Any) -> None:
        self.shape, self.index = shape, index
        self.keys, self.outputs = [key], [(0, out, False)]

    def backward(self, gradients: Mapping[Any, Any], wanted: Any = ()) -> Any:
        """Each receives the gradient at its position."""
        ((_, out, _),) = self.outputs
        return [(self.keys[0], np.asarray(gradients[out])[self.index])], []

    def reversed(self, key: Any, out: Any) -> Picked:
        """The segment that computed dx from dy."""
        return Picked(np.zeros(self.shape), self.index, key, out)
