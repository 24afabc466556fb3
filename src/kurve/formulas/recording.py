"""The gradient tapes that are recording in this thread.

Functions and layers ask here whether a call must be recorded; `kurve.gradients`
implements the recording.
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
    training: whether layers run in training mode if a call does not specify it: inside
              a layer that runs eagerly
    undo:  in a trial of a formula, the variables that it has assigned, and their values
    building: number of layers that are being built
    """

    tapes: tuple[Any, ...] = ()
    step: Any = None
    training: bool | None = None
    undo: list[tuple[Any, Any]] | None = None
    building = 0


active = _Active()


def refuse_in_steps(what: str) -> None:
    """Refuse actions that a traced step would only perform once, while tracing.

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
    """A context in which weights are created: assignments set their initial values,
    even in a trial."""
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
