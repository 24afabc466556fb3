"""Memory that is not there, and memory that is given back."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from kurve import Input, Sequential
from kurve.layers import Dense
from tests.faults.conftest import Promise

# A process may have less and less memory; what it calls fails until there is enough.
STARVED = """
import resource, sys
import numpy as np
import kurve
from kurve import Input, Sequential
from kurve.layers import Dense, Dropout

kurve.set_engine("native")
x = np.random.default_rng(0).normal(size=(10_000, 8)).astype(np.float32)
y = np.sin(x.sum(axis=1))

def network(width):
    model = Sequential([Input((8,)), Dense(width, "gelu"), Dropout(0.1), Dense(1)])
    model.compile("adam", "mse")
    model.fit(x[:50], y[:50], verbose=0)
    model.predict(x[:2000], verbose=0)
    return model

def used():
    return int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()

def bits(model):
    s = model._network.state
    return s.params.tobytes() + s.slots.tobytes() + s.scalars.tobytes() + bytes(s.step)

calls = {
    "fit": lambda m: m.fit(x, y, batch_size=len(x), verbose=0),
    "evaluate": lambda m: m.evaluate(x, y, batch_size=len(x), verbose=0),
    "predict": lambda m: m.predict(x, verbose=0),
    "train_on_batch": lambda m: m.train_on_batch(x, y),
}
unlimited = resource.getrlimit(resource.RLIMIT_AS)
failed = 0
for name, call in calls.items():
    right = network(256)
    call(right)
    for step in range(0, 400, int(sys.argv[1])):
        model = network(256)
        model._network.seed = right._network.seed
        before = bits(model)
        resource.setrlimit(resource.RLIMIT_AS, (used() + step * 2**20, unlimited[1]))
        try:
            call(model)
            clean = True
        except MemoryError as error:
            clean = False
            text = str(error)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, unlimited)
        if clean:
            break
        failed += 1
        assert bits(model) == before, name
        call(model)
    assert clean, name
print(failed)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits are set as on Linux")
@pytest.mark.usefixtures("native")
def test_calls_fail_until_there_is_memory(soak: bool, promise: Promise) -> None:
    """Not on the reference engine: OpenBLAS ends the process."""
    done = subprocess.run(
        [sys.executable, "-c", STARVED, "1" if soak else "12"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    failed = int(done.stdout)
    assert failed > 0
    promise("memory", f"{failed} of {failed} calls starved, each at a new point")


# A thread of a C program may have 512 KB (macOS) or 128 KB (musl) for its stack.
SMALL_STACK = """
import sys, threading
import numpy as np
import kurve
from kurve import Input, Sequential, layers, ops

kurve.set_engine("native")
kurve.set_threads(int(sys.argv[1]))
rng = np.random.default_rng(0)
images = rng.normal(size=(64, 28, 28, 1)).astype("float32")
networks = {
    "dense": [Input((28, 28, 1)), layers.Flatten(), layers.Dense(512, "gelu"),
              layers.Dense(512), layers.Dropout(0.1)],
    "pooled": [Input((28, 28, 1)), layers.Conv2D(32, 3, activation="relu"),
               layers.MaxPooling2D(), layers.Conv2D(16, 3, activation="gelu"),
               layers.MaxPooling2D(), layers.Flatten()],
    "recurrent": [Input((28, 28, 1)), layers.Reshape((28, 28)), layers.LSTM(64)],
    "formula": [Input((28, 28, 1)), layers.Flatten(),
                layers.Lambda(lambda x: ops.tanh(x) * ops.exp(-x * x) + ops.sin(x))],
}

def train():
    for name, stack in networks.items():
        model = Sequential([*stack, layers.Dense(1)])
        model.compile("adam", "mse")
        model.fit(images, images[:, 0, 0], batch_size=32, verbose=0)
        model.predict(images, verbose=0)
        print(name)

threading.stack_size(256 * 1024)
thread = threading.Thread(target=train)
thread.start()
thread.join()
"""


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.usefixtures("native")
def test_threads_with_small_stacks(threads: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SMALL_STACK, str(threads)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["dense", "pooled", "recurrent", "formula"]


@pytest.mark.usefixtures("native")
def test_a_batch_for_which_no_machine_has_memory(promise: Promise) -> None:
    model = Sequential([Input((1,)), Dense(4_000_000, "relu"), Dense(1)])
    model.compile("sgd", "mse")
    x = np.zeros((1_000_000, 1), np.float32)
    before = model._network.state.params.copy()  # type: ignore[union-attr]
    words = (
        r"^\[native\] not enough memory .* 1000000 rows, which need .* GiB. "
        "Try a smaller"
    )
    with pytest.raises(MemoryError, match=words):
        model.fit(x, x, batch_size=len(x), verbose=0)
    with pytest.raises(MemoryError, match=words):
        model.evaluate(x, x, batch_size=len(x), verbose=0)
    assert before.tobytes() == model._network.state.params.tobytes()  # type: ignore[union-attr]
    model.fit(x[:2], x[:2], verbose=0)
    promise("memory", "a batch of 40 TB: refused, naming its size")


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is read")
@pytest.mark.usefixtures("native")
def test_models_come_and_go(soak: bool, promise: Promise) -> None:
    loops = 2000 if soak else 300
    x = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
    y = x.sum(axis=1)
    seen = []
    for loop in range(100 + loops):
        model = Sequential([Input((4,)), Dense(32, "relu"), Dense(1)])
        model.compile("adam", "mse")
        model.fit(x, y, epochs=2, verbose=0)
        model.predict(x, verbose=0)
        del model
        if loop >= 100 and loop % 10 == 0:
            gc.collect()
            seen.append((loop, resident(), threading.active_count(), open_files()))
    at, memory, threads, files = map(np.array, zip(*seen, strict=True))
    slope = float(np.polyfit(at, memory, 1)[0])
    assert slope <= 1024
    assert len(set(threads)) == len(set(files)) == 1
    promise(
        "loops",
        f"{loops:,} loops: {slope:.0f} bytes a loop, threads and files constant",
    )


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
