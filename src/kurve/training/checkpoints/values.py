"""Bit-exact encoding of Python values of certain types as JSON and tensors.

None, bool, int, str, finite float    unchanged
other floats                          {"$float": "nan"}
lists; with 8 numbers or more           [...]; {"$floats": tensor}, {"$ints": tensor}
tuples                                {"$tuple": [...]}
dictionaries with string keys        {...}
other dictionaries                    {"$items": [[key, value], ...]}
NumPy arrays                          {"$array": tensor, "dtype", "shape"}
NumPy scalars                       {"$scalar": the same}
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from kurve.core.container.reading import DTYPES, MAX_NAME

Tensors = dict[str, np.ndarray]

DEPTH = 8
"""Maximum nesting of lists; files allow 32 levels, and each list can need three."""

LONG = 8
"""Length from which a list of numbers becomes a tensor, to keep headers short."""


def encode(value: Any, where: str, tensors: Tensors, depth: int = 0) -> Any:
    """Encode a value as JSON; its arrays are added to `tensors`.

    Args:
        where: the value's name, for the error and the tensors' names.

    Raises:
        TypeError: a type that is not in the module's table.
    """
    if value is None or type(value) in (bool, str):
        return value
    if type(value) is int:
        return value if abs(value) < 2**63 else {"$int": str(value)}
    if type(value) is float:
        return value if math.isfinite(value) else {"$float": str(value)}
    if isinstance(value, np.generic) and value.dtype.kind in "fiub":
        dtype = value.dtype.newbyteorder("<")
        return {"$scalar": [dtype.str, value.astype(dtype).tobytes().hex()]}
    if type(value) is np.ndarray and value.dtype.kind in "fiub":
        return {"$array": _array(value, where, tensors)}
    if depth < DEPTH:
        if type(value) is list and len(value) >= LONG:
            kind = type(value[0])
            numpy = issubclass(kind, np.generic)
            if all(type(v) is kind for v in value) and (
                (numpy and value[0].dtype.kind in "fiub")
                or kind is float
                or (kind is int and all(-(2**63) <= v < 2**63 for v in value))
            ):
                array = _array(np.array(value), where, tensors)
                return {"$list": array, "numpy": numpy}
        if type(value) in (list, tuple):
            items = [
                encode(v, f"{where}[{i}]", tensors, depth + 1)
                for i, v in enumerate(value)
            ]
            return items if type(value) is list else {"$tuple": items}
        if type(value) is dict:
            if all(type(k) is str and not k.startswith("$") for k in value):
                return {
                    k: encode(v, f"{where}[{k!r}]", tensors, depth + 1)
                    for k, v in value.items()
                }
            pairs = [
                [encode(k, f"a key of {where}", tensors, depth + 1), v]
                for k, v in value.items()
            ]
            return {
                "$items": [
                    [k, encode(v, f"{where}[{k!r}]", tensors, depth + 1)]
                    for k, v in pairs
                ]
            }
    raise TypeError(
        f"[fit] a checkpoint can hold numbers, strings, None, lists, tuples, "
        f"dictionaries and NumPy arrays of numbers, {DEPTH} levels deep. Received: "
        f"{where} of type {type(value).__name__}. "
        "Try a get_state that returns a dictionary of these."
    )


def decode(entry: Any, tensors: Mapping[str, np.ndarray]) -> Any:
    """Decode a value.

    Raises:
        ValueError, KeyError, TypeError, ArithmeticError: the entry was not written
            by `encode`.
    """
    if isinstance(entry, list):
        return [decode(item, tensors) for item in entry]
    if not isinstance(entry, dict):
        return entry
    if not any(key.startswith("$") for key in entry):
        return {key: decode(item, tensors) for key, item in entry.items()}
    tag, inner = next(iter(entry.items()))
    if tag == "$float":
        return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[inner]
    if tag == "$int":
        return int(inner)
    if tag == "$list":
        array = _read(inner, tensors)
        return list(array) if entry["numpy"] else array.tolist()
    if tag == "$tuple":
        return tuple(decode(item, tensors) for item in inner)
    if tag == "$items":
        return {decode(k, tensors): decode(v, tensors) for k, v in inner}
    if tag == "$array":
        return _read(inner, tensors)
    if tag == "$scalar":
        dtype, bits = inner
        return np.frombuffer(bytes.fromhex(bits), _dtype(dtype), 1)[0]
    raise ValueError(f"{tag} is not a known type")


def _array(array: np.ndarray, where: str, tensors: Tensors) -> dict[str, Any]:
    """Encode a numeric array; dtypes that files lack are stored as bytes."""
    dtype = array.dtype.newbyteorder("<")
    raw = np.ascontiguousarray(array, dtype)
    if dtype not in DTYPES.values():
        raw = np.frombuffer(raw.tobytes(), np.uint8)
    return {
        "name": _add(raw, where, tensors),
        "dtype": dtype.str,
        "shape": list(array.shape),
    }


def _read(entry: Any, tensors: Mapping[str, np.ndarray]) -> np.ndarray:
    raw, shape = tensors[entry["name"]], tuple(entry["shape"])
    size = math.prod(shape)
    values = np.frombuffer(raw.tobytes(), _dtype(entry["dtype"]), size)
    return values.reshape(shape).copy()


def _dtype(name: Any) -> np.dtype[Any]:
    dtype = np.dtype(str(name))
    if dtype.kind not in "fiub":
        raise ValueError(f"{dtype} is not a numeric dtype")
    return dtype


def _add(array: np.ndarray, where: str, tensors: Tensors) -> str:
    name = f"{len(tensors)} {where}"[:MAX_NAME]
    tensors[name] = array.reshape(-1)
    return name
