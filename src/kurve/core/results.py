"""What calls of layers, models, losses and metrics give: NumPy arrays and floats that
also have the method `numpy` of Keras's tensors."""

from __future__ import annotations

from typing import Any

import numpy as np


class Values(np.ndarray):
    """An array; `numpy()` gives it as a plain one, which shares its memory, or as a
    number of NumPy's if it has no axes.

    key: its number on the tapes that follow it, see `kurve.gradients`
    """

    key: int | None = None

    _keras_mask: Any = None
    """Which of its steps count, if a layer says so."""

    def numpy(self) -> Any:
        return self.view(np.ndarray)[()]

    def cpu(self) -> Any:
        """Itself: it is where Keras's tensors go by that name."""
        return self

    detach = cpu

    def __getitem__(self, key: Any) -> Any:
        return result(super().__getitem__(key))

    def __hash__(self) -> int:  # type: ignore[override]
        """Of a number that of the number, so that it may be in a set of classes."""
        return hash(self.item() if self.ndim == 0 else self.view(np.ndarray))

    def __repr__(self) -> str:
        return repr(self.view(np.ndarray))

    def __str__(self) -> str:
        return str(self.view(np.ndarray))


class Number(float):
    """A float; `numpy()` gives it as NumPy's."""

    def numpy(self) -> np.float64:
        return np.float64(self)


def result(value: Any) -> Any:
    """An array or a number with the method `numpy`; anything else as it is."""
    if type(value) is np.ndarray:
        return value.view(Values)
    if isinstance(value, np.generic):
        return np.asarray(value).view(Values)
    return Number(value) if type(value) is float else value
