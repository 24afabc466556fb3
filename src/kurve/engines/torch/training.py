"""Training steps: everything that changes lies on the device.

A step reads what is live and writes what is next: weights, the optimizer's slots,
buffers, sums and counters. Then, where all of it is finite, next becomes live. The host
decides nothing within a step and reads nothing, so that a GPU can run a step as one
captured graph, and the host may look after many of them: after a step that is not
finite nothing more becomes live. On the CPU the host counts, and looks after each step.

The step after an error is computed once more, by itself, to name what was not finite.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from kurve.core.processes import Processes
from kurve.engines.base import Job, divides_rows
from kurve.engines.torch.common import Cache, Frame, Tensor, tensor_of, view
from kurve.engines.torch.data import Data
from kurve.engines.torch.optimizers import OPTIMIZERS, apply_rule, clip
from kurve.engines.torch.sharing import Share
from kurve.errors import NonFiniteError
from kurve.ops.formula import Update
from kurve.plan import OptimizerSpec, VariableSpec

if TYPE_CHECKING:
    from kurve.engines.torch.program import TorchProgram

MOST_GRAPHS = 8
"""Sizes of batches that are captured; steps of others are run one by one."""

AHEAD = 32
"""Steps that a GPU may be given before the host looks: of Ctrl-C, of an error."""


class Run:
    """The memory of one training on the device, at addresses that do not change.

    live, following: [params, slots, buffers], of the state's type
    live_wide, ...:  [scalars, totals], float64
    counters, ...:   [step in the data, number of the update], int64
    alive:           whether all steps were finite so far
    data, table:     of the call: rows and order, and the numbers that updates read
    host_counts:     instead of the device

    Before a step, next equals live, unless a step before was not finite.
    """

    position: Tensor | int
    data: Data
    table: Tensor
    processes: Processes | None = None

    def __init__(
        self, program: TorchProgram, job: Job, host_counts: bool | None = None
    ) -> None:
        state, plan, device = job.state, program.plan, program.engine.torch_device
        self.program, self.plan, self.device = program, plan, device
        self.host_counts = device.type != "cuda" if host_counts is None else host_counts
        self.key = _key(job)
        dtype = tensor_of(state.params).dtype
        wide = torch.float32 if device.type == "mps" else torch.float64
        self.sizes = len(state.params), state.slots.shape, len(state.buffers)
        length = len(state.params) + state.slots.size + len(state.buffers)
        scalars = len(state.scalars)
        whole = [
            torch.zeros(length, dtype=dtype, device=device),
            torch.zeros(scalars + len(job.totals), dtype=wide, device=device),
            torch.zeros(2, dtype=torch.int64, device=device),
        ]
        self.live, self.live_wide, self.counters = whole
        self.next, self.next_wide, self.next_counters = map(torch.zeros_like, whole)
        self.scalars, self.totals = (
            self.next_wide[:scalars],
            self.next_wide[scalars:],
        )
        self.alive = torch.ones((), dtype=torch.bool, device=device)
        self.params, self.slots, self.buffers = self._parts(self.next)
        live_params, _, live_buffers = self._parts(self.live)
        self.gradient = torch.zeros_like(live_params)
        self.none = torch.zeros_like(self.live)
        self.frame = Frame(
            plan,
            live_params,
            live_buffers,
            state.seed,
            0 if self.host_counts else self.counters[1],
            True,
            self.gradient,
        )
        self.frame.factors = program.engine.factors
        assert plan.optimizer is not None
        self.optimizer = plan.optimizer
        self.every, updates = 1, (Update(),) * len(plan.params)
        if isinstance(self.optimizer, OptimizerSpec):
            self.every, updates = self.optimizer.every, self.optimizer.updates
        self.trained = [
            (self.params[part], self.gradient[part], self.slots[:, part].unbind(0), u)
            for part, u in _trained(plan.params, updates, self.optimizer.attrs)
        ]
        self.position = self.counters[:1]
        self.graphs: dict[tuple[int, bool], torch.cuda.CUDAGraph | None] = {}

    def fits(self, job: Job) -> bool:
        """Whether a job can be done in this memory."""
        return self.key == _key(job)

    def _parts(self, whole: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        size, slots, buffers = self.sizes
        params, rest, behind = whole.split([size, slots[0] * slots[1], buffers])
        return params, rest.view(slots), behind

    def train(self, job: Job) -> NonFiniteError | None:
        """Do the steps of a job."""
        shared = job.processes is not None and divides_rows(self.plan)
        self.processes = job.processes if shared else None
        self._load(job)
        counts = np.diff(job.batches.bounds)
        for size in {int(n) for n in counts[job.first : job.last]}:
            self.plan.check_rows(size)
        try:
            for step in range(job.first, job.last):
                number = job.state.step + step - job.first
                size, due = int(counts[step]), (number + 1) % self.every == 0
                if not self.host_counts:
                    self._do(size, due)
                    if (step + 1 - job.first) % AHEAD:
                        continue
                elif bool(self.step(size, due)):
                    _wholly(partial(self._commit_on_host, step + 1, number + 1))
                else:
                    self.alive.fill_(False)
                if not self.alive.item():
                    break
        finally:
            start = job.state.step
            _wholly(lambda: self._save(job, start))
        if self.alive.item():
            return None
        step = job.first + job.state.step - start
        assert job.batches.learning_rates is not None
        rate = float(job.batches.learning_rates[step])
        due = (job.state.step + 1) % self.every == 0
        what = self._not_finite(int(counts[step]), due)
        return NonFiniteError(what, job.state.step, rate)

    def _load(self, job: Job) -> None:
        state, batches = job.state, job.batches
        params, slots, buffers = self._parts(self.live)
        scalars = len(state.scalars)
        for to, array in (
            (params, state.params),
            (slots, state.slots),
            (buffers, state.buffers),
            (self.live_wide[:scalars], state.scalars),
            (self.live_wide[scalars:], job.totals),
            (self.counters, np.array([job.first, state.step], np.int64)),
        ):
            to.copy_(tensor_of(array))
        self._count_from(job.first, state.step)
        self._restart()
        data = Data(self.plan, batches, self.device, self.live.dtype)
        table = self._numbers(job)
        if self.graphs and self._same(data, table):
            self.data.fill(data)
            self.table.copy_(table)
            return
        self.data, self.table = data, table
        self.rows = table.tolist() if self.host_counts else []
        self.graphs.clear()

    def _restart(self) -> None:
        """Be ready for a step."""
        self.alive.fill_(True)
        self.next.copy_(self.live)
        self.next_wide.copy_(self.live_wide)

    def _count_from(self, position: int, number: int) -> None:
        """Where the host counts: the step in the data and the number of the update."""
        if self.host_counts:
            self.position, self.frame.step = position, number

    def _same(self, data: Data, table: Tensor) -> bool:
        """Whether the new data fit where a captured step reads."""
        return self.data.fits(data) and self.table.shape == table.shape

    def _numbers(self, job: Job) -> Tensor:
        """What updates read, row by row: the learning rate, the number of the update,
        and what the optimizer makes of them."""
        batches, state = job.batches, job.state
        assert batches.learning_rates is not None
        rates = batches.learning_rates.astype(np.float64)
        done = state.step + np.arange(len(rates)) - job.first
        t = np.maximum(done // self.every + 1, 1).astype(np.float64)
        columns = [rates, t]
        if self.optimizer.kind in OPTIMIZERS:
            made = OPTIMIZERS[self.optimizer.kind][0]
            with np.errstate(all="ignore"):
                part = slice(job.first, None)
                attrs = self.optimizer.attrs
                found = made(rates[part], t[part], attrs, state.scalars)
            front = np.zeros(job.first)
            columns += [np.concatenate([front, column]) for column in found]
        table = torch.from_numpy(np.stack(columns, 1))
        return table.to(self.device, self.live_wide.dtype)

    def _do(self, size: int, due: bool) -> None:
        """One step: on a GPU the first of a kind as it is, which warms up, then the
        captured one."""
        if self.processes is not None:
            self._step_on_device(size, due)
            _wholly(self.commit)
            return
        key = size, due
        graph = self.graphs.get(key)
        if graph is None and key in self.graphs and len(self.graphs) <= MOST_GRAPHS:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self._step_on_device(size, due)
                self.commit()
            self.graphs[key] = graph
        if graph is not None:
            graph.replay()
            return
        self.graphs.setdefault(key, None)
        self._step_on_device(size, due)
        _wholly(self.commit)

    def _step_on_device(self, size: int, due: bool) -> None:
        torch.logical_and(self.alive, self.step(size, due), out=self.alive)
        torch.add(self.counters, 1, out=self.next_counters)

    def step(self, size: int, due: bool) -> Tensor:
        """Compute what follows a batch of that size, and whether it is finite; `due`:
        whether gradients are applied, or only added up."""
        program, f = self.program, self.frame
        loss, losses, caches = self._gradients(size, self.totals)
        program._count_losses(loss, losses, size, self.totals)
        health = loss * 0 + self._zero(self.gradient)
        for slot, value in program._statistics(f, caches):
            view(self.buffers, slot).copy_(value.reshape(slot.shape))
        self._update(due)
        return (health + self._zero(self.next)) == 0

    def _zero(self, x: Tensor) -> Tensor:
        """0 if all of a flat vector is finite, else NaN."""
        return torch.dot(x, self.none[: x.numel()])

    def _gradients(
        self, size: int, totals: Tensor
    ) -> tuple[Tensor, list[Tensor], list[Cache]]:
        """The loss and that of each head, what ops saved, and in the frame the
        gradient; to the totals is added what the batch gives to the metrics."""
        program, f, share = self.program, self.frame, self._share(size)
        f.share = share
        if share is None:
            given = self.data.batch(self.position, size)
        else:
            given = self.data.batch(self.position, share.rows, share.first)
        values, caches = program._forward(f, given)
        losses, slopes = program._loss(f, given[1], values)
        metrics = program._metrics(totals, losses)
        counted = metrics if share is None else torch.zeros_like(metrics)
        program._count_metrics(given[1], values, counted)
        program._backward(f, slopes, caches)
        if share is not None:
            sums = [*losses, counted]
            *losses, counted = share.add_gradient(sums, self.gradient)
            metrics.add_(counted)
        program._penalize(f)
        return program._sum(losses, f), losses, caches

    def _share(self, size: int) -> Share | None:
        """This process's rows, where several divide a step."""
        if self.processes is None:
            return None
        rows = self.processes.rows_of(size)
        return None if rows is None else Share(self.processes, size, rows)

    def commit(self) -> None:
        """What follows becomes live, if it is finite. To do it twice is to do it
        once."""
        for live, following in (
            (self.live, self.next),
            (self.live_wide, self.next_wide),
            (self.counters, self.next_counters),
        ):
            torch.where(self.alive, following, live, out=live)

    def _commit_on_host(self, position: int, number: int) -> None:
        """The same after a step that is finite."""
        self.live.copy_(self.next)
        self.live_wide.copy_(self.next_wide)
        self._count_from(position, number)

    def _update(self, due: bool) -> None:
        """Clipping, weight decay and the optimizer's step."""
        gradient, attrs = self.gradient, self.optimizer.attrs
        lr, t, *numbers = self._numbers_of_step()
        if self.every > 1:
            self.slots[-1].add_(gradient)
            if due:
                torch.div(self.slots[-1], self.every, out=gradient)
                self.slots[-1].zero_()
        if due:
            clip(gradient, self.frame.slopes, attrs)
        for w, g, own, update in self.trained:
            if due and update.rule is not None:
                apply_rule(update.rule, w, g, own, lr, t)
            elif due:
                if update.decays and attrs["weight_decay"]:
                    w.sub_(w * float(attrs["weight_decay"]) * lr)
                OPTIMIZERS[self.optimizer.kind][1](w, g, own, numbers, attrs)
            if update.after is not None:
                apply_rule(update.after, w, g, own, lr, t)
        if due and len(self.scalars) and numbers:
            self.scalars.fill_(numbers[-1])

    def _numbers_of_step(self) -> list[Any]:
        if isinstance(self.position, int):
            return self.rows[self.position]
        row = self.table.index_select(0, self.position)
        return list(row.view(-1).unbind(0))

    def _save(self, job: Job, start: int) -> None:
        """The state and the totals of the job become what is live."""
        state = job.state
        params, slots, buffers = self._parts(self.live)
        scalars = len(state.scalars)
        for array, value in (
            (state.params, params),
            (state.slots, slots),
            (state.buffers, buffers),
            (state.scalars, self.live_wide[:scalars]),
            (job.totals, self.live_wide[scalars:]),
        ):
            array[...] = value.cpu().numpy()
        state.step = int(self.frame.step)

    def _not_finite(self, size: int, due: bool) -> str:
        """What of a step is not finite, in the order of `Engine.train`."""
        program, f, plan = self.program, self.frame, self.plan
        self._restart()
        self.step(size, due)
        updated = self.params.clone(), self.slots.clone()
        loss, _, caches = self._gradients(size, torch.zeros_like(self.totals))
        if not torch.isfinite(loss).item():
            for head, total in zip(plan.heads, self.totals[2:].tolist(), strict=False):
                if len(plan.heads) > 1 and head.name and not np.isfinite(total):
                    return f"the loss of {head.name}"
            return "the loss"
        checked = [("gradient", self.gradient)]
        for name in _names_of(checked, plan.params):
            return name
        for slot, value in program._statistics(f, caches):
            if not torch.isfinite(value).all().item():
                return f"the new value of {slot.name}"
        updates = [("update", vector) for vector in (updated[0], *updated[1])]
        return next(iter(_names_of(updates, plan.params)), "the update")


def _names_of(
    vectors: list[tuple[str, Tensor]], variables: tuple[VariableSpec, ...]
) -> list[str]:
    """What is not finite in flat vectors."""
    return [
        f"the {what} of {v.name}"
        for what, vector in vectors
        for v in variables
        if not torch.isfinite(vector[v.offset : v.end]).all().item()
    ]


def _key(job: Job) -> tuple[object, ...]:
    state = job.state
    arrays = state.params, state.slots, state.buffers, state.scalars, job.totals
    return (*((a.shape, a.dtype) for a in arrays), state.seed)


def _trained(
    variables: tuple[VariableSpec, ...],
    updates: tuple[Update, ...],
    attrs: object,
) -> list[tuple[slice, Update]]:
    """Parts of the flat vector that are updated together: neighbours without formulas
    of their own. Between them lie zeros, which stay, unless epsilon is 0."""
    plain = dict(attrs).get("epsilon") != 0.0  # type: ignore[call-overload]
    found: list[tuple[slice, Update]] = []
    before: VariableSpec | None = None
    for v, update in zip(variables, updates, strict=True):
        if v.trainable:
            alone = update.rule is not None or update.after is not None or not plain
            if before is not None and not alone and found[-1][1] == update:
                found[-1] = slice(found[-1][0].start, v.end), update
            else:
                found.append((slice(v.offset, v.end), update))
        before = v if v.trainable else None
    return found


@contextlib.contextmanager
def without_subnormals() -> Iterator[None]:
    """Numbers below 1e-38, which a CPU computes with a hundred times as slowly, are 0:
    the optimizer's memory of units that are off decays to them."""
    smallest = torch.finfo(torch.float32).tiny
    flushed = bool(torch.full((), smallest) * 0.5 == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(flushed)


def _wholly(action: Callable[[], None]) -> None:
    """Do all of an action that may be repeated; a Ctrl-C during it takes effect
    afterwards."""
    interrupt: KeyboardInterrupt | None = None
    while True:
        try:
            action()
            break
        except KeyboardInterrupt as error:
            interrupt = error
    if interrupt is not None:
        raise interrupt
