"""Images (H, W, C) or (B, H, W, C): `tf.image.resize`, flips and crops."""

from __future__ import annotations

from typing import Any

import numpy as np

from kurve.as_keras.tensorflow.random import _source
from kurve.as_keras.tensorflow.reductions import value
from kurve.as_keras.tensorflow.values import concrete, eager, kind
from kurve.formulas import functions as ops
from kurve.formulas import image_filters
from kurve.formulas.images import extract_patches as extracted
from kurve.layers.resizing import resized

__all__ = [
    "ResizeMethod",
    "adjust_brightness",
    "adjust_contrast",
    "adjust_gamma",
    "adjust_hue",
    "adjust_saturation",
    "central_crop",
    "convert_image_dtype",
    "crop_to_bounding_box",
    "extract_patches",
    "flip_left_right",
    "flip_up_down",
    "grayscale_to_rgb",
    "hsv_to_rgb",
    "image_gradients",
    "pad_to_bounding_box",
    "per_image_standardization",
    "psnr",
    "random_brightness",
    "random_contrast",
    "random_crop",
    "random_flip_left_right",
    "random_flip_up_down",
    "random_hue",
    "random_saturation",
    "resize",
    "resize_with_crop_or_pad",
    "rgb_to_grayscale",
    "rgb_to_hsv",
    "rgb_to_yuv",
    "rot90",
    "sobel_edges",
    "ssim",
    "total_variation",
    "yuv_to_rgb",
]

_YUV = np.array(
    [
        [0.299, -0.14714119, 0.61497538],
        [0.587, -0.28886916, -0.51496512],
        [0.114, 0.43601035, -0.10001026],
    ],
    np.float32,
)
"""Of red, green and blue: luma and two colour differences (ITU-R BT.601)."""


class ResizeMethod:
    """Names of the interpolation methods; only these two are supported."""

    BILINEAR, NEAREST_NEIGHBOR = "bilinear", "nearest"


@eager
def resize(
    images: Any,
    size: Any,
    method: str = "bilinear",
    preserve_aspect_ratio: Any = False,
    antialias: Any = False,
    name: Any = None,
) -> Any:
    """Resize images; the result is float32 unless the method is "nearest"."""
    x = value(images)
    height, width = (int(s) for s in size)
    if method == "area":
        return _by_areas(x, height, width)
    if method not in ("bilinear", "nearest") or preserve_aspect_ratio or antialias:
        raise NotImplementedError(
            "[tf.image.resize] only bilinear and nearest resizing are supported. "
            f"Received: method={method!r}. Try method='bilinear'."
        )
    alone = len(x.shape) == 3
    floats = ops.cast(x, "float32")
    y = resized(floats[None] if alone else floats, height, width, method)
    y = y[0] if alone else y
    return ops.cast(y, x.dtype.name) if method == "nearest" else y


def _by_areas(x: Any, height: int, width: int) -> Any:
    """Resized images: each pixel is the mean of the rectangle that it covers."""
    rows, columns = (
        _areas(have, want)
        for have, want in zip(x.shape[-3:-1], (height, width), strict=True)
    )
    y = ops.matmul(ops.swapaxes(ops.cast(x, "float32"), -1, -2), columns)
    y = ops.swapaxes(y, -1, -3)  # (..., W', C, H) -> columns last
    y = ops.matmul(y, rows)
    return ops.swapaxes(ops.swapaxes(y, -1, -3), -1, -2)


def _areas(have: int, want: int) -> np.ndarray:
    """How much of each new pixel along an axis an old one is: (have, want)."""
    edges = np.linspace(0.0, have, want + 1)
    low = np.maximum(edges[None, :-1], np.arange(have)[:, None])
    high = np.minimum(edges[None, 1:], np.arange(have)[:, None] + 1.0)
    return (np.maximum(high - low, 0.0) * (want / have)).astype(np.float32)


@eager
def rgb_to_yuv(images: Any, name: Any = None) -> Any:
    """Luma, and the differences of blue and red from it."""
    return ops.matmul(value(images), _YUV)


@eager
def yuv_to_rgb(images: Any, name: Any = None) -> Any:
    """The inverse of `rgb_to_yuv`."""
    inverse = np.linalg.inv(_YUV.astype(np.float64)).astype(np.float32)
    return ops.matmul(value(images), inverse)


@eager
def extract_patches(
    images: Any,
    sizes: Any,
    strides: Any,
    rates: Any,
    padding: str,
    name: Any = None,
) -> Any:
    """The patches of images, each flattened to one pixel's channels."""
    return extracted(
        value(images),
        tuple(int(s) for s in sizes[1:3]),
        tuple(int(s) for s in strides[1:3]),
        tuple(int(s) for s in rates[1:3]),
        padding.lower(),
    )


@eager
def rgb_to_grayscale(images: Any, name: Any = None) -> Any:
    """0.2989 red + 0.587 green + 0.114 blue, as one channel."""
    x = value(images)
    weights = np.array([0.2989, 0.5870, 0.1140], np.float32)
    if isinstance(x, np.ndarray) and x.dtype.kind in "iu":
        floats = convert_image_dtype(x, "float32")
        return convert_image_dtype(rgb_to_grayscale(floats), x.dtype)
    return ops.sum(ops.multiply(x, weights), -1, True)


@eager
def grayscale_to_rgb(images: Any, name: Any = None) -> Any:
    """Repeat the single channel three times."""
    x = value(images)
    return ops.concatenate([x, x, x], -1)


@eager
def convert_image_dtype(
    image: Any, dtype: Any, saturate: Any = False, name: Any = None
) -> Any:
    """Convert the dtype and its range: 0 to 1 for floats, the full range for
    integers."""
    x, wanted = concrete("image.convert_image_dtype", image), np.dtype(kind(dtype))
    if x.dtype == wanted:
        return x
    if x.dtype.kind in "iu" and wanted.kind == "f":
        return x.astype(wanted) * wanted.type(1.0 / np.iinfo(x.dtype).max)
    if x.dtype.kind == "f" and wanted.kind in "iu":
        top = np.iinfo(wanted).max
        scaled = np.clip(x.astype(np.float64) * (top + 0.5), 0, top)
        return scaled.astype(wanted)
    return x.astype(wanted)


@eager
def flip_left_right(image: Any) -> Any:
    """Mirrored."""
    return ops.flip(value(image), -2)


@eager
def flip_up_down(image: Any) -> Any:
    """Flip vertically."""
    return ops.flip(value(image), -3)


def _by_chance(image: Any, seed: Any, flipped: Any) -> Any:
    x = concrete("image.random_flip", image)
    if x.ndim == 3:
        return flipped(x) if _source(seed).random() < 0.5 else x
    chosen = _source(seed).random((len(x), 1, 1, 1)) < 0.5
    return np.where(chosen, flipped(x), x)


@eager
def random_flip_left_right(image: Any, seed: Any = None) -> Any:
    """Flip horizontally at random."""
    return _by_chance(image, seed, lambda x: np.flip(x, -2))


@eager
def random_flip_up_down(image: Any, seed: Any = None) -> Any:
    """Flip vertically at random."""
    return _by_chance(image, seed, lambda x: np.flip(x, -3))


@eager
def rot90(image: Any, k: int = 1, name: Any = None) -> Any:
    """Rotate counterclockwise k times by 90 degrees."""
    return np.rot90(concrete("image.rot90", image), k, (-3, -2)).copy()


@eager
def adjust_brightness(image: Any, delta: float) -> Any:
    """image + delta."""
    return ops.add(value(image), delta)


@eager
def random_brightness(image: Any, max_delta: float, seed: Any = None) -> Any:
    """image + a number from -max_delta to max_delta."""
    return ops.add(value(image), float(_source(seed).uniform(-max_delta, max_delta)))


@eager
def adjust_contrast(images: Any, contrast_factor: float) -> Any:
    """(x - mean) factor + mean, with the mean of each channel."""
    x = value(images)
    mean = ops.mean(x, [-3, -2], True)
    return ops.add(ops.multiply(ops.subtract(x, mean), contrast_factor), mean)


@eager
def random_contrast(image: Any, lower: float, upper: float, seed: Any = None) -> Any:
    """Adjust the contrast by a random factor between the bounds."""
    return adjust_contrast(image, float(_source(seed).uniform(lower, upper)))


@eager
def per_image_standardization(image: Any) -> Any:
    """(x - mean) / max(standard deviation, 1 / sqrt(number of elements))."""
    x = concrete("image.per_image_standardization", image).astype(np.float32)
    axes = (-3, -2, -1)
    count = np.prod(x.shape[-3:])
    scale = np.maximum(x.std(axes, keepdims=True), 1.0 / np.sqrt(count))
    return ((x - x.mean(axes, keepdims=True)) / scale).astype(np.float32)


@eager
def crop_to_bounding_box(
    image: Any,
    offset_height: int,
    offset_width: int,
    target_height: int,
    target_width: int,
) -> Any:
    """Crop an image."""
    rows = slice(offset_height, offset_height + target_height)
    columns = slice(offset_width, offset_width + target_width)
    return ops.get_item(value(image), (..., rows, columns, slice(None)))


@eager
def pad_to_bounding_box(
    image: Any,
    offset_height: int,
    offset_width: int,
    target_height: int,
    target_width: int,
) -> Any:
    """Pad an image with zeros."""
    x = value(image)
    height, width = x.shape[-3:-1]
    margins = [
        (offset_height, target_height - offset_height - height),
        (offset_width, target_width - offset_width - width),
        (0, 0),
    ]
    return ops.pad(x, [(0, 0)] * (len(x.shape) - 3) + margins)


@eager
def central_crop(image: Any, central_fraction: float) -> Any:
    """The centre of an image, this fraction of its rows and columns."""
    x = value(image)
    key: list[Any] = [...]
    for length in x.shape[-3:-1]:
        first = int((length - length * central_fraction) / 2)
        key.append(slice(first, length - first))
    return ops.get_item(x, (*key, slice(None)))


@eager
def resize_with_crop_or_pad(image: Any, target_height: int, target_width: int) -> Any:
    """Centre-crop an image, or pad it with zeros, to the given size."""
    x = value(image)
    for axis, target in ((-3, target_height), (-2, target_width)):
        length = x.shape[axis]
        key: list[Any] = [slice(None)] * len(x.shape)
        if length > target:
            first = (length - target) // 2
            key[axis] = slice(first, first + target)
            x = ops.get_item(x, tuple(key))
        elif length < target:
            before = (target - length) // 2
            margins = [(0, 0)] * len(x.shape)
            margins[axis] = (before, target - length - before)
            x = ops.pad(x, margins)
    return x


@eager
def random_crop(value: Any, size: Any, seed: Any = None, name: Any = None) -> Any:
    """A crop of this shape at a random position."""
    x, source = concrete("image.random_crop", value), _source(seed)
    starts = [
        int(source.integers(have - int(want) + 1))
        for have, want in zip(x.shape, size, strict=True)
    ]
    return x[tuple(slice(s, s + int(n)) for s, n in zip(starts, size, strict=True))]


@eager
def psnr(a: Any, b: Any, max_val: float, name: Any = None) -> Any:
    """The peak signal-to-noise ratio of images (..., H, W, C), in decibels:
    20 log10(max_val) - 10 log10(mean squared difference)."""
    error = ops.mean(ops.square(ops.subtract(value(a), value(b))), [-3, -2, -1])
    return 20 * float(np.log10(float(max_val))) - 10 * ops.log10(error)


@eager
def rgb_to_hsv(images: Any, name: Any = None) -> Any:
    """Hue, saturation and value, all from 0 to 1."""
    return image_filters.rgb_to_hsv(value(images))


@eager
def hsv_to_rgb(images: Any, name: Any = None) -> Any:
    """The inverse of `rgb_to_hsv`."""
    return image_filters.hsv_to_rgb(value(images))


def _in_hsv(image: Any, change: Any) -> Any:
    """The image after a change of (hue, saturation, value); integers are rounded back
    to their dtype."""
    x = value(image)
    is_float = kind(x.dtype).startswith("float")
    floats = x if is_float else convert_image_dtype(x, "float32")
    hsv = image_filters.rgb_to_hsv(floats)
    planes = change(*(ops.get_item(hsv, (..., c)) for c in range(3)))
    y = image_filters.hsv_to_rgb(ops.stack(list(planes), -1))
    return y if floats is x else convert_image_dtype(y, x.dtype, saturate=True)


@eager
def adjust_hue(image: Any, delta: float, name: Any = None) -> Any:
    """Turn the hue by `delta`, from -1 to 1."""
    return _in_hsv(image, lambda h, s, v: (h + delta - ops.floor(h + delta), s, v))


@eager
def adjust_saturation(image: Any, saturation_factor: float, name: Any = None) -> Any:
    """Multiply the saturation, up to 1."""
    return _in_hsv(
        image, lambda h, s, v: (h, ops.clip(s * saturation_factor, 0.0, 1.0), v)
    )


@eager
def adjust_gamma(image: Any, gamma: float = 1, gain: float = 1) -> Any:
    """gain x^gamma, for x from 0 to 1."""
    x = value(image)
    if kind(x.dtype).startswith("float"):
        return gain * x**gamma
    return convert_image_dtype(
        gain * convert_image_dtype(x, "float32") ** gamma, x.dtype, saturate=True
    )


@eager
def random_hue(image: Any, max_delta: float, seed: Any = None) -> Any:
    """`adjust_hue` by a random number up to `max_delta`, down or up."""
    return adjust_hue(image, float(_source(seed).uniform(-max_delta, max_delta)))


@eager
def random_saturation(image: Any, lower: float, upper: float, seed: Any = None) -> Any:
    """`adjust_saturation` by a random factor."""
    return adjust_saturation(image, float(_source(seed).uniform(lower, upper)))


@eager
def image_gradients(image: Any) -> Any:
    """The differences to the pixel below and to that on the right, 0 at the end."""
    x = value(image)
    down = x[:, 1:] - x[:, :-1]
    right = x[:, :, 1:] - x[:, :, :-1]
    return (
        ops.pad(down, [(0, 0), (0, 1), (0, 0), (0, 0)]),
        ops.pad(right, [(0, 0), (0, 0), (0, 1), (0, 0)]),
    )


@eager
def sobel_edges(image: Any) -> Any:
    """The slopes down and to the right by Sobel's kernels, mirrored at the edges."""
    x = ops.pad(value(image), [(0, 0), (1, 1), (1, 1), (0, 0)], mode="reflect")
    edges = image_filters.sobel_edges(x)
    return ops.get_item(edges, (slice(None), slice(1, -1), slice(1, -1)))


@eager
def ssim(
    img1: Any,
    img2: Any,
    max_val: float,
    filter_size: int = 11,
    filter_sigma: float = 1.5,
    k1: float = 0.01,
    k2: float = 0.03,
    return_index_map: bool = False,
) -> Any:
    """The structural similarity of images, one number for each."""
    if return_index_map:
        raise NotImplementedError(
            "[tf.image.ssim] only the mean over an image is supported. Received: "
            "return_index_map=True. Try False."
        )
    x, y = value(img1), value(img2)
    return image_filters.ssim(x, y, max_val, filter_size, filter_sigma, k1, k2)


@eager
def total_variation(images: Any, name: Any = None) -> Any:
    """The sum of the absolute differences between neighbouring pixels, for each
    image."""
    x = value(images)
    axes = tuple(range(len(ops.shape(x)) - 3, len(ops.shape(x))))
    down = ops.get_item(x, (..., slice(1, None), slice(None), slice(None)))
    right = ops.get_item(x, (..., slice(1, None), slice(None)))
    down = down - ops.get_item(x, (..., slice(None, -1), slice(None), slice(None)))
    right = right - ops.get_item(x, (..., slice(None, -1), slice(None)))
    return ops.sum(ops.abs(down), axes) + ops.sum(ops.abs(right), axes)
