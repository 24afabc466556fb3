"""Constant initial values."""

from __future__ import annotations

from typing import Any

import numpy as np

from kurve.initializers.base import Initializer, check_numbers
from kurve.plan import Shape


class Zeros(Initializer):
    """All 0.

    Example:
        >>> kurve.initializers.Zeros()((2,))
        array([0., 0.], dtype=float32)
    """

    def values(self, shape: Shape, seed: int, stream: int) -> np.ndarray:
        return np.zeros(shape)


class Ones(Initializer):
    """All 1.

    Example:
        >>> kurve.initializers.Ones()((2,))
        array([1., 1.], dtype=float32)
    """

    def values(self, shape: Shape, seed: int, stream: int) -> np.ndarray:
        return np.ones(shape)


class Constant(Initializer):
    """All `value`.

    Args:
        value: a number, or an array that can be broadcast to the shape.

    Raises:
        ValueError: not finite, or an array that does not match the shape.

    Example:
        >>> kurve.initializers.Constant(0.5)((2,))
        array([0.5, 0.5], dtype=float32)
    """

    def __init__(self, value: Any = 0.0) -> None:
        try:
            array = np.asarray(value, np.float64)
        except (TypeError, ValueError, OverflowError):
            array = np.array(np.nan)
        once = array[tuple(slice(None if s else 1) for s in array.strides)]
        if isinstance(value, (str, bytes)) or not np.isfinite(once).all():
            raise ValueError(
                "[Constant] value must be a finite number, or an array of them. "
                f"Received: value={value!r}. Try Constant(0.5)."
            )
        self.value = value

    def values(self, shape: Shape, seed: int, stream: int) -> np.ndarray:
        value = np.asarray(self.value, dtype=np.float64)
        try:
            return np.broadcast_to(value, shape)
        except ValueError:
            raise ValueError(
                f"[Constant] value must fit a variable of shape {shape}. "
                f"Received: value of shape {value.shape}. Try one number."
            ) from None

    def get_config(self) -> dict[str, Any]:
        return {"value": np.asarray(self.value).tolist()}


class Identity(Initializer):
    """`gain` times the identity matrix, with zeros where a matrix is not square.

    Args:
        gain: a finite number.

    Raises:
        ValueError: gain is not finite; a variable that is not a matrix.

    Example:
        >>> kurve.initializers.Identity(2.0)((2, 3))
        array([[2., 0., 0.],
               [0., 2., 0.]], dtype=float32)
    """

    def __init__(self, gain: float = 1.0) -> None:
        check_numbers(self, gain=gain)
        self.gain = gain

    def values(self, shape: Shape, seed: int, stream: int) -> np.ndarray:
        if len(shape) != 2:
            raise ValueError(
                "[Identity] the variable must be a matrix. "
                f"Received: shape={shape}. Try 'zeros'."
            )
        return self.gain * np.eye(*shape)
