"""Small helpers with Keras's names."""

from __future__ import annotations

import os
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


@entry
def plot_model(
    model: Any,
    to_file: str | os.PathLike[str] = "model.png",
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = False,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: float = 200,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
) -> Any:
    """Write a picture of a model: a box for each layer and function, lines for calls.

    Args:
        model: of inputs and outputs, or a stack.
        to_file: ends in .svg, or in .png, which matplotlib draws.
        show_shapes: whether boxes say the shapes of input and output.
        show_dtype: whether they say the type of the numbers.
        show_layer_names: whether they say names, not only classes.
        rankdir: "TB" from top to bottom, "BT", "LR" (from left to right) or "RL".
        expand_nested: whether to draw what is inside models.
        dpi: dots an inch of a .png file.
        show_layer_activations: whether boxes say the activation.
        show_trainable: whether they say if training changes the weights.

    Returns:
        The picture, which a notebook shows.

    Raises:
        TypeError, ValueError: not a model, or a bad argument.
        ImportError: .png without matplotlib.

    Example:
        >>> x = kurve.Input((3,))
        >>> model = kurve.Model(x, kurve.layers.Dense(1)(x))
        >>> picture = kurve.utils.plot_model(model, "model.svg", show_shapes=True)
    """
    from kurve.plots import graphs

    shown = graphs.Shown(
        show_shapes,
        show_dtype,
        show_layer_names,
        expand_nested,
        show_layer_activations,
        show_trainable,
    )
    return graphs.plot_model(model, to_file, rankdir, dpi, shown)


def __getattr__(name: str) -> Any:
    if name == "model_to_dot":
        raise AttributeError(
            "[kurve.utils] models are drawn without Graphviz, so there is no dot of "
            f"one. Received: {name!r}. Try plot_model(model, 'model.svg')."
        )
    return _absent(__name__)(name)
