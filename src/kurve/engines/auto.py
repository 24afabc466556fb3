"""The engine that tries the others: `engine="auto"`.

The first training of each program runs a few steps on each available engine, with
copies of the model's state, and keeps the fastest engine. The choice is printed to
standard error. It depends on measured times, so the next training may use another
engine and get different bits; name an engine to always get the same bits.
"""

from __future__ import annotations

import copy
import importlib.util
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from kurve.engines.base import Batches, Engine, Job, Program, State
from kurve.errors import NonFiniteError
from kurve.plan import Plan

STEPS = 3
"""That are timed, after one that is not."""


class AutoProgram:
    """A plan run by the engine that proved fastest; by the first until then."""

    def __init__(self, plan: Plan, candidates: Sequence[Engine]) -> None:
        self.plan = plan
        self._candidates = list(candidates)
        self._chosen = self._candidates[0]
        self._program = self._chosen.compile(plan)

    def test(self, state: State, batches: Batches, totals: np.ndarray) -> None:
        self._program.test(state, batches, totals)

    def predict(self, state: State, x: Any) -> Any:
        return self._program.predict(state, x)

    def gradient(
        self, state: State, batches: Batches, step: int
    ) -> tuple[float, np.ndarray]:
        return self._program.gradient(state, batches, step)

    def jacobian(self, state: State, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._program.jacobian(state, x)

    def _ready(self, job: Job, others: Sequence[AutoProgram]) -> None:
        """Choose an engine: that of another with the same plan, or by a trial."""
        if len(self._candidates) == 1:
            return
        for other in others:
            names = [engine.name for engine in self._candidates]
            if other.plan == self.plan and other._chosen.name in names:
                self._chosen = self._candidates[names.index(other._chosen.name)]
                if self._chosen is not self._candidates[0]:
                    self._program = self._chosen.compile(self.plan)
                self._candidates = [self._chosen]
                return
        self._choose(job)

    def _choose(self, job: Job) -> None:
        """Time the candidates, and keep the fastest."""
        timed: list[tuple[float, int, Program]] = []
        for i, engine in enumerate(self._candidates):
            try:
                program = self._program if i == 0 else engine.compile(self.plan)
                seconds = _seconds_a_step(engine, program, job)
            except (NotImplementedError, MemoryError):
                continue
            timed.append((seconds, i, program))
        if timed:
            _, best, self._program = min(timed, key=lambda found: found[0])
            self._chosen = self._candidates[best]
        found = ", ".join(
            f"{self._candidates[i].name} {1e3 * s:.3g}" for s, i, _ in timed
        )
        text = f"[engine='auto'] {self._chosen.name} (milliseconds a step: {found})"
        print(text, file=sys.stderr)
        self._candidates = [self._chosen]


class AutoEngine:
    """Chooses between the native and the torch engine; see the module.

    Args:
        get_engine: returns the engine with a name.
    """

    name = "auto"

    def __init__(self, get_engine: Callable[[str], Engine]) -> None:
        self._get_engine = get_engine

    def compile(self, plan: Plan) -> AutoProgram:
        names = ["native"]
        if importlib.util.find_spec("torch") is not None:
            names.append("torch")
        return AutoProgram(plan, [self._get_engine(name) for name in names])

    def train(self, jobs: Sequence[Job]) -> list[NonFiniteError | None]:
        errors: list[NonFiniteError | None] = [None] * len(jobs)
        ready: list[AutoProgram] = []
        by_engine: dict[str, tuple[Engine, list[int]]] = {}
        for n, job in enumerate(jobs):
            program = job.program
            assert isinstance(program, AutoProgram)
            program._ready(job, ready)
            ready.append(program)
            chosen = program._chosen
            by_engine.setdefault(chosen.name, (chosen, []))[1].append(n)
        for engine, numbers in by_engine.values():
            group = [replace(jobs[n], program=ready[n]._program) for n in numbers]
            for n, error in zip(numbers, engine.train(group), strict=True):
                errors[n] = error
        return errors


def _seconds_a_step(engine: Engine, program: Program, job: Job) -> float:
    """The time of the first steps of a job, on copies; without the overhead of the
    call, if there are several steps. The torch engine records its second step."""
    times = []
    for steps in (1, 1, 1, 1 + STEPS):
        last = min(job.first + steps, job.last)
        state, totals = copy.deepcopy(job.state), job.totals.copy()
        start = time.perf_counter()
        engine.train([Job(program, state, job.batches, job.first, last, totals)])
        times.append(time.perf_counter() - start)
    more = min(STEPS, job.last - job.first - 1)
    return max((times[3] - times[2]) / more, 1e-9) if more else times[2]
