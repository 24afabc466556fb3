"""Random numbers and their seeds, with Keras's names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from kurve.core import rng
from kurve.core.arguments import check_name, check_seed
from kurve.core.entries import Entrance, entries, entry
from kurve.core.naming import auto_name
from kurve.core.results import result
from kurve.errors import absent as _absent


@entries
class SeedGenerator(Entrance):
    """A seed that is another one each time it is used: for layers, initializers.

    Args:
        seed: an integer, or None for a new one.
        name: made from the class if None.

    Raises:
        TypeError: a seed that is not an integer.

    Example:
        >>> seeds = kurve.random.SeedGenerator(1)
        >>> first = kurve.initializers.RandomNormal(seed=seeds)
        >>> second = kurve.initializers.RandomNormal(seed=seeds)
        >>> bool((first((2,)) == second((2,))).any())
        False
    """

    def __init__(self, seed: int | None = None, name: str | None = None) -> None:
        given = check_seed("SeedGenerator", seed)
        self.name = (
            auto_name(type(self)) if name is None else check_name("SeedGenerator", name)
        )
        self._initial_seed = given
        self._seed = rng.next_seed() if given is None else given % 2**64
        self._count = 0

    @property
    def initial_seed(self) -> int | None:
        return self._initial_seed

    def next(self, ordered: bool = True) -> np.ndarray:
        """The seed and how often it was asked for: uint64 (2,)."""
        self._count += 1
        return np.array([self._seed, self._count - 1], np.uint64)

    def get_config(self) -> dict[str, Any]:
        return {"seed": self._initial_seed, "name": self.name}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The generator of a `get_config`, from its beginning."""
        return cls(**config)


@entry
def normal(
    shape: Sequence[int | None],
    mean: float = 0.0,
    stddev: float = 1.0,
    dtype: Any = None,
    seed: Any = None,
) -> Any:
    """Normally distributed numbers. In the formula of a layer that is being traced, the
    first axis is that of the batch, and each step draws others.

    Args:
        shape: of the result; None for the batch axis in a formula.
        mean: of the numbers.
        stddev: their standard deviation.
        dtype: None or "float32".
        seed: an integer, which always gives the same numbers; a `SeedGenerator`; or
            None for new ones in each call.

    Raises:
        ValueError: an unknown size outside of a formula.

    Example:
        >>> kurve.random.normal((2, 3), seed=1).shape
        (2, 3)
    """
    drawn = _drawn("normal", shape, seed)
    return drawn if mean == 0.0 and stddev == 1.0 else drawn * stddev + mean


@entry
def uniform(
    shape: Sequence[int | None],
    minval: float = 0.0,
    maxval: float = 1.0,
    dtype: Any = None,
    seed: Any = None,
) -> Any:
    """Numbers between two bounds, each equally likely; see `normal`.

    Args:
        shape: of the result; None for the batch axis in a formula.
        minval: the lower bound.
        maxval: the upper bound.
        dtype: None or "float32".
        seed: as of `normal`.

    Raises:
        ValueError: an unknown size outside of a formula.

    Example:
        >>> kurve.random.uniform((2, 3), seed=1).shape
        (2, 3)
    """
    drawn = _drawn("uniform", shape, seed)
    if minval == 0.0 and maxval == 1.0:
        return drawn
    return drawn * (maxval - minval) + minval


@entry
def randint(
    shape: Sequence[int],
    minval: int,
    maxval: int,
    dtype: Any = "int32",
    seed: Any = None,
) -> Any:
    """Whole numbers from minval to maxval - 1.

    Args:
        shape: of the result.
        minval, maxval: the bounds.
        dtype: a type of whole numbers.
        seed: as of `normal`.

    Raises:
        ValueError: no number lies between the bounds.

    Example:
        >>> int(kurve.random.randint((1,), 5, 6)[0])
        5
    """
    if not minval < maxval:
        raise ValueError(
            "[randint] minval must be below maxval. "
            f"Received: {minval!r} and {maxval!r}. Try randint(shape, 0, 10)."
        )
    drawn = np.floor(np.asarray(_drawn("uniform", shape, seed), np.float64)
                     * (maxval - minval))  # fmt: skip
    whole = np.minimum(drawn, maxval - minval - 1) + minval
    return result(whole.astype(dtype))


@entry
def categorical(
    logits: Any, num_samples: int, dtype: Any = "int32", seed: Any = None
) -> Any:
    """Class numbers whose probabilities are softmax(logits).

    Args:
        logits: (B, classes).
        num_samples: of each row.
        dtype: a type of whole numbers.
        seed: as of `normal`.

    Raises:
        ValueError: logits that are not (B, classes).

    Example:
        >>> kurve.random.categorical(np.array([[0.0, -1e9]]), 3)
        array([[0, 0, 0]], dtype=int32)
    """
    rows = np.asarray(logits, np.float64)
    if rows.ndim != 2 or not rows.size:
        raise ValueError(
            "[categorical] logits must have shape (B, classes). "
            f"Received: shape {rows.shape}. Try logits[None] for one row."
        )
    powers = np.exp(rows - rows.max(axis=-1, keepdims=True))
    sums = np.cumsum(powers, axis=-1)
    u = np.asarray(_drawn("uniform", (len(rows), num_samples), seed), np.float64)
    found = (u[:, :, None] * sums[:, None, -1:] >= sums[:, None, :]).sum(axis=-1)
    return result(np.minimum(found, rows.shape[-1] - 1).astype(dtype))


def _drawn(distribution: str, shape: Any, seed: Any) -> Any:
    """Standard numbers of a distribution, as values or in the formula being traced."""
    from kurve.formulas.graph import Graph

    axes, graph = tuple(shape), Graph.current
    if axes and axes[0] is None and graph is not None:
        return graph.random(distribution, tuple(int(a) for a in axes[1:]))
    if None in axes:
        raise ValueError(
            f"[{distribution}] the shape must be known, but for the batch axis in a "
            f"layer's call. Received: shape={axes}. Try it in call() of a layer."
        )
    if isinstance(seed, SeedGenerator):
        key, stream = (int(part) for part in seed.next())
    else:
        checked = check_seed(distribution, seed)
        key, stream = (rng.next_seed() if checked is None else checked % 2**64), 0
    count = int(np.prod(axes))
    draw = rng.normal if distribution == "normal" else rng.uniform
    numbers = draw(key, rng.BY_HAND, stream, count)
    return result(numbers.reshape(axes).astype(np.float32))


__getattr__ = _absent(__name__)
