"""Window functions of spectra."""

from __future__ import annotations

from typing import Any

import numpy as np

COSINES = {"hann": 0.5, "hamming": 0.54}
"""a in a - (1 - a) cos(2 pi t / n), by name."""


def window_values(where: str, window: Any, length: int, periodic: bool) -> np.ndarray:
    """The factors of a piece of `length` samples, float64.

    Args:
        where: the class or function in error messages.
        window: "hann", "hamming", another name of `scipy.signal.get_window`, or
            numbers.
        length: the number of samples.
        periodic: whether the sample after the last one has the factor of the first;
            otherwise the last one has.

    Raises:
        ValueError: an unknown name, or not `length` finite numbers.
        ImportError: another name without SciPy.
    """
    if not isinstance(window, str):
        try:
            values = np.asarray(window, np.float64)
        except (TypeError, ValueError, OverflowError):
            values = np.array(np.nan)
        if not length or values.shape != (length,) or not np.isfinite(values).all():
            raise ValueError(
                f"[{where}] window must be a name, None, or one finite number for each "
                f"of the {length} samples. Received: window={window!r}. Try "
                "window='hann'."
            )
        return values
    if window not in COSINES:
        return _scipys(where, window, length, periodic)
    if length == 1:
        return np.ones(1)
    a, steps = COSINES[window], length if periodic else length - 1
    return a - (1.0 - a) * np.cos(2.0 * np.pi * np.arange(length) / steps)


def _scipys(where: str, window: str, length: int, periodic: bool) -> np.ndarray:
    try:
        from scipy.signal import get_window
    except ImportError:
        raise ImportError(
            f"[{where}] windows other than 'hann' and 'hamming' need SciPy. Received: "
            f"window={window!r}. Try pip install scipy."
        ) from None
    try:
        values: np.ndarray = get_window(window, length, periodic)
    except ValueError as error:
        raise ValueError(
            f"[{where}] window must be a name of scipy.signal.get_window. Received: "
            f"window={window!r}, of which SciPy says: {error} Try window='hann'."
        ) from None
    return values


def checked_window(where: str, window: Any) -> Any:
    """A window as JSON types: a name, a list of numbers, or None."""
    if window is None:
        return None
    if isinstance(window, str):
        window_values(where, window, 1, False)
        return window
    return window_values(where, window, np.size(window), False).tolist()
