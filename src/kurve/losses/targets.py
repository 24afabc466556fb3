"""Checks of targets: whether they fit an output, and their values the loss."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from kurve.core.arrays import as_numbers
from kurve.core.entries import warn
from kurve.core.samples import FLOAT32, cast, refuse_non_finite
from kurve.losses.base import Loss, Rowwise
from kurve.losses.rows import broadcasting
from kurve.plan import Shape


def as_targets(where: str, y: Any, loss: Rowwise, output_shape: Shape) -> np.ndarray:
    """`y` as an array (n, *target_shape) for a loss (or, if the output has none, a
    metric) and a model's output.

    Raises:
        TypeError, ValueError: see `as_samples`; a shape that would need broadcasting;
            a value invalid for the loss (for example, a too large class number).
    """
    target = loss.target_shape(output_shape)
    if (
        type(y) is np.ndarray
        and y.dtype == FLOAT32
        and y.shape[1:] == target
        and y.flags.c_contiguous
        and y.size
    ):
        return _allowed(where, y, y, loss, output_shape)
    array = as_numbers(where, "y", y)
    given = array.shape
    if array.ndim == len(target) + 2 and array.shape[-1] == 1 and loss.sparse:
        array = array[..., 0]
    if array.ndim == 1 and target == (1,):
        array = array[:, None]
    if not loss.sparse and array.ndim and array.shape[1:] != target:
        array = _of_rank(where, array, target)
    if array.ndim == 0 or array.shape[1:] != target:
        shape = ", ".join(["n", *map(str, target)])
        raise ValueError(
            f"[{where}] y must have shape ({shape}), because the model's output has "
            f"shape (n, {', '.join(map(str, output_shape))}) and the loss is "
            f"{loss.name}. Received: y.shape={given}. Losses never broadcast. "
            f"{_target_fix(array, loss, target, output_shape)}"
        )
    if array.size == 0:
        raise ValueError(
            f"[{where}] y must not be empty. Received: y.shape={array.shape}. "
            "Try at least one row."
        )
    return _allowed(where, cast(array, FLOAT32), array, loss, output_shape)


def _of_rank(where: str, array: np.ndarray, target: Shape) -> np.ndarray:
    """Add or drop a trailing axis of 1 in targets to match the predictions."""
    given = array.shape
    if given[1:] == (*target, 1):
        return array[..., 0]
    if len(target) > 1 and (*given[1:], 1) == target:
        return array[..., None]
    if not broadcasting[0] or not len(array):
        return array
    own = given[1:]
    if len(own) == len(target) + 1 and own[-1] == 1:
        own = own[:-1]
    elif len(own) == len(target) - 1 and target[-1] == 1:
        own = (*own, 1)
    outputs_of_one = len(target) == 1 or (len(target) == 2 and target[1] == 1)
    if own in ((), (1,)) and outputs_of_one:
        own = (1,) * len(target)
    pairs = list(zip(own, target, strict=False))
    if len(own) != len(target) or not all(a in (1, b) for a, b in pairs):
        return array
    shape = ", ".join(["n", *map(str, target)])
    other = ""
    # Broadcasting would align y's batch axis with another axis.
    if array.ndim < len(target):
        other = "; Keras compares each with the values of all samples of a batch"
    count, several = math.prod(own), math.prod(target)
    values = "one value" if count == 1 else f"{count} values"
    warn(
        f"[{where}] y has {values} per sample, but the model's output has {several}: "
        f"{'each of them is' if count == 1 else 'they are repeated, and all'} trained "
        f"on {'that value' if count == 1 else 'them'}{other}. "
        f"Received: y.shape={given}. Try y of shape ({shape}), or a model with a "
        "single output, such as LSTM without return_sequences=True."
    )
    array = array.reshape(-1, *own)
    return np.ascontiguousarray(np.broadcast_to(array, (len(array), *target)))


def _allowed(
    where: str,
    targets: np.ndarray,
    original: np.ndarray,
    loss: Rowwise,
    output_shape: Shape,
) -> np.ndarray:
    """The targets, after checking that their values are valid for the loss."""
    refuse_non_finite(where, "y", targets, original)
    if isinstance(loss, Loss):
        loss.check_targets(where, targets, output_shape)
    return targets


def class_weights(
    where: str, class_weight: Mapping[int, float], y: np.ndarray, sparse: bool
) -> np.ndarray:
    """The weight of each row's class, float32 (n,). Classes not listed have weight 1,
    and a target between two classes counts as the nearest, as in Keras.

    Args:
        class_weight: dict from class number to weight.
        y: checked targets: class numbers (n,) or (n, 1), or one-hot (n, classes).
    """
    if not isinstance(class_weight, Mapping):
        raise TypeError(
            f"[{where}] class_weight must be a dictionary from class number to weight. "
            f"Received: {class_weight!r}. Try class_weight={{0: 1.0, 1: 2.0}}."
        )
    if y.ndim > 2 or (sparse and y.ndim > 1):
        raise ValueError(
            f"[{where}] class_weight needs one class per row. "
            f"Received: y.shape={y.shape}. Try sample_weight."
        )
    one_hot = y.ndim == 2 and y.shape[1] > 1
    classes = y.argmax(axis=1) if one_hot else np.rint(y.reshape(-1))
    weights = np.ones(len(y), np.float32)
    for key, weight in class_weight.items():
        is_number = isinstance(weight, (int, float, np.integer, np.floating))
        is_class = isinstance(key, (int, np.integer))
        if not (is_class and is_number and 0 <= weight < np.inf):
            raise ValueError(
                f"[{where}] class_weight must map class numbers to finite weights of "
                f"at least 0. Received: {{{key!r}: {weight!r}}}. "
                "Try {0: 1.0, 1: 2.0}."
            )
        weights[classes == key] = weight
    return weights


def _target_fix(
    array: np.ndarray, loss: Rowwise, target: Shape, output_shape: Shape
) -> str:
    one_each = array.shape[1:] in ((), (1,))
    if one_each and len(output_shape) > 1:
        return (
            "Try layers.Flatten() before the last layer, if y has one value per sample."
        )
    if one_each and target and target[0] > 1:
        return (
            "Try loss='sparse_categorical_crossentropy' if y holds class numbers, "
            "or a last layer of 1 unit."
        )
    if loss.sparse and array.shape[1:] == output_shape:
        return "Try y.argmax(axis=-1), or loss='categorical_crossentropy'."
    if loss.sparse or array.ndim < 2:
        return f"Try y of shape {('n', *target)}.".replace("'", "")
    if array.ndim == 2 and target == (1,):
        return (
            f"Try a last layer of {array.shape[1] * loss.outputs_per_target} units, or "
            "loss='sparse_categorical_crossentropy' if y holds class numbers."
        )
    shape = (*array.shape[1:-1], array.shape[-1] * loss.outputs_per_target)
    return f"Try a last layer whose output has shape {shape}."
