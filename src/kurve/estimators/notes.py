"""What a fit did with the columns of its data, for the user."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import NamedTuple

from kurve.core.entries import warn


class Note(NamedTuple):
    """What a fit did with a column.

    about: "missing" (missing values were filled in), "loss" (values were lost), or
        "use" (how a column is used)
    """

    text: str
    about: str


listener: ContextVar[Callable[[Note], None] | None] = ContextVar(
    "listener", default=None
)
"""Receives the notes of every `fit` in this context, in place of warnings."""


def tell(where: str, notes: Sequence[Note], missing: str) -> None:
    """Tell the user what was done with the columns of training data. What loses values
    is a warning, except for what the user asked for.

    Args:
        missing: the estimator's argument.
    """
    listening = listener.get()
    if listening is not None:
        for note in notes:
            listening(note)
        return
    wanted = ("loss",) if missing == "impute" else ("loss", "missing")
    texts = [note.text for note in notes if note.about in wanted]
    if texts:
        warn(f"[{where}] {'; '.join(texts)}.", UserWarning)
