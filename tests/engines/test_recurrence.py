"""Recurrent ops: gradients against differences, and engines against each other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from kurve.engines import Job, get_engine, run_job
from kurve.engines.reference import ReferenceEngine
from kurve.engines.reference.activations import ACTIVATIONS
from kurve.plan import Spec
from tests.engines.recurrence import GATES, MASKS, Recurrent, combinations, name_of
from tests.engines.tolerances import STEP, TOLERANCES, excess

pytest.importorskip("kurve._core")
from kurve import _core
from kurve.engines.native import NativeEngine

CASES = list(combinations())
MASKED = [case for case in CASES if case[1]["masked"]]
KINDS = list(GATES)
ACTIVATION_NAMES = list(ACTIVATIONS)
FROZEN = [("kernel",), ("recurrent_kernel",), ("bias",)]
FROZEN += [("kernel", "recurrent_kernel", "bias")]


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
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_with_masks(kind: str, mask: str) -> None:
    flags = {"masked": True, "sequences": True, "initial": True}
    check_slope(Recurrent(kind, (5, 2, 3), **flags), 6, mask)


@pytest.mark.parametrize("sizes", [(1, 1, 1), (1, 3, 2), (4, 1, 1)])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_the_smallest(kind: str, sizes: tuple[int, int, int]) -> None:
    check_slope(Recurrent(kind, sizes, initial=True, states=kind == "lstm"), 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("frozen", FROZEN, ids="-".join)
def test_frozen_variables(kind: str, frozen: tuple[str, ...]) -> None:
    check_slope(Recurrent(kind, frozen=frozen), 3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_cell_that_is_used_twice(kind: str) -> None:
    check_slope(Recurrent(kind, uses=2), 3)


def by_steps(made: Recurrent, xs: tuple[Any, ...]) -> np.ndarray:
    """The op's output, from plans of a single step each, where masks decide in
    Python."""
    T, F, H = made.sizes
    lstm, masked = made.kind == "lstm", bool(made.attrs.get("masked"))
    flags = {**made.attrs, "initial": True, "masked": False, "reverse": False}
    flags |= {"sequences": False, "states": lstm, "plain": True}
    flags |= {"by_gates": made.by_gates}
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


def given(xs: tuple[Any, ...]) -> Any:
    """Inputs as `predict` takes them."""
    return xs if len(xs) > 1 else xs[0]


def agree(fast: str, made: Recurrent, rows: int, mask: str = "holes") -> None:
    """Loss, gradient and prediction of both engines, and a row's bits by itself."""
    reference = ReferenceEngine().compile(made.plan)
    program, batches = get_engine(fast).compile(made.plan), made.batches(rows, mask)
    results = []
    for engine, dtype in (
        (reference, np.float64),
        (reference, np.float32),
        (program, np.float32),
    ):
        state = made.state(dtype)
        loss, gradient = engine.gradient(state, batches, 0)
        y = engine.predict(state, given(batches.x))
        results.append((np.array(loss), gradient, np.stack(y)))
    for name, exact, own, found in zip(
        ("loss", "gradient", "predictions"), *results, strict=True
    ):
        assert TOLERANCES[name].allows(found, exact, own), name


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_engines_agree(fast: str, case: tuple[str, dict[str, bool]]) -> None:
    kind, flags = case
    agree(fast, Recurrent(kind, (5, 3, 19), **flags), 7)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("kind", KINDS)
def test_engines_agree_on_masks(fast: str, kind: str, mask: str) -> None:
    flags = {"masked": True, "sequences": True, "initial": True}
    agree(fast, Recurrent(kind, (6, 2, 5), **flags), 20, mask)


SIZES = [(1, 1, 1), (3, 1, 16), (2, 7, 32), (4, 5, 33), (3, 40, 64), (2, 3, 130)]


@pytest.mark.parametrize("rows", [1, 2, 13, 33])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("kind", [*KINDS, "gru before"])
def test_engines_agree_at_any_size(
    fast: str, kind: str, sizes: tuple[int, int, int], rows: int
) -> None:
    flags = {"reset_after": False} if kind == "gru before" else {}
    agree(fast, Recurrent(kind.split()[0], sizes, initial=True, **flags), rows)


@pytest.mark.parametrize("name", ACTIVATION_NAMES)
@pytest.mark.parametrize("kind", [*KINDS, "gru before"])
def test_engines_agree_on_activations(fast: str, kind: str, name: str) -> None:
    flags: dict[str, Any] = {"reset_after": False} if kind == "gru before" else {}
    for role in ("", "recurrent_"):
        own = {f"{role}activation": name, f"{role}alpha": 0.7}
        agree(fast, Recurrent(kind.split()[0], (3, 2, 5), **own, **flags), 4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("frozen", FROZEN, ids="-".join)
def test_engines_agree_on_frozen_variables(
    fast: str, kind: str, frozen: tuple[str, ...]
) -> None:
    agree(fast, Recurrent(kind, (3, 2, 5), frozen=frozen), 4)
    agree(fast, Recurrent(kind, (3, 2, 5), frozen=frozen, plain=True), 4)


@pytest.mark.parametrize("kind", KINDS)
def test_engines_agree_on_cells_that_are_used_twice(fast: str, kind: str) -> None:
    agree(fast, Recurrent(kind, (4, 2, 5), uses=2), 4)


@pytest.mark.parametrize("kind", [*KINDS, "gru before"])
def test_long_sums(fast: str, kind: str) -> None:
    """Of more rows and steps than one product adds up in float32."""
    flags = {"reset_after": False} if kind == "gru before" else {}
    agree(fast, Recurrent(kind.split()[0], (700, 1, 3), sequences=True, **flags), 30)


@pytest.mark.parametrize("case", CASES[:: len(CASES) // 40], ids=name_of)
def test_jacobian(fast: str, case: tuple[str, dict[str, bool]]) -> None:
    kind, flags = case
    made = Recurrent(kind, (3, 2, 5), **flags)
    xs = given(made.xs(4))
    y, found = get_engine(fast).compile(made.plan).jacobian(made.state(), xs)
    exact = ReferenceEngine().compile(made.plan)
    wanted_y, wanted = exact.jacobian(made.state(np.float64), xs)
    np.testing.assert_allclose(y, wanted_y, atol=1e-6)
    np.testing.assert_allclose(found, wanted, atol=2e-6)


@pytest.mark.parametrize("case", CASES[:: len(CASES) // 20], ids=name_of)
def test_no_bit_depends_on_threads_or_other_rows(
    case: tuple[str, dict[str, bool]],
) -> None:
    kind, flags = case
    made = Recurrent(kind, (9, 6, 37), **flags)
    program, state, batches = (
        NativeEngine().compile(made.plan),
        made.state(),
        made.batches(70),
    )
    threads, bits = _core.get_threads(), []
    try:
        for count in (1, 2, 5):
            _core.set_threads(count)
            loss, gradient = program.gradient(state, batches, 0)
            y = program.predict(
                state, batches.x if len(batches.x) > 1 else batches.x[0]
            )
            bits.append((loss, gradient.tobytes(), y.tobytes()))
    finally:
        _core.set_threads(threads)
    assert bits[1:] == bits[:1] * 2
    for rows in (slice(0, 1), slice(3, 10), slice(20, 53)):
        part = tuple(x[rows] for x in batches.x)
        alone = program.predict(state, given(part))
        assert alone.tobytes() == y[rows].tobytes()


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        ({"activation": "softmax"}, "activation 'softmax'"),
        ({"recurrent_activation": "mish"}, "activation 'mish'"),
        ({"recurrent_alpha": "1"}, "lacks the number 'recurrent_alpha'"),
        ({"sequences": True}, "do not fit its output"),
        ({"states": True}, "do not fit its output"),
        ({"masked": True}, "do not fit its inputs"),
        ({"initial": True}, "do not fit its inputs"),
    ],
)
def test_wrong_plans(wrong: dict[str, Any], rule: str) -> None:
    plan = Recurrent("lstm", plain=True).plan
    (op,) = plan.ops
    op = replace(op, attrs={**op.attrs, **wrong})
    with pytest.raises((ValueError, NotImplementedError), match=rule):
        NativeEngine().compile(replace(plan, ops=(op,)))


@pytest.mark.parametrize("kind", [*KINDS, "gru before"])
def test_training(fast: str, kind: str) -> None:
    """Variables after steps of momentum, whose gradients several batches give."""
    flags = {"reset_after": False} if kind == "gru before" else {}
    made = Recurrent(kind.split()[0], (5, 3, 20), masked=True, **flags)
    momentum = {"momentum": 0.9, "nesterov": False, "weight_decay": 0.0}
    clip = {"clipnorm": 0.0, "clipvalue": 0.0, "global_clipnorm": 1.0}
    plan = replace(made.plan, optimizer=Spec("sgd", momentum | clip))
    batches = replace(
        made.batches(50),
        order=np.random.default_rng(1).permutation(50),
        bounds=np.array([0, 7, 20, 50]),
        learning_rates=np.full(3, 0.1, np.float32),
    )
    found = []
    for engine, dtype in ((get_engine(fast), np.float32), (ReferenceEngine(), float)):
        state, totals = made.state(dtype), np.zeros(plan.totals_size)
        state.slots = np.zeros((1, plan.params_size), dtype)
        run_job(engine, Job(engine.compile(plan), state, batches, 0, 3, totals))
        found.append((state.params, totals))
    np.testing.assert_allclose(found[0][0], found[1][0], atol=1e-6)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-5)
