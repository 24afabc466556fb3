"""Random image augmentation during training: Keras's old `ImageDataGenerator`, and
related helpers."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kurve.core.arguments import check_integer
from kurve.core.arrays import as_numbers
from kurve.core.entries import Entrance, entries, warn
from kurve.core.later import absent as _absent
from kurve.errors import lookup
from kurve.preprocessing.directories import PICTURES, Files
from kurve.preprocessing.images import CHANNELS, RESAMPLING, size_of
from kurve.preprocessing.images import array_to_img as array_to_img
from kurve.preprocessing.images import img_to_array as img_to_array
from kurve.preprocessing.images import load_img as load_img
from kurve.preprocessing.images import save_img as save_img
from kurve.preprocessing.images import smart_resize as smart_resize
from kurve.preprocessing.pictures import (
    ArrayPictures,
    DirectoryPictures,
)
from kurve.preprocessing.pictures import Pictures as Pictures
from kurve.preprocessing.warping import FILLS, warped

SUBSETS = {"training": 1, "validation": 0}
MODES = ("categorical", "binary", "sparse", "input", None)
SMALL = 1e-6


@entries
class ImageDataGenerator(Entrance):
    """Augments images at random and yields them in batches for `fit`. Random numbers
    come from `numpy.random`, which `numpy.random.seed` seeds.

    An image is rotated, shifted, sheared and zoomed about its centre (linear
    interpolation), then shifted in colour, flipped and brightened, and finally scaled.
    Keras's current layers do the same in a model: `RandomFlip`, `RandomRotation`, ...

    Args:
        featurewise_center, featurewise_std_normalization, zca_whitening: whether to
            subtract the mean, divide by the standard deviation and decorrelate, as
            learned from data by `fit`.
        samplewise_center, samplewise_std_normalization: whether to do so with each
            image's own mean and deviation.
        zca_epsilon: added to singular values.
        rotation_range: maximum angle, in degrees.
        width_shift_range, height_shift_range: maximum shift: a fraction below 1, or
            pixels; or a list of shifts to choose from.
        brightness_range: (low, high) of a factor; needs Pillow.
        shear_range: maximum angle, in degrees.
        zoom_range: a number z for (1 - z, 1 + z), or both.
        channel_shift_range: maximum number added to all channels.
        fill_mode: how to fill outside: "nearest", "constant", "reflect" or "wrap".
        cval: the value outside, for "constant".
        horizontal_flip, vertical_flip: whether to flip half of the images.
        rescale: a factor for all numbers.
        preprocessing_function: a function of an image, called before scaling.
        data_format: "channels_last", the only one.
        validation_split: fraction of the data for subset="validation".
        interpolation_order: 1, or 0 for the nearest pixel.
        dtype: "float32", the only one.

    Raises:
        ValueError: invalid fill_mode, data_format or range.

    Example:
        >>> x, y = np.zeros((8, 4, 4, 3)), np.arange(8)
        >>> data = kurve.preprocessing.image.ImageDataGenerator(horizontal_flip=True)
        >>> x_batch, y_batch = next(data.flow(x, y, batch_size=4))
        >>> x_batch.shape
        (4, 4, 4, 3)
    """

    def __init__(
        self,
        featurewise_center: bool = False,
        samplewise_center: bool = False,
        featurewise_std_normalization: bool = False,
        samplewise_std_normalization: bool = False,
        zca_whitening: bool = False,
        zca_epsilon: float = 1e-6,
        rotation_range: float = 0,
        width_shift_range: Any = 0.0,
        height_shift_range: Any = 0.0,
        brightness_range: Sequence[float] | None = None,
        shear_range: float = 0.0,
        zoom_range: Any = 0.0,
        channel_shift_range: float = 0.0,
        fill_mode: str = "nearest",
        cval: float = 0.0,
        horizontal_flip: bool = False,
        vertical_flip: bool = False,
        rescale: float | None = None,
        preprocessing_function: Callable[[np.ndarray], np.ndarray] | None = None,
        data_format: str | None = None,
        validation_split: float = 0.0,
        interpolation_order: int = 1,
        dtype: Any = None,
    ) -> None:
        where = "ImageDataGenerator"
        lookup(where, "fill_mode", fill_mode, FILLS)
        known = {"channels_last": None}
        lookup(where, "data_format", data_format or "channels_last", known)
        zoom = zoom_range
        if isinstance(zoom, (int, float)):
            zoom = (1 - zoom, 1 + zoom)
        pairs = {"zoom_range": zoom, "brightness_range": brightness_range or (1, 1)}
        for name, pair in pairs.items():
            if np.shape(pair) != (2,):
                raise ValueError(
                    f"[{where}] {name} must be two numbers. "
                    f"Received: {name}={pair!r}. Try {name}=(0.8, 1.2)."
                )
        if not 0 <= validation_split < 1:
            raise ValueError(
                f"[{where}] validation_split must be at least 0 and below 1. "
                f"Received: validation_split={validation_split!r}. Try 0.2."
            )
        self.featurewise_center = featurewise_center or zca_whitening
        self.samplewise_center = samplewise_center or samplewise_std_normalization
        self.featurewise_std_normalization = featurewise_std_normalization
        if featurewise_std_normalization:
            self.featurewise_center = True
        self.samplewise_std_normalization = samplewise_std_normalization
        self.zca_whitening, self.zca_epsilon = zca_whitening, zca_epsilon
        self.rotation_range, self.shear_range = rotation_range, shear_range
        self.width_shift_range = width_shift_range
        self.height_shift_range = height_shift_range
        self.brightness_range, self.zoom_range = brightness_range, tuple(zoom)
        self.channel_shift_range = channel_shift_range
        self.fill_mode, self.cval = fill_mode, cval
        self.horizontal_flip, self.vertical_flip = horizontal_flip, vertical_flip
        self.rescale, self.preprocessing_function = rescale, preprocessing_function
        self.validation_split = validation_split
        self.interpolation_order = interpolation_order
        self.mean: np.ndarray | None = None
        self.std: np.ndarray | None = None
        self.zca_whitening_matrix: np.ndarray | None = None

    # ---------------------------------------------------------------- batches

    def flow(
        self,
        x: Any,
        y: Any = None,
        batch_size: int = 32,
        shuffle: bool = True,
        sample_weight: Any = None,
        seed: int | None = None,
        save_to_dir: str | os.PathLike[str] | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        ignore_class_split: bool = False,
        subset: str | None = None,
    ) -> Pictures:
        """Batches (x, y) of augmented images.

        Args:
            x: (n, H, W, C).
            y: (n, ...), or None for x alone.
            batch_size: images at a time.
            shuffle: whether to shuffle in each pass.
            sample_weight: (n,).
            seed: seed of the shuffle and augmentation.
            save_to_dir: a folder to also write the augmented images to.
            save_prefix, save_format: prefix and extension of their file names.
            ignore_class_split: accepted and ignored.
            subset: "training" or "validation", the first rows.

        Raises:
            ValueError: mismatched shapes.
        """
        pictures = np.asarray(as_numbers("flow", "x", x), "float32")
        if pictures.ndim != 4 or not len(pictures):
            raise ValueError(
                "[flow] x must have the shape (n, H, W, C). "
                f"Received: shape {pictures.shape}. Try x[..., None] for grey pictures."
            )
        columns = [None if c is None else np.asarray(c) for c in (y, sample_weight)]
        for column in columns:
            if column is not None and len(column) != len(pictures):
                raise ValueError(
                    "[flow] x, y and sample_weight must have the same number of rows. "
                    f"Received: {len(pictures)} and {len(column)}. Try equal ones."
                )
        part = self._part("flow", len(pictures), subset)
        kept = [None if c is None else c[part] for c in columns]
        _check_size("flow", batch_size)
        batches = ArrayPictures(self, pictures[part], *kept, batch_size, shuffle, seed)
        batches.writing = save_to_dir, save_prefix, save_format
        return batches

    def flow_from_directory(
        self,
        directory: str | os.PathLike[str],
        target_size: Any = (256, 256),
        color_mode: str = "rgb",
        classes: Sequence[str] | None = None,
        class_mode: str | None = "categorical",
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int | None = None,
        save_to_dir: str | os.PathLike[str] | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        follow_links: bool = False,
        subset: str | None = None,
        interpolation: str = "nearest",
        keep_aspect_ratio: bool = False,
    ) -> Pictures:
        """Batches (x, y) of augmented images from files, with one folder per class.

        Args:
            directory: the folder that holds them.
            target_size: (height, width) of all images.
            color_mode: "rgb", "rgba" or "grayscale".
            classes: names of the folders, in order; by default all, sorted.
            class_mode: y is "categorical" (one-hot), "binary" or "sparse" (numbers),
                "input" (the images), or None for x alone.
            batch_size, shuffle, seed: see `flow`.
            save_to_dir: a folder to also write the augmented images to.
            save_prefix, save_format: prefix and extension of their file names.
            follow_links: whether to follow symbolic links.
            subset: "training" or "validation", the first files of each class.
            interpolation, keep_aspect_ratio: see `load_img`.

        Raises:
            MissingFileError: the directory does not exist.
            ModuleNotFoundError: Pillow is not installed.
            ValueError: no images, or an unknown mode.
        """
        where = "flow_from_directory"
        size = size_of(where, target_size)
        lookup(where, "color_mode", color_mode, CHANNELS)
        lookup(where, "interpolation", interpolation, dict.fromkeys(RESAMPLING))
        if class_mode is not None:
            modes = [mode for mode in MODES if mode]
            lookup(where, "class_mode", class_mode, dict.fromkeys(modes))
        _check_size(where, batch_size)
        endings = (*PICTURES, ".ppm", ".tif", ".tiff")
        files = Files(
            where,
            directory,
            "inferred",
            "int",
            classes,
            endings,
            False,
            None,
            follow_links,
        )
        rows = np.arange(len(files.paths))
        if subset is not None:
            groups = [rows[files.classes == c] for c in range(files.classes.max() + 1)]
            parts = [g[self._part(where, len(g), subset)] for g in groups]
            rows = np.concatenate(parts)
        names = files.class_names or []
        print(f"Found {len(rows)} images belonging to {len(names)} classes.")

        def read(path: str) -> np.ndarray:
            picture = load_img(path, color_mode, size, interpolation, keep_aspect_ratio)
            return img_to_array(picture)

        batches = DirectoryPictures(
            self, files, rows, class_mode, read, batch_size, shuffle, seed
        )
        batches.writing = save_to_dir, save_prefix, save_format
        return batches

    def _part(self, where: str, count: int, subset: str | None) -> slice:
        """The rows of a subset."""
        if subset is None:
            return slice(None)
        is_training = lookup(where, "subset", subset, SUBSETS)
        first = int(count * self.validation_split)
        return slice(first, None) if is_training else slice(first)

    # ---------------------------------------------------------------- one picture

    def changed(self, picture: np.ndarray) -> np.ndarray:
        """Augment and scale an image (H, W, C); returns a new array."""
        parameters = self.get_random_transform(picture.shape)
        return self.standardize(self.apply_transform(picture.copy(), parameters))

    def get_random_transform(
        self, img_shape: Sequence[int], seed: int | None = None
    ) -> dict[str, Any]:
        """Random arguments of `apply_transform`.

        Args:
            img_shape: (H, W, C).
            seed: sets `numpy.random`.
        """
        draw = np.random  # the numbers of programs that call numpy.random.seed
        if seed is not None:
            draw.seed(seed)
        theta = shear = 0.0
        if self.rotation_range:
            theta = draw.uniform(-self.rotation_range, self.rotation_range)
        tx = _shift(self.height_shift_range, img_shape[0])
        ty = _shift(self.width_shift_range, img_shape[1])
        if self.shear_range:
            shear = draw.uniform(-self.shear_range, self.shear_range)
        zx, zy = 1.0, 1.0
        if self.zoom_range != (1, 1):
            low, high = self.zoom_range
            zx, zy = draw.uniform(low, high, 2)
        flips = [draw.random() < 0.5 for _ in range(2)]
        channel = brightness = None
        if self.channel_shift_range:
            most = self.channel_shift_range
            channel = draw.uniform(-most, most)
        if self.brightness_range is not None:
            low, high = self.brightness_range
            brightness = draw.uniform(low, high)
        return {
            "theta": theta,
            "tx": tx,
            "ty": ty,
            "shear": shear,
            "zx": zx,
            "zy": zy,
            "flip_horizontal": flips[0] and self.horizontal_flip,
            "flip_vertical": flips[1] and self.vertical_flip,
            "channel_shift_intensity": channel,
            "brightness": brightness,
        }

    def apply_transform(
        self, x: np.ndarray, transform_parameters: dict[str, Any]
    ) -> np.ndarray:
        """Transform an image (H, W, C).

        Args:
            x: the image.
            transform_parameters: those of `get_random_transform`, or some of them.
        """
        given = transform_parameters
        usual = {"theta": 0, "tx": 0, "ty": 0, "shear": 0, "zx": 1, "zy": 1}
        numbers = {name: given.get(name, value) for name, value in usual.items()}
        outside = self.fill_mode, self.cval, self.interpolation_order
        x = warped(x, *outside, **numbers)
        intensity = given.get("channel_shift_intensity")
        if intensity is not None:
            x = np.clip(x + intensity, x.min(), x.max())
        if given.get("flip_horizontal"):
            x = x[:, ::-1]
        if given.get("flip_vertical"):
            x = x[::-1]
        if given.get("brightness") is not None:
            x = _brightened(x, given["brightness"])
        return x

    def random_transform(self, x: np.ndarray, seed: int | None = None) -> np.ndarray:
        """Transform an image (H, W, C) at random.

        Args:
            x: the image.
            seed: sets `numpy.random`.
        """
        return self.apply_transform(x, self.get_random_transform(x.shape, seed))

    def standardize(self, x: np.ndarray) -> np.ndarray:
        """Scale an image.

        Args:
            x: the image.
        """
        x = np.asarray(x, "float32")
        if self.preprocessing_function is not None:
            x = self.preprocessing_function(x)
        if self.rescale:
            x = x * np.float32(self.rescale)
        if self.samplewise_center:
            x = x - x.mean(keepdims=True)
        if self.samplewise_std_normalization:
            x = x / (x.std(keepdims=True) + SMALL)
        if self.featurewise_center:
            x = x - self._learned("mean")
        if self.featurewise_std_normalization:
            x = x / (self._learned("std") + SMALL)
        if self.zca_whitening:
            shape = np.shape(x)
            matrix = self._learned("zca_whitening_matrix")
            if np.ndim(matrix):
                x = (x.reshape(1, -1) @ matrix).reshape(shape)
        return np.asarray(x, "float32")

    def _learned(self, name: str) -> Any:
        value = getattr(self, name)
        if value is None:
            warn(
                "[ImageDataGenerator] the mean of the data must be known. Received: a "
                "generator without data; nothing is changed. Try fit(x) before."
            )
            return {"mean": 0.0, "std": 1.0 - SMALL}.get(name, 1.0)
        return value

    def fit(
        self, x: Any, augment: bool = False, rounds: int = 1, seed: int | None = None
    ) -> None:
        """Learn mean, standard deviation and whitening matrix of data.

        Args:
            x: (n, H, W, C).
            augment: whether to augment the images first.
            rounds: how often to augment each image.
            seed: sets `numpy.random`.

        Raises:
            ValueError: wrong shape.
        """
        x = np.array(as_numbers("fit", "x", x), "float32")
        if x.ndim != 4:
            raise ValueError(
                "[ImageDataGenerator] x must have the shape (n, H, W, C). "
                f"Received: shape {x.shape}. Try x[..., None] for grey pictures."
            )
        if seed is not None:
            np.random.seed(seed)  # noqa: NPY002
        if self.rescale:
            x *= np.float32(self.rescale)
        if augment:
            x = np.stack([self.random_transform(p) for _ in range(rounds) for p in x])
        if self.featurewise_center:
            self.mean = x.mean(axis=(0, 1, 2)).reshape(1, 1, -1)
            x = x - self.mean
        if self.featurewise_std_normalization:
            self.std = x.std(axis=(0, 1, 2)).reshape(1, 1, -1)
            x = x / (self.std + SMALL)
        if self.zca_whitening:
            u, s, _ = np.linalg.svd(x.reshape(len(x), -1).T, full_matrices=False)
            self.zca_whitening_matrix = (
                u * (math.sqrt(len(x)) / (s + self.zca_epsilon))
            ) @ u.T


def _check_size(where: str, batch_size: Any) -> None:
    check_integer(where, "batch_size", batch_size, 32)


def _shift(limit: Any, pixels: int) -> float:
    """A random shift: one of a list, or of 0, ..., limit - 1, with a random sign; or a
    share of the size."""
    if not np.any(limit):
        return 0.0
    if np.ndim(limit) or float(limit).is_integer():
        shift = np.random.choice(limit if np.ndim(limit) else int(limit))  # noqa: NPY002
        shift = shift * np.random.choice([-1, 1])  # noqa: NPY002
    else:
        shift = np.random.uniform(-limit, limit)  # noqa: NPY002
    return float(shift * pixels if np.max(limit) < 1 else shift)


def _brightened(x: np.ndarray, factor: float) -> np.ndarray:
    """Multiply all values of an image by a factor, as Pillow does."""
    from PIL import ImageEnhance

    low, high = x.min(), x.max()
    scaled = bool(low < 0 or high > 255)
    picture = array_to_img(x, scale=scaled)
    x = img_to_array(ImageEnhance.Brightness(picture).enhance(factor))
    return x / 255 * (high - low) + low if scaled else x


def __getattr__(name: str) -> Any:
    if name == "image_dataset_from_directory":
        from kurve.preprocessing.directories import image_dataset_from_directory

        return image_dataset_from_directory
    return _absent(__name__)(name)
