"""The arguments of activations: names, defaults and checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from kurve.core.arguments import is_integer, is_number
from kurve.core.dtypes import FLOAT32_MAX
from kurve.ops.activations import FORMULAS

ALONG_AN_AXIS = ("softmax", "log_softmax", "glu", "sparsemax")
"""Activations that are not elementwise. Engines support softmax over the last axis."""


OVER_AXES = ("softmax", "log_softmax")
"""Those that can be computed over several axes."""


ARGUMENTS: dict[str, Mapping[str, Any]] = {
    "leaky_relu": {"alpha": 0.2},
    "elu": {"alpha": 1.0},
    "snake": {"alpha": 1.0},
    **{name: {"axis": -1} for name in ALONG_AN_AXIS},
    **{name: formula.arguments for name, formula in FORMULAS.items()},
}
"""The arguments of each, with their defaults; `...` marks required ones."""


def check(name: str, key: str, value: Any) -> None:
    """Refuse an invalid value of an argument."""
    if key == "axis":
        several = isinstance(value, tuple) and name in OVER_AXES
        if not (all(map(is_integer, value)) if several else is_integer(value)):
            also = " or a tuple of integers" if name in OVER_AXES else ""
            raise ValueError(
                f"[{name}] axis must be an integer{also}. Received: axis={value!r}. "
                "Try axis=-1."
            )
    elif key == "approximate":
        if not isinstance(value, (bool, np.bool_)):
            raise TypeError(
                f"[{name}] approximate must be True or False. "
                f"Received: approximate={value!r}. Try approximate=True."
            )
    elif key != "max_value" or value is not None:
        check_number(name, key, value)


def check_number(name: str, key: str, value: Any) -> None:
    if not is_number(value) or abs(value) > FLOAT32_MAX:
        raise ValueError(
            f"[{name}] {key} must be a finite number. "
            f"Received: {key}={value!r}. Try {key}=0.2."
        )
    if name == "snake" and not 1e-30 <= value <= 1e30:
        raise ValueError(
            "[snake] alpha must be in [1e-30, 1e30]: the added wave has the "
            f"period pi / alpha. Received: alpha={value!r}. Try alpha=1.0."
        )
    if (name == "celu" and value == 0) or (name == "squareplus" and value < 0):
        rule = "not be 0" if name == "celu" else "be at least 0"
        raise ValueError(
            f"[{name}] {key} must {rule}. Received: {key}={value!r}. Try {key}=1.0."
        )


def is_leaky(arguments: Mapping[str, Any]) -> bool:
    """Whether relu with these arguments is the fused leaky_relu."""
    rest = {k: v for k, v in arguments.items() if k != "negative_slope"}
    return arguments.get("negative_slope", 0.0) != 0.0 and all(
        is_default(value, FORMULAS["relu"].arguments[key])
        for key, value in rest.items()
    )


def is_default(value: Any, default: Any) -> bool:
    return default is not ... and (value is default or value == default)


def plain(value: Any) -> Any:
    """Convert to built-in Python types."""
    if isinstance(value, tuple):
        return tuple(plain(v) for v in value)
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    return int(value) if is_integer(value) else None if value is None else float(value)


def call_of(known: Mapping[str, Any]) -> Any:
    """A function with these arguments, used to suggest the closest match."""
    import inspect

    def call(**arguments: Any) -> None: ...

    call.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(k, inspect.Parameter.KEYWORD_ONLY) for k in known]
    )
    return call
