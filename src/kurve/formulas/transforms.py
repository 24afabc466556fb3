"""Functions of `kurve.ops` that transform sequences into frequencies and back.

Complex numbers are pairs of arrays, as in Keras: their real and imaginary parts. In a
model a transform is a product with a matrix of cosines and sines.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kurve.core.windows import COSINES, window_values
from kurve.formulas import functions as ops
from kurve.formulas.calls import as_array, function, graph_of
from kurve.formulas.limits import afford

Pair = tuple[Any, Any]


def _waves(rows: int, columns: int, period: int) -> Pair:
    """cos and sin of 2 pi j k / period: (rows, columns), float32."""
    afford(rows, columns)
    turns = np.outer(np.arange(rows), np.arange(columns)) % period
    angle = turns * (2.0 * np.pi / period)
    return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)


def _parts(y: np.ndarray) -> Pair:
    return y.real.astype(np.float32), y.imag.astype(np.float32)


def _complex(x: Pair) -> np.ndarray:
    real, imag = map(as_array, x)
    return np.asarray(real) + 1j * np.asarray(imag)


def _fourier(x: Pair, sign: float) -> Pair:
    """sum over j of x_j exp(sign i 2 pi j k / n), along the last axis."""
    real, imag = x
    n = ops.shape(real)[-1]
    cos, sin = _waves(n, n, n)
    sin = sign * sin
    return (
        ops.matmul(real, cos) - ops.matmul(imag, sin),
        ops.matmul(imag, cos) + ops.matmul(real, sin),
    )


def _of_rows(x: Pair, sign: float) -> Pair:
    """The same along the axis before the last."""
    swapped = tuple(ops.swapaxes(part, -1, -2) for part in x)
    real, imag = _fourier((swapped[0], swapped[1]), sign)
    return ops.swapaxes(real, -1, -2), ops.swapaxes(imag, -1, -2)


@function
def fft(x: Pair) -> Pair:
    """The discrete Fourier transform along the last axis: y_k = sum over j of
    x_j exp(-2 pi i j k / n)."""
    if graph_of(x) is None:
        return _parts(np.fft.fft(_complex(x)))
    return _fourier(x, -1.0)


@function
def fft2(x: Pair) -> Pair:
    """`fft` along the last two axes."""
    if graph_of(x) is None:
        return _parts(np.fft.fft2(_complex(x)))
    return _of_rows(_fourier(x, -1.0), -1.0)


@function
def ifft2(x: Pair) -> Pair:
    """The inverse of `fft2`."""
    if graph_of(x) is None:
        return _parts(np.fft.ifft2(_complex(x)))
    real, imag = _of_rows(_fourier(x, 1.0), 1.0)
    count = float(ops.shape(real)[-1] * ops.shape(real)[-2])
    return real / count, imag / count


def _of_length(x: Any, length: int) -> Any:
    """x with its last axis truncated, or padded with zeros at the end."""
    own = ops.shape(x)[-1]
    if own > length:
        return ops.get_item(x, (..., slice(0, length)))
    if own < length:
        margins = [(0, 0)] * (len(ops.shape(x)) - 1)
        return ops.pad(x, [*margins, (0, length - own)])
    return x


@function
def rfft(x: Any, fft_length: int | None = None) -> Pair:
    """`fft` of real numbers, without the second half, which mirrors the first."""
    length = ops.shape(x)[-1] if fft_length is None else int(fft_length)
    if graph_of(x) is None:
        return _parts(np.fft.rfft(as_array(x), length))
    cos, sin = _waves(length, length // 2 + 1, length)
    x = _of_length(x, length)
    return ops.matmul(x, cos), ops.matmul(x, -sin)


@function
def irfft(x: Pair, fft_length: int | None = None) -> Any:
    """What `rfft` gives this for."""
    bins = ops.shape(x[0])[-1]
    length = 2 * (bins - 1) if fft_length is None else int(fft_length)
    if graph_of(x) is None:
        return np.fft.irfft(_complex(x), length).astype(np.float32)
    used = length // 2 + 1
    cos, sin = _waves(used, length, length)
    twice = np.full((used, 1), 2.0, np.float32)
    twice[0] = 1.0
    if length % 2 == 0:
        twice[-1] = 1.0
    real, imag = (_of_length(part, used) for part in x)
    y = ops.matmul(real, twice * cos) - ops.matmul(imag, twice * sin)
    return y / float(length)


@function
def stft(
    x: Any,
    sequence_length: int,
    sequence_stride: int,
    fft_length: int,
    window: Any = "hann",
    center: bool = True,
) -> Pair:
    """`rfft` of pieces of the last axis: (..., pieces, fft_length // 2 + 1).

    Args:
        x: (..., samples).
        sequence_length, sequence_stride: of the pieces.
        fft_length: at least sequence_length; a piece is padded with zeros on both
        sides.
        window: the factors of pieces: "hann", "hamming", numbers or None.
        center: whether x is mirrored at both ends, so that piece t is around sample t x
            sequence_stride.
    """
    afford(fft_length)
    before = (fft_length - sequence_length) // 2
    factors = np.zeros(fft_length, np.float32)
    factors[before : before + sequence_length] = _window(window, sequence_length)
    if center:
        half, n = fft_length // 2, ops.shape(x)[-1]
        afford(n + 2 * half)
        order = np.pad(np.arange(n), (half, half), mode="reflect")
        x = ops.take(x, order, axis=-1)
    samples = ops.shape(x)[-1]
    starts = range(0, samples - fft_length + 1, sequence_stride)
    pieces = [ops.get_item(x, (..., slice(s, s + fft_length))) for s in starts]
    axis = len(ops.shape(x)) - 1
    return rfft(ops.stack(pieces, axis) * factors, fft_length)


@function
def istft(
    x: Pair,
    sequence_length: int,
    sequence_stride: int,
    fft_length: int,
    length: int | None = None,
    window: Any = "hann",
    center: bool = True,
) -> Any:
    """The inverse of `stft`: the sum of the pieces, each multiplied with the
    window, over the sum of the squared windows.

    Args:
        x: real and imaginary part, (..., pieces, fft_length // 2 + 1).
        sequence_length, sequence_stride, fft_length, window, center: as in `stft`.
        length: length of the result; by default the range that the pieces cover,
            without the mirrored ends.

    Raises:
        ValueError: a stride that is not a positive integer.
    """
    if not isinstance(sequence_stride, int) or sequence_stride < 1:
        raise ValueError(
            "[istft] sequence_stride must be an integer of at least 1. "
            f"Received: {sequence_stride!r}. Try that of stft."
        )
    afford(fft_length)
    factors = np.zeros(fft_length, np.float32)
    before = (fft_length - sequence_length) // 2
    factors[before : before + sequence_length] = _window(window, sequence_length)
    pieces = irfft(x, fft_length) * factors
    axis = len(ops.shape(pieces)) - 2
    count = ops.shape(pieces)[axis]
    samples = fft_length + sequence_stride * (count - 1)
    afford(samples)
    weights = np.zeros(samples, np.float32)
    first = fft_length // 2 if center else 0
    last = samples - first if center else samples
    if length is not None:
        last = first + int(length)
    y: Any = None
    for k in range(count):
        start = k * sequence_stride
        weights[start : start + fft_length] += factors**2
        margins = [(0, 0)] * axis + [(start, samples - fft_length - start)]
        part = ops.pad(ops.get_item(pieces, (..., k, slice(None))), margins)
        y = part if y is None else y + part
    y = y / np.where(weights > 1e-10, weights, np.float32(1.0))
    return ops.get_item(_of_length(y, max(last, samples)), (..., slice(first, last)))


def _window(window: str | Sequence[float] | None, length: int) -> Any:
    if window is None:
        return 1.0
    if not isinstance(window, str):
        return np.asarray(as_array(window), np.float32)
    if window not in COSINES:
        raise ValueError(
            "[stft] window must be 'hann', 'hamming', numbers or None. "
            f"Received: window={window!r}. Try window='hann'."
        )
    return window_values("stft", window, length, True)


NAMES = ("fft", "fft2", "ifft2", "irfft", "istft", "rfft", "stft")
