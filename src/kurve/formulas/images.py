"""Functions of `kurve.ops.image`, for images (B, H, W, C) or (H, W, C)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kurve.formulas import functions as ops
from kurve.formulas.calls import as_array, function, graph_of
from kurve.formulas.nn import _channels_last, _pair, _windows

GRAY = (0.2989, 0.5870, 0.1140)
"""Weights of red, green and blue. Source: ITU-R BT.601."""


def batched(where: str, call: Callable[..., Any], *images: Any, axes: int = 3) -> Any:
    """The result of a call for batches, also for single images or volumes.

    Args:
        where: for the message.
        axes: how many one of them has.

    Raises:
        ValueError: neither a batch nor one of them.
    """
    shape = tuple(ops.shape(images[0]))
    if len(shape) == axes + 1:
        return call(*images)
    if len(shape) != axes:
        raise ValueError(
            f"[{where}] images must have {axes} axes, or {axes + 1} with that of the "
            f"batch. Received: shape {shape}. Try images[..., None]."
        )
    return ops.squeeze(call(*(ops.expand_dims(x, 0) for x in images)), 0)


@function
def rgb_to_grayscale(images: Any, data_format: str | None = None) -> Any:
    """Convert images to one brightness channel."""
    _channels_last("rgb_to_grayscale", data_format)
    parts = [
        ops.get_item(images, (..., slice(c, c + 1))) * weight
        for c, weight in enumerate(GRAY)
    ]
    return parts[0] + parts[1] + parts[2]


@function
def resize(
    images: Any,
    size: Sequence[int],
    interpolation: str = "bilinear",
    antialias: bool = False,
    data_format: str | None = None,
) -> Any:
    """Resize images, as `layers.Resizing` does."""
    from kurve import layers

    _channels_last("resize", data_format)
    if antialias:
        raise NotImplementedError(
            "[resize] antialias is not supported. Received: antialias=True. "
            "Try ops.average_pool before it."
        )
    height, width = size
    layer = layers.Resizing(height, width, interpolation=interpolation)

    def resized(x: Any) -> Any:
        return layer(as_array(x)) if graph_of(x) is None else layer.run(x)

    return batched("resize", resized, images)


@function
def extract_patches(
    images: Any,
    size: int | Sequence[int],
    strides: int | Sequence[int] | None = None,
    dilation_rate: int | Sequence[int] = 1,
    padding: str = "valid",
    data_format: str | None = None,
) -> Any:
    """Extract the windows of each image, each flattened into one pixel's channels.

    Shapes: (B, H, W, C) -> (B, P, Q, KH KW C)
    """
    return _patches(
        "extract_patches", images, 2, size, strides, dilation_rate, padding, data_format
    )


@function
def extract_patches_3d(
    volumes: Any,
    size: int | Sequence[int],
    strides: int | Sequence[int] | None = None,
    dilation_rate: int | Sequence[int] = 1,
    padding: str = "valid",
    data_format: str | None = None,
) -> Any:
    """The same for volumes: (B, D, H, W, C) -> (B, P, Q, R, KD KH KW C)."""
    where = "extract_patches_3d"
    return _patches(
        where, volumes, 3, size, strides, dilation_rate, padding, data_format
    )


def _patches(
    where: str,
    images: Any,
    axes: int,
    size: Any,
    strides: Any,
    dilation_rate: Any,
    padding: str,
    data_format: str | None,
) -> Any:
    _channels_last(where, data_format)
    sizes = _pair(size, axes)

    def patches(x: Any) -> Any:
        steps = sizes if strides is None else strides
        windows = _windows(x, sizes, steps, padding, dilation_rate)
        return ops.concatenate([window for _, window in windows], -1)

    return batched(where, patches, images, axes=axes + 1)


@function
def pad_images(
    images: Any,
    top_padding: int | None = None,
    left_padding: int | None = None,
    bottom_padding: int | None = None,
    right_padding: int | None = None,
    target_height: int | None = None,
    target_width: int | None = None,
    data_format: str | None = None,
) -> Any:
    """Pad images with given numbers of zero rows and columns."""
    _channels_last("pad_images", data_format)
    height, width = ops.shape(images)[-3:-1]
    rows = _around("pad_images", top_padding, bottom_padding, target_height, height)
    columns = _around("pad_images", left_padding, right_padding, target_width, width)
    none = [(0, 0)] * (len(ops.shape(images)) - 3)
    return ops.pad(images, [*none, rows, columns, (0, 0)])


@function
def crop_images(
    images: Any,
    top_cropping: int | None = None,
    left_cropping: int | None = None,
    bottom_cropping: int | None = None,
    right_cropping: int | None = None,
    target_height: int | None = None,
    target_width: int | None = None,
    data_format: str | None = None,
) -> Any:
    """Crop given numbers of rows and columns from images."""
    _channels_last("crop_images", data_format)
    height, width = ops.shape(images)[-3:-1]
    where = "crop_images"
    top, bottom = _around(where, top_cropping, bottom_cropping, height, target_height)
    left, right = _around(where, left_cropping, right_cropping, width, target_width)
    rows, columns = slice(top, height - bottom), slice(left, width - right)
    return ops.get_item(images, (..., rows, columns, slice(None)))


def _around(
    where: str,
    before: int | None,
    after: int | None,
    larger: int | None,
    smaller: int | None,
) -> tuple[int, int]:
    """The margins before and after an axis, from two of three numbers."""
    given = [before, after, larger if where == "pad_images" else smaller]
    if sum(n is not None for n in given) != 2:
        raise ValueError(
            f"[{where}] each axis needs two of three numbers: the margin before, the "
            f"margin after, and the target. Received: {given}. Try the margins."
        )
    if before is None:
        before = int(larger or 0) - int(smaller or 0) - int(after or 0)
    if after is None:
        after = int(larger or 0) - int(smaller or 0) - before
    if min(before, after) < 0:
        raise ValueError(
            f"[{where}] margins must not be negative. Received: {(before, after)}. "
            "Try another target."
        )
    return before, after


PUBLIC: dict[str, Callable[..., Any]] = {
    "crop_images": crop_images,
    "extract_patches": extract_patches,
    "extract_patches_3d": extract_patches_3d,
    "pad_images": pad_images,
    "resize": resize,
    "rgb_to_grayscale": rgb_to_grayscale,
}
