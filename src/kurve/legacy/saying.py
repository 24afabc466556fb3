"""The warning that names today's spelling."""

from __future__ import annotations

from typing import Any

from kurve.core.entries import warn


def say(where: str, rule: str, received: str, fix: str) -> None:
    """Warn of an old spelling, at the user's line.

    Args:
        where, rule, received, fix: the parts of a message.
    """
    warn(f"[{where}] {rule}. Received: {received}. Try {fix}.", FutureWarning)


def shown(value: Any) -> str:
    """A value in a message."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
