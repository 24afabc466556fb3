"""Spectra of sounds and other signals."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np

from kurve.core.arguments import (
    check_choice,
    check_flag,
    check_integer,
    check_number,
    from_signature,
)
from kurve.core.windows import checked_window, window_values
from kurve.formulas import functions as ops
from kurve.formulas.nn import conv, depthwise_conv
from kurve.formulas.operators import Symbolic
from kurve.formulas.transforms import stft
from kurve.initializers.fourier import SCALINGS, STFT
from kurve.layers.arguments import check_data_format
from kurve.layers.base import UNSAID, Layer, LayerArguments, Variable

MAX_LENGTH = 2**16
"""Maximum length of a piece, and number of bands."""

MODES = ("log", "magnitude", "psd", "real", "imag", "angle", "stft")


class STFTSpectrogram(Layer):
    """The short-time Fourier transform of each channel, as a convolution whose kernels
    can be trained.

    With z_f the transform of a piece at frequency f: mode "real", "imag", "angle" and
    "stft" (real, then imaginary) give z; "psd" |z_f|^2, twice for frequencies that have
    a mirror image; "magnitude" |z| = sqrt(max(|z|^2, 1e-7)); "log" log |z|.

    Shapes:   x (B, T, C) -> y (B, T', C F), or (B, T', F, C) with expand_dims, where F
              = fft_length / 2 + 1 (twice that for "stft"); kernels (frame_length, 1,
              fft_length / 2 + 1)
    Source:   defaults follow keras.layers.STFTSpectrogram.

    Args:
        mode: see above.
        frame_length: samples of a piece.
        frame_step: samples between pieces, at most frame_length; None for half of it.
        fft_length: samples of a piece padded with zeros; None for the next power of 2.
        window: "hann", "hamming", another name of `scipy.signal.get_window`, numbers,
            or None.
        periodic, scaling: see `kurve.initializers.STFT`.
        padding: "valid" or "same", see `Conv1D`.
        expand_dims: whether frequencies and channels are axes of their own.
        data_format: "channels_last" or "channels_first" (B, C, T); None is the first.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: an unknown name, a number out of range; when built: a window that
            has not frame_length numbers.
        ImportError: a window that needs SciPy, without SciPy.

    Example:
        >>> x = np.sin(2 * np.pi * np.arange(64) / 8).reshape(1, 64, 1)
        >>> layer = kurve.layers.STFTSpectrogram("magnitude", frame_length=16)
        >>> layer(x).shape
        (1, 7, 9)
        >>> layer(x)[0].argmax(axis=1)
        array([2, 2, 2, 2, 2, 2, 2])
    """

    arguments = from_signature()

    def __init__(
        self,
        mode: str = "log",
        frame_length: int = 256,
        frame_step: int | None = None,
        fft_length: int | None = None,
        window: Any = "hann",
        periodic: bool = False,
        scaling: str | None = "density",
        padding: str = "valid",
        expand_dims: bool = False,
        data_format: str | None = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        where = "STFTSpectrogram"
        super().__init__(**common)
        self.mode = check_choice(where, "mode", mode, MODES)
        check_integer(where, "frame_length", frame_length, 256, 2, MAX_LENGTH)
        self.frame_length = int(frame_length)
        self.frame_step = frame_step
        if frame_step is not None:
            check_integer(where, "frame_step", frame_step, frame_length // 2, 1)
            self.frame_step = int(frame_step)
            if frame_step > frame_length:
                raise ValueError(
                    f"[{where}] frame_step must be at most frame_length. Received: "
                    f"frame_step={frame_step}, frame_length={frame_length}. Try "
                    f"frame_step={frame_length // 2}."
                )
        self.fft_length = fft_length
        if fft_length is not None:
            check_integer(where, "fft_length", fft_length, 256, 1, MAX_LENGTH)
            self.fft_length = int(fft_length)
            if fft_length < frame_length or fft_length % 2:
                raise ValueError(
                    f"[{where}] fft_length must be even, and at least frame_length. "
                    f"Received: fft_length={fft_length}, frame_length={frame_length}. "
                    "Try fft_length=None."
                )
        self.window = checked_window(where, window)
        self.periodic = check_flag(where, "periodic", periodic)
        self.scaling = scaling
        if scaling is not None:
            check_choice(where, "scaling", scaling, SCALINGS)
        self.padding = check_choice(where, "padding", padding, ("valid", "same"))
        self.expand_dims = check_flag(where, "expand_dims", expand_dims)
        self.data_format = check_data_format(type(self), data_format)
        self.real_kernel: Variable | None = None
        self.imag_kernel: Variable | None = None

    def build(self, input_shape: Any) -> None:
        """Create the kernels that the mode needs."""
        if len(input_shape) != 3:
            raise ValueError(
                "[STFTSpectrogram] the layer takes samples of shape (T, C), time and "
                f"channels. Received: samples of shape {tuple(input_shape[1:])}. "
                "Try ops.expand_dims(x, -1)."
            )
        if isinstance(self.window, list):
            window_values("STFTSpectrogram", self.window, self.frame_length, False)
        padded = self.fft_length or 2 ** (self.frame_length - 1).bit_length()
        shape = (self.frame_length, 1, padded // 2 + 1)

        def kernel(side: str) -> Variable:
            start = STFT(side, self.window, self.scaling, self.periodic)
            return self.add_weight(shape, start, name=f"{side}_kernel")

        if self.mode != "imag":
            self.real_kernel = kernel("real")
        if self.mode != "real":
            self.imag_kernel = kernel("imag")

    def _transformed(self, x: Any, kernel: Variable) -> Any:
        """One part of the transform of x (B, T, C): (B, T', C, F)."""
        channels = x.shape[-1]
        step = self.frame_step or self.frame_length // 2
        convolve = conv if channels == 1 else depthwise_conv
        weights = kernel if channels == 1 else ops.tile(kernel, (1, channels, 1))
        y = convolve(x, weights, step, self.padding)
        return ops.reshape(y, (-1, y.shape[1], channels, kernel.shape[-1]))

    def call(self, inputs: Any) -> Any:
        """The spectrogram."""
        first = self.data_format == "channels_first"
        x = ops.transpose(inputs, (0, 2, 1)) if first else inputs
        parts = [
            self._transformed(x, kernel)
            for kernel in (self.real_kernel, self.imag_kernel)
            if kernel is not None
        ]
        y = self._combined(parts)  # (B, T', C, F)
        if self.expand_dims:
            return ops.transpose(y, (0, 2, 1, 3) if first else (0, 1, 3, 2))
        y = ops.reshape(y, (-1, y.shape[1], y.shape[2] * y.shape[3]))
        return ops.transpose(y, (0, 2, 1)) if first else y

    def _combined(self, parts: list[Any]) -> Any:
        if len(parts) == 1:
            return parts[0]
        real, imag = parts
        if self.mode == "angle":
            return ops.arctan2(imag, real)
        if self.mode == "stft":
            return ops.concatenate(parts, -1)
        power = ops.square(real) + ops.square(imag)
        if self.mode == "psd":
            mirrored = np.full(power.shape[-1], 2.0, np.float32)
            mirrored[[0, -1]] = 1.0
            return power * mirrored
        size = ops.sqrt(ops.maximum(power, 1e-7))
        if self.mode == "magnitude":
            return size
        return ops.log(ops.maximum(size, 1e-7))


class MelSpectrogram(Layer):
    """Energies of signals over time in bands that are as wide as the ear hears them.

    Pieces of a signal, around every `sequence_stride`-th sample, are transformed; with
    z their transforms, the bands are |z|^mag_exp times triangles, which overlap and are
    equally wide on the mel scale m = 1127 log(1 + f / 700 Hz). With power_to_db the
    result is 10 log10 of that over ref_power, and what lies top_db below the largest
    value of a signal is raised to that level. (Keras takes the largest value of all
    signals of a batch, so that there the result depends on the batch.)

    Shapes:   x (B, T) or (T,) -> y (B, num_mel_bins, T // sequence_stride + 1)
    Source:   defaults follow keras.layers.MelSpectrogram; Young et al., The HTK Book.

    Args:
        fft_length: samples of a piece padded with zeros.
        sequence_stride: samples between pieces.
        sequence_length: samples of a piece; None for fft_length.
        window: "hann", "hamming", sequence_length numbers, or None.
        sampling_rate: samples per second.
        num_mel_bins: number of bands.
        min_freq, max_freq: where the bands start and end, in Hz; None for half of the
            sampling rate.
        power_to_db: whether the result is in decibels.
        top_db: range of the decibels.
        mag_exp: 1 for magnitudes, 2 for power.
        min_power: smallest power, and smallest ref_power.
        ref_power: power of 0 dB.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: an unknown name, a number out of range; samples of another shape.

    Example:
        >>> x = np.sin(2 * np.pi * 440 / 8000 * np.arange(8000))
        >>> layer = kurve.layers.MelSpectrogram(sampling_rate=8000, num_mel_bins=32)
        >>> layer(x).shape
        (32, 16)
    """

    arguments = from_signature()

    def __init__(
        self,
        fft_length: int = 2048,
        sequence_stride: int = 512,
        sequence_length: int | None = None,
        window: Any = "hann",
        sampling_rate: int = 16000,
        num_mel_bins: int = 128,
        min_freq: float = 20.0,
        max_freq: float | None = None,
        power_to_db: bool = True,
        top_db: float = 80.0,
        mag_exp: float = 2.0,
        min_power: float = 1e-10,
        ref_power: float = 1.0,
        **common: Unpack[LayerArguments],
    ) -> None:
        where = "MelSpectrogram"
        super().__init__(**common)
        check_integer(where, "fft_length", fft_length, 2048, 2, MAX_LENGTH)
        self.fft_length = int(fft_length)
        check_integer(where, "sequence_stride", sequence_stride, 512)
        self.sequence_stride = int(sequence_stride)
        length = fft_length if sequence_length is None else sequence_length
        check_integer(where, "sequence_length", length, 2048)
        self.sequence_length = int(length)
        if length > fft_length or fft_length % 2:
            raise ValueError(
                f"[{where}] fft_length must be even, and at least sequence_length. "
                f"Received: fft_length={fft_length}, sequence_length={length}. Try "
                "sequence_length=None."
            )
        self.window = checked_window(where, window)
        if isinstance(self.window, list):
            window_values(where, self.window, self.sequence_length, True)
        check_integer(where, "sampling_rate", sampling_rate, 16000, 2)
        self.sampling_rate = int(sampling_rate)
        check_integer(where, "num_mel_bins", num_mel_bins, 128, 1, MAX_LENGTH)
        self.num_mel_bins = int(num_mel_bins)
        self.min_freq = check_number(where, "min_freq", min_freq, 20.0, 0)
        top = sampling_rate // 2 if max_freq is None else max_freq
        self.max_freq = check_number(where, "max_freq", top, 8000.0, 0, ends="(]")
        if self.max_freq <= self.min_freq:
            raise ValueError(
                f"[{where}] max_freq must be above min_freq. Received: "
                f"max_freq={top}, min_freq={min_freq}. Try min_freq=20.0."
            )
        self.power_to_db = check_flag(where, "power_to_db", power_to_db)
        self.top_db = check_number(where, "top_db", top_db, 80.0, 0)
        self.mag_exp = check_number(where, "mag_exp", mag_exp, 2.0, 0)
        self.min_power = check_number(
            where, "min_power", min_power, 1e-10, 0, ends="(]"
        )
        self.ref_power = check_number(where, "ref_power", ref_power, 1.0)

    def __call__(self, x: Any = UNSAID, *others: Any, **named: Any) -> Any:
        """The bands of signals x (B, T), or of one signal (T,)."""
        alone = getattr(x, "ndim", None) == 1 and not isinstance(x, Symbolic)
        y = super().__call__(x[None] if alone else x, *others, **named)
        return y[0] if alone else y

    def bands(self) -> np.ndarray:
        """The triangles: (fft_length / 2 + 1, num_mel_bins)."""

        def mel(hertz: Any) -> Any:
            return 1127.0 * np.log(1.0 + hertz / 700.0)

        bins = self.fft_length // 2 + 1
        at = mel(np.linspace(0.0, self.sampling_rate / 2, bins))[:, None]
        edges = np.linspace(
            mel(self.min_freq), mel(self.max_freq), self.num_mel_bins + 2
        )
        low, center, high = edges[:-2], edges[1:-1], edges[2:]
        rising, falling = (at - low) / (center - low), (high - at) / (high - center)
        found = np.maximum(0.0, np.minimum(rising, falling))
        found[0] = 0.0  # frequency 0 belongs to no band
        return found.astype(np.float32)

    def call(self, inputs: Any) -> Any:
        """The bands."""
        if len(inputs.shape) != 2:
            raise ValueError(
                "[MelSpectrogram] the layer takes samples of shape (T,), time. "
                f"Received: samples of shape {tuple(inputs.shape[1:])}. "
                "Try ops.squeeze(x, -1)."
            )
        real, imag = stft(
            inputs,
            self.sequence_length,
            self.sequence_stride,
            self.fft_length,
            self.window,
        )
        power = ops.square(real) + ops.square(imag)
        if self.mag_exp != 2.0:
            power = power ** (self.mag_exp / 2.0)
        y = ops.matmul(power, self.bands())
        if self.power_to_db:
            y = self._decibels(y)
        return ops.swapaxes(y, -1, -2)

    def _decibels(self, power: Any) -> Any:
        reference = 10.0 * np.log10(max(abs(self.ref_power), self.min_power))
        y = 10.0 * ops.log10(ops.maximum(power, self.min_power)) - float(reference)
        return ops.maximum(y, ops.max(y, (1, 2), keepdims=True) - self.top_db)
