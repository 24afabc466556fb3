"""11,228 Reuters news items and their topics (1987)."""

from __future__ import annotations

import os

import numpy as np

from kurve.core.entries import entry
from kurve.datasets import archives, reviews
from kurve.datasets.files import Images

TOPICS = """
cocoa grain veg-oil earn acq wheat copper housing money-supply coffee sugar
trade reserves ship cotton carcass crude nat-gas cpi money-fx interest gnp
meal-feed alum oilseed gold tin strategic-metal livestock retail ipi iron-steel
rubber heat jobs lei bop zinc orange pet-chem dlr gas silver wpi hog lead
"""


@entry
def load_data(
    path: str | os.PathLike[str] = "reuters.npz",
    num_words: int | None = None,
    skip_top: int = 0,
    maxlen: int | None = None,
    test_split: float = 0.2,
    seed: int = 113,
    start_char: int | None = 1,
    oov_char: int | None = 2,
    index_from: int = 3,
) -> Images:
    """(x_train, y_train), (x_test, y_test): x (n,) lists of word indices, the most
    frequent word first; y (n,) the topic's index, see `get_label_names`.

    Args:
        path: a file like Keras's reuters.npz; a bare name is searched for (see
            `kurve.datasets.files.folders`).
        num_words: word indices from this one on become `oov_char`.
        skip_top: so do indices below this one.
        maxlen: texts of at least this length are dropped.
        test_split: fraction of the rows, the last ones, for testing.
        seed: seed of the row order.
        start_char: the index at the start of each text.
        oov_char: see above; None drops such words.
        index_from: added to all word indices.

    Raises:
        FileNotFoundError: file not found.
        ValueError: the file is damaged, or an invalid fraction.
    """
    archives.check_split("reuters", test_split)
    reviews.check("reuters", num_words=num_words, skip_top=skip_top, maxlen=maxlen)
    origin = f"{archives.KERAS}reuters.npz"
    file = archives.find("reuters", path, ["reuters.npz"], origin)
    x, y = archives.shuffled(
        archives.random_of(seed), *reviews.texts("reuters", file, ["x", "y"])
    )
    rows = reviews.marked(x, start_char, index_from)
    rows, y = reviews.shorter(maxlen, rows, y)
    if not rows:
        raise ValueError(
            "[reuters] maxlen leaves no text. "
            f"Received: maxlen={maxlen!r}. Try maxlen=500."
        )
    rows = reviews.limited(rows, num_words, skip_top, oov_char)
    first = int(len(rows) * (1 - test_split))
    return (
        (reviews.ragged(rows[:first]), np.array(y[:first])),
        (reviews.ragged(rows[first:]), np.array(y[first:])),
    )


@entry
def get_word_index(
    path: str | os.PathLike[str] = "reuters_word_index.json",
) -> dict[str, int]:
    """The index of each word, to which `load_data` adds `index_from`.

    Args:
        path: a file like Keras's reuters_word_index.json.

    Raises:
        FileNotFoundError: file not found.
        ValueError: the file is damaged.
    """
    return archives.words("reuters", path, "reuters_word_index.json")


def get_label_names() -> tuple[str, ...]:
    """The names of the 46 topics, by index.

    Example:
        >>> kurve.datasets.reuters.get_label_names()[:2]
        ('cocoa', 'grain')
    """
    return tuple(TOPICS.split())
