"""Early-stopping rules shared by callbacks, solvers and streams."""

from __future__ import annotations

import math


def improves(
    value: float, best: float | None, min_delta: float = 0.0, upwards: bool = False
) -> bool:
    """Whether a value improves on the best one by more than `min_delta`. A non-finite
    value never does.

    Args:
        best: None before the first value.
        upwards: whether larger values are better.
    """
    if not math.isfinite(value):
        return False
    if best is None:
        return True
    if upwards:
        return value - min_delta > best
    return value + min_delta < best


class Patience:
    """Counts the values since the lowest one.

    Args:
        limit: number of values without improvement to stop at; None for no limit.
    """

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.best: float | None = None
        self.wait = 0

    def add(self, value: float) -> bool:
        """Whether this value is the lowest so far."""
        self.wait += 1
        if not improves(value, self.best):
            return False
        self.best, self.wait = value, 0
        return True

    @property
    def is_over(self) -> bool:
        return self.limit is not None and self.wait >= max(self.limit, 1)
