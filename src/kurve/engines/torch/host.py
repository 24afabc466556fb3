"""Training steps that the host counts and checks: on the CPU, and on MPS.

A step first computes its gradient, which does not change the live state. If the
gradient is finite, the update is made in place, so weights are read and written only
once. To be able to go back if an update is not finite, or is interrupted, the live
state is copied every few steps, and the steps since then are repeated.

On the CPU, steps after the second of a kind are recorded calls, see
`kurve.engines.torch.recording`.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from kurve.engines.base import Job
from kurve.engines.torch.common import Tensor, view
from kurve.engines.torch.data import Given
from kurve.engines.torch.optimizers import Number
from kurve.engines.torch.recording import Call, Recorder
from kurve.engines.torch.recording import run as make
from kurve.engines.torch.sharing import Share
from kurve.engines.torch.training import Run, wholly
from kurve.plan import VariableSpec

if TYPE_CHECKING:
    from kurve.engines.torch.program import TorchProgram

KEPT, LONGEST = 32, 0.05
"""Maximum steps, and seconds, between copies of the live state."""

MAX_RECORDINGS = 8
"""Maximum number of batch sizes that are recorded; steps of other sizes run
normally."""


@dataclass
class Step:
    """A recorded step: its inputs, its results, and the calls that repeat it.

    kind:   rows of the batch, and whether gradients are applied
    health: finite if the loss, the gradient and the statistics are
    """

    given: Given
    kind: tuple[int, bool]
    numbers: Sequence[Number]
    health: Tensor
    loss: Tensor
    statistics: Sequence[tuple[VariableSpec, Tensor]]
    recorder: Recorder | None = None
    gradient: Sequence[Call] = ()
    update: Sequence[Call] = ()


class HostRun(Run):
    """Steps that the host checks; see the module.

    done:    the first step that has not run
    writing: whether the live state may be in the middle of a step
    kept:    the step before which the live state was copied; before the first copy, the
    job's state serves as one
    kinds:   known steps, by size and whether they apply gradients, with their
    recordings
    refused: those that cannot be recorded
    sticky:  whether non-finite values persist until they are checked
    """

    in_place = True

    def __init__(self, program: TorchProgram, job: Job) -> None:
        super().__init__(program, job)
        self.number = self.counters[1]
        self.recordable = self.device.type == "cpu"
        self.kinds: dict[tuple[int, bool], Step | None] = {}
        self.refused: set[tuple[int, bool]] = set()
        self.layout: list[torch.Size | None] = []
        self.copies: list[Tensor] = []
        updates = [part.update for part in self.trained]
        rules = any(u.rule is not None or u.after is not None for u in updates)
        self.lasting = self.every == 1 and not rules

    def _load(self, job: Job) -> None:
        self.job, self.start = job, job.state.step
        self.done = self.kept = job.first
        self.writing, self.copied = False, False
        self.sticky = self.lasting and self.processes is None
        self._copy(job)
        self.data = self.program._data(job.batches, self.live.dtype)
        arrays = self.data.arrays
        self.table = self._numbers(job)
        layout = [a if a is None else a.shape[1:] for a in (*arrays, self.table)]
        if layout != self.layout:  # such as weights that were not there before
            self.layout = layout
            self.row = torch.empty_like(self.table[0])
            self.kinds.clear()
            self.refused.clear()
        self.rows, self.numbers = self.table.unbind(0), self.table.tolist()
        self.counts = np.diff(job.batches.bounds).tolist()

    def _steps(self, job: Job) -> int:
        every = KEPT if self.processes is None else 1
        self.next_copy = time.thread_time() + LONGEST
        try:
            while self.done < job.last:
                step = self._compute(self.done)
                if not self._is_finite(step):
                    break
                self._apply(step)
                if not self.sticky and not _finite(self.live):
                    break
                self.done, self.writing = self.done + 1, False
                late = time.thread_time() > self.next_copy
                if late or self.done - self.kept == every:
                    if not _finite(self.live):
                        break
                    wholly(self._keep)
        finally:
            wholly(self._finish)
        return self.done

    def _finish(self) -> None:
        """Save the live state after the last complete and finite step."""
        if self.writing or not _finite(self.live):
            self._go_back()
        self._save(self.job, self.start + self.done - self.job.first)

    def _go_back(self) -> None:
        """Repeat the steps since the last copy, up to one that is not finite."""
        self.writing, sound = True, False
        while not sound:
            sound = True
            self._restore()
            for number in range(self.kept, self.done):
                self._apply(self._compute(number))
                if not _finite(self.live):
                    self.done, sound = number, False
                    break
        self.writing = False

    def _keep(self) -> None:
        """Copy the live state; idempotent."""
        live = self.live, self.live_wide
        if not self.copies:
            self.copies = [torch.empty_like(memory) for memory in live]
        for copy, memory in zip(self.copies, live, strict=True):
            copy.copy_(memory)
        self.copied, self.kept = True, self.done
        self.next_copy = time.thread_time() + LONGEST

    def _restore(self) -> None:
        if not self.copied:
            self._copy(self.job)
            return
        for copy, memory in zip(self.copies, (self.live, self.live_wide), strict=True):
            memory.copy_(copy)

    def _compute(self, number: int) -> Step:
        """The gradient of a step, and its other results before the update."""
        place = number - self.job.first
        size, due = self.counts[number], self._due(self.start + place)
        self.number.fill_(self.start + place)
        share = self._share(size)
        if share is not None or not self.recordable:
            rows, first = (size, 0) if share is None else (share.rows, share.first)
            given = self.data.batch(number, rows, first)
            differ = self.table.ndim == 3
            row = self.rows[number].unbind(0) if differ else self.numbers[number]
            return self._step(given, share, size, due, row)
        kind = size, due
        known = self.kinds.get(kind)
        given = known.given if known is not None else self.data.space(size)
        self.data.read(given, number, size)
        self.row.copy_(self.rows[number])
        if known is not None:
            make(known.gradient)
            return known
        again = kind in self.kinds and kind not in self.refused
        recorder = Recorder() if again and len(self.kinds) <= MAX_RECORDINGS else None
        self.kinds[kind] = None
        with recorder or contextlib.nullcontext():
            step = self._step(given, None, size, due, self.row.unbind(0))
        step.recorder = recorder
        return step

    def _step(
        self,
        given: Given,
        share: Share | None,
        size: int,
        due: bool,
        numbers: Sequence[Number],
    ) -> Step:
        self.next_wide.copy_(self.live_wide)
        loss, statistics = self._gradients(given, share, size, self.totals)
        health = loss + self.gradient.sum(0)
        for _, value in statistics:
            health = health + value.reshape(-1).sum(0)
        return Step(given, (size, due), numbers, health, loss, statistics)

    def _is_finite(self, step: Step) -> bool:
        """Check the values before the update. A sum of finite numbers may be
        infinite."""
        return math.isfinite(step.health.item()) or (
            self._not_finite_before(step.loss, step.statistics) is None
        )

    def _apply(self, step: Step) -> None:
        """The update of a step, in place."""
        self.writing = True
        if step.update:
            make(step.update)
            return
        recorder = step.recorder
        if recorder is None:
            self._write(step)
            return
        middle = recorder.count()
        with recorder:
            self._write(step)
        if recorder.failed:
            self.refused.add(step.kind)
        else:
            step.gradient = recorder.calls(0, middle)
            step.update = recorder.calls(middle, recorder.count())
            step.recorder = None
            self.kinds[step.kind] = step

    def _write(self, step: Step) -> None:
        for slot, value in step.statistics:
            view(self.buffers, slot).copy_(value.reshape(slot.shape))
        self._update(step.kind[1], step.numbers)
        self.live_wide.copy_(self.next_wide)

    def _not_finite(self, step: int, due: bool) -> str:
        recordable, self.recordable = self.recordable, False
        try:
            found = self._compute(step)
        finally:
            self.recordable = recordable
        before = self._not_finite_before(found.loss, found.statistics)
        if before is not None:
            return before
        self._update(due, found.numbers)
        return self._not_finite_after(self.params, self.slots)


def _finite(x: Tensor) -> bool:
    """Whether all of a flat vector is finite. A sum of finite numbers may be
    infinite."""
    return math.isfinite(x.sum().item()) or bool(torch.isfinite(x).all())
