"""Penalties on the weights, added to the loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from kurve.core import registry
from kurve.core.arguments import is_number
from kurve.core.arrays import as_numbers
from kurve.core.entries import Entrance, entries, entry
from kurve.core.overrides import refuse_overrides
from kurve.errors import absent as _absent
from kurve.errors import lookup

LARGEST = float(np.finfo(np.float32).max)


@entries
@dataclass(frozen=True)
class L1L2(Entrance):
    """Penalty l1 * sum |w| + l2 * sum w^2, added to the loss.

    Source: Tibshirani 1996 (l1), Hoerl & Kennard 1970 (l2).

    Args:
        l1, l2: strengths, at least 0.

    Raises:
        ValueError: not finite, or below 0.

    Example:
        >>> kurve.regularizers.L1L2(l1=0.1, l2=0.01)([3.0, -1.0])
        0.5
    """

    ignored: ClassVar = ("__call__",)
    instead: ClassVar = "L1, L2 or L1L2 with numbers of your own"

    l1: float = 0.0
    l2: float = 0.0

    def __post_init__(self) -> None:
        for name, value in (("l1", self.l1), ("l2", self.l2)):
            if value is None:  # 0, as in Keras
                object.__setattr__(self, name, 0.0)
            elif not is_number(value) or not 0.0 <= value <= LARGEST:
                raise ValueError(
                    f"[{type(self).__name__}] {name} must be finite and at least 0. "
                    f"Received: {value!r}. Try {name}=0.01."
                )

    def __call__(self, w: Any) -> float:
        """The penalty of one array."""
        w = as_numbers(type(self).__name__, "w", w)
        return float(self.l1 * np.sum(np.abs(w)) + self.l2 * np.sum(w**2))

    def get_config(self) -> dict[str, float]:
        return {"l1": self.l1, "l2": self.l2}


class L1(L1L2):
    """Penalty l1 * sum |w|, added to the loss.

    Args:
        l1: strength, at least 0.

    Raises:
        ValueError: not finite, or below 0.

    Example:
        >>> kurve.regularizers.L1(0.5)([3.0, -1.0])
        2.0
    """

    def __init__(self, l1: float = 0.01) -> None:
        super().__init__(l1=l1)

    def get_config(self) -> dict[str, float]:
        return {"l1": self.l1}


class L2(L1L2):
    """Penalty l2 * sum w^2, added to the loss.

    Args:
        l2: strength, at least 0.

    Raises:
        ValueError: not finite, or below 0.

    Example:
        >>> kurve.regularizers.L2(0.5)([3.0, -1.0])
        5.0
    """

    def __init__(self, l2: float = 0.01) -> None:
        super().__init__(l2=l2)

    def get_config(self) -> dict[str, float]:
        return {"l2": self.l2}


l1, l2, l1_l2 = L1, L2, L1L2

CLASSES: dict[str, type[L1L2]] = {cls.__name__: cls for cls in [L1, L2, L1L2]}

_TABLE: dict[str, Callable[[], L1L2]] = CLASSES | {
    "l1": L1,
    "l2": L2,
    "l1l2": L1L2,
    "l1_l2": lambda: L1L2(0.01, 0.01),
}


@entry
def get(identifier: str | L1L2 | None) -> L1L2 | None:
    """The regularizer with that name, with Keras's defaults; None for None."""
    if identifier is None:
        return None
    if isinstance(identifier, L1L2):
        refuse_overrides("regularizers", identifier)
        return identifier
    if isinstance(identifier, str):
        regularizer: L1L2 = lookup("regularizers", "regularizer", identifier, _TABLE)()
        return regularizer
    raise TypeError(
        "[regularizers] a regularizer must be a name or an object of "
        f"kurve.regularizers. Received: {identifier!r}. Try 'l2'."
    )


def serialize(regularizer: L1L2) -> dict[str, Any]:
    """Class and configuration of a regularizer."""
    return registry.entry(regularizer, CLASSES)


def deserialize(config: Mapping[str, Any]) -> L1L2:
    """The regularizer of a `serialize`."""
    cls = registry.find(
        "regularizers", "regularizer", config["class_name"], CLASSES, L1L2
    )
    regularizer: L1L2 = cls(**config["config"])
    return regularizer


__getattr__ = _absent(__name__)
