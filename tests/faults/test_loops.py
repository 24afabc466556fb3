"""What is used again and again, or runs out."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest

import kurve
from kurve import Input, Sequential
from kurve.layers import Dense
from tests.faults.conftest import Promise

linux = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc"
)

LOOP = """
import gc, os, sys, threading
import numpy as np
import kurve
from kurve import Input, Sequential
from kurve.layers import Dense
X = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
Y = X.sum(axis=1)

def once():
    model = Sequential([Input((3,)), Dense(16, "relu"), Dense(1)])
    model.compile("adam", "mse")
    model.fit(X, Y, verbose=0)
    model.predict(X, verbose=0)

def usage():
    gc.collect()
    pages = int(open("/proc/self/statm").read().split()[1])
    files = len(os.listdir("/proc/self/fd"))
    return pages * os.sysconf("SC_PAGE_SIZE"), len(os.listdir("/proc/self/task")), files

for _ in range(200):
    once()
first = usage()
loops = int(sys.argv[1])
for _ in range(loops):
    once()
last = usage()
print((last[0] - first[0]) / loops, *first[1:], *last[1:])
"""


@linux
def test_models_come_and_go(soak: bool, promise: Promise) -> None:
    loops = 2000 if soak else 400
    done = subprocess.run(
        [sys.executable, "-c", LOOP, str(loops)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    slope, *counts = map(float, done.stdout.split())
    assert slope <= 1024
    assert counts[:2] == counts[2:], "threads, files"
    promise(
        "loops",
        f"{loops:,} models: {slope:.0f} bytes a model, {counts[2]:.0f} threads and "
        f"{counts[3]:.0f} files at the start and at the end",
    )


SHORT = """
import ctypes, gc, resource, sys
import numpy as np
import kurve
from kurve import Input, Sequential
from kurve.layers import Dense
kurve.set_threads(1)
X = np.random.default_rng(0).normal(size=(3000, 3)).astype(np.float32)
Y = X.sum(axis=1)

def bits(model):
    s = model._state
    return s.params.tobytes() + s.slots.tobytes() + str(s.step).encode()

failed = 0
for kilobytes in range(0, 80_000, int(sys.argv[1])):
    model = Sequential([Input((3,)), Dense(900, "relu"), Dense(1)])
    model.compile("adam", "mse")
    model.train_on_batch(X[:4], Y[:4])
    before = bits(model)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (used + 1024 * kilobytes, hard))
    error = None
    try:
        model.train_on_batch(X, Y)
    except MemoryError as caught:
        error = str(caught)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    if error is None:
        break
    failed += 1
    assert bits(model) == before, "changed"
    model.train_on_batch(X, Y)
    assert bits(model) != before
print(failed, error is None)
"""


@linux
def test_memory_that_runs_out(native: str, soak: bool, promise: Promise) -> None:
    """Less memory than a step needs, then more and more until it is enough."""
    done = subprocess.run(
        [sys.executable, "-c", SHORT, "100" if soak else "2000"],
        capture_output=True, text=True, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    failed, enough = done.stdout.split()
    assert int(failed) > 3 and enough == "True"
    promise(
        "memory",
        f"{failed} of {failed} steps with too little memory raise MemoryError and "
        "change nothing; the next one goes well",
    )


def test_more_memory_than_there_is(native: str) -> None:
    kurve.set_engine(native)
    model = Sequential([Input((1,)), Dense(1_000_000, "relu"), Dense(1)])
    model.compile("sgd", "mse")
    before = model.get_weights()
    with pytest.raises(MemoryError):
        model.train_on_batch(np.ones((300_000, 1)), np.ones(300_000))
    for mine, start in zip(model.get_weights(), before, strict=True):
        assert mine.tobytes() == start.tobytes()
    gc.collect()
    assert threading.active_count() < 20


def test_check_estimator(promise: Promise) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    from tests.unit.estimators.test_sklearn import checks

    if not kurve_native():
        pytest.skip("the defaults train for thousands of steps")
    kurve.set_engine("native")
    count = skipped = 0
    for parameters in checks():
        estimator, check = parameters.values
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*does not inherit from", UserWarning)
            try:
                check(estimator)
                count += 1
            except Exception as error:
                if type(error).__name__ != "SkipTest":
                    raise
                skipped += 1
    promise(
        "estimators",
        f"{count} of {count} checks of Regressor and Classifier, {skipped} that "
        "scikit-learn skips itself",
    )


def kurve_native() -> bool:
    try:
        import kurve._core  # noqa: F401
    except ImportError:
        return False
    return True
