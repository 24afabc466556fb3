"""Hands plans with one to three wrong numbers or parts to the compiled core.

usage: python -m tests.native.wrong_plans FIRST COUNT

Prints the number of each plan before it is built, so that a crash can be traced to it,
then how many plans were refused and how many calls ran.
"""

from __future__ import annotations

import copy
import math
import random
import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np

from kurve import _core
from kurve.engines.lowering import attrs_of
from kurve.ops.elementwise import RULES
from kurve.ops.tape import Tape, gradient
from kurve.plan import Head, MetricSpec, Op, Plan, Spec, VariableSpec
from tests.engines.images import STACKS, model_of
from tests.engines.recurrence import FLAGS, GATES, Recurrent
from tests.engines.test_graphs import Graph
from tests.native.plans import Builder, mse, optimizer, slots_of

INTEGERS = [0, -1, 1, 2, 3, 7, 16, 64, 1000, 2**31 - 1, 2**31, 2**40, 2**62, -(2**40)]
INTEGERS += [2**63 - 1, -(2**63), -(2**31)]
FLOATS = [
    0.0,
    -1.0,
    0.5,
    1.0,
    2.0,
    3.0,
    17.0,
    1e5,
    1e9,
    1e10,
    2.0**31,
    2.0**32,
    2.0**63,
]
FLOATS += [1e18, 1e300, -1e300, math.nan, math.inf, -math.inf]
REFUSALS = (ValueError, TypeError, NotImplementedError, MemoryError, OverflowError)
MAX_SIZE = 100_000  # floats of a vector or a sample


def plain(plan: Plan) -> dict[str, Any]:
    """The arguments of the core's Program, as lists and dicts."""

    def op(op: Op) -> list[Any]:
        params = {role: plan.params.index(s) for role, s in op.params.items()}
        buffers = {role: plan.buffers.index(s) for role, s in op.buffers.items()}
        shapes = list(op.in_shape), list(op.out_shape)
        reads = [list(op.inputs), [list(shape) for shape in op.more_shapes]]
        parts = [op.kind, op.layer, *shapes, params, buffers, attrs_of(op), reads]
        if op.tape is None:
            return [*parts, None]
        slots = list(params.values()), list(buffers.values())
        wanted = list(range(len(op.in_shapes) + len(params)))
        backward = tape(gradient(op.tape, RULES, wanted))
        return [*parts, [tape(op.tape), backward, *slots, wanted]]

    def tape(tape: Tape) -> list[Any]:
        code = [[step.name, list(step.arguments), step.value] for step in tape.code]
        return [tape.inputs, code, list(tape.outputs)]

    def head(h: Head) -> list[Any]:
        value = -1 if plan.is_stack else h.value
        metrics = [[m.kind, attrs_of(m), m.size, m.weighted] for m in h.metrics]
        rows = -1 if h.rows is None else h.rows
        return [value, list(h.shape), spec(h.loss), metrics, h.weight, rows]

    def slot(s: VariableSpec) -> list[Any]:
        return [s.name, list(s.shape), s.offset, s.trainable, s.l1, s.l2]

    def spec(spec: Spec | None) -> list[Any] | None:
        return None if spec is None else [spec.kind, attrs_of(spec)]

    return {
        "inputs": [list(shape) for shape in plan.inputs],
        "targets": [list(shape) for shape in plan.targets],
        "heads": [head(h) for h in plan.heads],
        "ops": [op(o) for o in plan.ops],
        "params": [slot(s) for s in plan.params],
        "buffers": [slot(s) for s in plan.buffers],
        "optimizer": spec(plan.optimizer),
    }


def all_plans() -> list[tuple[dict[str, Any], int]]:
    """Plans, and the number of slots of each optimizer."""
    plans = [
        model_of(stack, "native")._network.program().plan for stack in STACKS.values()
    ]
    dense = Builder(3, 5).normalization().dense(7, "gelu", l2=0.1).dropout(0.2)
    dense.activation("elu").dense(4).softmax()
    sparse = Spec("sparse_categorical_crossentropy", {"from_logits": False})
    plans += [dense.plan(sparse, optimizer("nadam", clipnorm=1.0))] * 8
    thresholds = {"thresholds": 2, "threshold_0": 0.2, "threshold_1": 0.5}
    matrix = {"classes": 3, "largest_target": True, "largest_output": True}
    counts = (
        MetricSpec("confusion", {**thresholds, "top_k": 2}, 6),
        MetricSpec("confusion", {"thresholds": 5, "even": 1, "with_ends": 1}, 12),
        MetricSpec("confusion", {**thresholds, "multi_label": 1}, 24, True),
        MetricSpec("class_counts", {"threshold": 0.5}, 12),
        MetricSpec("confusion_matrix", {**matrix, "ignore_class": 1}, 9),
        MetricSpec("r2_score", {"counts_rows": 1}, 14),
        MetricSpec("cosine_similarity"),
    )
    plans += [Builder(5).dense(4).plan(mse(), optimizer("sgd"), counts)] * 8
    outputs_per_target = {"quantiles": 2, "quantile_0": 0.1, "quantile_1": 0.9}
    losses = [
        mse(),
        Spec("pinball", outputs_per_target),
        Spec("gaussian_nll", {"beta": 0.5}),
    ]
    plans += [
        Builder(5).dense(8, "snake").dense(4).plan(loss, optimizer("rmsprop"))
        for loss in losses * 4
    ]
    plans += [
        Recurrent(kind, (4, 3, 5), **dict.fromkeys(FLAGS, True)).plan
        for kind in GATES
        for _ in range(4)
    ]
    plans += [Graph(seed).plan() for seed in range(len(plans))]
    return [(plain(plan), slots_of(plan.optimizer)) for plan in plans]


def places(node: Any) -> list[tuple[Any, Any]]:
    """Each number, text and part, as its container and its key there."""
    found = []
    keys = node.keys() if isinstance(node, dict) else range(len(node))
    for key in list(keys):
        found.append((node, key))
        if isinstance(node[key], (dict, list)):
            found += places(node[key])
    return found


def mutate(chance: random.Random, plan: dict[str, Any], words: list[str]) -> None:
    node, key = chance.choice(places(plan))
    value = node[key]
    if isinstance(value, bool):
        node[key] = not value
    elif isinstance(value, int):
        node[key] = chance.choice([*INTEGERS, value + 1, value - 1, 2 * value, -value])
    elif isinstance(value, float):
        node[key] = chance.choice([*FLOATS, value + 1, value - 1, 2 * value, -value])
    elif isinstance(value, str):
        node[key] = chance.choice(words)
    elif isinstance(value, list) and value:
        i, j = chance.randrange(len(value)), chance.randrange(len(value))
        change = chance.randrange(6)
        if change == 0:
            del value[i]
        elif change == 1:
            value.insert(j, copy.deepcopy(value[i]))
        elif change == 2:
            value[i], value[j] = value[j], value[i]
        elif change == 3:
            value[i] = None
        elif change == 4:
            node[key] = []
        else:
            node[key] = None
    elif isinstance(value, dict) and value:
        name = chance.choice(sorted(value))
        part = value.pop(name)
        if chance.random() < 0.5:
            value[chance.choice(words)] = part
    else:
        node[key] = chance.choice([[], {}, None, 1])


def program_of(plan: dict[str, Any]) -> _core.Program:
    def op(parts: list[Any]) -> _core.Op:
        *plain, reads, tapes = parts
        made = _core.Op(*plain)
        if reads:
            made.set_inputs(*reads)
        if tapes:
            forward, backward, *slots = tapes
            made.set_tape(tape(forward), tape(backward), *slots)
        return made

    def tape(parts: list[Any]) -> _core.Tape:
        inputs, code, outputs = parts
        return _core.Tape(inputs, [tuple(step) for step in code], outputs)

    def head(parts: list[Any]) -> _core.Head:
        value, shape, loss, metrics, *rest = parts
        made = [metric and _core.Metric(*metric) for metric in metrics]
        return _core.Head(value, shape, loss and _core.Spec(*loss), made, *rest)

    return _core.Program(
        plan["inputs"],
        [part and op(part) for part in plan["ops"]],
        [slot and _core.VariableSpec(*slot) for slot in plan["params"]],
        [slot and _core.VariableSpec(*slot) for slot in plan["buffers"]],
        [part and head(part) for part in plan["heads"]],
        plan["optimizer"] and _core.Spec(*plan["optimizer"]),
        plan["targets"],
    )


def run(chance: random.Random, plan: dict[str, Any], slots: int) -> int:
    """Make each call of the core, with arrays that fit the plan, or nearly.

    Returns:
        How many calls succeeded.
    """
    program = program_of(plan)

    def some(size: int) -> int:
        return max(
            0, size + (chance.choice([-1, 1, 16]) if chance.random() < 0.1 else 0)
        )

    def vector(slots: list[Any]) -> np.ndarray:
        end = max((s[2] + math.prod(s[1]) for s in slots), default=0)
        return np.ones(some(-(-min(end, MAX_SIZE) // 16) * 16), np.float32)

    n, rng = 3, np.random.default_rng(0)
    heads = plan["heads"]
    inputs = [min(math.prod(shape), MAX_SIZE) for shape in plan["inputs"]]
    outputs = [min(math.prod(head[1]), MAX_SIZE) for head in heads]
    params, buffers = vector(plan["params"]), vector(plan["buffers"])
    state = _core.State(
        params, buffers, np.zeros((some(slots), len(params)), "f"), np.ones(some(1))
    )
    x = [rng.normal(size=(n, some(size))).astype(np.float32) for size in inputs]
    sizes = [min(m[2], MAX_SIZE) for head in heads for m in head[3]]
    losses = len(heads) if len(heads) > 1 else 0
    totals = np.zeros(2 + losses + sum(sizes))
    y = [np.zeros((n, some(size)), np.float32) for size in outputs]
    bounds = np.array(chance.choice([[0, 2, 3], [0, 3], [0, 4], [3, 1], [0]]), np.int64)
    order = np.array(chance.choice([[0, 1, 2], [2, 2, 9], [-1, 0, 1]]), np.int64)
    wanted = plan["targets"] or [head[1] for head in heads]
    done = 0
    for size_of in (
        math.prod,
        lambda shape: 1,
        lambda shape: math.prod(shape[:-1]),
        lambda shape: math.prod(shape) // 2,
        lambda shape: 0,
    ):
        targets: list[np.ndarray | None] = [
            np.ones(n * min(size_of(shape), MAX_SIZE), np.float32) for shape in wanted
        ]
        if chance.random() < 0.1:
            targets[chance.randrange(len(targets))] = None
        batches = _core.Batches(
            x,
            targets,
            [chance.choice([None, np.ones(some(n), np.float32)]) for _ in heads],
            chance.choice([None, order]),
            bounds,
            np.full(some(len(bounds) - 1), 0.01, np.float32),
        )
        which = chance.choice([0, 0, 1, -1, 2**40])
        gradient = np.empty(some(len(params)), np.float32)
        rows = min(n * outputs[0], 100)
        jacobian = np.empty((some(rows), len(params)), np.float32)
        owner = type("Owner", (), {"step": 0})()
        jobs = [_core.Job(program, owner, state, 0, 1, batches, 0, which + 1, totals)]
        calls = [
            (program.predict, params, buffers, x, y),
            (program.test, state, 0, 1, batches, totals),
            (program.gradient, state, 0, 1, batches, which, gradient),
            (program.jacobian, state, x, y[0], jacobian),
            (_core.train, chance.choice([jobs, [None], [*jobs, None]])),
        ]
        for call, *arguments in calls:
            try:
                call(*arguments)
                done += 1
            except REFUSALS:
                pass
    return done


def main(first: int, count: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if "libasan" not in Path("/proc/self/maps").read_text():  # it needs more
        resource.setrlimit(resource.RLIMIT_AS, (6 << 30, hard))
    plans = all_plans()
    words = ["", "pool", "max", "kernel", "bias", "nan"]
    for plan, _ in plans:
        words += [op[0] for op in plan["ops"]]
        words += [name for op in plan["ops"] for name in (*op[4], *op[5], *op[6])]
    words = sorted({*words})
    refused = done = 0
    for number in range(first, first + count):
        print(number, flush=True)
        chance = random.Random(number)
        plan, slots = copy.deepcopy(chance.choice(plans))
        for _ in range(chance.choice([1, 1, 2, 3])):
            mutate(chance, plan, words)
        try:
            done += run(chance, plan, slots)
        except REFUSALS:
            refused += 1
    print(f"{refused} refused, {done} calls done")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
