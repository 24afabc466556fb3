"""The memory of a training: gradients and updates of a step, whoever counts steps.

Steps that run as captured graphs on a GPU are in `kurve.engines.torch.device`, those
that the host counts and checks one by one in `kurve.engines.torch.host`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from kurve.core.processes import Processes
from kurve.engines.base import Job, divides_rows
from kurve.engines.torch.common import Tensor, tensor_of, wide
from kurve.engines.torch.data import Data, Given
from kurve.engines.torch.members import MembersBatches
from kurve.engines.torch.optimizers import OPTIMIZERS, Number, apply_rule, clip
from kurve.engines.torch.penalties import add_slopes
from kurve.engines.torch.sharing import Share
from kurve.errors import NonFiniteError
from kurve.ops.formula import Update
from kurve.plan import OptimizerSpec, VariableSpec

if TYPE_CHECKING:
    from kurve.engines.torch.program import TorchProgram


@dataclass
class Part:
    """A part of the flat vectors that is updated at once.

    w, g, slots: its weights, gradient and slots
    owners:      the member of each element, if several run together
    member:      that of the first one
    """

    w: Tensor
    g: Tensor
    slots: Sequence[Tensor]
    update: Update
    owners: Tensor | None
    member: int

    def of_elements(self, numbers: Sequence[Number]) -> list[Number]:
        """Numbers of a step; those that differ among members, for each element."""
        return [
            n.index_select(0, self.owners).to(self.w.dtype) if _differs(n) else n  # type: ignore[union-attr]
            for n in numbers
        ]

    def of_member(self, numbers: Sequence[Number]) -> list[Number]:
        """Numbers of a step, where all elements are those of one member."""
        return [n[self.member] if _differs(n) else n for n in numbers]  # type: ignore[index]


def _differs(number: Number) -> bool:
    """Whether each member has its own."""
    return isinstance(number, torch.Tensor) and number.ndim > 0


class Run:
    """The memory of one training on the device, at addresses that do not change.

    live, following: [params, slots, buffers], of the state's type
    live_wide, ...:  [scalars, totals], float64
    counters:        [step in the data, number of the update], int64
    data, table:     of the call: the rows and their order, and the numbers that updates
    read

    If updates are made in place, following is live itself.
    """

    data: Data
    table: Tensor
    processes: Processes | None = None
    in_place: bool

    def __init__(self, program: TorchProgram, job: Job) -> None:
        state, plan, device = job.state, program.plan, program.engine.torch_device
        self.program, self.plan, self.device = program, plan, device
        self.key = _key(job)
        dtype = tensor_of(state.params).dtype
        self.sizes = len(state.params), state.slots.shape, len(state.buffers)
        length = len(state.params) + state.slots.size + len(state.buffers)
        scalars = len(state.scalars)
        self.live = torch.zeros(length, dtype=dtype, device=device)
        self.live_wide = torch.zeros(
            scalars + len(job.totals), dtype=wide(device), device=device
        )
        self.counters = torch.zeros(2, dtype=torch.int64, device=device)
        self.next = self.live if self.in_place else torch.zeros_like(self.live)
        self.next_wide = torch.zeros_like(self.live_wide)
        self.scalars, self.totals = (
            self.next_wide[:scalars],
            self.next_wide[scalars:].view(*program.members, -1),
        )
        self.params, self.slots, self.buffers = self._parts(self.next)
        live_params, _, live_buffers = self._parts(self.live)
        self.gradient = torch.zeros_like(live_params)
        self.frame = program._training_frame(
            state.seed, live_params, live_buffers, self.counters[1], self.gradient
        )
        self.frame.factors = program.engine.factors
        assert plan.optimizer is not None
        self.optimizer = plan.optimizer
        self.every, updates = 1, (Update(),) * len(plan.params)
        if isinstance(self.optimizer, OptimizerSpec):
            self.every, updates = self.optimizer.every, self.optimizer.updates
        owners = torch.zeros(len(state.params), dtype=torch.int64)
        for i, v in enumerate(plan.params if program.members else ()):
            owners[v.offset : v.end] = i % program.members[0]
        self.trained = [
            Part(
                self.params[part],
                self.gradient[part],
                self.slots[:, part].unbind(0),
                update,
                owners[part].to(device) if program.members else None,
                int(owners[part.start]),
            )
            for part, update in _trained(plan.params, updates, self.optimizer.attrs)
        ]

    def fits(self, job: Job) -> bool:
        """Whether a job can be done in this memory."""
        return self.key == _key(job)

    def train(self, job: Job) -> NonFiniteError | None:
        """Do the steps of a job."""
        shared = job.processes is not None and divides_rows(self.plan)
        self.processes = job.processes if shared else None
        self._load(job)
        counts = job.batches.bounds[job.first : job.last + 1]
        for size in set(np.diff(counts).tolist()):
            self.plan.check_rows(size)
        done = self._steps(job)
        if done == job.last:
            return None
        assert job.batches.learning_rates is not None
        rate = float(job.batches.learning_rates[done])
        what = "a member"
        if not self.program.members:
            what = self._not_finite(done, self._due(job.state.step))
        return NonFiniteError(what, job.state.step, rate)

    def _load(self, job: Job) -> None:
        """Copy the state and the data of a job to live memory."""
        raise NotImplementedError

    def _steps(self, job: Job) -> int:
        """Run the steps, save, and return the first step that did not run."""
        raise NotImplementedError

    def _not_finite(self, step: int, due: bool) -> str:
        """The first non-finite value of a step, in the order of `Engine.train`."""
        raise NotImplementedError

    def _parts(self, whole: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        size, slots, buffers = self.sizes
        params, rest, behind = whole.split([size, slots[0] * slots[1], buffers])
        return params, rest.view(slots), behind

    def _due(self, number: int) -> bool:
        """Whether that update applies gradients, instead of only accumulating them."""
        return (number + 1) % self.every == 0

    def _copy(self, job: Job) -> None:
        """What is live becomes the state and the totals of the job."""
        state = job.state
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

    def _numbers(self, job: Job) -> Tensor:
        """The table that updates read, one row per step: the learning rate, the number
        of the update, and the optimizer's numbers; (steps, numbers), with an axis of
        members at the end if their learning rates differ."""
        batches = job.batches
        each = batches.each if isinstance(batches, MembersBatches) else [batches]
        rates = [b.learning_rates for b in each if b.learning_rates is not None]
        if all(np.array_equal(own, rates[0]) for own in rates):
            del rates[1:]
        tables = [self._columns(own, job) for own in rates]
        table = tables[0] if len(tables) == 1 else np.stack(tables, -1)
        return torch.from_numpy(table).to(self.device, self.live_wide.dtype)

    def _columns(self, learning_rates: np.ndarray, job: Job) -> np.ndarray:
        state, rates = job.state, learning_rates.astype(np.float64)
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
        return np.stack(columns, 1)

    def _gradients(
        self, given: Given, share: Share | None, size: int, totals: Tensor
    ) -> tuple[Tensor, list[tuple[VariableSpec, Tensor]]]:
        """The loss of a batch and the new values of buffers, and, in the frame, the
        gradient; the batch is added to the totals."""
        program, f = self.program, self.frame
        f.share = share
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
        add_slopes(program.variables, f)
        loss = program._sum(losses, f)
        program._count_losses(loss, losses, size, totals)
        return f.whole(loss), program._statistics(f, caches)

    def _share(self, size: int) -> Share | None:
        """This process's rows, if several processes divide a step."""
        if self.processes is None:
            return None
        rows = self.processes.rows_of(size)
        return None if rows is None else Share(self.processes, size, rows)

    def _update(self, due: bool, row: Sequence[Number]) -> None:
        """Clipping, weight decay and the optimizer's step; `row` of the table."""
        gradient, attrs = self.gradient, self.optimizer.attrs
        if self.every > 1:
            self.slots[-1].add_(gradient)
            if due:
                torch.div(self.slots[-1], self.every, out=gradient)
                self.slots[-1].zero_()
        if due:
            clip(gradient, self.frame.slopes, attrs, self.program.members)
        for part in self.trained:
            w, g, own, update = part.w, part.g, part.slots, part.update
            if due and update.rule is not None:
                apply_rule(update.rule, w, g, own, *part.of_member(row[:2]))
            elif due:
                lr, _, *numbers = part.of_elements(row)
                if update.decays and attrs["weight_decay"]:
                    w.sub_(w * float(attrs["weight_decay"]) * lr)
                OPTIMIZERS[self.optimizer.kind][1](w, g, own, numbers, attrs)
            if update.after is not None:
                apply_rule(update.after, w, g, own, *part.of_member(row[:2]))
        if due and len(self.scalars) and len(row) > 2:
            self.scalars.fill_(self.trained[0].of_member(row)[-1])

    def _save(self, job: Job, number: int) -> None:
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
        state.step = number

    def _not_finite_before(
        self, loss: Tensor, statistics: Sequence[tuple[VariableSpec, Tensor]]
    ) -> str | None:
        """The first non-finite value that a step computes before its update."""
        if not torch.isfinite(loss).item():
            heads = self.plan.heads
            for head, total in zip(
                heads, self.totals.view(-1)[2:].tolist(), strict=False
            ):
                if len(heads) > 1 and head.name and not np.isfinite(total):
                    return f"the loss of {head.name}"
            return "the loss"
        for name in self._names_of(("gradient", self.gradient)):
            return name
        for slot, value in statistics:
            if not torch.isfinite(value).all().item():
                return f"the new value of {slot.name}"
        return None

    def _not_finite_after(self, params: Tensor, slots: Tensor) -> str:
        """What is not finite after the update."""
        vectors = [("update", vector) for vector in (params, *slots)]
        return next(iter(self._names_of(*vectors)), "the update")

    def _names_of(self, *vectors: tuple[str, Tensor]) -> list[str]:
        """What is not finite in flat vectors."""
        return [
            f"the {what} of {v.name}"
            for what, vector in vectors
            for v in self.plan.params
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
    """Parts of the flat vector that are updated together: adjacent variables without
    separate formulas. The zeros between them are preserved, unless epsilon is 0."""
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
    """Flush numbers below 1e-38 to 0, because a CPU is a hundred times slower with
    them: the optimizer's slots of inactive units decay to such numbers."""
    smallest = torch.finfo(torch.float32).tiny
    flushed = bool(torch.full((), smallest) * 0.5 == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(flushed)


def wholly(action: Callable[[], None]) -> None:
    """Complete an idempotent action; a Ctrl-C during it takes effect afterwards."""
    interrupt: KeyboardInterrupt | None = None
    while True:
        try:
            action()
            break
        except KeyboardInterrupt as error:
            interrupt = error
    if interrupt is not None:
        raise interrupt
