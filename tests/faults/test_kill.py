"""A checkpointed `fit` is killed again and again until it has come to its end, and that
end is the one of a fit that nobody has disturbed, bit for bit."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import NO_NATIVE
from tests.faults.conftest import Promise
from tests.faults.trainee import CASES

PROGRAM = str(Path(__file__).with_name("trainee.py"))
ENGINES = ["reference"] if NO_NATIVE else ["native", "reference"]


class Server:
    """Trainings in forks of one process that has loaded everything."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, PROGRAM, "serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, delay: float, *words: Any) -> str:
        """The exit status of a training, or "killed" after `delay` seconds."""
        assert self.process.stdin is not None and self.process.stdout is not None
        print(delay, *words, file=self.process.stdin, flush=True)
        return self.process.stdout.readline().strip()

    def close(self) -> None:
        self.process.communicate(timeout=60)


def run_new(delay: float, *words: Any) -> str:
    """The same in a process that has loaded nothing."""
    process = subprocess.Popen([sys.executable, PROGRAM, "run", *map(str, words)])
    try:
        return str(process.wait(delay))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return "killed"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture(scope="module")
def undisturbed(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What each training comes to when nobody disturbs it."""
    results = {}
    memory = Path("/dev/shm")  # where syncing takes no time
    for engine in ENGINES:
        for case in CASES:
            above = memory if memory.is_dir() else tmp_path_factory.getbasetemp()
            with tempfile.TemporaryDirectory(dir=above) as name:
                folder = Path(name)
                assert server.run(60, folder, engine, case, 1) == "0", errors(folder)
                results[engine, case] = result(folder)
    return results


def result(folder: Path) -> Any:
    return json.loads((folder / "result.json").read_text("utf-8"))


def errors(folder: Path) -> str:
    path = folder / "error.txt"
    return path.read_text("utf-8") if path.exists() else ""


def test_killed_at_random_instants(
    server: Server, undisturbed: Any, tmp_path: Path, soak: bool, promise: Promise
) -> None:
    wanted, draw = 500 if soak else 50, random.Random(int(soak))
    pairs = [(engine, case) for case in CASES for engine in ENGINES]
    of_each = -(-wanted // len(pairs)) if not soak else 16
    killed = writing = new = runs = 0
    while killed < wanted:
        engine, case = pairs[runs % len(pairs)]
        folder = tmp_path / str(runs)
        folder.mkdir()
        count, status = 0, "killed"
        while status == "killed":
            # Once there is a checkpoint, its seed must win over that of the process.
            started = any(folder.glob("checkpoints/*.kurve"))
            words = (folder, engine, case, count + 2 if started else 1)
            if count >= of_each:
                status = server.run(60.0, *words)
            elif count % 8 == 3:
                status = run_new(0.2 + draw.uniform(0.0, 0.5), *words)
                new += status == "killed"
            else:
                status = server.run(draw.uniform(0.0, 0.2), *words)
            count += status == "killed"
            writing += any(folder.glob("**/.kurve-*.tmp"))
        assert status == "0", errors(folder)
        assert result(folder) == undisturbed[engine, case], (engine, case, count)
        assert not list(folder.glob("checkpoints/.kurve-*.tmp"))
        killed, runs = killed + count, runs + 1
    promise(
        "kill",
        f"{killed} of {killed} resumed, {runs} trainings ended with the same bits; "
        f"{writing} were killed while a file was being written, {new} in processes of "
        "their own",
    )
