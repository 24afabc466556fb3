"""Limits on the sizes of arrays in formulas, checked before these take memory."""

from __future__ import annotations

import math
from typing import Any

from kurve.core.entries import user_line
from kurve.formulas.graph import Graph
from kurve.formulas.limits import TooLarge

MAX_CONSTANT = 2**27
"""Maximum number of elements of a constant in a formula: 512 MiB."""


def check_constant(where: str, *sizes: Any) -> None:
    """Refuse an array that would be too large for a constant of the formula that is
    being traced; do nothing outside of one.

    Args:
        sizes: of the array; None for an axis of unknown size.

    Raises:
        TooLarge: it has more than `MAX_CONSTANT` elements.
    """
    if Graph.current is None or Graph.current.runs_once:
        return
    known = [int(size) for size in sizes if size is not None]
    if math.prod(known) > MAX_CONSTANT:
        raise TooLarge(
            f"[ops.{where}] an array in a formula must have at most {MAX_CONSTANT} "
            f"elements, 512 MiB. Received: shape {tuple(known)} in {user_line()}. "
            "Try smaller sizes, or shapes that broadcast."
        )
