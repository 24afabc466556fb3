"""Random image transformations in training, which teach a network invariances.

In prediction these layers do nothing. The transformation depends on the model's seed,
the layer's position, the step and the image's index in its batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from kurve.core.arguments import check_choice, check_number, from_signature, is_number
from kurve.core.rng import check_seed
from kurve.layers.augmenting import Pictures
from kurve.layers.base import LayerArguments
from kurve.layers.core import random_stream
from kurve.plan import Attr, Op, Shape, VariableSpec

Factor = float | Sequence[float]
FILL_MODES = ("reflect", "wrap", "constant", "nearest")
INTERPOLATIONS = ("bilinear", "nearest")


class _Moving(Pictures):
    """Base class. Output pixel (h, w) shows the input at a transformed position,
    interpolated between pixels, and filled according to fill_mode beyond the border.

    Called directly, such a layer transforms images unless training=False.
    """

    training_by_default = True
    keeps_places = False

    def __init__(
        self,
        fill_mode: str,
        interpolation: str,
        seed: Any,
        fill_value: float,
        data_format: str | None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(data_format, **common)
        self.fill_mode = check_choice(
            type(self).__name__, "fill_mode", fill_mode, FILL_MODES
        )
        self.interpolation = check_choice(
            type(self).__name__, "interpolation", interpolation, INTERPOLATIONS
        )
        check_number(type(self).__name__, "fill_value", fill_value, 0.0)
        self.fill_value = float(fill_value)
        self.seed = check_seed(type(self).__name__, seed)

    def _range(self, name: str, factor: Any) -> tuple[float, float]:
        """(low, high) of a factor; a single number x means (-x, x)."""
        ends = [-factor, factor] if is_number(factor) else factor
        if (
            isinstance(ends, (list, tuple))
            and len(ends) == 2
            and all(is_number(end) and -1.0 <= end <= 1.0 for end in ends)
        ):
            return float(min(ends)), float(max(ends))
        raise ValueError(
            f"[{type(self).__name__}] {name} must be a number in [-1, 1] or two "
            f"numbers. Received: {name}={factor!r}. Try {name}=0.1."
        )

    def output_sample_shape(self, input_shape: Shape) -> Shape:
        self.check_axes(input_shape)
        return input_shape

    def ranges(self) -> dict[str, Attr]:
        """The ranges of the random numbers, for the plan."""
        raise NotImplementedError

    def lower(
        self, input_shape: Shape, slots: Mapping[str, VariableSpec], index: int
    ) -> list[Op]:
        attrs = {
            **self.ranges(),
            "fill_mode": self.fill_mode,
            "fill_value": self.fill_value,
            "interpolation": self.interpolation,
            **random_stream(self.seed, index),
        }
        return [Op("affine_image", self.name, input_shape, input_shape, attrs=attrs)]


class RandomTranslation(_Moving):
    """In training, shifts each image by a random fraction of its height and width.

    Shapes: x (B, H, W, C) -> y the same.
    Source: Simard, Steinkraus & Platt 2003; defaults follow
            keras.layers.RandomTranslation.

    Args:
        height_factor, width_factor: maximum shift as a fraction of the size, or
            (low, high); positive is down and to the right.
        fill_mode: how to fill beyond the border: "reflect" (d c b a | a b c d | d c b
            a), "wrap" (a b c d | a b c d), "constant" (fill_value) or "nearest" (a a a
            | a b c d | d d d).
        interpolation: "bilinear" or "nearest".
        seed: see `Dropout`.
        fill_value: a number.
        data_format: "channels_last" or "channels_first"; None is the first.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: a factor outside [-1, 1], or an unknown name.

    Example:
        >>> layer = kurve.layers.RandomTranslation(0.1, 0.1)
        >>> layer(np.ones((2, 28, 28, 1)), training=True).shape
        (2, 28, 28, 1)
    """

    arguments = from_signature()

    def __init__(
        self,
        height_factor: Factor,
        width_factor: Factor,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: Any = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(
            fill_mode, interpolation, seed, fill_value, data_format, **common
        )
        self.height_factor = self._range("height_factor", height_factor)
        self.width_factor = self._range("width_factor", width_factor)

    def ranges(self) -> dict[str, Attr]:
        return {
            "what": "translation",
            "height_low": self.height_factor[0],
            "height_high": self.height_factor[1],
            "width_low": self.width_factor[0],
            "width_high": self.width_factor[1],
        }


class RandomRotation(_Moving):
    """In training, rotates each image about its centre by a random angle.

    Shapes: x (B, H, W, C) -> y the same.
    Source: defaults follow keras.layers.RandomRotation.

    Args:
        factor: maximum angle as a fraction of a full turn, or (low, high); positive
            is counterclockwise.
        fill_mode, interpolation, seed, fill_value, data_format: see
            `RandomTranslation`.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: a factor outside [-1, 1], or an unknown name.

    Example:
        >>> layer = kurve.layers.RandomRotation(0.05)
        >>> layer(np.ones((2, 28, 28, 1)), training=True).shape
        (2, 28, 28, 1)
    """

    arguments = from_signature()

    def __init__(
        self,
        factor: Factor,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: Any = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(
            fill_mode, interpolation, seed, fill_value, data_format, **common
        )
        self.factor = self._range("factor", factor)

    def ranges(self) -> dict[str, Attr]:
        low, high = (2.0 * math.pi * end for end in self.factor)
        return {"what": "rotation", "angle_low": low, "angle_high": high}


class RandomZoom(_Moving):
    """In training, enlarges or shrinks each image about its centre by a random factor.

    Shapes: x (B, H, W, C) -> y the same.
    Source: defaults follow keras.layers.RandomZoom.

    Args:
        height_factor: maximum change of the height as a fraction, in (-1, 1], or (low,
            high); positive zooms out and shows more beyond the border, negative zooms
            in.
        width_factor: the same for the width; None keeps the aspect ratio.
        fill_mode, interpolation, seed, fill_value, data_format: see
            `RandomTranslation`.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: a factor outside (-1, 1], or an unknown name.

    Example:
        >>> layer = kurve.layers.RandomZoom(0.2)
        >>> layer(np.ones((2, 28, 28, 1)), training=True).shape
        (2, 28, 28, 1)
    """

    arguments = from_signature()

    def __init__(
        self,
        height_factor: Factor,
        width_factor: Factor | None = None,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: Any = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(
            fill_mode, interpolation, seed, fill_value, data_format, **common
        )
        self.height_factor = self._zoom("height_factor", height_factor)
        self.width_factor = (
            None if width_factor is None else self._zoom("width_factor", width_factor)
        )

    def _zoom(self, name: str, factor: Any) -> tuple[float, float]:
        low, high = self._range(name, factor)
        if low <= -1.0:
            raise ValueError(
                f"[RandomZoom] {name} must be above -1, which zooms in to one "
                f"pixel. Received: {name}={factor!r}. Try {name}=0.2."
            )
        return low, high

    def ranges(self) -> dict[str, Attr]:
        width = self.width_factor or self.height_factor
        return {
            "what": "zoom",
            "height_low": self.height_factor[0],
            "height_high": self.height_factor[1],
            "width_low": width[0],
            "width_high": width[1],
            "together": self.width_factor is None,
        }


class RandomFlip(_Moving):
    """In training, flips each image with probability 1/2.

    Shapes: x (B, H, W, C) -> y the same.
    Source: defaults follow keras.layers.RandomFlip, except that the two directions of
            "horizontal_and_vertical" are drawn independently.

    Args:
        mode: "horizontal" (left and right are swapped), "vertical" or
            "horizontal_and_vertical".
        seed: see `Dropout`.
        data_format: "channels_last" or "channels_first"; None is the first.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: an unknown mode.

    Example:
        >>> layer = kurve.layers.RandomFlip("horizontal")
        >>> layer(np.ones((2, 28, 28, 1)), training=True).shape
        (2, 28, 28, 1)
    """

    arguments = from_signature()

    def __init__(
        self,
        mode: str = "horizontal_and_vertical",
        seed: Any = None,
        data_format: str | None = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__("nearest", "nearest", seed, 0.0, data_format, **common)
        known = ("horizontal_and_vertical", "horizontal", "vertical")
        self.mode = check_choice(type(self).__name__, "mode", mode, known)

    def ranges(self) -> dict[str, Attr]:
        return {
            "what": "flip",
            "horizontal": "horizontal" in self.mode,
            "vertical": "vertical" in self.mode,
        }
