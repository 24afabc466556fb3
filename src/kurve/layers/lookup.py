"""Layers that index the values of a vocabulary, called on arrays; IntegerLookup also
works in a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np

from kurve.core.arguments import from_signature, is_integer
from kurve.formulas import functions as ops
from kurve.layers.encoding import (
    EncodingArguments,
    as_integers,
    traced,
)
from kurve.layers.hashing import as_texts, hashed
from kurve.layers.vocabulary import Lookup

EXACT = 2**24
"""Integers below this are exact in float32."""


class IntegerLookup(Lookup):
    """Map integers to indices of a vocabulary.

    Source: arguments and indices follow keras.layers.IntegerLookup.

    Args:
        max_tokens: maximum number of indices, including special ones; None for no
            limit.
        num_oov_indices: indices for numbers outside the vocabulary; with 0, these are
            an error; with several, the index is the number modulo num_oov_indices.
        mask_token: None, or a number with index 0 (with no index in modes other than
            "int").
        oov_token: the number that represents unknown ones when inverted.
        vocabulary: distinct numbers, or the path of a text file; None for `adapt`.
        vocabulary_dtype: "int64".
        idf_weights: one weight per value, in mode "tf_idf".
        invert: whether to map indices back to numbers.
        output_mode: "int", "one_hot", "multi_hot", "count" or "tf_idf" (a count times
            log(1 + rows / (1 + rows with the value))), see `CategoryEncoding`.
        sparse: False.
        pad_to_max_tokens: whether to pad rows to max_tokens columns.
        oov_method: "floormod", or "farmhash" for the hash of `Hashing`.
        salt: see `Hashing`; only for "farmhash".
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: an invalid value, or a vocabulary that does not fit.

    Example:
        >>> layer = kurve.layers.IntegerLookup(vocabulary=[12, 36, 1138])
        >>> layer([[12, 36], [7, 1138]])
        array([[1, 2],
               [0, 3]])
    """

    arguments = (*Lookup.arguments, "oov_method", "salt")

    def __init__(
        self,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        mask_token: int | None = None,
        oov_token: int | None = -1,
        vocabulary: Any = None,
        vocabulary_dtype: str = "int64",
        idf_weights: Sequence[float] | None = None,
        invert: bool = False,
        output_mode: str = "int",
        pad_to_max_tokens: bool = False,
        oov_method: str = "floormod",
        salt: int | Sequence[int] | None = None,
        **common: Unpack[EncodingArguments],
    ) -> None:
        for name, token in (("mask_token", mask_token), ("oov_token", oov_token)):
            self._refuse(
                token is not None and not is_integer(token),
                f"{name} must be a whole number or None",
                f"{name}={token!r}",
                f"{name}=-1",
            )
        self._refuse(
            not isinstance(vocabulary_dtype, str) or vocabulary_dtype != "int64",
            "vocabulary_dtype can only be 'int64'",
            f"vocabulary_dtype={vocabulary_dtype!r}",
            "vocabulary_dtype='int64'",
        )
        self._refuse(
            not isinstance(oov_method, str)
            or oov_method not in ("floormod", "farmhash"),
            "oov_method must be 'floormod' or 'farmhash'",
            f"oov_method={oov_method!r}",
            "oov_method='floormod'",
        )
        self._refuse(
            salt is not None and oov_method != "farmhash",
            "salt needs oov_method='farmhash'",
            f"oov_method={oov_method!r}",
            "oov_method='farmhash'",
        )
        self.oov_method = oov_method
        super().__init__(
            max_tokens,
            num_oov_indices,
            mask_token,
            oov_token,
            vocabulary,
            idf_weights,
            invert,
            output_mode,
            pad_to_max_tokens,
            salt,
            **common,
        )

    def _values(self, x: Any) -> np.ndarray:
        return as_integers("IntegerLookup", x)

    def _line(self, text: str) -> int:
        return int(text)

    def _outside(self, values: np.ndarray) -> np.ndarray:
        if self.oov_method == "farmhash":
            texts = as_texts("IntegerLookup", values)
            return hashed(texts, self.num_oov_indices, self.salt)
        return np.asarray(values % self.num_oov_indices)

    def call(self, x: Any) -> Any:
        """The forward pass in a model."""
        tokens = np.asarray(self._tokens, np.float64)
        for wrong, rule, received, fix in (
            (not self._tokens, "there is no vocabulary yet", "a call", "adapt(x)"),
            (self.invert, "a model cannot invert", "invert=True", "layer(y)"),
            (
                self.num_oov_indices == 0,
                "a model needs an index for unknown numbers",
                "num_oov_indices=0",
                "num_oov_indices=1",
            ),
            (
                self.num_oov_indices > 1 and self.oov_method != "floormod",
                "a model cannot hash",
                f"oov_method={self.oov_method!r}",
                "oov_method='floormod'",
            ),
            (
                bool((np.abs(tokens) >= EXACT).any()),
                f"a model computes in float32, with whole numbers up to {EXACT}",
                f"{np.abs(tokens).max(initial=0.0):.0f} in the vocabulary",
                "model.fit(layer(x), y)",
            ),
        ):
            self._refuse(wrong, rule, received, fix)
        same = ops.cast(ops.equal(ops.expand_dims(x, -1), tokens), "float32")
        places = np.arange(self._start, self._start + len(tokens))
        index = ops.sum(same * places.astype(np.float32), axis=-1)
        outside = float(self._masks) + (
            ops.mod(x, float(self.num_oov_indices)) if self.num_oov_indices > 1 else 0.0
        )
        index = ops.where(ops.greater(ops.sum(same, axis=-1), 0.5), index, outside)
        if self.mask_token is not None:
            masked = 0.0 if self._masks else -1.0
            index = ops.where(ops.equal(x, float(self.mask_token)), masked, index)
        if self.output_mode != "tf_idf":
            return traced(index, self.output_mode, self._depth)
        return traced(index, "count", self._depth) * self._weights()

    def _values_of(self, indices: np.ndarray) -> np.ndarray:
        values = super()._values_of(indices)
        return values if self.oov_token is None else values.astype(np.int64)


class StringLookup(Lookup):
    """Map strings to indices of a vocabulary.

    Source: arguments and indices follow keras.layers.StringLookup.

    Args:
        max_tokens, idf_weights, invert, output_mode, sparse, pad_to_max_tokens: see
            `IntegerLookup`.
        num_oov_indices: indices for strings outside the vocabulary; with 0, these are
            an error; with several, the index is chosen by the hash of `Hashing`.
        mask_token, oov_token: strings or None, see `IntegerLookup`.
        vocabulary: distinct strings, or the path of a text file; None for `adapt`.
        encoding: "utf-8".
        salt: see `Hashing`.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: an invalid value, or a vocabulary that does not fit.
        TypeError: values that are not strings.

    Example:
        >>> layer = kurve.layers.StringLookup()
        >>> layer.adapt([["b", "a"], ["b", "c"]])
        >>> layer.get_vocabulary()
        ['[UNK]', 'b', 'c', 'a']
        >>> layer(["a", "x"])
        array([3, 0])
    """

    arguments = from_signature()

    def __init__(
        self,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        mask_token: str | None = None,
        oov_token: str | None = "[UNK]",
        vocabulary: Any = None,
        idf_weights: Sequence[float] | None = None,
        invert: bool = False,
        output_mode: str = "int",
        pad_to_max_tokens: bool = False,
        encoding: str = "utf-8",
        salt: int | Sequence[int] | None = None,
        **common: Unpack[EncodingArguments],
    ) -> None:
        for name, token in (("mask_token", mask_token), ("oov_token", oov_token)):
            self._refuse(
                token is not None and not isinstance(token, str),
                f"{name} must be a string or None",
                f"{name}={token!r}",
                f"{name}='[UNK]'",
            )
        self._refuse(
            str(encoding) not in ("utf-8", "utf8", "UTF-8"),
            "encoding can only be 'utf-8'",
            f"encoding={encoding!r}",
            "encoding='utf-8'",
        )
        self.encoding = "utf-8"
        super().__init__(
            max_tokens,
            num_oov_indices,
            mask_token,
            oov_token,
            vocabulary,
            idf_weights,
            invert,
            output_mode,
            pad_to_max_tokens,
            salt,
            **common,
        )

    def _values(self, x: Any) -> np.ndarray:
        texts = as_texts("StringLookup", x)
        return np.frompyfunc(lambda text: text.decode("utf-8", "replace"), 1, 1)(texts)

    def _line(self, text: str) -> str:
        return text

    def _outside(self, values: np.ndarray) -> np.ndarray:
        return hashed(as_texts("StringLookup", values), self.num_oov_indices, self.salt)
