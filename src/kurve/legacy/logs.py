"""Old names of values in logs and in `history`: "acc" for "accuracy"."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kurve.legacy.saying import say

PARTS = {
    "acc": "accuracy",
    "lr": "learning_rate",
    "cosine_proximity": "cosine_similarity",
    "mean_absolute_error": "mae",
    "mean_absolute_percentage_error": "mape",
    "mean_squared_error": "mse",
    "mean_squared_logarithmic_error": "msle",
}
"""Old suffixes of names, and today's."""


def today(name: Any, known: Iterable[str]) -> str | None:
    """The name in `known` for an old one; None if it is not old.

    Args:
        name: a name missing from `known`; it can start with "val_" or with the name of
            an output.
    """
    names = {*known}
    for old, new in PARTS.items():
        if isinstance(name, str) and (name == old or name.endswith(f"_{old}")):
            found = name.removesuffix(old) + new
            if found in names:
                return found
    return None


class Logs(dict[str, Any]):
    """A dictionary that also accepts the old names of its values, with a warning."""

    __slots__ = ()

    def __missing__(self, name: Any) -> Any:
        found = today(name, self)
        if found is None:
            raise KeyError(name)
        warn_of("logs", name, found)
        return self[found]

    def get(self, name: Any, default: Any = None) -> Any:
        """Like `dict.get`."""
        if name in self:
            return self[name]
        found = today(name, self)
        return default if found is None else self[name]


def warn_of(where: str, old: str, new: str) -> None:
    """Warn with today's spelling."""
    rule = f"{old!r} is the name of {new!r} in Keras 1 and 2"
    say(where, rule, repr(old), repr(new))
