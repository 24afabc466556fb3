"""Division of rows into batches, steps and epochs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kurve.core import rng
from kurve.core.arguments import BATCH_SIZE as BATCH_SIZE
from kurve.core.arguments import check_count

ONE_BATCH = 2**62
"""A batch_size that means all rows in one batch."""


@dataclass
class Division:
    """Divides n rows into the steps of an epoch of `fit`.

    A pass goes over all rows once; `bounds` are its batches. An epoch of `steps` steps
    is usually one pass; with both batch_size and steps_per_epoch it is a window of the
    endless sequence of passes, which continues where the last epoch stopped.
    """

    rows: int
    bounds: np.ndarray
    steps: int
    shuffle: bool
    seed: int
    first_step: int
    """Number of updates before the first pass. The permutations depend on it, so that a
    second `fit` does not repeat those of the first."""

    def epoch(self, index: int) -> tuple[np.ndarray | None, np.ndarray]:
        """Order of the rows, and bounds of the batches, in epoch `index`."""
        per_pass = len(self.bounds) - 1
        if self.steps == per_pass:
            return self._order(index), self.bounds
        first, last = index * self.steps, (index + 1) * self.steps
        orders, sizes = [], []
        for number in range(first // per_pass, -(-last // per_pass)):
            order = self._order(number)
            low = max(first - number * per_pass, 0)
            high = min(last - number * per_pass, per_pass)
            rows = slice(int(self.bounds[low]), int(self.bounds[high]))
            orders.append(np.arange(self.rows)[rows] if order is None else order[rows])
            sizes.append(np.diff(self.bounds[low : high + 1]))
        ends = np.cumsum(np.concatenate([[0], *sizes]), dtype=np.int64)
        return np.concatenate(orders).astype(np.int64), ends

    def _order(self, number: int) -> np.ndarray | None:
        if not self.shuffle:
            return None
        name = self.first_step + number * (len(self.bounds) - 1)
        return rng.permutation(self.seed, name, self.rows)


def pass_bounds(
    rows: int,
    batch_size: int | None,
    steps_per_epoch: int | None,
    fixed: int | None = None,
) -> np.ndarray:
    """Bounds of the batches in one pass of `fit` over the rows.

    Args:
        fixed: required number of rows per batch; None for any.
    """
    if steps_per_epoch is None or batch_size is not None:
        return _fixed("fit", batch_bounds(rows, batch_size or fixed), fixed)
    if steps_per_epoch > rows:
        raise ValueError(
            "[fit] steps_per_epoch must not exceed the number of rows, because the "
            "rows are divided into that many batches. Received: "
            f"steps_per_epoch={steps_per_epoch} for {rows} rows. Try "
            f"steps_per_epoch={rows}, or batch_size={min(rows, BATCH_SIZE)} too, to "
            "go over the rows several times."
        )
    # The sizes of numpy.array_split: the first rows % steps batches have one more row.
    index = np.arange(steps_per_epoch + 1, dtype=np.int64)
    size, more = divmod(rows, steps_per_epoch)
    return _fixed("fit", index * size + np.minimum(index, more), fixed)


def _fixed(where: str, bounds: np.ndarray, rows: int | None) -> np.ndarray:
    """Check that all batches have this number of rows; return the bounds."""
    sizes = np.diff(bounds)
    if rows is None or (sizes == rows).all():
        return bounds
    raise ValueError(
        f"[{where}] each batch must have {rows} rows, because states of the model "
        f"carry over from batch to batch. Received: {int(bounds[-1])} rows in "
        f"batches of {int(sizes.max())}, the last one of {int(sizes[-1])}. "
        f"Try batch_size={rows}, and a multiple of {rows} rows."
    )


def batch_bounds(rows: int, batch_size: int | None, where: str = "fit") -> np.ndarray:
    """Bounds of batches of batch_size rows; the last one can be smaller."""
    size = BATCH_SIZE if batch_size is None else batch_size
    check_count(where, "batch_size", size, 1)
    return np.append(np.arange(0, rows, size, dtype=np.int64), rows)


def evaluation_bounds(
    rows: int,
    batch_size: int | None,
    steps: int | None,
    where: str,
    fixed: int | None = None,
) -> np.ndarray:
    """Bounds of the batches of `evaluate` and similar: all batches of batch_size rows,
    or the first `steps`; without batch_size, `steps` batches hold all rows.

    Args:
        fixed: required number of rows per batch; None for any.
    """
    if batch_size is None:
        batch_size = fixed
    if steps is None:
        return _fixed(where, batch_bounds(rows, batch_size, where), fixed)
    check_count(where, "steps", steps, 1)
    size = -(-rows // steps) if batch_size is None else batch_size
    return _fixed(where, batch_bounds(rows, size, where)[: steps + 1], fixed)
