"""Images as the networks want them, and the names of their classes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from kurve import ops
from kurve.core.entries import entry
from kurve.errors import lookup
from kurve.formulas.tensor import KerasTensor

MEAN = {"caffe": (103.939, 116.779, 123.68), "torch": (0.485, 0.456, 0.406)}
DEVIATION = (0.229, 0.224, 0.225)
CLASSES = (
    "https://storage.googleapis.com/download.tensorflow.org/data/"
    "imagenet_class_index.json"
)


@entry
def preprocess_input(
    x: Any, data_format: str | None = None, mode: str = "caffe"
) -> Any:
    """Images with values in [0, 255] as a network was trained on.

    Args:
        x: (..., 3), an array (float arrays are overwritten, as in Keras) or a symbolic
            tensor.
        data_format: None or "channels_last".
        mode: "tf" for x / 127.5 - 1; "torch" for x / 255 less the mean of ImageNet,
            over its deviation; "caffe" for BGR less the mean.

    Raises:
        ValueError: unknown mode or data_format.

    Example:
        >>> x = np.array([[[[0.0, 127.5, 255.0]]]])
        >>> kurve.applications.imagenet_utils.preprocess_input(x, mode="tf")
        array([[[[-1.,  0.,  1.]]]])
    """
    where = "preprocess_input"
    lookup(where, "mode", mode, {"caffe": 0, "tf": 0, "torch": 0})
    if data_format is not None:
        lookup(where, "data_format", data_format, {"channels_last": 0})
    if isinstance(x, KerasTensor) or not isinstance(x, np.ndarray):
        return _of_tensor(x, mode)
    if not np.issubdtype(x.dtype, np.floating):
        x = x.astype("float32")
    if mode == "tf":
        x /= 127.5
        x -= 1.0
        return x
    if mode == "caffe":
        x = x[..., ::-1]
        x -= np.asarray(MEAN[mode], x.dtype)
        return x
    x /= 255.0
    x -= np.asarray(MEAN[mode], x.dtype)
    x /= np.asarray(DEVIATION, x.dtype)
    return x


def _of_tensor(x: Any, mode: str) -> Any:
    if not isinstance(x, KerasTensor):
        x = ops.convert_to_tensor(x)
    if not str(x.dtype).startswith("float"):
        x = ops.cast(x, "float32")
    if mode == "tf":
        return x / 127.5 - 1.0
    if mode == "caffe":
        return ops.flip(x, axis=-1) - np.asarray(MEAN[mode], "float32")
    x = x / 255.0 - np.asarray(MEAN[mode], "float32")
    return x / np.asarray(DEVIATION, "float32")


def tf(x: Any, data_format: str | None = None) -> Any:
    """`preprocess_input` with mode="tf"."""
    return preprocess_input(x, data_format, "tf")


def caffe(x: Any, data_format: str | None = None) -> Any:
    """`preprocess_input` with mode="caffe"."""
    return preprocess_input(x, data_format, "caffe")


def torch(x: Any, data_format: str | None = None) -> Any:
    """`preprocess_input` with mode="torch"."""
    return preprocess_input(x, data_format, "torch")


def unchanged(x: Any, data_format: str | None = None) -> Any:
    """x itself: the network does it inside."""
    return x


@entry
def decode_predictions(preds: Any, top: int = 5) -> list[list[tuple[str, str, float]]]:
    """The likeliest classes of ImageNet for each prediction: (id, name, probability).

    Args:
        preds: (n, 1000), predictions of a network.
        top: how many.

    Raises:
        MissingFileError: no file with the names, which Keras downloads.
        ValueError: preds has another shape.

    Example:
        >>> try:
        ...     kurve.applications.imagenet_utils.decode_predictions(np.ones((1, 3)))
        ... except ValueError as error:
        ...     print("1000 classes" in str(error))
        True
    """
    from kurve.preprocessing.files import get_file

    preds = np.asarray(preds)
    if preds.ndim != 2 or preds.shape[1] != 1000:
        raise ValueError(
            "[decode_predictions] predictions must be of 1000 classes. Received: "
            f"shape {preds.shape}. Try a network with include_top=True."
        )
    name = CLASSES.rpartition("/")[2]
    with open(get_file(name, CLASSES, cache_subdir="models"), encoding="utf-8") as file:
        index = json.load(file)
    found = []
    for row in preds:
        best = np.argsort(row)[-top:][::-1]
        found.append([(*index[str(i)], row[i]) for i in best])
    return found
