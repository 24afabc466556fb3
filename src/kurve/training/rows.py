"""Checked rows, in the form that engines take."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from kurve.core.sparse import SparseRows
from kurve.plan import Shape


class Data(NamedTuple):
    """Checked rows; with several inputs or outputs, each is a tuple, see
    `kurve.engines.Batches`."""

    x: Any
    y: Any
    weights: Any

    @property
    def rows(self) -> int:
        return count_rows(self.x)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The sample shape of each input."""
        return tuple(x.shape[1:] for x in _tuple(self.x))

    def part(self, first: int, last: int) -> Data:
        """The rows first..last-1."""
        rows = slice(first, last)
        found = [
            one.part(first, last) if isinstance(one, SparseRows) else one[rows]
            for one in _tuple(self.x)
        ]
        x = tuple(found) if isinstance(self.x, tuple) else found[0]
        return Data(x, take(self.y, rows), take(self.weights, rows))


def has_sparse(x: Any) -> bool:
    """Whether an input of checked x is sparse."""
    return any(isinstance(one, SparseRows) for one in _tuple(x))


def count_rows(x: Any) -> int:
    """Number of rows of checked x."""
    return len(x[0]) if isinstance(x, tuple) else len(x)


def take(part: Any, rows: slice | np.ndarray) -> Any:
    """These rows of checked x, y or weights."""
    if isinstance(part, tuple):
        return tuple(take(one, rows) for one in part)
    return None if part is None else part[rows]


def _tuple(part: Any) -> tuple[Any, ...]:
    return part if isinstance(part, tuple) else (part,)
