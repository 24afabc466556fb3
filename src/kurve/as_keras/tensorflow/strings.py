"""String functions, for values: `tf.strings.lower`, `tf.strings.split`.

String tensors are arrays of str. Lengths and positions count characters.
"""

from __future__ import annotations

import re
import string as signs
from collections.abc import Callable
from typing import Any

import numpy as np

from kurve.as_keras.tensorflow.values import as_tensor, concrete, kind, tensor
from kurve.core.fingerprints import fingerprint

__all__ = [
    "Ragged",
    "as_string",
    "bytes_split",
    "format",
    "join",
    "length",
    "lower",
    "reduce_join",
    "regex_full_match",
    "regex_replace",
    "split",
    "strip",
    "substr",
    "to_hash_bucket",
    "to_hash_bucket_fast",
    "to_number",
    "unicode_split",
    "upper",
]


class Ragged(list[Any]):
    """Rows of different lengths."""

    def to_list(self) -> list[Any]:
        """The rows as lists."""
        return [np.asarray(row).tolist() for row in self]

    def to_tensor(self, default_value: Any = None, shape: Any = None) -> Any:
        """An array, padding shorter rows with a value: an empty string or 0."""
        if default_value is None:
            texts = any(np.asarray(row).dtype.kind in "SUO" for row in self)
            default_value = "" if texts else 0
        width = max(map(len, self), default=0)
        if shape is not None and shape[-1] is not None:
            width = int(shape[-1])
        rows = [[*row[:width], *[default_value] * (width - len(row))] for row in self]
        return as_tensor(np.array(rows).reshape(len(self), width))


def _texts(where: str, x: Any) -> np.ndarray:
    """Strings as an object array."""
    array = np.asarray(concrete(f"strings.{where}", x))

    def text(value: Any) -> str:
        return value.decode() if isinstance(value, bytes) else str(value)

    return np.asarray(np.frompyfunc(text, 1, 1)(array), object)


def _each(where: str, x: Any, change: Callable[[str], Any], dtype: Any = str) -> Any:
    changed = np.asarray(np.frompyfunc(change, 1, 1)(_texts(where, x)))
    return as_tensor(changed.astype(dtype))


def _python(pattern: str) -> str:
    """Translate an RE2 pattern to Python: [:punct:] and so on."""
    classes = {
        "punct": re.escape(signs.punctuation),
        "alpha": "a-zA-Z",
        "digit": "0-9",
        "alnum": "a-zA-Z0-9",
        "space": r"\s",
        "lower": "a-z",
        "upper": "A-Z",
    }
    for name, inside in classes.items():
        pattern = pattern.replace(f"[:{name}:]", inside)
    return pattern


def lower(input: Any, encoding: str = "", name: Any = None) -> Any:
    """Convert to lower case; without an encoding only ASCII letters."""
    if encoding:
        return _each("lower", input, str.lower)
    table = str.maketrans(signs.ascii_uppercase, signs.ascii_lowercase)
    return _each("lower", input, lambda text: text.translate(table))


def upper(input: Any, encoding: str = "", name: Any = None) -> Any:
    """Convert to upper case; without an encoding only ASCII letters."""
    if encoding:
        return _each("upper", input, str.upper)
    table = str.maketrans(signs.ascii_lowercase, signs.ascii_uppercase)
    return _each("upper", input, lambda text: text.translate(table))


def strip(input: Any, name: Any = None) -> Any:
    """Strip whitespace at both ends."""
    return _each("strip", input, str.strip)


def length(input: Any, unit: str = "BYTE", name: Any = None) -> Any:
    """The number of bytes, or of characters with unit="UTF8_CHAR"."""
    if unit == "BYTE":
        return _each("length", input, lambda text: len(text.encode()), np.int32)
    return _each("length", input, len, np.int32)


def substr(input: Any, pos: int, len: int, unit: str = "BYTE", name: Any = None) -> Any:
    """`len` characters from `pos` on."""
    return _each("substr", input, lambda text: text[int(pos) :][: int(len)])


def regex_replace(
    input: Any, pattern: str, rewrite: str, replace_global: Any = True, name: Any = None
) -> Any:
    """Replace all matches of a pattern; \\\\1 is its first group."""
    search = re.compile(_python(str(pattern)))
    count = 0 if replace_global else 1
    new = re.sub(r"\\0", r"\\g<0>", str(rewrite))
    return _each(
        "regex_replace", input, lambda text: search.sub(new, text, count=count)
    )


def regex_full_match(input: Any, pattern: str, name: Any = None) -> Any:
    """Whether the whole string matches."""
    search = re.compile(_python(str(pattern)))
    return _each(
        "regex_full_match",
        input,
        lambda text: search.fullmatch(text) is not None,
        np.bool_,
    )


def split(input: Any, sep: Any = None, maxsplit: int = -1, name: Any = None) -> Any:
    """Split a string, or each of several, at whitespace or at `sep`."""
    texts = _texts("split", input)
    rows = [
        as_tensor(np.array(text.split(sep or None, maxsplit), str))
        for text in texts.ravel()
    ]
    return rows[0] if texts.ndim == 0 else Ragged(rows)


def unicode_split(
    input: Any, input_encoding: str = "UTF-8", errors: str = "replace", name: Any = None
) -> Any:
    """The characters of a string, or rows of them."""
    texts = _texts("unicode_split", input)
    rows = [as_tensor(np.array(list(text), str)) for text in texts.ravel()]
    return rows[0] if texts.ndim == 0 else Ragged(rows)


def bytes_split(input: Any, name: Any = None) -> Any:
    """The characters of a string, or rows of them."""
    return unicode_split(input)


def join(inputs: Any, separator: str = "", name: Any = None) -> Any:
    """Concatenate strings elementwise."""
    parts = np.broadcast_arrays(*(_texts("join", part) for part in inputs))
    joined = np.frompyfunc(lambda *texts: separator.join(texts), len(parts), 1)
    return as_tensor(np.asarray(joined(*parts)).astype(str))


def reduce_join(
    inputs: Any,
    axis: Any = None,
    keepdims: Any = False,
    separator: str = "",
    name: Any = None,
) -> Any:
    """Concatenate the strings along an axis, or all of them."""
    if isinstance(inputs, Ragged) and axis in (1, -1):
        rows = [reduce_join(row, 0, keepdims, separator) for row in inputs]
        return as_tensor(np.array(rows, str))
    texts = _texts("reduce_join", inputs)
    if axis is None:
        return as_tensor(np.asarray(separator.join(texts.ravel().tolist())))
    moved = np.moveaxis(texts, int(np.ravel(axis)[0]), -1)
    joined = np.empty(moved.shape[:-1], object)
    for place in np.ndindex(joined.shape):
        joined[place] = separator.join(moved[place].tolist())
    joined = joined.astype(str)
    return as_tensor(np.expand_dims(joined, axis) if keepdims else joined)


def as_string(input: Any, precision: int = -1, name: Any = None, **others: Any) -> Any:
    """Numbers as strings."""

    def written(value: Any) -> str:
        if isinstance(value, (bool, np.bool_)):
            return str(bool(value)).lower()
        if isinstance(value, (float, np.floating)):
            return f"{value:.{6 if precision < 0 else precision}f}"
        return str(value)

    array = np.asarray(concrete("strings.as_string", input))
    return as_tensor(np.asarray(np.frompyfunc(written, 1, 1)(array)).astype(str))


def to_number(input: Any, out_type: Any = "float32", name: Any = None) -> Any:
    """Parse strings as numbers."""
    if isinstance(input, Ragged):
        return Ragged(to_number(row, out_type) for row in input)
    if "int" in str(kind(out_type)):
        return _each("to_number", input, int, kind(out_type))
    return _each("to_number", input, float, kind(out_type))


def to_hash_bucket_fast(input: Any, num_buckets: int, name: Any = None) -> Any:
    """The bin of each string by FarmHash, as in `layers.Hashing`."""
    return _each(
        "to_hash_bucket_fast",
        input,
        lambda text: fingerprint(text.encode()) % int(num_buckets),
        np.int64,
    )


to_hash_bucket = to_hash_bucket_fast


def format(template: str, inputs: Any = (), name: Any = None) -> Any:
    """Format a string by replacing {} with values."""
    given = inputs if isinstance(inputs, (list, tuple)) else (inputs,)
    parts = [np.asarray(tensor(value)) for value in given]
    return as_tensor(np.asarray(template.format(*parts)))
