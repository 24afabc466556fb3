"""The number of threads: default and limits; results do not depend on it.

For threads of the caller and forked children, see tests/faults/test_threads.py.
"""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from kurve import _core
from kurve.engines.native import NativeEngine
from kurve.plan import Plan
from tests.native.neighbours import group, hold
from tests.native.plans import Builder, batches_of, mse, optimizer, state_of, train


@pytest.fixture(autouse=True)
def _restore_threads() -> Iterator[None]:
    threads = _core.get_threads()
    yield
    _core.set_threads(threads)


def wide(clip: str = "global_clipnorm") -> Plan:
    """Wide enough to use the pool, with odd sizes to test tails."""
    builder = Builder(7).dense(300, "gelu").dropout(0.2).dense(301, "relu", l2=1e-4)
    return builder.dense(270, "tanh").dense(3).plan(mse(), optimizer(**{clip: 0.5}))


def trained(threads: int) -> tuple[bytes, bytes]:
    _core.set_threads(threads)
    plan = wide()
    state, batches = state_of(plan), batches_of(plan, 200, 37, weights=True)
    totals = np.zeros(plan.totals_size)
    train(NativeEngine(), plan, state, batches, totals=totals)
    return state.params.tobytes() + state.slots.tobytes(), totals.tobytes()


def test_same_bits_for_any_number_of_threads():
    alone = trained(1)
    for threads in (2, 3, 4, 8):
        for _ in range(3):
            assert trained(threads) == alone


@pytest.mark.skipif(sys.platform != "linux", reason="threads are stopped by ptrace")
def test_same_bits_while_threads_are_repeatedly_stopped():
    code = (
        "import hashlib\n"
        "from tests.native.test_threads import trained\n"
        "found = {b''.join(trained(threads)) for threads in (2, 3) * 20}\n"
        "print(*[hashlib.sha256(bits).hexdigest() for bits in found])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    draw = random.Random(5)
    times = iter(lambda: (draw.uniform(0, 0.01), draw.uniform(0, 0.01)), None)
    try:
        stops = hold(process.pid, times)
    except PermissionError:
        process.kill()
        pytest.skip("this system lets no process stop another's threads")
    out, _ = process.communicate(timeout=60)
    assert stops > 20
    assert out.split() == [hashlib.sha256(b"".join(trained(1))).hexdigest()]


def test_the_gil_is_released():
    plan = wide()
    state, batches = state_of(plan), batches_of(plan, 4000, 10)
    counted = 0
    thread = threading.Thread(target=train, args=(NativeEngine(), plan, state, batches))
    thread.start()
    while thread.is_alive():
        counted += 1
        time.sleep(0.001)
    assert counted > 5


def child(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_environment_sets_the_threads():
    code = "from kurve import _core; print(_core.get_threads())"
    assert child(code, KURVE_NUM_THREADS="3").stdout == "3\n"
    for wrong in ("0", "many", "-1", "2x"):
        result = child(code, KURVE_NUM_THREADS=wrong)
        assert (
            f"KURVE_NUM_THREADS must be an integer in [1, 64]. Received: '{wrong}'"
            in (result.stderr)
        )


def test_the_default_keeps_to_the_affinity():
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("no affinity on this system")
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from kurve import _core; print(_core.get_threads())"
    )
    assert child(code, KURVE_NUM_THREADS="").stdout == "1\n"


@pytest.mark.parametrize(("cpus", "threads"), [(0.2, 1), (1.4, 1), (1.5, 2), (9, 2)])
def test_the_default_keeps_to_the_quota(cpus: float, threads: int):
    """A quota is rounded, and limited by the available cores."""
    if len(getattr(os, "sched_getaffinity", lambda pid: [0])(0)) < 2:
        pytest.skip("one core")
    code = (
        "import os; input()\n"
        "os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])\n"
        "from kurve import _core; print(_core.get_threads())"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "KURVE_NUM_THREADS": ""},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        with group(f"kurve-{os.getpid()}", cpus) as put:
            put(process.pid)
            out, _ = process.communicate("\n", timeout=60)
    except OSError:
        process.kill()
        pytest.skip("no right to make a control group")
    assert out == f"{threads}\n"


def test_wrong_numbers_of_threads_are_refused():
    for wrong in (0, -1, 65):
        with pytest.raises(ValueError, match=r"n must be in \[1, 64\]. Received: "):
            _core.set_threads(wrong)
