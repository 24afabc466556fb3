"""Ops that formulas of one's own are made of: products of values, tables, variables as
values, random numbers and sums over the batch."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from kurve.engines import Batches, State, get_engine
from kurve.engines.reference import ReferenceEngine
from kurve.ops.tape import Tape
from kurve.plan import Head, MetricSpec, Op, Plan, Shape, Spec, VariableSpec, aligned

pytest.importorskip("kurve._core")
from kurve import _core
from tests.engines.test_graphs import EMPTY, MSE, SGD, Graph, native, tape


def wide(mode: str) -> Plan:
    """Numbers to rows of a table, attention among them, a sum with a variable and
    random numbers, and a loss that compares each sample with the whole batch: large
    enough for several threads."""
    table = VariableSpec("table", (90, 24), 0)
    place = VariableSpec("place", (40, 24), table.end)
    ops = (
        Op("embedding", "e", (40,), (40, 24), {"embeddings": table}, inputs=(0,)),
        Op("variable", "v", (40,), (40, 24), {"v": place}, inputs=(0,)),
        Op(
            "random",
            "r",
            (40,),
            (40, 24),
            attrs={"distribution": "normal", "stream": 2},
            inputs=(0,),
        ),
        _of(tape("add", 3), [2, 3, 4], (40, 24)),
        Op(
            "matmul",
            "qk",
            (40, 24),
            (40, 40),
            attrs={"transpose_a": False, "transpose_b": True},
            inputs=(5, 5),
            more_shapes=((40, 24),),
        ),
        Op("softmax", "s", (40, 40), (40, 40), inputs=(6,)),
        Op(
            "matmul",
            "y",
            (40, 40),
            (40, 24),
            attrs={"transpose_a": True, "transpose_b": False},
            inputs=(7, 5),
            more_shapes=((40, 24),),
        ),
        _of(tape("sub", 2, "square"), [8, 1], (40, 24)),
        Op("batch_reduce", "b", *[(40, 24)] * 2, attrs={"mode": mode}, inputs=(9,)),
        _of(tape("mul", 2), [9, 10], (40, 24)),
    )
    head = Head(8, (40, 24), Spec("rows"), (MetricSpec("mean_absolute_error"),), 1, 11)
    optimizer, targets = Spec("sgd", SGD), ((40, 24),)
    return Plan(((40,),), ops, (table, place), (), (head,), optimizer, targets)


def _of(tape: Tape, reads: list[int], shape: Shape) -> Op:
    more = (shape,) * (len(reads) - 1)
    return Op(
        "map", "m", shape, shape, tape=tape, inputs=tuple(reads), more_shapes=more
    )


def words(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers, many of which are 7, and targets."""
    random = np.random.default_rng(3)
    x = random.integers(0, 90, (rows, 40)).astype(np.uint8)
    x[random.random(x.shape) < 0.5] = 7
    return x, random.normal(size=(rows, 40, 24)).astype(np.float32)


@pytest.mark.parametrize("mode", ["mean", "sum", "max"])
def test_large_ops(mode: str) -> None:
    """Engines agree, and no bit depends on the number of threads or on other rows."""
    plan, (x, y) = wide(mode), words(70)
    batches = Batches(x, y, None, None, np.array([0, 70]), np.full(1, 1e-3, "f"))
    graph = Graph(0)
    state, program = graph.state(plan), native(plan)
    reference = ReferenceEngine().compile(plan)
    loss, wanted = reference.gradient(graph.state(plan, np.float64), batches, 0)
    threads, bits = _core.get_threads(), []
    try:
        for count in (1, 2, 5):
            _core.set_threads(count)
            found, gradient = program.gradient(state, batches, 0)
            predicted = program.predict(state, x)
            assert program.predict(state, x[:9]).tobytes() == predicted[:9].tobytes()
            bits.append(gradient.tobytes() + predicted.tobytes())
    finally:
        _core.set_threads(threads)
    assert bits[1:] == bits[:1] * 2
    assert found == pytest.approx(loss, rel=1e-5)
    np.testing.assert_allclose(gradient, wanted, atol=2e-5 * np.abs(wanted).max())
    near = reference.predict(graph.state(plan, np.float64), x[:5])
    np.testing.assert_allclose(predicted[:5], near, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("a", [False, True])
@pytest.mark.parametrize("b", [False, True])
@pytest.mark.parametrize(
    "sizes",
    [(1, 2, 64, 9), (3, 7, 5, 1), (2, 1, 33, 1), (1, 70, 20, 40), (2, 4, 400, 3)],
)
def test_matmul(fast: str, a: bool, b: bool, sizes: tuple[int, int, int, int]) -> None:
    """Every way of storing the matrices, in each of the kernel's methods."""
    L, M, K, N = sizes
    left = (L, K, M) if a else (L, M, K)
    right = (L, N, K) if b else (L, K, N)
    first = VariableSpec("a", left, 0)
    second = VariableSpec("b", right, aligned(first.end))
    ops = (
        Op("variable", "a", (L, M, N), left, {"v": first}, inputs=(0,)),
        Op("variable", "b", (L, M, N), right, {"v": second}, inputs=(0,)),
        Op(
            "matmul",
            "y",
            left,
            (L, M, N),
            attrs={"transpose_a": a, "transpose_b": b},
            inputs=(1, 2),
            more_shapes=(right,),
        ),
    )
    head = Head(3, (L, M, N), MSE)
    plan = Plan(((L, M, N),), ops, (first, second), (), (head,))
    graph, y = Graph(0), np.random.default_rng(0).normal(size=(3, L, M, N))
    y = y.astype("f")
    batches = Batches(y, y, None, None, np.array([0, 3]), None)
    found = get_engine(fast).compile(plan).gradient(graph.state(plan), batches, 0)
    wide = graph.state(plan, np.float64)
    wanted = ReferenceEngine().compile(plan).gradient(wide, batches, 0)
    assert found[0] == pytest.approx(wanted[0], rel=1e-6)
    np.testing.assert_allclose(found[1], wanted[1], rtol=1e-5, atol=1e-6)


def test_numbers_without_a_row(engine: str) -> None:
    """They give NaN, and their gradient goes nowhere."""
    table = VariableSpec("t", (3, 2), 0)
    op = Op("embedding", "e", (), (2,), {"embeddings": table}, inputs=(0,))
    plan = Plan(((),), (op,), (table,), (), (Head(1, (2,), MSE),))
    state = State(np.zeros(16, "f"), np.zeros(0, "f"), np.zeros((0, 16), "f"), *EMPTY)
    state.params[:6] = [1, 2, 3, 4, 5, 6]
    x = np.array([2, -1, 3, np.nan, 1.9, np.inf, -0.5, 1e30, 0], "f")
    program, nan = get_engine(engine).compile(plan), [np.nan] * 2
    wanted = [[5, 6], nan, nan, nan, [3, 4], nan, nan, nan, [1, 2]]
    np.testing.assert_array_equal(program.predict(state, x), wanted)
    batches = Batches(x, np.zeros((9, 2), "f"), None, None, np.array([0, 9]), None)
    loss, gradient = program.gradient(state, batches, 0)
    assert np.isnan(loss)
    np.testing.assert_allclose(
        gradient[:6], np.array([1, 2, 3, 4, 5, 6]) / 9, rtol=1e-6
    )


def alignments(leading: Shape, T: int, C: int, N: int) -> Plan:
    """Sequences: logits are x and a variable, the rest is x."""
    place = VariableSpec("place", (*leading, T, C), 0)
    shapes = [(*leading, T, C), (*leading, N), leading, leading]
    ops = (
        Op("variable", "v", shapes[0], shapes[0], {"v": place}, inputs=(0,)),
        _of(tape("add", 2), [0, 5], shapes[0]),
        Op(
            "ctc",
            "c",
            shapes[0],
            leading,
            attrs={"blank": C - 1},
            inputs=(6, 1, 2, 3),
            more_shapes=tuple(shapes[1:]),
        ),
    )
    head = Head(7, leading, Spec("rows"), rows=7)
    return Plan(tuple(shapes), ops, (place,), (), (head,), targets=(leading,))


@pytest.mark.parametrize(
    ("rows", "leading", "sizes"),
    [(1, (), (1, 2, 1)), (40, (), (17, 9, 6)), (3, (2,), (60, 4, 30))],
)
def test_alignments(
    rows: int, leading: Shape, sizes: tuple[int, int, int], fast: str
) -> None:
    """Loss and gradient by both engines, and of the reference by differences; the same
    bits by any number of threads; the probabilities of all labellings add up to 1."""
    (T, C, N), random = sizes, np.random.default_rng(4)
    plan, graph = alignments(leading, T, C, N), Graph(0)
    x = random.normal(size=(rows, *leading, T, C)).astype("f")
    y = random.integers(0, C - 1, (rows, *leading, N)).astype("f")
    y[::2] = y[::2, ..., :1]
    counts = random.integers(0, N // 2 + 1, (rows, *leading)).astype("f")
    steps = random.integers(N if N < T else T, T + 1, counts.shape).astype("f")
    given = x, y, counts, steps
    batches = Batches(given, counts, None, None, np.array([0, rows]), None)
    reference, bits = ReferenceEngine().compile(plan), []
    wanted = reference.gradient(graph.state(plan, np.float64), batches, 0)
    threads = _core.get_threads()
    try:
        for count in (1, 2, 3):
            _core.set_threads(count)
            program = get_engine(fast).compile(plan)
            found = program.gradient(graph.state(plan), batches, 0)
            bits.append((found[0], found[1].tobytes()))
    finally:
        _core.set_threads(threads)
    assert bits[1:] == bits[:1] * 2
    assert found[0] == pytest.approx(wanted[0], rel=1e-5)
    np.testing.assert_allclose(found[1], wanted[1], atol=3e-6 * np.abs(wanted[1]).max())
    state, way = graph.state(plan, np.float64), random.normal(size=x[0].size)
    losses = []
    for step in (-1e-5, 1e-5):
        moved = replace(state, params=state.params.copy())
        moved.params[: x[0].size] += step * way
        losses.append(reference.gradient(moved, batches, 0)[0])
    slope = (losses[1] - losses[0]) / 2e-5
    assert slope == pytest.approx(wanted[1][: x[0].size] @ way, rel=1e-6, abs=1e-8)


def test_all_labels_of_a_sequence(engine: str) -> None:
    """Probabilities of all labellings add up to 1; what no alignment gives has none,
    and no gradient; numbers that are no labels or lengths give NaN."""
    T, C = 3, 3
    plan, graph = alignments((), T, C, T), Graph(0)
    every = [w for n in range(T + 1) for w in itertools.product((0, 1), repeat=n)]
    y = np.array([(*w, *(0,) * (T - len(w))) for w in every], "f")
    counts, rows = np.array([len(w) for w in every], "f"), len(every)
    x = np.repeat(np.random.default_rng(1).normal(size=(1, T, C)), rows, 0).astype("f")
    program, state = get_engine(engine).compile(plan), graph.state(plan)
    steps = np.full(rows, T, "f")
    p = np.exp(-program.predict(state, (x, y, counts, steps)))
    assert p.sum() == pytest.approx(1.0, abs=1e-6)
    assert p[every.index((0, 0, 0))] == 0.0 < p[every.index((0, 0))]
    one = x[:1], np.array([[0, 0, 0]], "f")
    for count, step, wanted in [
        (3, 3, np.inf),
        (1, 0, np.inf),
        (0, 0, 0),
        (4, 3, np.nan),
        (1, 4, np.nan),
        (np.nan, 3, np.nan),
        (-1, 3, np.nan),
        (1, -2, np.nan),
        (1, np.inf, np.nan),
    ]:
        given = *one, np.array([count], "f"), np.array([step], "f")
        np.testing.assert_array_equal(program.predict(state, given), [wanted])
        batches = Batches(given, np.zeros(1, "f"), None, None, np.array([0, 1]), None)
        slope = program.gradient(state, batches, 0)[1][: T * C]
        assert np.isnan(slope).all() if np.isnan(wanted) else not slope.any()
    for label in (-1, 3, np.nan, np.inf):
        given = *one, np.ones(1, "f"), np.full(1, T, "f")
        given[1][0, 0] = label
        assert np.isnan(program.predict(state, given)).all()


def test_random_numbers(fast: str) -> None:
    """Uniform below 1, normal with mean 0 and variance 1, others with each step."""
    for distribution, mean, std in [("uniform", 0.5, 12**-0.5), ("normal", 0.0, 1.0)]:
        attrs = {"distribution": distribution, "stream": 1}
        op = Op("random", "r", (), (1001,), attrs=attrs, inputs=(0,))
        program = get_engine(fast).compile(
            Plan(((),), (op,), (), (), (Head(1, (1001,)),))
        )
        empty = np.zeros(0, "f")
        state = State(empty, empty, np.zeros((0, 0), "f"), np.zeros(0), 0, 5)
        y = program.predict(state, np.zeros(1003, "f"))
        assert y.max() < 1 or distribution == "normal"
        assert y.mean() == pytest.approx(mean, abs=4e-3)
        assert y.std() == pytest.approx(std, rel=4e-3)
        again = program.predict(replace(state, step=1), np.zeros(1003, "f"))
        assert np.mean(again == y) < 0.001


VECTOR = VariableSpec("v", (4,), 0)
SQUARE = {"transpose_a": False, "transpose_b": False}


@pytest.mark.parametrize(
    ("op", "rule"),
    [
        (Op("matmul", "o", (2, 2), (2, 2), attrs=SQUARE), "do not fit a product"),
        (
            Op(
                "matmul",
                "o",
                (2, 2),
                (2, 3),
                attrs=SQUARE,
                inputs=(0, 0),
                more_shapes=((2, 2),),
            ),
            "do not fit a product",
        ),
        (
            Op(
                "matmul",
                "o",
                (4,),
                (4,),
                attrs=SQUARE,
                inputs=(0, 0),
                more_shapes=((4,),),
            ),
            "do not fit a product",
        ),
        (Op("ctc", "o", (2, 2), (), attrs={"blank": 0}), "do not fit labels"),
        (
            Op(
                "ctc",
                "o",
                (2, 2),
                (2,),
                attrs={"blank": 0},
                inputs=(0,) * 4,
                more_shapes=((2, 2),) * 3,
            ),
            "do not fit labels",
        ),
        (
            Op("embedding", "o", (2, 2), (2, 2, 2), {"embeddings": VECTOR}),
            "do not fit its table",
        ),
        (Op("variable", "o", (2, 2), (2, 2), {"v": VECTOR}), "do not fit its variable"),
        (Op("variable", "o", (2, 2), (4,)), "do not fit a single variable"),
        (
            Op("random", "o", (2, 2), (4,), attrs={"distribution": "x", "stream": 0}),
            "does not support the distribution 'x'",
        ),
        (
            Op("batch_reduce", "o", (2, 2), (4,), attrs={"mode": "mean"}),
            "must depend only on their own sample",
        ),
    ],
)
def test_wrong_ops(op: Op, rule: str) -> None:
    plan = Plan(((2, 2),), (op,), (VECTOR,), (), (Head(1, op.out_shape, MSE),))
    with pytest.raises((ValueError, NotImplementedError), match=rule):
        native(plan)
