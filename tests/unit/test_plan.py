"""The plan: shapes, places in the flat vectors, and what a layer becomes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from kurve import Input, Sequential
from kurve.layers import Activation, Dense, Dropout, Normalization
from kurve.plan import ALIGNMENT, MetricSpec, Plan, VariableSpec, aligned, vector_size


@pytest.mark.parametrize(
    ("offset", "next_multiple"),
    [(0, 0), (1, 16), (15, 16), (16, 16), (17, 32), (160, 160)],
)
def test_aligned(offset: int, next_multiple: int) -> None:
    assert aligned(offset) == next_multiple


def test_vector_size_pads_the_last_variable_too() -> None:
    assert vector_size(()) == 0
    assert (
        vector_size((VariableSpec("a", (3,), 0), VariableSpec("b", (4, 5), 16))) == 48
    )
    assert VariableSpec("b", (4, 5), 16).end == 36
    assert VariableSpec("count", (), 0).size == 1


def test_variables_lie_apart_on_cache_lines() -> None:
    """Each variable is a view at a multiple of 64 bytes, and padding is zero."""
    model = Sequential([Input((3,)), Normalization(), Dense(5), Dense(16), Dense(1)])
    plan, state = model._network.plan, model._network.state
    assert plan is not None
    assert state is not None
    for vector, slots in ((state.params, plan.params), (state.buffers, plan.buffers)):
        assert vector.ctypes.data % 64 == 0
        assert vector.dtype == np.float32
        assert len(vector) == vector_size(slots)
        assert all(slot.offset % ALIGNMENT == 0 for slot in slots)
        assert all(a.end <= b.offset for a, b in pairwise(slots))
        padding = np.ones(len(vector), bool)
        for slot in slots:
            padding[slot.offset : slot.end] = False
        assert not vector[padding].any()
    for variable in model.variables:
        vector = state.params if variable.role == "param" else state.buffers
        assert np.shares_memory(variable.value, vector)


def test_what_layers_become() -> None:
    """Elementwise activations are fused into dense; softmax is an op of its own."""
    model = Sequential(
        [
            Input((2, 3)),
            Normalization(),
            Dense(4, "relu"),
            Dropout(0.5),
            Dense(5, "softmax"),
            Activation("tanh"),
        ]
    )
    assert model._network.plan is not None
    ops = model._network.plan.ops
    assert [op.kind for op in ops] == [
        "normalization",
        "dense",
        "dropout",
        "dense",
        "softmax",
        "activation",
    ]
    assert ops[1].attrs == {"activation": "relu", "alpha": 0.0}
    assert ops[3].attrs["activation"] == "linear"
    assert all(a.out_shape == b.in_shape for a, b in pairwise(ops))
    assert (model._network.plan.input_shape, model._network.plan.output_shape) == (
        (2, 3),
        (2, 5),
    )
    assert sorted(ops[1].params) == ["bias", "kernel"]
    assert sorted(ops[0].buffers) == ["mean", "variance"]


def test_totals_hold_loss_and_metrics() -> None:
    metrics = (MetricSpec("mean_squared_error"), MetricSpec("r2_score", size=7))
    plan = Plan.stack((1,), (2,), (), (), (), metrics=metrics)
    assert plan.totals_size == 2 + 2 + 7
