"""The base class of layers that index the values of a vocabulary."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from kurve.core.arguments import check_flag
from kurve.core.arrays import as_numbers
from kurve.core.results import result
from kurve.errors import MissingFileError
from kurve.layers.adapting import batches
from kurve.layers.encoding import (
    Encoding,
    EncodingArguments,
    as_integers,
    encoded,
    shape_of_encoded,
)
from kurve.layers.hashing import checked_salt

LOOKUP_MODES = ("int", "one_hot", "multi_hot", "count", "tf_idf")


class Lookup(Encoding):
    """Base class. In mode "int", index 0 is the mask token, if there is one; the next
    num_oov_indices are for values outside the vocabulary; then come the values of the
    vocabulary."""

    arguments: tuple[str, ...] = (
        "max_tokens",
        "num_oov_indices",
        "mask_token",
        "oov_token",
        "vocabulary",
        "idf_weights",
        "invert",
        "output_mode",
        "pad_to_max_tokens",
    )

    def __init__(
        self,
        max_tokens: int | None,
        num_oov_indices: int,
        mask_token: Any,
        oov_token: Any,
        vocabulary: Any,
        idf_weights: Any,
        invert: bool,
        output_mode: str,
        pad_to_max_tokens: bool,
        salt: Any,
        **common: Unpack[EncodingArguments],
    ) -> None:
        super().__init__(**common)
        where = type(self).__name__
        if max_tokens is not None:
            max_tokens = self.count("max_tokens", max_tokens, 2)
        self.max_tokens = max_tokens
        self.num_oov_indices = self.count("num_oov_indices", num_oov_indices, 0)
        self.mask_token, self.oov_token = mask_token, oov_token
        self.invert = check_flag(where, "invert", invert)
        self.output_mode = self.mode(output_mode, LOOKUP_MODES)
        self.pad_to_max_tokens = check_flag(
            where, "pad_to_max_tokens", pad_to_max_tokens
        )
        self.salt = checked_salt(where, salt)
        self._refuse(
            self.invert and self.output_mode != "int",
            "invert needs output_mode='int'",
            f"output_mode={output_mode!r}",
            "output_mode='int'",
        )
        self._refuse(
            self.pad_to_max_tokens and max_tokens is None,
            "pad_to_max_tokens needs max_tokens",
            "max_tokens=None",
            "max_tokens=100",
        )
        self._tokens: list[Any] = []
        self._is_given = vocabulary is not None
        self.idf_weights: tuple[float, ...] | None = None
        if self._is_given:
            self.set_vocabulary(vocabulary, idf_weights)
        else:
            self._refuse(
                idf_weights is not None,
                "idf_weights need a vocabulary",
                "idf_weights alone",
                "vocabulary=[...]",
            )

    def _refuse(self, wrong: bool, rule: str, received: str, fix: str) -> None:
        if wrong:
            where = type(self).__name__
            raise ValueError(f"[{where}] {rule}. Received: {received}. Try {fix}.")

    # ------------------------------------------------------------ hooks of subclasses

    def _values(self, x: Any) -> np.ndarray:
        """Convert x to an array of values that the vocabulary can hold."""
        raise NotImplementedError

    def _line(self, text: str) -> Any:
        """Parse a line of a vocabulary file."""
        raise NotImplementedError

    def _outside(self, values: np.ndarray) -> np.ndarray:
        """The out-of-vocabulary bucket, 0 to num_oov_indices - 1, of unknown values."""
        raise NotImplementedError

    # ------------------------------------------------------------ the vocabulary

    @property
    def _masks(self) -> int:
        return int(self.mask_token is not None and self.output_mode == "int")

    @property
    def _start(self) -> int:
        """The index of the first value of the vocabulary."""
        return self._masks + self.num_oov_indices

    @property
    def vocabulary(self) -> list[Any] | None:
        """The values without special tokens, for `get_config`."""
        return list(self._tokens) or None

    def vocabulary_size(self) -> int:
        """The number of indices, including special tokens."""
        return self._start + len(self._tokens)

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[Any]:
        """The value of each index.

        Args:
            include_special_tokens: whether to include the mask and out-of-vocabulary
                tokens.
        """
        special = [self.mask_token] * self._masks
        special += [self.oov_token] * self.num_oov_indices
        return [*(special if include_special_tokens else []), *self._tokens]

    def set_vocabulary(self, vocabulary: Any, idf_weights: Any = None) -> None:
        """Replace the vocabulary.

        Args:
            vocabulary: distinct values, or the path of a text file with one per line.
                It can start with the special tokens.
            idf_weights: in mode "tf_idf", one weight per value.

        Raises:
            ValueError: no values, duplicate values, or weights that do not match.
        """
        if isinstance(vocabulary, (str, Path)):
            tokens = [self._line(line) for line in _lines(vocabulary)]
        else:
            tokens = np.atleast_1d(self._values(vocabulary)).tolist()
        special = self.get_vocabulary()[: self._start]
        if special and tokens[: self._start] == special:
            tokens = tokens[self._start :]
        twice = [token for token, count in Counter(tokens).items() if count > 1]
        self._refuse(
            not tokens or bool(twice),
            "the vocabulary must hold distinct values",
            f"{twice[0]!r} twice" if twice else "nothing",
            "sorted(set(values))",
        )
        reserved = [self.mask_token] * (self.mask_token is not None)
        reserved += [self.oov_token] * self.invert
        self._refuse(
            any(token in tokens for token in reserved),
            "special tokens must either come first in the vocabulary, all in the "
            f"order {special}, or not be in it",
            f"a vocabulary of {len(tokens)} values with one of them",
            "a vocabulary without them",
        )
        room = None if self.max_tokens is None else self.max_tokens - self._start
        self._refuse(
            room is not None and len(tokens) > room,
            f"max_tokens={self.max_tokens} leaves room for {room} values",
            f"{len(tokens)} values",
            "a larger max_tokens",
        )
        needs, given = self.output_mode == "tf_idf", idf_weights is not None
        self._refuse(
            needs != given,
            "idf_weights must be passed for output_mode='tf_idf', and for no other",
            f"output_mode={self.output_mode!r}",
            "adapt(data), which computes them",
        )
        if given:
            array = as_numbers(type(self).__name__, "idf_weights", idf_weights)
            weights = array.astype(np.float32).ravel()
            if len(weights) == len(tokens):
                mean = weights.mean(dtype=np.float32)
                weights = np.concatenate([np.full(self._start, mean), weights])
            self._refuse(
                len(weights) != self._start + len(tokens),
                "there must be one weight per value",
                f"{len(array)} weights for {len(tokens)} values",
                "one per value",
            )
            self.idf_weights = tuple(weights.tolist())
        self._tokens = tokens

    def adapt(self, data: Any, steps: int | None = None) -> None:
        """Learn the vocabulary: all values, most frequent first and, among equally
        frequent ones, in reverse alphabetical order.

        Args:
            data: an array or nested list of values, or an iterable of batches.
            steps: number of batches to use; None for all.

        Raises:
            ValueError: a vocabulary was passed.
        """
        self._refuse(
            self._is_given,
            "adapt would replace the vocabulary that was passed",
            f"{len(self._tokens)} values",
            f"{type(self).__name__}() without a vocabulary",
        )
        counts, documents, rows = Counter[Any](), Counter[Any](), 0
        for batch in batches(data, steps):
            values = self._values(batch)
            values = values.reshape(-1, 1) if values.ndim < 2 else values
            counts.update(values.ravel().tolist())
            rows += len(values)
            if self.output_mode == "tf_idf":
                for row in values.reshape(len(values), -1):
                    documents.update(set(row.tolist()))
        for token in (self.mask_token, self.oov_token):
            counts.pop(token, None)

        def rank(token: Any) -> tuple[int, Any]:
            return counts[token], token.encode() if isinstance(token, str) else token

        tokens = sorted(counts, key=rank, reverse=True)
        if self.max_tokens is not None:
            tokens = tokens[: self.max_tokens - self._start]
        self._tokens = tokens
        if self.output_mode == "tf_idf":
            known = np.array([documents[token] for token in tokens], np.float64)
            weights = np.log(1 + rows / (1 + known)).astype(np.float32)
            start = np.full(self._start, weights.mean(dtype=np.float32))
            self.idf_weights = tuple(np.concatenate([start, weights]).tolist())

    # ------------------------------------------------------------ the call

    def __call__(self, x: Any) -> Any:  # type: ignore[override]
        """The indices of x, encoded according to output_mode; its values, if
        inverted."""
        if self.is_symbolic(x):
            return super().__call__(x)
        ragged = isinstance(x, list) and hasattr(x, "to_tensor")
        if ragged and self.output_mode == "int":  # rows of any lengths
            return type(x)(self(row) for row in x)
        self._refuse(
            not self._tokens,
            "there is no vocabulary yet",
            "a call",
            "layer.adapt(x) or vocabulary=[...]",
        )
        if self.invert:
            y = self._values_of(as_integers(type(self).__name__, x))
        elif self.output_mode != "tf_idf":
            indices = self._indices_of(self._values(x))
            y = encoded(indices, self.output_mode, self._depth)
        else:
            indices = self._indices_of(self._values(x))
            y = encoded(indices, "count", self._depth) * self._weights()
        found: np.ndarray = result(y)
        return found

    def encoded_shape(self, *shapes: Any) -> Any:
        if self.output_mode != "int":
            self._refuse(
                not self._tokens,
                "there is no vocabulary yet",
                "a call",
                "layer.adapt(x) or vocabulary=[...]",
            )
        return shape_of_encoded(shapes[0], self.output_mode, self._depth)

    @property
    def _depth(self) -> int:
        """The number of columns of a row."""
        if self.pad_to_max_tokens and self.max_tokens is not None:
            return self.max_tokens
        return self.vocabulary_size()

    def _weights(self) -> np.ndarray:
        """The weight of each column in mode "tf_idf"."""
        weights = np.zeros(self._depth, np.float32)
        weights[: self.vocabulary_size()] = self.idf_weights
        return weights

    def _indices_of(self, values: np.ndarray) -> np.ndarray:
        """The indices of values; -1 for a masked value without an index."""
        known = {token: self._start + i for i, token in enumerate(self._tokens)}
        found = [known.get(value, -1) for value in values.ravel().tolist()]
        indices = np.array(found, np.int64).reshape(values.shape)
        unknown = indices < 0
        if self.mask_token is not None:
            masked = values == self.mask_token
            unknown &= ~masked
            indices[masked] = 0 if self._masks else -1
        if unknown.any():
            self._refuse(
                self.num_oov_indices == 0,
                "all values must be in the vocabulary, because num_oov_indices=0",
                f"{values[unknown].tolist()[0]!r}",
                "num_oov_indices=1",
            )
            outside = self._outside(values[unknown])
            indices[unknown] = self._masks + outside
        return indices

    def _values_of(self, indices: np.ndarray) -> np.ndarray:
        table = np.array(self.get_vocabulary(), object)
        inside = (indices >= 0) & (indices < len(table))
        values = np.full(indices.shape, self.oov_token, object)
        values[inside] = table[indices[inside]]
        return values


def _lines(path: str | Path) -> list[str]:
    """The lines of a text file."""
    if not Path(path).is_file():
        raise MissingFileError(
            f"[vocabulary] no such file. Received: {str(path)!r}. Try a list of values."
        )
    return Path(path).read_text("utf-8").splitlines()
