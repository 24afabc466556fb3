"""The compiled permutation is the one that `kurve.core.rng` defines."""

import numpy as np
import pytest

from kurve.core import rng

core = pytest.importorskip("kurve._core")


@pytest.mark.parametrize("count", [1, 2, 3, 200, 4095, 4096, 30_001])
@pytest.mark.parametrize(("seed", "number"), [(0, 0), (2**64 - 1, 2**40 + 3), (7, 1)])
def test_equals_the_definition(count: int, seed: int, number: int) -> None:
    words = rng.philox(seed, rng.PERMUTATION, number, 2 * count)
    expected = rng.sorted_rows(words)
    assert (core.permutation(seed, rng.PERMUTATION, number, count) == expected).all()
    assert (np.sort(rng.permutation(seed, number, count)) == np.arange(count)).all()
