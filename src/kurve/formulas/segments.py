"""Functions of `kurve.ops` that reduce rows by groups."""

from __future__ import annotations

from typing import Any

import numpy as np

from kurve.formulas import functions as ops
from kurve.formulas.axes import no_batch
from kurve.formulas.calls import as_array, function, graph_of


def _groups(segment_ids: Any, num_segments: int | None) -> tuple[np.ndarray, int]:
    ids = np.asarray(as_array(segment_ids)).astype(np.int64)
    count = int(ids.max(initial=-1)) + 1 if num_segments is None else int(num_segments)
    return ids, count


@function
def segment_sum(
    data: Any, segment_ids: Any, num_segments: int | None = None, sorted: bool = False
) -> Any:
    """The sum of the rows of each group: (num_segments, ...). Rows of other groups than
    0 to num_segments - 1 do not count.

    Args:
        data: (rows, ...).
        segment_ids: the group of each row.
        num_segments: number of groups; by default, the largest one plus 1.
        sorted: whether the groups of the rows increase; has no effect.
    """
    ids, count = _groups(segment_ids, num_segments)
    graph = graph_of(data)
    if graph is None:
        x = np.asarray(as_array(data))
        y = np.zeros((count, *x.shape[1:]), x.dtype)
        inside = (ids >= 0) & (ids < count)
        np.add.at(y, ids[inside], x[inside])
        return y
    data = graph.as_tensor(data)
    if data.batched:
        raise no_batch("segment_sum", data)
    chosen = (ids == np.arange(count)[:, None]).astype(np.float32)
    rows = ops.reshape(data, (data.shape[0], -1))
    return ops.reshape(ops.matmul(chosen, rows), (count, *data.shape[1:]))


def _extreme(name: str, reduce: Any, start: float) -> Any:
    def call(
        data: Any,
        segment_ids: Any,
        num_segments: int | None = None,
        sorted: bool = False,
    ) -> Any:
        ids, count = _groups(segment_ids, num_segments)
        graph = graph_of(data)
        if graph is None:
            x = np.asarray(as_array(data))
            y = np.full((count, *x.shape[1:]), start, x.dtype)
            inside = (ids >= 0) & (ids < count)
            reduce.at(y, ids[inside], x[inside])
            return y
        data = graph.as_tensor(data)
        if data.batched:
            raise no_batch(name, data)
        of_rows = {"max": ops.max, "min": ops.min, "prod": ops.prod}[name[8:]]
        parts = []
        for group in range(count):
            rows = np.flatnonzero(ids == group)
            if len(rows):
                parts.append(of_rows(ops.take(data, rows, 0), 0, True))
            else:
                parts.append(np.full((1, *data.shape[1:]), start, np.float32))
        return ops.concatenate(parts, 0)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"""The {name[8:]} of the rows of each group, see `segment_sum`."""
    return function(call)


segment_max = _extreme("segment_max", np.maximum, -np.inf)
segment_min = _extreme("segment_min", np.minimum, np.inf)
segment_prod = _extreme("segment_prod", np.multiply, 1.0)

NAMES = ("segment_max", "segment_min", "segment_prod", "segment_sum")
