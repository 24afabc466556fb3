"""The table of kinds knows all that the reference engine computes."""

from __future__ import annotations

import numpy as np
import pytest

from kurve import activations
from kurve.activations import Activation
from kurve.engines.reference import activations as reference
from kurve.engines.reference.layers import OPS, OPS_OF_SEVERAL, STATISTICS
from kurve.engines.reference.losses import LOSSES
from kurve.ops.activation_arguments import ALONG_AN_AXIS
from kurve.ops.activations import FORMULAS
from kurve.plan import kinds


def test_kinds_are_those_of_the_reference_engine() -> None:
    assert kinds.OPERATIONS.keys() == OPS.keys() | OPS_OF_SEVERAL.keys()
    assert kinds.LOSSES.keys() == LOSSES.keys()
    assert set(activations.NAMES) == kinds.ACTIVATIONS.keys()
    assert kinds.ACTIVATIONS.keys() == {
        *reference.ACTIVATIONS,
        *FORMULAS,
        *ALONG_AN_AXIS,
    }
    assert reference.ACTIVATIONS.keys() == activations.FUSED
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


@pytest.mark.parametrize(
    "activation",
    [
        *(name for name in FORMULAS if name != "threshold"),
        Activation("relu", max_value=2.0),
        Activation("relu", max_value=2.0, threshold=1.0),
        Activation("relu", max_value=2.0, negative_slope=0.5),
        Activation("relu", threshold=1.0, negative_slope=-0.5),
        Activation("celu", 0.5),
        Activation("gelu", approximate=True),
        Activation("squareplus", b=0.5),
    ],
    ids=str,
)
def test_ranges_of_formulas(activation: str | Activation) -> None:
    chosen = activations.get(activation)
    low, high = FORMULAS[chosen.name].range_of(dict(chosen.arguments))
    values = chosen(np.linspace(-60.0, 60.0, 100_001))
    for end, found, sign in ((low, values.min(), 1), (high, values.max(), -1)):
        if np.isfinite(end):
            assert -1e-9 <= sign * (found - end) <= 2e-2
        else:
            assert abs(found) > 20
