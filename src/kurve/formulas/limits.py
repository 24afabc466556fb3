"""Resource limits for models from files."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class TooLarge(ValueError):
    """Raised for a formula whose arrays would take too much memory; it cannot run
    eagerly either."""


_left: ContextVar[list[int] | None] = ContextVar("left", default=None)


@contextmanager
def limited(operations: int, elements: int) -> Iterator[None]:
    """A context that limits how many operations are traced and how many array elements
    are created in total, so that a model from a file cannot take excessive time or
    memory. Inner contexts do not change the limits."""
    token = _left.set(_left.get() or [operations, elements])
    try:
        yield
    finally:
        _left.reset(token)


def spend(operations: int = 0, elements: int = 0) -> None:
    """Consume from the budget of `limited`.

    Raises:
        ValueError: the budget is exhausted.
    """
    left = _left.get()
    if left is None:
        return
    left[0] -= operations
    left[1] -= elements
    if min(left) < 0:
        raise ValueError("[model] it has more operations or constants than allowed")


def afford(*shape: int) -> None:
    """Check that an array fits into the budget, before it is created. Arrays that
    become part of a formula are counted later.

    Raises:
        ValueError: it has not.
    """
    left = _left.get()
    if left is not None and math.prod(shape) > left[1]:
        raise ValueError(
            f"[model] an array of shape {shape} has more constants than allowed"
        )


def is_limited() -> bool:
    """Whether a model from a file is being created."""
    return _left.get() is not None
