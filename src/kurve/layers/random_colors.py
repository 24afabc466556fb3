"""Random changes of the colors of images in training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

from kurve.core.arguments import from_signature, is_number
from kurve.formulas import functions as ops
from kurve.formulas.image_filters import hsv_to_rgb, rgb_to_hsv
from kurve.formulas.images import rgb_to_grayscale
from kurve.layers.augmenting import Colors, Factor, between
from kurve.layers.base import LayerArguments

EPSILON = 1e-7  # keras.config.epsilon()


class Ranged(Colors):
    """Shared by layers with a factor and the range of pixel values."""

    arguments = ("factor", "value_range", "seed", "data_format")

    def __init__(
        self,
        factor: Factor,
        value_range: Sequence[float] = (0, 255),
        data_format: str | None = None,
        seed: int | None = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(seed, data_format, **common)
        self.factor = self._ends("factor", factor)
        self.value_range = self._values(value_range)


class _SeedFirst(Ranged):
    """As `Ranged`, with `seed` before `data_format`."""

    def __init__(
        self,
        factor: Factor,
        value_range: Sequence[float] = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(factor, value_range, data_format, seed, **common)


class RandomBrightness(_SeedFirst):
    """In training, adds to each image a random number between low and high times the
    width of `value_range`, and clips to that range; in prediction it does nothing.

    Source: defaults follow keras.layers.RandomBrightness.

    Args:
        factor: (low, high), in [-1, 1]; a number means (-factor, factor).
        value_range: range of pixel values.
        seed: an integer, or None for the model's.
        data_format: "channels_last" or "channels_first"; None is the first.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: a factor outside [-1, 1], or an invalid value_range.

    Example:
        >>> x = np.full((1, 2, 2, 1), 100.0)
        >>> y = kurve.layers.RandomBrightness((0.2, 0.2))(x)
        >>> bool(np.allclose(y, 151.0))
        True
    """

    def changed(self, x: Any, uniform: Any) -> Any:
        """The images, brighter or darker."""
        low, high = self.factor
        width = float(self.value_range[1] - self.value_range[0])
        return x + (uniform * (high - low) + low) * width


class RandomContrast(_SeedFirst):
    """In training, y = mean + (x - mean) f, with the mean of each channel of an image
    and random f between 1 - low and 1 + high, clipped to `value_range`; in prediction
    it does nothing.

    Source: defaults follow keras.layers.RandomContrast.

    Args:
        factor: (low, high), in [0, 1]; a number is used for both.
        value_range: range of pixel values.
        seed: an integer, or None for the model's.
        data_format: "channels_last" or "channels_first"; None is the first.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: a factor outside [0, 1], or an invalid value_range.

    Example:
        >>> x = np.array([100.0, 200.0]).reshape(1, 1, 2, 1)
        >>> kurve.layers.RandomContrast(0.0)(x).ravel()
        array([100., 200.], dtype=float32)
    """

    bounds = (0.0, 1.0)

    def _ends(self, name: str, factor: Any, *given: Any) -> Any:
        ends = (factor, factor) if is_number(factor) else factor
        super()._ends(name, ends, *given)
        return float(ends[0]), float(ends[1])

    def changed(self, x: Any, uniform: Any) -> Any:
        """The images, with more or less contrast."""
        low, high = self.factor
        mean = ops.mean(x, [1, 2], True)
        return (x - mean) * (uniform * (low + high) + (1.0 - low)) + mean


class RandomHue(Ranged):
    """In training, moves the hues of each image by random f / 2 of the color circle,
    up or down; in prediction it does nothing.

    Shapes: x (B, H, W, 3) -> y the same.
    Source: defaults follow keras.layers.RandomHue.

    Args:
        factor: (low, high) of f, in [0, 1]; a number means (0, factor).
        value_range: range of pixel values.
        seed: an integer, or None for the model's.
        data_format: "channels_last" or "channels_first"; None is the first.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: a factor outside [0, 1], or an invalid value_range.

    Example:
        >>> x = np.array([1.0, 0.5, 0.0]).reshape(1, 1, 1, 3)
        >>> kurve.layers.RandomHue(0.0, value_range=(0, 1))(x).ravel()
        array([1. , 0.5, 0. ], dtype=float32)
    """

    bounds = (0.0, 1.0)
    draws = 2
    clips = False

    def changed(self, x: Any, *uniform: Any) -> Any:
        """The images, with other hues."""
        side, size = uniform
        half = ops.where(side > 0.5, -0.5, 0.5)
        return self.rotated(x, half * between(size, self.factor))

    def rotated(self, x: Any, turn: Any) -> Any:
        """The images with hues moved by a fraction of the circle of colors."""
        self.check_colors(x)
        hsv = rgb_to_hsv(self.scaled(x))
        hue = hsv[..., 0:1] + turn
        hue = ops.where(hue > 1.0, hue - 1.0, hue)
        hue = ops.where(hue < 0.0, hue + 1.0, hue)
        y = hsv_to_rgb(ops.concatenate([hue, hsv[..., 1:]], -1))
        return self.unscaled(ops.clip(y, 0.0, 1.0))


class RandomSaturation(Ranged):
    """In training, multiplies the saturation of each image by f / (1 - f) for a random
    f: 0 is grey, 0.5 keeps it, 1 is as colorful as can be; in prediction it does
    nothing.

    Shapes: x (B, H, W, 3) -> y the same.
    Source: defaults follow keras.layers.RandomSaturation.

    Args:
        factor: (low, high) of f, in [-1, 1]; a number means (-factor, factor).
        value_range: range of pixel values.
        seed: an integer, or None for the model's.
        data_format: "channels_last" or "channels_first"; None is the first.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: a factor outside [-1, 1], or an invalid value_range.

    Example:
        >>> x = np.array([1.0, 0.5, 0.0]).reshape(1, 1, 1, 3)
        >>> layer = kurve.layers.RandomSaturation((0.0, 0.0), value_range=(0, 1))
        >>> layer(x).ravel()
        array([1., 1., 1.], dtype=float32)
    """

    clips = False

    def changed(self, x: Any, *uniform: Any) -> Any:
        """The images, with stronger or weaker colors."""
        self.check_colors(x)
        factor = between(uniform[0], self.factor)
        factor = factor / (1.0 - factor + EPSILON)
        hsv = rgb_to_hsv(x)
        strength = self.clipped(hsv[..., 1:2] * factor)
        return hsv_to_rgb(ops.concatenate([hsv[..., 0:1], strength, hsv[..., 2:]], -1))


class RandomGrayscale(Colors):
    """In training, turns each image to grey with a given probability; in prediction it
    does nothing.

    Shapes: x (B, H, W, 3) -> y the same.
    Source: defaults follow keras.layers.RandomGrayscale.

    Args:
        factor: the probability.
        seed: an integer, or None for the model's.
        data_format: "channels_last" or "channels_first"; None is the first.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: a factor outside [0, 1].

    Example:
        >>> x = np.array([1.0, 0.5, 0.0]).reshape(1, 1, 1, 3)
        >>> kurve.layers.RandomGrayscale(1.0)(x).ravel().round(3)
        array([0.592, 0.592, 0.592], dtype=float32)
    """

    arguments = ("factor", "seed", "data_format")
    clips = False

    def __init__(
        self,
        factor: float = 0.5,
        data_format: str | None = None,
        seed: int | None = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(seed, data_format, **common)
        if not is_number(factor):
            factor = -1.0
        self.factor = self._ends("factor", (0.0, factor), (0.0, 1.0))[1]

    def changed(self, x: Any, *uniform: Any) -> Any:
        """The images, some without colors."""
        self.check_colors(x)
        return ops.where(uniform[0] < self.factor, rgb_to_grayscale(x), x)


class RandomColorDegeneration(Ranged):
    """In training, y = x + f (grey - x) with the grey of each pixel and a random f for
    each image, clipped to `value_range`; in prediction it does nothing.

    Shapes: x (B, H, W, 3) -> y the same.
    Source: defaults follow keras.layers.RandomColorDegeneration.

    Args:
        factor: (low, high) of f, in [-1, 1]; a number means (-factor, factor).
        value_range: range of pixel values.
        seed: an integer, or None for the model's.
        data_format: "channels_last" or "channels_first"; None is the first.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: a factor outside [-1, 1], or an invalid value_range.

    Example:
        >>> x = np.array([1.0, 0.5, 0.0]).reshape(1, 1, 1, 3)
        >>> kurve.layers.RandomColorDegeneration(0.0)(x).ravel()
        array([1. , 0.5, 0. ], dtype=float32)
    """

    def changed(self, x: Any, *uniform: Any) -> Any:
        """The images, with weaker colors."""
        self.check_colors(x)
        return x + between(uniform[0], self.factor) * (rgb_to_grayscale(x) - x)


class RandomColorJitter(Colors):
    """In training, changes brightness, contrast, saturation and hue of each image at
    random, in this order; in prediction it does nothing.

    Shapes: x (B, H, W, 3) -> y the same.
    Source: defaults follow keras.layers.RandomColorJitter.

    Args:
        value_range: range of pixel values.
        brightness_factor, contrast_factor, saturation_factor, hue_factor: see
            `RandomBrightness`, `RandomContrast`, `RandomSaturation` and `RandomHue`;
            None leaves it.
        seed: an integer, or None for the model's.
        data_format: "channels_last" or "channels_first"; None is the first.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: an invalid factor or value_range.

    Example:
        >>> x = np.array([1.0, 0.5, 0.0]).reshape(1, 1, 1, 3)
        >>> layer = kurve.layers.RandomColorJitter((0, 1), brightness_factor=(0.5, 0.5))
        >>> layer(x).ravel()
        array([1. , 1. , 0.5], dtype=float32)
    """

    arguments = from_signature()
    clips = False

    def __init__(
        self,
        value_range: Sequence[float] = (0, 255),
        brightness_factor: Factor | None = None,
        contrast_factor: Factor | None = None,
        saturation_factor: Factor | None = None,
        hue_factor: Factor | None = None,
        seed: int | None = None,
        data_format: str | None = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(seed, data_format, **common)
        self.value_range = self._values(value_range)
        self.brightness_factor = brightness_factor
        self.contrast_factor = contrast_factor
        self.saturation_factor = saturation_factor
        self.hue_factor = hue_factor
        factors = (brightness_factor, contrast_factor, saturation_factor, hue_factor)
        kinds = (RandomBrightness, RandomContrast, RandomSaturation, RandomHue)
        self._steps: list[Ranged] = [
            kind(factor, self.value_range)
            for kind, factor in zip(kinds, factors, strict=True)
            if factor is not None
        ]
        self.draws = max(sum(step.draws for step in self._steps), 1)

    def changed(self, x: Any, *uniform: Any) -> Any:
        """The images, changed by one layer after the other."""
        for step in self._steps:
            numbers, uniform = uniform[: step.draws], uniform[step.draws :]
            x = step.changed(x, *numbers)
            x = step.clipped(x) if step.clips else x
        return x
