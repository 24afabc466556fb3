"""50,000 film reviews, labelled positive or negative (Maas et al. 2011)."""

from __future__ import annotations

import os

import numpy as np

from kurve.core.entries import entry
from kurve.datasets import archives, reviews
from kurve.datasets.files import Images


@entry
def load_data(
    path: str | os.PathLike[str] = "imdb.npz",
    num_words: int | None = None,
    skip_top: int = 0,
    maxlen: int | None = None,
    seed: int = 113,
    start_char: int | None = 1,
    oov_char: int | None = 2,
    index_from: int = 3,
) -> Images:
    """(x_train, y_train), (x_test, y_test): x (n,) lists of word indices, the most
    frequent word first; y (n,) 0 or 1.

    Args:
        path: a file like Keras's imdb.npz; a bare name is searched for (see
            `kurve.datasets.files.folders`).
        num_words: word indices from this one on become `oov_char`.
        skip_top: so do indices below this one.
        maxlen: texts of at least this length are dropped.
        seed: seed of the row order.
        start_char: the index at the start of each text.
        oov_char: see above; None drops such words.
        index_from: added to all word indices.

    Raises:
        FileNotFoundError: file not found.
        ValueError: the file is damaged, or a limit leaves no text.
    """
    reviews.check("imdb", num_words=num_words, skip_top=skip_top, maxlen=maxlen)
    file = archives.find("imdb", path, ["imdb.npz"], f"{archives.KERAS}imdb.npz")
    names = ["x_train", "y_train", "x_test", "y_test"]
    x, y, x_test, y_test = reviews.texts("imdb", file, names)
    parts, draw = [], archives.random_of(seed)
    for rows, classes in ((x, y), (x_test, y_test)):
        rows, classes = archives.shuffled(draw, rows, classes)
        marked = reviews.marked(rows, start_char, index_from)
        parts.append(reviews.shorter(maxlen, marked, classes))
    if not all(rows for rows, _ in parts):
        raise ValueError(
            "[imdb] maxlen leaves no text. "
            f"Received: maxlen={maxlen!r}. Try maxlen=500."
        )
    both = reviews.limited(parts[0][0] + parts[1][0], num_words, skip_top, oov_char)
    first = len(parts[0][0])
    labels = np.concatenate([classes for _, classes in parts])
    return (
        (reviews.ragged(both[:first]), labels[:first]),
        (reviews.ragged(both[first:]), labels[first:]),
    )


@entry
def get_word_index(
    path: str | os.PathLike[str] = "imdb_word_index.json",
) -> dict[str, int]:
    """The index of each word, to which `load_data` adds `index_from`.

    Args:
        path: a file like Keras's imdb_word_index.json.

    Raises:
        FileNotFoundError: file not found.
        ValueError: the file is damaged.
    """
    return archives.words("imdb", path, "imdb_word_index.json")
