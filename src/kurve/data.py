"""Checks of user arrays. Bad input is refused before anything is changed, naming the
argument, the position, the value and the fix."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from kurve.core.arrays import as_numbers
from kurve.core.entries import warn
from kurve.losses import Loss, Rowwise
from kurve.plan import Shape

FLOAT32 = np.dtype(np.float32)

SMALL = 4096
"""Array size up to which a temporary array is cheaper than working in chunks."""

PIECE = 1 << 18
"""Number of elements to check at a time, so that the result stays in cache."""


def as_samples(
    where: str,
    argument: str,
    data: Any,
    sample_shape: Shape | None,
    dtype: Any = FLOAT32,
    keep_bytes: bool = False,
) -> np.ndarray:
    """`data` as an array (n, *sample_shape) in C order, all finite.

    Args:
        where, argument: for messages: the method and the name of its argument.
        data: array, list, data frame: anything NumPy reads. 1-D data is one feature,
            and a trailing axis of 1 can be missing or extra, as in Keras.
        sample_shape: required shape of one sample; any if None.
        keep_bytes: keep uint8 samples with two or more axes, which are images.

    Raises:
        TypeError: text, objects or dates.
        ValueError: complex numbers, no rows, a wrong shape, or non-finite values.
    """
    if (
        type(data) is np.ndarray
        and data.dtype == dtype
        and data.shape[1:] == sample_shape
        and data.flags.c_contiguous
        and data.size
    ):  # fast path: keeps single-row predictions at microseconds
        refuse_non_finite(where, argument, data, data)
        return data
    array = as_numbers(where, argument, data)
    given = array.shape
    if array.ndim == 0:
        raise ValueError(
            f"[{where}] {argument} must have one row per sample. Received: the "
            f"single number {array!r}. Try {argument}=[{array!r}]."
        )
    if array.ndim == 1 and sample_shape in (None, (1,)):
        array = array[:, None]
    if len(array) == 0 or array.size == 0:
        raise ValueError(
            f"[{where}] {argument} must not be empty. "
            f"Received: {argument}.shape={array.shape}. Try at least one row."
        )
    if sample_shape is not None and array.shape[1:] != sample_shape:
        array = _with_last_axis(array, sample_shape)
    if sample_shape is not None and array.shape[1:] != sample_shape:
        raise ValueError(
            f"[{where}] {argument} must have shape (n, "
            f"{', '.join(map(str, sample_shape))}), because the model was built for "
            f"that shape. Received: {argument}.shape={given}. "
            f"{_shape_fix(argument, array, sample_shape)}"
        )
    if keep_bytes and array.dtype == np.uint8 and array.ndim > 2:
        return np.ascontiguousarray(array)
    samples = _cast(array, dtype)
    refuse_non_finite(where, argument, samples, array)
    return samples


def _with_last_axis(array: np.ndarray, sample_shape: Shape) -> np.ndarray:
    """Add or drop a trailing axis of 1 to match the shape, if possible."""
    given = array.shape[1:]
    if (*given, 1) == tuple(sample_shape):
        return array[..., None]
    if given == (*sample_shape, 1):
        return array[..., 0]
    return array


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
    return _allowed(where, _cast(array, FLOAT32), array, loss, output_shape)


broadcasting: list[bool] = [False]
"""Whether one target per sample is compared with all of its outputs, as in Keras; set
for programs written for Keras."""


def _of_rank(where: str, array: np.ndarray, target: Shape) -> np.ndarray:
    """Add or drop a trailing axis of 1 in targets to match the predictions."""
    given = array.shape
    if given[1:] == (*target, 1):
        return array[..., 0]
    if len(target) > 1 and (*given[1:], 1) == target:
        return array[..., None]
    of_samples = given[1:] in ((), (1,))
    spread = len(target) == 1 or (len(target) == 2 and target[-1] == 1)
    if broadcasting[0] and of_samples and spread and len(array):
        shape = ", ".join(["n", *map(str, target)])
        other = ""
        # Broadcasting would align y's batch axis with another axis.
        if array.ndim < len(target):
            other = "; Keras compares each with the values of all samples of a batch"
        warn(
            f"[{where}] y has one value per sample, but the model's output has "
            f"{math.prod(target)}: each of them is trained on that value{other}. "
            f"Received: y.shape={given}. Try y of shape ({shape}), or a model with a "
            "single output, such as LSTM without return_sequences=True."
        )
        array = array.reshape(-1, *(1 for _ in target))
        return np.ascontiguousarray(np.broadcast_to(array, (len(array), *target)))
    return array


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


def as_weights(
    where: str,
    sample_weight: Any,
    samples: int,
    dtype: Any = FLOAT32,
    signed: bool = False,
) -> np.ndarray:
    """`sample_weight` as a finite array (samples,), at least 0 unless `signed`."""
    weights = as_numbers(where, "sample_weight", sample_weight)
    if weights.shape == (samples, 1):
        weights = weights[:, 0]
    if weights.shape != (samples,):
        raise ValueError(
            f"[{where}] sample_weight must have shape ({samples},), one weight per row "
            f"of x. Received: shape {weights.shape}. "
            f"Try sample_weight=np.ones({samples})."
        )
    given = weights
    weights = _cast(given, dtype)
    refuse_non_finite(where, "sample_weight", weights, given)
    if not signed and (weights < 0).any():
        i = int(np.argmax(weights < 0))
        raise ValueError(
            f"[{where}] sample_weight must be at least 0. "
            f"Received: sample_weight[{i}] = {weights[i]:g}. "
            "Try 0 to ignore a row."
        )
    return weights


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


def check_same_length(where: str, **arrays: np.ndarray) -> None:
    """Refuse arrays with different numbers of rows."""
    check_lengths(where, {name: len(array) for name, array in arrays.items()})


def check_lengths(where: str, lengths: Mapping[str, int]) -> None:
    """Refuse different numbers of rows, given by array name."""
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"len({name})={n}" for name, n in lengths.items())
        raise ValueError(
            f"[{where}] {' and '.join(lengths)} must have the same number of rows. "
            f"Received: {shown}. Try dropping the same rows from each."
        )


def refuse_non_finite(
    where: str, argument: str, array: np.ndarray, original: np.ndarray
) -> None:
    """Refuse NaN and infinity, reporting the first; `original` is the array before its
    conversion to float32."""
    if array.size > SMALL:
        flat = array.reshape(-1)  # a view, because all callers pass C-ordered arrays
        pieces = (flat[i : i + PIECE] for i in range(0, len(flat), PIECE))
        if all(np.isfinite(piece).all() for piece in pieces):
            return
    elif math.isfinite(np.vdot(array, array)):  # the fastest check in NumPy
        return
    finite = np.isfinite(array)
    if finite.all():
        return
    position = tuple(int(i) for i in np.argwhere(~finite)[0])
    value = original[position]
    place = f"{argument}[{', '.join(map(str, position))}]"
    if np.isfinite(value):
        raise ValueError(
            f"[{where}] {argument} must fit into {array.dtype} (largest number "
            f"{np.finfo(array.dtype).max:.2g}). "
            f"Received: {place} = {value!r}. Try scaling the data."
        )
    raise ValueError(
        f"[{where}] {argument} must be finite. Received: {place} = {value} "
        f"({int((~finite).sum())} such values in total). Try dropping these rows."
    )


def _cast(array: np.ndarray, dtype: Any) -> np.ndarray:
    """Cast to `dtype` in C order; overflow gives infinity, which is refused next."""
    if array.dtype == dtype:
        return np.ascontiguousarray(array)
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(array, dtype=dtype)


def _shape_fix(argument: str, array: np.ndarray, sample_shape: Shape) -> str:
    size = int(np.prod(sample_shape))
    if array.ndim == 1 and len(sample_shape) == 1 and array.size == size:
        return f"Try {argument}.reshape(1, -1) for a single sample."
    if (*array.shape[1:], 1) == sample_shape and len(sample_shape) > 1:
        return f"Try {argument}[..., None], an axis for one channel."
    if array.shape == sample_shape and len(sample_shape) > 1:
        return f"Try {argument}[None] for a single sample."
    if array.ndim == 4 and (*array.shape[2:], array.shape[1]) == sample_shape:
        return f"Try {argument}.transpose(0, 2, 3, 1), channels last."
    if array.ndim > 1 and array[0].size == size:
        shape = ", ".join(map(str, sample_shape))
        return f"Try {argument}.reshape(-1, {shape})."
    if len(sample_shape) == 1:
        return f"Try {argument} with the {sample_shape[0]} columns of the model."
    return f"Try Input(shape={array.shape[1:] or (1,)}) in a new model."


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
