"""File names used by older Keras versions: "weights.h5", "model.hdf5", "cp.ckpt", and
those without an extension."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from kurve.legacy.saying import say

HDF5 = (".h5", ".hdf5", ".hdf")
OTHERS = ("", ".ckpt", ".tf", ".hdf")


def today(filepath: Any, weights: bool) -> str | None:
    """The current name for such a file; None if the given one is not old.

    Args:
        filepath: path of the file.
        weights: whether the file contains only weights.
    """
    if not isinstance(filepath, (str, os.PathLike)):
        return None
    path = os.fsdecode(filepath)
    stem, ending = os.path.splitext(path)
    if not os.path.basename(path) or stem.endswith(".weights"):
        return None
    if ending[1:].isdigit():  # "weights.05", a number with a decimal point
        stem, ending = path, ""
    if weights and ending in HDF5:
        return f"{stem}.weights.h5"
    if weights and ending in OTHERS:
        return f"{stem}.weights.kurve"
    return f"{stem}.kurve" if ending in OTHERS else None


def write(where: str, write_today: Callable[[str], None], filepath: Any) -> bool:
    """Save under an old file name by calling today's method, with a warning; False if
    the name is not old.

    Args:
        where: "save" or "save_weights".
        write_today: the method.
        filepath: path of the file.
    """
    name = today(filepath, where == "save_weights")
    if name is None:
        return False
    path = os.fsdecode(filepath)
    warn_of(where, path, name)
    folder, own = os.path.split(name)
    beside = os.path.join(folder, f".{os.getpid()}-{own}")
    try:
        write_today(beside)
        os.replace(beside, path)
    finally:
        if os.path.exists(beside):
            os.remove(beside)
    return True


def warn_of(where: str, path: str, name: str) -> None:
    """Warn with today's extension."""
    rule = "a file's ending says what is in it, since Keras 3"
    say(where, rule, repr(path), repr(name))
