"""Keras's names for settings, dtypes and naming, for programs that import them from
`backend`."""

from __future__ import annotations

from typing import Any

from kurve.config import backend as backend
from kurve.config import epsilon as epsilon
from kurve.config import floatx as floatx
from kurve.config import image_data_format as image_data_format
from kurve.config import set_epsilon as set_epsilon
from kurve.config import set_floatx as set_floatx
from kurve.config import set_image_data_format as set_image_data_format
from kurve.core.dtypes import name_of_dtype
from kurve.core.entries import entry
from kurve.core.later import absent as _absent
from kurve.core.naming import number_of
from kurve.errors import unknown_name
from kurve.utils import clear_session as clear_session

DTYPES = (
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "complex64",
    "complex128",
    "string",
)


@entry
def standardize_dtype(dtype: Any) -> str:
    """Keras's name of a dtype.

    Args:
        dtype: a name, a Python or NumPy type, or None for "float32".

    Raises:
        ValueError: unknown dtype.

    Example:
        >>> kurve.backend.standardize_dtype(np.int64)
        'int64'
        >>> kurve.backend.standardize_dtype(int)
        'int32'
    """
    plain = {
        bool: "bool",
        int: "int32",
        float: "float32",
        str: "string",
        None: floatx(),
    }
    name = name_of_dtype(plain.get(dtype, dtype) if _hashable(dtype) else dtype)
    if name not in DTYPES:
        raise unknown_name("standardize_dtype", "dtype", dtype, DTYPES)
    return str(name)


def _hashable(value: Any) -> bool:
    return isinstance(value, (type, str, type(None)))


@entry
def is_float_dtype(dtype: Any) -> bool:
    """Whether `dtype` is a floating-point type.

    Args:
        dtype: see `standardize_dtype`.

    Raises:
        ValueError: unknown dtype.

    Example:
        >>> kurve.backend.is_float_dtype("float16")
        True
    """
    return "float" in standardize_dtype(dtype)


@entry
def is_int_dtype(dtype: Any) -> bool:
    """Whether `dtype` is an integer type.

    Args:
        dtype: see `standardize_dtype`.

    Raises:
        ValueError: unknown dtype.

    Example:
        >>> kurve.backend.is_int_dtype("uint8")
        True
    """
    return "int" in standardize_dtype(dtype)


@entry
def get_uid(prefix: str = "") -> int:
    """The number of calls with this prefix so far.

    Args:
        prefix: any string.

    Raises:
        TypeError: not a string.

    Example:
        >>> kurve.backend.get_uid("of mine"), kurve.backend.get_uid("of mine")
        (1, 2)
    """
    if not isinstance(prefix, str):
        raise TypeError(
            "[get_uid] prefix must be a string. "
            f"Received: prefix={prefix!r}. Try get_uid('dense')."
        )
    return number_of(f"get_uid {prefix}") + 1


__getattr__ = _absent(__name__)
