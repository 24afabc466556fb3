"""Keras's old helpers for text tokenization."""

from __future__ import annotations

import json
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from kurve.core.arguments import check_integer, is_count
from kurve.core.entries import Entrance, entries, entry
from kurve.core.later import absent as _absent
from kurve.errors import lookup

FILTERS = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'
"""Characters that are not part of a word."""

_FORMS = ("binary", "count", "tfidf", "freq")


@entry
def text_to_word_sequence(
    input_text: str, filters: str = FILTERS, lower: bool = True, split: str = " "
) -> list[str]:
    """Split a text into words.

    Args:
        input_text: the text.
        filters: characters that separate words.
        lower: whether to convert to lower case.
        split: additional word separator.

    Raises:
        TypeError: not a string.

    Example:
        >>> kurve.preprocessing.text.text_to_word_sequence("So, it is.")
        ['so', 'it', 'is']
    """
    if not isinstance(input_text, str):
        raise TypeError(
            "[text_to_word_sequence] input_text must be a string. "
            f"Received: {input_text!r:.80}. Try 'a few words'."
        )
    text = input_text.lower() if lower else input_text
    text = text.translate({ord(character): split for character in filters})
    return [word for word in text.split(split) if word]


@entry
def one_hot(
    input_text: str,
    n: int,
    filters: str = FILTERS,
    lower: bool = True,
    split: str = " ",
    analyzer: Callable[[str], Sequence[str]] | None = None,
) -> list[int]:
    """Hash each word to a number from 1 to n - 1, which words can share. Python's hash
    differs between processes, unless PYTHONHASHSEED is set.

    Args:
        input_text: the text.
        n: one more than the largest number.
        filters, lower, split: see `text_to_word_sequence`.
        analyzer: function that returns the words instead.

    Raises:
        TypeError, ValueError: not text, or n below 2.

    Example:
        >>> numbers = kurve.preprocessing.text.one_hot("to be or not to be", 50)
        >>> numbers[:2] == numbers[-2:]
        True
    """
    return hashing_trick(input_text, n, hash, filters, lower, split, analyzer)


@entry
def hashing_trick(
    text: str,
    n: int,
    hash_function: str | Callable[[str], int] | None = None,
    filters: str = FILTERS,
    lower: bool = True,
    split: str = " ",
    analyzer: Callable[[str], Sequence[str]] | None = None,
) -> list[int]:
    """Hash each word to a number from 1 to n - 1, which words can share.

    Args:
        text: the text.
        n: one more than the largest number.
        hash_function: "md5", which is the same everywhere; a function from a word to an
            integer; None for Python's `hash`.
        filters, lower, split: see `text_to_word_sequence`.
        analyzer: function that returns the words instead.

    Raises:
        TypeError, ValueError: not text, n below 2, or another function.

    Example:
        >>> kurve.preprocessing.text.hashing_trick("to be or not to be", 50, "md5")
        [15, 5, 8, 36, 15, 5]
    """
    check_integer("hashing_trick", "n", n, 1000, 2)
    number: Any = hash if hash_function is None else hash_function
    if not callable(number):
        number = lookup("hashing_trick", "hash_function", number, {"md5": _md5})
    given = text_to_word_sequence(text, filters, lower, split)
    words = given if analyzer is None else analyzer(text)
    return [number(word) % (n - 1) + 1 for word in words]


def _md5(word: str) -> int:
    import hashlib

    return int(hashlib.md5(word.encode(), usedforsecurity=False).hexdigest(), 16)


@entries
class Tokenizer(Entrance):
    """Maps words to indices: the most frequent word is 1, and 0 is reserved.

    `fit_on_texts` learns the words, `texts_to_sequences` returns their indices. A text
    is a string, or a list of words.

    Args:
        num_words: only indices below this are used.
        filters, split, lower: see `text_to_word_sequence`.
        char_level: whether each character is a word.
        oov_token: represents unknown words, with index 1.
        analyzer: function that returns the words of a text instead.
        document_count: number of texts learned before.

    Raises:
        TypeError, ValueError: num_words is not a positive integer.

    Example:
        >>> tokenizer = kurve.preprocessing.text.Tokenizer(oov_token="?")
        >>> tokenizer.fit_on_texts(["to be or not to be"])
        >>> tokenizer.texts_to_sequences(["to be is to do"])
        [[2, 3, 1, 2, 1]]
    """

    def __init__(
        self,
        num_words: int | None = None,
        filters: str = FILTERS,
        lower: bool = True,
        split: str = " ",
        char_level: bool = False,
        oov_token: str | None = None,
        analyzer: Callable[[str], Sequence[str]] | None = None,
        document_count: int = 0,
    ) -> None:
        if num_words is not None and not (
            is_count(num_words, 0) or (isinstance(num_words, float) and num_words > 0)
        ):
            raise ValueError(
                "[Tokenizer] num_words must be None or a positive integer. "
                f"Received: num_words={num_words!r}. Try num_words=10000."
            )
        self.num_words, self.filters, self.lower = num_words, filters, lower
        self.split, self.char_level, self.oov_token = split, char_level, oov_token
        self.analyzer, self.document_count = analyzer, document_count
        self.word_counts: OrderedDict[str, int] = OrderedDict()
        self.word_docs: defaultdict[str, int] = defaultdict(int)
        self.index_docs: defaultdict[int, int] = defaultdict(int)
        self.word_index: dict[str, int] = {}
        self.index_word: dict[int, str] = {}

    def _words(self, text: Any) -> Sequence[str]:
        if self.char_level or isinstance(text, (list, tuple)):
            if not self.lower:
                return text
            return text.lower() if isinstance(text, str) else [w.lower() for w in text]
        if self.analyzer is not None:
            return self.analyzer(text)
        return text_to_word_sequence(text, self.filters, self.lower, self.split)

    def fit_on_texts(self, texts: Iterable[Any]) -> None:
        """Learn the words in texts.

        Args:
            texts: strings, or lists of words.
        """
        for text in texts:
            self.document_count += 1
            words = self._words(text)
            for word in words:
                self.word_counts[word] = self.word_counts.get(word, 0) + 1
            for word in set(words):
                self.word_docs[word] += 1
        ordered = sorted(self.word_counts, key=lambda w: -self.word_counts[w])
        first = [] if self.oov_token is None else [self.oov_token]
        self.word_index = {word: i + 1 for i, word in enumerate(first + ordered)}
        self.index_word = {i: word for word, i in self.word_index.items()}
        for word, count in self.word_docs.items():
            self.index_docs[self.word_index[word]] = count

    def fit_on_sequences(self, sequences: Sequence[Sequence[int]]) -> None:
        """Count the sequences that contain each index, for `sequences_to_matrix`.

        Args:
            sequences: lists of numbers.
        """
        self.document_count += len(sequences)
        for sequence in sequences:
            for number in set(sequence):
                self.index_docs[number] += 1

    def texts_to_sequences(self, texts: Iterable[Any]) -> list[list[int]]:
        """The indices of the known words in each text.

        Args:
            texts: strings, or lists of words.
        """
        return list(self.texts_to_sequences_generator(texts))

    def texts_to_sequences_generator(self, texts: Iterable[Any]) -> Iterator[list[int]]:
        """`texts_to_sequences`, text by text.

        Args:
            texts: strings, or lists of words.
        """
        other = self.word_index.get(self.oov_token) if self.oov_token else None
        for text in texts:
            found = [self.word_index.get(word) for word in self._words(text)]
            numbers = [other if i is None or self._rare(i) else i for i in found]
            yield [number for number in numbers if number is not None]

    def _rare(self, number: int) -> bool:
        return bool(self.num_words) and number >= self.num_words  # type: ignore[operator]

    def sequences_to_texts(self, sequences: Iterable[Iterable[int]]) -> list[str]:
        """Convert indices back to words.

        Args:
            sequences: lists of numbers.
        """
        return list(self.sequences_to_texts_generator(sequences))

    def sequences_to_texts_generator(
        self, sequences: Iterable[Iterable[int]]
    ) -> Iterator[str]:
        """`sequences_to_texts`, text by text.

        Args:
            sequences: lists of numbers.
        """
        other = self.oov_token if self.oov_token in self.word_index else None
        for sequence in sequences:
            found = [(self.index_word.get(int(i)), int(i)) for i in sequence]
            words = [other if w is None or self._rare(i) else w for w, i in found]
            yield " ".join(word for word in words if word is not None)

    def texts_to_matrix(self, texts: Iterable[Any], mode: str = "binary") -> np.ndarray:
        """`sequences_to_matrix` of `texts_to_sequences`.

        Args:
            texts: strings, or lists of words.
            mode: see `sequences_to_matrix`.
        """
        return self.sequences_to_matrix(self.texts_to_sequences(texts), mode)

    def sequences_to_matrix(
        self, sequences: Sequence[Sequence[int]], mode: str = "binary"
    ) -> np.ndarray:
        """One row per text and one column per index: (n, num_words).

        Args:
            sequences: lists of numbers.
            mode: "binary" (1 if the word occurs), "count", "freq" (the fraction of all
                words) or "tfidf": (1 + log count) log(1 + n / (1 + n with the word)).

        Raises:
            ValueError: unknown mode, or nothing learned yet.
        """
        lookup("sequences_to_matrix", "mode", mode, dict.fromkeys(_FORMS))
        width = int(self.num_words or len(self.word_index) + 1)
        if width < 2 or (mode == "tfidf" and not self.document_count):
            raise ValueError(
                "[sequences_to_matrix] the words must be known. Received: a Tokenizer "
                "without texts. Try fit_on_texts(texts) before."
            )
        matrix = np.zeros((len(sequences), width))
        for row, sequence in zip(matrix, sequences, strict=True):
            for i, count in Counter(sequence).items():
                if not 0 <= i < width:
                    continue
                if mode == "tfidf":
                    with_it = 1 + self.index_docs.get(i, 0)
                    rare = np.log(1 + self.document_count / with_it)
                    row[i] = (1 + np.log(count)) * rare
                else:
                    row[i] = {"binary": 1, "count": count}.get(
                        mode, count / len(sequence)
                    )
        return matrix

    def get_config(self) -> dict[str, Any]:
        """Arguments and learned state, with tables as JSON."""
        tables = {
            name: json.dumps(getattr(self, name))
            for name in (
                "word_counts",
                "word_docs",
                "index_docs",
                "index_word",
                "word_index",
            )
        }
        return {
            "num_words": self.num_words,
            "filters": self.filters,
            "lower": self.lower,
            "split": self.split,
            "char_level": self.char_level,
            "oov_token": self.oov_token,
            "document_count": self.document_count,
            **tables,
        }

    def to_json(self, **kwargs: Any) -> str:
        """`get_config` as JSON, for `tokenizer_from_json`.

        Args:
            kwargs: arguments of `json.dumps`.
        """
        config = {"class_name": type(self).__name__, "config": self.get_config()}
        return json.dumps(config, **kwargs)


@entry
def tokenizer_from_json(json_string: str) -> Tokenizer:
    """Create a tokenizer from `to_json`.

    Args:
        json_string: the JSON text.

    Raises:
        ValueError: not such a text.

    Example:
        >>> tokenizer = kurve.preprocessing.text.Tokenizer()
        >>> tokenizer.fit_on_texts(["to be"])
        >>> text = tokenizer.to_json()
        >>> kurve.preprocessing.text.tokenizer_from_json(text).word_index
        {'to': 1, 'be': 2}
    """
    try:
        config = dict(json.loads(json_string)["config"])
        tables = {
            name: json.loads(config.pop(name))
            for name in ("word_counts", "word_docs", "index_docs", "word_index")
        }
        words = json.loads(config.pop("index_word"))
        tokenizer = Tokenizer(**config)
        tokenizer.word_counts = OrderedDict(tables["word_counts"])
        tokenizer.word_docs = defaultdict(int, tables["word_docs"])
        numbers = {int(k): v for k, v in tables["index_docs"].items()}
        tokenizer.index_docs = defaultdict(int, numbers)
        tokenizer.word_index = dict(tables["word_index"])
        tokenizer.index_word = {int(k): v for k, v in words.items()}
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            "[tokenizer_from_json] the text must be that of a Tokenizer's to_json(). "
            f"Received: {json_string!r:.60}, but {error}. Try tokenizer.to_json()."
        ) from error
    return tokenizer


__getattr__ = _absent(__name__)
