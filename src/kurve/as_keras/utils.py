"""Functions of `keras.utils` that return a `tf.data.Dataset`, as in Keras."""

from __future__ import annotations

from typing import Any

from kurve.as_keras.tensorflow.data import Dataset
from kurve.as_keras.tensorflow.structures import as_element

__all__ = [
    "image_dataset_from_directory",
    "text_dataset_from_directory",
    "timeseries_dataset_from_array",
]


def image_dataset_from_directory(*args: Any, **named: Any) -> Any:
    """Images from a folder; see `kurve.utils.image_dataset_from_directory`."""
    from kurve.preprocessing import image_dataset_from_directory as made

    return _dataset(made(*args, **named))


def text_dataset_from_directory(*args: Any, **named: Any) -> Any:
    """Texts from a folder; see `kurve.utils.text_dataset_from_directory`."""
    from kurve.preprocessing import text_dataset_from_directory as made

    return _dataset(made(*args, **named))


def timeseries_dataset_from_array(*args: Any, **named: Any) -> Any:
    """Windows of a time series; see `kurve.utils.timeseries_dataset_from_array`."""
    from kurve.preprocessing import timeseries_dataset_from_array as made

    return _dataset(made(*args, **named))


def _dataset(batches: Any) -> Any:
    """The batches as a data set with all methods, and Keras's attributes."""
    if isinstance(batches, (list, tuple)):
        return type(batches)(_dataset(part) for part in batches)
    data = Dataset(lambda: map(as_element, batches), len(batches), batched=True)
    for name in ("class_names", "file_paths"):
        value = getattr(batches, name, None)
        if value is not None:
            setattr(data, name, value)
    return data
