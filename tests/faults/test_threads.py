"""One model, many threads, a core that goes away, and children that are forked."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from itertools import repeat
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import Input, Sequential
from kurve.callbacks import LambdaCallback
from kurve.errors import ModelBusyError
from kurve.layers import Dense
from kurve.solvers import lbfgs, levenberg_marquardt
from tests.faults.conftest import Promise
from tests.native.neighbours import hold

pytestmark = pytest.mark.alone

X = np.random.default_rng(0).normal(size=(256, 7)).astype(np.float32)
Y = np.sin(X.sum(axis=1))


def network(width: int = 64) -> Sequential:
    layers = [Dense(width, "tanh"), Dense(width, "gelu"), Dense(1)]
    model = Sequential([Input((7,)), *layers])
    model.compile("adam", "mse")
    return model


def at_once(number: int, work: Callable[[int], None]) -> None:
    """Threads that all begin together."""
    start = threading.Barrier(number)

    def run(index: int) -> None:
        start.wait()
        work(index)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.usefixtures("native")
def test_eight_threads_predict(promise: Promise) -> None:
    model = network(200)
    model.fit(X, Y, verbose=0)
    right = model.predict(X, verbose=0)
    wrong, errors, calls = [0] * 8, [], [0] * 8

    def work(index: int) -> None:
        rng = np.random.default_rng(index)
        try:
            for _ in range(1000):
                first, last = np.sort(rng.choice(257, 2, replace=False))
                last = min(last, first + 40)
                y = model.predict(X[first:last], verbose=0)
                wrong[index] += y.tobytes() != right[first:last].tobytes()
                calls[index] += 1
        except Exception as error:
            errors.append(error)

    at_once(8, work)
    assert (sum(calls), errors, sum(wrong)) == (8000, [], 0)

    rows = np.zeros((200_000, 7), np.float32)
    counted, thread = 0, threading.Thread(target=lambda: network(512)(rows))
    start = time.perf_counter()
    thread.start()
    while thread.is_alive():
        counted += 1
        time.sleep(0.001)
    assert counted > 10, "no other thread runs during a long predict"
    promise(
        "predict",
        f"8 threads x 1,000 calls: {len(errors)} errors, {sum(wrong)} wrong bits; "
        f"another thread ran {counted} times in the {time.perf_counter() - start:.1f} "
        "s of a long one",
    )


class Busy:
    """A fit in another thread, for the length of a `with`."""

    def __init__(self, model: Sequential) -> None:
        self.model, self.go, self.on = model, threading.Event(), threading.Event()
        watch = LambdaCallback(on_epoch_end=lambda epoch, logs: self._hold())
        self.thread = threading.Thread(
            target=lambda: model.fit(X, Y, epochs=1, verbose=0, callbacks=[watch])
        )

    def _hold(self) -> None:
        self.on.set()
        assert self.go.wait(60)

    def __enter__(self) -> None:
        self.thread.start()
        assert self.on.wait(60)

    def __exit__(self, *error: Any) -> None:
        self.go.set()
        self.thread.join()


# What another thread may not do during fit, and what not even fit's callbacks may.
TRAINING: dict[str, Callable[[Sequential], Any]] = {
    "fit": lambda m: m.fit(X, Y, verbose=0),
    "train_on_batch": lambda m: m.train_on_batch(X, Y),
    "compile": lambda m: m.compile("sgd", "mse"),
    "add": lambda m: m.add(Dense(1)),
    "pop": lambda m: m.pop(),
    "levenberg_marquardt": lambda m: levenberg_marquardt(m, X, Y),
    "lbfgs": lambda m: lbfgs(m, X, Y),
}
READING: dict[str, Callable[[Sequential], Any]] = {
    "predict": lambda m: m.predict(X, verbose=0),
    "evaluate": lambda m: m.evaluate(X, Y, verbose=0),
    "get_weights": lambda m: m.get_weights(),
    "set_weights": lambda m: m.set_weights(m._fixed),  # type: ignore[attr-defined]
    "save": lambda m: m.save("never-written.kurve"),
    "getstate": copy.deepcopy,
}


def test_other_threads_are_refused_during_fit(engine: str, promise: Promise) -> None:
    model, slowest = network(16), 0.0
    model.fit(X, Y, verbose=0)
    model._fixed = model.get_weights()  # type: ignore[attr-defined]
    for name, call in (TRAINING | READING).items():
        with Busy(model):
            step, weights = model.iterations, model._network.state.params.copy()  # type: ignore[union-attr]
            start = time.perf_counter()
            with pytest.raises(ModelBusyError, match=rf"^\[{name}\] the model is "):
                call(model)
            slowest = max(slowest, time.perf_counter() - start)
            assert model.iterations == step
            assert weights.tobytes() == model._network.state.params.tobytes()  # type: ignore[union-attr]
        model.predict(X, verbose=0)
    committee = kurve.ensemble(model, 2)
    with Busy(committee.members[1]), pytest.raises(ModelBusyError):
        committee.fit(X, Y, verbose=0)
    committee.fit(X, Y, verbose=0)
    refused = len(TRAINING) + len(READING) + 1
    promise(
        "fit-twice",
        f"{engine}: {refused} of {refused} kinds of call from another thread refused, "
        f"the slowest in {1e6 * slowest:.0f} µs",
    )


def test_callbacks_may_read_and_not_train(engine: str) -> None:
    model = network(16)
    for name, call in TRAINING.items():
        watch = LambdaCallback(on_epoch_end=lambda epoch, logs: call(model))  # noqa: B023
        with pytest.raises(ModelBusyError, match=rf"{name} from a callback of fit"):
            model.fit(X, Y, verbose=0, callbacks=[watch])
    model._fixed = model.get_weights()  # type: ignore[attr-defined]
    for name in ("predict", "evaluate", "get_weights", "set_weights", "getstate"):
        watch = LambdaCallback(on_epoch_end=lambda epoch, logs: READING[name](model))  # noqa: B023
        model.fit(X, Y, verbose=0, callbacks=[watch])


def test_an_error_gives_the_model_back(engine: str) -> None:
    model = network(16)
    for wrong in ({"epochs": -1}, {"batch_size": 0}):
        with pytest.raises(ValueError):
            model.fit(X, Y, **wrong)  # type: ignore[arg-type]
        model.fit(X, Y, verbose=0)
    committee = kurve.ensemble(model, 2)
    with pytest.raises(ValueError):
        committee.fit(X, Y[:3], verbose=0)
    committee.fit(X, Y, verbose=0)


def test_no_prediction_of_half_an_update(engine: str) -> None:
    """Where training begins while another thread predicts: right bits or an error."""
    model = network(64)
    model.fit(X, Y, verbose=0)
    right = {model.predict(X, verbose=0).tobytes()}
    results: list[bytes | None] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            try:
                results.append(model.predict(X, verbose=0).tobytes())
            except ModelBusyError:
                results.append(None)

    thread = threading.Thread(target=read)
    thread.start()
    for _ in range(10):
        model.fit(X, Y, verbose=0)
        right.add(model.predict(X, verbose=0).tobytes())
        time.sleep(0.005)
    stop.set()
    thread.join()
    assert {r for r in results if r is not None} <= right


def finishes(child: Callable[[], bool]) -> float:
    """Seconds that a forked child takes; it must find what it did right."""
    start = time.monotonic()
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if child() else 1)
        finally:
            os._exit(2)
    while (done := os.waitpid(pid, os.WNOHANG))[0] == 0:
        if time.monotonic() - start > 20:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            return np.inf
        time.sleep(0.002)
    assert done[1] == 0
    return time.monotonic() - start


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.usefixtures("native")
def test_fork(soak: bool, promise: Promise) -> None:
    kurve.set_engine("native")
    model, tries = network(300), 100 if soak else 10
    model.fit(X, Y, verbose=0)
    twin = copy.deepcopy(model)
    twin.fit(X, Y, verbose=0)
    right = twin.predict(X, verbose=0).tobytes()

    def child() -> bool:
        model.fit(X, Y, verbose=0)
        return model.predict(X, verbose=0).tobytes() == right

    times = [finishes(child) for _ in range(tries)]
    assert max(times) < 5.0

    # During a fit of another thread: of another model, and of the model itself, which
    # may be amid an update, but is nobody's in the child.
    other, stop = network(300), threading.Event()

    def train() -> None:
        while not stop.is_set():
            other.fit(X, Y, epochs=5, verbose=0)

    def busy_child() -> bool:
        other.fit(X, Y, verbose=0)
        return child() and bool(np.isfinite(other.predict(X, verbose=0)).all())

    thread = threading.Thread(target=train)
    thread.start()
    busy = [finishes(busy_child) for _ in range(tries)]
    stop.set()
    thread.join()
    assert max(busy) < 5.0
    assert child()
    promise(
        "fork",
        f"{tries} of {tries} children, and {tries} of {tries} during another thread's "
        f"fit: right bits, the slowest in {max(times + busy):.2f} s",
    )


# Prints the seconds of a training on so many threads, and a hash of its weights.
STEPS = """
import hashlib, sys, time
import numpy as np
import kurve
threads, epochs = map(int, sys.argv[1:])
kurve.set_threads(threads)
kurve.utils.set_random_seed(1)
layers = [kurve.layers.Dense(256, "relu") for _ in range(7)]
model = kurve.Sequential([kurve.Input((1,)), *layers, kurve.layers.Dense(1)])
model.compile("adam", "mse")
x = np.linspace(-1.0, 1.0, 200)
model.fit(x, x**2, batch_size=20, epochs=5, verbose=0)
start = time.perf_counter()
model.fit(x, x**2, batch_size=20, epochs=epochs, verbose=0)
print(time.perf_counter() - start)
print(hashlib.sha256(b"".join(w.tobytes() for w in model.get_weights())).hexdigest())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="threads are stopped by ptrace")
def test_a_core_goes_away(soak: bool, promise: Promise) -> None:
    rounds, epochs = (7, 150) if soak else (1, 30)
    figures = []
    for stopped, free in ((1, 1), (5, 5), (20, 80)):
        ratios, bits = [], set()
        for _ in range(rounds):
            seconds = {}
            for threads in (1, 2):
                process = subprocess.Popen(
                    [sys.executable, "-c", STEPS, str(threads), str(epochs)],
                    env={**os.environ, "KURVE_ENGINE": "native"},
                    stdout=subprocess.PIPE,
                    text=True,
                )
                try:
                    hold(process.pid, repeat((stopped / 1000, free / 1000)))
                except PermissionError:
                    process.kill()
                    pytest.skip("this system lets no process stop another's threads")
                out, _ = process.communicate(timeout=60)
                time_of, hash_of = out.split()
                seconds[threads] = float(time_of)
                bits.add(hash_of)
            ratios.append(seconds[2] / seconds[1])
        ratio = float(np.median(ratios))
        assert len(bits) == 1
        assert ratio <= 1.1 or not soak, (stopped, free, ratios)
        figures.append(f"{stopped} of {stopped + free} ms: {ratio:.2f} times")
    promise("core", f"the second thread stopped for {', '.join(figures)} one's time")
