"""Text vectorization: sentences become words, words indices of a vocabulary."""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Unpack

import numpy as np

from kurve.core.arguments import check_unused, from_signature, is_count
from kurve.core.results import result
from kurve.layers.adapting import batches
from kurve.layers.encoding import Encoding, EncodingArguments
from kurve.layers.hashing import as_texts
from kurve.layers.lookup import StringLookup

STANDARDIZE = ("lower_and_strip_punctuation", "lower", "strip_punctuation")
SPLIT = ("whitespace", "character")
TEXT_MODES = ("int", "multi_hot", "count", "tf_idf")

Words = list[list[str]]


class TextVectorizationArguments(EncodingArguments, total=False):
    """Keras's arguments of `TextVectorization`."""

    ragged: bool


class TextVectorization(Encoding):
    """Convert sentences to word indices: `model.fit(layer(x), y)`, or in a model, on an
    `Input` of dtype "string".

    A sentence is standardized, split into words, which can be joined to n-grams;
    then each is an index of a vocabulary, as in `StringLookup`: 0 for padding and
    1 for unknown words with output_mode="int"; otherwise 0 for unknown words.

    Shapes: x (B,) or (B, 1), texts -> y (B, L) with output_mode="int", L words; else
            (B, V), one column per index
    Source: arguments and indices follow keras.layers.TextVectorization.

    Args:
        max_tokens: maximum number of indices, including special ones; None for no
            limit.
        standardize: "lower_and_strip_punctuation", "lower" or "strip_punctuation", of
            ASCII letters and punctuation; a function of an array of strings; or None.
        split: "whitespace", "character", a function from an array of strings to a list
            of words for each, or None for strings that are single words.
        ngrams: None, n for n-grams of up to n words joined by a space, or the sizes of
            n-grams.
        output_mode: "int", "multi_hot", "count" or "tf_idf", see `IntegerLookup`.
        output_sequence_length: L, for output_mode="int": sentences are truncated or
            padded with 0; None for the length of the longest.
        pad_to_max_tokens: whether to pad rows to max_tokens columns, in other modes.
        vocabulary: distinct words, or the path of a text file; None for `adapt`.
        idf_weights: one weight per word, in mode "tf_idf".
        sparse, ragged: False.
        encoding: "utf-8".
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: an invalid value, a vocabulary that does not fit, or too many axes.
        TypeError: values that are not strings.

    Example:
        >>> layer = kurve.layers.TextVectorization(output_sequence_length=4)
        >>> layer.adapt(["foo bar", "bar baz", "baz bada boom"])
        >>> layer.get_vocabulary()
        ['', '[UNK]', 'baz', 'bar', 'foo', 'boom', 'bada']
        >>> layer(["Foo, qux BAR!", "qux baz"])
        array([[4, 1, 3, 0],
               [1, 2, 0, 0]])
    """

    arguments = from_signature()

    def __init__(
        self,
        max_tokens: int | None = None,
        standardize: str | Callable[..., Any] | None = "lower_and_strip_punctuation",
        split: str | Callable[..., Any] | None = "whitespace",
        ngrams: int | Sequence[int] | None = None,
        output_mode: str = "int",
        output_sequence_length: int | None = None,
        pad_to_max_tokens: bool = False,
        vocabulary: Any = None,
        idf_weights: Sequence[float] | None = None,
        encoding: str = "utf-8",
        **common: Unpack[TextVectorizationArguments],
    ) -> None:
        others: Any = dict(common)
        check_unused("TextVectorization", ragged=others.pop("ragged", False))
        super().__init__(**others)
        self.standardize = self._choice("standardize", standardize, STANDARDIZE)
        self.split = self._choice("split", split, SPLIT)
        self.ngrams = self._widths(ngrams)
        self.output_mode = self.mode(output_mode, TEXT_MODES)
        if output_sequence_length is not None:
            if self.output_mode != "int":
                raise ValueError(
                    "[TextVectorization] output_sequence_length needs "
                    "output_mode='int'. Received: output_sequence_length="
                    f"{output_sequence_length!r}, output_mode={output_mode!r}. "
                    "Try output_sequence_length=None."
                )
            output_sequence_length = self.count(
                "output_sequence_length", output_sequence_length
            )
        self.output_sequence_length = output_sequence_length
        self._lookup = StringLookup(
            max_tokens,
            mask_token="",
            vocabulary=vocabulary,
            idf_weights=idf_weights,
            output_mode=self.output_mode,
            pad_to_max_tokens=pad_to_max_tokens,
            encoding=encoding,
            name=f"{self.name}_lookup",
        )
        self.max_tokens, self.encoding = self._lookup.max_tokens, self._lookup.encoding
        self.pad_to_max_tokens = self._lookup.pad_to_max_tokens

    def _choice(self, name: str, given: Any, known: Sequence[str]) -> Any:
        if given is None or callable(given) or str(given) in known:
            return given
        raise ValueError(
            f"[TextVectorization] {name} must be None, a function or one of "
            f"{', '.join(map(repr, known))}. Received: {name}={given!r}. "
            f"Try {name}={known[0]!r}."
        )

    def _widths(self, ngrams: Any) -> tuple[int, ...] | int | None:
        several = isinstance(ngrams, (list, tuple)) and len(ngrams) > 0
        if not (ngrams is None or is_count(ngrams) or several) or (
            several and not all(map(is_count, ngrams))
        ):
            raise ValueError(
                "[TextVectorization] ngrams must be None, a positive integer or "
                f"several. Received: ngrams={ngrams!r}. Try ngrams=2."
            )
        return tuple(int(n) for n in ngrams) if several else ngrams

    @property
    def vocabulary(self) -> list[str] | None:
        """The words without special tokens, for `get_config`."""
        return self._lookup.vocabulary

    @property
    def idf_weights(self) -> tuple[float, ...] | None:
        """In the mode "tf_idf", the weight of each index."""
        return self._lookup.idf_weights

    def vocabulary_size(self) -> int:
        """The number of indices, including special tokens."""
        return self._lookup.vocabulary_size()

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[str]:
        """The word of each index.

        Args:
            include_special_tokens: whether to include padding and unknown tokens.
        """
        return self._lookup.get_vocabulary(include_special_tokens)

    def set_vocabulary(self, vocabulary: Any, idf_weights: Any = None) -> None:
        """Replace the vocabulary.

        Args:
            vocabulary, idf_weights: see `StringLookup.set_vocabulary`.
        """
        self._lookup.set_vocabulary(vocabulary, idf_weights)

    def adapt(
        self, data: Any, batch_size: int | None = None, steps: int | None = None
    ) -> None:
        """Learn the vocabulary: all words, most frequent first and, among equally
        frequent ones, in reverse alphabetical order.

        Args:
            data: an array or list of strings, or an iterable of batches.
            batch_size: unused.
            steps: number of batches to use; None for all.

        Raises:
            ValueError: a vocabulary was passed.
        """

        def words() -> Iterator[np.ndarray]:
            for batch in batches(data, steps):
                yield self._padded(self._words(batch))

        self._lookup.adapt(words())

    def __call__(self, x: Any) -> np.ndarray:  # type: ignore[override]
        """Vectorize strings.

        Args:
            x: strings, (B,) or (B, 1).
        """
        if self.is_symbolic(x):
            return super().__call__(x)
        if self.split is None:
            texts = self._standardized(x)
            if self.ngrams is None:
                return result(self._cut(self._lookup(texts)))
        single = np.ndim(x) == 0
        y = self._cut(self._lookup(self._padded(self._words(x))))
        return result(y[0] if single else y)

    def encoded_shape(self, *shapes: Any) -> Any:
        if self.output_mode != "int":
            return self._lookup.encoded_shape((None, None))
        shape = tuple(shapes[0])
        length = self.output_sequence_length
        if self.split is None and self.ngrams is None and len(shape) > 1:
            return shape if length is None else (*shape[:-1], length)
        return (*shape[:1], length)

    def _cut(self, y: np.ndarray) -> np.ndarray:
        """Truncate or pad indices to output_sequence_length."""
        length = self.output_sequence_length
        if length is None:
            return y
        missing = max(0, length - y.shape[-1])
        y = np.pad(y, [(0, 0)] * (y.ndim - 1) + [(0, missing)])
        return y[..., :length]

    def _standardized(self, x: Any) -> np.ndarray:
        """Standardize strings; returns an object array."""
        texts = as_texts("TextVectorization", x)
        decode = np.frompyfunc(lambda text: text.decode("utf-8", "replace"), 1, 1)
        if callable(self.standardize):
            given = np.asarray(decode(texts)).astype(str)
            return np.asarray(self.standardize(given)).astype(str).astype(object)
        how = self.standardize or ""

        def standard(text: bytes) -> bytes:
            text = text.lower() if "lower" in how else text
            signs = string.punctuation.encode() if "strip" in how else b""
            return text.translate(None, signs)

        return np.asarray(decode(np.frompyfunc(standard, 1, 1)(texts)), object)

    def _words(self, x: Any) -> Words:
        """The words of each text, or n-grams of them."""
        texts = self._standardized(x)
        if self.split is None:
            rows: Words = np.atleast_2d(texts.T).T.tolist()
        else:
            if texts.ndim > 1 and texts.shape[-1] == 1:
                texts = texts[..., 0]
            texts = np.atleast_1d(texts)
            if texts.ndim != 1:
                raise ValueError(
                    "[TextVectorization] texts to split must be (B,) or (B, 1). "
                    f"Received: shape {texts.shape}. Try split=None for words."
                )
            rows = self._split(texts)
        if self.ngrams is None:
            return rows
        widths: Sequence[int] = (
            range(1, self.ngrams + 1) if isinstance(self.ngrams, int) else self.ngrams
        )
        return [
            [
                " ".join(row[i : i + width])
                for width in widths
                for i in range(len(row) - width + 1)
            ]
            for row in rows
        ]

    def _split(self, texts: np.ndarray) -> Words:
        if callable(self.split):
            return [[str(w) for w in row] for row in self.split(texts.astype(str))]
        if self.split == "character":
            return [list(text) for text in texts]
        # Split at ASCII whitespace.
        return [[w.decode() for w in text.encode().split()] for text in texts]

    def _padded(self, rows: Words) -> np.ndarray:
        """The words as an array, with shorter rows padded by empty strings."""
        length = max(map(len, rows), default=0)
        padded = np.full((len(rows), max(length, 1)), "", object)
        for i, row in enumerate(rows):
            padded[i, : len(row)] = row
        return padded
