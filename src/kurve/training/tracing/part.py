"""A program for some values of a step: its operations, variables and inputs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from kurve.engines import (
    Batches,
    Program,
    aligned_zeros,
    get_engine,
)
from kurve.formulas import functions as ops
from kurve.formulas.graph import Graph, Tensor
from kurve.plan import Op, Plan
from kurve.plan.kinds import OPERATIONS
from kurve.training.tracing.order import is_given, needed, seen, time_of
from kurve.training.tracing.steps import MetricCall, StepGraph, Untraceable, Update

Arrays = dict[int, np.ndarray]


class Part:
    """A program for some values of a step.

    Args:
        step: the step.
        time: number of earlier updates.
        scalars: requested scalars of the whole batch.
        calls: calls of row metrics whose values the engine computes.
    """

    update: Update | None = None
    size = -1

    def __init__(
        self,
        step: StepGraph,
        time: int,
        scalars: Sequence[Tensor],
        calls: Sequence[MetricCall] = (),
    ) -> None:
        self.step, self.time = step, time
        self.scalars, self.calls = list(scalars), list(calls)
        self.program: Program | None = None
        self.engine: Any = None
        self.bounds = np.array([0, step.count])
        self.seed = step.models[0]._network.seed if step.models else 0
        self.early = self._early()
        self.settles: set[int] = set()  # ids of the statistics that it updates

    @property
    def roots(self) -> list[Tensor]:
        """The values to compute."""
        predictions = [call.args[1] for call in self.calls]
        return [*self.scalars, *predictions]

    def _early(self) -> dict[int, list[Any]]:
        """The variables that other updates change before this program runs, although it
        needs their earlier values: for each time, those to read then."""
        step = self.step
        names = dict(zip(step.vectors[True], step.params, strict=True))
        changed = [{id(v) for v in update.variables} for update in step.updates]
        trained = changed[self.time] if self.update is not None else set()
        versions: dict[int, int] = {}
        found: dict[int, list[Any]] = {}
        for i in sorted(needed(step, self.roots)):
            if i < step.given:
                continue
            op, made = step.ops[i - step.given], time_of(step, i)
            for spec in op.params.values():
                variable = names[spec]
                one = id(variable)
                version = sum(one in changed[t] for t in range(made))
                known = versions.setdefault(one, version)
                now = sum(one in changed[t] for t in range(self.time))
                if version != known or (version != now and one in trained):
                    raise Untraceable(
                        f"weights of {op.layer!r} are used before and after an update"
                    )
                if version != now and not any(
                    one == id(v) for there in found.values() for v in there
                ):
                    found.setdefault(made, []).append(variable)
        return found

    def read_early(self, time: int) -> None:
        """Read variables that other updates are about to change."""
        for variable in self.early.get(time, ()):
            for start, end, known in self.reads:
                if known is variable:
                    self.params[start:end] = variable.value.ravel()

    def _read(self) -> np.ndarray:
        """The values of weights to use when the program runs."""
        early = {id(v) for there in self.early.values() for v in there}
        for start, end, variable in self.reads:
            if id(variable) not in early:
                self.params[start:end] = variable.value.ravel()
        return self.params

    # ---------------------------------------------------------------- building

    def graph(
        self, layout: Sequence[tuple[Any, bool]], cut: Sequence[tuple[int, int]] | None
    ) -> tuple[Graph, dict[int, Tensor]]:
        """A graph of only the needed operations, and the index of each value.

        Args:
            layout: the variables in the parameter vector, and which are trained.
            cut: operations watched by a tape; values from elsewhere are constants.
        """
        step = self.step
        indices = sorted(needed(step, self.roots) | {0})
        given = [i for i in indices if is_given(step, i)]
        graph = Graph([step.shapes[i] for i in given])
        place = dict(zip(given, graph.inputs, strict=True))
        for i, tensor in place.items():
            tensor.batched = i not in step.tensors or step.tensors[i].batched
        self.given = given
        for variable, trained in layout:
            graph.place(variable, trained)
        names: dict[Any, Any] = {}
        for kind in (True, False):
            pairs = zip(
                step.vectors[kind], (step.params if kind else step.buffers), strict=True
            )
            names |= {(kind, spec): variable for spec, variable in pairs}
        moving: set[int] = set()
        for i in indices:
            if i in place:
                continue
            op = step.ops[i - step.given]
            facts = OPERATIONS[op.kind]
            self._check(op, facts)
            inside = cut is None or any(a <= i - step.given < b for a, b in cut)
            read = [place[v] for v in op.inputs]
            if inside and cut is not None:
                read = [
                    ops.stop_gradient(x)
                    if v in moving and not seen(step, v, cut)
                    else x
                    for v, x in zip(op.inputs, read, strict=True)
                ]
            inputs = tuple(x.index for x in read)
            moved = op.with_variables(
                lambda s: graph.place(names[True, s], False),
                lambda s: graph.place(names[False, s]),
            )
            moved = replace(moved, inputs=inputs)
            if moving.intersection(op.inputs) or any(
                spec.trainable for spec in moved.params.values()
            ):
                moving.add(i)
            place[i] = graph.append_op(moved, step.tensors[i].batched)
        return graph, place

    def _check(self, op: Op, facts: Any) -> None:
        moves = facts.updates_buffers and not op.attrs.get("frozen")
        if self.update is None and (moves or facts.training_only):
            raise Untraceable(f"{op.layer!r} runs in training mode without an update")

    def finished(
        self, graph: Graph, place: Mapping[int, Tensor], rows: Sequence[Any]
    ) -> Plan:
        """The plan, without weight penalties, which are not part of a user's loss."""
        first = [place[t.index] for t in self.scalars]
        outputs, metrics, specs = [graph.inputs[0]], [first], [None]
        self.targets: list[Any] = [None]
        for call in self.calls:
            y, p = call.args[0], place[call.args[1].index]
            spec = call.metric.spec(p.sample)
            if call.metric.by_ops or call.metric.parts != 1:
                raise Untraceable(f"the metric {call.metric.name!r} is a formula")
            own = y.sample if isinstance(y, Tensor) else np.shape(y)[1:]
            if math.prod(own) != math.prod(call.metric.target_shape(p.sample)):
                raise Untraceable(f"the targets of {call.metric.name!r} broadcast")
            outputs.append(p)
            metrics.append([])
            specs.append(spec)
            self.targets.append((y, call.metric, p.sample))
        plan = graph.finish(outputs, rows, metrics=metrics)
        heads = [
            head if spec is None else replace(head, metrics=(spec,))
            for head, spec in zip(plan.heads, specs, strict=True)
        ]
        plain = {s: replace(s, l1=0.0, l2=0.0, penalty=None) for s in plan.params}
        new = [op.with_variables(plain.__getitem__) for op in plan.ops]
        params = list(zip(plan.params, graph.params, strict=True))
        self.reads = [(s.offset, s.end, v) for s, v in params]
        self.writes = [(s.offset, s.end, v) for s, v in params if s.trainable]
        self.params = aligned_zeros((plan.params_size,))
        self.specs = params
        pairs = zip(plan.buffers, graph.buffers, strict=True)
        self.buffers = [(s.offset, s.end, v) for s, v in pairs]
        self.held = aligned_zeros((plan.buffers_size,))
        return replace(
            plan, ops=tuple(new), params=tuple(plain.values()), heads=tuple(heads)
        )

    # ---------------------------------------------------------------- running

    def batches(
        self,
        arrays: Arrays,
        rates: np.ndarray | None,
        order: np.ndarray | None = None,
        bounds: np.ndarray | None = None,
    ) -> Batches:
        """The program's inputs: one batch, or rows of many with bounds."""
        x: Any = tuple(arrays[i] for i in self.given)
        # Metrics need a target: use the first output itself.
        targets = [self._target(t, arrays) for t in self.targets[1:]]
        y: Any = (x[0], *targets)
        return Batches(
            x if len(x) > 1 else x[0],
            y if len(y) > 1 else y[0],
            None,
            order,
            self.bounds if bounds is None else bounds,
            rates,
        )

    def _target(self, target: Any, arrays: Arrays) -> np.ndarray:
        y, metric, sample = target
        array = arrays[y.index] if isinstance(y, Tensor) else np.asarray(y, np.float32)
        shape = (len(array), *metric.target_shape(sample))
        return np.ascontiguousarray(array.reshape(shape))

    def vector(self) -> np.ndarray:
        """The values of buffers, statistics and constants."""
        for start, end, variable in self.buffers:
            self.held[start:end] = variable.value.ravel()
        return self.held

    @property
    def in_bulk(self) -> bool:
        """Whether it can run many steps in one engine call."""
        return False

    def take(self, totals: np.ndarray, values: dict[int, Any]) -> None:
        """Extract scalars and metrics from the program's accumulators."""
        assert self.program is not None
        start = self.program.plan.metrics_start
        for tensor in self.scalars:
            total, count = totals[start : start + 2]
            number = np.float32(total / count if count else np.nan)
            values[tensor.index] = np.full(tensor.sample, number, np.float32)
            start += 2
        for call in self.calls:
            metric = call.metric
            size = metric.size(self.targets[1][2])
            metric.add_totals(totals[start : start + size].copy())
            start += size

    def ready(self) -> None:
        """Rebuild the program if the engine has changed."""
        if self.engine is not get_engine():
            self.build()

    def build(self) -> None:
        """Build the program."""
        raise NotImplementedError
