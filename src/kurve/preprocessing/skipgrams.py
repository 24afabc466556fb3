"""Word pairs for skip-gram models."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from kurve.core.arguments import check_integer


def make_sampling_table(size: int, sampling_factor: float = 1e-5) -> np.ndarray:
    """The probability of keeping each of `size` words, indexed by rank.

    Zipf's law gives the word of rank r about the share f(r) = 1 / (r (log r + g) + 1/2
    - 1 / (12 r)) of a text, g = 0.577; a word is kept with probability
    min(1, sqrt(s / f)), where s is sampling_factor (Mikolov et al. 2013).

    Args:
        size: number of words.
        sampling_factor: s.

    Raises:
        ValueError: a size below 1.

    Example:
        >>> from kurve.preprocessing.sequence import make_sampling_table
        >>> bool(make_sampling_table(1000)[1] < make_sampling_table(1000)[999])
        True
    """
    check_integer("make_sampling_table", "size", size, 10000)
    rank = np.maximum(np.arange(size, dtype=float), 1.0)
    inverse = rank * (np.log(rank) + 0.577) + 0.5 - 1.0 / (12.0 * rank)
    return np.asarray(np.minimum(1.0, np.sqrt(sampling_factor * inverse)))


def skipgrams(
    sequence: Sequence[int],
    vocabulary_size: int,
    window_size: int = 4,
    negative_samples: float = 1.0,
    shuffle: bool = True,
    categorical: bool = False,
    sampling_table: Any = None,
    seed: int | None = None,
) -> tuple[list[list[int]], list[Any]]:
    """Word pairs, and whether the words are near each other: (pairs, labels).

    Args:
        sequence: word indices; 0 means no word.
        vocabulary_size: the largest index plus 1.
        window_size: maximum distance between two words.
        negative_samples: number of pairs with a random word per real pair.
        shuffle: whether to shuffle.
        categorical: whether labels are [1, 0] and [0, 1] instead of 0 and 1.
        sampling_table: the probability of keeping each word, or None for 1.
        seed: seed of Python's `random`, which is used.

    Example:
        >>> from kurve.preprocessing.sequence import skipgrams
        >>> skipgrams([1, 2, 3], 4, 1, negative_samples=0.0, shuffle=False)
        ([[1, 2], [2, 1], [2, 3], [3, 2]], [1, 1, 1, 1])
    """
    pairs: list[list[int]] = []
    for i, word in enumerate(sequence):
        if not word:
            continue
        if sampling_table is not None and sampling_table[word] < random.random():
            continue
        near = range(max(0, i - window_size), min(len(sequence), i + window_size + 1))
        pairs += [[word, sequence[j]] for j in near if j != i and sequence[j]]
    labels: list[Any] = [[0, 1] if categorical else 1] * len(pairs)
    count = int(len(pairs) * negative_samples)
    if count > 0:
        words = [pair[0] for pair in pairs]
        random.shuffle(words)
        pairs += [
            [words[i % len(words)], random.randint(1, vocabulary_size - 1)]
            for i in range(count)
        ]
        labels += [[1, 0] if categorical else 0] * count
    if shuffle:
        chosen = random.randint(0, 10**6) if seed is None else seed
        for column in (pairs, labels):
            random.Random(chosen).shuffle(column)
    return pairs, labels
