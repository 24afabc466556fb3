"""Texts as lists of word indices: code shared by IMDB and Reuters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kurve.core.arguments import check_integer
from kurve.datasets import archives

Rows = list[list[int]]


def texts(where: str, file: Path, names: Sequence[str]) -> list[np.ndarray]:
    """Pairs of arrays: lists of indices, and their classes."""

    def action() -> list[np.ndarray]:
        found = archives.arrays(file, names)
        for x, y in zip(found[::2], found[1::2], strict=True):
            if x.shape != (len(y),) or y.ndim != 1 or y.dtype.kind not in "iu":
                raise ValueError(f"its arrays have the shapes {x.shape} and {y.shape}")
            if not all(type(row) is list for row in x) or not all(
                type(word) is int for row in x for word in row
            ):
                raise ValueError("its texts are not lists of numbers")
        return found

    return archives.guarded(where, file, action)


def check(where: str, **given: Any) -> None:
    """Reject invalid limits."""
    for name, value in given.items():
        check_integer(where, name, value, 10000, 0, optional=True)


def marked(rows: Any, start_char: int | None, index_from: int) -> Rows:
    """Add `start_char` to each text and shift the other indices."""
    first = [] if start_char is None else [start_char]
    if start_char is None and not index_from:
        return [list(row) for row in rows]
    return [first + [word + index_from for word in row] for row in rows]


def shorter(maxlen: int | None, rows: Rows, y: np.ndarray) -> tuple[Rows, np.ndarray]:
    """The texts that are shorter than `maxlen`, with their classes."""
    if not maxlen:
        return rows, y
    kept = np.array([len(row) < maxlen for row in rows], bool)
    return [row for row, keep in zip(rows, kept, strict=True) if keep], y[kept]


def limited(
    rows: Rows, num_words: int | None, skip_top: int, oov_char: int | None
) -> Rows:
    """The texts with words that are too rare or too frequent replaced by `oov_char`, or
    dropped if it is None."""
    most = num_words or max(max(row) for row in rows)
    if oov_char is None:
        return [[w for w in row if skip_top <= w < most] for row in rows]
    return [[w if skip_top <= w < most else oov_char for w in row] for row in rows]


def ragged(rows: Rows) -> np.ndarray:
    """An array of lists."""
    found = np.empty(len(rows), object)
    found[:] = rows
    return found
