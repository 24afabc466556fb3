"""The gradient tapes that are recording in this thread.

Functions and layers ask here whether a call must be recorded; how is known only to
`kurve.gradients`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


class _Active(threading.local):
    """
    tapes: those that record, the innermost last
    step:  the graph of a step that is being traced, see `kurve.training.tracing.steps`
    training: whether layers act as in training where a call does not say so: inside a
              layer that runs as it is written
    undo:  in a trial of a formula, what it has written: variables and their values
    building: whether weights are being made: how many layers are being built
    """

    tapes: tuple[Any, ...] = ()
    step: Any = None
    training: bool | None = None
    undo: list[tuple[Any, Any]] | None = None
    building = 0


active = _Active()


def refuse_in_steps(what: str) -> None:
    """Refuse things that a traced step would do or see only once, while tracing.

    Raises:
        TypeError: a step is being traced; the step then runs untraced.
    """
    if active.step is not None:
        raise TypeError(
            f"[function] {what} needs values, but a traced step has none. "
            "Received: a call in a step. Try it outside kurve.function."
        )


UNRECORDED: Any = object()
"""Returned instead of a result: no tape needs this call."""


@contextmanager
def recording(tapes: Sequence[Any]) -> Iterator[None]:
    """A context in which only these tapes record."""
    before, active.tapes = active.tapes, tuple(tapes)
    try:
        yield
    finally:
        active.tapes = before


@contextmanager
def building() -> Iterator[None]:
    """A context in which weights are made: what is written there is their first
    value, even in a trial."""
    undo, active.undo = active.undo, None
    active.building += 1
    try:
        yield
    finally:
        active.undo = undo
        active.building -= 1


def is_followed(*values: Any) -> bool:
    """Whether a recording tape watches one of these values."""
    if active.step is not None:
        return True
    return any(tape.follows(value) for tape in active.tapes for value in values)
