"""Image files, through Pillow, and images as arrays."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np

from kurve.core.arguments import check_flag, is_count
from kurve.core.arrays import as_numbers
from kurve.core.entries import entry, warn
from kurve.errors import MissingFileError, lookup

MODES = {"grayscale": "L", "rgb": "RGB", "rgba": "RGBA"}
CHANNELS = {"grayscale": 1, "rgb": 3, "rgba": 4}
RESAMPLING = ("nearest", "bilinear", "bicubic", "hamming", "box", "lanczos")
FORMATS = ("channels_last", "channels_first")


def pillow(where: str) -> Any:
    """The module PIL.Image.

    Raises:
        ModuleNotFoundError: Pillow is not installed.
    """
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"[{where}] pictures in files are read by Pillow, which is not installed. "
            f'Received: {error}. Try pip install "kurve[images]".'
        ) from None
    return Image


@entry
def load_img(
    path: Any,
    color_mode: str = "rgb",
    target_size: Any = None,
    interpolation: str = "nearest",
    keep_aspect_ratio: bool = False,
) -> Any:
    """Load a Pillow image from a file.

    Args:
        path: path of the file, or a binary file.
        color_mode: "rgb", "rgba" or "grayscale" (16 and 32 bits stay).
        target_size: (height, width) to resize to.
        interpolation: "nearest", "bilinear", "bicubic", "hamming", "box" or "lanczos".
        keep_aspect_ratio: whether to crop instead of stretching.

    Raises:
        MissingFileError: the file does not exist.
        ModuleNotFoundError: Pillow is not installed.
        TypeError, ValueError: invalid arguments, or not an image.

    Example:
        >>> kurve.utils.save_img("a.png", np.zeros((4, 6, 3)))
        >>> kurve.utils.load_img("a.png", target_size=(2, 3)).size
        (3, 2)
    """
    mode = lookup("load_img", "color_mode", color_mode, MODES)
    lookup("load_img", "interpolation", interpolation, dict.fromkeys(RESAMPLING))
    check_flag("load_img", "keep_aspect_ratio", keep_aspect_ratio)
    size = None if target_size is None else size_of("load_img", target_size)
    image = _opened(path)
    if image.mode != mode and not (mode == "L" and image.mode in ("I;16", "I")):
        image = image.convert(mode)
    if size is None or image.size == size[::-1]:
        return image
    resample = getattr(pillow("load_img").Resampling, interpolation.upper())
    box = None
    if keep_aspect_ratio:
        width, height = image.size
        rows = min(height, width * size[0] // size[1])
        columns = min(width, height * size[1] // size[0])
        left, top = (width - columns) // 2, (height - rows) // 2
        box = (left, top, left + columns, top + rows)
    return image.resize(size[::-1], resample, box=box)


def size_of(where: str, size: Any, name: str = "target_size") -> tuple[int, int]:
    """(height, width) from an argument."""
    pair = (size, size) if is_count(size) else size
    pair = tuple(pair)[:2] if isinstance(pair, (list, tuple)) else ()
    if len(pair) != 2 or not all(is_count(part) for part in pair):
        raise ValueError(
            f"[{where}] {name} must be (height, width), two positive integers. "
            f"Received: {name}={size!r}. Try {name}=(128, 128)."
        )
    return int(pair[0]), int(pair[1])


def _opened(path: Any) -> Any:
    """Read the image in a file completely."""
    image = pillow("load_img")
    try:
        if isinstance(path, (str, bytes, os.PathLike)):
            with open(path, "rb") as file:
                path = io.BytesIO(file.read())
        elif not hasattr(path, "read"):
            raise TypeError(
                "[load_img] path must be a string, a pathlib.Path or a binary file. "
                f"Received: {path!r:.80}. Try load_img('a.png')."
            )
        found = image.open(path)
        found.load()
    except FileNotFoundError as error:
        raise MissingFileError(error.errno, error.strerror, error.filename) from None
    except (image.DecompressionBombError, SyntaxError, OSError) as e:
        if isinstance(e, OSError) and e.errno is not None:
            raise
        raise ValueError(
            f"[load_img] the file must hold a picture. Received: {e}. Try a PNG file."
        ) from e
    return found


@entry
def img_to_array(img: Any, data_format: str | None = None, dtype: Any = None) -> Any:
    """Convert an image to an array (H, W, C).

    Args:
        img: a Pillow image, or an array (H, W) or (H, W, C).
        data_format: "channels_last", the default, or "channels_first" for (C, H, W).
        dtype: dtype of the array, float32 by default.

    Raises:
        ValueError: wrong shape or format.

    Example:
        >>> kurve.utils.img_to_array(np.zeros((2, 3))).shape
        (2, 3, 1)
    """
    first = _is_first("img_to_array", data_format)
    x = np.asarray(img, "float32" if dtype is None else dtype)
    if x.ndim == 2:
        x = x[:, :, None]
    if x.ndim != 3:
        raise ValueError(
            "[img_to_array] a picture has the shape (H, W) or (H, W, C). "
            f"Received: shape {x.shape}. Try a single picture."
        )
    return x.transpose(2, 0, 1) if first else x


def _is_first(where: str, data_format: str | None) -> bool:
    if data_format is None:
        return False
    lookup(where, "data_format", data_format, dict.fromkeys(FORMATS))
    return data_format == "channels_first"


@entry
def array_to_img(
    x: Any, data_format: str | None = None, scale: bool = True, dtype: Any = None
) -> Any:
    """Convert an array to a Pillow image.

    Args:
        x: (H, W, C) with C of 1, 3 or 4.
        data_format: "channels_last", the default, or "channels_first" for (C, H, W).
        scale: whether to scale the minimum to 0 and the maximum to 255.
        dtype: dtype in which to scale, float32 by default.

    Raises:
        ModuleNotFoundError: Pillow is not installed.
        ValueError: wrong shape or format.

    Example:
        >>> kurve.utils.array_to_img(np.zeros((2, 3, 1))).size
        (3, 2)
    """
    first = _is_first("array_to_img", data_format)
    numbers = as_numbers("array_to_img", "x", x)
    array = np.array(numbers, "float32" if dtype is None else dtype)
    if array.ndim == 3 and first:
        array = array.transpose(1, 2, 0)
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        raise ValueError(
            "[array_to_img] a picture has the shape (H, W, C), C being 1, 3 or 4. "
            f"Received: shape {np.shape(x)}. Try x[..., None] for (H, W)."
        )
    image = pillow("array_to_img")
    if scale:
        array = array - array.min()
        most = array.max()
        array = (array / most if most else array) * 255
    if array.shape[2] > 1:
        return image.fromarray(array.astype("uint8"))
    if array.max() > 255:
        return image.fromarray(array[:, :, 0].astype("int32"))
    return image.fromarray(array[:, :, 0].astype("uint8"))


@entry
def save_img(
    path: Any,
    x: Any,
    data_format: str | None = None,
    file_format: str | None = None,
    scale: bool = True,
    **kwargs: Any,
) -> None:
    """Write an image to a file.

    Args:
        path: path of the file, or a binary file, which needs file_format.
        x, data_format, scale: see `array_to_img`.
        file_format: "png", "jpeg", ...; by default from the extension of path.
        kwargs: arguments of Pillow's `Image.save`.

    Raises:
        ModuleNotFoundError: Pillow is not installed.
        ValueError: wrong shape or format.

    Example:
        >>> kurve.utils.save_img("a.png", np.zeros((2, 3, 3)))
    """
    if file_format is None and isinstance(path, (str, os.PathLike)):
        file_format = Path(path).suffix[1:].lower()
    if file_format is not None and file_format.lower() == "jpg":
        file_format = "jpeg"
    image = array_to_img(x, data_format, scale)
    if image.mode == "RGBA" and file_format == "jpeg":
        warn(
            "[save_img] JPEG has no transparency. Received: a picture with 4 channels, "
            "written with 3. Try a .png file."
        )
        image = image.convert("RGB")
    image.save(path, format=file_format or None, **kwargs)


@entry
def smart_resize(
    x: Any, size: Any, interpolation: str = "bilinear", data_format: str | None = None
) -> np.ndarray:
    """Resize images without stretching: excess width or height is cropped at both sides
    first.

    Args:
        x: (H, W, C), or (B, H, W, C).
        size: (height, width).
        interpolation: see `layers.Resizing`.
        data_format: "channels_last", the only one.

    Raises:
        ValueError: wrong shape.

    Example:
        >>> kurve.preprocessing.image.smart_resize(np.zeros((8, 4, 3)), (2, 2)).shape
        (2, 2, 3)
    """
    height, width = size_of("smart_resize", size, "size")
    if _is_first("smart_resize", data_format):
        raise ValueError(
            "[smart_resize] channels are last. Received: data_format='channels_first'. "
            "Try x.transpose(1, 2, 0)."
        )
    pictures = as_numbers("smart_resize", "x", x)
    if pictures.ndim not in (3, 4):
        raise ValueError(
            "[smart_resize] x must have the shape (H, W, C) or (B, H, W, C). "
            f"Received: shape {pictures.shape}. Try x[..., None]."
        )
    given = pictures[None] if pictures.ndim == 3 else pictures
    h, w = given.shape[1:3]
    rows, columns = min(h, w * height // width), min(w, h * width // height)
    top, left = (h - rows) // 2, (w - columns) // 2
    cut = given[:, top : top + rows, left : left + columns]
    resized = resized_to(cut, (height, width), interpolation)
    return resized[0] if pictures.ndim == 3 else resized


def resized_to(
    pictures: np.ndarray, size: tuple[int, int], interpolation: str
) -> np.ndarray:
    """Resize images (B, H, W, C); float32."""
    from kurve.layers import Resizing

    if pictures.shape[1:3] == size:
        return pictures.astype(np.float32)
    layer = Resizing(*size, interpolation=interpolation)
    return np.asarray(layer(pictures.astype(np.float32)))
