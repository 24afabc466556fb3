"""The warning about old spellings."""

from __future__ import annotations

from typing import Any

from kurve.core.entries import warn


def say(where: str, rule: str, received: str, fix: str) -> None:
    """Warn about an old spelling, at the user's line.

    Args:
        where, rule, received, fix: parts of the message.
    """
    warn(f"[{where}] {rule}. Received: {received}. Try {fix}.", FutureWarning)


def shown(value: Any) -> str:
    """A value formatted for a message."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
