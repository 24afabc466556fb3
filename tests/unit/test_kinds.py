"""The table of kinds knows all that the reference engine computes."""

from __future__ import annotations

import numpy as np
import pytest

from kurve import activations, kinds
from kurve.engines.reference import activations as reference
from kurve.engines.reference.layers import OPS, OPS_OF_SEVERAL, STATISTICS
from kurve.engines.reference.losses import LOSSES


def test_kinds_are_those_of_the_reference_engine() -> None:
    assert kinds.OPERATIONS.keys() == OPS.keys() | OPS_OF_SEVERAL.keys()
    assert kinds.LOSSES.keys() == LOSSES.keys()
    assert kinds.ACTIVATIONS.keys() == reference.ACTIVATIONS.keys() | {"softmax"}
    updating = {
        kind for kind, facts in kinds.OPERATIONS.items() if facts.updates_buffers
    }
    assert updating == STATISTICS.keys()


@pytest.mark.parametrize("name", reference.ACTIVATIONS)
def test_ranges_and_flatness_are_those_of_the_formulas(name: str) -> None:
    z = np.linspace(-50.0, 50.0, 100_001)
    f, derivative = reference.ACTIVATIONS[name]
    facts, alpha = kinds.ACTIVATIONS[name], activations.get(name).alpha
    values = f(z, alpha)
    if np.isfinite(facts.low):
        assert facts.low <= values.min() <= facts.low + 1e-3 + 0.02 * -facts.low
    if np.isfinite(facts.high):
        assert facts.high - 0.02 <= values.max() <= facts.high
    if facts.flatness is not None:
        slope = derivative(z, alpha)
        np.testing.assert_allclose(
            facts.flatness(values), slope / slope.max(), rtol=1e-9, atol=1e-12
        )
