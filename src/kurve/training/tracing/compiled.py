"""A traced step, compiled to programs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from kurve.core.results import result
from kurve.formulas.graph import Tensor
from kurve.formulas.tensor import leaves, replaced
from kurve.layers.placing import TrainableFlags
from kurve.metrics import Mean, RowMetric
from kurve.plan import VariableSpec
from kurve.plan.kinds import OPERATIONS
from kurve.training.tracing.order import is_given, needed, time_of
from kurve.training.tracing.part import Arrays
from kurve.training.tracing.stages import Read, Stage
from kurve.training.tracing.steps import (
    MEAN,
    MetricCall,
    Result,
    StepGraph,
    Untraceable,
)


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
        # The usual step returns its loss, and no more is to be done.
        simple = isinstance(out, Tensor) and out.dtype == "float32" and not after
        self._returned: int | None = out.index if simple else None
        networks = {id(m): m._network for m in step.models}.values()
        self._networks = [(network, network.replanned) for network in networks]
        self._watched = TrainableFlags({id(m): m for m in step.models}.values())

    def holds(self) -> bool:
        """Whether the trainable weights, and what metrics read, are still those of the
        trace."""
        for network, replanned in self._networks:
            network.follow_layers()
            if network.replanned != replanned:
                return False
        return self._watched.holds() and all(
            outside.now() == values for outside, values in self.step.outsides
        )

    def _check_statistics(self) -> None:
        """Find which program updates each moving average; refuse any updated twice."""
        updated: set[int] = set()
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
                    if id(names[spec]) not in updated:
                        part.settles.add(id(names[spec]))
                updated.update(id(names[spec]) for spec in op.buffers.values())

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
        if self._returned is not None:
            return result(values[self._returned])
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
            results[id(call)] = call.run(args, kwargs)
        return _filled(self.out, value)

    @property
    def in_bulk(self) -> bool:
        """Whether many batches can run in one call: with a single update, and
        accumulating metrics."""
        return (
            len(self.parts) == 1
            and self.parts[0].in_bulk
            and not self.step.arrays
            and all(call.method == "result" or _adds(call) for call in self.calls)
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
            if call.method == "result":
                continue
            (value,) = call.args
            mean = values[value.index] if isinstance(value, Tensor) else value
            if call.method == "assign_add":
                call.metric.assign_add(count * mean)
                continue
            weight = count * call.kwargs.get("sample_weight", 1.0)
            call.run((mean,), {"sample_weight": weight})


def _filled(structure: Any, value: Any) -> Any:
    """Fill a structure with values, with dictionaries in insertion order."""
    if type(structure) is dict:
        return {key: _filled(part, value) for key, part in structure.items()}
    if type(structure) in (list, tuple):
        return type(structure)(_filled(part, value) for part in structure)
    return replaced(structure, value)


def _adds(call: MetricCall) -> bool:
    """Whether a call adds a number, so that many can be replaced by one that adds their
    sum."""
    if call.method == "assign_add":
        return True
    return (
        call.method == "update_state"
        and (type(call.metric) is Mean or call.function is MEAN)
        and isinstance(call.kwargs.get("sample_weight", 1.0), float)
        and len(call.args) == 1
        and isinstance(call.args[0], Tensor)
    )


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
        and call.function is None
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
