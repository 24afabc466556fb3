"""The programs of a step: one per update, with forward pass, backward pass and update,
and one for values read without an update."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from kurve.engines import (
    Job,
    State,
    aligned_zeros,
    get_engine,
    run_job,
)
from kurve.formulas import functions as ops
from kurve.formulas.graph import Tensor
from kurve.optimizers.applier import Applier
from kurve.optimizers.applying import applier_of
from kurve.plan import Op
from kurve.training.tracing.order import needed
from kurve.training.tracing.part import Arrays, Part
from kurve.training.tracing.steps import MetricCall, StepGraph, Update


class Stage(Part):
    """The program of an update."""

    def __init__(
        self,
        step: StepGraph,
        number: int,
        scalars: Sequence[Tensor],
        calls: Sequence[MetricCall],
    ) -> None:
        self.update: Update = step.updates[number]
        # The engine accumulates the loss itself anyway.
        single = len(self.update.loss) == 1
        own = self.update.loss[0].index if single else -1
        others = [t for t in scalars if t.index != own]
        self.returns_loss = len(others) < len(scalars)
        super().__init__(step, number, others, calls)
        self.applier: Applier = applier_of(self.update.optimizer, self.update.variables)
        for variable in self.update.variables:
            self.applier.index(type(self.update.optimizer).__name__, variable)

    @property
    def roots(self) -> list[Tensor]:
        return [*self.update.loss, *super().roots]

    def build(self) -> None:
        """Build the program."""
        applier, update, step = self.applier, self.update, self.step
        names = dict(zip(step.vectors[True], step.params, strict=True))
        used = [
            names[spec]
            for i in sorted(needed(step, self.roots))
            if i >= step.given
            for spec in step.ops[i - step.given].params.values()
        ]
        applier.widen(used)
        trained = {id(v) for v in update.variables}
        layout = [(v, id(v) in trained) for v in (*applier.variables, *applier.others)]
        graph, place = self.graph(layout, update.spans)
        loss, reduction = _loss([place[t.index] for t in update.loss], step.count)
        plan = self.finished(graph, place, [loss])
        head = replace(plan.heads[0], reduction=reduction)
        plan = replace(plan, heads=(head, *plan.heads[1:]))
        spec = update.optimizer.spec_for(plan.params)
        engine = get_engine()
        self.program = engine.compile(replace(plan, optimizer=spec))
        self.engine, self.size = engine, plan.params_size
        self.moved = [b for b in self.buffers if id(b[2]) in self.settles]
        if not self.early:
            applier.lie_in(self.specs)

    def ready(self) -> None:
        """Also rebuild it if the optimizer's slots have changed."""
        if self.size != self.applier.state.slots.shape[1]:
            self.build()
        super().ready()

    @property
    def in_bulk(self) -> bool:
        return not self.early

    def run(
        self,
        arrays: Arrays,
        values: dict[int, Any],
        order: np.ndarray | None = None,
        bounds: np.ndarray | None = None,
    ) -> None:
        """Run the update; with bounds, once for each of several batches, with scalars
        averaged over the batches."""
        applier, optimizer, engine = self.applier, self.update.optimizer, self.engine
        assert self.program is not None
        shared = not self.early and applier.is_shared()
        kept = applier.state
        params = kept.params if shared else self._read()
        buffers = self.vector()
        state = State(params, buffers, kept.slots, kept.scalars, kept.step, self.seed)
        count = 1 if bounds is None else len(bounds) - 1
        rates = optimizer.learning_rates(kept.step, count)
        totals = np.zeros(self.program.plan.totals_size)
        batches = self.batches(arrays, rates, order, bounds)
        run_job(engine, Job(self.program, state, batches, 0, count, totals))
        kept.step, kept.scalars = state.step, state.scalars
        for start, end, variable in self.writes if not shared else ():
            variable.write(params[start:end].reshape(variable.shape))
        for start, end, variable in self.moved:
            variable.write(buffers[start:end].reshape(variable.shape))
        self.take(totals, values)
        if self.returns_loss:
            (loss,) = self.update.loss
            number = np.float32(totals[0] / totals[1])
            values[loss.index] = np.full(loss.sample, number, np.float32)


class Read(Part):
    """The program of values read without an update."""

    def __init__(
        self,
        step: StepGraph,
        time: int,
        tensors: Sequence[Tensor],
        calls: Sequence[MetricCall],
    ) -> None:
        self.outputs = [t for t in tensors if t.batched]
        super().__init__(step, time, [t for t in tensors if not t.batched], calls)

    @property
    def roots(self) -> list[Tensor]:
        return [*self.outputs, *super().roots]

    def build(self) -> None:
        """Build the program."""
        graph, place = self.graph((), None)
        outputs = [place[t.index] for t in self.outputs]
        # Engines only accumulate numbers next to a loss.
        roots = [place[t.index] for t in super().roots]
        rows = [ops.sum(t, range(1, t.ndim)) if t.batched else t for t in roots[:1]]
        plan = self.finished(graph, place, rows)
        engine = get_engine()
        self.program, self.engine = engine.compile(plan), engine
        self.predictor = engine.compile(graph.finish(outputs)) if outputs else None

    @property
    def in_bulk(self) -> bool:
        return not self.early and not self.outputs

    def run(
        self,
        arrays: Arrays,
        values: dict[int, Any],
        order: np.ndarray | None = None,
        bounds: np.ndarray | None = None,
    ) -> None:
        """Read the values; with bounds, as in `Stage.run`."""
        assert self.program is not None
        plan = self.program.plan
        params = self._read()
        slots = aligned_zeros((0, len(params)))
        state = State(params, self.vector(), slots, np.zeros(0), 0, self.seed)
        if self.scalars or self.calls:
            totals = np.zeros(plan.totals_size)
            batches = self.batches(arrays, None, order, bounds)
            self.program.test(state, batches, totals)
            self.take(totals, values)
        if self.predictor is not None:
            x: Any = tuple(arrays[i] for i in self.given)
            y: Any = self.predictor.predict(state, x if len(x) > 1 else x[0])
            found = y if len(self.outputs) > 1 else [y]
            for tensor, array in zip(self.outputs, found, strict=True):
                values[tensor.index] = array


def _loss(targets: Sequence[Tensor], rows: int) -> tuple[Tensor, str]:
    """The differentiated targets as rows of a loss, and their reduction."""
    if len(targets) == 1:
        (target,) = targets
        if target.batched:
            return target, "sum"
        found = _mean_of(target, rows)
        if found is not None:
            return found
    total: Any = 0.0
    for target in targets:
        total = ops.sum(target) + total
    return total, "sum_if_weighted"


def _mean_of(target: Tensor, rows: int) -> tuple[Tensor, str] | None:
    """The rows of which a value is the mean or sum, if there is such an operation."""
    graph = target.graph

    def op_of(index: int) -> Op | None:
        return graph.ops[index - graph.given] if index >= graph.given else None

    op, divisor = op_of(target.index), 1.0
    if op is not None and op.kind == "map" and len(op.inputs) == 1 and op.tape:
        steps = [(s.name, s.value) for s in op.tape.code]
        names = [name for name, _ in steps]
        if sorted(names) not in (["constant", "div"], ["constant", "mul"]):
            return None
        number = next(v for name, v in steps if name == "constant")
        divisor = number if "div" in names else 1.0 / number
        op = op_of(op.inputs[0])
    if op is None or op.kind != "batch_reduce" or op.out_shape != ():
        return None
    inner = op_of(op.inputs[0])
    read = Tensor(graph, op.inputs[0], op.in_shape)
    if op.attrs["mode"] == "mean" and divisor == 1.0:
        return read, "mean"
    if op.attrs["mode"] != "sum":
        return None
    if divisor == 1.0:
        return read, "sum"
    # The sum of all elements divided by their number is a mean of rows.
    if inner is not None and inner.kind == "reduce" and inner.attrs["mode"] == "sum":
        elements = math.prod(inner.in_shape)
        if divisor == rows * elements and inner.attrs["count"] == len(inner.in_shape):
            whole = Tensor(graph, inner.inputs[0], inner.in_shape)
            return whole, "mean"
    return (read, "mean") if divisor == rows else None
