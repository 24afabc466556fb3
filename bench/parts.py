"""The parts of the benchmark: which cases, which contenders, how many rounds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from bench import cases, ceilings, machine, processes
from bench.contest import Contest, Times

STRONG = ("Kurve", "PyTorch", "JAX")
SWEPT = ("Kurve", "PyTorch", "PyTorch, 1 thread", "JAX")
"""Small steps are faster in PyTorch on one thread, most of all on a busy machine."""
KERAS = ("Keras on JAX", "Keras on TensorFlow", "Keras on PyTorch")
ALL = (*STRONG, *KERAS, "scikit-learn")
TURN = 0.15
"""Approximate seconds of a turn."""
TRAINED = 2000
"""Steps after which the article's model is timed again."""

BUSY = "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"
"""A process that computes for as long as its parent lives."""

SWEEP = {
    3: [(width, batch) for width in (16, 64, 256, 1024) for batch in (1, 32, 256, 2048)]
    + [(16, 8192), (64, 8192), (256, 8192), (1024, 8192)]
    + [(2048, 1), (2048, 32), (2048, 1024)],
    2: [(64, 32), (256, 1), (512, 1024), (2048, 2048)],
    8: [(16, 1), (64, 32), (256, 32), (256, 1024), (512, 64), (1024, 128)],
}
"""depth: (width, batch)"""
ALSO_ALL = {(3, 64, 32), (3, 256, 256), (3, 1024, 2048)}
"""Points of the sweep for all contenders, not only the strongest."""


class Benchmark:
    """Runs the parts and keeps their results as plain numbers."""

    def __init__(self, contest: Contest, quick: bool) -> None:
        self.contest, self.quick = contest, quick
        self.ceilings = ceilings.Ceilings(contest, with_jax=not quick)
        for name in ("ceilings", "ceilings beside"):
            contest.ask(name, "versions")
        self.results: dict[str, Any] = {}

    def run(self, letters: str) -> dict[str, Any]:
        watch = machine.Watch()
        for letter in letters:
            print(f"\n({letter}) {getattr(self, letter).__doc__}", flush=True)
            self.contest.wait()
            self.ceilings.measure()
            self.results[letter] = getattr(self, letter)()
        self.ceilings.measure()
        self.results["ceilings"] = self.ceilings.table()
        workers = [worker.process.pid for worker in self.contest.workers.values()]
        self.results["watch"] = watch.shares(workers)
        self.results["waited"] = self.contest.waited
        self.results["unavailable"] = self.contest.unavailable
        self.results["versions"] = self.contest.versions
        return self.results

    def _steps(
        self, case: cases.Case, names: Sequence[str], rounds: int, turn: float = TURN
    ) -> dict[str, Any]:
        return record(case, self.contest.steps(case, names, rounds, turn))

    def a(self) -> Any:
        """The article's model."""
        if self.quick:
            names = ("Kurve", "Kurve, 1 thread", "Kurve reference (NumPy)", "PyTorch")
            return self._steps(cases.article(), names, 7)
        more = ("Keras on JAX, 10 steps a call", "Keras on TensorFlow, 10 steps a call")
        once = (*more, "PyTorch compiled", "Kurve reference (NumPy)")
        alone = ("Kurve, 1 thread", "PyTorch, 1 thread", "JAX, 1 thread")
        found = self._steps(cases.article(), (*ALL, *alone, *once), 11)
        self.contest.close([name for name in once if name in self.contest.workers])
        later = self.contest.steps(cases.article(), STRONG, 7, TURN, before=TRAINED)
        times = {name: one.record() for name, one in later.items()}
        return found | {"trained": {"steps": TRAINED, "times": times}}

    def b(self) -> Any:
        """Widths, depths, batches."""
        if self.quick:
            points = [(64, 3, 32), (16, 8, 1), (256, 3, 1024), (1024, 3, 256)]
            return [
                self._steps(cases.swept(*p), ("Kurve", "PyTorch"), 5) for p in points
            ]
        found = []
        for depth, points in SWEEP.items():
            for width, batch in points:
                also = ALL[3:] if (depth, width, batch) in ALSO_ALL else ()
                case = cases.swept(width, depth, batch)
                found.append(self._steps(case, (*SWEPT, *also), 5))
            self.ceilings.measure()
        return found

    def c(self) -> Any:
        """Rows of the data: shuffled epochs of a 2 x 64 network on 16 inputs."""
        found = []
        for power in range(2, 4 if self.quick else 7):
            case = cases.Case(64, 2, 100, 10**power, inputs=16, shuffle=True)
            names = ["Kurve", "PyTorch, 1 thread"]
            if not self.quick:
                names += ["JAX"]
            if not self.quick and power < 5:
                names += ["Keras on JAX", "Keras on TensorFlow", "scikit-learn"]
            found.append(self._steps(case, names, 5 if power < 6 else 3))
        return found

    def d(self) -> Any:
        """Prediction: one call from Python, arrays in and out."""
        found = []
        for case in (cases.article(), cases.swept(64, 2, 32)):
            for rows in (1, 32, 10_000):
                names = STRONG[:2] if self.quick else ALL
                times = self.contest.predictions(case, rows, names, 7)
                found.append(record(case, times) | {"rows": rows})
        return found

    def e(self) -> Any:
        """Ensembles of 2 x 64 networks, batch 32."""
        case = replace(cases.swept(64, 2, 32), inputs=1)
        names = STRONG[:2] if self.quick else STRONG
        numbers = (1, 8) if self.quick else (1, 2, 4, 8, 16, 32, 64)
        return [self._steps(replace(case, members=k), names, 15) for k in numbers]

    def f(self) -> Any:
        """One thread and two, and a neighbour on one core."""
        names = [n for name in STRONG for n in (name, f"{name}, 1 thread")]
        names = names[:2] if self.quick else names
        found = []
        for case in (
            cases.article(),
            replace(cases.article(), batch=200, rows=2000),
            cases.swept(64, 2, 32),
        ):
            alone = self._steps(case, names, 5)
            patience, self.contest.patience = self.contest.patience, 0.0
            neighbour = subprocess.Popen([sys.executable, "-c", BUSY])
            try:
                os.sched_setaffinity(neighbour.pid, {min(os.sched_getaffinity(0))})
                loaded = self._steps(case, names, 5)
            finally:
                self.contest.patience = patience
                neighbour.kill()
                neighbour.wait()
            found.append({"alone": alone, "loaded": loaded})
        return found

    def g(self) -> Any:
        """Whole programs, memory, sizes."""
        names = ("NumPy alone", "Kurve", "PyTorch")
        if not self.quick:
            names = tuple(processes.IMPORTS)
        return {
            "programs": processes.measure(names, 3 if self.quick else 5),
            "wheel MB": processes.wheel_megabytes(),
        }


def record(case: cases.Case, times: dict[str, Times]) -> dict[str, Any]:
    return {
        "case": asdict(case),
        "times": {name: one.record() for name, one in times.items()},
    }
