"""Datasets from directories: one file per row, one folder per class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from kurve.core.arguments import check_choice, check_flag, is_count
from kurve.core.entries import entry
from kurve.core.rng import check_seed
from kurve.errors import MissingFileError, lookup
from kurve.preprocessing.batches import FORMATS, Batches, Make
from kurve.preprocessing.images import (
    CHANNELS,
    img_to_array,
    load_img,
    resized_to,
    size_of,
    smart_resize,
)

PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")
LABELS = ("int", "categorical", "binary")


class Files:
    """The files of a folder and their class numbers, in Keras's order.

    Args:
        where: for messages.
        directory: the folder.
        labels: "inferred" from folders, a list by file, or None.
        label_mode: see `image_dataset_from_directory`.
        class_names: folders of the classes, in order; all by default.
        endings: of the files.
        shuffle, seed: whether to shuffle, and the seed.
        follow_links: whether to enter folders that links point to.

    Raises:
        MissingFileError: the folder does not exist.
        ValueError: no files, or labels that do not match.
    """

    def __init__(
        self,
        where: str,
        directory: Any,
        labels: Any,
        label_mode: Any,
        class_names: Sequence[str] | None,
        endings: tuple[str, ...],
        shuffle: bool,
        seed: int | None,
        follow_links: bool = False,
    ) -> None:
        self.where, folder = where, os.fspath(directory)
        self.folder = folder
        if not os.path.isdir(folder):
            raise MissingFileError(
                f"[{where}] directory must be a folder. Received: {folder!r}. "
                "Try the folder that holds one folder per class."
            )
        if label_mode is not None:
            lookup(where, "label_mode", label_mode, dict.fromkeys(LABELS))
        if labels is None or label_mode is None:
            labels = label_mode = None
        self.mode = label_mode
        inferred = isinstance(labels, str)
        if inferred:
            lookup(where, "labels", labels, {"inferred": None})
        elif class_names is not None:
            raise ValueError(
                f"[{where}] class_names are those of folders. Received: class_names="
                f"{class_names!r} with labels={labels!r:.40}. Try labels='inferred'."
            )
        names = [""]
        if inferred:
            there = sorted(
                name
                for name in os.listdir(folder)
                if name[0] != "." and os.path.isdir(os.path.join(folder, name))
            )
            names = there if class_names is None else list(class_names)
            for name in names:
                if name not in there:
                    raise ValueError(
                        f"[{where}] class_names must be folders of the directory. "
                        f"Received: {name!r}; there are {', '.join(there)}. Try these."
                    )
        found = [
            (path, number)
            for number, name in enumerate(names)
            for path in _walk(os.path.join(folder, name), endings, follow_links)
        ]
        if not found:
            raise ValueError(
                f"[{where}] the directory must hold files that end in "
                f"{', '.join(endings)}. Received: {folder!r}. "
                "Try the folder that holds one folder per class."
            )
        self.paths = [path for path, _ in found]
        self.classes = np.array([number for _, number in found], np.int32)
        self.class_names: list[str] | None = names if inferred else None
        if labels is not None and not inferred:
            self._given(labels)
        if shuffle:
            for rows in (self.paths, self.classes):
                np.random.RandomState(seed).shuffle(rows)
        if self.mode == "binary" and len(self.class_names or ()) != 2:
            raise ValueError(
                f"[{where}] label_mode='binary' needs two classes. "
                f"Received: {self.class_names}. Try label_mode='int'."
            )

    def _given(self, labels: Any) -> None:
        numbers = np.asarray(labels)
        if numbers.shape != (len(self.paths),) or numbers.dtype.kind not in "iu":
            raise ValueError(
                f"[{self.where}] labels must be one integer for each of the "
                f"{len(self.paths)} files. Received: {numbers.shape}, {numbers.dtype}. "
                "Try labels='inferred'."
            )
        self.classes = numbers.astype(np.int32)
        self.class_names = [str(number) for number in sorted({*labels})]

    def say(self, verbose: bool) -> None:
        """Print the number of files."""
        if verbose and self.mode is None:
            print(f"Found {len(self.paths)} files.")
        elif verbose:
            classes = len(self.class_names or ())
            print(f"Found {len(self.paths)} files belonging to {classes} classes.")

    def targets(self, rows: np.ndarray) -> np.ndarray:
        """The targets of these rows."""
        numbers = self.classes[rows]
        if self.mode == "binary":
            return numbers.astype(np.float32)[:, None]
        if self.mode == "categorical":
            return np.eye(len(self.class_names or ()), dtype=np.float32)[numbers]
        return numbers

    def batches(
        self,
        read: Any,
        batch_size: int | None,
        shuffle: bool,
        seed: int | None,
        share: float | None,
        subset: str | None,
        verbose: bool,
    ) -> Any:
        """The dataset, or two of them.

        Args:
            read: from a list of paths to x.
            share: fraction of the files used for validation, the last ones.
            subset: "training", "validation" or "both".
        """
        check_split(self.where, share, subset, shuffle, seed)
        if batch_size is not None and not is_count(batch_size):
            raise ValueError(
                f"[{self.where}] batch_size must be None or a positive integer. "
                f"Received: batch_size={batch_size!r}. Try batch_size=32."
            )

        def make(rows: np.ndarray) -> Any:
            x = read([self.paths[i] for i in rows])
            return x if self.mode is None else (x, self.targets(rows))

        whole = len(self.paths)
        held = int((share or 0.0) * whole)
        found = []
        for part in ("training", "validation") if subset == "both" else (subset,):
            first = whole - held if part == "validation" else 0
            last = whole - held if part == "training" else whole
            if part is not None and verbose:
                print(f"Using {last - first} files for {part}.")
            if first == last:
                raise ValueError(
                    f"[{self.where}] the subset {part!r} must have a file. "
                    f"Received: {whole} files in all. Try validation_split=0.5."
                )
            mixed = shuffle and not (subset == "both" and part == "validation")
            data = _part(make, first, last, batch_size, mixed, seed)
            data.class_names, data.file_paths = self.class_names, self.paths[first:last]
            found.append(data)
        return found if subset == "both" else found[0]


def _part(
    make: Make,
    first: int,
    last: int,
    batch_size: int | None,
    shuffle: bool,
    seed: int | None,
) -> Batches:
    order = np.arange(first, last)
    return Batches(make, last - first, batch_size, shuffle, seed, order)


def _walk(folder: str, endings: tuple[str, ...], follow_links: bool) -> list[str]:
    found = sorted(os.walk(folder, followlinks=follow_links), key=lambda one: one[0])
    return [
        os.path.join(root, name)
        for root, _, names in found
        for name in sorted(names)
        if name.lower().endswith(endings)
    ]


def check_split(
    where: str, share: Any, subset: Any, shuffle: bool, seed: int | None
) -> None:
    """Refuse inconsistent splits and subsets."""
    given = share is not None and not isinstance(share, bool)
    if given and not (isinstance(share, (int, float)) and 0 <= share <= 1):
        raise ValueError(
            f"[{where}] validation_split must be between 0 and 1. "
            f"Received: validation_split={share!r}. Try validation_split=0.2."
        )
    if bool(share) != (subset is not None):
        raise ValueError(
            f"[{where}] validation_split and subset must be passed together. Received: "
            f"validation_split={share!r}, subset={subset!r}. Try validation_split=0.2, "
            "subset='both'."
        )
    if subset is not None:
        subsets = dict.fromkeys(("training", "validation", "both"))
        lookup(where, "subset", subset, subsets)
    if share and shuffle and seed is None:
        raise ValueError(
            f"[{where}] a seed is needed, so that no file is in both subsets. "
            "Received: seed=None with shuffle=True. Try seed=1."
        )


@entry
def image_dataset_from_directory(
    directory: str | os.PathLike[str],
    labels: Any = "inferred",
    label_mode: str | None = "int",
    class_names: Sequence[str] | None = None,
    color_mode: str = "rgb",
    batch_size: int | None = 32,
    image_size: Any = (256, 256),
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    interpolation: str = "bilinear",
    follow_links: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    data_format: str | None = None,
    format: str = "tf",
    verbose: bool = True,
) -> Any:
    """Batches of the images in a directory: x (B, H, W, C) float32, 0 to 255, and y.

    Images are read during training. Their folders are the classes.

    Args:
        directory: the directory, with one folder per class.
        labels: "inferred", one integer per file (sorted by path), or None.
        label_mode: "int", "categorical" (one-hot), "binary" (0. or 1.) or None for x
            alone.
        class_names: the class folders in non-alphabetical order, or a subset.
        color_mode: "rgb", "rgba" or "grayscale".
        batch_size: None for single images.
        image_size: (height, width) to which all images are resized.
        shuffle: whether to shuffle in each pass; otherwise sorted by path.
        seed: seed of the shuffle.
        validation_split: fraction of the files used for validation, the last ones.
        subset: "training", "validation", or "both" for two datasets.
        interpolation: see `layers.Resizing`.
        follow_links: whether to follow symbolic links.
        crop_to_aspect_ratio: whether to crop instead of stretching.
        pad_to_aspect_ratio: whether to pad with zeros instead of stretching.
        data_format: "channels_last", the only one.
        format: "tf" or "grain", as for Keras; the batches are the same.
        verbose: whether to print the number of files.

    Raises:
        MissingFileError: the directory does not exist.
        ModuleNotFoundError: Pillow is not installed.
        TypeError, ValueError: no images, or invalid arguments.

    Example:
        >>> from pathlib import Path
        >>> for name in ("cats", "dogs"):
        ...     Path("pets", name).mkdir(parents=True)
        ...     kurve.utils.save_img(f"pets/{name}/1.png", np.zeros((9, 9, 3)))
        >>> data = kurve.utils.image_dataset_from_directory("pets", image_size=(8, 8))
        Found 2 files belonging to 2 classes.
        >>> data.class_names
        ['cats', 'dogs']
        >>> next(iter(data))[0].shape
        (2, 8, 8, 3)
    """
    where = "image_dataset_from_directory"
    check_choice(where, "format", format, FORMATS)
    size = size_of(where, image_size, "image_size")
    lookup(where, "color_mode", color_mode, CHANNELS)
    lookup(where, "data_format", data_format or "channels_last", {"channels_last": 1})
    check_flag(where, "shuffle", shuffle)
    seed = check_seed(where, seed)
    files = Files(
        where,
        directory,
        labels,
        label_mode,
        class_names,
        PICTURES,
        shuffle,
        seed,
        follow_links,
    )
    files.say(verbose)

    def read(paths: list[str]) -> np.ndarray:
        x = np.empty((len(paths), *size, CHANNELS[color_mode]), np.float32)
        for row, path in zip(x, paths, strict=True):
            picture = img_to_array(load_img(path, color_mode))
            if crop_to_aspect_ratio:
                row[...] = smart_resize(picture, size, interpolation)
                continue
            if pad_to_aspect_ratio:
                picture = _padded(picture, size)
            row[...] = resized_to(picture[None], size, interpolation)[0]
        return x

    return files.batches(
        read, batch_size, shuffle, seed, validation_split, subset, verbose
    )


def _padded(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pad with zeros at both sides to the aspect ratio of another size."""
    h, w = picture.shape[:2]
    rows, columns = max(h, w * size[0] // size[1]), max(w, h * size[1] // size[0])
    top, left = (rows - h) // 2, (columns - w) // 2
    pads = ((top, rows - h - top), (left, columns - w - left), (0, 0))
    return np.pad(picture, pads)


@entry
def text_dataset_from_directory(
    directory: str | os.PathLike[str],
    labels: Any = "inferred",
    label_mode: str | None = "int",
    class_names: Sequence[str] | None = None,
    batch_size: int | None = 32,
    max_length: int | None = None,
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    follow_links: bool = False,
    format: str = "tf",
    verbose: bool = True,
) -> Any:
    """Batches of the .txt files in a directory: an array of strings (B,), and y.

    Args:
        directory, labels, label_mode, class_names, batch_size, shuffle, seed,
            validation_split, subset, follow_links, format, verbose: see
            `image_dataset_from_directory`.
        max_length: maximum bytes of a text; the rest is cut off.

    Raises:
        MissingFileError: the directory does not exist.
        ValueError: no files, or invalid arguments.

    Example:
        >>> from pathlib import Path
        >>> for name, text in (("bad", "so dull"), ("good", "so funny")):
        ...     Path("films", name).mkdir(parents=True)
        ...     _ = Path("films", name, "1.txt").write_text(text)
        >>> data = kurve.utils.text_dataset_from_directory("films", shuffle=False)
        Found 2 files belonging to 2 classes.
        >>> next(iter(data))
        (array(['so dull', 'so funny'], dtype=object), array([0, 1], dtype=int32))
    """
    where = "text_dataset_from_directory"
    check_choice(where, "format", format, FORMATS)
    if max_length is not None and not is_count(max_length):
        raise ValueError(
            f"[{where}] max_length must be None or a positive integer. "
            f"Received: max_length={max_length!r}. Try max_length=1000."
        )
    check_flag(where, "shuffle", shuffle)
    seed = check_seed(where, seed)
    files = Files(
        where,
        directory,
        labels,
        label_mode,
        class_names,
        (".txt",),
        shuffle,
        seed,
        follow_links,
    )
    files.say(verbose)

    def read(paths: list[str]) -> np.ndarray:
        texts = np.empty(len(paths), object)
        for i, path in enumerate(paths):
            with open(path, "rb") as file:
                texts[i] = file.read(max_length or -1).decode("utf-8", "replace")
        return texts

    return files.batches(
        read, batch_size, shuffle, seed, validation_split, subset, verbose
    )
