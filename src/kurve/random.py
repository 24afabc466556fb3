"""Random numbers and seed generators, with Keras's names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from kurve.core import rng
from kurve.core.arguments import check_name
from kurve.core.entries import Entrance, entries
from kurve.core.naming import auto_name
from kurve.core.rng import check_seed
from kurve.errors import no_attribute as _no_attribute


@entries
class SeedGenerator(Entrance):
    """A source of seeds for layers and initializers: each use gets a different one.

    Args:
        seed: an integer, or None for a random one.
        name: derived from the class name if None.

    Raises:
        TypeError: seed is not an integer.

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

    @property
    def state(self) -> np.ndarray:
        """The seed and the number of calls of `next` so far: uint64 (2,)."""
        return np.array([self._seed, self._count], np.uint64)

    def next(self, ordered: bool = True) -> np.ndarray:
        """The seed and the number of earlier calls: uint64 (2,)."""
        state = self.state
        self._count += 1
        return state

    def get_config(self) -> dict[str, Any]:
        return {"seed": self._initial_seed, "name": self.name}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Create a generator from `get_config`, restarted from its seed."""
        return cls(**config)


def __getattr__(name: str) -> Any:
    from kurve.formulas import randomness

    if name not in randomness.PUBLIC:
        raise _no_attribute(__name__, name, randomness.PUBLIC)
    return globals().setdefault(name, getattr(randomness, name))


def __dir__() -> list[str]:
    from kurve.formulas import randomness

    return sorted([*randomness.PUBLIC, "SeedGenerator"])
