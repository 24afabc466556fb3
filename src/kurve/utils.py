"""Small helpers with Keras's names."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from kurve.core.arguments import (
    check_flag,
    check_integer,
    is_integer,
)
from kurve.core.arrays import as_numbers
from kurve.core.entries import entry
from kurve.core.later import absent as _absent
from kurve.core.naming import forget_names
from kurve.core.rng import set_random_seed as set_random_seed

if TYPE_CHECKING:
    from kurve.backend import standardize_dtype as standardize_dtype
    from kurve.config import disable_interactive_logging as disable_interactive_logging
    from kurve.config import enable_interactive_logging as enable_interactive_logging
    from kurve.config import (
        is_interactive_logging_enabled as is_interactive_logging_enabled,
    )
    from kurve.core.progbar import Progbar as Progbar
    from kurve.core.registration import CustomObjectScope as CustomObjectScope
    from kurve.core.registration import custom_object_scope as custom_object_scope
    from kurve.core.registration import (
        deserialize_keras_object as deserialize_keras_object,
    )
    from kurve.core.registration import get_custom_objects as get_custom_objects
    from kurve.core.registration import get_registered_name as get_registered_name
    from kurve.core.registration import get_registered_object as get_registered_object
    from kurve.core.registration import (
        register_keras_serializable as register_keras_serializable,
    )
    from kurve.core.registration import serialize_keras_object as serialize_keras_object
    from kurve.layers.feature_space import FeatureSpace as FeatureSpace
    from kurve.plots.boxes import plot_model as plot_model
    from kurve.preprocessing.directories import (
        image_dataset_from_directory as image_dataset_from_directory,
    )
    from kurve.preprocessing.directories import (
        text_dataset_from_directory as text_dataset_from_directory,
    )
    from kurve.preprocessing.files import get_file as get_file
    from kurve.preprocessing.images import array_to_img as array_to_img
    from kurve.preprocessing.images import img_to_array as img_to_array
    from kurve.preprocessing.images import load_img as load_img
    from kurve.preprocessing.images import save_img as save_img
    from kurve.preprocessing.timeseries import (
        timeseries_dataset_from_array as timeseries_dataset_from_array,
    )


@entry
def to_categorical(x: Any, num_classes: int | None = None) -> np.ndarray:
    """Class numbers (n, ...) as one-hot rows: float64 (n, ..., num_classes).

    Args:
        x: integers from 0; a last axis of length 1 is removed.
        num_classes: at least the largest class number plus 1, which is the default.

    Raises:
        ValueError: empty, not integers, negative, or not below num_classes.

    Example:
        >>> kurve.utils.to_categorical([0, 2, 1])
        array([[1., 0., 0.],
               [0., 0., 1.],
               [0., 1., 0.]])
    """
    classes = as_numbers("to_categorical", "x", x)
    check_integer("to_categorical", "num_classes", num_classes, 10, optional=True)
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
    """Base class of datasets that produce batches by index. A subclass defines
    `__getitem__`, which returns a batch (x, y) or (x, y, sample_weight), and `__len__`,
    the number of batches.

    `fit` shuffles the order of batches in each epoch, unless shuffle=False, and can
    be resumed from checkpoints if the dataset overrides no hooks.

    Args:
        workers: above 1, that many threads prepare batches in advance; batches are
            still used in order.
        use_multiprocessing: accepted and ignored; workers are always threads.
        max_queue_size: maximum number of batches prepared in advance.

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
        """The batch with that index, starting at 0."""
        raise NotImplementedError(
            f"[{type(self).__name__}] a dataset needs a __getitem__(self, index) that "
            f"returns a batch. Received: {self!r} without one. Try return x, y."
        )

    def __iter__(self) -> Iterator[Any]:
        count = self.num_batches
        numbers = itertools.count() if count is None else range(count)
        return (self[index] for index in numbers)

    _num_batches: int | None = None

    @property
    def num_batches(self) -> int | None:
        """Number of batches; None for an infinite dataset, whose subclass overrides
        this."""
        if self._num_batches is not None:
            return self._num_batches
        if not hasattr(self, "__len__"):
            raise NotImplementedError(
                f"[{type(self).__name__}] a dataset needs a __len__, its number of "
                f"batches. Received: {self!r} without one. "
                "Try def __len__(self): return 100."
            )
        return len(self)

    @num_batches.setter
    def num_batches(self, value: int | None) -> None:
        self._num_batches = value

    def on_epoch_begin(self) -> None:
        """Called before each epoch."""

    def on_epoch_end(self) -> None:
        """Called after each epoch."""


Sequence = PyDataset


@entry
def normalize(x: Any, axis: int = -1, order: float = 2) -> np.ndarray:
    """Divide x by its norm along an axis; zero rows stay zero.

    Args:
        x: numbers.
        axis: axis along which the norm is taken.
        order: order of the norm, as in numpy.linalg.norm.

    Raises:
        ValueError: x does not have this axis.

    Example:
        >>> kurve.utils.normalize(np.array([[3.0, 4.0], [0.0, 0.0]]))
        array([[0.6, 0.8],
               [0. , 0. ]])
    """
    array = np.atleast_1d(as_numbers("normalize", "x", x))
    if not is_integer(axis) or not -array.ndim <= axis < array.ndim:
        raise ValueError(
            f"[normalize] axis must be one of x. Received: axis={axis!r} for x.shape="
            f"{array.shape}. Try axis=-1."
        )
    norm = np.linalg.norm(array, order, axis, keepdims=True)
    return np.asarray(array / np.where(norm == 0, 1, norm).astype(norm.dtype))


@entry
def pad_sequences(
    sequences: Any,
    maxlen: int | None = None,
    dtype: Any = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: Any = 0.0,
) -> np.ndarray:
    """Pad or truncate sequences to one array (n, maxlen, ...).

    Args:
        sequences: n sequences of numbers or of arrays with one shape.
        maxlen: the length; by default that of the longest sequence.
        dtype: dtype of the array.
        padding: where to add `value`: "pre" or "post".
        truncating: where to truncate longer sequences: "pre" or "post".
        value: the padding value.

    Raises:
        TypeError: not sequences.
        ValueError: invalid arguments, or elements of different shapes.

    Example:
        >>> kurve.utils.pad_sequences([[1], [2, 3]])
        array([[0, 1],
               [2, 3]], dtype=int32)
    """
    for name, word in (("padding", padding), ("truncating", truncating)):
        if word not in ("pre", "post"):
            raise ValueError(
                f"[pad_sequences] {name} must be 'pre' or 'post'. "
                f"Received: {name}={word!r}. Try {name}='post'."
            )
    check_integer("pad_sequences", "maxlen", maxlen, 100, optional=True)
    if not all(hasattr(part, "__len__") for part in (sequences, *sequences)):
        raise TypeError(
            "[pad_sequences] sequences must be a list of sequences. "
            f"Received: {sequences!r:.80}. Try [[1, 2], [3]]."
        )
    longest = max(map(len, sequences), default=0) if maxlen is None else maxlen
    arrays = [np.asarray(part, dtype) for part in sequences]
    shapes = {array.shape[1:] for array in arrays if len(array)}
    if len(shapes) > 1:
        raise ValueError(
            "[pad_sequences] the elements of all sequences must have the same shape. "
            f"Received: {sorted(shapes)}. Try sequences of numbers."
        )
    whole = np.full((len(arrays), longest, *next(iter(shapes), ())), value, dtype)
    for row, array in zip(whole, arrays, strict=True):
        kept = array[-longest:] if truncating == "pre" else array[:longest]
        if len(kept):
            place = slice(-len(kept), None) if padding == "pre" else slice(len(kept))
            row[place] = kept
    return whole


def pack_x_y_sample_weight(x: Any, y: Any = None, sample_weight: Any = None) -> Any:
    """Pack data as `fit` takes it: a tuple, or just x if there is nothing else.

    Args:
        x, y, sample_weight: data, or None.

    Example:
        >>> kurve.utils.pack_x_y_sample_weight(1, 2)
        (1, 2)
    """
    if y is None:
        return (x,) if isinstance(x, (tuple, list)) else x
    return (x, y) if sample_weight is None else (x, y, sample_weight)


@entry
def unpack_x_y_sample_weight(data: Any) -> tuple[Any, Any, Any]:
    """Unpack data into x, y and sample_weight, with None for missing parts.

    Args:
        data: x, or a tuple of up to three parts.

    Raises:
        ValueError: more than three parts.

    Example:
        >>> kurve.utils.unpack_x_y_sample_weight((1, 2))
        (1, 2, None)
    """
    parts = tuple(data) if isinstance(data, (tuple, list)) else (data,)
    if len(parts) > 3:
        raise ValueError(
            "[unpack_x_y_sample_weight] data must be x, (x, y) or (x, y, "
            f"sample_weight). Received: {len(parts)} parts. Try (x, y)."
        )
    x, y, weight = (*parts, None, None, None)[:3]
    return x, y, weight


@entry
def split_dataset(
    dataset: Any,
    left_size: float | int | None = None,
    right_size: float | int | None = None,
    shuffle: bool = False,
    seed: int | None = None,
    preferred_backend: str | None = None,
) -> tuple[Any, Any]:
    """Split a dataset into two parts: the first rows and the last rows.

    Args:
        dataset: an array, or a tuple of arrays with the same number of rows, or any
            iterable of samples.
        left_size, right_size: fractions below 1 or numbers of rows; one can be None.
        shuffle: whether to shuffle the rows first.
        seed: seed of the shuffle.
        preferred_backend: accepted and ignored; parts have the type of the dataset.

    Raises:
        ValueError: sizes that do not match the dataset.

    Example:
        >>> left, right = kurve.utils.split_dataset(np.arange(10), left_size=0.8)
        >>> len(left), len(right)
        (8, 2)
    """
    several = isinstance(dataset, (tuple, list)) and hasattr(dataset[0], "__len__")
    if not several and not hasattr(dataset, "shape"):
        dataset = np.array(list(dataset))
    arrays = [np.asarray(part) for part in (dataset if several else [dataset])]
    rows = {len(array) for array in arrays}
    if len(rows) != 1:
        raise ValueError(
            "[split_dataset] all arrays must have the same number of rows. "
            f"Received: {sorted(rows)}. Try arrays of equal length."
        )
    count = rows.pop()
    first, last = (_rows_of(size, count) for size in (left_size, right_size))
    if first is None and last is None:
        first, last = -1, -1
    first = count - (last or 0) if first is None else first
    last = count - first if last is None else last
    if min(first, last) < 0 or not 0 < first + last <= count:
        raise ValueError(
            "[split_dataset] left_size and right_size must be fractions of 1 or "
            f"numbers of rows, {count} together. Received: left_size={left_size!r}, "
            f"right_size={right_size!r}. Try left_size=0.8."
        )
    order = np.arange(count)
    if check_flag("split_dataset", "shuffle", shuffle):
        order = np.random.default_rng(seed).permutation(count)
    places = order[:first], order[first : first + last]
    parts = [tuple(array[rows] for array in arrays) for rows in places]
    left, right = (part if several else part[0] for part in parts)
    return left, right


def _rows_of(size: Any, count: int) -> int | None:
    """The number of rows for a size, or -1 if invalid."""
    if isinstance(size, float):
        return round(size * count) if 0 <= size <= 1 else -1
    if size is None or is_integer(size):
        return None if size is None else int(size)
    return -1


@entry
def is_keras_tensor(x: Any) -> bool:
    """Whether x is a symbolic tensor, such as `Input` returns.

    Args:
        x: anything.

    Raises:
        TypeError: called without an argument.

    Example:
        >>> kurve.utils.is_keras_tensor(kurve.Input((3,)))
        True
    """
    return type(x).__name__ == "KerasTensor"


@entry
def clear_session(free_memory: bool = True) -> None:
    """Reset the counters of default names: dense, dense_1, ... Existing models stay as
    they are; memory is freed when nothing refers to them.

    Args:
        free_memory: True or False; has no effect.

    Raises:
        TypeError: another value.

    Example:
        >>> kurve.utils.clear_session()
        >>> kurve.layers.Dense(1).name
        'dense'
    """
    check_flag("clear_session", "free_memory", free_memory)
    forget_names()


_HOMES = {
    "CustomObjectScope": "core.registration",
    "FeatureSpace": "layers.feature_space",
    "Progbar": "core.progbar",
    "array_to_img": "preprocessing.images",
    "custom_object_scope": "core.registration",
    "deserialize_keras_object": "core.registration",
    "disable_interactive_logging": "config",
    "enable_interactive_logging": "config",
    "get_custom_objects": "core.registration",
    "get_file": "preprocessing.files",
    "get_registered_name": "core.registration",
    "get_registered_object": "core.registration",
    "image_dataset_from_directory": "preprocessing.directories",
    "img_to_array": "preprocessing.images",
    "is_interactive_logging_enabled": "config",
    "load_img": "preprocessing.images",
    "model_to_dot": "plots.dot",
    "plot_model": "plots.boxes",
    "register_keras_serializable": "core.registration",
    "save_img": "preprocessing.images",
    "serialize_keras_object": "core.registration",
    "standardize_dtype": "backend",
    "text_dataset_from_directory": "preprocessing.directories",
    "timeseries_dataset_from_array": "preprocessing.timeseries",
}
"""Modules of names that are imported on first use."""

_REFUSED = {
    "audio_dataset_from_directory": "Kurve reads no sound. Try scipy.io.wavfile",
    "bounding_boxes": "there are no layers for boxes. Try NumPy",
}
"""Keras names that are missing here, and what to do instead."""


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        import importlib

        found = getattr(importlib.import_module(f"kurve.{_HOMES[name]}"), name)
        return globals().setdefault(name, found)
    if name in _REFUSED:
        raise AttributeError(
            f"[kurve.utils] there is no {name}: {_REFUSED[name]}. Received: {name!r}."
        )
    return _absent(__name__)(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
