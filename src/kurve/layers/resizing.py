"""Layers that change the size of images.

Resizing multiplies by one matrix for the rows and one for the columns, which engines
differentiate.
"""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np

from kurve.core.arguments import check_flag, check_integer, from_signature, is_number
from kurve.core.rng import check_seed
from kurve.formulas import functions as ops
from kurve.formulas.limits import afford
from kurve.layers.augmenting import Pictures, uniforms
from kurve.layers.base import LayerArguments

INTERPOLATIONS = ("bilinear", "nearest")


def resized(x: Any, height: int, width: int, interpolation: str) -> Any:
    """Resize images; pixel centers keep their relative positions."""
    y = x
    if x.shape[1] != height:
        rows = _weights(x.shape[1], height, interpolation)
        y = ops.einsum("ai,bijc->bajc", rows, y)
    if x.shape[2] != width:
        columns = _weights(x.shape[2], width, interpolation)
        y = ops.einsum("aj,bijc->biac", columns, y)
    return y


def _weights(size: int, new: int, interpolation: str) -> np.ndarray:
    """The weight of each input pixel in each output pixel of an axis, (new, size)."""
    afford(new, size)
    at = (np.arange(new) + 0.5) * (size / new)
    matrix = np.zeros((new, size))
    rows = np.arange(new)
    if interpolation == "nearest":
        matrix[rows, np.minimum(np.floor(at), size - 1).astype(int)] = 1.0
    else:
        at = np.clip(at - 0.5, 0.0, size - 1.0)
        low = np.floor(at).astype(int)
        np.add.at(matrix, (rows, low), 1.0 - (at - low))
        np.add.at(matrix, (rows, np.minimum(low + 1, size - 1)), at - low)
    return matrix.astype(np.float32)


def cropped(x: Any, height: int, width: int) -> Any:
    """The largest centered window with the aspect ratio of this size."""
    h, w = x.shape[1:3]
    rows = max(min(h, int(w * height / width)), 1)
    columns = max(min(w, int(h * width / height)), 1)
    top, left = int((h - rows) / 2), int((w - columns) / 2)
    return ops.get_item(
        x, (slice(None), slice(top, top + rows), slice(left, left + columns))
    )


class _Sized(Pictures):
    """Shared by layers with a fixed output size."""

    keeps_places = False

    def _size(self, height: Any, width: Any) -> None:
        for name, value in (("height", height), ("width", width)):
            check_integer(type(self).__name__, name, value, 32)
        self.height, self.width = int(height), int(width)


class Resizing(_Sized):
    """Resize images: x (B, H, W, C) -> y (B, height, width, C).

    Source: defaults follow keras.layers.Resizing.

    Args:
        height, width: size of the output.
        interpolation: "bilinear" or "nearest".
        crop_to_aspect_ratio: whether to crop images to the aspect ratio of the output
            first.
        pad_to_aspect_ratio: whether to pad images to it first.
        fill_mode, fill_value: "constant", and the value to pad with.
        antialias: False.
        data_format: "channels_last" or "channels_first"; None is the first.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: a size below 1, both ratios, an unknown mode or interpolation, or
            antialias=True.

    Example:
        >>> kurve.layers.Resizing(4, 6)(np.ones((2, 8, 8, 3))).shape
        (2, 4, 6, 3)
    """

    arguments = from_signature()

    def __init__(
        self,
        height: int,
        width: int,
        interpolation: str = "bilinear",
        crop_to_aspect_ratio: bool = False,
        pad_to_aspect_ratio: bool = False,
        fill_mode: str = "constant",
        fill_value: float = 0.0,
        antialias: bool = False,
        data_format: str | None = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(data_format, **common)
        self._size(height, width)
        known = isinstance(interpolation, str) and interpolation in INTERPOLATIONS
        if not known or check_flag("Resizing", "antialias", antialias):
            raise ValueError(
                "[Resizing] interpolation must be 'bilinear' or 'nearest', without "
                f"antialias. Received: interpolation={interpolation!r}, "
                f"antialias={antialias!r}. Try 'bilinear'."
            )
        self.interpolation, self.antialias = interpolation, False
        where = "Resizing"
        self.crop_to_aspect_ratio = check_flag(
            where, "crop_to_aspect_ratio", crop_to_aspect_ratio
        )
        self.pad_to_aspect_ratio = check_flag(
            where, "pad_to_aspect_ratio", pad_to_aspect_ratio
        )
        if self.crop_to_aspect_ratio and self.pad_to_aspect_ratio:
            raise ValueError(
                "[Resizing] only one of crop_to_aspect_ratio and pad_to_aspect_ratio "
                "can be True. Received: both. Try one."
            )
        if not (
            isinstance(fill_mode, str) and fill_mode == "constant"
        ) or not is_number(fill_value):
            raise ValueError(
                "[Resizing] fill_mode must be 'constant', and fill_value a finite "
                f"number. Received: fill_mode={fill_mode!r}, fill_value="
                f"{fill_value!r}. Try fill_value=0.0."
            )
        self.fill_mode, self.fill_value = fill_mode, float(fill_value)

    def call(self, x: Any) -> Any:
        """The resized images."""
        self.check_axes(tuple(x.shape[1:]))
        if self.crop_to_aspect_ratio:
            x = cropped(x, self.height, self.width)
        elif self.pad_to_aspect_ratio:
            h, w = x.shape[1:3]
            rows = max(h, int(w * self.height / self.width))
            columns = max(w, int(h * self.width / self.height))
            top, left = (rows - h) // 2, (columns - w) // 2
            # As in Keras: equal sides.
            sides = ((0, 0), (top, top), (left, left), (0, 0))
            x = ops.pad(x, sides, "constant", self.fill_value)
        return resized(x, self.height, self.width, self.interpolation)


class CenterCrop(_Sized):
    """Crop the center of images: x (B, H, W, C) -> y (B, height, width, C). Smaller
    images are cropped to the aspect ratio of the output and resized.

    Source: defaults follow keras.layers.CenterCrop.

    Args:
        height, width: of the output.
        data_format: "channels_last" or "channels_first"; None is the first.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: a size below 1.

    Example:
        >>> kurve.layers.CenterCrop(4, 6)(np.ones((2, 8, 8, 3))).shape
        (2, 4, 6, 3)
    """

    arguments = from_signature()

    def __init__(
        self,
        height: int,
        width: int,
        data_format: str | None = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(data_format, **common)
        self._size(height, width)

    def call(self, x: Any) -> Any:
        """The cropped images."""
        self.check_axes(tuple(x.shape[1:]))
        h, w = x.shape[1:3]
        if h >= self.height and w >= self.width:
            top, left = (h - self.height) // 2, (w - self.width) // 2
            rows, columns = (
                slice(top, top + self.height),
                slice(left, left + self.width),
            )
            return ops.get_item(x, (slice(None), rows, columns))
        window = cropped(x, self.height, self.width)
        return resized(window, self.height, self.width, "bilinear")


class RandomCrop(_Sized):
    """In training, a random window of each image: x (B, H, W, C) -> y (B, height,
    width, C). In prediction, and for smaller images, the largest centered window with
    the aspect ratio of the output, resized.

    Source: defaults follow keras.layers.RandomCrop.

    Args:
        height, width: size of the output.
        seed: an integer, or None for the model's.
        data_format: "channels_last" or "channels_first"; None is the first.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: a size below 1.

    Example:
        >>> kurve.layers.RandomCrop(4, 6)(np.ones((2, 8, 8, 3))).shape
        (2, 4, 6, 3)
    """

    training_by_default = True
    arguments = from_signature()

    def __init__(
        self,
        height: int,
        width: int,
        seed: int | None = None,
        data_format: str | None = None,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(data_format, **common)
        self._size(height, width)
        self.seed = check_seed("RandomCrop", seed)

    def call(self, x: Any, training: bool | None = None) -> Any:
        """The cropped images."""
        self.check_axes(tuple(x.shape[1:]))
        h, w = x.shape[1:3]
        if not training or h <= self.height or w <= self.width:
            window = cropped(x, self.height, self.width)
            return resized(window, self.height, self.width, "bilinear")
        at = uniforms(x, 2, self.seed)
        rows = _window(ops.get_item(at, (slice(None), slice(0, 1))), h, self.height)
        columns = _window(ops.get_item(at, (slice(None), slice(1, 2))), w, self.width)
        y = ops.einsum("bai,bijc->bajc", rows, x)
        return ops.einsum("baj,bijc->biac", columns, y)


def _window(at: Any, size: int, new: int) -> Any:
    """A matrix (B, new, size) that selects adjacent elements, at the position `at` in
    (0, 1)."""
    afford(new, size)
    start = ops.reshape(ops.floor(at * float(size - new + 1)), (-1, 1, 1))
    ahead = np.arange(size)[None, :] - np.arange(new)[:, None]
    return ops.cast(ops.equal(start, ahead.astype(np.float32)), "float32")
