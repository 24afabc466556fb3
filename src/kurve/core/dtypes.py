"""The dtype that users ask for: engines always compute in float32."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from kurve.core.entries import warn

FLOATS = ("float16", "bfloat16", "float64", "mixed_float16", "mixed_bfloat16")
"""Compute dtypes that Keras supports and Kurve does not."""

FLOAT32_MAX = float(np.finfo(np.float32).max)
"""The largest finite float32."""

_warned_of: set[str] = set()


def check_dtype(where: str, dtype: Any) -> None:
    """Check the dtype requested for a layer: a name, a NumPy dtype or a Keras policy. A
    floating-point type other than float32 triggers one warning per process.

    Raises:
        ValueError: not a floating-point type.
    """
    name = name_of_dtype(dtype)
    if name in (None, "float32"):
        return
    if name not in FLOATS:
        raise ValueError(
            f"[{where}] dtype must be a floating-point type, because engines compute "
            f"in float32. Received: dtype={dtype!r}. Try dtype='float32'."
        )
    if name not in _warned_of:
        _warned_of.add(name)
        warn(
            f"[{where}] engines compute in float32. Received: dtype={dtype!r}, which "
            "has no effect. Try dtype=None."
        )


def name_of_dtype(dtype: Any) -> str | None:
    """Keras's name of a dtype, given as a name, a NumPy dtype or a policy."""
    name = getattr(dtype, "name", dtype)
    if isinstance(name, Mapping):  # a policy in a configuration
        name = name.get("config", {}).get("name")
    if isinstance(name, type):
        name = name.__name__ if name.__module__ != "builtins" else np.dtype(name).name
    return name if name is None or isinstance(name, str) else repr(name)
