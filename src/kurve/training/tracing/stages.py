"""The programs of a step: one per update, with forward pass, backward pass and update,
and one for values read without an update."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from kurve.core.results import result
from kurve.engines import (
    Batches,
    Job,
    Program,
    State,
    aligned_zeros,
    get_engine,
    run_job,
)
from kurve.formulas import functions as ops
from kurve.formulas.graph import Graph, Tensor
from kurve.formulas.tensor import leaves, replaced
from kurve.layers.placing import Watched
from kurve.metrics import Mean, RowMetric
from kurve.optimizers.applier import Applier
from kurve.optimizers.applying import applier_of
from kurve.plan import Op, Plan, VariableSpec
from kurve.plan.kinds import OPERATIONS
from kurve.training.tracing.steps import (
    CAPTURED,
    MetricCall,
    Result,
    StepGraph,
    Untraceable,
)
from kurve.training.tracing.steps import Update as Update

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


class Compiled:
    """A step compiled to programs.

    Args:
        step: the traced step.
        out: the return value of the step.

    Raises:
        Untraceable: it needs something that no program provides.

    content:      see `StepGraph.content`
    traces, runs: number of equal traces, and number of runs
    """

    def __init__(self, step: StepGraph, out: Any) -> None:
        self.content = step.content(out)
        self.traces = self.runs = 1
        self.step, self.out = step, out
        wanted: dict[int, Tensor] = {}
        in_programs: dict[int, list[MetricCall]] = {}
        after: list[MetricCall] = []
        for call in step.calls:
            if _is_of_rows(step, call):
                time = time_of(step, call.args[1].index)
                in_programs.setdefault(time, []).append(call)
                continue
            after.append(call)
            for leaf in leaves((call.args, call.kwargs)):
                if isinstance(leaf, Tensor):
                    wanted[leaf.index] = leaf
        for leaf in leaves(out):
            if isinstance(leaf, Tensor):
                wanted[leaf.index] = leaf
        self.calls = after
        last = len(step.updates)
        self.parts: list[Any] = []
        times = {i: time_of(step, i) for i in wanted}
        for time in range(last + 1):
            here = [t for i, t in wanted.items() if times[i] == time]
            here = [t for t in here if not is_given(step, t.index)]
            for tensor in here:
                if not tensor.batched and math.prod(tensor.sample) != 1:
                    raise Untraceable("a result that is neither a scalar nor batched")
            numbers = [t for t in here if not t.batched]
            rows = [t for t in here if t.batched]
            calls = in_programs.get(time, [])
            if time < last:
                if rows:
                    self.parts.append(Read(step, time, rows, ()))
                self.parts.append(Stage(step, time, numbers, calls))
            elif here or calls:
                self.parts.append(Read(step, time, here, calls))
        self._check_statistics()
        for part in self.parts:
            part.build()
        self.early = [part for part in self.parts if part.early]
        self._watched = Watched({id(m): m for m in step.models}.values())

    def holds(self) -> bool:
        """Whether the trainable weights are still those of the trace."""
        return self._watched.holds()

    def _check_statistics(self) -> None:
        """Find which program updates each moving average; refuse any updated twice."""
        settled: set[int] = set()
        step, moved_by = self.step, dict[VariableSpec, int]()
        names = dict(zip(step.vectors[False], step.buffers, strict=True))
        for part in self.parts:
            for i in sorted(needed(step, part.roots)):
                if is_given(step, i):
                    continue
                op = step.ops[i - step.given]
                facts = OPERATIONS[op.kind]
                if not facts.updates_buffers or op.attrs.get("frozen"):
                    continue
                for spec in op.buffers.values():
                    if moved_by.setdefault(spec, i) != i:
                        raise Untraceable(f"{op.layer!r} is called twice in training")
                    if id(names[spec]) not in settled:
                        part.settles.add(id(names[spec]))
                settled.update(id(names[spec]) for spec in op.buffers.values())

    def run(self, given: Sequence[np.ndarray]) -> Any:
        """Run the step on these arrays."""
        step, rows = self.step, self.step.count
        arrays: Arrays = {}
        for i, array in enumerate(given):
            arrays[i] = _floats(array, rows, step.shapes[i])
        for i, make in step.arrays.items():
            arrays[i] = _floats(np.asarray(make()), rows, step.shapes[i])
        values: dict[int, Any] = dict(arrays)
        for part in self.parts:
            part.ready()
        for part in self.parts:
            for other in self.early:
                other.read_early(part.time)
            part.run(arrays, values)
        results: dict[int, Any] = {}

        def value(leaf: Any) -> Any:
            if isinstance(leaf, Result):
                return results[id(leaf.call)]
            if not isinstance(leaf, Tensor):
                return leaf
            found = values[leaf.index]
            if leaf.dtype != "float32":
                found = found.astype(leaf.dtype)
            return result(found)

        for call in self.calls:
            args, kwargs = replaced(call.args, value), replaced(call.kwargs, value)
            results[id(call)] = getattr(call.metric, call.method)(*args, **kwargs)
        return _filled(self.out, value)

    @property
    def in_bulk(self) -> bool:
        """Whether many batches can run in one call: with a single update, and
        accumulating metrics."""
        return (
            len(self.parts) == 1
            and self.parts[0].in_bulk
            and not self.step.arrays
            and all(
                call.method == "result"
                or (
                    call.method == "update_state"
                    and type(call.metric) is Mean
                    and isinstance(call.kwargs.get("sample_weight", 1.0), float)
                    and isinstance(call.args[0], Tensor)
                    and len(call.args) == 1
                )
                for call in self.calls
            )
        )

    def run_many(
        self,
        given: Sequence[np.ndarray],
        order: np.ndarray | None,
        bounds: np.ndarray,
    ) -> None:
        """Run the step on many batches of these rows; results are discarded.

        Args:
            order: order of the rows; None for that of the arrays.
            bounds: bounds of the batches.
        """
        step, count = self.step, len(bounds) - 1
        arrays = {
            i: _floats(array, len(array), step.shapes[i])
            for i, array in enumerate(given)
        }
        values: dict[int, Any] = {}
        (part,) = self.parts
        part.ready()
        part.run(arrays, values, order, bounds)
        for call in self.calls:
            if call.method == "update_state":
                weight = count * call.kwargs.get("sample_weight", 1.0)
                mean = values[call.args[0].index]
                call.metric.update_state(mean, sample_weight=weight)


def _filled(structure: Any, value: Any) -> Any:
    """Fill a structure with values, with dictionaries in insertion order."""
    if type(structure) is dict:
        return {key: _filled(part, value) for key, part in structure.items()}
    if type(structure) in (list, tuple):
        return type(structure)(_filled(part, value) for part in structure)
    return replaced(structure, value)


def needed(step: StepGraph, roots: Sequence[Tensor]) -> set[int]:
    """The values that these depend on, including themselves."""
    found = {t.index for t in roots}
    for i in reversed(range(len(step.ops))):
        if step.given + i in found and step.ops[i].kind != CAPTURED:
            found.update(step.ops[i].inputs)
    return found


def is_given(step: StepGraph, index: int) -> bool:
    """Whether a value is an input."""
    return index < step.given or index in step.arrays


def time_of(step: StepGraph, index: int) -> int:
    """The number of updates before a value."""
    position = index - step.given
    return sum(update.before <= position for update in step.updates)


def seen(step: StepGraph, index: int, spans: Sequence[tuple[int, int]]) -> bool:
    """Whether a tape watched the computation of a value."""
    return any(a <= index - step.given < b for a, b in spans)


def _is_of_rows(step: StepGraph, call: MetricCall) -> bool:
    """Whether a metric's call can be left to an engine: its targets are not computed in
    the step."""
    y = call.args[0] if call.args else None
    return not (
        isinstance(y, Tensor) and not is_given(step, y.index)
    ) and _may_be_of_rows(call)


def _may_be_of_rows(call: MetricCall) -> bool:
    return (
        call.method == "update_state"
        and isinstance(call.metric, RowMetric)
        and not call.metric.counts_itself
        and len(call.args) == 2
        and not call.kwargs.get("sample_weight")
        and isinstance(call.args[1], Tensor)
        and call.args[1].batched
    )


def _floats(array: np.ndarray, rows: int, sample: Any) -> np.ndarray:
    """An array for an engine, with one row per sample."""
    shape = (rows, *sample)
    if array.shape == shape and array.dtype == np.float32 and array.flags.c_contiguous:
        return array
    if array.shape != shape:
        array = np.broadcast_to(array, shape)
    return np.ascontiguousarray(array, np.float32)


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
    """The rows that a value is the mean or sum of, if an operation says so."""
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
