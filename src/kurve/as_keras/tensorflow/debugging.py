"""Assertions: `tf.debugging.assert_equal`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from kurve.as_keras.tensorflow.values import concrete

__all__ = [
    "assert_all_finite",
    "assert_equal",
    "assert_greater",
    "assert_less",
    "assert_near",
    "assert_non_negative",
    "assert_positive",
    "assert_shapes",
    "check_numerics",
    "set_log_device_placement",
]


def _pair(name: str, holds: Callable[[Any, Any], Any]) -> Callable[..., None]:
    def call(x: Any, y: Any, message: Any = None, *_: Any, **__: Any) -> None:
        a, b = concrete(f"debugging.{name}", x, y)
        _demand(name, np.all(holds(a, b)), message, (a, b))

    call.__name__ = call.__qualname__ = name
    call.__doc__ = "Raise a ValueError if it does not hold for all elements."
    return call


def _demand(name: str, holds: Any, message: Any, values: Any) -> None:
    if not holds:
        raise ValueError(
            f"[tf.debugging.{name}] {message or 'it does not hold'}. "
            f"Received: {values!r:.200}. Try to find where they come from."
        )


assert_equal = _pair("assert_equal", np.equal)
assert_greater = _pair("assert_greater", np.greater)
assert_less = _pair("assert_less", np.less)
assert_near = _pair("assert_near", lambda a, b: np.isclose(a, b, 1e-5, 1e-5))


def assert_positive(x: Any, message: Any = None, **_: Any) -> None:
    """Raise a ValueError if an element is not above 0."""
    array = concrete("debugging.assert_positive", x)
    _demand("assert_positive", np.all(array > 0), message, array)


def assert_non_negative(x: Any, message: Any = None, **_: Any) -> None:
    """Raise a ValueError if an element is below 0."""
    array = concrete("debugging.assert_non_negative", x)
    _demand("assert_non_negative", np.all(array >= 0), message, array)


def check_numerics(tensor: Any, message: Any = None, name: Any = None) -> Any:
    """The tensor, or a ValueError if an element is not finite."""
    array = concrete("debugging.check_numerics", tensor)
    _demand("check_numerics", np.isfinite(array).all(), message, array)
    return tensor


assert_all_finite = check_numerics


def assert_shapes(shapes: Any, *_: Any, **__: Any) -> None:
    """Raise a ValueError if axes with one name have different lengths."""
    lengths: dict[Any, int] = {}
    for value, names in dict(shapes).items() if isinstance(shapes, dict) else shapes:
        for name, length in zip(names, np.shape(value), strict=True):
            expected = name if isinstance(name, int) else lengths.get(name, length)
            _demand("assert_shapes", expected == length, None, shapes)
            lengths[name] = length


def set_log_device_placement(enabled: Any) -> None:
    """Has no effect."""
