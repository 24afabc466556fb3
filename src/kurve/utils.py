"""Small helpers with Keras's names."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from kurve.core.arguments import is_count
from kurve.core.arrays import as_numbers
from kurve.core.entries import entry
from kurve.core.rng import set_random_seed as set_random_seed
from kurve.errors import absent as _absent


@entry
def to_categorical(x: Any, num_classes: int | None = None) -> np.ndarray:
    """Class numbers (n, ...) as one-hot rows: float64 (n, ..., num_classes).

    Args:
        x: integers from 0; a last axis of length 1 is removed.
        num_classes: at least the largest number plus 1, which is the default.

    Raises:
        ValueError: empty, not integers, below 0 or not below num_classes.

    Example:
        >>> kurve.utils.to_categorical([0, 2, 1])
        array([[1., 0., 0.],
               [0., 0., 1.],
               [0., 1., 0.]])
    """
    classes = as_numbers("to_categorical", "x", x)
    if num_classes is not None and not is_count(num_classes):
        raise TypeError(
            "[to_categorical] num_classes must be an integer of at least 1. "
            f"Received: num_classes={num_classes!r}. Try num_classes=10."
        )
    if classes.ndim > 1 and classes.shape[-1] == 1:
        classes = classes[..., 0]
    if not classes.size:
        raise ValueError(
            "[to_categorical] x must hold class numbers. Received: an array of shape "
            f"{classes.shape} and type {classes.dtype}. Try [0, 1, 2]."
        )
    count = int(np.max(classes)) + 1 if num_classes is None else int(num_classes)
    is_invalid = (classes < 0) | (classes >= count) | (classes != np.floor(classes))
    if is_invalid.any():
        position = tuple(int(i) for i in np.argwhere(is_invalid)[0])
        fix = "Try numpy.unique(x, return_inverse=True)[1]."
        if (classes >= count).any():
            fix = f"Try num_classes={int(np.max(classes)) + 1}."
        raise ValueError(
            f"[to_categorical] x must hold whole numbers from 0 to {count - 1}. "
            f"Received: x[{', '.join(map(str, position))}] = {classes[position]}. "
            f"{fix}"
        )
    one_hot: np.ndarray = np.eye(count)[classes.astype(np.int64)]
    return one_hot


class PyDataset:
    """Base class of data that are made batch by batch, by number. A subclass has
    `__getitem__`, which returns a batch (x, y) or (x, y, sample_weight), and `__len__`,
    the number of batches.

    `fit` takes the batches in a new order in each pass, unless shuffle=False, and can
    be resumed from checkpoints if the dataset has no hooks of its own.

    Args:
        workers: above 1, so many threads make batches in advance; they are used in
            order all the same.
        use_multiprocessing: accepted; workers are threads either way.
        max_queue_size: the most batches made in advance.

    Example:
        >>> class Squares(kurve.utils.PyDataset):
        ...     def __len__(self):
        ...         return 10
        ...     def __getitem__(self, index):
        ...         x = np.random.default_rng(index).uniform(-1.0, 1.0, (32, 1))
        ...         return x, x**2
        >>> model = kurve.Sequential([kurve.Input((1,)), kurve.layers.Dense(1)])
        >>> model.compile(loss="mse")
        >>> history = model.fit(Squares(workers=2), epochs=3, verbose=0)
        >>> model.iterations
        30
    """

    workers = 1
    use_multiprocessing = False
    max_queue_size = 10

    def __init__(
        self,
        workers: int = 1,
        use_multiprocessing: bool = False,
        max_queue_size: int = 10,
    ) -> None:
        self.workers, self.max_queue_size = workers, max_queue_size
        self.use_multiprocessing = use_multiprocessing

    def __getitem__(self, index: int) -> Any:
        """The batch of that number, from 0."""
        raise NotImplementedError(
            f"[{type(self).__name__}] a dataset needs a __getitem__(self, index) that "
            f"returns a batch. Received: {self!r} without one. Try return x, y."
        )

    def __iter__(self) -> Iterator[Any]:
        count = self.num_batches
        numbers = itertools.count() if count is None else range(count)
        return (self[index] for index in numbers)

    @property
    def num_batches(self) -> int | None:
        """Number of batches; None for a dataset without end, whose subclass overrides
        this."""
        if not hasattr(self, "__len__"):
            raise NotImplementedError(
                f"[{type(self).__name__}] a dataset needs the number of its batches. "
                f"Received: {self!r} without one. "
                "Try def __len__(self): return 100."
            )
        return len(self)

    def on_epoch_begin(self) -> None:
        """Called before each epoch."""

    def on_epoch_end(self) -> None:
        """Called after each epoch."""


Sequence = PyDataset


__getattr__ = _absent(__name__)
