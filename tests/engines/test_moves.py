"""Ops that reduce, move or repeat elements: both engines, differences in float64, and
formulas written out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import kurve
from kurve.engines import Batches, State, get_engine
from kurve.engines.base import Program
from kurve.engines.reference import ReferenceEngine
from kurve.ops.elementwise import RULES
from kurve.ops.tape import Builder, Tape
from kurve.plan import Head, Op, Plan, Spec, VariableSpec, aligned

pytest.importorskip("kurve._core")
from tests.engines.test_graphs import SGD, Graph, close, native, tape

Shape = tuple[int, ...]
Case = tuple[str, Shape, Shape, dict[str, Any]]


def reduced(mode: str, shape: Shape, axis: int, count: int, keep: bool = False) -> Case:
    kept = (1,) * count if keep else ()
    out = shape[:axis] + kept + shape[axis + count :]
    return "reduce", shape, out, {"mode": mode, "axis": axis, "count": count}


def summed(shape: Shape, axis: int, reverse: bool) -> Case:
    return "cumsum", shape, shape, {"axis": axis, "reverse": reverse}


def permuted(shape: Shape, *axes: int) -> Case:
    return "permute", shape, tuple(shape[a] for a in axes), {"axes": axes}


def sliced(shape: Shape, *slices: slice, squeeze: bool = False) -> Case:
    """A slice as NumPy understands it."""
    found = [range(n)[s] for n, s in zip(shape, slices, strict=True)]
    attrs = {
        "starts": tuple(r.start for r in found),
        "sizes": tuple(len(r) for r in found),
        "steps": tuple(r.step for r in found),
    }
    out = tuple(n for n in attrs["sizes"] if not squeeze or n > 1)
    return "slice", shape, out, attrs


def placed(shape: Shape, *slices: slice, squeeze: bool = False) -> Case:
    _, large, small, attrs = sliced(shape, *slices, squeeze=squeeze)
    return "place", small, large, attrs


MODES = ["sum", "mean", "max", "min", "prod", "logsumexp", "argmax"]
EVERY = slice(None)
CASES: list[Case] = [
    *(reduced(mode, (5,), 0, 1) for mode in MODES),
    *(reduced(mode, (3, 4, 5), 1, 1) for mode in MODES),
    *(reduced(mode, (2, 37), 1, 1, keep=True) for mode in MODES),
    *(reduced(mode, (2, 3, 19), 0, 2, keep=True) for mode in MODES),
    *(reduced(mode, (2, 3, 3), 0, 3) for mode in MODES),
    reduced("sum", (70, 2), 0, 1),
    reduced("mean", (100,), 0, 1),
    reduced("logsumexp", (3, 70), 1, 1),
    reduced("max", (1, 1), 0, 2),
    reduced("sum", (4, 130), 0, 1),
    *(summed((3, 4, 5), axis, False) for axis in range(3)),
    *(summed((3, 17, 19), axis, True) for axis in range(3)),
    permuted((2, 3), 1, 0),
    permuted((2, 3, 4), 1, 2, 0),
    permuted((2, 3, 4), 2, 1, 0),
    permuted((2, 3, 4), 0, 1, 2),
    permuted((2, 1, 3, 4, 2), 4, 2, 0, 3, 1),
    permuted((33, 40), 1, 0),
    permuted((5,), 0),
    sliced((7,), slice(2, 6)),
    sliced((7,), slice(None, None, -1)),
    sliced((5, 6), slice(4, 0, -2), slice(1, 6, 3)),
    sliced((3, 4, 5), EVERY, slice(2, 3), EVERY, squeeze=True),
    sliced((3, 4), slice(1, 2), slice(2, 3), squeeze=True),
    sliced((2, 50, 3), EVERY, slice(3, 45), EVERY),
    placed((7,), slice(2, 6)),
    placed((7,), slice(None, None, -1)),
    placed((5, 6), slice(4, 0, -2), slice(1, 6, 3)),
    placed((3, 4, 5), EVERY, slice(2, 3), EVERY, squeeze=True),
    placed((3, 4), slice(1, 2), slice(2, 3), squeeze=True),
]


def name_of(case: Case) -> str:
    kind, shape, out, attrs = case
    return f"{kind}-{attrs.get('mode', '')}{shape}-{out}"


class Stack:
    """A plan whose ops follow each other; each variable is as large as its op's
    input."""

    def __init__(self, shape: Shape) -> None:
        self.shape, self.first = shape, shape
        self.ops: list[Op] = []
        self.params: list[VariableSpec] = []

    def op(self, kind: str, out: Shape, **rest: Any) -> Stack:
        self.ops.append(Op(kind, f"op_{len(self.ops)}", self.shape, out, **rest))
        self.shape = out
        return self

    def variable(self, how: str) -> Stack:
        """x times, or plus, a variable."""
        start = aligned(self.params[-1].end) if self.params else 0
        spec = VariableSpec(f"{len(self.params)}/v", self.shape, start)
        self.params.append(spec)
        return self.op("map", self.shape, params={"v": spec}, tape=tape(how, 2))

    def case(self, case: Case) -> Stack:
        kind, shape, out, attrs = case
        assert shape == self.shape
        return self.op(kind, out, attrs=attrs)

    def plan(self) -> Plan:
        head = Head(len(self.ops), self.shape, Spec("mean_squared_error"))
        ops, params = tuple(self.ops), tuple(self.params)
        return Plan((self.first,), ops, params, (), (head,), Spec("sgd", SGD))


def plan_of(case: Case) -> Plan:
    """The op between variables, behind an activation whose derivative it applies."""
    softplus = {"activation": "softplus", "alpha": 0.0}
    stack = Stack(case[1]).variable("mul")
    return (
        stack.op("activation", case[1], attrs=softplus)
        .case(case)
        .variable("mul")
        .plan()
    )


def state_of(plan: Plan, dtype: Any = np.float32) -> State:
    return Graph(0).state(plan, dtype)


def batches_of(plan: Plan) -> Batches:
    return Graph(0).batches(plan)


def reference(plan: Plan) -> Program:
    return ReferenceEngine().compile(plan)


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_engines_agree(fast: str, case: Case) -> None:
    plan = plan_of(case)
    wide, narrow, batches = state_of(plan, np.float64), state_of(plan), batches_of(plan)
    x = batches.inputs[0]
    program = get_engine(fast).compile(plan)
    wanted, found = reference(plan).predict(wide, x), program.predict(narrow, x)
    assert found.shape == (len(x), *case[2])
    np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-6)
    loss, gradient = reference(plan).gradient(wide, batches, 0)
    own, slopes = program.gradient(narrow, batches, 0)
    assert own == pytest.approx(loss, rel=1e-5)
    close(slopes, gradient)
    if math.prod(case[2]) <= 20:
        _, rows = reference(plan).jacobian(wide, x)
        _, found = program.jacobian(narrow, x)
        close(found, rows)


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_gradients(case: Case) -> None:
    """Along a random direction, against a central difference in float64."""
    plan = plan_of(case)
    state, batches = state_of(plan, np.float64), batches_of(plan)
    program = reference(plan)
    direction = np.zeros_like(state.params)
    random = np.random.default_rng(4)
    for spec in plan.params:
        direction[spec.offset : spec.end] = random.normal(size=spec.size)

    def loss(distance: float) -> float:
        moved = replace(state, params=state.params + distance * direction)
        return program.gradient(moved, batches, 0)[0]

    _, gradient = program.gradient(state, batches, 0)
    slope = (loss(1e-5) - loss(-1e-5)) / 2e-5
    assert gradient @ direction == pytest.approx(slope, rel=1e-6, abs=1e-8)


@pytest.fixture
def threads() -> Iterator[None]:
    before = kurve.get_threads()
    yield
    kurve.set_threads(before)


LARGE = [
    *(reduced(mode, (700, 33), 1, 1) for mode in MODES),
    *(reduced(mode, (7, 300, 40), 1, 1) for mode in MODES),
    reduced("sum", (200, 90), 0, 2),
    summed((300, 70), 0, False),
    summed((300, 70), 1, True),
    permuted((90, 3, 70), 2, 1, 0),
    sliced((90, 270), slice(None, None, -2), slice(3, 200)),
    placed((90, 270), slice(None, None, -2), slice(3, 200)),
]


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("case", LARGE, ids=name_of)
def test_bits(case: Case) -> None:
    """The same for any number of threads; of a row, in any batch."""
    plan = plan_of(case)
    program, state, batches = native(plan), state_of(plan), batches_of(plan)
    x = batches.inputs[0]
    seen = []
    for count in (1, 2, 4):
        kurve.set_threads(count)
        _, gradient = program.gradient(state, batches, 0)
        seen.append((program.predict(state, x), gradient))
    for before, after in pairwise(seen):
        assert all(
            a.tobytes() == b.tobytes() for a, b in zip(before, after, strict=True)
        )
    y = seen[0][0]
    for size in (1, 4):
        assert program.predict(state, x[:size].copy()).tobytes() == y[:size].tobytes()


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_against_numpy(case: Case) -> None:
    """The op alone, on both engines."""
    kind, shape, out, attrs = case
    plan = Stack(shape).case(case).plan()
    x = np.random.default_rng(5).normal(size=(4, *shape)).astype(np.float32)
    if kind == "reduce":
        axes = tuple(1 + attrs["axis"] + k for k in range(attrs["count"]))
        if attrs["mode"] == "logsumexp":
            wanted = np.logaddexp.reduce(
                x.reshape(4, *_seen(case)).astype(float), axis=2
            )
        elif attrs["mode"] == "argmax":
            wanted = x.reshape(4, *_seen(case)).argmax(axis=2)
        else:
            wanted = getattr(np, attrs["mode"])(x.astype(float), axis=axes)
    elif kind == "cumsum":
        order = -1 if attrs["reverse"] else 1
        axis = 1 + attrs["axis"]
        flipped = np.flip(x, axis) if order < 0 else x
        wanted = np.cumsum(flipped, axis)
        wanted = np.flip(wanted, axis) if order < 0 else wanted
    elif kind == "permute":
        wanted = x.transpose(0, *(1 + a for a in attrs["axes"]))
    else:
        where = np.ix_(
            range(4),
            *(
                [start + step * i for i in range(size)]
                for start, size, step in zip(
                    attrs["starts"], attrs["sizes"], attrs["steps"], strict=True
                )
            ),
        )
        if kind == "slice":
            wanted = x[where]
        else:
            wanted = np.zeros((4, *out))
            wanted[where] = x.reshape(4, *attrs["sizes"])
    for program in (reference(plan), native(plan)):
        found = program.predict(state_of(plan), x)
        np.testing.assert_allclose(found, wanted.reshape(4, *out), rtol=1e-5, atol=1e-5)


def _seen(case: Case) -> tuple[int, int, int]:
    _, shape, _, attrs = case
    axis, end = attrs["axis"], attrs["axis"] + attrs["count"]
    return math.prod(shape[:axis]), math.prod(shape[axis:end]), math.prod(shape[end:])


INF = math.inf


@pytest.mark.parametrize("inner", [1, 3])
@pytest.mark.parametrize(
    ("mode", "x", "wanted"),
    [
        ("prod", [2, 3, 5], [15, 10, 6]),
        ("prod", [2, 0, 5], [0, 10, 0]),
        ("prod", [0, 0, 5], [0, 0, 0]),
        ("max", [1, 4, 4], [0, 1, 0]),
        ("min", [4, 1, 1], [0, 1, 0]),
        ("argmax", [1, 4, 4], [0, 0, 0]),
        ("logsumexp", [-INF, 0, -INF], [0, 1, 0]),
        ("logsumexp", [-INF, -INF, -INF], [0, 0, 0]),
        ("logsumexp", [1000, 1000, -1000], [0.5, 0.5, 0]),
    ],
)
def test_gradients_at_special_places(
    fast: str, mode: str, x: list[float], wanted: list[float], inner: int
) -> None:
    """Zeros, ties and infinities, along the last axis and along the first; there the
    gradient is that of the first column."""
    case = reduced(mode, (3, inner), 0, 1)
    stack = Stack((3, inner)).variable("add").case(case)
    column = sliced((inner,), slice(0, 1))
    plan = stack.case(column).plan()
    state = state_of(plan)
    state.params[:] = 0
    rows = np.repeat(np.array(x, np.float32)[None, :, None], inner, axis=2)
    for program in (reference(plan), get_engine(fast).compile(plan)):
        slopes = program.jacobian(state, rows)[1][0, : 3 * inner].reshape(3, inner)
        np.testing.assert_allclose(slopes[:, 0], wanted, atol=1e-7)
        np.testing.assert_array_equal(slopes[:, 1:], 0)


@pytest.mark.parametrize("inner", [1, 3])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("n", [1, 3, 16, 40])
def test_special_values(fast: str, mode: str, n: int, inner: int) -> None:
    """NaN wins everywhere, and infinities are what they are in NumPy."""
    plan = Stack((n, inner)).case(reduced(mode, (n, inner), 0, 1)).plan()
    x = np.random.default_rng(6).normal(size=(5, n, inner)).astype(np.float32)
    x[0, n // 2] = np.nan
    x[1, -1] = INF
    x[2, 0] = -INF
    x[3] = -INF
    x[4] = 0
    found = [
        p.predict(state_of(plan), x)
        for p in (reference(plan), get_engine(fast).compile(plan))
    ]
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5)
    if mode == "argmax":
        np.testing.assert_array_equal(found[1], x.argmax(axis=1))
    elif mode == "logsumexp":
        np.testing.assert_array_equal(found[1][1:4:2], [[INF] * inner, [-INF] * inner])


@pytest.mark.parametrize(
    ("shape", "out"),
    [
        ((1,), (4,)),
        ((), (3, 2)),
        ((3, 1, 2), (3, 5, 2)),
        ((3, 1), (3, 4)),
        ((2,), (4, 2)),
        ((4, 1, 1), (4, 2, 3)),
    ],
    ids=str,
)
def test_a_map_broadcasts(fast: str, shape: Shape, out: Shape) -> None:
    """A tape without instructions repeats its input over a larger output."""
    case: Case = ("map", shape, out, {})
    stack = Stack(shape).variable("mul").op("map", out, tape=Tape(1, (), (0,)))
    plan = stack.variable("mul").plan()
    wide, narrow, batches = state_of(plan, np.float64), state_of(plan), batches_of(plan)
    close(
        get_engine(fast).compile(plan).gradient(narrow, batches, 0)[1],
        reference(plan).gradient(wide, batches, 0)[1],
    )
    alone = Stack(shape).op("map", out, tape=Tape(1, (), (0,))).plan()
    x = batches.inputs[0]
    missing = (1,) * (len(out) - len(case[1]))
    wanted = np.broadcast_to(x.reshape(len(x), *missing, *shape), (len(x), *out))
    for program in (reference(alone), get_engine(fast).compile(alone)):
        np.testing.assert_array_equal(program.predict(state_of(alone), x), wanted)


def test_a_map_of_constants(fast: str) -> None:
    """Its tape reads no input; the input's gradient is zero."""
    build = Builder(RULES, 1)
    constant = build.finish([build.constant(2.5)])
    stack = Stack((3,)).variable("mul").op("map", (2, 3), tape=constant)
    plan = stack.variable("mul").plan()
    wide, narrow, batches = state_of(plan, np.float64), state_of(plan), batches_of(plan)
    x = batches.inputs[0]
    np.testing.assert_allclose(
        get_engine(fast).compile(plan).predict(narrow, x),
        reference(plan).predict(wide, x),
        rtol=1e-6,
    )
    gradient = get_engine(fast).compile(plan).gradient(narrow, batches, 0)[1]
    close(gradient, reference(plan).gradient(wide, batches, 0)[1])
    assert not gradient[:3].any()
    assert gradient[16:22].all()


SLICE = {"starts": (1, 0), "sizes": (2, 3), "steps": (1, 1)}


@pytest.mark.parametrize(
    ("kind", "shape", "out", "attrs"),
    [
        ("reduce", (3, 4), (3,), {"mode": "sum", "axis": 0, "count": 1}),
        ("reduce", (3, 4), (3,), {"mode": "sum", "axis": 2, "count": 1}),
        ("reduce", (3, 4), (3,), {"mode": "sum", "axis": 1, "count": 2}),
        ("reduce", (3, 4), (3,), {"mode": "sum", "axis": 1, "count": 0}),
        ("reduce", (3, 4), (3,), {"mode": "sum", "axis": (1,), "count": 1}),
        ("reduce", (), (), {"mode": "sum", "axis": 0, "count": 1}),
        ("cumsum", (3, 4), (3, 4), {"axis": 2, "reverse": False}),
        ("cumsum", (3, 4), (3,), {"axis": 0, "reverse": False}),
        ("permute", (3, 4), (4, 3), {"axes": (0, 1)}),
        ("permute", (3, 3), (3, 3), {"axes": (1, 1)}),
        ("permute", (3, 4), (4, 3), {"axes": (1, -2)}),
        ("permute", (3, 4), (4, 3), {"axes": (1,)}),
        ("permute", (3, 4), (4, 3), {"axes": 1}),
        ("permute", (3, 4), (4, 3), {}),
        ("slice", (3, 4), (2, 3), SLICE | {"starts": (2, 0)}),
        ("slice", (3, 4), (2, 3), SLICE | {"starts": (-1, 0)}),
        ("slice", (3, 4), (2, 3), SLICE | {"steps": (-2, 1)}),
        ("slice", (3, 4), (2, 3), SLICE | {"steps": (0, 1)}),
        ("slice", (3, 4), (2, 3), SLICE | {"steps": (2**31 - 1, 1)}),
        ("slice", (3, 4), (2, 3), SLICE | {"steps": (2**40, 1)}),
        ("slice", (3, 4), (2, 3), SLICE | {"sizes": (2, 4)}),
        ("slice", (3, 4), (2, 3), SLICE | {"sizes": (2, 0)}),
        ("place", (2, 3), (2, 4), SLICE),
        ("place", (2, 2), (3, 4), SLICE),
        ("softmax", (), (), {}),
    ],
)
def test_wrong_plans_are_refused(
    kind: str, shape: Shape, out: Shape, attrs: dict[str, Any]
) -> None:
    plan = Stack(shape).op(kind, out, attrs=attrs).plan()
    with pytest.raises(ValueError, match="native"):
        native(plan)


def test_an_unknown_reduction_is_refused() -> None:
    plan = Stack((3,)).case(reduced("median", (3,), 0, 1)).plan()
    with pytest.raises(NotImplementedError, match="median"):
        native(plan)
