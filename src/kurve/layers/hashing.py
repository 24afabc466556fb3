"""Layers that hash values into bins, called on arrays or inputs of a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Unpack

import numpy as np

from kurve.core.arguments import from_signature, has_lone_surrogate, is_integer
from kurve.core.fingerprints import CROSS_KEY, fingerprint, joined, sip_hash
from kurve.core.results import result
from kurve.layers.encoding import Encoding, EncodingArguments, encoded, shape_of_encoded


def as_texts(where: str, x: Any) -> np.ndarray:
    """Convert integers and text to UTF-8 bytes, as TensorFlow does: an object array.

    Raises:
        TypeError: anything else.
    """
    array = x if isinstance(x, np.ndarray) else np.array(x)
    if array.dtype.kind == "f":  # TensorFlow truncates fractions
        array = array.astype(np.int64)
    if array.dtype.kind not in "iuSUO":
        raise TypeError(
            f"[{where}] x must hold text or whole numbers. "
            f"Received: an array of {array.dtype}. Try x.astype(str)."
        )
    texts = np.empty(array.shape, object)
    for place, value in np.ndenumerate(array):
        if isinstance(value, bytes):
            texts[place] = value
        elif isinstance(value, str) or is_integer(value):
            texts[place] = str(value).encode()
        else:
            raise TypeError(
                f"[{where}] x must hold text or whole numbers. "
                f"Received: {value!r}. Try x.astype(str)."
            )
    return texts


def checked_salt(where: str, salt: Any) -> tuple[int, int] | None:
    """The SipHash key: two integers, or one used for both."""
    pair = (salt, salt) if is_integer(salt) else salt
    if pair is None:
        return None
    if (
        not isinstance(pair, (list, tuple))
        or len(pair) != 2
        or not all(map(is_integer, pair))
    ):
        raise ValueError(
            f"[{where}] salt must be None, an integer or two of them. "
            f"Received: salt={salt!r}. Try salt=1337."
        )
    return int(pair[0]), int(pair[1])


def hashed(texts: np.ndarray, bins: int, salt: tuple[int, int] | None) -> np.ndarray:
    """The bin of each text: its FarmHash, or SipHash with a salt, modulo bins."""
    one: Callable[[bytes], int] = fingerprint
    if salt is not None:

        def one(s: bytes) -> int:
            return sip_hash(s, salt)

    known = {text: one(text) % bins for text in set(texts.flat)}
    found = [known[text] for text in texts.flat]
    return np.array(found, np.int64).reshape(texts.shape)


class Hashing(Encoding):
    """Hash text or whole numbers into bins; no vocabulary is needed, and different
    values can share a bin.

    Source: FarmHash64, and SipHash64 with a salt; arguments and bins are those of
            keras.layers.Hashing, which computes with TensorFlow.

    Args:
        num_bins: at least 1.
        mask_value: a value that gets bin 0 to itself.
        salt: None, or the SipHash64 key: one or two integers.
        output_mode: "int", "one_hot", "multi_hot" or "count", see `CategoryEncoding`.
        sparse: False.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: num_bins below 1, or an invalid salt or mode.
        TypeError: values that are neither text nor numbers.

    Example:
        >>> kurve.layers.Hashing(3)([["A"], ["B"], ["C"], ["D"], ["E"]]).ravel()
        array([1, 0, 1, 1, 2])
    """

    arguments = from_signature()

    def __init__(
        self,
        num_bins: int,
        mask_value: str | int | None = None,
        salt: int | Sequence[int] | None = None,
        output_mode: str = "int",
        **common: Unpack[EncodingArguments],
    ) -> None:
        _accept_integers(common)
        super().__init__(**common)
        self.num_bins = self.count("num_bins", num_bins)
        self.salt = checked_salt("Hashing", salt)
        self.output_mode = self.mode(output_mode)
        is_text = isinstance(mask_value, str) and not has_lone_surrogate(mask_value)
        if not (mask_value is None or is_text or is_integer(mask_value)):
            raise ValueError(
                "[Hashing] mask_value must be None, a string or a whole number. "
                f"Received: mask_value={mask_value!r}. Try mask_value=''."
            )
        self.mask_value = mask_value

    def __call__(self, x: Any) -> np.ndarray:  # type: ignore[override]
        """The bins of x."""
        if self.is_symbolic(x):
            return super().__call__(x)
        texts, masks = as_texts("Hashing", x), self.mask_value is not None
        reserved = masks and self.num_bins > 1
        bins = hashed(texts, self.num_bins - reserved, self.salt)
        if reserved:
            bins = np.where(texts == str(self.mask_value).encode(), 0, bins + 1)
        return result(encoded(bins, self.output_mode, self.num_bins))

    def encoded_shape(self, *shapes: Any) -> Any:
        return shape_of_encoded(shapes[0], self.output_mode, self.num_bins)


class HashedCrossing(Encoding):
    """Cross two or more columns: hash each combination of values into a bin.

    Source: arguments and bins are those of keras.layers.HashedCrossing, which computes
            with TensorFlow.

    Args:
        num_bins: at least 1.
        output_mode: "int" or "one_hot", see `CategoryEncoding`.
        sparse: False.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: num_bins below 1, one column only, or columns of different shapes.
        TypeError: values that are neither text nor whole numbers.

    Example:
        >>> layer = kurve.layers.HashedCrossing(5)
        >>> layer([["A", "B", "A", "B", "A"], [101, 101, 101, 102, 102]])
        array([1, 4, 1, 1, 3])
    """

    arguments = from_signature()

    def __init__(
        self,
        num_bins: int,
        output_mode: str = "int",
        **common: Unpack[EncodingArguments],
    ) -> None:
        _accept_integers(common)
        super().__init__(**common)
        self.num_bins = self.count("num_bins", num_bins)
        self.output_mode = self.mode(output_mode, ("int", "one_hot"))

    def __call__(self, x: Any) -> np.ndarray:  # type: ignore[override]
        """The bins of the combinations.

        Args:
            x: two or more arrays (B,) or (B, 1).
        """
        if self.is_symbolic(x):
            return super().__call__(x)
        columns = [np.asarray(column) for column in x]
        shapes = {column.shape for column in columns}
        if len(columns) < 2 or len(shapes) != 1:
            raise ValueError(
                "[HashedCrossing] x must be two or more arrays of the same shape. "
                f"Received: {[one.shape for one in columns]}. Try [first, second]."
            )
        (shape,) = shapes
        if len(shape) > 2 or (len(shape) == 2 and shape[1] != 1):
            raise ValueError(
                "[HashedCrossing] arrays must have the shape (B,) or (B, 1). "
                f"Received: {shape}. Try one column at a time."
            )
        keys = [self._keys(column) for column in columns]
        bins = np.empty(shape, np.int64)
        for place in np.ndindex(shape):
            crossed = CROSS_KEY
            for key in keys:
                crossed = joined(crossed, int(key[place]))
            bins[place] = crossed % self.num_bins
        return result(encoded(bins, self.output_mode, self.num_bins))

    encoded_shape = Hashing.encoded_shape

    def _keys(self, column: np.ndarray) -> np.ndarray:
        """A number per value: the value itself, or the hash of a text."""
        if column.dtype.kind in "iu":
            return column.astype(object) & (2**64 - 1)
        if column.dtype.kind == "f":
            raise TypeError(
                "[HashedCrossing] x must hold text or whole numbers. "
                f"Received: an array of {column.dtype}. Try x.astype(int)."
            )
        texts = as_texts("HashedCrossing", column)
        return np.frompyfunc(fingerprint, 1, 1)(texts)


def _accept_integers(common: Any) -> None:
    """Keras's integer layers accept an integer dtype; results here are int64."""
    dtype = common.get("dtype")
    if dtype is np.int32 or dtype is np.int64 or str(dtype) in ("int32", "int64"):
        common.pop("dtype")
