"""Batches of augmented images, as `ImageDataGenerator` makes them."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.preprocessing.images import save_img
from kurve.utils import PyDataset, to_categorical

if TYPE_CHECKING:
    from kurve.preprocessing.image import ImageDataGenerator


class Pictures(PyDataset):
    """Batches of augmented images. Iterating over it never ends.

    Args:
        generator: augments the images.
        count: number of rows.
        batch_size, shuffle, seed: see `ImageDataGenerator.flow`.
    """

    writing: tuple[Any, str, str] = (None, "", "png")
    """The folder to write images to, and prefix and extension of file names."""

    def __init__(
        self,
        generator: ImageDataGenerator,
        count: int,
        batch_size: int,
        shuffle: bool,
        seed: int | None,
    ) -> None:
        super().__init__()
        self.generator, self.n, self.batch_size = generator, count, batch_size
        self.shuffle, self.seed = shuffle, seed
        self.total_batches_seen = self._next = 0
        self._order: np.ndarray | None = None

    def __len__(self) -> int:
        return math.ceil(self.n / self.batch_size)

    @property
    def samples(self) -> int:
        """The number of rows."""
        return self.n

    def on_epoch_end(self) -> None:
        self._order = np.arange(self.n)
        if self.shuffle:
            self._order = np.random.permutation(self.n)  # noqa: NPY002

    def reset(self) -> None:
        """Restart with the first batch."""
        self._next = 0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self._next == 0:
            self._order = None
        batch = self[self._next]
        self._next = (self._next + 1) % len(self)
        return batch

    def next(self) -> Any:
        """The next batch."""
        return self.__next__()

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(
                f"[ImageDataGenerator] there are {len(self)} batches. "
                f"Received: batch {index}. Try one from 0 to {len(self) - 1}."
            )
        if self.seed is not None:
            np.random.seed(self.seed + self.total_batches_seen)  # noqa: NPY002
        self.total_batches_seen += 1
        if self._order is None:
            self.on_epoch_end()
        assert self._order is not None
        size = self.batch_size
        rows = self._order[size * index : size * (index + 1)]
        batch = self._batch(rows)
        if self.writing[0] is not None:
            self._write(batch[0] if isinstance(batch, tuple) else batch, rows)
        return batch

    def _write(self, pictures: np.ndarray, rows: np.ndarray) -> None:
        folder, prefix, ending = self.writing
        for picture, row in zip(pictures, rows, strict=True):
            name = f"{prefix}_{row}_{np.random.randint(10**7)}.{ending}"  # noqa: NPY002
            save_img(os.path.join(os.fspath(folder), name), picture)

    def _batch(self, rows: np.ndarray) -> Any:
        raise NotImplementedError


class ArrayPictures(Pictures):
    """Of arrays in memory."""

    def __init__(
        self, generator: Any, x: np.ndarray, y: Any, weight: Any, *common: Any
    ) -> None:
        self.x, self.y, self.sample_weight = x, y, weight
        super().__init__(generator, len(x), *common)

    def _batch(self, rows: np.ndarray) -> Any:
        x = np.stack([self.generator.changed(self.x[i]) for i in rows])
        if self.y is None:
            return x
        batch = (x, self.y[rows])
        return (
            batch if self.sample_weight is None else (*batch, self.sample_weight[rows])
        )


class DirectoryPictures(Pictures):
    """Of files in a folder."""

    def __init__(
        self,
        generator: Any,
        files: Any,
        rows: np.ndarray,
        mode: Any,
        read: Any,
        *common: Any,
    ) -> None:
        self._files, self._rows, self.class_mode, self._read = files, rows, mode, read
        self.filepaths = [files.paths[i] for i in rows]
        self.classes = self.labels = files.classes[rows]
        names = files.class_names or []
        self.class_indices = {name: i for i, name in enumerate(names)}
        super().__init__(generator, len(rows), *common)

    @property
    def num_classes(self) -> int:
        """The number of folders."""
        return len(self.class_indices)

    @property
    def filenames(self) -> list[str]:
        """The paths inside the directory."""
        return [os.path.relpath(path, self._files.folder) for path in self.filepaths]

    def _batch(self, rows: np.ndarray) -> Any:
        plain = [self._read(self.filepaths[i]) for i in rows]
        x = np.stack([self.generator.changed(picture) for picture in plain])
        numbers = self.classes[rows]
        if self.class_mode is None:
            return x
        if self.class_mode == "input":
            return x, x.copy()
        if self.class_mode == "categorical":
            return x, np.asarray(to_categorical(numbers, self.num_classes), "float32")
        return x, numbers.astype("float32")
