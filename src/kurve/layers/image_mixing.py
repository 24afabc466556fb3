"""Random changes of images that are computed with arrays: geometric transforms, and
mixing with other images of the batch. They are applied to data before `fit`, and are
refused in a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np

from kurve.core import rng
from kurve.core.arguments import (
    check_choice,
    check_integer,
    check_number,
    from_signature,
    is_number,
)
from kurve.core.results import result
from kurve.formulas.image_sampling import PUBLIC as SAMPLING
from kurve.formulas.operators import Symbolic
from kurve.layers.augmentation import FILL_MODES, INTERPOLATIONS
from kurve.layers.augmenting import Augmenting, Factor
from kurve.layers.base import LayerArguments


class OnArrays(Augmenting):
    """Base class of layers that transform arrays of images."""

    bounds = (0.0, 1.0)
    _source: np.random.Generator | None = None

    def _eager_call(self, args: Any, named: dict[str, Any], training: bool) -> Any:
        """The output for arrays; nothing is traced."""
        return result(self.call(np.asarray(args[0], np.float32), training=training))

    def call(self, x: Any, training: bool | None = None) -> Any:
        """The images, transformed in training."""
        self.check_axes(tuple(x.shape[1:]))
        if isinstance(x, Symbolic):
            raise NotImplementedError(
                f"[{type(self).__name__}] the layer transforms arrays, and cannot be "
                "part of a model, whose engines have no formula for it. Received: a "
                f"symbolic tensor. Try images = {type(self).__name__}(...)(images) "
                "before fit, or in the generator of the batches."
            )
        if not training:
            return x
        return self.transformed(np.asarray(x, np.float32)).astype(np.float32)

    def transformed(self, x: np.ndarray) -> np.ndarray:
        """The images, transformed at random."""
        raise NotImplementedError

    @property
    def numbers(self) -> np.random.Generator:
        """The source of random numbers."""
        if self._source is None:
            seed = rng.next_seed() if self.seed is None else self.seed
            self._source = np.random.default_rng(seed & rng.LARGEST_SEED)
        return self._source

    def chosen(self, count: int, factor: tuple[float, float]) -> np.ndarray:
        """Which images are transformed, (B, 1, 1, 1), with probabilities drawn from a
        range."""
        found = self.numbers.random(count) < self.numbers.uniform(*factor, count)
        return found.reshape(-1, 1, 1, 1)

    def _one_of(self, name: str, value: Any, known: Sequence[str]) -> str:
        return str(check_choice(type(self).__name__, name, value, known))

    def _number(self, name: str, value: Any) -> float:
        check_number(type(self).__name__, name, value, 0.0)
        return float(value)


class RandomShear(OnArrays):
    """In training, shears each image by random factors; in prediction it does nothing.

    Output pixel (row i, column j) shows the input at row i + sy j, column j + sx i.

    Shapes: x (B, H, W, C) -> y the same.
    Source: defaults follow keras.layers.RandomShear.

    Args:
        x_factor, y_factor: (low, high) of sx and sy, in [0, 1], both with one random
            sign; a number means (-factor, factor).
        interpolation: "bilinear" or "nearest".
        fill_mode: "reflect", "wrap", "constant" or "nearest".
        fill_value: the constant outside.
        data_format: "channels_last" or "channels_first"; None is the first.
        seed: an integer, or None.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: a factor outside [0, 1], or an unknown name.

    Example:
        >>> x = np.arange(4.0).reshape(1, 2, 2, 1)
        >>> kurve.layers.RandomShear(0.0, 0.0)(x).ravel()
        array([0., 1., 2., 3.], dtype=float32)
    """

    keeps_places = False
    arguments = (
        "x_factor",
        "y_factor",
        "interpolation",
        "fill_mode",
        "fill_value",
        "seed",
        "data_format",
    )

    def __init__(
        self,
        x_factor: Factor = 0.0,
        y_factor: Factor = 0.0,
        interpolation: str = "bilinear",
        fill_mode: str = "reflect",
        fill_value: float = 0.0,
        data_format: str | None = None,
        seed: int | None = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(seed, data_format, **common)
        self.x_factor = self._factor("x_factor", x_factor)
        self.y_factor = self._factor("y_factor", y_factor)
        self.interpolation = self._one_of(
            "interpolation", interpolation, INTERPOLATIONS
        )
        self.fill_mode = self._one_of("fill_mode", fill_mode, FILL_MODES)
        self.fill_value = self._number("fill_value", fill_value)

    def _factor(self, name: str, factor: Any) -> Any:
        """A number, or (low, high)."""
        ends = self._ends(name, factor)
        return float(factor) if is_number(factor) else ends

    def _drawn(self, count: int, factor: Any) -> np.ndarray:
        low, high = (-factor, factor) if is_number(factor) else factor
        return self.numbers.uniform(low, high, count)

    def transformed(self, x: np.ndarray) -> np.ndarray:
        """The images, sheared."""
        side = np.where(self.numbers.random(len(x)) > 0.5, -1.0, 1.0)
        down = self._drawn(len(x), self.y_factor) * side
        across = self._drawn(len(x), self.x_factor) * side
        return self.sheared(x, across, down)

    def sheared(self, x: np.ndarray, across: Any, down: Any) -> np.ndarray:
        """The images, sheared by these factors, one of each for an image."""
        matrix = np.zeros((len(x), 8))
        matrix[:, [0, 4]] = 1.0
        matrix[:, 1], matrix[:, 3] = across, down
        y: np.ndarray = SAMPLING["affine_transform"](
            x, matrix, self.interpolation, self.fill_mode, self.fill_value
        )
        return y


class RandomPerspective(OnArrays):
    """In training, moves the corners of some images by random fractions of their
    distance from the first corner; in prediction it does nothing.

    Shapes: x (B, H, W, C) -> y the same.
    Source: defaults follow keras.layers.RandomPerspective.

    Args:
        factor: the probability, or (low, high) of it, in [0, 1]; a number means
            (0, factor).
        scale: in [0, 1]; fractions are drawn from (-scale / 2, scale / 2).
        interpolation: "bilinear" or "nearest".
        fill_value: what is outside.
        seed: an integer, or None.
        data_format: "channels_last" or "channels_first"; None is the first.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: a number outside [0, 1], or an unknown name.

    Example:
        >>> x = np.arange(4.0).reshape(1, 2, 2, 1)
        >>> kurve.layers.RandomPerspective(scale=0.0)(x).ravel()
        array([0., 1., 2., 3.], dtype=float32)
    """

    keeps_places = False
    arguments = from_signature()

    def __init__(
        self,
        factor: Factor = 1.0,
        scale: float = 1.0,
        interpolation: str = "bilinear",
        fill_value: float = 0.0,
        seed: int | None = None,
        data_format: str | None = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(seed, data_format, **common)
        self.factor = self._ends("factor", factor)
        given = scale if is_number(scale) else -1.0
        self.scale = self._ends("scale", (0.0, given))[1]
        self.interpolation = self._one_of(
            "interpolation", interpolation, INTERPOLATIONS
        )
        self.fill_value = self._number("fill_value", fill_value)

    def transformed(self, x: np.ndarray) -> np.ndarray:
        """The images, some seen from elsewhere."""
        chosen = self.chosen(len(x), self.factor)
        half = 0.5 * self.scale
        moves = self.numbers.uniform(-half, half, (len(x), 4, 2))
        return np.where(chosen, self.moved(x, moves), x)

    def moved(self, x: np.ndarray, moves: np.ndarray) -> np.ndarray:
        """The images with corners moved by these fractions, (B, 4, 2)."""
        last_row, last = x.shape[1] - 1.0, x.shape[2] - 1.0
        corners = [[0.0, 0.0], [last, 0.0], [0.0, last_row], [last, last_row]]
        start = np.repeat([corners], len(x), axis=0)
        y: np.ndarray = SAMPLING["perspective_transform"](
            x, start, start + start * moves, self.interpolation, self.fill_value
        )
        return y


class Mixing(OnArrays):
    """Base class of layers that mix each image, and its label, with another of the
    batch."""

    keeps_places = False

    def _of_dictionary(
        self, x: dict[str, Any], training: Any = True, **named: Any
    ) -> dict[str, Any]:
        images = np.asarray(x["images"], np.float32)
        if not training or images.ndim == 3:
            return x
        first = self.data_format == "channels_first"
        images = np.moveaxis(images, 1, -1) if first else images
        self.check_axes(images.shape[1:])
        images, order, share = self.mixed(images)
        found = {**x, "images": np.moveaxis(images, -1, 1) if first else images}
        if "labels" in x:
            labels = np.asarray(x["labels"], np.float32)
            weights = share.reshape(-1, *(1,) * (labels.ndim - 1)).astype(np.float32)
            found["labels"] = weights * labels + (1.0 - weights) * labels[order]
        return found

    def transformed(self, x: np.ndarray) -> np.ndarray:
        """The images, mixed."""
        return self.mixed(x)[0]

    def mixed(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The images, the numbers of their partners, and the share that each keeps."""
        raise NotImplementedError


class MixUp(Mixing):
    """In training, y = w x + (1 - w) x' for each image x and another of the batch, x',
    with w of a beta distribution, and the same for labels; in prediction it does
    nothing.

    Shapes: x (B, H, W, C) -> y the same; or a dictionary of "images" and "labels"
            (B, classes), one-hot.
    Source: Zhang et al. 2018; defaults follow keras.layers.MixUp.

    Args:
        alpha: both parameters of the distribution, above 0; the smaller, the closer
            w is to 0 or 1.
        data_format: "channels_last" or "channels_first"; None is the first.
        seed: an integer, or None.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: alpha is not above 0.

    Example:
        >>> batch = {"images": np.ones((2, 4, 4, 3)), "labels": np.eye(2)}
        >>> kurve.layers.MixUp()(batch)["labels"].sum(axis=1)
        array([1., 1.], dtype=float32)
    """

    arguments = ("alpha", "seed", "data_format")

    def __init__(
        self,
        alpha: float = 0.2,
        data_format: str | None = None,
        seed: int | None = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(seed, data_format, **common)
        if not is_number(alpha) or alpha <= 0.0:
            raise ValueError(
                f"[MixUp] alpha must be above 0. Received: alpha={alpha!r}. "
                "Try alpha=0.2."
            )
        self.alpha = float(alpha)

    def mixed(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The images, the numbers of their partners, and the share that each keeps."""
        order = self.numbers.permutation(len(x))
        share = self.numbers.beta(self.alpha, self.alpha, len(x))
        weights = share.reshape(-1, 1, 1, 1).astype(np.float32)
        return weights * x + (1.0 - weights) * x[order], order, share


class CutMix(Mixing):
    """In training, replaces a random rectangle of each image by that of another of the
    batch, and mixes labels by the areas; in prediction it does nothing.

    Shapes: x (B, H, W, C) -> y the same; or a dictionary of "images" and "labels"
            (B, classes), one-hot.
    Source: Yun et al. 2019; defaults follow keras.layers.CutMix.

    Args:
        factor: (low, high), in [0, 1], of both parameters of the beta distribution of
            the area that is kept; a number means (0, factor).
        seed: an integer, or None.
        data_format: "channels_last" or "channels_first"; None is the first.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: a factor outside [0, 1].

    Example:
        >>> batch = {"images": np.ones((2, 4, 4, 3)), "labels": np.eye(2)}
        >>> kurve.layers.CutMix()(batch)["labels"].sum(axis=1)
        array([1., 1.], dtype=float32)
    """

    arguments = from_signature()

    def __init__(
        self,
        factor: Factor = 1.0,
        seed: int | None = None,
        data_format: str | None = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(seed, data_format, **common)
        self.factor = self._ends("factor", factor)

    def mixed(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The images, the numbers of their partners, and the share that each keeps."""
        alpha = self.numbers.uniform(*self.factor) + 1e-6
        ratio = np.sqrt(1.0 - self.numbers.beta(alpha, alpha, len(x)))
        inside = np.ones((len(x), 1, 1, 1), bool)
        area = np.ones(len(x))
        for axis in (1, 2):
            size = x.shape[axis]
            length = ratio * size
            start = self.numbers.random(len(x)) * (size - length)
            shape = [1] * 4
            shape[axis] = size
            places = np.arange(size).reshape(shape)
            first, end = (v.reshape(-1, 1, 1, 1) for v in (start, start + length))
            inside = inside & (places >= first) & (places < end)
            area *= length / size
        order = self.numbers.permutation(len(x))
        return np.where(inside, x[order], x), order, 1.0 - area


class Equalization(OnArrays):
    """In training, maps the values of each channel so that all are about equally
    frequent in the batch; in prediction it does nothing.

    Shapes: x (B, H, W, C) -> y the same.
    Source: defaults follow keras.layers.Equalization, which also counts the values of a
            whole batch together.

    Args:
        value_range: range of pixel values.
        bins: number of bins of the histogram.
        data_format: "channels_last" or "channels_first"; None is the first.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: bins below 2, or an invalid value_range.

    Example:
        >>> x = np.array([0.0, 1.0, 2.0, 3.0]).reshape(1, 2, 2, 1)
        >>> kurve.layers.Equalization()(x).ravel()
        array([  0.,  85., 170., 255.], dtype=float32)
    """

    arguments = from_signature()

    def __init__(
        self,
        value_range: Sequence[float] = (0, 255),
        bins: int = 256,
        data_format: str | None = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(None, data_format, **common)
        self.value_range = self._values(value_range)
        check_integer("Equalization", "bins", bins, 256, 2)
        self.bins = int(bins)

    def transformed(self, x: np.ndarray) -> np.ndarray:
        """The images, equalized."""
        low, high = self.value_range
        y = (x - np.float32(low)) * np.float32(255.0 / (high - low))
        each = [self._equalized(y[..., c]) for c in range(x.shape[-1])]
        found: np.ndarray = np.stack(each, -1) * np.float32((high - low) / 255.0)
        return found + np.float32(low)

    def _equalized(self, channel: np.ndarray) -> np.ndarray:
        last = self.bins - 1
        scaled = np.clip(np.trunc(channel * np.float32(last / 255.0)), 0, last)
        counts = np.bincount(scaled.astype(np.int64).ravel(), minlength=self.bins)
        if np.count_nonzero(counts) <= 1:
            return channel
        total = np.cumsum(counts)
        least = total[np.flatnonzero(total)[0]]
        table = np.round((total - least) * 255.0 / max(total[-1] - least, 1))
        places = np.clip(channel / np.float32(255.0) * np.float32(last), 0, last)
        found: np.ndarray = np.clip(table, 0, 255)[places.astype(np.int64)]
        return found.astype(np.float32)
