"""Plans that are no stacks: random graphs on both engines, and in float64 against
differences."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from kurve.engines import Batches, Job, State, get_engine, run_job
from kurve.engines.base import Program
from kurve.engines.reference import ReferenceEngine
from kurve.ops.elementwise import RULES
from kurve.ops.tape import Builder, Tape
from kurve.plan import Head, MetricSpec, Op, Plan, Shape, Spec, VariableSpec, aligned

pytest.importorskip("kurve._core")
from kurve import _core
from kurve.engines.native import NativeEngine

ROWS = 6


def tape(name: str, count: int, *after: str) -> Tape:
    """name(name(x0, x1), ...), or of one input, and functions of that."""
    build = Builder(RULES, count)
    register = build.op(name, 0) if count == 1 else 0
    for k in range(1, count):
        register = build.op(name, register, k)
    for function in after:
        register = build.op(function, register)
    return build.finish([register])


class Graph:
    """A random plan: dense layers, some of which share their variables, formulas,
    products, tables, random numbers and values that are read several times."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.inputs = self.widths(4)
        self.heads = len(self.widths(3))
        self.targets = self.widths(4, self.heads) if self.random.random() < 0.6 else ()
        self.shapes = [*self.inputs, *self.targets]
        # Values that outputs may depend on.
        self.open = set(range(len(self.inputs)))
        self.ops: list[Op] = []
        self.params: list[VariableSpec] = []
        self.buffers: list[VariableSpec] = []
        self.kernels: list[dict[str, VariableSpec]] = []
        for _ in range(int(self.random.integers(3, 12))):
            getattr(self, str(self.random.choice(GROWTHS)))(self.pick())

    def widths(self, most: int, count: int | None = None) -> tuple[Shape, ...]:
        count = int(self.random.integers(1, 4)) if count is None else count
        return tuple((int(n),) for n in self.random.integers(1, most + 1, count))

    def pick(self, shape: Shape | None = None, open: bool = True) -> int:
        """Some value of this shape, or of one axis."""
        fits = [
            v
            for v, found in enumerate(self.shapes)
            if (found == shape if shape else len(found) == 1)
            and (v in self.open or not open)
        ]
        return int(self.random.choice(fits))

    def op(
        self, kind: str, reads: list[int], shape: tuple[int, ...], **rest: Any
    ) -> None:
        first, *more = (self.shapes[v] for v in reads)
        self.ops.append(
            Op(
                kind,
                f"op_{len(self.ops)}",
                first,
                shape,
                inputs=tuple(reads),
                more_shapes=tuple(more),
                **rest,
            )
        )
        if self.open.issuperset(reads):
            self.open.add(len(self.shapes))
        self.shapes.append(shape)

    def slot(self, vector: list[VariableSpec], name: str, shape: Shape) -> VariableSpec:
        start = aligned(vector[-1].end) if vector else 0
        trainable = bool(self.random.random() < 0.9)
        spec = VariableSpec(f"{len(vector)}/{name}", shape, start, trainable)
        vector.append(spec)
        return spec

    def dense(self, value: int, units: int, activation: str = "tanh") -> None:
        (width,) = self.shapes[value]
        known = [k for k in self.kernels if k["kernel"].shape == (width, units)]
        if known and self.random.random() < 0.6:
            roles = known[int(self.random.integers(len(known)))]
        else:
            roles = {
                "kernel": self.slot(self.params, "kernel", (width, units)),
                "bias": self.slot(self.params, "bias", (units,)),
            }
            self.kernels.append(roles)
        attrs = {"activation": activation, "alpha": 0.0}
        self.op("dense", [value], (units,), params=roles, attrs=attrs)

    def last(self) -> int:
        return len(self.shapes) - 1

    def reshaped(self, shape: Shape) -> int:
        self.op("reshape", [self.last()], shape)
        return self.last()

    def layer(self, value: int) -> None:
        name = self.random.choice(["tanh", "gelu", "linear"])
        self.dense(value, int(self.random.integers(2, 5)), str(name))

    def activation(self, value: int) -> None:
        attrs = {"activation": "softplus", "alpha": 0.0}
        self.op("activation", [value], self.shapes[value], attrs=attrs)

    def formula(self, value: int) -> None:
        shape, count = self.shapes[value], int(self.random.integers(2, 4))
        reads = [value, *(self.pick(shape) for _ in range(count - 1))]
        name = str(self.random.choice(["add", "mul"]))
        self.op("map", reads, shape, tape=tape(name, count, "tanh"))

    def concatenate(self, value: int) -> None:
        other = self.pick()
        total = (self.shapes[value][0] + self.shapes[other][0],)
        self.op("concatenate", [value, other], total, attrs={"axis": 0})

    def column(self, value: int) -> None:
        shape = self.shapes[value]
        slots = {
            "params": {"slope": self.slot(self.params, "slope", shape)},
            "buffers": {"shift": self.slot(self.buffers, "shift", (1,))},
        }
        self.op("map", [value], shape, tape=tape("mul", 3), **slots)

    def matmul(self, value: int) -> None:
        L, M, K, N = (int(n) for n in self.random.integers(1, 4, 4))
        transposed = self.random.random(2) < 0.5
        reads = []
        for (rows, columns), flag in zip(((M, K), (K, N)), transposed, strict=True):
            self.dense(value, L * rows * columns)
            reads.append(
                self.reshaped((L, columns, rows) if flag else (L, rows, columns))
            )
        attrs = {"transpose_a": bool(transposed[0]), "transpose_b": bool(transposed[1])}
        self.op("matmul", reads, (L, M, N), attrs=attrs)
        self.reshaped((L * M * N,))
        self.layer(self.last())

    def embedding(self, value: int) -> None:
        build, shape = Builder(RULES, 1), self.shapes[value]
        index = build.op("floor", build.op("mul", 3.0, build.op("sigmoid", 0)))
        self.op("map", [value], shape, tape=build.finish([index]))
        table = {"embeddings": self.slot(self.params, "embeddings", (3, 2))}
        self.op("embedding", [self.last()], (*shape, 2), params=table)
        self.reshaped((2 * shape[0],))

    def recurrent(self, value: int) -> None:
        """A sequence and, now and then, a mask, first states, and factors of h."""
        T, F, H = (int(n) for n in self.random.integers(1, 4, 3))
        kind = str(self.random.choice(["lstm", "gru", "simple_rnn"]))
        attrs: dict[str, Any] = {}
        masked, initial, dropout, reverse, sequences, after = (
            bool(on) for on in self.random.random(6) < 0.5
        )
        self.dense(value, T * F)
        reads = [self.reshaped((T, F))]
        if masked:
            build = Builder(RULES, 1)
            index = build.op("floor", build.op("mul", 2.0, build.op("sigmoid", 0)))
            self.dense(value, T)
            self.op("map", [self.last()], (T,), tape=build.finish([index]))
            reads.append(self.last())
        for _ in range(initial * (2 if kind == "lstm" else 1)):
            self.dense(value, H)
            reads.append(self.last())
        if dropout:  # no gradient goes there
            attrs = {"distribution": "uniform", "stream": len(self.ops)}
            self.op("random", [self.pick()], (H,), attrs=attrs)
            reads.append(self.last())
        width = {"lstm": 4, "gru": 3, "simple_rnn": 1}[kind] * H
        bias = (2, width) if kind == "gru" and after else (width,)
        roles = {
            "kernel": self.slot(self.params, "kernel", (F, width)),
            "recurrent_kernel": self.slot(self.params, "recurrent_kernel", (H, width)),
            "bias": self.slot(self.params, "bias", bias),
        }
        attrs = {"activation": "tanh", "reset_after": after}
        attrs |= {"recurrent_activation": "sigmoid", "masked": masked}
        attrs |= {"initial": initial, "recurrent_dropout": dropout}
        attrs |= {"reverse": reverse, "sequences": sequences}
        shape = (T, H) if sequences else (H,)
        for _ in range(int(self.random.integers(1, 3))):
            self.op(kind, reads, shape, params=roles, attrs=attrs)
            if sequences:
                self.reshaped((T * H,))

    def variable(self, value: int) -> None:
        shape, constant = self.shapes[value], self.random.random() < 0.3
        slot = self.slot(self.buffers if constant else self.params, "v", shape)
        where = {"buffers" if constant else "params": {"v": slot}}
        self.op("variable", [self.pick()], shape, **where)
        reads = [value, self.last()]
        self.op("map", reads, shape, tape=tape("mul", 2, "tanh"))

    def noise(self, value: int) -> None:
        shape = self.shapes[value]
        distribution = str(self.random.choice(["uniform", "normal"]))
        attrs = {"distribution": distribution, "stream": len(self.ops)}
        self.op("random", [self.pick()], shape, attrs=attrs)
        self.op("map", [value, self.last()], shape, tape=tape("mul", 2))

    def plan(self) -> Plan:
        """With one to three heads, one of which may have no loss, and losses of ops."""
        heads = []
        for h in range(self.heads):
            (units,) = self.targets[h] if self.targets else self.widths(3, 1)[0]
            self.dense(self.pick(), units, "linear")
            loss = None if h and self.random.random() < 0.3 else MSE
            metrics = (MetricSpec("mean_absolute_error"),) * int(loss is not None)
            weight = float(self.random.choice([1.0, 0.3]))
            heads.append(Head(self.last(), (units,), loss, metrics, weight))
        for h, target in enumerate(self.targets):
            if self.random.random() < 0.7:
                heads[h] = self.by_ops(heads[h], len(self.inputs) + h, target)
        return Plan(
            self.inputs,
            tuple(self.ops),
            tuple(self.params),
            tuple(self.buffers),
            tuple(heads),
            Spec("sgd", SGD),
            self.targets,
        )

    def by_ops(self, head: Head, target: int, shape: Shape) -> Head:
        """The head with a loss of ops: of the prediction, the target, and some value
        that may depend on other targets."""
        self.op("map", [head.value, target], shape, tape=tape("sub", 2))
        self.op("map", [self.last()], shape, tape=tape("softplus", 1))
        if self.random.random() < 0.5:
            reads = [self.last(), self.pick(shape, open=False)]
            self.op("map", reads, shape, tape=tape("mul", 2, "tanh"))
        if self.random.random() < 0.5:
            mode = str(self.random.choice(["mean", "sum", "max"]))
            reads = [self.last()]
            self.op("batch_reduce", reads, shape, attrs={"mode": mode})
            self.op("map", [*reads, self.last()], shape, tape=tape("mul", 2))
        if shape == (1,):
            self.op("map", [self.reshaped(())], (), tape=tape("softplus", 1))
        return replace(head, loss=Spec("rows"), rows=self.last())

    def state(self, plan: Plan, dtype: Any = np.float32) -> State:
        params = np.zeros(plan.params_size, dtype)
        random = np.random.default_rng(1)
        for spec in plan.params:
            values = random.uniform(-0.6, 0.6, spec.size).astype(np.float32)
            params[spec.offset : spec.end] = values
        buffers = random.uniform(-1, 1, plan.buffers_size).astype(np.float32)
        slots = np.zeros((0, plan.params_size), dtype)
        return State(params, buffers.astype(dtype), slots, np.zeros(0), 3, 7)

    def batches(self, plan: Plan, rates: bool = False) -> Batches:
        random = np.random.default_rng(2)

        def some(shape: tuple[int, ...]) -> np.ndarray:
            return random.uniform(-1, 1, (ROWS, *shape)).astype(np.float32)

        x = tuple(some(shape) for shape in plan.inputs)
        first = len(plan.inputs)
        read = {v - first for i in range(len(plan.ops)) for v in plan.reads(i)}
        y = tuple(
            some(head.shape)
            if head.loss == MSE or head.metrics or (plan.targets and h in read)
            else None
            for h, head in enumerate(plan.heads)
        )
        weights = tuple(
            random.uniform(0.5, 2, ROWS).astype(np.float32) if i % 2 else None
            for i in range(len(y))
        )
        order = random.permutation(ROWS)
        bounds = np.array([0, 4, ROWS])
        learning_rates = np.full(2, 0.01, np.float32) if rates else None
        return Batches(x, y, weights, order, bounds, learning_rates)


GROWTHS = ["layer", "layer", "activation", "formula", "formula", "concatenate"]
GROWTHS += ["column", "matmul", "embedding", "variable", "noise", "recurrent"]
MSE = Spec("mean_squared_error")
SGD = {
    "momentum": 0.0,
    "nesterov": False,
    "weight_decay": 0.0,
    "clipnorm": 0.0,
    "clipvalue": 0.0,
    "global_clipnorm": 0.0,
}


def native(plan: Plan) -> Program:
    return NativeEngine().compile(plan)


@pytest.mark.parametrize("seed", range(150))
def test_engines_agree(fast: str, seed: int) -> None:
    """Predictions, gradients, training and tests, of float32 and float64."""
    graph = Graph(seed)
    plan = graph.plan()
    wide, narrow = graph.state(plan, np.float64), graph.state(plan)
    batches = graph.batches(plan, rates=True)
    engine = get_engine(fast)
    reference, program = ReferenceEngine().compile(plan), engine.compile(plan)
    x = batches.inputs
    for a, b in zip(
        _tuple(reference.predict(wide, x)),
        _tuple(program.predict(narrow, x)),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)
    for step in range(2):
        loss, gradient = reference.gradient(wide, batches, step)
        found, slopes = program.gradient(narrow, batches, step)
        assert found == pytest.approx(loss, rel=1e-5)
        close(slopes, gradient)
    totals = np.zeros(plan.totals_size), np.zeros(plan.totals_size)
    run_job(ReferenceEngine(), Job(reference, wide, batches, 0, 2, totals[0]))
    run_job(engine, Job(program, narrow, batches, 0, 2, totals[1]))
    np.testing.assert_allclose(totals[1], totals[0], rtol=1e-4, atol=1e-6)
    close(narrow.params, wide.params)
    tested = np.zeros(plan.totals_size), np.zeros(plan.totals_size)
    reference.test(wide, batches, tested[0])
    program.test(narrow, batches, tested[1])
    np.testing.assert_allclose(tested[1], tested[0], rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("seed", range(60))
def test_gradients(seed: int) -> None:
    """Along a random direction, against a central difference in float64."""
    graph = Graph(1000 + seed)
    plan = graph.plan()
    state, batches = graph.state(plan, np.float64), graph.batches(plan)
    program = ReferenceEngine().compile(plan)
    direction = np.zeros_like(state.params)
    for spec in plan.params:
        if spec.trainable:
            direction[spec.offset : spec.end] = graph.random.normal(size=spec.size)

    def loss(distance: float) -> float:
        moved = replace(state, params=state.params + distance * direction)
        return program.gradient(moved, batches, 0)[0]

    _, gradient = program.gradient(state, batches, 0)
    slope = (loss(1e-5) - loss(-1e-5)) / 2e-5
    assert gradient @ direction == pytest.approx(slope, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("seed", range(40))
def test_jacobian(fast: str, seed: int) -> None:
    graph = Graph(2000 + seed)
    plan = graph.plan()
    plan = replace(plan.predicting(), heads=plan.predicting().heads[:1])
    wide, narrow = graph.state(plan, np.float64), graph.state(plan)
    x = graph.batches(plan).inputs
    y, rows = ReferenceEngine().compile(plan).jacobian(wide, x)
    found, slopes = get_engine(fast).compile(plan).jacobian(narrow, x)
    np.testing.assert_allclose(found, y, rtol=2e-5, atol=2e-6)
    close(slopes, rows)


@pytest.mark.parametrize("seed", range(30))
def test_a_row_has_the_same_bits_in_any_batch(fast: str, seed: int) -> None:
    graph = Graph(3000 + seed)
    plan = graph.plan()
    program, state = get_engine(fast).compile(plan), graph.state(plan)
    x = graph.batches(plan).inputs
    whole = _tuple(program.predict(state, x))
    for size in (1, 2, 5):
        parts = _tuple(program.predict(state, tuple(a[:size].copy() for a in x)))
        for part, all_rows in zip(parts, whole, strict=True):
            assert part.tobytes() == all_rows[:size].tobytes()


@pytest.mark.parametrize("seed", range(30))
def test_no_bit_depends_on_the_number_of_threads(seed: int) -> None:
    graph = Graph(4000 + seed)
    plan = graph.plan()
    batches, found = graph.batches(plan, rates=True), []
    threads = _core.get_threads()
    try:
        for count in (1, 2, 5):
            _core.set_threads(count)
            state, totals = graph.state(plan), np.zeros(plan.totals_size)
            run_job(NativeEngine(), Job(native(plan), state, batches, 0, 2, totals))
            found.append(state.params.tobytes() + totals.tobytes())
    finally:
        _core.set_threads(threads)
    assert found[1:] == found[:1] * 2


def hinge(**wrong: Any) -> Plan:
    """y = x w, with the loss max(0, 1 - y target) of ops."""
    w = VariableSpec("w", (2, 1), 0)
    build = Builder(RULES, 2)
    margin = build.op("sub", 1.0, build.op("mul", 0, 1))
    loss = build.finish([build.op("relu", margin)])
    linear = {"activation": "linear", "alpha": 0.0}
    ops = (
        Op("dense", "y", (2,), (1,), {"kernel": w}, attrs=linear, inputs=(0,)),
        Op("map", "l", (1,), (1,), tape=loss, inputs=(2, 1), more_shapes=((1,),)),
    )
    head = Head(2, (1,), Spec("rows"), (MetricSpec("accuracy"),), rows=3)
    given = {"heads": (head,), "targets": ((1,),), "ops": ops, **wrong}
    return Plan(((2,),), params=(w,), buffers=(), optimizer=Spec("sgd", SGD), **given)


@pytest.mark.parametrize("engine", [NativeEngine(), ReferenceEngine()])
def test_a_loss_of_ops(engine: Any) -> None:
    """Against the formula: sum of weight max(0, 1 - y target) / rows."""
    program = engine.compile(hinge())
    state = State(np.zeros(16, "f"), np.zeros(0, "f"), np.zeros((0, 16), "f"), *EMPTY)
    state.params[:2] = [0.5, -0.25]
    x = np.array([[1, 2], [4, 0], [0, 2]], "f")
    y, weights = np.array([[1], [1], [1]], "f"), np.array([1, 1, 3], "f")
    batches = Batches(x, y, weights, None, np.array([0, 3]), None)
    loss, gradient = program.gradient(state, batches, 0)
    assert loss == pytest.approx((1 * 1 + 0 + 3 * 1.5) / 3)
    np.testing.assert_allclose(gradient[:2], [-1 / 3, (-2 - 6) / 3], rtol=1e-6)
    totals = np.zeros(4)
    program.test(state, batches, totals)
    np.testing.assert_allclose(totals, [3 * loss, 3, 0, 3], rtol=1e-6)
    np.testing.assert_allclose(program.predict(state, x), [[0], [2], [-0.5]])
    found, _ = program.jacobian(state, x)
    np.testing.assert_allclose(found, [[0], [2], [-0.5]])


EMPTY = (np.zeros(0), 0, 7)


def test_outputs_in_several_shapes() -> None:
    """An output, two more with the same numbers, and an input as an output."""
    dense = {"activation": "tanh", "alpha": 0.0}
    w = VariableSpec("w", (2, 4), 0)
    ops = (
        Op("dense", "d", (2,), (4,), {"kernel": w}, attrs=dense, inputs=(0,)),
        Op("reshape", "r", (4,), (2, 2), inputs=(1,)),
        Op("reshape", "s", (2, 2), (4,), inputs=(2,)),
        Op("reshape", "x", (2,), (2,), inputs=(0,)),
    )
    shapes = [(4,), (2, 2), (4,), (2,)]
    heads = tuple(Head(1 + k, shape, MSE) for k, shape in enumerate(shapes))
    plan = Plan(((2,),), ops, (w,), (), heads, Spec("sgd", SGD))
    graph = Graph(0)
    batches = graph.batches(plan)
    found = native(plan).gradient(graph.state(plan), batches, 0)
    reference = ReferenceEngine().compile(plan)
    wanted = reference.gradient(graph.state(plan, np.float64), batches, 0)
    assert found[0] == pytest.approx(wanted[0], rel=1e-6)
    close(found[1], wanted[1])
    x = batches.inputs[0]
    y, rows, again, same = native(plan).predict(graph.state(plan), x)
    assert y.tobytes() == rows.tobytes() == again.tobytes()
    assert same.tobytes() == x.tobytes()


def test_what_predicts() -> None:
    plan = hinge()
    assert [op.layer for op in plan.predicting().ops] == ["y"]
    assert plan.predicting().is_stack
    assert plan.deterministic().heads[0].rows == 3
    dense, loss = plan.ops
    attrs = {"rate": 0.5, "stream": 1}
    dropout = Op("dropout", "d", (1,), (1,), attrs=attrs, inputs=(2,))
    rows = replace(loss, inputs=(3, 1))
    head = replace(plan.heads[0], value=3, rows=4)
    plan = hinge(ops=(dense, dropout, rows), heads=(head,)).deterministic()
    assert [op.layer for op in plan.ops] == ["y", "l"]
    assert (plan.heads[0].value, plan.heads[0].rows, plan.reads(1)) == (2, 3, (2, 1))
    plan = hinge()
    assert plan.trained_with(MSE).loss == MSE


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        ({"targets": ((1,), (1,))}, "there must be one target per head"),
        ({"heads": (Head(2, (1,), Spec("rows")),)}, "must name the value of its rows"),
        ({"heads": (Head(2, (1,), MSE, rows=3),)}, "must name the value of its rows"),
        ({"heads": (Head(2, (1,), Spec("rows"), rows=1),)}, "an op must compute"),
        ({"heads": (Head(2, (1,), Spec("rows"), rows=9),)}, "an op must compute"),
    ],
)
def test_wrong_losses(wrong: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        hinge(**wrong)


def test_outputs_that_depend_on_a_target() -> None:
    plan = hinge(heads=(Head(3, (1,), Spec("rows"), rows=3),))
    for engine in (NativeEngine(), ReferenceEngine()):
        with pytest.raises(ValueError, match="must not depend on targets"):
            engine.compile(plan)


def close(found: np.ndarray, wanted: np.ndarray) -> None:
    """To float32's rounding of the largest."""
    scale = max(1.0, float(np.abs(wanted).max(initial=0.0)))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5 * scale)


def _tuple(found: Any) -> tuple[np.ndarray, ...]:
    return found if isinstance(found, tuple) else (found,)


def test_a_tape_goes_on_as_if_it_were_written_again() -> None:
    """A tape that another one begins with is taken over: equal instructions behind it
    are still written once, and what is neutral is left out."""
    build = Builder(RULES, 2)
    half = build.op("mul", build.op("tanh", 0), 0.5)
    tape = build.finish([build.op("add", half, 1)])
    tapes = []
    for first in (True, False):
        again = Builder(RULES, 2)
        if not first:
            again.op("tanh", 0)
        (register,) = again.inline(tape, [0, 1])
        both = again.op("sub", register, again.op("mul", again.op("tanh", 0), 0.5))
        assert again.op("add", both, 0.0) == both
        tapes.append(again.finish([both]))
    assert tapes[0] == tapes[1]
    assert tapes[0].code[: len(tape.code)] == tape.code
    assert len(tapes[0].code) == len(tape.code) + 1
