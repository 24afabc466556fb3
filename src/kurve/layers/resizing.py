"""Layers that give images one size, called on arrays before a model."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np

from kurve.core.arguments import check_flag, is_number
from kurve.core.arrays import as_numbers
from kurve.layers.encoding import Encoding, EncodingArguments
from kurve.layers.windows import is_last

INTERPOLATIONS = ("bilinear", "nearest")


class _Sized(Encoding):
    """Base class of both."""

    def __init__(
        self,
        height: int,
        width: int,
        data_format: str | None = None,
        **common: Unpack[EncodingArguments],
    ) -> None:
        super().__init__(**common)
        self.height = self.count("height", height)
        self.width = self.count("width", width)
        if not is_last(data_format):
            raise ValueError(
                f"[{type(self).__name__}] data_format must be 'channels_last'. "
                f"Received: data_format={data_format!r}. Try channels last, with "
                "x.transpose(0, 2, 3, 1) for images whose channels come first."
            )
        self.data_format = "channels_last"

    def __call__(self, x: Any) -> np.ndarray:  # type: ignore[override]
        """The images x (H, W, C) or (B, H, W, C) in the layer's size: float32."""
        images = as_numbers(type(self).__name__, "x", x, np.float32)
        if images.ndim not in (3, 4):
            raise ValueError(
                f"[{type(self).__name__}] x must be an image (H, W, C) or several "
                f"(B, H, W, C). Received: x.shape={images.shape}. Try x[..., None]."
            )
        return np.ascontiguousarray(self.sized(images))

    def sized(self, x: np.ndarray) -> np.ndarray:
        raise NotImplementedError


class Resizing(_Sized):
    """Images of any size as images of one size.

    Each pixel is interpolated at its centre's place in the original, without smoothing.

    Source: arguments and values follow keras.layers.Resizing.

    Args:
        height, width: of the result, at least 1.
        interpolation: "bilinear" or "nearest".
        crop_to_aspect_ratio: whether what does not fit the new proportions is cut off
            on both sides, in the place of a distortion.
        pad_to_aspect_ratio: whether it is filled up with fill_value on both sides.
        fill_mode: "constant".
        fill_value: a number.
        antialias: False.
        data_format: None or "channels_last".
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: a size below 1, another word, both of the two.

    Example:
        >>> kurve.layers.Resizing(2, 4)(np.ones((5, 9, 9, 3))).shape
        (5, 2, 4, 3)
    """

    arguments = (
        "height",
        "width",
        "interpolation",
        "crop_to_aspect_ratio",
        "pad_to_aspect_ratio",
        "fill_mode",
        "fill_value",
        "antialias",
        "data_format",
    )

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
        **common: Unpack[EncodingArguments],
    ) -> None:
        super().__init__(height, width, data_format, **common)
        crop = check_flag("Resizing", "crop_to_aspect_ratio", crop_to_aspect_ratio)
        pad = check_flag("Resizing", "pad_to_aspect_ratio", pad_to_aspect_ratio)
        wrong = {
            "interpolation": interpolation not in INTERPOLATIONS,
            "fill_mode": fill_mode != "constant",
            "antialias": antialias is not False,
            "fill_value": not is_number(fill_value),
            "pad_to_aspect_ratio": crop and pad,
        }
        for name, refused in wrong.items():
            if refused:
                raise ValueError(
                    "[Resizing] interpolation must be 'bilinear' or 'nearest', "
                    "fill_mode 'constant', fill_value a number, antialias False, and "
                    "an image is either cropped or padded. "
                    f"Received: {name}={locals()[name]!r}. Try Resizing(32, 32)."
                )
        self.interpolation, self.fill_mode = interpolation, fill_mode
        self.crop_to_aspect_ratio, self.pad_to_aspect_ratio = crop, pad
        self.fill_value, self.antialias = float(fill_value), False

    def sized(self, x: np.ndarray) -> np.ndarray:
        height, width = x.shape[-3:-1]
        across = int(width * self.height / self.width)  # height of these proportions
        down = int(height * self.width / self.height)
        if self.crop_to_aspect_ratio:
            x = _middle(x, max(min(height, across), 1), max(min(width, down), 1))
        elif self.pad_to_aspect_ratio:
            rows = (max(height, across) - height) // 2
            columns = (max(width, down) - width) // 2
            around = [(0, 0)] * (x.ndim - 3) + [
                (rows, rows),
                (columns, columns),
                (0, 0),
            ]
            x = np.pad(x, around, constant_values=np.float32(self.fill_value))
        return resized(x, self.height, self.width, self.interpolation)


class CenterCrop(_Sized):
    """The middle of each image; an image that is too small is first cropped to the new
    proportions and then enlarged.

    Source: arguments and values follow keras.layers.CenterCrop.

    Args:
        height, width: of the result, at least 1.
        data_format: None or "channels_last".
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: a size below 1.

    Example:
        >>> kurve.layers.CenterCrop(2, 4)(np.ones((5, 9, 9, 3))).shape
        (5, 2, 4, 3)
    """

    arguments = ("height", "width", "data_format")

    def sized(self, x: np.ndarray) -> np.ndarray:
        height, width = x.shape[-3:-1]
        if height >= self.height and width >= self.width:
            return _middle(x, self.height, self.width)
        across = int(width * self.height / self.width)
        down = int(height * self.width / self.height)
        x = _middle(x, max(min(height, across), 1), max(min(width, down), 1))
        return resized(x, self.height, self.width, "bilinear")


def _middle(x: np.ndarray, height: int, width: int) -> np.ndarray:
    top, left = (x.shape[-3] - height) // 2, (x.shape[-2] - width) // 2
    return x[..., top : top + height, left : left + width, :]


def resized(x: np.ndarray, height: int, width: int, interpolation: str) -> np.ndarray:
    """Images (..., H, W, C) as (..., height, width, C), one axis after the other."""
    for axis, size in ((-3, height), (-2, width)):
        old = x.shape[axis]
        place = (np.arange(size) + 0.5) * old / size
        if interpolation == "nearest":
            x = np.take(x, place.astype(np.int64), axis=axis)
            continue
        place = np.clip(place - 0.5, 0.0, old - 1.0)
        lower = place.astype(np.int64)
        upper = np.minimum(lower + 1, old - 1)
        share = (place - lower).astype(np.float32).reshape((-1, *(1,) * (-axis - 1)))
        low, high = np.take(x, lower, axis=axis), np.take(x, upper, axis=axis)
        x = low + (high - low) * share
    return x
