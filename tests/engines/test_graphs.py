"""Plans that are no stacks: random graphs on both engines, and in float64 against
differences."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from kurve.engines import Batches, Job, State, run_job
from kurve.engines.base import Program
from kurve.engines.reference import ReferenceEngine
from kurve.ops.elementwise import RULES
from kurve.ops.tape import Builder, Tape
from kurve.plan import Head, MetricSpec, Op, Plan, Spec, VariableSpec, aligned

pytest.importorskip("kurve._core")
from kurve.engines.native import NativeEngine

ROWS = 6


def tape(name: str, count: int) -> Tape:
    """name(name(x0, x1), ...), or of one input."""
    build = Builder(RULES, count)
    register = 0
    if count == 1:
        return build.finish([build.op(name, 0)])
    for k in range(1, count):
        register = build.op(name, register, k)
    return build.finish([register])


class Graph:
    """A random plan: dense layers, some of which share their variables, activations,
    sums, products, concatenations and values that are read several times."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.shapes: list[tuple[int, ...]] = [
            (int(n),) for n in self.random.integers(1, 5, self.random.integers(1, 4))
        ]
        self.inputs = tuple(self.shapes)
        self.ops: list[Op] = []
        self.params: list[VariableSpec] = []
        self.kernels: list[dict[str, VariableSpec]] = []
        for _ in range(int(self.random.integers(3, 12))):
            self.grow()

    def pick(self, shape: tuple[int, ...] | None = None) -> int:
        fits = [v for v, s in enumerate(self.shapes) if shape in (None, s)]
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
        self.shapes.append(shape)

    def variable(self, name: str, shape: tuple[int, ...]) -> VariableSpec:
        start = aligned(self.params[-1].end) if self.params else 0
        trainable = bool(self.random.random() < 0.9)
        spec = VariableSpec(f"{len(self.params)}/{name}", shape, start, trainable)
        self.params.append(spec)
        return spec

    def dense(self, value: int, units: int, activation: str = "tanh") -> None:
        (width,) = self.shapes[value]
        known = [k for k in self.kernels if k["kernel"].shape == (width, units)]
        if known and self.random.random() < 0.6:
            roles = known[int(self.random.integers(len(known)))]
        else:
            roles = {
                "kernel": self.variable("kernel", (width, units)),
                "bias": self.variable("bias", (units,)),
            }
            self.kernels.append(roles)
        attrs = {"activation": activation, "alpha": 0.0}
        self.op("dense", [value], (units,), params=roles, attrs=attrs)

    def grow(self) -> None:
        value = self.pick()
        shape = self.shapes[value]
        kind = self.random.choice(
            ["dense", "dense", "activation", "add", "mul", "concatenate", "column"]
        )
        if kind == "dense":
            name = self.random.choice(["tanh", "gelu", "linear"])
            self.dense(value, int(self.random.integers(2, 5)), str(name))
        elif kind == "activation":
            attrs = {"activation": "softplus", "alpha": 0.0}
            self.op("activation", [value], shape, attrs=attrs)
        elif kind in ("add", "mul"):
            count = int(self.random.integers(2, 4))
            reads = [value, *(self.pick(shape) for _ in range(count - 1))]
            self.op("map", reads, shape, tape=tape(str(kind), count))
        elif kind == "concatenate":
            other = self.pick()
            total = (shape[0] + self.shapes[other][0],)
            self.op("concatenate", [value, other], total, attrs={"axis": 0})
        else:
            slope = {"slope": self.variable("slope", shape)}
            self.op("map", [value], shape, params=slope, tape=tape("mul", 2))

    def plan(self) -> Plan:
        """With one to three heads, one of which may have no loss."""
        heads = []
        for _ in range(int(self.random.integers(1, 4))):
            self.dense(self.pick(), int(self.random.integers(1, 4)), "linear")
        first = len(self.inputs)
        for i, op in enumerate(self.ops[-3:], len(self.ops) - len(self.ops[-3:])):
            if op.kind != "dense":
                continue
            loss = Spec("mean_squared_error") if heads or i else None
            loss = None if heads and self.random.random() < 0.3 else loss
            metrics = (MetricSpec("mean_absolute_error"),) * int(loss is not None)
            weight = float(self.random.choice([1.0, 0.3]))
            heads.append(Head(first + i, op.out_shape, loss, metrics, weight))
        if all(head.loss is None for head in heads):
            heads[0] = replace(heads[0], loss=Spec("mean_squared_error"))
        return Plan(
            self.inputs,
            tuple(self.ops),
            tuple(self.params),
            (),
            tuple(heads),
            Spec("sgd", SGD),
        )

    def state(self, plan: Plan, dtype: Any = np.float32) -> State:
        params = np.zeros(plan.params_size, dtype)
        random = np.random.default_rng(1)
        for spec in plan.params:
            values = random.uniform(-0.6, 0.6, spec.size).astype(np.float32)
            params[spec.offset : spec.end] = values
        empty = np.zeros(0, dtype)
        slots = np.zeros((0, plan.params_size), dtype)
        return State(params, empty, slots, np.zeros(0), 0, 7)

    def batches(self, plan: Plan, rates: bool = False) -> Batches:
        random = np.random.default_rng(2)

        def some(shape: tuple[int, ...]) -> np.ndarray:
            return random.uniform(-1, 1, (ROWS, *shape)).astype(np.float32)

        x = tuple(some(shape) for shape in plan.inputs)
        y = tuple(some(h.shape) if h.loss or h.metrics else None for h in plan.heads)
        weights = tuple(
            random.uniform(0.5, 2, ROWS).astype(np.float32) if i % 2 else None
            for i in range(len(y))
        )
        order = random.permutation(ROWS)
        bounds = np.array([0, 4, ROWS])
        learning_rates = np.full(2, 0.01, np.float32) if rates else None
        return Batches(x, y, weights, order, bounds, learning_rates)


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
def test_engines_agree(seed: int) -> None:
    """Predictions, gradients, training and tests, of float32 and float64."""
    graph = Graph(seed)
    plan = graph.plan()
    wide, narrow = graph.state(plan, np.float64), graph.state(plan)
    batches = graph.batches(plan, rates=True)
    reference, program = ReferenceEngine().compile(plan), native(plan)
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
    run_job(NativeEngine(), Job(program, narrow, batches, 0, 2, totals[1]))
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
def test_jacobian(seed: int) -> None:
    graph = Graph(2000 + seed)
    plan = graph.plan()
    plan = replace(plan, heads=plan.heads[:1])
    wide, narrow = graph.state(plan, np.float64), graph.state(plan)
    x = graph.batches(plan).inputs
    y, rows = ReferenceEngine().compile(plan).jacobian(wide, x)
    found, slopes = native(plan).jacobian(narrow, x)
    np.testing.assert_allclose(found, y, rtol=2e-5, atol=2e-6)
    close(slopes, rows)


@pytest.mark.parametrize("seed", range(30))
def test_a_row_has_the_same_bits_in_any_batch(seed: int) -> None:
    graph = Graph(3000 + seed)
    plan = graph.plan()
    program, state = native(plan), graph.state(plan)
    x = graph.batches(plan).inputs
    whole = _tuple(program.predict(state, x))
    for size in (1, 2, 5):
        parts = _tuple(program.predict(state, tuple(a[:size].copy() for a in x)))
        for part, all_rows in zip(parts, whole, strict=True):
            assert part.tobytes() == all_rows[:size].tobytes()


def close(found: np.ndarray, wanted: np.ndarray) -> None:
    """To float32's rounding of the largest."""
    scale = max(1.0, float(np.abs(wanted).max(initial=0.0)))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5 * scale)


def _tuple(found: Any) -> tuple[np.ndarray, ...]:
    return found if isinstance(found, tuple) else (found,)
