"""Recurrent ops: gradients against differences, and engines against each other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from kurve.engines.reference import ReferenceEngine
from tests.engines.recurrence import MASKS, Recurrent, combinations, name_of
from tests.engines.tolerances import STEP, TOLERANCES, excess

CASES = list(combinations())
MASKED = [case for case in CASES if case[1]["masked"]]


def check_slope(made: Recurrent, rows: int, mask: str = "holes") -> None:
    """The gradient along random directions against central differences."""
    program, state = ReferenceEngine().compile(made.plan), made.state(np.float64)
    batches, random = made.batches(rows, mask), np.random.default_rng(3)
    _, gradient = program.gradient(state, batches, 0)
    free = np.zeros(made.plan.params_size)
    for v in made.params:
        free[v.offset : v.end] = v.trainable
    assert not gradient[free == 0].any(), "padding or a frozen variable moves"
    for _ in range(2):
        direction = random.normal(size=free.shape) * free
        direction /= np.linalg.norm(direction)
        low, high = (
            program.gradient(
                replace(state, params=state.params + h * direction), batches, 0
            )[0]
            for h in (-STEP, STEP)
        )
        slope, difference = gradient @ direction, (high - low) / (2 * STEP)
        assert excess(TOLERANCES["slope"], slope, difference) <= 0, (slope, difference)


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_gradients(case: tuple[str, dict[str, bool]]) -> None:
    kind, flags = case
    check_slope(Recurrent(kind, **flags), 4)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("kind", ["lstm", "gru", "simple_rnn"])
def test_gradients_with_masks(kind: str, mask: str) -> None:
    flags = {"masked": True, "sequences": True, "initial": True}
    check_slope(Recurrent(kind, (5, 2, 3), **flags), 6, mask)


@pytest.mark.parametrize("sizes", [(1, 1, 1), (1, 3, 2), (4, 1, 1)])
@pytest.mark.parametrize("kind", ["lstm", "gru", "simple_rnn"])
def test_gradients_of_the_smallest(kind: str, sizes: tuple[int, int, int]) -> None:
    check_slope(Recurrent(kind, sizes, initial=True, states=kind == "lstm"), 1)


@pytest.mark.parametrize("kind", ["lstm", "gru", "simple_rnn"])
@pytest.mark.parametrize(
    "frozen",
    [
        ("kernel",),
        ("recurrent_kernel",),
        ("bias",),
        ("kernel", "recurrent_kernel", "bias"),
    ],
    ids="-".join,
)
def test_frozen_variables(kind: str, frozen: tuple[str, ...]) -> None:
    check_slope(Recurrent(kind, frozen=frozen), 3)


@pytest.mark.parametrize("kind", ["lstm", "gru", "simple_rnn"])
def test_a_cell_that_is_used_twice(kind: str) -> None:
    check_slope(Recurrent(kind, uses=2), 3)


def by_steps(made: Recurrent, xs: tuple[Any, ...]) -> np.ndarray:
    """The op's output, from plans of a single step each, where masks decide in
    Python."""
    T, F, H = made.sizes
    lstm, masked = made.kind == "lstm", bool(made.attrs.get("masked"))
    flags = {**made.attrs, "initial": True, "masked": False, "reverse": False}
    flags |= {"sequences": False, "states": lstm, "plain": True}
    bias = any(v.name == "bias" for v in made.params)
    one = Recurrent(made.kind, (1, F, H), bias=bias, **flags)
    program, state = ReferenceEngine().compile(one.plan), made.state(np.float64)
    rest, count = list(xs[1 + masked :]), 1 + lstm
    states = [np.zeros((len(xs[0]), H)) for _ in range(count)]
    if made.attrs.get("initial"):
        states, rest = rest[:count], rest[count:]
    h, outputs = np.concatenate(states, axis=-1), []
    for t in range(T)[:: -1 if made.attrs.get("reverse") else 1]:
        parts = np.split(h, count, axis=-1)
        new = program.predict(state, (xs[0][:, t : t + 1], *parts, *rest))
        h = np.where(xs[1][:, t, None] != 0, new, h) if masked else new
        outputs.append(h if made.attrs.get("states") else h[:, :H])
    return np.stack(outputs, 1) if made.attrs.get("sequences") else outputs[-1]


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("case", MASKED, ids=name_of)
def test_what_masks_mean(case: tuple[str, dict[str, bool]], mask: str) -> None:
    kind, flags = case
    made = Recurrent(kind, (4, 3, 2), plain=True, **flags)
    xs = made.xs(5, mask)
    found = ReferenceEngine().compile(made.plan).predict(made.state(np.float64), xs)
    np.testing.assert_allclose(found, by_steps(made, xs), rtol=1e-12, atol=1e-12)
