"""How much a model from a file may ask for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_left: ContextVar[list[int] | None] = ContextVar("left", default=None)


@contextmanager
def limited(operations: int, elements: int) -> Iterator[None]:
    """A context in which so many operations can be traced and arrays of so many
    elements be made, in all: a model from a file must not take more time and memory
    than it is worth. An inner context leaves the limits as they are."""
    token = _left.set(_left.get() or [operations, elements])
    try:
        yield
    finally:
        _left.reset(token)


def spend(operations: int = 0, elements: int = 0) -> None:
    """Take from what `limited` allows.

    Raises:
        ValueError: there is no more.
    """
    left = _left.get()
    if left is None:
        return
    left[0] -= operations
    left[1] -= elements
    if min(left) < 0:
        raise ValueError("[model] it has more operations or constants than allowed")


def is_limited() -> bool:
    """Whether a model from a file is being made."""
    return _left.get() is not None
