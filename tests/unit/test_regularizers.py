"""Penalties on weights."""

from __future__ import annotations

import numpy as np
import pytest

from kurve import regularizers

W = np.array([[1.0, -2.0], [0.0, 3.0]])
CASES = [
    (regularizers.L1(), 0.01 * 6.0),
    (regularizers.L1(0.5), 0.5 * 6.0),
    (regularizers.L2(), 0.01 * 14.0),
    (regularizers.L1L2(0.1, 0.2), 0.1 * 6.0 + 0.2 * 14.0),
    (regularizers.get("l1"), 0.01 * 6.0),
    (regularizers.get("L2"), 0.01 * 14.0),
    (regularizers.get("l1_l2"), 0.01 * 20.0),
]


@pytest.mark.parametrize(("penalty", "value"), CASES, ids=repr)
def test_value_and_config(penalty: regularizers.L1L2, value: float) -> None:
    assert penalty(W) == pytest.approx(value)
    again = type(penalty)(**penalty.get_config())
    assert again == penalty


def test_get() -> None:
    assert regularizers.get(None) is None
    penalty = regularizers.L2(0.1)
    assert regularizers.get(penalty) is penalty


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_wrong_strength(value: float) -> None:
    with pytest.raises(ValueError, match=r"^\[L1\] l1 must be finite and at least 0"):
        regularizers.L1(value)
