"""Jobs of one plan, done as one job of a program of members, see `members`.

Jobs go together if their steps are: as many, with as many rows, of the same numbers.
Each still has its own weights, rows, order, learning rates and random streams. What
comes out is what each would compute alone, to rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from kurve.engines.base import Batches, Job, State
from kurve.engines.torch.common import Cache, Frame, Tensor
from kurve.engines.torch.data import Data
from kurve.engines.torch.members import (
    MembersBatches,
    MembersData,
    MembersFrame,
    pairs_of_members,
    runs_together,
)
from kurve.engines.torch.metrics import BY_ROW
from kurve.engines.torch.program import OPS, TorchProgram
from kurve.engines.torch.training import wholly
from kurve.errors import NonFiniteError
from kurve.plan import MetricSpec, Op, OptimizerSpec, Plan, VariableSpec

if TYPE_CHECKING:
    from kurve.engines.torch import TorchEngine

LARGEST = {"cpu": 4 << 20, "mps": 64 << 20, "cuda": 1 << 30}
"""Bytes of weights and their slots that are trained together, on each kind of device: a
step of more does not find them in the cache again, or in the device's memory."""


class MembersProgram(TorchProgram):
    """A plan run for several members; its own plan has the variables of all."""

    def __init__(self, plan: Plan, engine: TorchEngine, count: int) -> None:
        super().__init__(plan, engine)
        self.members, self.single = (count,), plan
        self._pairs = pairs_of_members(plan, OPS)
        optimizer = plan.optimizer
        if isinstance(optimizer, OptimizerSpec):
            updates = [u for u in optimizer.updates for _ in range(count)]
            optimizer = replace(optimizer, updates=tuple(updates))
        params = tuple(_each_of(plan.params, count))
        self.plan = replace(plan, params=params, optimizer=optimizer)

    def _data(self, batches: Batches, dtype: torch.dtype) -> Data:
        assert isinstance(batches, MembersBatches)
        return MembersData(self.plan, batches, self.engine.torch_device, dtype)

    def _training_frame(
        self, seed: int, params: Tensor, buffers: Tensor, step: Tensor, gradient: Tensor
    ) -> Frame:
        return MembersFrame(
            self.single, self.members[0], params, buffers, seed, step, True, gradient
        )

    def _statistics(
        self, f: Frame, caches: Sequence[Cache]
    ) -> list[tuple[VariableSpec, Tensor]]:
        (count,) = self.members
        return [
            (replace(v, offset=count * v.offset, shape=(count, *v.shape)), value)
            for v, value in super()._statistics(f, caches)
        ]

    def _new_statistics(
        self, op: Op, cache: Cache, before: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        new = super()._new_statistics
        if runs_together(op):
            return new(op, cache, before)
        found = [
            new(op, own, {role: value[m] for role, value in before.items()})
            for m, own in enumerate(cache)
        ]
        return {role: torch.stack([each[role] for each in found]) for role in found[0]}

    def _count_metric(
        self,
        metric: MetricSpec,
        y: Tensor,
        p: Tensor,
        rows: Tensor | None,
        weights: Tensor | None,
        totals: Tensor,
    ) -> None:
        count = super()._count_metric
        if not metric.of_batch and (rows is not None or metric.kind in BY_ROW):
            count(metric, y, p, rows, weights, totals)
            return
        members = len(totals)
        nothing: tuple[None, ...] = (None,) * members
        each = zip(
            y.chunk(members),
            p.chunk(members),
            nothing if rows is None else rows.chunk(members),
            nothing if weights is None else weights.chunk(members),
            totals.unbind(0),
            strict=True,
        )
        for own_y, own_p, own_rows, own_weights, own in each:
            count(metric, own_y, own_p, own_rows, own_weights, own)


def _each_of(variables: Iterable[VariableSpec], count: int) -> Iterator[VariableSpec]:
    """The variables of all members, as they lie in the flat vector."""
    for v in variables:
        for m in range(count):
            yield replace(v, offset=count * v.offset + m * v.size)


def train_together(
    jobs: Sequence[Job], engine: TorchEngine
) -> list[NonFiniteError | None]:
    """`Engine.train`, with jobs that go together done together."""
    errors: list[NonFiniteError | None] = [None] * len(jobs)
    for numbers in _groups(jobs, engine):
        group = [jobs[n] for n in numbers]
        for n, error in zip(numbers, _train(group, engine), strict=True):
            errors[n] = error
    return errors


def _train(group: Sequence[Job], engine: TorchEngine) -> list[NonFiniteError | None]:
    if len(group) == 1:
        return [_alone(group[0])]
    first: TorchProgram = group[0].program  # type: ignore[assignment]
    plan, program = first.plan, first._together
    if program is None or program.members != (len(group),):
        first._together = program = MembersProgram(plan, engine, len(group))
    job = _job(program, plan, group)
    start = job.state.step
    try:
        error = program._train(job)
    except MemoryError:
        if job.state.step == start:
            return [_alone(one) for one in group]
        raise
    finally:
        if job.state.step > start:
            wholly(lambda: _give_back(job, plan, group))
    if error is None:
        return [None] * len(group)
    # One of them is not finite: each does that step alone, to find out which.
    done = job.first + job.state.step - start
    errors = [_alone(replace(one, first=done, last=done + 1)) for one in group]
    sound = [n for n, failed in enumerate(errors) if failed is None]
    rest = [replace(group[n], first=done + 1) for n in sound if done + 1 < job.last]
    if rest:
        for n, late in zip(sound, train_together(rest, engine), strict=True):
            errors[n] = late
    return errors


def _alone(job: Job) -> NonFiniteError | None:
    program: TorchProgram = job.program  # type: ignore[assignment]
    return program._train(job)


def _groups(jobs: Sequence[Job], engine: TorchEngine) -> list[list[int]]:
    """The numbers of the jobs that are done together."""
    groups: list[tuple[Job, list[int]]] = []
    found: dict[Any, list[tuple[Job, list[int]]]] = {}
    largest = LARGEST[engine.torch_device.type]
    for n, job in enumerate(jobs):
        key = _key(job)
        if key is None:
            groups.append((job, [n]))
            continue
        state = job.state
        one = 2 * state.params.nbytes + state.slots.nbytes
        for other, numbers in found.setdefault(key, []):
            fits = (len(numbers) + 1) * one <= largest
            if fits and _plan(other) == _plan(job):
                numbers.append(n)
                break
        else:
            groups.append((job, [n]))
            found[key].append(groups[-1])
    return [numbers for _, numbers in groups]


def _plan(job: Job) -> Plan:
    """A plan, whose layers and variables may have any names."""
    program: TorchProgram = job.program  # type: ignore[assignment]
    if program._nameless is None:
        plan = program.plan
        program._nameless = replace(
            plan,
            ops=_nameless(plan.ops),
            params=_unnamed(plan.params),
            buffers=_unnamed(plan.buffers),
        )
    return program._nameless


def _nameless(ops: Sequence[Op]) -> tuple[Op, ...]:
    return tuple(
        replace(
            op,
            layer="",
            params=dict(zip(op.params, _unnamed(op.params.values()), strict=True)),
            buffers=dict(zip(op.buffers, _unnamed(op.buffers.values()), strict=True)),
            body=op.body and replace(op.body, ops=_nameless(op.body.ops)),
        )
        for op in ops
    )


def _unnamed(variables: Iterable[VariableSpec]) -> tuple[VariableSpec, ...]:
    return tuple(replace(v, name="") for v in variables)


def _key(job: Job) -> Any:
    """What jobs that go together have in common, besides the plan; None for a job that
    goes with none."""
    batches, state, plan = job.batches, job.state, job.program.plan
    rates = batches.learning_rates
    if plan.rows is not None or job.processes is not None or rates is None:
        return None
    arrays = *batches.inputs, *(a for pair in batches.targets for a in pair)
    return (
        job.first,
        job.last,
        batches.bounds.tobytes(),
        state.step,
        state.scalars.tobytes(),
        state.params.dtype.str,
        tuple(None if a is None else (a.shape[1:], a.dtype.str) for a in arrays),
    )


def _job(program: MembersProgram, plan: Plan, group: Sequence[Job]) -> Job:
    """The job of all members."""
    states = [job.state for job in group]
    first = group[0]
    state = State(
        _laid([s.params for s in states], plan.params),
        _laid([s.buffers for s in states], plan.buffers),
        _laid([s.slots for s in states], plan.params),
        first.state.scalars.copy(),
        first.state.step,
        sum(_unsigned(s.seed) << 64 * m for m, s in enumerate(states)),
    )
    batches = MembersBatches(
        None,
        None,
        None,
        None,
        first.batches.bounds,
        first.batches.learning_rates,
        [job.batches for job in group],
    )
    totals = np.concatenate([job.totals for job in group])
    return Job(program, state, batches, first.first, first.last, totals)


def _unsigned(seed: int) -> int:
    return int(seed) & (1 << 64) - 1


def _laid(
    vectors: Sequence[np.ndarray], variables: Sequence[VariableSpec]
) -> np.ndarray:
    """Flat vectors (..., P) of members as one, see `members`."""
    count, last = len(vectors), vectors[0].shape[-1]
    wide = np.zeros((*vectors[0].shape[:-1], count * last), vectors[0].dtype)
    for v in variables:
        for m, vector in enumerate(vectors):
            start = count * v.offset + m * v.size
            wide[..., start : start + v.size] = vector[..., v.offset : v.end]
    return wide


def _give_back(job: Job, plan: Plan, group: Sequence[Job]) -> None:
    """The states and totals of all members become those of each."""
    count, state = len(group), job.state
    for m, one in enumerate(group):
        for wide, vector, variables in (
            (state.params, one.state.params, plan.params),
            (state.buffers, one.state.buffers, plan.buffers),
            (state.slots, one.state.slots, plan.params),
        ):
            for v in variables:
                start = count * v.offset + m * v.size
                vector[..., v.offset : v.end] = wide[..., start : start + v.size]
        one.state.scalars[...] = state.scalars
        one.state.step = state.step
        one.totals[...] = job.totals.reshape(count, -1)[m]
