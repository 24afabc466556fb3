"""Results of calling layers, models, losses and metrics: NumPy arrays and floats with
the `numpy` method of Keras tensors."""

from __future__ import annotations

from typing import Any

import numpy as np


class Values(np.ndarray):
    """An array whose `numpy()` returns a plain array sharing its memory, or a NumPy
    scalar if it has no axes.

    key: its index on the tapes that watch it, see `kurve.gradients`
    """

    key: int | None = None

    _keras_mask: Any = None
    """Mask of the valid time steps, if a layer sets one."""

    def numpy(self) -> Any:
        plain = self.view(np.ndarray)[()]
        return Text(plain) if isinstance(plain, str) else plain

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def cpu(self) -> Any:
        """Itself, for code that reads this attribute of Keras's tensors."""
        return self

    detach = cpu

    def __getitem__(self, key: Any) -> Any:
        return result(super().__getitem__(key))

    def __hash__(self) -> int:  # type: ignore[override]
        """A scalar hashes like its number, so that it can be in a set of classes."""
        return hash(self.item() if self.ndim == 0 else self.view(np.ndarray))

    def __repr__(self) -> str:
        return repr(self.view(np.ndarray))

    def __str__(self) -> str:
        return str(self.view(np.ndarray))


class Text(str):
    """A string with the methods of TensorFlow's bytes, which programs decode."""

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The text itself."""
        return str(self)


class Number(float):
    """A float with attributes of Keras's scalars: `numpy()`, `shape`, `ndim`,
    `dtype`."""

    shape, ndim, dtype = (), 0, "float32"

    def numpy(self) -> np.float64:
        return np.float64(self)


def result(value: Any) -> Any:
    """Add the `numpy` method to an array or number; return anything else unchanged."""
    if type(value) is np.ndarray:
        return value.view(Values)
    if isinstance(value, np.generic):
        return np.asarray(value).view(Values)
    return Number(value) if type(value) is float else value
