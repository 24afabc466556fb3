"""Checks of the arrays that users pass. Bad input is refused before anything is
changed, naming the argument, the position, the value and the fix."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from kurve.core.arrays import Shape, as_numbers

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
    array = fitted(where, argument, as_numbers(where, argument, data), sample_shape)
    if keep_bytes and array.dtype == np.uint8 and array.ndim > 2:
        return np.ascontiguousarray(array)
    samples = cast(array, dtype)
    refuse_non_finite(where, argument, samples, array)
    return samples


def fitted(
    where: str, argument: str, array: np.ndarray, sample_shape: Shape | None
) -> np.ndarray:
    """The array with samples of the required shape, as `as_samples` checks it."""
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
    return array


def _with_last_axis(array: np.ndarray, sample_shape: Shape) -> np.ndarray:
    """Add or drop a trailing axis of 1 to match the shape, if possible."""
    given = array.shape[1:]
    if (*given, 1) == tuple(sample_shape):
        return array[..., None]
    if given == (*sample_shape, 1):
        return array[..., 0]
    return array


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
    weights = cast(given, dtype)
    refuse_non_finite(where, "sample_weight", weights, given)
    if not signed and (weights < 0).any():
        i = int(np.argmax(weights < 0))
        raise ValueError(
            f"[{where}] sample_weight must be at least 0. "
            f"Received: sample_weight[{i}] = {weights[i]:g}. "
            "Try 0 to ignore a row."
        )
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
    count = int((~finite).sum())
    value = original[position]
    raise non_finite_error(where, argument, array.dtype, position, value, count)


def non_finite_error(
    where: str,
    argument: str,
    dtype: np.dtype[Any],
    position: tuple[int, ...],
    value: Any,
    count: int,
) -> ValueError:
    """The error for NaN, infinity or too large a value at a position.

    Args:
        dtype: of the array; value: the value before its conversion.
        count: number of such values.
    """
    place = f"{argument}[{', '.join(map(str, position))}]"
    if np.isfinite(value):
        return ValueError(
            f"[{where}] {argument} must fit into {dtype} (largest number "
            f"{np.finfo(dtype).max:.2g}). "
            f"Received: {place} = {value!r}. Try scaling the data."
        )
    return ValueError(
        f"[{where}] {argument} must be finite. Received: {place} = {value} "
        f"({count} such values in total). Try dropping these rows."
    )


def cast(array: np.ndarray, dtype: Any) -> np.ndarray:
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
