"""Convert user data (arrays, lists, series, data frames) to one array.

Nothing is cast silently. Sparse matrices become dense. Masked values count as missing;
complex numbers, dates, text and other objects are refused with their position and a
fix.
"""

from __future__ import annotations

import datetime
import math
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Set
from typing import Any, NoReturn

import numpy as np

Shape = tuple[int, ...]

FRAMES = ("pandas", "polars", "pyarrow", "modin", "cudf")
PLAIN = {bool, int, float, np.bool_, np.float64, np.float32, np.int64}
"""Types that float() converts exactly."""


def is_frame(data: Any) -> bool:
    """Whether `data` is a data frame or Arrow table. Imports nothing."""
    if isinstance(data, (np.ndarray, list, tuple, Mapping)):
        return False
    if hasattr(type(data), "collect_schema"):  # polars; a lazy frame has no shape
        return True
    shape = getattr(data, "shape", None)
    named = hasattr(data, "columns") or hasattr(data, "column_names")
    return named and isinstance(shape, tuple) and len(shape) == 2


def is_series(data: Any) -> bool:
    """Whether `data` is one column of a data frame. Imports nothing."""
    return _library(data) in FRAMES and not is_frame(data)


def is_sparse(data: Any) -> bool:
    """Whether `data` is a sparse matrix or array of SciPy, of any format. Imports
    nothing."""
    kind = type(data)
    return kind is not np.ndarray and hasattr(kind, "tocsr") and hasattr(kind, "tocoo")


def scalar(value: Any) -> Any:
    """A NumPy scalar as a Python value; anything else unchanged."""
    return value.item() if isinstance(value, np.generic) else value


def is_missing(value: Any) -> bool:
    """Whether `value` is None, NaN, NaT, pandas.NA or masked."""
    if value is None or value is np.ma.masked:
        return True
    if isinstance(value, (str, bytes)):
        return False
    try:
        return bool(value != value)
    except TypeError:  # the truth value of pandas.NA is ambiguous
        return True
    except (ValueError, ArithmeticError):  # an array; a signalling NaN
        return False


def as_numbers(
    where: str, argument: str, data: Any, dtype: Any = None, missing: bool = False
) -> np.ndarray:
    """`data` as an array of real numbers, of any shape.

    Args:
        where, argument: for messages: the function and the name of its argument.
        data: array, list, series, data frame: anything that holds numbers.
        dtype: dtype of the result; None keeps integers, booleans and float32.
        missing: convert missing values (masked, None, pandas' NA) to NaN instead of
            refusing them. NaN itself stays NaN either way.

    Raises:
        TypeError: None, text, dates, objects.
        ValueError: complex numbers, missing values, rows that differ in length, numbers
            too large for float64.
    """
    if is_frame(data):
        columns = [
            as_numbers(where, f"{argument}[{name!r}]", column, dtype, missing)
            for name, column in _columns(where, argument, data)
        ]
        if not columns:
            return np.empty(np.shape(data))
        return np.stack(columns, axis=1)
    array = as_array(where, argument, data, missing)
    kind = array.dtype.kind
    if kind == "O":
        array = _from_objects(where, argument, array, missing)
    elif kind not in "fiub":
        _refuse(where, argument, array)
    return array if dtype is None else array.astype(dtype, copy=False)


def as_array(where: str, argument: str, data: Any, missing: bool = False) -> np.ndarray:
    """`data` as an array of any dtype, including text and dates.

    A list that mixes text with other values becomes an object array, so that nothing is
    converted to text.

    Args, Raises: see `as_numbers`.
    """
    if type(data) is np.ndarray:
        return data
    if is_sparse(data):
        return np.asarray(data.toarray())
    _refuse_containers(where, argument, data)
    if is_frame(data):
        columns = [
            as_array(where, f"{argument}[{name!r}]", column, missing)
            for name, column in _columns(where, argument, data)
        ]
        if len(columns) > 1 and any(c.dtype.kind not in "fiub" for c in columns):
            columns = [np.fromiter(c, object, len(c)) for c in columns]
        if not columns:
            return np.empty(np.shape(data))
        return np.stack(columns, axis=1)
    if is_series(data):
        return _from_series(data)
    if isinstance(data, (list, tuple)):
        data = _with_mask(data)
    if isinstance(data, np.ma.MaskedArray):
        return _unmasked(where, argument, data, missing)
    try:
        array = np.asarray(data)
        if array.dtype.kind in "US" and isinstance(data, (list, tuple)):
            objects = np.asarray(data, dtype=object)
            if not all(isinstance(value, str) for value in objects.flat):
                return objects
    except ValueError:
        _refuse_mixed_images(where, argument, data)
        raise ValueError(
            f"[{where}] {argument} must be rectangular. Received: a "
            f"{type(data).__name__} whose rows differ in length. "
            "Try rows of the same length."
        ) from None
    except Exception as error:  # __array__ can raise anything
        raise TypeError(
            f"[{where}] {argument} must be an array of numbers. Received: "
            f"{_shown(data)} of type {type(data).__name__}, which NumPy cannot read: "
            f"{str(error).rstrip('.')}. Try a NumPy array."
        ) from error
    return array


def _library(data: Any) -> str:
    return type(data).__module__.partition(".")[0]


def _columns(where: str, argument: str, frame: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the names and columns of a data frame."""
    if hasattr(frame, "collect"):
        frame = frame.collect()
    for name in refuse_equal_names(where, argument, frame):
        yield name, frame[name]


def refuse_equal_names(where: str, argument: str, frame: Any) -> list[Any]:
    """The names of a data frame's columns; refuses duplicates."""
    names = list(
        frame.column_names if hasattr(frame, "column_names") else frame.columns
    )
    counts = Counter("nan" if is_missing(name) else name for name in names)
    duplicates = [(name, count) for name, count in counts.items() if count > 1]
    if duplicates:
        name, count = duplicates[0]
        raise ValueError(
            f"[{where}] {argument} must have columns of different names. "
            f"Received: {name!r} {count} times. Try renaming them."
        )
    return names


def _from_series(data: Any) -> np.ndarray:
    """A column of a data frame; missing values are NaN, None or NaT."""
    if str(getattr(data, "type", "")).startswith("dictionary"):
        data = data.cast(data.type.value_type)  # NumPy would treat null as a category
    try:
        array = np.asarray(data)
        if not str(getattr(data, "dtype", "")).startswith("Struct"):
            return array
    except Exception:  # 128-bit integers, for example
        pass
    values = data.to_list() if hasattr(data, "to_list") else data.to_pylist()
    return np.fromiter(values, object, len(values))


def _with_mask(data: Any) -> Any:
    """Convert a list with masked values to a masked array; any other list unchanged."""
    nested = (list, tuple, np.ma.MaskedArray)
    if not any(issubclass(kind, nested) for kind in set(map(type, data))):
        return data
    parts = [_with_mask(v) if isinstance(v, (list, tuple)) else v for v in data]
    masked = any(isinstance(part, np.ma.MaskedArray) for part in parts)
    if masked and len(set(map(np.shape, parts))) == 1:
        return np.ma.stack([np.ma.asarray(part) for part in parts])
    return data


def _unmasked(
    where: str, argument: str, data: np.ma.MaskedArray[Any, Any], missing: bool
) -> np.ndarray:
    """The values of a masked array, with NaN or None where masked."""
    is_gap, array = np.ma.getmaskarray(data), np.asarray(data.data)
    if array.dtype.names is not None:
        return array  # structured arrays are refused later
    if not is_gap.any():
        return array
    if not missing:
        _refuse_missing(where, argument, is_gap, "masked")
    numbers = array.dtype.kind in "fiub"
    array = array.astype(np.float64 if numbers else object)
    array[is_gap] = np.nan if numbers else None
    return array


def _from_objects(
    where: str, argument: str, array: np.ndarray, missing: bool
) -> np.ndarray:
    """Convert objects, which must all be numbers, to float64."""
    if set(map(type, array.flat)) <= PLAIN:
        try:
            return array.astype(np.float64)
        except OverflowError:
            pass  # the loop below finds the position
    is_gap = np.zeros(array.shape, bool)
    numbers = np.full(array.shape, np.nan)
    for position, value in np.ndenumerate(array):
        if value is None or isinstance(value, np.ma.core.MaskedConstant):
            is_gap[position] = True
        elif np.ndim(value) and not isinstance(value, (str, bytes)):
            if hasattr(value, "__array__") or isinstance(value, (list, tuple)):
                return as_numbers(where, argument, array.tolist(), None, missing)
            _refuse(where, argument, array)  # an array of images
        elif not isinstance(value, float) and is_missing(value):
            is_gap[position] = True
        elif _is_number(value):
            numbers[position] = _as_float(where, argument, position, value)
        else:
            _refuse(where, argument, array)
    if is_gap.any() and not missing:
        position = np.argwhere(is_gap)[0]
        _refuse_missing(where, argument, is_gap, array[tuple(position)])
    return numbers


def _is_number(value: Any) -> bool:
    excluded = (
        str,
        bytes,
        complex,
        np.complexfloating,
        np.datetime64,
        np.timedelta64,
        datetime.date,
        datetime.time,
        datetime.timedelta,
        np.void,
    )
    return hasattr(value, "__float__") and not isinstance(value, excluded)


def _as_float(where: str, argument: str, position: Any, value: Any) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    except Exception as error:  # __float__ can raise anything
        raise TypeError(
            f"[{where}] {argument} must hold real numbers. Received: "
            f"{_at(argument, position)} = {_shown(value)} of type "
            f"{type(value).__name__}, which is not a number: {error}. "
            "Try .astype(float)."
        ) from error
    if math.isinf(number) and value != number:
        raise ValueError(
            f"[{where}] {argument} must fit into float64 (largest number 1.8e308). "
            f"Received: {_at(argument, position)} = {_shown(value)}. "
            "Try scaling the data."
        )
    return number


def _refuse_missing(where: str, argument: str, is_gap: np.ndarray, value: Any) -> None:
    raise ValueError(
        f"[{where}] {argument} must not have missing values. Received: "
        f"{_at(argument, np.argwhere(is_gap)[0])} = {value} ({int(is_gap.sum())} such "
        "values in total). Try dropping these rows."
    )


def _refuse(where: str, argument: str, array: np.ndarray) -> NoReturn:
    """Refuse an array that does not hold real numbers; report the first bad value."""
    kind = array.dtype.kind
    position: tuple[int, ...] = (0,) * array.ndim
    if kind in "OUST":
        position = _first_non_number(array)
    value = array[position] if array.size else array.dtype
    if isinstance(value, (np.str_, np.bytes_)):
        value = value.item()
    if array.dtype.names is not None:
        raise TypeError(
            f"[{where}] {argument} must hold real numbers. Received: a structured "
            f"array with the fields {', '.join(map(repr, array.dtype.names))}. Try "
            f"numpy.lib.recfunctions.structured_to_unstructured({argument})."
        )
    name = array.dtype if kind in "mM" else type(value).__name__
    shown = f"{_at(argument, position)} = {_shown(value)} of type {name}"
    rule = f"[{where}] {argument} must hold real numbers"
    if kind == "c" or isinstance(value, (complex, np.complexfloating)):
        raise ValueError(
            f"{rule}. Complex data not supported. Received: {shown}. Try stacking real "
            f"and imaginary parts: np.stack([{argument}.real, {argument}.imag], -1)."
        )
    fix = "Try .astype(float)."
    if kind == "m" or isinstance(value, (datetime.timedelta, np.timedelta64)):
        shown += _missing_dates(argument, array)
        fix = f"Try {argument} / np.timedelta64(1, 's'), the seconds."
    elif (
        isinstance(value, np.datetime64)
        or hasattr(value, "to_timestamp")
        or hasattr(value, "isoformat")
    ):
        shown += _missing_dates(argument, array)
        fix = (
            f"Try ({argument} - {argument}.min()) / np.timedelta64(1, 'D'), the days "
            "since the first."
        )
        if isinstance(value, datetime.time):
            fix = "Try the hours since midnight."
    elif isinstance(value, (str, bytes)):
        fix = "Try .astype(float) if the text holds numbers, or numbers for categories."
    elif array.ndim == 0 or not hasattr(value, "__float__"):
        fix = "Try an array of numbers, one column for each part of the data."
    raise TypeError(f"{rule}. Received: {shown}. {fix}")


def _missing_dates(argument: str, array: np.ndarray) -> str:
    """The number of missing dates, if any, for an error message."""
    positions = [
        position for position, value in np.ndenumerate(array) if is_missing(value)
    ]
    if not positions:
        return ""
    return f" ({len(positions)} missing: {_at(argument, positions[0])} = NaT)"


def _refuse_containers(where: str, argument: str, data: Any) -> None:
    """Refuse values that are not arrays or that NumPy would wrap as one object."""
    if data is None:
        raise TypeError(
            f"[{where}] {argument} is missing. Received: None. "
            "Try an array with one row per sample."
        )
    fix = None
    if isinstance(data, Mapping):
        fix = f"np.column_stack(list({argument}.values()))"
    elif isinstance(data, (Iterator, Set)):
        fix = f"np.array(list({argument}))"
    if fix is not None:
        raise TypeError(
            f"[{where}] {argument} must be an array. Received: {_shown(data)} of type "
            f"{type(data).__name__}. Try {fix}."
        )


def _refuse_mixed_images(where: str, argument: str, data: Any) -> None:
    """Refuse a list of images with different sizes or channel counts."""
    shapes = [np.shape(image) for image in data if isinstance(image, np.ndarray)]
    if len(shapes) != len(data) or len(shapes[0]) < 2:
        return
    i = next(i for i, shape in enumerate(shapes) if shape != shapes[0])
    raise ValueError(
        f"[{where}] {argument} must hold images of one shape. Received: "
        f"{argument}[0].shape={shapes[0]}, {argument}[{i}].shape={shapes[i]}. "
        "Try scaling or cropping them to one size first."
    )


def _first_non_number(array: np.ndarray) -> tuple[int, ...]:
    """Position of the first element that is not a number. Text that looks like a number
    is reported only if nothing else is wrong."""
    numeric_text = None
    for position, value in np.ndenumerate(array):
        if is_missing(value) or _is_number(value):
            continue
        if not isinstance(value, (str, bytes)):
            return position
        try:
            float(value)
        except ValueError:
            return position
        numeric_text = numeric_text or position
    return numeric_text or (0,) * array.ndim


def _at(argument: str, position: Any) -> str:
    inside = ", ".join(str(int(i)) for i in position)
    return f"{argument}[{inside}]" if inside else argument


def _shown(value: Any) -> str:
    if isinstance(value, int) and value.bit_length() > 128:
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, (np.datetime64, np.timedelta64)):
        return str(value)
    return textwrap.shorten(repr(value), 60, placeholder=" ...")
