"""Kernels whose convolution is a Fourier transform."""

from __future__ import annotations

from typing import Any

import numpy as np

from kurve.core.arguments import check_choice, check_flag
from kurve.core.windows import checked_window, window_values
from kurve.initializers.base import Initializer
from kurve.plan import Shape

SCALINGS = ("density", "spectrum")


class STFT(Initializer):
    """The kernel of a convolution that is a short-time Fourier transform: real part
    w_t cos(-2 pi t f / n) / s, or imaginary part with the sine, for sample t of a piece
    and frequency f = 0 ... n / 2, with window w.

    Shapes:   variable (samples, 1, n / 2 + 1)
    Source:   defaults follow keras.initializers.STFT.

    Args:
        side: "real" or "imag".
        window: "hann", "hamming", another name of `scipy.signal.get_window`,
            numbers, or None for no window.
        scaling: "density" for s = sqrt(sum w^2), "spectrum" for s = sum |w|, or None
            for s = 1; without a window s is 1.
        periodic: whether the window's period is the number of samples, or one less.

    Raises:
        ValueError: an unknown name; a variable of another shape.
        ImportError: a window that needs SciPy, without SciPy.

    Example:
        >>> kurve.initializers.STFT("real", None)((2, 1, 3)).reshape(2, 3).round(3)
        array([[ 1.,  1.,  1.],
               [ 1.,  0., -1.]], dtype=float32)
    """

    def __init__(
        self,
        side: str = "real",
        window: Any = "hann",
        scaling: str | None = "density",
        periodic: bool = False,
    ) -> None:
        self.side = check_choice("STFT", "side", side, ("real", "imag"))
        self.window = checked_window("STFT", window)
        self.scaling = (
            None
            if scaling is None
            else check_choice("STFT", "scaling", scaling, SCALINGS)
        )
        self.periodic = check_flag("STFT", "periodic", periodic)

    def values(self, shape: Shape, seed: int, stream: int) -> np.ndarray:
        if len(shape) != 3 or shape[1] != 1 or shape[2] < 2:
            raise ValueError(
                "[STFT] the variable must have shape (samples, 1, n / 2 + 1). "
                f"Received: shape={shape}. Try STFTSpectrogram()."
            )
        samples, _, bins = shape
        # Whole periods are left out first, so that late samples stay exact.
        steps = np.outer(np.arange(samples), np.arange(bins)) % (2 * (bins - 1))
        angles = -np.pi * steps / (bins - 1)
        kernel = np.cos(angles) if self.side == "real" else np.sin(angles)
        if self.window is not None:
            w = window_values("STFT", self.window, samples, self.periodic)
            sizes = {"density": np.sqrt((w**2).sum()), "spectrum": np.abs(w).sum()}
            kernel *= w[:, None] / sizes.get(str(self.scaling), 1.0)
        return kernel.reshape(shape)
