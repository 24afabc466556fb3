"""Augmentation by several layers at random, by waves of pixels, and by local contrast.

Like the layers of `kurve.layers.image_mixing`, these transform arrays, and cannot be
part of a model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Unpack

import numpy as np

from kurve.core.arguments import check_flag, check_integer, from_signature, is_number
from kurve.formulas.image_sampling import PUBLIC as SAMPLING
from kurve.layers.augmentation import (
    FILL_MODES,
    INTERPOLATIONS,
    RandomRotation,
    RandomTranslation,
)
from kurve.layers.augmenting import Factor
from kurve.layers.base import LayerArguments
from kurve.layers.image_effects import (
    AutoContrast,
    RandomPosterization,
    RandomSharpness,
    Solarization,
)
from kurve.layers.image_mixing import Equalization, OnArrays, RandomShear
from kurve.layers.random_colors import (
    RandomBrightness,
    RandomColorDegeneration,
    RandomContrast,
)

Kind = Callable[["_Policy", dict[str, Any]], Any]

MOVING: Mapping[str, Kind] = {
    "shear": lambda p, a: RandomShear(p.factor, p.factor, p.interpolation, **a),
    "translation": lambda p, a: RandomTranslation(
        p.factor, p.factor, interpolation=p.interpolation, **a
    ),
    "rotation": lambda p, a: RandomRotation(
        p.factor, interpolation=p.interpolation, **a
    ),
}
TONES: Mapping[str, Kind] = {
    "posterization": lambda p, a: RandomPosterization(
        max(1, int(8 * p.factor[1])), p.value_range, **a
    ),
    "solarization": lambda p, a: Solarization(p.factor, p.factor, p.value_range, **a),
    "contrast": lambda p, a: AutoContrast(p.value_range, name=a["name"]),
    "equalization": lambda p, a: Equalization(p.value_range, name=a["name"]),
}
COLORS: Mapping[str, Kind] = {
    "brightness": lambda p, a: RandomBrightness(p.factor, p.value_range, **a),
    "degeneration": lambda p, a: RandomColorDegeneration(p.factor, p.value_range, **a),
    "random_contrast": lambda p, a: RandomContrast(p.factor, p.value_range, **a),
    "sharpness": lambda p, a: RandomSharpness(p.factor, p.value_range, **a),
}
"""How the layers of a policy are made: a layer that moves pixels, changes how values
are spread, or colors."""


class _Policy(OnArrays):
    """Base class of layers that apply other layers at random."""

    keeps_places = False
    factor: tuple[float, float]
    value_range: tuple[float, float]
    interpolation: str

    def __init__(
        self,
        value_range: Sequence[float],
        factor: Factor,
        interpolation: str,
        seed: int | None,
        data_format: str | None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(seed, data_format, **common)
        self.value_range = self._values(value_range)
        self.factor = self._ends("factor", factor)
        self.interpolation = self._one_of(
            "interpolation", interpolation, INTERPOLATIONS
        )

    def applied(self, x: np.ndarray, kind: Kind) -> np.ndarray:
        """The images after a layer of that kind."""
        seed = int(self.numbers.integers(2**31))
        layer = kind(self, {"seed": seed, "name": f"{self.name}_part"})
        return np.asarray(layer(x, training=True), np.float32)


class RandAugment(_Policy):
    """In training, applies a few layers, drawn at random for each call, to the images;
    in prediction it does nothing.

    The layers shear, move, rotate, change brightness, contrast, colors or sharpness,
    posterize, solarize or equalize.

    Shapes: x (B, H, W, 3) -> y the same.
    Source: Cubuk et al. 2019; defaults follow keras.layers.RandAugment.

    Args:
        value_range: range of pixel values.
        num_ops: how many layers are applied, one after the other.
        factor: (low, high), in [0, 1], of the layers' factors; a number means
            (0, factor).
        interpolation: "bilinear" or "nearest".
        seed: an integer, or None.
        data_format: "channels_last" or "channels_first"; None is the first.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: num_ops below 1, a factor outside [0, 1], or an unknown name.

    Example:
        >>> kurve.layers.RandAugment(seed=0)(np.ones((2, 8, 8, 3))).shape
        (2, 8, 8, 3)
    """

    arguments = from_signature()

    def __init__(
        self,
        value_range: Sequence[float] = (0, 255),
        num_ops: int = 2,
        factor: Factor = 0.5,
        interpolation: str = "bilinear",
        seed: int | None = None,
        data_format: str | None = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(
            value_range, factor, interpolation, seed, data_format, **common
        )
        check_integer("RandAugment", "num_ops", num_ops, 2)
        self.num_ops = int(num_ops)

    def transformed(self, x: np.ndarray) -> np.ndarray:
        """The images, transformed."""
        kinds = list({**MOVING, **TONES, **COLORS}.values())
        for index in self.numbers.integers(len(kinds), size=self.num_ops):
            x = self.applied(x, kinds[index])
        return x


class AugMix(_Policy):
    """In training, mixes images with the results of several chains of layers drawn at
    random; in prediction it does nothing.

    y = w x + (1 - w) (v_1 chain_1(x) + ... + v_n chain_n(x)), clipped to value_range,
    with w of a beta distribution and v of a Dirichlet distribution.

    Shapes: x (B, H, W, C) -> y the same.
    Source: Hendrycks et al. 2020; defaults follow keras.layers.AugMix.

    Args:
        value_range: range of pixel values.
        num_chains: the number of chains.
        chain_depth: the most layers in a chain.
        factor: (low, high), in [0, 1], of the layers' factors; a number means
            (0, factor).
        alpha: parameter of both distributions, above 0.
        all_ops: whether to change brightness, contrast, colors and sharpness too, which
            takes images with 3 channels.
        interpolation: "bilinear" or "nearest".
        seed: an integer, or None.
        data_format: "channels_last" or "channels_first"; None is the first.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: a number below 1, a factor outside [0, 1], alpha that is not above
            0, or an unknown name.

    Example:
        >>> kurve.layers.AugMix(seed=0)(np.ones((2, 8, 8, 3))).shape
        (2, 8, 8, 3)
    """

    arguments = from_signature()

    def __init__(
        self,
        value_range: Sequence[float] = (0, 255),
        num_chains: int = 3,
        chain_depth: int = 3,
        factor: Factor = 0.3,
        alpha: float = 1.0,
        all_ops: bool = True,
        interpolation: str = "bilinear",
        seed: int | None = None,
        data_format: str | None = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(
            value_range, factor, interpolation, seed, data_format, **common
        )
        check_integer("AugMix", "num_chains", num_chains, 3)
        check_integer("AugMix", "chain_depth", chain_depth, 3)
        self.num_chains, self.chain_depth = int(num_chains), int(chain_depth)
        if not is_number(alpha) or alpha <= 0.0:
            raise ValueError(
                f"[AugMix] alpha must be above 0. Received: alpha={alpha!r}. "
                "Try alpha=1.0."
            )
        self.alpha = float(alpha)
        self.all_ops = check_flag("AugMix", "all_ops", all_ops)

    def transformed(self, x: np.ndarray) -> np.ndarray:
        """The images, mixed with transformed ones."""
        colors = COLORS if self.all_ops else {}
        kinds: list[Kind | None] = [*{**MOVING, **TONES, **colors}.values(), None]
        shares = self.numbers.dirichlet([self.alpha] * self.num_chains)
        own = float(self.numbers.beta(self.alpha, self.alpha))
        mixed = np.zeros_like(x)
        for share in shares:
            chained = x
            for index in self.numbers.integers(len(kinds), size=self.chain_depth):
                kind = kinds[index]
                chained = chained if kind is None else self.applied(chained, kind)
            mixed += np.float32(share) * chained
        y = np.float32(own) * x + np.float32(1.0 - own) * mixed
        return np.clip(y, *self.value_range)


class RandomElasticTransform(OnArrays):
    """In training, bends some images by random shifts of pixels that vary smoothly; in
    prediction it does nothing.

    With s drawn from `scale`, shifts are noise of standard deviation 0.05 s min(H, W),
    blurred by as many pixels, times 0.1 s max(H, W).

    Shapes: x (B, H, W, C) -> y the same.
    Source: Simard, Steinkraus & Platt 2003; defaults follow
            keras.layers.RandomElasticTransform.

    Args:
        factor: the probability, or (low, high) of it, in [0, 1]; a number means
            (0, factor).
        scale: how much, in [0, 1]; a number means (0, scale).
        interpolation: "bilinear" or "nearest".
        fill_mode: "reflect", "wrap", "constant" or "nearest".
        fill_value: the constant outside.
        value_range: range of pixel values.
        seed: an integer, or None.
        data_format: "channels_last" or "channels_first"; None is the first.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: a number outside [0, 1], or an unknown name.

    Example:
        >>> x = np.arange(4.0).reshape(1, 2, 2, 1)
        >>> kurve.layers.RandomElasticTransform(factor=0.0)(x).ravel()
        array([0., 1., 2., 3.], dtype=float32)
    """

    keeps_places = False
    arguments = from_signature()

    def __init__(
        self,
        factor: Factor = 1.0,
        scale: Factor = 1.0,
        interpolation: str = "bilinear",
        fill_mode: str = "reflect",
        fill_value: float = 0.0,
        value_range: Sequence[float] = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(seed, data_format, **common)
        self.factor = self._ends("factor", factor)
        self.scale = self._ends("scale", scale)
        self.interpolation = self._one_of(
            "interpolation", interpolation, INTERPOLATIONS
        )
        self.fill_mode = self._one_of("fill_mode", fill_mode, FILL_MODES)
        self.fill_value = self._number("fill_value", fill_value)
        self.value_range = self._values(value_range)

    def transformed(self, x: np.ndarray) -> np.ndarray:
        """The images, some bent."""
        chosen = self.chosen(len(x), self.factor)
        scale = self.numbers.uniform(*self.scale)
        seed = int(self.numbers.integers(2**31))
        if not chosen.any() or scale == 0.0:
            return x
        bent = np.where(chosen, self.bent(x, scale, seed), x)
        return np.clip(bent, *self.value_range)

    def bent(self, x: np.ndarray, scale: float, seed: int) -> np.ndarray:
        """The images, bent."""
        height, width = x.shape[1:3]
        y: np.ndarray = SAMPLING["elastic_transform"](
            x,
            0.1 * scale * max(height, width),
            0.05 * scale * min(height, width),
            self.interpolation,
            self.fill_mode,
            self.fill_value,
            seed,
        )
        return y


class ContrastLimitedAdaptiveHistogramEqualization(OnArrays):
    """In training, raises the contrast of each part of an image: in each tile of a
    grid, values are mapped so that all are about equally frequent, and between the
    centers of tiles by a weighted mean of their maps. In prediction it does nothing.

    A value counts at most clip_limit times as often as all do on average, which limits
    the contrast; what is cut off is spread over all 256 values.

    Shapes: x (B, H, W, C) -> y the same.
    Source: Zuiderveld 1994; defaults follow
            keras.layers.ContrastLimitedAdaptiveHistogramEqualization.

    Args:
        value_range: range of pixel values.
        clip_limit: the limit; 0 or less for none.
        tile_grid_size: (rows, columns) of tiles.
        data_format: "channels_last" or "channels_first"; None is the first.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: a grid of less than one tile, a clip_limit that is not finite, or
            an invalid value_range.

    Example:
        >>> x = np.linspace(100.0, 120.0, 64).reshape(1, 8, 8, 1)
        >>> layer = kurve.layers.ContrastLimitedAdaptiveHistogramEqualization(
        ...     clip_limit=0.0, tile_grid_size=(1, 1))
        >>> [float(v) for v in (layer(x).min(), layer(x).max())]
        [15.9375, 255.0]
    """

    arguments = from_signature()

    def __init__(
        self,
        value_range: Sequence[float] = (0, 255),
        clip_limit: float = 4.0,
        tile_grid_size: Sequence[int] = (8, 8),
        data_format: str | None = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(None, data_format, **common)
        where = "ContrastLimitedAdaptiveHistogramEqualization"
        self.value_range = self._values(value_range)
        self.clip_limit = self._number("clip_limit", clip_limit)
        if not isinstance(tile_grid_size, (list, tuple)) or len(tile_grid_size) != 2:
            raise ValueError(
                f"[{where}] tile_grid_size must be two integers. "
                f"Received: tile_grid_size={tile_grid_size!r}. Try (8, 8)."
            )
        for size in tile_grid_size:
            check_integer(where, "tile_grid_size", size, 8)
        self.tile_grid_size = (int(tile_grid_size[0]), int(tile_grid_size[1]))

    def transformed(self, x: np.ndarray) -> np.ndarray:
        """The images, with more contrast."""
        low, high = self.value_range
        scale = np.float32(255.0 / (high - low))
        y = (x - np.float32(low)) * scale
        height, width = y.shape[1:3]
        rows, columns = self.tile_grid_size
        tile = -(-height // rows), -(-width // columns)
        more = tile[0] * rows, tile[1] * columns
        sides = ((0, 0), (0, more[0] - height), (0, more[1] - width), (0, 0))
        y = np.pad(y, sides, "symmetric")
        levels = np.clip(np.trunc(y), 0, 255).astype(np.intp)
        found = self._between(levels, self._maps(levels, tile), tile)
        found = found[:, :height, :width]
        return found / scale + np.float32(low)

    def _maps(self, levels: np.ndarray, tile: Sequence[int]) -> np.ndarray:
        """The map of each tile: (B, rows, columns, C, 256)."""
        count, _, _, channels = levels.shape
        rows, columns = self.tile_grid_size
        tiles = levels.reshape(count, rows, tile[0], columns, tile[1], channels)
        tiles = tiles.transpose(0, 1, 3, 5, 2, 4)
        shape, pixels = tiles.shape[:4], tile[0] * tile[1]
        flat = tiles.reshape(-1, pixels)
        places = flat + 256 * np.arange(len(flat))[:, None]
        counts = np.bincount(places.ravel(), minlength=256 * len(flat))
        histogram = counts.reshape(len(flat), 256).astype(np.float32)
        if self.clip_limit > 0.0:
            limit = np.float32(self.clip_limit * pixels / 256.0)
            cut = np.minimum(histogram, limit)
            over = (histogram - cut).sum(-1, keepdims=True)
            histogram = cut + over / np.float32(256.0)
        total = np.cumsum(histogram, -1, dtype=np.float32)
        least = total[:, :1]
        span = np.float32(pixels) - least
        table = (total - least) * np.float32(255.0) / np.where(span == 0.0, 1.0, span)
        return np.clip(table, 0.0, 255.0).reshape(*shape, 256).astype(np.float32)

    def _between(
        self, levels: np.ndarray, maps: np.ndarray, tile: Sequence[int]
    ) -> np.ndarray:
        """Each pixel by the maps of the four nearest tiles."""
        maps = np.pad(maps, ((0, 0), (1, 1), (1, 1), (0, 0), (0, 0)), "edge")
        ends = []
        for size, length, tiles in zip(
            levels.shape[1:3], tile, self.tile_grid_size, strict=True
        ):
            at = (np.arange(size, dtype=np.float32) - length / 2.0) / length + 1.0
            first = np.floor(at)
            both = np.clip([first, first + 1], 0, tiles + 1).astype(np.intp)
            ends.append((both, (at - first).astype(np.float32)))
        (rows, down), (columns, across) = ends
        images = np.arange(len(levels))[:, None, None, None]
        channels = np.arange(levels.shape[3])
        down, across = down[:, None, None], across[:, None]

        def by(row: np.ndarray, column: np.ndarray) -> np.ndarray:
            i, j = row[:, None, None], column[None, :, None]
            found: np.ndarray = maps[images, i, j, channels, levels]
            return found

        above, below = (
            by(row, columns[0]) * (1 - across) + by(row, columns[1]) * across
            for row in rows
        )
        found: np.ndarray = above * (1 - down) + below * down
        return found
