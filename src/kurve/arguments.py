"""Checks of single arguments that several modules share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from kurve.errors import unknown_argument

MOST = 2**31 - 1
"""The largest length or number of things: engines hold them in 32 bits."""


def is_integer(value: Any) -> bool:
    """Whether it is an integer of Python's or NumPy's; True and False are not."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether it is a finite real number that a float holds; True and False are not."""
    if not is_integer(value) and not isinstance(value, (float, np.floating)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer of more than 308 digits
        return False


def is_count(value: Any, low: int = 1) -> bool:
    """Whether it is an integer from `low` to `MOST`."""
    return is_integer(value) and low <= value <= MOST


def check_flag(where: str, name: str, value: Any) -> bool:
    """True or False, given as such or as 1 or 0.

    Raises:
        TypeError: anything else: the truth of "no" or of None would be a guess.
    """
    if isinstance(value, (bool, np.bool_)) or (is_integer(value) and value in (0, 1)):
        return bool(value)
    raise TypeError(
        f"[{where}] {name} must be True or False. "
        f"Received: {name}={value!r}. Try {name}=True."
    )


def check_name(where: str, name: Any) -> str:
    """A name that files can hold.

    Raises:
        TypeError: no text.
        ValueError: empty, or with characters that UTF-8 or HDF5 cannot write.
    """
    if not isinstance(name, str):
        raise TypeError(
            f"[{where}] name must be text. Received: name={name!r} of type "
            f"{type(name).__name__}. Try name='first'."
        )
    surrogates = any("\ud800" <= character <= "\udfff" for character in name)
    if not name or "\0" in name or surrogates:
        raise ValueError(
            f"[{where}] name must be text that is not empty, without NUL and lone "
            f"surrogates. Received: name={name!r}. Try name='first'."
        )
    return str(name)


def check_seed(where: str, seed: Any) -> int | None:
    """A seed of random numbers, or None.

    Raises:
        TypeError: no integer.
    """
    if seed is None or is_integer(seed):
        return None if seed is None else int(seed)
    raise TypeError(
        f"[{where}] seed must be an integer or None. "
        f"Received: seed={seed!r} of type {type(seed).__name__}. Try seed=1."
    )


def refuse_arguments(cls: type, given: Mapping[str, Any]) -> None:
    """Refuse keyword arguments that a class does not have, but for those of Keras's in
    its `unused`, where they have a value with which they do nothing in Keras either.

    Raises:
        TypeError: no such argument; the message has the nearest.
        ValueError: another value of an unused one.
    """
    unused: dict[str, tuple[Any, ...]] = {}
    for base in reversed(cls.__mro__):
        unused |= vars(base).get("unused", {})
    for name, value in given.items():
        if name not in unused:
            raise unknown_argument(cls, name)
        check_unused(cls.__name__, name, value, unused[name])


def check_unused(where: str, name: str, value: Any, taken: tuple[Any, ...]) -> None:
    """Refuse a value, other than those, of an argument that does nothing."""
    if any(type(value) is type(one) and value == one for one in taken):
        return
    raise ValueError(
        f"[{where}] {name} can only be {' or '.join(map(repr, taken))}: there is "
        f"nothing else yet. Received: {name}={value!r}. Try {where} without {name}."
    )
