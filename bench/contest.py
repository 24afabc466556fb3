"""Runs contenders in turn, each in its own process.

All processes but the running one are stopped by a signal, so that no thread of an idle
pool spins. Every round gives each contender one turn: a slow minute of the machine
affects all of them equally.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from bench import cases, contenders, machine

BEFORE, AFTER = 1e-5, 1e-3
"""Allowed differences of predictions, before training and after 10 steps, relative to
the largest prediction."""
CHECKED_STEPS = 10
CHECKED_ROWS = 1000
LONGEST_TURN = 5.0
"""Seconds of a turn of a contender whose calls cost much besides their steps."""
MAX_WAIT = 20.0
"""Longest time in seconds that one round waits for a quiet machine."""


class Unavailable(Exception):
    """A contender could not be started, or rejected a case."""


class Worker:
    """A contender in its process."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.log = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "bench.worker", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env=os.environ
            | {"TF_CPP_MIN_LOG_LEVEL": "3", "TORCHINDUCTOR_COMPILE_THREADS": "1"}
            | contenders.entry(name).environment,
        )

    def ask(self, request: str, *arguments: Any) -> Any:
        self.send(request, *arguments)
        return self.receive()

    def send(self, request: str, *arguments: Any) -> None:
        assert self.process.stdin
        self.process.send_signal(signal.SIGCONT)
        with contextlib.suppress(BrokenPipeError):  # `receive` reports why
            pickle.dump((request, arguments), self.process.stdin)
            self.process.stdin.flush()

    def receive(self) -> Any:
        assert self.process.stdout
        try:
            done, answer = pickle.load(self.process.stdout)
            self.process.send_signal(signal.SIGSTOP)
        except (EOFError, pickle.UnpicklingError):
            self.log.seek(0)
            last = self.log.read().decode(errors="replace").strip().splitlines()[-1:]
            raise Unavailable(f"the process ended: {' '.join(last)}") from None
        if not done:
            raise Unavailable(answer)
        return answer

    def close(self) -> None:
        self.process.kill()  # a stopped process, too
        self.process.wait()
        self.log.close()


@dataclass
class Times:
    """Seconds of one step, or of one call, in every round."""

    seconds: list[float] = field(default_factory=list)
    before: float = 0.0
    after: float = 0.0
    """Differences of the predictions before training, and after it."""
    failure: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.seconds) if self.seconds else float("nan")

    @property
    def best(self) -> float:
        return min(self.seconds, default=float("nan"))

    def record(self) -> dict[str, Any]:
        return asdict(self)


class Contest:
    """Keeps the workers from case to case, and compares all answers with those of the
    first contender.

    Args:
        patience: total seconds that rounds may wait for other programs to stop.
    """

    def __init__(self, patience: float = 0.0) -> None:
        self.workers: dict[str, Worker] = {}
        self.unavailable: dict[str, str] = {}
        self.versions: dict[str, str] = {}
        self.patience = patience
        self.waited = 0.0

    def __enter__(self) -> Contest:
        return self

    def __exit__(self, *_: object) -> None:
        self.close(list(self.workers))

    def close(self, names: Sequence[str]) -> None:
        for name in names:
            self.workers.pop(name).close()

    def ask(self, name: str, request: str, *arguments: Any) -> Any:
        if name in self.unavailable:
            raise Unavailable(self.unavailable[name])
        if name not in self.workers:
            self.workers[name] = Worker(name)
            try:
                self.versions |= self.ask(name, "versions")
            except Unavailable as reason:
                self.unavailable[name] = str(reason)
                self.close([name])
                print(f"{name}: not measured: {reason}", flush=True)
                raise
        return self.workers[name].ask(request, *arguments)

    def ask_both(self, request: str, *arguments: Any) -> list[Any]:
        """The answers of the two workers of the ceilings, working at the same time."""
        pair = [self.workers[name] for name in ("ceilings", "ceilings beside")]
        for worker in pair:
            worker.send(request, *arguments)
        return [worker.receive() for worker in pair]

    def wait(self) -> None:
        """Wait for other programs to finish, as long as patience lasts."""
        if self.patience > 0:
            waited = machine.wait_until_quiet(min(self.patience, MAX_WAIT))
            self.patience -= waited
            self.waited += waited

    def _each(self, times: dict[str, Times], call: Callable[[str], None]) -> None:
        """Call for every contender that has not failed yet."""
        for name, record in times.items():
            if not record.failure:
                try:
                    call(name)
                except Unavailable as reason:
                    record.failure = str(reason)

    def check(self, case: cases.Case, times: dict[str, Times]) -> None:
        """Same weights, same batches: the same predictions before training and after
        some steps."""
        checked = case.checked(CHECKED_STEPS)
        x = cases.some_rows(checked.data()[0], slice(CHECKED_ROWS))
        steps = min(CHECKED_STEPS, checked.steps)
        answers: dict[str, tuple[np.ndarray, np.ndarray]] = {}

        def train(name: str) -> None:
            self.ask(name, "prepare", checked)
            first = self.ask(name, "predict", x)
            self.ask(name, "keras_epsilon", True)
            self.ask(name, "train", steps)
            answers[name] = first, self.ask(name, "predict", x)
            self.ask(name, "keras_epsilon", False)

        self._each(times, train)
        if checked != case:
            self._each(times, lambda name: self.ask(name, "prepare", case))
        if not answers:
            reasons = {name: record.failure for name, record in times.items()}
            raise RuntimeError(f"no contender could be measured: {reasons}")
        expected = next(iter(answers.values()))
        for name, answer in answers.items():
            record = times[name]
            record.before, record.after = (
                float(np.abs(a - w).max() / np.abs(w).max())
                for a, w in zip(answer, expected, strict=True)
            )
            if record.before > BEFORE or record.after > AFTER:
                record.failure = (
                    f"another answer: {record.before:.1e} off before training, "
                    f"{record.after:.1e} after {steps} steps"
                )

    def steps(
        self,
        case: cases.Case,
        names: Sequence[str],
        rounds: int,
        seconds: float,
        before: int = 0,
    ) -> dict[str, Times]:
        """Seconds per step. A turn takes about `seconds`; each contender does `before`
        steps before its first turn."""
        times = {name: Times() for name in names}
        self.check(case, times)
        if before:
            self._each(times, lambda name: self.ask(name, "train", before))
        number = {}

        def pace(name: str) -> None:
            def took(count: int) -> float:
                return float(self.ask(name, "time train", count))

            long = seconds
            if case.shuffle:
                one = took(case.steps) / case.steps
            else:
                took(1)  # the first call compiles
                one, few = took(1), min(CHECKED_STEPS, case.steps)
                if few > 1 and one < LONGEST_TURN / few:
                    call, more = one, took(few)
                    one = max((more - call) / (few - 1), more / few / 100)
                    # What a call costs besides is a tenth of a turn at most.
                    long = min(max(seconds, 10 * (call - one)), LONGEST_TURN)
            epochs = round(long / one / case.steps)
            if epochs or case.shuffle or one * case.steps < 4 * long:
                number[name] = max(1, epochs) * case.steps
            else:  # part of an epoch
                number[name] = max(1, min(case.steps, round(long / one)))

        def turn(name: str) -> None:
            took = self.ask(name, "time train", number[name])
            times[name].seconds.append(took / number[name])

        self._each(times, pace)
        for _ in range(rounds):
            self.wait()
            self._each(times, turn)
        show(case.label, times)
        return times

    def predictions(
        self, case: cases.Case, rows: int, names: Sequence[str], rounds: int
    ) -> dict[str, Times]:
        """Seconds of one call with this many rows; the answers are checked."""
        times = {name: Times() for name in names}
        shape = (rows, *np.atleast_1d(case.inputs))
        x = np.random.default_rng(cases.SEED).uniform(0, 20, shape)
        x = x.astype(np.float32)
        answers, number = {}, {}

        def pace(name: str) -> None:
            self.ask(name, "prepare", case)
            answers[name] = self.ask(name, "predict", x)
            once = self.ask(name, "time predict", x, 3) / 3
            number[name] = max(1, round(0.1 / once))

        def turn(name: str) -> None:
            took = self.ask(name, "time predict", x, number[name])
            times[name].seconds.append(took / number[name])

        self._each(times, pace)
        expected = next(iter(answers.values()))
        for name, answer in answers.items():
            error = float(np.abs(answer - expected).max() / np.abs(expected).max())
            times[name].before = error
            if error > BEFORE:
                times[name].failure = f"another answer: {error:.1e} off"
        for _ in range(rounds):
            self.wait()
            self._each(times, turn)
        show(f"predict {rows} rows, {case.label}", times)
        return times


def show(label: str, times: dict[str, Times]) -> None:
    """Print one line of progress."""
    figures = [
        f"{name} {record.failure or f'{record.median * 1e3:.4g} ms'}"
        for name, record in times.items()
    ]
    print(f"{label}: {'; '.join(figures)}", flush=True)
