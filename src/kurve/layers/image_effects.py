"""Random effects on the values of images in training: inverted, with fewer levels,
sharper, blurred, or partly erased."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np

from kurve.core.arguments import from_signature, is_integer, is_number
from kurve.formulas import functions as ops
from kurve.formulas import nn
from kurve.formulas import randomness as random
from kurve.layers.augmenting import Colors, Factor, between
from kurve.layers.base import LayerArguments
from kurve.layers.random_colors import Ranged


class RandomInvert(Colors):
    """In training, y = high - x for some images, with high from `value_range`; in
    prediction it does nothing.

    Shapes: x (B, H, W, C) -> y the same.
    Source: defaults follow keras.layers.RandomInvert.

    Args:
        factor: the probability, or (low, high) of it, in [0, 1], drawn for each image;
            a number means (0, factor).
        value_range: range of pixel values.
        seed: an integer, or None for the model's.
        data_format: "channels_last" or "channels_first"; None is the first.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: a factor outside [0, 1], or an invalid value_range.

    Example:
        >>> x = np.full((1, 1, 2, 1), 55.0)
        >>> kurve.layers.RandomInvert((1.0, 1.0))(x).ravel()
        array([200., 200.], dtype=float32)
    """

    arguments = from_signature()
    bounds = (0.0, 1.0)
    draws = 2
    clips = False

    def __init__(
        self,
        factor: Factor = 1.0,
        value_range: Sequence[float] = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(seed, data_format, **common)
        self.factor = self._ends("factor", factor)
        self.value_range = self._values(value_range)

    def changed(self, x: Any, *uniform: Any) -> Any:
        """The images, some inverted."""
        chosen = uniform[1] < between(uniform[0], self.factor)
        return ops.where(chosen, float(self.value_range[1]) - x, x)


class RandomPosterization(Ranged):
    """In training, keeps the first f bits of values of 8 bits, with a random f for each
    image; in prediction it does nothing.

    Shapes: x (B, H, W, C) -> y the same.
    Source: defaults follow keras.layers.RandomPosterization.

    Args:
        factor: (low, high), in [1, 8]: f is at least low and below high, or both if
            they are equal; a number means (1, factor).
        value_range: range of pixel values, which are scaled to 0 to 255 and rounded
            down first.
        seed: an integer, or None for the model's.
        data_format: "channels_last" or "channels_first"; None is the first.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: a factor outside [1, 8], or an invalid value_range.

    Example:
        >>> x = np.array([10.0, 100.0, 200.0]).reshape(1, 1, 3, 1)
        >>> kurve.layers.RandomPosterization((1, 1))(x).ravel()
        array([  0.,   0., 128.], dtype=float32)
    """

    bounds = (1.0, 8.0)
    clips = False

    def _ends(self, name: str, factor: Any, *given: Any) -> Any:
        low, high = super()._ends(name, factor, *given)
        return int(low), int(high)

    def changed(self, x: Any, *uniform: Any) -> Any:
        """The images, with fewer levels."""
        low, high = self.factor
        kept = low + ops.floor(uniform[0] * float(high - low))
        # Powers of two, exactly.
        unit = ops.sum(
            ops.cast(ops.equal(kept, np.arange(1.0, 9.0, dtype=np.float32)), "float32")
            * 2.0 ** (8.0 - np.arange(1.0, 9.0, dtype=np.float32)),
            -1,
            True,
        )
        levels = ops.floor(ops.clip(self.scaled(x, 255.0), 0.0, 255.0))
        return self.unscaled(ops.floor(levels / unit) * unit, 255.0)


class Solarization(Colors):
    """In training, adds a random number to the values from 0 to 255 of each image, and
    inverts those that are not below a random threshold; in prediction it does nothing.

    Shapes: x (B, H, W, C) -> y the same.
    Source: defaults follow keras.layers.Solarization.

    Args:
        addition_factor: (low, high) of the number, in [0, 1], where high means
            255 high; a number means (0, addition_factor).
        threshold_factor: the same for the threshold.
        value_range: range of pixel values.
        seed: an integer, or None for the model's.
        data_format: "channels_last" or "channels_first"; None is the first.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: a factor outside [0, 1], or an invalid value_range.

    Example:
        >>> x = np.array([10.0, 100.0, 200.0]).reshape(1, 1, 3, 1)
        >>> kurve.layers.Solarization()(x).ravel()
        array([245., 155.,  55.], dtype=float32)
    """

    arguments = from_signature()
    bounds = (0.0, 1.0)
    draws = 2
    clips = False

    def __init__(
        self,
        addition_factor: Factor = 0.0,
        threshold_factor: Factor = 0.0,
        value_range: Sequence[float] = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(seed, data_format, **common)
        self.addition_factor = self._ends("addition_factor", addition_factor)
        self.threshold_factor = self._ends("threshold_factor", threshold_factor)
        self.value_range = self._values(value_range)

    def changed(self, x: Any, *uniform: Any) -> Any:
        """The images, with bright values inverted."""
        (a, b), (c, d) = self.addition_factor, self.threshold_factor
        added = between(uniform[0], (a, 255.0 * b))
        threshold = between(uniform[1], (c, 255.0 * d))
        y = ops.clip(self.scaled(x, 255.0) + added, 0.0, 255.0)
        return self.unscaled(ops.where(y < threshold, y, 255.0 - y), 255.0)


class AutoContrast(Colors):
    """Stretches the values of each channel of an image to the whole `value_range`, in
    training and prediction; a channel of one value stays.

    Shapes: x (B, H, W, C) -> y the same.
    Source: defaults follow keras.layers.AutoContrast.

    Args:
        value_range: range of pixel values.
        data_format: "channels_last" or "channels_first"; None is the first.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: an invalid value_range.

    Example:
        >>> x = np.array([50.0, 75.0, 100.0]).reshape(1, 1, 3, 1)
        >>> kurve.layers.AutoContrast()(x).ravel()
        array([  0. , 127.5, 255. ], dtype=float32)
    """

    arguments = from_signature()
    one_formula = True

    def __init__(
        self,
        value_range: Sequence[float] = (0, 255),
        data_format: str | None = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(None, data_format, **common)
        self.value_range = self._values(value_range)

    def call(self, x: Any, training: bool | None = None) -> Any:
        """The images, with the largest contrast."""
        self.check_axes(tuple(x.shape[1:]))
        return self.changed(x)

    def changed(self, x: Any, *uniform: Any) -> Any:
        """The images, with the largest contrast."""
        y = self.scaled(x, 255.0)
        low, high = ops.min(y, (1, 2), True), ops.max(y, (1, 2), True)
        flat = ops.equal(low, high)
        scale = 255.0 / ops.where(flat, 1.0, high - low)
        stretched = ops.clip(y * scale - low * scale, 0.0, 255.0)
        return ops.where(flat, x, self.unscaled(stretched, 255.0))


class RandomSharpness(Ranged):
    """In training, y = s + 2 f (x - s) with the image s smoothed by a kernel of 3 x 3
    and a random f for each image, clipped to `value_range`: 0 is smooth, 0.5 as it was,
    1 is sharp; in prediction it does nothing.

    Shapes: x (B, H, W, C) -> y the same.
    Source: defaults follow keras.layers.RandomSharpness.

    Args:
        factor: (low, high) of f, in [0, 1]; a number means (0, factor).
        value_range: range of pixel values.
        seed: an integer, or None for the model's.
        data_format: "channels_last" or "channels_first"; None is the first.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: a factor outside [0, 1], or an invalid value_range.

    Example:
        >>> x = np.full((1, 3, 3, 1), 13.0)
        >>> kurve.layers.RandomSharpness(0.0)(x)[0, 1].ravel().round(3)
        array([10., 13., 10.], dtype=float32)
    """

    bounds = (0.0, 1.0)

    def changed(self, x: Any, *uniform: Any) -> Any:
        """The images, sharper or smoother."""
        kernel = np.full((3, 3, 1, 1), 1 / 13, np.float32)
        kernel[1, 1] = 5 / 13
        smooth = nn.depthwise_conv(
            x, np.tile(kernel, (1, 1, x.shape[-1], 1)), padding="same"
        )
        strength = 2.0 * between(uniform[0], self.factor)
        return x + (1.0 - strength) * (smooth - x)


class RandomGaussianBlur(Colors):
    """In training, convolves some images with a Gaussian curve of random width,
    clipped to `value_range`; in prediction it does nothing.

    Shapes: x (B, H, W, C) -> y the same.
    Source: defaults follow keras.layers.RandomGaussianBlur, which draws one width for
            all images of a batch.

    Args:
        factor: the probability, or (low, high) of it, in [0, 1], drawn for each image;
            a number means (0, factor).
        kernel_size: height and width of the kernel, odd; a number means both.
        sigma: (low, high) of the standard deviation in pixels, in [0, 1], drawn for the
            width and for the height; a number means (0, sigma).
        value_range: range of pixel values.
        data_format: "channels_last" or "channels_first"; None is the first.
        seed: an integer, or None for the model's.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: a factor or sigma outside [0, 1], an even kernel_size, or an invalid
            value_range.

    Example:
        >>> x = np.ones((1, 5, 5, 1))
        >>> layer = kurve.layers.RandomGaussianBlur((1.0, 1.0), 3, (1.0, 1.0), (0, 1))
        >>> layer(x)[0, 2].ravel().round(3)
        array([0.726, 1.   , 1.   , 1.   , 0.726], dtype=float32)
    """

    arguments = (
        "factor",
        "kernel_size",
        "sigma",
        "value_range",
        "seed",
        "data_format",
    )
    bounds = (0.0, 1.0)
    draws = 4

    def __init__(
        self,
        factor: Factor = 1.0,
        kernel_size: int | Sequence[int] = 3,
        sigma: Factor = 1.0,
        value_range: Sequence[float] = (0, 255),
        data_format: str | None = None,
        seed: int | None = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(seed, data_format, **common)
        self.factor = self._ends("factor", factor)
        sizes: Any = [kernel_size] * 2 if is_number(kernel_size) else kernel_size
        if (
            not isinstance(sizes, (list, tuple))
            or len(sizes) != 2
            or not all(is_integer(size) and 0 < size < 100 for size in sizes)
            or not all(size % 2 for size in sizes)
        ):
            raise ValueError(
                "[RandomGaussianBlur] kernel_size must be an odd number below 100, or "
                f"a pair of them. Received: kernel_size={kernel_size!r}. Try 3."
            )
        self.kernel_size = (int(sizes[0]), int(sizes[1]))
        self.sigma = self._ends("sigma", sigma)
        self.value_range = self._values(value_range)

    def changed(self, x: Any, *uniform: Any) -> Any:
        """The images, some blurred."""
        chosen = uniform[1] < between(uniform[0], self.factor)
        height, width = self.kernel_size
        y = self._along(x, 1, height, between(uniform[3], self.sigma) + 1e-6)
        y = self._along(y, 2, width, between(uniform[2], self.sigma) + 1e-6)
        return ops.where(chosen, y, x)

    def _along(self, x: Any, axis: int, size: int, sigma: Any) -> Any:
        """Convolved with a Gaussian curve along an axis, with zeros outside."""
        ends = [(0, 0)] * 4
        ends[axis] = (size // 2, size // 2)
        padded, total, y = ops.pad(x, ends), 0.0, 0.0
        for i in range(size):
            weight = ops.exp(-0.5 * ops.square((i - size // 2) / sigma))
            places = [slice(None)] * 4
            places[axis] = slice(i, i + x.shape[axis])
            y = y + weight * ops.get_item(padded, tuple(places))
            total = total + weight
        return y / total


class RandomErasing(Colors):
    """In training, replaces a random rectangle of some images; in prediction it does
    nothing.

    Shapes: x (B, H, W, C) -> y the same.
    Source: Zhong et al. 2017; defaults follow keras.layers.RandomErasing.

    Args:
        factor: the probability, or (low, high) of it, in [0, 1], drawn for each image;
            a number means (0, factor).
        scale: (low, high), in [0, 1]: height and width of the rectangle are the roots
            of two numbers between them, as fractions of the image's; a number means
            (0, scale).
        fill_value: a number, one per channel, or None for random numbers around 0 with
            the standard deviation high of `value_range`, clipped to it.
        value_range: range of pixel values.
        seed: an integer, or None for the model's.
        data_format: "channels_last" or "channels_first"; None is the first.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: a factor or scale outside [0, 1], or an invalid fill_value or
            value_range.

    Example:
        >>> x = np.ones((1, 4, 4, 1))
        >>> layer = kurve.layers.RandomErasing((1, 1), (1, 1), fill_value=0.0)
        >>> float(layer(x).sum())
        0.0
    """

    arguments = from_signature()
    bounds = (0.0, 1.0)
    draws = 6
    clips = False

    def __init__(
        self,
        factor: Factor = 1.0,
        scale: Factor = (0.02, 0.33),
        fill_value: float | Sequence[float] | None = None,
        value_range: Sequence[float] = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(seed, data_format, **common)
        self.factor = self._ends("factor", factor)
        self.scale = self._ends("scale", scale)
        self.value_range = self._values(value_range)
        several = isinstance(fill_value, (list, tuple))
        each = list(fill_value) if several else [fill_value]  # type: ignore[arg-type]
        if fill_value is not None and not (each and all(map(is_number, each))):
            raise ValueError(
                "[RandomErasing] fill_value must be a number, one per channel, or "
                f"None. Received: fill_value={fill_value!r}. Try fill_value=0."
            )
        self.fill_value: Any = tuple(each) if several else fill_value

    def changed(self, x: Any, *uniform: Any) -> Any:
        """The images, some with a rectangle erased."""
        rows, columns, top, left, probability, threshold = uniform
        _, height, width, channels = x.shape
        down = _within(top, rows, self.scale, height)
        across = _within(left, columns, self.scale, width)
        inside = ops.reshape(down, (-1, height, 1, 1))
        inside = inside * ops.reshape(across, (-1, 1, width, 1))
        chosen = ops.cast(threshold < between(probability, self.factor), "float32")
        low, high = map(float, self.value_range)
        if self.fill_value is None:
            fill = high * random.normal((None, *x.shape[1:]), seed=self.seed)
            fill = ops.clip(fill, low, high)
        else:
            fill = np.clip(np.asarray(self.fill_value, np.float32), low, high)
            if fill.ndim and len(fill) != channels:
                raise ValueError(
                    "[RandomErasing] fill_value must have one number per channel. "
                    f"Received: {len(fill)} for {channels} channels. Try one number."
                )
        return ops.where(inside * chosen > 0.5, fill, x)


def _within(at: Any, share: Any, scale: tuple[float, float], size: int) -> Any:
    """1 for the positions 0 to size - 1 in a random stretch, else 0: (B, 1, 1, size).

    Args:
        at: in (0, 1), where the stretch lies.
        share: in (0, 1), for its length.
    """
    length = ops.sqrt(between(share, scale)) * float(size)
    start = at * (float(size) - length)
    places = np.arange(size, dtype=np.float32)
    return ops.cast(places >= start, "float32") * ops.cast(
        places < start + length, "float32"
    )
