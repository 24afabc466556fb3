"""Training steps on a GPU, where all changing data is on the device.

A step reads the live state and writes the next one: weights, the optimizer's slots,
buffers, sums and counters. Then, if all of it is finite, the next state becomes live.
The host decides and reads nothing within a step, so a step can run as one captured
graph, and the host only needs to check after many steps: after a step that is not
finite, the live state no longer changes. The failed step is then computed again,
separately, to name the value that was not finite.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import torch

from kurve.engines.base import Job
from kurve.engines.torch.common import Tensor, view
from kurve.engines.torch.data import Data
from kurve.engines.torch.training import Run, wholly
from kurve.plan import VariableSpec

if TYPE_CHECKING:
    from kurve.engines.torch.program import TorchProgram

MAX_GRAPHS = 8
"""Maximum number of batch sizes that are captured; steps of other sizes run
normally."""

AHEAD, SECONDS = 32, 0.02
"""Maximum number of steps that are sent to a GPU before the host checks for errors, and
their time: a Ctrl-C takes effect after them."""


class DeviceRun(Run):
    """Steps that run without the host; see the module.

    next_counters: the next values of the counters
    alive:         whether all steps were finite so far
    warm:          kinds of steps that have run, in which threads

    Before a step, the next state equals the live one, unless an earlier step was not
    finite.
    """

    in_place = False

    def __init__(self, program: TorchProgram, job: Job) -> None:
        super().__init__(program, job)
        self.next_counters = torch.zeros_like(self.counters)
        self.alive = torch.ones((), dtype=torch.bool, device=self.device)
        self.none = torch.zeros_like(self.live)
        self.position = self.counters[:1]
        self.graphs: dict[tuple[int, bool], torch.cuda.CUDAGraph] = {}
        self.warm: set[tuple[tuple[int, bool], int]] = set()

    def _steps(self, job: Job) -> int:
        start, counts = job.state.step, np.diff(job.batches.bounds)
        ahead, sent, since = 1, 0, time.perf_counter()
        try:
            for step in range(job.first, job.last):
                self._do(int(counts[step]), self._due(start + step - job.first))
                sent += 1
                if sent < ahead:
                    continue
                if not self.alive.item():
                    break
                short = time.perf_counter() - since < SECONDS / 2
                ahead = min(2 * ahead, AHEAD) if short else max(ahead // 2, 1)
                sent, since = 0, time.perf_counter()
        finally:
            wholly(lambda: self._save(job, int(self.counters[1])))
        return job.first + job.state.step - start

    def _load(self, job: Job) -> None:
        self._copy(job)
        self._restart()
        data = self.program._data(job.batches, self.live.dtype)
        table = self._numbers(job)
        if self.warm and self._same(data, table):
            self.data.fill(data)
            self.table.copy_(table)
            return
        self.data, self.table = data, table
        self.graphs.clear()
        self.warm.clear()

    def _restart(self) -> None:
        """Be ready for a step."""
        self.alive.fill_(True)
        self.next.copy_(self.live)
        self.next_wide.copy_(self.live_wide)

    def _same(self, data: Data, table: Tensor) -> bool:
        """Whether the new data fits into the memory that a captured step reads."""
        return self.data.fits(data) and self.table.shape == table.shape

    def _do(self, size: int, due: bool) -> None:
        """Run one step: the first of a kind normally, as a warm-up, the following ones
        captured."""
        if self.processes is not None:
            self.processes.check()
            self.step(size, due)
            wholly(self.commit)
            return
        # Each thread has library handles of its own, which a capture cannot create.
        key, thread = (size, due), threading.get_ident()
        graph = self.graphs.get(key)
        warm = (key, thread) in self.warm and len(self.graphs) < MAX_GRAPHS
        if graph is None and warm:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self.step(size, due)
                self.commit()
            self.graphs[key] = graph
        if graph is not None:
            graph.replay()
            return
        self.warm.add((key, thread))
        self.step(size, due)
        wholly(self.commit)

    def step(self, size: int, due: bool) -> None:
        """Compute the state after a batch of that size, and whether it is finite;
        `due`: whether gradients are applied, instead of only accumulated."""
        loss, statistics = self._next_gradients(size, self.totals)
        health = loss * 0 + self._zero(self.gradient)
        for slot, value in statistics:
            view(self.buffers, slot).copy_(value.reshape(slot.shape))
        self._update(due, self.table.index_select(0, self.position)[0].unbind(0))
        finite = (health + self._zero(self.next)) == 0
        torch.logical_and(self.alive, finite, out=self.alive)
        torch.add(self.counters, 1, out=self.next_counters)

    def _next_gradients(
        self, size: int, totals: Tensor
    ) -> tuple[Tensor, list[tuple[VariableSpec, Tensor]]]:
        share = self._share(size)
        rows, first = (size, 0) if share is None else (share.rows, share.first)
        given = self.data.batch(self.position, rows, first)
        return self._gradients(given, share, size, totals)

    def _zero(self, x: Tensor) -> Tensor:
        """0 if all of a flat vector is finite, else NaN."""
        return torch.dot(x, self.none[: x.numel()])

    def commit(self) -> None:
        """Make the next state live if it is finite; idempotent."""
        for live, following in (
            (self.live, self.next),
            (self.live_wide, self.next_wide),
            (self.counters, self.next_counters),
        ):
            torch.where(self.alive, following, live, out=live)

    def _not_finite(self, step: int, due: bool) -> str:
        size = int(self.data.counts[step])
        self._restart()
        self.step(size, due)
        params, slots = self.params.clone(), self.slots.clone()
        found = self._next_gradients(size, torch.zeros_like(self.totals))
        return self._not_finite_before(*found) or self._not_finite_after(params, slots)
